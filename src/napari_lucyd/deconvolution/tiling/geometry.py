"""The block of voxels that each tile needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from napari_lucyd.deconvolution.tiling.resampling import Resampling
from napari_lucyd.deconvolution.tiling.tiles import Tile, block_span
from napari_lucyd.spans import Span


@dataclass(frozen=True)
class Geometry:
    """What block a tile needs: pure integers, but for the resampling along Z.

    Attributes
    ----------
    shape
        Of a volume, in voxels of the source.
    halo
        In voxels of the network's grid.
    resampling
        Along the first axis, or None.
    multiple
        What the network needs its blocks' origins and sizes to be multiples of.
    """

    shape: tuple[int, ...]
    halo: int
    resampling: Resampling | None = None
    multiple: int = 2

    def needed_along(self, axis: int, kept: Span) -> Span:
        """The voxels of the network's grid along an axis that voxels of the source are made from."""
        return self.resampling.needed_planes(kept) if self.resampling and axis == 0 else kept

    def block_along(self, axis: int, kept: Span) -> Span:
        """The voxels of the network's grid that go into the network for them."""
        return block_span(self.needed_along(axis, kept), self.halo, self.multiple)

    def needed(self, tile: Tile) -> tuple[Span, ...]:
        """The part of the network's grid that the tile is made from."""
        return tuple(self.needed_along(axis, span) for axis, span in enumerate(tile.spans))

    def block(self, tile: Tile) -> tuple[Span, ...]:
        """The part of the network's grid that goes into the network."""
        return tuple(self.block_along(axis, span) for axis, span in enumerate(tile.spans))

    def inside(self, tile: Tile) -> tuple[slice, ...]:
        """Where in the block the part lies that the tile is made from."""
        spans = zip(self.needed(tile), self.block(tile), strict=True)
        return tuple(slice(needed.start - block.start, needed.stop - block.start) for needed, block in spans)

    def block_voxels(self, tile: Tile) -> int:
        """How many voxels go into the network for the tile."""
        return math.prod(span.size for span in self.block(tile))
