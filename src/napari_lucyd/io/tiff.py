"""Reading TIFF: OME-TIFF, ImageJ hyperstacks, LSM, STK, plain pages."""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, tostring

import numpy as np
import tifffile

from napari_lucyd.text import steps_text

from . import ome_xml
from .image import (
    Channel,
    Image,
    ImageFileError,
    Optics,
    Stored,
    as_json_dict,
    channel_from_json,
    check_voxel_size,
    order_axes,
    spatial,
)
from .units import common_unit

NAMESPACE = "napari-lucyd"
"""Marks our metadata among the annotations of an OME-TIFF and in ImageJ's image information."""

CHANNELS = "napari-lucyd/channels"
"""Marks the channels' names, colours and limits, which neither format can hold completely."""

_COLOURED = tuple(tifffile.PHOTOMETRIC[word] for word in ("RGB", "SEPARATED", "YCBCR", "CIELAB"))
# More channels than microscopes take at once: in a file of ImageJ without Z, more likely planes.
_CHANNELS = 4
_MOST_COMPLAINTS = 200


def read_tiff(
    path: Path,
    *,
    name: str,
    eager_bytes: int | None,
    axes: str | None = None,
    voxel_size: Sequence[float] | None = None,
) -> Image:
    """Read the first image of a TIFF file; see :func:`napari_lucyd.io.read_image`.

    Parameters
    ----------
    path
        The file.
    name
        Name of the image.
    eager_bytes
        Larger images become dask arrays; None: none does, -1: all do.
    axes, voxel_size
        Known better than the file tells; the voxel size in micrometres.
    """
    with _complaints() as complaints:
        tif, root, notes = _open(path)
        keep_open = False
        try:
            series, told = _own_series(tif, path)
            # tifffile goes on without the pages that it cannot find; half a stack is worse than none.
            if any("invalid page offset" in complaint for complaint in complaints):
                raise ImageFileError("the file is cut off: some of its pages lie beyond its end")
            _refuse_colour(series, axes)
            kept = _kept(series)
            shape = tuple(series.shape[index] for index in kept)
            order, letters, guesses = order_axes(_letters(series, kept), shape, axes)
            described = _described_image(series, root, path)
            steps, unit, sized = _voxel_size(tif, described, letters, declared=axes)
            if voxel_size is not None:
                steps, unit, sized = check_voxel_size(voxel_size, letters), "micrometer", ()
            if axes is None:
                told += _doubtful_channels(tif, dict(zip(letters, (shape[i] for i in order), strict=True)))
            told += (*guesses, *sized, *_palette(series))
            metadata, channels = _metadata(tif, root), _channels(tif, root, described)
            keep_open = eager_bytes is not None and series.nbytes > eager_bytes
            # The last thing that is asked of the file, which may be closed by it.
            data = _lazy(series, path, shape, tif.close) if keep_open else series.asarray().reshape(shape)
        except BaseException:
            tif.close()
            raise
        if not keep_open:
            tif.close()
    # Positions that lie in other files may be absent; gaps in this image were refused.
    heard = [text for text in dict.fromkeys(complaints) if "OME series failed to read" not in text]
    return Image(
        data=data.transpose(order),
        axes=letters,
        voxel_size=steps,
        unit=unit,
        name=name,
        metadata=metadata,
        warnings=(*notes, *told, *heard),
        channels=channels,
        optics=_optics(root, described),
    )


def _open(path: Path) -> tuple[tifffile.TiffFile, Element | None, tuple[str, ...]]:
    """Open a file and its OME-XML, which may be in another file."""
    tif = tifffile.TiffFile(path)
    try:
        root = ome_xml.parse(tif.ome_metadata) if tif.is_ome else None
        if root is None:
            return tif, None, ()
        companion = ome_xml.companion_name(root)
        if companion is not None:
            root = _companion(path.parent, companion)
            if root is None:
                return tif, None, (_undescribed(companion),)
        alone = sum(1 for _ in ome_xml.elements(root, "Image")) == 1
        if alone and companion is None and next(ome_xml.elements(root, "UUID"), None) is None:
            return tif, root, ()
        ome_xml.tell_files_apart_by_name(root, path)
        ome_xml.number_images(root)
    except BaseException:
        tif.close()
        raise
    tif.close()
    return tifffile.TiffFile(path, omexml=tostring(root, "unicode")), root, ()


def _undescribed(companion: str) -> str:
    where = f"in {companion!r} beside it" if companion else "in another file, which it does not name"
    return (
        f"the description of the image should lie {where}, but cannot be read: axes and voxel size are not "
        "known, and this file may hold no more than a part of the image"
    )


def _companion(folder: Path, name: str) -> Element | None:
    """Read the OME-XML of a BinaryOnly file from its companion: a text file, or another OME-TIFF."""
    path = folder / name
    if name in ("", ".", "..") or not path.is_file():
        return None
    if path.suffix.lower() not in (".tif", ".tiff", ".btf", ".tf2", ".tf8"):
        return ome_xml.parse(path.read_text("utf-8", "replace"))
    with tifffile.TiffFile(path) as tif:
        root = ome_xml.parse(tif.ome_metadata if tif.is_ome else None)
    return None if root is None or ome_xml.companion_name(root) is not None else root


def _own_series(tif: tifffile.TiffFile, path: Path) -> tuple[tifffile.TiffPageSeries, tuple[str, ...]]:
    """Choose the image of a file to read; report the others."""
    if not tif.series:
        raise ImageFileError("the file holds no image")
    # An OME-TIFF may tell of images in other files as well, such as the other positions of a recording.
    own = list(tif.series)
    # Asked for in other kinds of files, all pages would be looked up, which takes long.
    if own[0].kind in ("ome", "mmstack"):
        own = [each for each in own if any(page and page.parent is tif for page in each)] or own
        _refuse_gaps(own[0], tif, path)
    # The other images of an LSM are its thumbnails.
    if len(own) == 1 or own[0].kind == "lsm":
        own = own[:1]
    elif (stack := _stack_of_pages(own)) is not None:
        return stack, ()
    told = [f"the file holds {len(own)} images; the first was read"] if len(own) > 1 else []
    if own[0].is_multifile:
        files = len({page.parent.filename for page in own[0] if page})
        told.append(f"the image lies in {files} files; all of them were read")
    return own[0], tuple(told)


def _stack_of_pages(own: Sequence[tifffile.TiffPageSeries]) -> tifffile.TiffPageSeries | None:
    """Join equal pages that were written one by one into a stack; None if they differ."""
    first = own[0]
    if first.kind not in ("shaped", "generic"):
        return None
    if any(len(each.pages) != 1 or each.shape != each.keyframe.shape for each in own):
        return None
    pages = [each.keyframe for each in own]
    if len({page.hash for page in pages}) > 1 or any(page.is_reduced for page in pages):
        return None
    return tifffile.TiffPageSeries(
        pages, (len(pages), *first.shape), first.dtype, "I" + first.axes, kind="generic"
    )


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect tifffile's log messages, which would otherwise be printed to the terminal."""
    heard: list[str] = []
    thread = threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                heard.append(f"tifffile: {record.getMessage()}")
            # In what is left of some damaged files, tifffile finds errors for minutes.
            if len(heard) > _MOST_COMPLAINTS:
                raise ImageFileError(f"the file is damaged in many places, the first: {heard[0]}")

    logger = logging.getLogger("tifffile")
    listener = Listener(logging.WARNING)
    logger.addHandler(listener)
    try:
        yield heard
    finally:
        logger.removeHandler(listener)


def _lazy(
    series: tifffile.TiffPageSeries, path: Path, shape: tuple[int, ...], close: Callable[[], None]
) -> Any:
    if series.dataoffset is not None and not series.is_multifile:
        close()
        dtype = np.dtype(series.keyframe.parent.byteorder + series.dtype.char)
        mapped = _Mapped(path, series.dataoffset, dtype, tuple(series.shape))
        return Stored(mapped, path).as_dask().reshape(shape)

    return _stored(series, path, close).as_dask().reshape(shape)


def _stored(series: tifffile.TiffPageSeries, path: Path, close: Callable[[], None]) -> Stored:
    import zarr

    place = path.absolute()
    array = zarr.open_array(series.aszarr(level=0), mode="r")
    return Stored(array, path, close, (_reopened, (place, place.stat().st_mtime_ns)))


@lru_cache(maxsize=4)
def _reopened(path: Path, changed: int) -> Stored:
    """Open the image of a file again, in another process; a dask graph asks for it with every chunk."""
    with _complaints():
        tif, _, _ = _open(path)
        try:
            series, _ = _own_series(tif, path)
        except BaseException:
            tif.close()
            raise
    return _stored(series, path, tif.close)


class _Mapped:
    """Uncompressed, contiguous voxels of a file, mapped into memory."""

    def __init__(self, path: Path, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._place = (path, offset, dtype, shape)
        self._array = np.memmap(path, dtype, "r", offset, shape)
        self.shape, self.dtype = shape, dtype
        self.chunks = (1,) * (len(shape) - 2) + shape[-2:]

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.asarray(self._array[index])

    def __reduce__(self) -> tuple[type[_Mapped], tuple[Any, ...]]:
        # To another process goes the path; NumPy would send the voxels.
        return _Mapped, self._place


def _refuse_gaps(series: tifffile.TiffPageSeries, tif: tifffile.TiffFile, path: Path) -> None:
    """Refuse an image with missing planes, which tifffile would fill with zeros."""
    missing = sum(page is None for page in series)
    if missing:
        described = _described_image(series, ome_xml.parse(tif.ome_metadata), path)
        names = set() if described is None else ome_xml.file_names(described)
        absent = sorted(name for name in names if not (path.parent / name).exists())
        raise ImageFileError(
            f"{missing} of the image's {len(series)} planes are missing"
            + (f", and so is {absent[0]!r}" if absent else "")
            + (f" ({len(absent)} files in all)" if len(absent) > 1 else "")
            + ": put all files of the recording into one folder, or save what there is as one file"
        )


def files_of(path: Path) -> set[str]:
    """Return the names of the files that hold the image of an OME-TIFF, including its own.

    Only metadata are read. Files that cannot be read raise no error here, but in `read_tiff`.

    Parameters
    ----------
    path
        The file.
    """
    try:
        with _complaints():
            tif, root, _ = _open(path)
            tif.close()
        image = None if root is None else ome_xml.image_in(root, path.name)
        names = set() if image is None else ome_xml.file_names(image)
        return names if path.name in names else {path.name}
    # The parsers may raise any error for a damaged file.
    except Exception:
        return {path.name}


def _described_image(series: tifffile.TiffPageSeries, root: Element | None, path: Path) -> Element | None:
    """Return the OME-XML element of a series."""
    if root is None:
        return None
    images = list(ome_xml.elements(root, "Image"))
    # See `ome_xml.number_images`.
    if series.kind == "ome" and series.name.isdecimal() and int(series.name) < len(images):
        return images[int(series.name)]
    return ome_xml.image_in(root, path.name)


def _refuse_colour(series: tifffile.TiffPageSeries, axes: str | None) -> None:
    keyframe = series.keyframe
    planar = "S" in series.axes and series.axes.index("S") < series.axes.index("Y")
    if keyframe.photometric in _COLOURED and "S" in series.axes and not (planar and axes):
        remedy = " If its planes are measured, give its axes: --axes ZYX or CYX." if planar else ""
        raise ImageFileError(
            f"a colour picture ({tifffile.PHOTOMETRIC(keyframe.photometric).name}, axes {series.axes}, "
            f"shape {series.shape}); expected measured intensities: save its channels as grey images "
            f"(Fiji: Image > Color > Split Channels).{remedy}"
        )
    if np.dtype(series.dtype).kind not in "buif":
        raise ImageFileError(f"values of type {series.dtype}; expected real numbers")
    if 0 in series.shape:
        raise ImageFileError(f"an image of shape {series.shape}, without voxels")


def _palette(series: tifffile.TiffPageSeries) -> tuple[str, ...]:
    """Warn of a palette whose colours do not grow with the value; its values may be no intensities."""
    colours = series.keyframe.colormap
    if colours is None or bool(np.all(np.diff(np.asarray(colours, np.int64), axis=-1) >= 0)):
        return ()
    return ("the file shows its values through a palette of colours; the values were read as intensities",)


def _doubtful_channels(tif: tifffile.TiffFile, sizes: dict[str, int]) -> tuple[str, ...]:
    """Warn of planes that were probably saved as channels; tifffile does so if no axes are given."""
    if not tif.is_imagej or "Z" in sizes or sizes.get("C", 0) <= _CHANNELS:
        return ()
    axes = "".join(sizes).replace("C", "Z")
    return (
        f"the file says {sizes['C']} channels and no Z; if these are the planes of a stack, give its axes: "
        f"--axes {axes}",
    )


def _kept(series: tifffile.TiffPageSeries) -> list[int]:
    """Return the indices of Y, X and all axes with more than one entry."""
    named = enumerate(zip(series.axes, series.shape, strict=True))
    return [index for index, (letter, size) in named if letter in "YX" or size > 1]


def _letters(series: tifffile.TiffPageSeries, kept: Sequence[int]) -> str:
    letters = "".join(series.axes[index] for index in kept)
    # Several grey samples a pixel are channels.
    return letters if "C" in letters else letters.replace("S", "C")


# ---------------------------------------------------------------------------------------------- voxel size

# The voxel size, its unit, and what to tell the user.
_Stated = tuple[tuple[float, ...] | None, str | None, tuple[str, ...]]


def _voxel_size(
    tif: tifffile.TiffFile, described: Element | None, axes: str, *, declared: str | None
) -> _Stated:
    letters = spatial(axes)
    if described is not None:
        sizes, units = ome_xml.voxel_steps(described, letters)
    elif tif.is_imagej:
        return _imagej_voxel_size(tif, axes, declared)
    elif tif.is_lsm:
        sizes = [_number((tif.lsm_metadata or {}).get(f"VoxelSize{letter}")) for letter in letters]
        # In metres; 0.3, not 0.30000000000000004.
        sizes = [None if size is None else float(f"{size * 1e6:.9g}") for size in sizes]
        units = ["micrometer"] * len(letters)
    elif tif.is_stk:
        sizes, units = _metamorph_steps(tif.stk_metadata or {}, letters)
    else:
        return None, None, ()
    return _told(*common_unit(sizes, units), sizes, units, letters)


def _metamorph_steps(stated: dict[str, Any], letters: str) -> tuple[list[float | None], list[str | None]]:
    if not stated.get("SpatialCalibration", 1):
        return [None] * len(letters), [None] * len(letters)
    unit = str(stated.get("CalibrationUnits", "pixel"))
    distances = np.abs(np.atleast_1d(np.asarray(stated.get("ZDistance", ()), float)))
    steps = {
        "Z": float(np.median(distances)) if distances.size else None,
        "Y": _number(stated.get("YCalibration")),
        "X": _number(stated.get("XCalibration")),
    }
    return [steps[letter] for letter in letters], [unit] * len(letters)


def _imagej_voxel_size(tif: tifffile.TiffFile, axes: str, declared: str | None) -> _Stated:
    stated = tif.imagej_metadata or {}
    tags = tif.pages.first.tags
    sizes = [_step(tags, "YResolution"), _step(tags, "XResolution")]
    unit = str(stated.get("unit", "pixel"))
    # ImageJ keeps other units for Y and Z where they differ from X's; absent, they are the same.
    units: list[str | None] = [str(stated.get("yunit", unit)), unit]
    notes: tuple[str, ...] = ()
    if "Z" in axes:
        spacing = stated.get("spacing")
        # A movie that is a stack after all states no step along Z, and any other would be a guess.
        sizes.insert(0, _number(spacing) if spacing is not None else None if declared else 1.0)
        units.insert(0, str(stated.get("zunit", unit)))
        if spacing is None and unit != "pixel" and not declared:
            notes = (f"the file states no Z step; like ImageJ, it is taken as 1 {unit}",)
    voxel_size, name, told = _told(*common_unit(sizes, units), sizes, units, spatial(axes))
    known = [size for size in sizes if size is not None]
    if name is None and all(size == 1.0 for size in known):
        return None, None, ()
    return voxel_size, name, (*notes, *told)


def _told(
    voxel_size: tuple[float, ...] | None,
    unit: str | None,
    sizes: Sequence[float | None],
    units: Sequence[str | None],
    letters: str,
) -> _Stated:
    if voxel_size is not None or all(size is None for size in sizes):
        return voxel_size, unit, ()
    plane, plane_unit = common_unit(sizes[-2:], units[-2:])
    if letters[0] == "Z" and sizes[0] is None and plane is not None:
        known = steps_text(plane, 4)
        known = f"{known} {plane_unit or 'pixels'}"
        return None, None, (f"the file's voxel size, {known}, has none along Z and is not used",)
    stated = ", ".join(f"{a} {size}" for a, size in zip(letters, sizes, strict=True) if size is not None)
    return None, None, (f"the voxel size in the file is incomplete ({stated}) and was left out",)


def _step(tags: tifffile.TiffTags, name: str) -> float | None:
    tag = tags.get(name)
    if tag is None:
        return None
    count, length = tag.value
    return float(length) / float(count) if count else None


def _number(text: Any) -> float | None:
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


# ------------------------------------------------------------------------------------------------ metadata


def _metadata(tif: tifffile.TiffFile, root: Element | None) -> dict[str, Any]:
    if root is not None:
        return as_json_dict(_parsed(ome_xml.comment(root, NAMESPACE)))
    return as_json_dict(_parsed(_imagej_note(tif, NAMESPACE)))


def _channels(tif: tifffile.TiffFile, root: Element | None, described: Element | None) -> tuple[Channel, ...]:
    """Return the channels from our own annotation, or else from the format's fields."""
    noted = _imagej_note(tif, CHANNELS) if root is None else ome_xml.comment(root, CHANNELS)
    try:
        channels = tuple(channel_from_json(each) for each in _parsed(noted) or ())
    except (TypeError, ValueError):
        channels = ()
    if channels:
        return channels
    return ome_xml.channels(described) if described is not None else _imagej_channels(tif)


def _imagej_channels(tif: tifffile.TiffFile) -> tuple[Channel, ...]:
    stated = (tif.imagej_metadata or {}) if tif.is_imagej else {}
    limits = [float(value) for value in stated.get("Ranges", ())]
    pairs = list(zip(limits[::2], limits[1::2], strict=False))
    # The colour of a channel is that of its highest value.
    tops = [np.asarray(table)[:, -1] for table in stated.get("LUTs", ())]
    colors = ["#" + "".join(f"{int(part):02x}" for part in top) for top in tops]
    count = max(len(pairs), len(colors))
    return tuple(
        Channel(
            None,
            colors[index] if index < len(colors) else None,
            pairs[index] if index < len(pairs) else None,
        )
        for index in range(count)
    )


def _optics(root: Element | None, described: Element | None) -> Optics | None:
    return None if root is None or described is None else ome_xml.optics(root, described)


def _imagej_note(tif: tifffile.TiffFile, namespace: str) -> str | None:
    """Return our own entry in ImageJ's image information."""
    information = str((tif.imagej_metadata or {}).get("Info", "")) if tif.is_imagej else ""
    lines = [line for line in information.splitlines() if line.startswith(f"{namespace}: ")]
    return lines[0].partition(": ")[2] if lines else None


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except json.JSONDecodeError:
        return None  # edited by another program; the image is still good
