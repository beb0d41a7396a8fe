"""From a tile to the network's input, and from the network's output to what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_lucyd.compute.threads import copy_into
from napari_lucyd.deconvolution.image.source import Source, to_float32
from napari_lucyd.deconvolution.preprocessing.nan_filling import MARGIN, fill_nan
from napari_lucyd.deconvolution.statistics.scaling import Group
from napari_lucyd.deconvolution.tiling.geometry import Geometry
from napari_lucyd.deconvolution.tiling.tiles import Tile, reflected
from napari_lucyd.spans import Span


class Filled(NamedTuple):
    """A part of a volume, float32, in units of the image; ``missing`` is where it is NaN (None: nowhere)."""

    values: npt.NDArray[np.float32]
    missing: npt.NDArray[np.bool_] | None


def read_filled(source: Source, lead: Sequence[int], spans: Sequence[Span], group: Group) -> Filled:
    """A part of a volume on its own grid, its NaNs filled from what is around them."""
    values = source.read(lead, spans)
    return _filled(values, group) if group.nan_voxels else Filled(to_float32(values), None)


def _filled(values: npt.NDArray[Any], group: Group) -> Filled:
    values = to_float32(values)
    missing = np.isnan(values)
    return Filled(fill_nan(values, group.lo), missing) if missing.any() else Filled(values, None)


def read_block(
    source: Source,
    lead: Sequence[int],
    tile: Tile,
    geometry: Geometry,
    group: Group,
    out: npt.NDArray[np.float32],
) -> npt.NDArray[np.bool_] | None:
    """Read what a tile needs of one volume, continue it by reflection, fill its NaNs and resample it.

    Parameters
    ----------
    out
        Takes the block, (Z, Y, X) or (Y, X), in units of the image, on the network's grid.

    Returns
    -------
    numpy.ndarray or None
        Which voxels of the tile are NaN in the source; None: none.
    """
    block = geometry.block(tile)
    # What the reflection repeats lies within the block but for tiny ones: then more is read.
    whole = [_with_reflected(span, size) for span, size in zip(block, geometry.shape, strict=True)]
    inner = [
        Span(max(0, span.start), min(n, span.stop)) for span, n in zip(whole, geometry.shape, strict=True)
    ]
    weights = None
    if geometry.resampling is not None:
        planes, weights = geometry.resampling.there(block[0], geometry.shape[0])
        inner[0] = Span(int(planes[0]), int(planes[-1]) + 1)
        whole[0] = block[0]
    spans = inner
    if group.nan_voxels:  # the fill looks beyond the block, so that it is the same in every block
        spans = [
            Span(max(0, span.start - MARGIN), min(size, span.stop + MARGIN))
            for span, size in zip(inner, geometry.shape, strict=True)
        ]
    slab, missing = source.read(lead, spans), None
    if group.nan_voxels:
        slab, missing = _filled(slab, group)
    if missing is not None:
        missing = missing[_within(tile.spans, spans)]
    slab = slab[_within(inner, spans)]
    if weights is not None:
        slab = np.tensordot(weights, to_float32(slab), axes=1)
        inner[0] = block[0]
    room = out if tuple(whole) == block else np.empty([span.size for span in whole], dtype=np.float32)
    copy_into(room[_within(inner, whole)], slab)
    for axis, size in enumerate(geometry.shape):
        _reflect(np.moveaxis(room, axis, 0), whole[axis], inner[axis], size)
    if room is not out:
        out[...] = room[_within(block, whole)]
    return missing


def _with_reflected(span: Span, size: int) -> Span:
    """A span with all that its continuation by reflection repeats."""
    indices = reflected(span, size)
    return Span(min(span.start, int(indices.min())), max(span.stop, int(indices.max()) + 1))


def _within(spans: Sequence[Span], outer: Sequence[Span]) -> tuple[slice, ...]:
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(spans, outer, strict=True))


def _reflect(values: npt.NDArray[np.float32], span: Span, known: Span, size: int) -> None:
    """Continue the planes ``known`` to both ends of ``span``, in place: borders are small, blocks are not."""
    for beyond in (Span(span.start, known.start), Span(known.stop, span.stop)):
        if beyond.size:
            indices = reflected(beyond, size) - span.start
            place = values[beyond.start - span.start : beyond.stop - span.start]
            if beyond.size > 1 and (np.diff(indices) == -1).all():  # but for tiny volumes
                last = int(indices[-1])
                copy_into(place, values[last : int(indices[0]) + 1][::-1])
            else:
                place[...] = values[indices]
