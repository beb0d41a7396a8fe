"""Reading of blocks: continued by reflection, with NaNs filled, and resampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_lucyd.compute.threads import copy_into
from napari_lucyd.deconvolution.image.source import Source, to_float32
from napari_lucyd.deconvolution.statistics.scaling import Group
from napari_lucyd.deconvolution.tiling.geometry import Geometry
from napari_lucyd.deconvolution.tiling.tiles import Tile, reflected
from napari_lucyd.spans import Span, within

# Half widths of the windows that fill NaN, tried in turn; a voxel without finite neighbours in the last gets
# a constant. Unlike a search for the nearest voxel, windows give values that do not depend on the tile.
_RADII = (1, 3, 8)
NAN_MARGIN = _RADII[-1]
"""Distance in voxels at which a finite voxel still fills a NaN."""


class Filled(NamedTuple):
    """A part of a volume, float32, in units of the image; ``missing`` marks its NaNs (None without any)."""

    values: npt.NDArray[np.float32]
    missing: npt.NDArray[np.bool_] | None


def read_filled(source: Source, lead: Sequence[int], spans: Sequence[Span], group: Group) -> Filled:
    """Read a part of a volume on its own grid, and fill its NaNs from their surroundings."""
    values = source.read(lead, spans)
    return _filled(values, group) if group.nan_voxels else Filled(to_float32(values), None)


def _filled(values: npt.NDArray[Any], group: Group) -> Filled:
    values = to_float32(values)
    missing = np.isnan(values)
    return Filled(fill_nan(values, group.lo), missing) if missing.any() else Filled(values, None)


def middle_of(shape: Sequence[int], voxels: int) -> tuple[Span, ...]:
    """Return the middle of a volume with at most about this number of voxels; whole planes if they fit."""
    sizes = list(shape)
    for axis in range(len(sizes)):
        others = math.prod(sizes) // sizes[axis]
        sizes[axis] = max(1, min(sizes[axis], max(32, voxels // others)))
    return tuple(Span((n - size) // 2, (n - size) // 2 + size) for n, size in zip(shape, sizes, strict=True))


def read_block(
    source: Source,
    lead: Sequence[int],
    tile: Tile,
    geometry: Geometry,
    group: Group,
    out: npt.NDArray[np.float32],
) -> npt.NDArray[np.bool_] | None:
    """Read the block of a tile: continue it by reflection, fill its NaNs and resample it.

    Parameters
    ----------
    out
        Array for the block, (Z, Y, X) or (Y, X), in units of the image, on the network's grid.

    Returns
    -------
    numpy.ndarray or None
        Mask of the tile's voxels that are NaN in the source; None if there are none.
    """
    block = geometry.block(tile)
    # The reflected voxels lie within the block, except for tiny blocks, which need more.
    whole = [with_reflected(span, size) for span, size in zip(block, geometry.shape, strict=True)]
    inner = [
        Span(max(0, span.start), min(n, span.stop)) for span, n in zip(whole, geometry.shape, strict=True)
    ]
    weights = None
    if geometry.resampling is not None:
        planes, weights = geometry.resampling.there(block[0], geometry.shape[0])
        inner[0] = Span(int(planes[0]), int(planes[-1]) + 1)
        whole[0] = block[0]
    spans = inner
    if group.nan_voxels:  # filling uses a margin, so that the result is the same in every block
        spans = [
            Span(max(0, span.start - NAN_MARGIN), min(size, span.stop + NAN_MARGIN))
            for span, size in zip(inner, geometry.shape, strict=True)
        ]
    slab, missing = source.read(lead, spans), None
    if group.nan_voxels:
        slab, missing = _filled(slab, group)
    if missing is not None:
        missing = missing[within(tile.spans, spans)]
    slab = slab[within(inner, spans)]
    if weights is not None:
        slab = np.tensordot(weights, to_float32(slab), axes=1)
        inner[0] = block[0]
    room = out if tuple(whole) == block else np.empty([span.size for span in whole], dtype=np.float32)
    copy_into(room[within(inner, whole)], slab)
    for axis, size in enumerate(geometry.shape):
        _reflect(np.moveaxis(room, axis, 0), whole[axis], inner[axis], size)
    if room is not out:
        out[...] = room[within(block, whole)]
    return missing


def with_reflected(span: Span, size: int) -> Span:
    """Extend a span by the voxels that its reflection repeats."""
    indices = reflected(span, size)
    return Span(min(span.start, int(indices.min())), max(span.stop, int(indices.max()) + 1))


def _reflect(values: npt.NDArray[np.float32], span: Span, known: Span, size: int) -> None:
    """Continue the planes ``known`` to both ends of ``span`` by reflection, in place."""
    for beyond in (Span(span.start, known.start), Span(known.stop, span.stop)):
        if beyond.size:
            indices = reflected(beyond, size) - span.start
            place = values[beyond.start - span.start : beyond.stop - span.start]
            if beyond.size > 1 and (np.diff(indices) == -1).all():  # except in tiny volumes
                last = int(indices[-1])
                copy_into(place, values[last : int(indices[0]) + 1][::-1])
            else:
                place[...] = values[indices]


def fill_nan(values: npt.NDArray[np.float32], constant: float) -> npt.NDArray[np.float32]:
    """Copy an array, with each NaN replaced by the mean of the finite voxels around it.

    The window is the smallest that holds a finite voxel.

    Parameters
    ----------
    values
        (Z, Y, X) or (Y, X), with NaN.
    constant
        Value for voxels without a finite one within `NAN_MARGIN`; in units of the image.
    """
    missing = np.isnan(values)
    filled = values.copy()
    known = np.where(missing, 0, values).astype(np.float64)
    weight = (~missing).astype(np.float64)
    for radius in _RADII:
        if not missing.any():
            break
        number = _window_sum(weight, radius)
        here = missing & (number > 0)
        filled[here] = (_window_sum(known, radius)[here] / number[here]).astype(np.float32)
        missing &= ~here
    filled[missing] = constant
    return filled


def _window_sum(values: npt.NDArray[np.float64], radius: int) -> npt.NDArray[np.float64]:
    """Sum over windows of 2 radius + 1 voxels along every axis, with zeros outside.

    The sum is formed shift by shift, because a running sum would round differently from tile to tile.
    """
    for axis, size in enumerate(values.shape):
        total = values.copy()
        for shift in range(1, min(radius, size - 1) + 1):
            front = [slice(None)] * values.ndim
            rear = [slice(None)] * values.ndim
            front[axis], rear[axis] = slice(shift, None), slice(None, -shift)
            total[tuple(rear)] += values[tuple(front)]
            total[tuple(front)] += values[tuple(rear)]
        values = total
    return values
