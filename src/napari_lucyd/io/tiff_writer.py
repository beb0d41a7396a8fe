"""Writing TIFF: OME-TIFF, and ImageJ's hyperstacks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from .image import ImageFileError, spatial
from .tiff import NAMESPACE
from .units import unit_symbol

_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
_IMAGEJ_BYTES = 2**32 - 2**25  # beyond it, only readers that know ImageJ's own convention see every page


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
