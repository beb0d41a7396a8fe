"""The block of voxels that each tile needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from napari_lucyd.deconvolution.tiling.resampling import Resampling
from napari_lucyd.deconvolution.tiling.tiles import Tile, block_span, mirrored
from napari_lucyd.spans import Span


@dataclass(frozen=True)
class Geometry:
    """The rule that turns a tile into a block: pure integers, except for resampling along Z.

    Attributes
    ----------
    shape
        Shape of a volume, in voxels of the source.
    halo
        Margin in voxels of the network's grid.
    resampling
        Resampling along the first axis, or None.
    multiple
        The origins and sizes of blocks must be multiples of this number.
    flips
        True if tiles are also computed from mirror images of the volume, with blocks of equal size.
    border
        Number of voxels by which blocks extend beyond the volume at most; None for the halo.
    periodic
        True for each axis along which the network is run on one period of the reflected volume, without a
        halo, as if the volume were repeated; empty if there is none. See `small_volume`.
    """

    shape: tuple[int, ...]
    halo: int
    resampling: Resampling | None = None
    multiple: int = 2
    flips: bool = False
    border: int | None = None
    periodic: tuple[bool, ...] = ()

    def small_volume(self, most: int) -> Geometry:
        """Return the geometry with one period instead of a halo, along each axis where that is smaller.

        A volume that is continued by reflection repeats after 2 n - 2 voxels. A network that is run on this
        period, and continues it by itself, sees the same as in a block with a halo.

        Parameters
        ----------
        most
            Largest number of voxels of such a block. Above it the geometry stays as it is.
        """
        if self.border is not None:
            return replace(self, periodic=())
        periods = [_period(n) for n in self.shape]
        with_halo = [block_span(Span(0, n), self.halo, self.multiple).size for n in self.shape]
        resampled = [self.resampling is not None and axis == 0 for axis in range(len(self.shape))]
        fits = zip(periods, with_halo, resampled, strict=True)
        chosen = tuple(a < b and a % self.multiple == 0 and not other for a, b, other in fits)
        sizes = [a if each else b for a, b, each in zip(periods, with_halo, chosen, strict=True)]
        kept = chosen if any(chosen) and math.prod(sizes) <= most else ()
        return replace(self, periodic=kept)

    def needed_along(self, axis: int, kept: Span) -> Span:
        """Return the span of the network's grid, along an axis, that yields a span of the source."""
        return self.resampling.needed_planes(kept) if self.resampling and axis == 0 else kept

    def block_along(self, axis: int, kept: Span) -> Span:
        """Return the span of the network's input, along an axis, for a span of the source."""
        if self.periodic and self.periodic[axis]:
            return Span(0, _period(self.shape[axis]))
        block = self._own_block(axis, kept)
        if self.flips:
            # The mirrored span lies differently to the multiples, if the size is odd, or between planes.
            size = max(block.size, self._own_block(axis, mirrored(kept, self.shape[axis])).size)
            stop = min(block.start + size, self.extent_along(axis).stop)
            block = Span(stop - size, stop)
        return block

    def extent_along(self, axis: int) -> Span:
        """Return the span that all blocks together need along an axis."""
        border = self.halo if self.border is None else min(self.border, self.halo)
        return block_span(self.needed_along(axis, Span(0, self.shape[axis])), border, self.multiple)

    def _own_block(self, axis: int, kept: Span) -> Span:
        block = block_span(self.needed_along(axis, kept), self.halo, self.multiple)
        extent = self.extent_along(axis)
        return Span(max(block.start, extent.start), min(block.stop, extent.stop))

    def needed(self, tile: Tile) -> tuple[Span, ...]:
        """Return the part of the network's grid that yields the tile."""
        return tuple(self.needed_along(axis, span) for axis, span in enumerate(tile.spans))

    def block(self, tile: Tile) -> tuple[Span, ...]:
        """Return the part of the network's grid that is its input for the tile."""
        return tuple(self.block_along(axis, span) for axis, span in enumerate(tile.spans))

    def inside(self, tile: Tile) -> tuple[slice, ...]:
        """Return the slices, within the block, of the part that yields the tile."""
        spans = zip(self.needed(tile), self.block(tile), strict=True)
        return tuple(slice(needed.start - block.start, needed.stop - block.start) for needed, block in spans)

    def block_voxels(self, tile: Tile) -> int:
        """Count the voxels of the block."""
        return math.prod(span.size for span in self.block(tile))


def _period(size: int) -> int:
    """Return the number of voxels after which an axis that is continued by reflection repeats itself."""
    return max(2, 2 * size - 2)
