"""Tile geometry: pure functions of integers, without image data.

A *tile* is the part of the result that one pass of the network yields. The *halo* is the margin that the pass
needs around it. The *block* is both together: the part that is read. The volume is continued infinitely by
reflection, so blocks may extend beyond its borders; `reflected` gives the voxel at such an index. The network
halves and doubles its input once or twice, so its result depends on the block's origin. Therefore origins and
sizes of blocks are multiples of 2 or 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt

from napari_lucyd.spans import Span, ceil_to, floor_to

# Work of a tile apart from its voxels, as a number of voxels.
_PER_TILE = 4096


@dataclass(frozen=True)
class Tile:
    """The voxels that one pass of the network contributes to the result: a span for each axis."""

    spans: tuple[Span, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along each axis."""
        return tuple(span.size for span in self.spans)

    @property
    def slices(self) -> tuple[slice, ...]:
        """The tile as slices."""
        return tuple(span.slice for span in self.spans)


def block_span(kept: Span, halo: int, multiple: int = 2) -> Span:
    """Return the span to read for ``kept``: extended by ``halo`` on both sides, then to multiples.

    Examples
    --------
    >>> block_span(Span(0, 7), halo=24)
    Span(start=-24, stop=32)
    """
    return Span(floor_to(kept.start - halo, multiple), ceil_to(kept.stop + halo, multiple))


def reflected(span: Span, size: int) -> npt.NDArray[np.int64]:
    """Return the voxel at each index of ``span``, on an axis of ``size`` voxels continued by reflection.

    The first and the last voxel are not repeated (… 2 1 0 1 2 …); an axis of one voxel repeats it.

    Examples
    --------
    >>> reflected(Span(-2, 5), 3).tolist()
    [2, 1, 0, 1, 2, 1, 0]
    """
    if size < 1:
        raise ValueError(f"An axis of size {size} cannot be reflected: it needs at least one voxel.")
    if size == 1:
        return np.zeros(span.size, dtype=np.int64)
    period = 2 * (size - 1)
    phase = np.arange(span.start, span.stop, dtype=np.int64) % period
    return np.minimum(phase, period - phase)


def mirrored(span: Span, size: int) -> Span:
    """Mirror a span along an axis of ``size`` voxels.

    Examples
    --------
    >>> mirrored(Span(0, 3), 10)
    Span(start=7, stop=10)
    """
    return Span(size - span.stop, size - span.start)


def fit_tile_shape(tile_shape: Sequence[int], shape: Sequence[int], multiple: int = 2) -> tuple[int, ...]:
    """Round a tile shape up to multiples, but no larger than ``shape`` needs."""
    if len(tile_shape) != len(shape) or any(n < 1 for n in tile_shape):
        raise ValueError(
            f"tile_shape is {tuple(tile_shape)}; give {len(shape)} positive sizes, for the spatial axes "
            f"of shape {tuple(shape)}."
        )
    return tuple(ceil_to(min(int(t), n), multiple) for t, n in zip(tile_shape, shape, strict=True))


def cut_axis(span: Span, size: int, multiple: int = 2) -> list[Span]:
    """Cut ``span`` into pieces of at most ``size`` voxels, in order.

    Inner borders are ``size`` apart (usually itself a multiple), counted from the multiple at or below the
    start, so that no block must grow to reach a multiple.
    """
    inner = range(floor_to(span.start, multiple) + size, span.stop, size)
    borders = [span.start, *(border for border in inner if border > span.start), span.stop]
    return [Span(start, stop) for start, stop in pairwise(borders)]


def cut(extent: Sequence[Span], tile_shape: Sequence[int], multiple: int = 2) -> Iterator[Tile]:
    """Cut ``extent`` into tiles that cover each voxel once, in reading order."""
    axes = zip(extent, tile_shape, strict=True)
    for spans in product(*(cut_axis(span, size, multiple) for span, size in axes)):
        yield Tile(spans)


def halve(tile: Tile, multiple: int = 2) -> tuple[Tile, Tile] | None:
    """Cut a tile in two along its longest axis, at a multiple; return None if it is too small."""
    axis = max(range(len(tile.spans)), key=lambda i: tile.spans[i].size)
    span = tile.spans[axis]
    middle = floor_to(span.start + (span.size + 1) // 2, multiple)
    if not span.start < middle < span.stop:
        return None
    low, high = list(tile.spans), list(tile.spans)
    low[axis], high[axis] = Span(span.start, middle), Span(middle, span.stop)
    return Tile(tuple(low)), Tile(tuple(high))


def block_voxels(tile_shape: Sequence[int], halo: int, multiple: int = 2) -> int:
    """Count the voxels of the block around a tile whose origin and sizes are multiples."""
    return math.prod(ceil_to(n, multiple) + 2 * ceil_to(halo, multiple) for n in tile_shape)


def choose_tile_shape(
    shape: Sequence[int],
    halo: int,
    max_block_voxels: int,
    multiple: int = 2,
    extents: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """Choose the tile shape whose blocks fit and that takes the least work in total.

    The work is the number of voxels that are read, and a little for each tile: without a halo, tiles of any
    size read the same.

    Parameters
    ----------
    shape
        Shape of the region to deconvolve, in voxels of the network's grid.
    halo
        Margin in voxels.
    max_block_voxels
        Number of voxels that fit on the device.
    multiple
        The sizes must be multiples of this number.
    extents
        Largest sizes of a block, if blocks end at the border of the volume or soon after it; None if they
        extend beyond it by the halo.

    Returns
    -------
    tuple of int
        The tile shape; if none fits, ``multiple`` voxels along each axis.

    Examples
    --------
    >>> choose_tile_shape((64, 256, 256), halo=24, max_block_voxels=2**23)
    (64, 256, 128)
    """
    # No block is larger than that of the whole region, so more room makes no difference.
    room = min(max_block_voxels, block_voxels(shape, halo, multiple))
    return _chosen_tile_shape(tuple(shape), halo, room, multiple, None if extents is None else tuple(extents))


@lru_cache(maxsize=64)
def _chosen_tile_shape(
    shape: tuple[int, ...], halo: int, max_block_voxels: int, multiple: int, extents: tuple[int, ...] | None
) -> tuple[int, ...]:
    candidates = [_parts(n, multiple) for n in shape]  # per axis: (tile sizes, number of tiles)
    grids = np.meshgrid(*(sizes for sizes, _ in candidates), indexing="ij")
    counts = np.meshgrid(*(count for _, count in candidates), indexing="ij")
    blocks = np.ones(grids[0].shape)
    total = np.ones(grids[0].shape)
    longest = np.zeros(grids[0].shape)
    for axis, (sizes, count) in enumerate(zip(grids, counts, strict=True)):
        side = sizes + 2.0 * ceil_to(halo, multiple)
        along = side * count
        if extents is not None:
            # At the borders of the volume, the first and the last tile have hardly any halo.
            outer = 2.0 * ceil_to(halo, multiple) - max(0, extents[axis] - shape[axis])
            side = np.minimum(side, ceil_to(extents[axis], multiple))
            along = np.minimum(side * count, along - max(0.0, outer))
        blocks *= side
        total *= along
        longest = np.maximum(longest, side)
    total += _PER_TILE * np.prod(counts, axis=0)
    total[blocks > max_block_voxels] = np.inf
    if not np.isfinite(total).any():
        return (multiple,) * len(shape)
    # Among equals, take the most compact block: the one with the shortest longest side.
    best = np.lexsort((longest.ravel(), total.ravel()))[0]
    return tuple(int(sizes.ravel()[best]) for sizes in grids)


def _parts(size: int, multiple: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """List candidate tile sizes along an axis, all multiples, and the number of tiles of each."""
    sizes = {ceil_to(-(-size // parts), multiple) for parts in range(1, 65)}
    while (smallest := min(sizes)) > multiple:  # continue in coarser steps down to the smallest size
        sizes.add(max(multiple, floor_to(smallest * 3 // 4, multiple)))
    tiles = np.asarray(sorted(sizes, reverse=True), dtype=np.int64)
    return tiles, -(-size // tiles)
