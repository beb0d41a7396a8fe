"""Tile geometry: integers in, frozen values out; no array is touched here.

A *tile* is what is kept of one pass of the network, the *halo* the margin that the pass needs around
it, the *block* both together: what is read. The volume is thought of as continued without end by
reflection, so that blocks may reach over its borders; `reflected` says which voxel stands there.
Blocks begin at multiples of what the network needs (2, or 4) and have such sizes, because it halves
and doubles its input, once or twice, and so its result depends on where its origin lies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt

from napari_lucyd.spans import Span, ceil_to, floor_to


@dataclass(frozen=True)
class Tile:
    """The voxels that one pass of the network contributes to the result, one span an axis."""

    spans: tuple[Span, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return tuple(span.size for span in self.spans)

    @property
    def slices(self) -> tuple[slice, ...]:
        """The same as slices."""
        return tuple(span.slice for span in self.spans)


def block_span(kept: Span, halo: int, multiple: int = 2) -> Span:
    """The span to read for ``kept``: ``halo`` more on both sides, and outwards from there to multiples.

    Examples
    --------
    >>> block_span(Span(0, 7), halo=24)
    Span(start=-24, stop=32)
    """
    return Span(floor_to(kept.start - halo, multiple), ceil_to(kept.stop + halo, multiple))


def reflected(span: Span, size: int) -> npt.NDArray[np.int64]:
    """Which of ``size`` voxels stand at the indices of ``span`` on an axis continued by reflection.

    The first and the last voxel are not repeated (… 2 1 0 1 2 …); an axis of one voxel repeats it.

    Examples
    --------
    >>> reflected(Span(-2, 5), 3).tolist()
    [2, 1, 0, 1, 2, 1, 0]
    """
    if size < 1:
        raise ValueError(f"An axis of size {size} cannot be reflected; it needs at least one voxel.")
    if size == 1:
        return np.zeros(span.size, dtype=np.int64)
    period = 2 * (size - 1)
    phase = np.arange(span.start, span.stop, dtype=np.int64) % period
    return np.minimum(phase, period - phase)


def fit_tile_shape(tile_shape: Sequence[int], shape: Sequence[int], multiple: int = 2) -> tuple[int, ...]:
    """The tile shape raised to multiples, but no larger than needed to hold ``shape``."""
    if len(tile_shape) != len(shape) or any(n < 1 for n in tile_shape):
        raise ValueError(
            f"tile_shape is {tuple(tile_shape)}; it needs {len(shape)} positive sizes, one for each of the "
            f"spatial axes of shape {tuple(shape)}."
        )
    return tuple(ceil_to(min(int(t), n), multiple) for t, n in zip(tile_shape, shape, strict=True))


def cut_axis(span: Span, size: int, multiple: int = 2) -> list[Span]:
    """Pieces of ``span`` of at most ``size`` voxels, in order.

    Inner borders lie ``size`` (itself a multiple, as a rule) apart from the multiple at or below the
    beginning, so that no block has to grow by odd voxels.
    """
    inner = range(floor_to(span.start, multiple) + size, span.stop, size)
    borders = [span.start, *(border for border in inner if border > span.start), span.stop]
    return [Span(start, stop) for start, stop in pairwise(borders)]


def cut(extent: Sequence[Span], tile_shape: Sequence[int], multiple: int = 2) -> Iterator[Tile]:
    """Tiles that cover ``extent``, each voxel once, in reading order."""
    axes = zip(extent, tile_shape, strict=True)
    for spans in product(*(cut_axis(span, size, multiple) for span, size in axes)):
        yield Tile(spans)


def halve(tile: Tile, multiple: int = 2) -> tuple[Tile, Tile] | None:
    """The tile cut in two along its longest axis, at a multiple; None where it is too small for that."""
    axis = max(range(len(tile.spans)), key=lambda i: tile.spans[i].size)
    span = tile.spans[axis]
    middle = floor_to(span.start + (span.size + 1) // 2, multiple)
    if not span.start < middle < span.stop:
        return None
    low, high = list(tile.spans), list(tile.spans)
    low[axis], high[axis] = Span(span.start, middle), Span(middle, span.stop)
    return Tile(tuple(low)), Tile(tuple(high))


def block_voxels(tile_shape: Sequence[int], halo: int, multiple: int = 2) -> int:
    """Voxels of the block around a tile whose origin and sizes are multiples."""
    return math.prod(ceil_to(n, multiple) + 2 * ceil_to(halo, multiple) for n in tile_shape)


def choose_tile_shape(
    shape: Sequence[int], halo: int, max_block_voxels: int, multiple: int = 2
) -> tuple[int, ...]:
    """The tile shape whose blocks fit and that reads the fewest voxels in all.

    Parameters
    ----------
    shape
        Of the region to deconvolve, in voxels of the network's grid.
    halo
        Margin in voxels.
    max_block_voxels
        What fits: a pure number, so that the choice can be tested without a device.
    multiple
        What the sizes are to be multiples of.

    Returns
    -------
    tuple of int
        If nothing fits, the smallest there is (``multiple`` voxels along each axis).

    Examples
    --------
    >>> choose_tile_shape((64, 256, 256), halo=24, max_block_voxels=2**23)
    (64, 256, 128)
    """
    candidates = [_parts(n, multiple) for n in shape]  # per axis: (tile sizes, number of tiles)
    grids = np.meshgrid(*(sizes for sizes, _ in candidates), indexing="ij")
    counts = np.meshgrid(*(count for _, count in candidates), indexing="ij")
    blocks = np.ones(grids[0].shape)
    total = np.ones(grids[0].shape)
    longest = np.zeros(grids[0].shape)
    for sizes, count in zip(grids, counts, strict=True):
        side = sizes + 2.0 * ceil_to(halo, multiple)
        blocks *= side
        total *= side * count
        longest = np.maximum(longest, side)
    total[blocks > max_block_voxels] = np.inf
    if not np.isfinite(total).any():
        return (multiple,) * len(shape)
    # Among equals the most compact block: its longest side is shortest.
    best = np.lexsort((longest.ravel(), total.ravel()))[0]
    return tuple(int(sizes.ravel()[best]) for sizes in grids)


def _parts(size: int, multiple: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Tile sizes worth a thought along an axis, all multiples, and how many tiles each gives."""
    sizes = {ceil_to(-(-size // parts), multiple) for parts in range(1, 65)}
    while (smallest := min(sizes)) > multiple:  # coarser steps below, down to what always fits
        sizes.add(max(multiple, floor_to(smallest * 3 // 4, multiple)))
    tiles = np.asarray(sorted(sizes, reverse=True), dtype=np.int64)
    return tiles, -(-size // tiles)
