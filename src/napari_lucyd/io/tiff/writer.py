"""Writing TIFF: OME-TIFF, and ImageJ's hyperstacks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_lucyd.io.image import Channel, ImageFileError, spatial, to_json
from napari_lucyd.io.ome_xml import color_number
from napari_lucyd.io.units import unit_symbol
from napari_lucyd.text import printable

from .annotations import CHANNELS, NAMESPACE

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
    channels: Sequence[Channel] = (),
) -> None:
    """Write a TIFF file; see :func:`napari_lucyd.io.write_image`.

    Parameters
    ----------
    path
        Destination; an existing file is overwritten.
    array
        Axes in the order TCZYX.
    axes, voxel_size, unit
        Axes, voxel size and unit of the array; the unit in canonical spelling.
    notes
        JSON text to keep in the file, or "".
    name
        Name of the image.
    ome
        OME-TIFF; else ImageJ's format where it can hold the array.
    channels
        Channels; see `napari_lucyd.io.write_image`.
    """
    dtype = np.dtype(np.uint8) if array.dtype == bool else np.dtype(array.dtype)
    size = math.prod(array.shape) * dtype.itemsize
    if not ome and dtype.name in _IMAGEJ_DTYPES and size < _IMAGEJ_BYTES:
        _write_imagej(path, array, dtype, axes, voxel_size, unit, notes, channels)
    else:
        _write_ome(path, array, dtype, axes, voxel_size, unit, notes, name, channels)


def _write_ome(
    path: Path,
    array: Any,
    dtype: np.dtype[Any],
    axes: str,
    voxel_size: tuple[float, ...] | None,
    unit: str | None,
    notes: str,
    name: str,
    channels: Sequence[Channel],
) -> None:
    if dtype.name in ("int64", "uint64", "float16"):
        raise ImageFileError(f"OME-TIFF cannot hold {dtype}; convert to float32 first, or write .ome.zarr")
    metadata: dict[str, Any] = {"axes": axes, "Name": _attribute(name)}
    if voxel_size is not None:
        for letter, step in zip(spatial(axes), voxel_size, strict=True):
            metadata[f"PhysicalSize{letter}"] = step
            metadata[f"PhysicalSize{letter}Unit"] = unit_symbol(unit) or "pixel"
    comments = {NAMESPACE: notes, CHANNELS: _described(channels)}
    metadata["CommentAnnotation"] = [
        {"Namespace": namespace, "Value": text} for namespace, text in comments.items() if text
    ]
    if channels:
        metadata["Channel"] = [_ome_channel(channel) for channel in channels]
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
    channels: Sequence[Channel],
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
    comments = {NAMESPACE: notes, CHANNELS: _described(channels)}
    lines = [f"{namespace}: {text}" for namespace, text in comments.items() if text]
    if lines:
        metadata["Info"] = "\n".join(lines)
    if channels and all(channel.limits for channel in channels):
        metadata["Ranges"] = tuple(limit for channel in channels for limit in channel.limits or ())
    if channels and all(channel.color for channel in channels):
        metadata["LUTs"] = [_lookup_table(channel.color or "") for channel in channels]
        if len(channels) > 1:
            metadata["mode"] = "composite"
    with tifffile.TiffWriter(path, imagej=True) as tif:
        tif.write(
            _pages(array, dtype, order),
            shape=shape,
            dtype=dtype,
            photometric="minisblack",
            resolution=resolution,
            metadata=metadata,
        )


def _described(channels: Sequence[Channel]) -> str:
    """Encode the channels as JSON, for neither format can hold them completely."""
    return to_json([asdict(channel) for channel in channels]) if channels else ""


def _ome_channel(channel: Channel) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if channel.name is not None:
        told["Name"] = _attribute(channel.name)
    if channel.color is not None:
        told["Color"] = color_number(channel.color)
    return told


def _attribute(text: str) -> str:
    """Return a text for an attribute of OME-XML; tifffile up to 2025 does not escape a quotation mark."""
    return printable(text).replace('"', "'")


def _lookup_table(color: str) -> np.ndarray:
    """Return ImageJ's lookup table from black to a colour."""
    top = np.array([int(color[start : start + 2], 16) for start in (1, 3, 5)])
    return np.rint(np.outer(top, np.arange(256)) / 255).astype(np.uint8)


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
