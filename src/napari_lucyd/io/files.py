"""Reading and writing by suffix; writing whole files or none."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_lucyd.text import printable

from .image import (
    Image,
    ImageFileError,
    canonical_order,
    check_axes,
    check_voxel_size,
    unreadable,
)
from .suffixes import (
    SUFFIXES,
    WRITTEN_SUFFIXES,
    holds_zarr,
    is_writable_path,
    is_zarr_folder,
    known_suffix,
    stem,
)
from .units import canonical_unit

EAGER_BYTES = 256 * 2**20
"""Images up to this size are read at once unless asked otherwise: quicker than chunk by chunk."""


def read_image(
    path: str | os.PathLike[str],
    *,
    lazy: bool | None = None,
    axes: str | None = None,
    voxel_size: Sequence[float] | None = None,
) -> Image:
    """Read an image file: TIFF, ImageJ TIFF, OME-TIFF, LSM, STK or OME-Zarr (0.1 to 0.5).

    Of a pyramid the highest resolution is read, of a file with several images the first (with a warning).

    Parameters
    ----------
    path
        A file with one of :data:`SUFFIXES`: TIFF (``.tif``, ``.ome.tif``, ``.ome.btf``, …), LSM, STK, an
        ``.ome.zarr`` folder or a zip file of one; or a folder inside of a Zarr, such as
        ``plate.ome.zarr/A/1/0``.
    lazy
        True: voxels are read when they are asked for, through dask. False: read now, into a numpy array.
        None: read now up to 256 MiB.
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
    path = Path(path)
    suffix = known_suffix(path) or (".zarr" if is_zarr_folder(path) else None)
    if suffix is None:
        raise ImageFileError(_unknown_suffix(path, SUFFIXES))
    if not path.exists():
        raise ImageFileError(f"{path}: no such file or folder")
    try:
        if holds_zarr(suffix):
            from .zarr_reader import read_zarr as read
        else:
            from .tiff import read_tiff as read
        image = read(
            path,
            name=stem(path),
            eager_bytes={None: EAGER_BYTES, True: -1, False: None}[lazy],
            axes=axes,
            voxel_size=voxel_size,
        )
        return replace(image, warnings=tuple(map(printable, image.warnings)))
    except ImageFileError as error:
        raise ImageFileError(f"{path}: {error}") from error.__cause__
    except ImportError:
        raise
    # A damaged file makes the parsers raise nearly anything (KeyError, struct.error, zlib.error, …); to the
    # caller all of these mean one thing.
    except Exception as error:
        raise ImageFileError(f"{path}: {unreadable(error)}") from error


def files_of_image(path: str | os.PathLike[str]) -> set[Path]:
    """The files that hold the image that :func:`read_image` reads: several for some OME-TIFFs.

    Parameters
    ----------
    path
        One of them. Only the head of an ``.ome.tif`` is read.

    Examples
    --------
    >>> [file.name for file in files_of_image("alone.tif")]
    ['alone.tif']
    """
    path = Path(path)
    if not (known_suffix(path) or "").startswith(".ome.") or holds_zarr(known_suffix(path) or ""):
        return {path}
    from .tiff import files_of

    return {path.with_name(name) for name in files_of(path)}


def read_psf(path: str | os.PathLike[str]) -> Image:
    """Read a point-spread function: a file that holds one volume or one plane, into memory.

    Parameters
    ----------
    path
        As for :func:`read_image`.

    Returns
    -------
    Image
        Its axes are ``"ZYX"`` or ``"YX"``.

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
    if image.axes not in ("ZYX", "YX"):
        sizes = " × ".join(f"{name} {size}" for name, size in zip(image.axes, image.data.shape, strict=True))
        raise ImageFileError(f"{path}: it holds {sizes}; one PSF is needed, Z × Y × X or Y × X")
    return image


def write_image(
    path: str | os.PathLike[str],
    array: Any,
    *,
    axes: str,
    voxel_size: Sequence[float] | None,
    unit: str | None,
    metadata: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    dtype: str | np.dtype[Any] | None = None,
) -> Path:
    """Write an image file, whole or not at all.

    The file is written under a temporary name beside its destination and renamed at the end, so that an
    interrupted or failed write leaves nothing under the final name.

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
        Of length, in any usual spelling (``"micrometer"``, ``"µm"``, ``"um"``); None or ``"pixel"`` for none.
    metadata
        JSON-able dict stored in the file and given back by :func:`read_image`.
    overwrite
        Replace what is there. Never replaces a folder that is not Zarr.
    dtype
        None keeps the array's. ``"uint16"`` for values that it cannot hold maps the smallest and largest
        finite value to 0 and 65535 and states it in the metadata as ``stored_values`` (value = offset +
        scale · stored; NaN becomes 0). Other dtypes only where values survive (float64 to float32, uint8
        to uint16).

    Returns
    -------
    pathlib.Path
        Where the image lies.

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
    # What a link points to is replaced where it lies, and the link stays.
    place = path.resolve() if path.is_symlink() else path
    array = array if hasattr(array, "shape") and hasattr(array, "dtype") else np.asarray(array)
    letters = check_axes(axes, array.shape)
    if 0 in array.shape:
        raise ImageFileError(f"an image of shape {tuple(array.shape)} has no voxels to write")
    if np.dtype(array.dtype).kind not in "buif":
        raise ImageFileError(f"dtype {array.dtype} cannot be written: expected real numbers")
    sizes = check_voxel_size(voxel_size, letters)
    notes = dict(metadata or {})
    array, notes = _converted(_ordered(array, letters), dtype, notes)
    try:
        text = json.dumps(notes, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ImageFileError(f"metadata must be plain JSON: {error}") from error
    letters = "".join(letters[index] for index in canonical_order(letters))
    about: dict[str, Any] = {
        "axes": letters,
        "voxel_size": sizes,
        "unit": canonical_unit(unit),
        "name": stem(path),
    }
    with _replacing(place, overwrite) as temporary:
        if suffix.endswith("zarr"):
            from .zarr import write_zarr

            write_zarr(temporary, array, notes=notes, **about)
        else:
            from .tiff_writer import write_tiff

            write_tiff(temporary, array, notes=text if notes else "", ome=suffix.startswith(".ome"), **about)
    return path


def check_writable(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Find out before the work that :func:`write_image` could not write there; leaves nothing behind.

    Parameters
    ----------
    path
        Where to; its folder has to be there.
    overwrite
        As for `write_image`.

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
    _check_destination(path, overwrite)
    try:
        # Rights say little about read-only disks, shares and quotas; a file tells.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be written ({error.strerror or error})") from error


def _unknown_suffix(path: Path, known: Sequence[str]) -> str:
    return f"{path}: unknown kind of file {path.suffix!r}; expected one of {', '.join(known)}"


def _ordered(array: Any, axes: str) -> Any:
    """Transpose to TCZYX where the axes come otherwise."""
    order = canonical_order(axes)
    if order == tuple(range(len(order))):
        return array
    if not isinstance(array, np.ndarray) and not hasattr(array, "transpose"):
        import dask.array

        array = dask.array.from_array(array)  # type: ignore[no-untyped-call]
    return array.transpose(order)


def volumes(array: Any) -> Iterator[np.ndarray]:
    """Yield the (Z, Y, X) or (Y, X) volumes of an array whose leading axes are anything, one read each."""
    leading = array.shape[:-3] if array.ndim > 3 else ()
    for index in np.ndindex(*leading):
        yield np.asarray(array[index] if index else array)


def _converted(array: Any, dtype: Any, notes: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Convert to `dtype`, stating a change of values in the notes."""
    if dtype is None or np.dtype(dtype) == array.dtype:
        return array, notes
    target = np.dtype(dtype)
    floats = np.dtype(array.dtype).kind == "f" and target.kind == "f"
    if floats or np.can_cast(array.dtype, target, "safe"):
        return _Converted(array, target), notes
    if target != np.uint16:
        raise ImageFileError(
            f"{array.dtype} does not fit into {target}; expected dtype None or 'uint16' (scaled)"
        )
    low, high, invalid = np.inf, -np.inf, 0
    for volume in volumes(array):
        finite = volume[np.isfinite(volume)]
        invalid += volume.size - finite.size
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low > high:
        raise ImageFileError("no voxel has a finite value: nothing to scale to uint16")
    if np.dtype(array.dtype).kind in "ui" and low >= 0 and high <= 65535:
        return _Converted(array, target), notes
    scale = (high - low) / 65535 or 1.0
    stated = {
        "dtype": "uint16",
        "offset": low,
        "scale": scale,
        "formula": "value = offset + scale * stored",
        "invalid_voxels": invalid,
    }
    return _Converted(array, target, low, scale), {**notes, "stored_values": stated}


class _Converted:
    """An array seen in another dtype, piece by piece, so that large ones are never held twice.

    Given a scale, values are stored as round((value - offset) / scale), NaN as 0.
    """

    def __init__(
        self, array: Any, dtype: np.dtype[Any], offset: float = 0.0, scale: float | None = None
    ) -> None:
        self._array, self.dtype, self._offset, self._scale = array, dtype, offset, scale
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.ndim = len(self.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        values = np.asarray(self._array[index])
        if self._scale is None:
            return values.astype(self.dtype)
        stored = np.rint((values.astype(np.float64) - self._offset) / self._scale)
        return np.nan_to_num(stored, nan=0.0, posinf=65535.0, neginf=0.0).clip(0, 65535).astype(self.dtype)


@contextmanager
def _replacing(path: Path, overwrite: bool) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` on success, remove it on anything else."""
    _check_destination(path, overwrite)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield temporary
        _check_destination(path, overwrite)
        if path.is_dir():
            old = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
            os.replace(path, old)
            try:
                os.replace(temporary, path)
            except BaseException:
                os.replace(old, path)
                raise
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def _check_destination(path: Path, overwrite: bool) -> None:
    if not path.parent.is_dir():
        raise ImageFileError(f"{path}: the folder {path.parent} does not exist; make it first")
    if not path.exists():
        return
    if not overwrite:
        raise ImageFileError(f"{path}: exists already; choose another name or allow overwriting")
    if path.is_dir():
        from .zarr_reader import holds_one_image

        if not holds_one_image(path):
            raise ImageFileError(
                f"{path}: is a folder that is not Zarr, or Zarr of several images, and will not be replaced"
            )


def contains(folder: Path, path: Path) -> bool:
    """Whether a path is a folder, or lies in it, wherever links lead.

    Examples
    --------
    >>> contains(Path("plate.zarr"), Path("plate.zarr/A/1")), contains(Path("a.zarr"), Path("a.zarr.old"))
    (True, False)
    """
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
