"""TIFF in its three kinds: ImageJ hyperstack, OME-TIFF, plain pages."""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from .image import (
    Image,
    ImageFileError,
    Stored,
    as_json_dict,
    canonical_order,
    resolve_axes,
    spatial,
)
from .units import common_unit, unit_symbol

NAMESPACE = "napari-lucyd"
"""Marks our metadata among the annotations of an OME-TIFF and in ImageJ's image information."""

_COLOURED = tuple(tifffile.PHOTOMETRIC[word] for word in ("RGB", "PALETTE", "SEPARATED", "YCBCR", "CIELAB"))
_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
_IMAGEJ_BYTES = 2**32 - 2**25  # beyond it, only readers that know ImageJ's own convention see every page


def read_tiff(path: Path, *, name: str, eager_bytes: int | None) -> Image:
    """Read the first image of a TIFF file; see :func:`napari_lucyd.io.read_image`.

    Parameters
    ----------
    path
        The file.
    name
        Name of the image.
    eager_bytes
        Larger images become dask arrays; None: none does, -1: all do.
    """
    with _complaints() as complaints:
        return _read(path, name, eager_bytes, complaints)


def _read(path: Path, name: str, eager_bytes: int | None, complaints: list[str]) -> Image:
    tif = tifffile.TiffFile(path)
    keep_open = False
    try:
        if not tif.series:
            raise ImageFileError("the file holds no image")
        # An OME-TIFF may tell of images in other files as well, such as the other positions of a recording.
        own = list(tif.series)
        # Asked for in other kinds of files, all pages would be looked up, which takes long.
        if own[0].kind in ("ome", "mmstack"):
            own = [each for each in own if any(page and page.parent is tif for page in each)] or own
            _refuse_gaps(own[0], tif, path)
            complaints = [text for text in complaints if "OME series failed to read" not in text]
        series = own[0]
        # tifffile goes on without the pages that it cannot find; half a stack is worse than none.
        if any("invalid page offset" in complaint for complaint in complaints):
            raise ImageFileError("the file is cut off: some of its pages lie beyond its end")
        _refuse_colour(series)
        count = len(own)
        notes = [f"the file holds {count} images; the first was read"] if count > 1 else []
        if series.is_multifile:
            files = len({page.parent.filename for page in series if page})
            notes.append(f"the image lies in {files} files; all of them were read")
        axes, guesses = _axes(series)
        voxel_size, unit, told = _voxel_size(tif, axes)
        keep_open = eager_bytes is not None and series.nbytes > eager_bytes
        data = _lazy(series, path, tif.close) if keep_open else series.asarray().reshape(_kept_shape(series))
        image = Image(
            data=data.transpose(canonical_order(axes)),
            axes="".join(axes[index] for index in canonical_order(axes)),
            voxel_size=voxel_size,
            unit=unit,
            name=name,
            metadata=_metadata(tif),
            warnings=(*notes, *guesses, *told, *complaints),
        )
    except BaseException:
        tif.close()
        raise
    if not keep_open:
        tif.close()
    return image


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what tifffile logs about a file, which would otherwise land on the terminal."""
    heard: list[str] = []
    thread = threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                heard.append(f"tifffile: {record.getMessage()}")

    logger = logging.getLogger("tifffile")
    listener = Listener(logging.WARNING)
    logger.addHandler(listener)
    try:
        yield heard
    finally:
        logger.removeHandler(listener)


def _lazy(series: tifffile.TiffPageSeries, path: Path, close: Callable[[], None]) -> Any:
    if series.dataoffset is not None:
        close()
        return Stored(_Mapped(path), path).as_dask().reshape(_kept_shape(series))

    import zarr

    stored = Stored(zarr.open_array(series.aszarr(level=0), mode="r"), path, close)
    return stored.as_dask().reshape(_kept_shape(series))


class _Mapped:
    """A TIFF that lies uncompressed and in one piece: of a page, only what is asked for is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._array = tifffile.memmap(path, series=0, level=0, mode="r")
        self.shape, self.dtype = self._array.shape, self._array.dtype
        self.chunks = (1,) * (self._array.ndim - 2) + self.shape[-2:]

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.asarray(self._array[index])

    def __reduce__(self) -> tuple[type[_Mapped], tuple[Path]]:
        # To another process goes the path; NumPy would send the voxels.
        return _Mapped, (self._path,)


def _refuse_gaps(series: tifffile.TiffPageSeries, tif: tifffile.TiffFile, path: Path) -> None:
    """Raise where planes of an image in several files are missing, for which tifffile puts zeros."""
    missing = sum(page is None for page in series)
    if missing:
        absent = sorted(name for name in _files_of(tif, path) if not (path.parent / name).exists())
        raise ImageFileError(
            f"{missing} of the image's {len(series)} planes are missing"
            + (f", and so is {absent[0]!r}" if absent else "")
            + (f" ({len(absent)} files in all)" if len(absent) > 1 else "")
            + ": put all files of the recording into one folder, or save what there is as one file"
        )


def files_of(path: Path) -> set[str]:
    """The names of the files in which the image of an OME-TIFF lies, its own among them.

    Reads no more than the head of the file; what cannot be read is for `read_tiff` to tell.

    Parameters
    ----------
    path
        The file.
    """
    try:
        with _complaints(), tifffile.TiffFile(path) as tif:
            return _files_of(tif, path)
    # As in read_image: a damaged file makes the parsers raise nearly anything.
    except Exception:
        return {path.name}


def _files_of(tif: tifffile.TiffFile, path: Path) -> set[str]:
    # Most OME-TIFFs are alone, and their XML need not be parsed to know it.
    if tif.is_ome and tif.ome_metadata and "FileName=" in tif.ome_metadata:
        for image in ElementTree.fromstring(tif.ome_metadata).iter():
            if image.tag.rpartition("}")[2] == "Image":
                names = {element.get("FileName") for element in image.iter()} - {None}
                if path.name in names:
                    return {str(name) for name in names}
    return {path.name}


def _refuse_colour(series: tifffile.TiffPageSeries) -> None:
    photometric = series.keyframe.photometric
    if photometric in _COLOURED and ("S" in series.axes or photometric == tifffile.PHOTOMETRIC.PALETTE):
        raise ImageFileError(
            f"a colour picture ({tifffile.PHOTOMETRIC(photometric).name}, axes {series.axes}, "
            f"shape {series.shape}); expected measured intensities: save its channels as grey images "
            "(Fiji: Image > Color > Split Channels)"
        )
    if np.dtype(series.dtype).kind not in "buif":
        raise ImageFileError(f"values of type {series.dtype}; expected real numbers")
    if 0 in series.shape:
        raise ImageFileError(f"an image of shape {series.shape}, without voxels")


def _kept(series: tifffile.TiffPageSeries) -> list[int]:
    """Return the axes to keep: named ones, and others with more than one entry."""
    named = enumerate(zip(series.axes, series.shape, strict=True))
    return [index for index, (letter, size) in named if letter in "YX" or size > 1]


def _kept_shape(series: tifffile.TiffPageSeries) -> tuple[int, ...]:
    return tuple(series.shape[index] for index in _kept(series))


def _axes(series: tifffile.TiffPageSeries) -> tuple[str, tuple[str, ...]]:
    letters = "".join(series.axes[index] for index in _kept(series))
    if "C" not in letters:
        letters = letters.replace("S", "C")  # several grey samples a pixel are channels
    return resolve_axes(letters, _kept_shape(series))


# ---------------------------------------------------------------------------------------------- voxel size

_Stated = tuple[
    tuple[float, ...] | None, str | None, tuple[str, ...]
]  # voxel size, unit, what to tell the user


def _voxel_size(tif: tifffile.TiffFile, axes: str) -> _Stated:
    if tif.is_ome and tif.ome_metadata:
        pixels = _first(ElementTree.fromstring(tif.ome_metadata), "Pixels")
        if pixels is None:
            return None, None, ()
        letters = spatial(axes)
        sizes = [_number(pixels.get(f"PhysicalSize{letter}")) for letter in letters]
        units = [pixels.get(f"PhysicalSize{letter}Unit", "µm") for letter in letters]
        return _told(*common_unit(sizes, units), sizes, letters)
    if tif.is_imagej:
        return _imagej_voxel_size(tif, axes)
    return None, None, ()


def _imagej_voxel_size(tif: tifffile.TiffFile, axes: str) -> _Stated:
    stated = tif.imagej_metadata or {}
    tags = tif.pages.first.tags
    sizes = [_step(tags, "YResolution"), _step(tags, "XResolution")]
    unit = str(stated.get("unit", "pixel"))
    # ImageJ keeps other units for Y and Z where they differ from X's; absent, they are the same.
    units = [str(stated.get("yunit", unit)), unit]
    notes: tuple[str, ...] = ()
    if "Z" in axes:
        spacing = stated.get("spacing")
        sizes.insert(0, 1.0 if spacing is None else _number(spacing))
        units.insert(0, str(stated.get("zunit", unit)))
        if spacing is None and unit != "pixel":
            notes = (f"the file states no Z step; like ImageJ, it is taken as 1 {unit}",)
    voxel_size, name, told = _told(*common_unit(sizes, units), sizes, spatial(axes))
    if name is None and voxel_size is not None and all(size == 1.0 for size in voxel_size):
        return None, None, ()
    return voxel_size, name, (*notes, *told)


def _told(
    voxel_size: tuple[float, ...] | None, unit: str | None, sizes: list[float | None], letters: str
) -> _Stated:
    if voxel_size is not None or all(size is None for size in sizes):
        return voxel_size, unit, ()
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


def _first(root: ElementTree.Element, tag: str) -> ElementTree.Element | None:
    """Find the first element called `tag` in whatever version of the OME namespace."""
    return next((element for element in root.iter() if element.tag.rpartition("}")[2] == tag), None)


def _metadata(tif: tifffile.TiffFile) -> dict[str, Any]:
    if tif.is_ome and tif.ome_metadata:
        for element in ElementTree.fromstring(tif.ome_metadata).iter():
            if element.tag.endswith("CommentAnnotation") and element.get("Namespace") == NAMESPACE:
                value = _first(element, "Value")
                return _parsed(value.text if value is not None else None)
    elif tif.is_imagej:
        information = str((tif.imagej_metadata or {}).get("Info", ""))
        if information.startswith(f"{NAMESPACE}: "):
            return _parsed(information.partition(": ")[2])
    return {}


def _parsed(text: str | None) -> dict[str, Any]:
    try:
        return as_json_dict(json.loads(text or "{}"))
    except json.JSONDecodeError:
        return {}  # edited by another program; the image is still good


# ------------------------------------------------------------------------------------------------- writing


def write_tiff(
    path: Path,
    array: Any,
    *,
    axes: str,
    voxel_size: tuple[float, ...] | None,
    unit: str | None,
    notes: str,
    name: str,
    ome: bool,
) -> None:
    """Write a TIFF file; see :func:`napari_lucyd.io.write_image`.

    Parameters
    ----------
    path
        Where to, overwritten.
    array
        Axes in the order TCZYX.
    axes, voxel_size, unit
        Of the array; the unit in canonical spelling.
    notes
        JSON text to keep in the file, or "".
    name
        Name of the image.
    ome
        OME-TIFF; else ImageJ's format where it can hold the array.
    """
    dtype = np.dtype(np.uint8) if array.dtype == bool else np.dtype(array.dtype)
    size = math.prod(array.shape) * dtype.itemsize
    if not ome and dtype.name in _IMAGEJ_DTYPES and size < _IMAGEJ_BYTES:
        _write_imagej(path, array, dtype, axes, voxel_size, unit, notes)
    else:
        _write_ome(path, array, dtype, axes, voxel_size, unit, notes, name)


def _write_ome(
    path: Path,
    array: Any,
    dtype: np.dtype[Any],
    axes: str,
    voxel_size: tuple[float, ...] | None,
    unit: str | None,
    notes: str,
    name: str,
) -> None:
    if dtype.name in ("int64", "uint64", "float16"):
        raise ImageFileError(f"OME-TIFF cannot hold {dtype}; convert to float32 first, or write .ome.zarr")
    metadata: dict[str, Any] = {"axes": axes, "Name": name}
    if voxel_size is not None:
        for letter, step in zip(spatial(axes), voxel_size, strict=True):
            metadata[f"PhysicalSize{letter}"] = step
            metadata[f"PhysicalSize{letter}Unit"] = unit_symbol(unit) or "pixel"
    if notes:
        metadata["CommentAnnotation"] = {"Namespace": NAMESPACE, "Value": notes}
    with tifffile.TiffWriter(path, ome=True, bigtiff=_needs_bigtiff(array, dtype)) as tif:
        tif.write(
            _pages(array, dtype, range(len(axes))),
            shape=array.shape,
            dtype=dtype,
            photometric="minisblack",
            metadata=metadata,
        )


def _write_imagej(
    path: Path,
    array: Any,
    dtype: np.dtype[Any],
    axes: str,
    voxel_size: tuple[float, ...] | None,
    unit: str | None,
    notes: str,
) -> None:
    order = [axes.index(letter) for letter in "TZCYX" if letter in axes]  # ImageJ's own order
    # In full, one sample a pixel at the end: an image one pixel wide would be taken for samples.
    shape = (*(array.shape[axes.index(letter)] if letter in axes else 1 for letter in "TZCYX"), 1)
    metadata: dict[str, Any] = {"axes": "TZCYXS"}
    # ASCII, as the tag is; ImageJ and Bio-Formats show "um" as µm.
    spelling = {"micrometer": "um", "angstrom": "angstrom", "inch": "inch", None: "pixel"}
    metadata["unit"] = spelling.get(unit, unit_symbol(unit))
    resolution = (1.0, 1.0)
    if voxel_size is not None:
        resolution = (1 / voxel_size[-1], 1 / voxel_size[-2])
        if "Z" in axes:
            metadata["spacing"] = voxel_size[0]
    if notes:
        metadata["Info"] = f"{NAMESPACE}: {notes}"
    with tifffile.TiffWriter(path, imagej=True) as tif:
        tif.write(
            _pages(array, dtype, order),
            shape=shape,
            dtype=dtype,
            photometric="minisblack",
            resolution=resolution,
            metadata=metadata,
        )


def _needs_bigtiff(array: Any, dtype: np.dtype[Any]) -> bool:
    return math.prod(int(size) for size in array.shape) * dtype.itemsize >= _IMAGEJ_BYTES


def _pages(array: Any, dtype: np.dtype[Any], order: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield the (Y, X) pages of `array` in the given order of its axes, holding one volume at a time."""
    leading = list(order[:-2])
    in_order = leading == sorted(leading)  # then the last leading axis is read whole, not plane by plane
    outer = leading[:-1] if in_order else leading
    for index in np.ndindex(*(array.shape[axis] for axis in outer)):
        where: list[Any] = [slice(None)] * array.ndim
        for axis, entry in zip(outer, index, strict=True):
            where[axis] = entry
        block = np.asarray(array[tuple(where)], dtype=dtype)
        yield from block if block.ndim == 3 else [block]
