"""Reading and writing of image files; the suffix chooses the format."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_lucyd.text import axes_text, count_text, printable

from .atomic import check_destination, check_name, check_space, replacing
from .conversion import convert
from .image import (
    Channel,
    Image,
    ImageFileError,
    canonical_order,
    check_axes,
    check_voxel_size,
    to_json,
    unreadable,
)
from .suffixes import (
    PIPE_REFUSED,
    SUFFIXES,
    URL_REFUSED,
    VENDOR_SUFFIXES,
    WRITTEN_SUFFIXES,
    holds_zarr,
    is_url,
    is_writable_path,
    is_zarr_folder,
    known_suffix,
    stem,
)
from .units import canonical_unit

EAGER_BYTES = 256 * 2**20
"""Images up to this size are read at once by default, which is quicker than reading chunk by chunk."""


def read_image(
    path: str | os.PathLike[str],
    *,
    lazy: bool | None = None,
    axes: str | None = None,
    voxel_size: Sequence[float] | None = None,
) -> Image:
    """Read an image file: TIFF, ImageJ TIFF, OME-TIFF, LSM, STK, CZI, LIF, ND2 or OME-Zarr (0.1 to 0.5).

    The highest resolution of a pyramid is read, and the first image of a file with several (with a warning).

    Parameters
    ----------
    path
        A file with one of :data:`SUFFIXES`: TIFF (``.tif``, ``.ome.tif``, ``.ome.btf``, …), LSM, STK; CZI,
        LIF and ND2 with the extra ``microscopes``; an ``.ome.zarr`` folder or a zip file of one; or a folder
        inside of a Zarr, such as ``plate.ome.zarr/A/1/0``.
    lazy
        True: voxels are read when they are asked for, through dask. False: read now, into a numpy array.
        None: read now up to 268 MB (2²⁸ bytes).
    axes
        The axes, where the file does not say them or is wrong: one letter of TCZYX for each axis of the image
        as it is read without this, such as ``"ZYX"`` for a stack whose planes were saved as channels.
    voxel_size
        Steps along (Z,) Y, X in micrometres, where the file does not say them or is wrong.

    Returns
    -------
    Image
        Values as stored, axes in the order TCZYX, or as `axes` names them.

    Raises
    ------
    ImageFileError
        The file is missing, damaged, of another format, or a colour picture; or `axes` or `voxel_size` do not
        fit it.

    Examples
    --------
    >>> image = read_image("stack.tif")                                 # doctest: +SKIP
    >>> image.axes, image.voxel_size, image.unit                        # doctest: +SKIP
    ('ZYX', (0.3, 0.1625, 0.1625), 'micrometer')
    """
    if is_url(path):
        raise ImageFileError(f"{path}: {URL_REFUSED}")
    path = Path(path)
    suffix = known_suffix(path) or (".zarr" if is_zarr_folder(path) else None)
    if not path.exists():
        raise ImageFileError(f"{path}: no such file or folder")
    if suffix is None and path.is_dir():
        raise ImageFileError(f"{path}: is a folder that is no Zarr image; give an image file")
    if suffix is None:
        raise ImageFileError(_unknown_suffix(path, SUFFIXES))
    if not (path.is_file() or path.is_dir()):
        raise ImageFileError(f"{path}: {PIPE_REFUSED}")
    try:
        if holds_zarr(suffix):
            from .zarr_reader import read_zarr as read
        elif suffix in VENDOR_SUFFIXES:
            from .vendor import read_vendor as read
        else:
            from .tiff.reader import read_tiff as read
        image = read(
            path,
            name=printable(stem(path)),
            eager_bytes={None: EAGER_BYTES, True: -1, False: None}[lazy],
            axes=axes,
            voxel_size=voxel_size,
        )
        return replace(image, warnings=tuple(map(printable, image.warnings)))
    except ImageFileError as error:
        raise ImageFileError(f"{path}: {error}") from error.__cause__
    except ImportError:
        raise
    except PermissionError as error:
        raise ImageFileError(f"{path}: cannot be opened ({error.strerror})") from error
    # A damaged file makes the parsers raise nearly anything (KeyError, struct.error, zlib.error, …); to the
    # caller all of these mean one thing.
    except Exception as error:
        raise ImageFileError(f"{path}: {unreadable(error)}") from error


def files_of_image(path: str | os.PathLike[str]) -> set[Path]:
    """Return the files that hold the image of `path`: several for some OME-TIFFs.

    Parameters
    ----------
    path
        One of them. Only the metadata of an ``.ome.tif`` is read.

    Examples
    --------
    >>> [file.name for file in files_of_image("alone.tif")]
    ['alone.tif']
    """
    path = Path(path)
    if not (known_suffix(path) or "").startswith(".ome.") or holds_zarr(known_suffix(path) or ""):
        return {path}
    from .tiff.series import files_of

    return {path.with_name(name) for name in files_of(path)}


def read_psf(path: str | os.PathLike[str]) -> Image:
    """Read a point-spread function into memory: one volume or plane, or one for each channel.

    Parameters
    ----------
    path
        Image file; see :func:`read_image`.

    Returns
    -------
    Image
        Its axes are ``"ZYX"`` or ``"YX"``, with ``"C"`` in front if the file has a PSF for each channel.

    Raises
    ------
    ImageFileError
        As for :func:`read_image`; or the file holds more than one PSF.

    Examples
    --------
    >>> write_image("psf.tif", np.ones((3, 5, 5), "f4"), axes="ZYX", voxel_size=None, unit=None).name
    'psf.tif'
    >>> read_psf("psf.tif").axes
    'ZYX'
    """
    image = read_image(path, lazy=False)
    if image.axes.removeprefix("C") not in ("ZYX", "YX"):
        sizes = axes_text(image.axes, image.data.shape)
        raise ImageFileError(
            f"{path}: it holds {sizes}; one PSF is needed, Z × Y × X or Y × X, or one for each channel C"
        )
    return image


def write_image(
    path: str | os.PathLike[str],
    array: Any,
    *,
    axes: str,
    voxel_size: Sequence[float] | None,
    unit: str | None,
    metadata: Mapping[str, Any] | None = None,
    channels: Sequence[Channel] = (),
    overwrite: bool = False,
    dtype: str | np.dtype[Any] | None = None,
) -> Path:
    """Write an image file completely or not at all.

    The file is written under a temporary name beside its destination and renamed at the end. An interrupted
    or failed write leaves nothing under the final name.

    Parameters
    ----------
    path
        The suffix chooses the format: ``.ome.tif``/``.ome.tiff`` OME-TIFF, ``.tif``/``.tiff`` an ImageJ
        hyperstack (with OME-XML instead for dtypes and sizes that ImageJ's format cannot hold),
        ``.ome.zarr``/``.zarr`` OME-Zarr 0.5.
    array
        numpy, dask, zarr or anything that numpy can slice; read volume by volume.
    axes
        One letter of TCZYX for each axis, ending in YX; written in the order TCZYX.
    voxel_size
        Steps along (Z,) Y, X in `unit`, or None where unknown.
    unit
        Unit of length, in any usual spelling (``"micrometer"``, ``"µm"``, ``"um"``); None or ``"pixel"`` for
        none.
    metadata
        JSON-able dict stored in the file and given back by :func:`read_image`.
    channels
        Names, colours and limits, one for each entry of C, or one where there is no C; given back by
        :func:`read_image`.
    overwrite
        Replace what is there. Never replaces a folder that is not Zarr.
    dtype
        None keeps the array's. ``"uint16"`` rounds values that lie within 0 to 65535 to whole counts; values
        beyond, and those in a range shorter than 256, are scaled so that the lowest finite one becomes 0 and
        the highest 65535. Either is stated in the metadata as ``stored_values`` (value = offset + scale ·
        stored; NaN becomes 0), unless all values are whole counts. Other dtypes only where values survive
        (float64 to float32, uint8 to uint16).

    Returns
    -------
    pathlib.Path
        Path of the image.

    Raises
    ------
    ImageFileError
        The destination exists, its folder does not, the suffix is unknown, or an argument is not understood.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> path = tempfile.mkdtemp() + "/ramp.ome.tif"
    >>> ramp = np.arange(60, dtype="float32").reshape(3, 4, 5)
    >>> _ = write_image(path, ramp, axes="ZYX", voxel_size=(0.3, 0.1, 0.1), unit="µm", metadata={"n": 1})
    >>> read_image(path).voxel_size, read_image(path).metadata
    ((0.3, 0.1, 0.1), {'n': 1})
    """
    path = Path(path)
    suffix = known_suffix(path)
    if suffix not in WRITTEN_SUFFIXES:
        raise ImageFileError(_unknown_suffix(path, WRITTEN_SUFFIXES))
    check_name(path)
    # The target of a link is replaced, and the link stays.
    place = path.resolve() if path.is_symlink() else path
    array = array if hasattr(array, "shape") and hasattr(array, "dtype") else np.asarray(array)
    letters = check_axes(axes, array.shape)
    if 0 in array.shape:
        raise ImageFileError(f"an image of shape {tuple(array.shape)} has no voxels to write")
    if np.dtype(array.dtype).kind not in "buif":
        raise ImageFileError(f"dtype {array.dtype} cannot be written: expected real numbers")
    sizes = check_voxel_size(voxel_size, letters)
    if channels and len(channels) != dict(zip(letters, array.shape, strict=True)).get("C", 1):
        described = count_text(len(channels), "channel is described", "channels are described")
        raise ImageFileError(f"{described} for axes {letters} of {array.shape}")
    array, stated, channels = convert(_ordered(array, letters), dtype, channels)
    notes = {**(metadata or {}), **({"stored_values": stated} if stated else {})}
    text = to_json(notes)
    letters = "".join(letters[index] for index in canonical_order(letters))
    about: dict[str, Any] = {
        "axes": letters,
        "voxel_size": sizes,
        "unit": canonical_unit(unit),
        "name": printable(stem(path)),
        "channels": channels,
    }
    with replacing(place, overwrite) as temporary:
        if holds_zarr(suffix):
            from .zarr import write_zarr

            write_zarr(temporary, array, notes=json.loads(text), **about)
        else:
            from .tiff.writer import write_tiff

            check_space(place, math.prod(array.shape) * np.dtype(array.dtype).itemsize)
            write_tiff(temporary, array, notes=text if notes else "", ome=suffix.startswith(".ome"), **about)
    return path


def check_writable(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Check before long work that :func:`write_image` can write to `path`; leaves nothing behind.

    Parameters
    ----------
    path
        Destination; its folder must exist.
    overwrite
        True if an existing image may be replaced; see `write_image`.

    Raises
    ------
    ImageFileError
        As from `write_image`, or the folder takes no files.

    Examples
    --------
    >>> check_writable("new.ome.tif")
    """
    path = Path(path)
    if not is_writable_path(path):
        raise ImageFileError(_unknown_suffix(path, WRITTEN_SUFFIXES))
    check_destination(path, overwrite)
    try:
        # Rights say little about read-only disks, shares and quotas; a file tells.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be written ({error.strerror or error})") from error


def _unknown_suffix(path: Path, known: Sequence[str]) -> str:
    return f"{path}: unknown kind of file {path.suffix!r}; expected one of {', '.join(known)}"


def _ordered(array: Any, axes: str) -> Any:
    """Transpose an array to the order TCZYX."""
    order = canonical_order(axes)
    if order == tuple(range(len(order))):
        return array
    if not isinstance(array, np.ndarray) and not hasattr(array, "transpose"):
        import dask.array

        array = dask.array.from_array(array)  # type: ignore[no-untyped-call]
    return array.transpose(order)


def contains(folder: Path, path: Path) -> bool:
    """Tell whether a path is a folder or lies in it, links resolved.

    Examples
    --------
    >>> contains(Path("plate.zarr"), Path("plate.zarr/A/1")), contains(Path("a.zarr"), Path("a.zarr.old"))
    (True, False)
    """
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
