"""Tiles of a volume for Richardson-Lucy: their size and their halo.

Each iteration carries light on by the PSF's size, so in principle each voxel depends on all others. But the
influence falls off like a Gaussian that widens with the square root of the number of iterations. Voxels
beyond the halo changed the result by less than 1e-3 of its range in 20 accelerated iterations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from napari_lucyd.deconvolution.tiling.tiles import Tile
from napari_lucyd.spans import Span

# Halo in standard deviations of the PSF, times the square root of the number of iterations.
_WIDENING = 2.0
# Smallest size of a tile along an axis, in voxels: of a smaller one, almost the whole block would be halo.
_SMALLEST_TILE = 16


def halo_of(kernel: npt.NDArray[np.float32], iterations: int) -> tuple[int, ...]:
    """Return the halo of a tile: the margin that is computed with it, in voxels along each axis.

    Parameters
    ----------
    kernel
        The PSF, (Y, X) or (Z, Y, X), its origin at ``size // 2`` along each axis.
    iterations
        Largest number of iterations.
    """
    peak = tuple(size // 2 for size in kernel.shape)
    halo = []
    for axis, size in enumerate(kernel.shape):
        index: list[int | slice] = list(peak)
        index[axis] = slice(None)
        line = np.abs(kernel[tuple(index)]).astype(np.float64)
        offsets = np.arange(size) - size // 2
        total = float(line.sum())
        sigma = math.sqrt(float(np.sum(line * offsets**2)) / total) if total > 0 else size / 4
        halo.append(size // 2 + math.ceil(_WIDENING * sigma * math.sqrt(iterations)))
    return tuple(halo)


def block_of(tile: Tile, halo: Sequence[int], shape: Sequence[int]) -> tuple[Span, ...]:
    """Return the part of a volume that is computed for a tile: the tile with its halo."""
    return tuple(
        Span(max(0, span.start - margin), min(size, span.stop + margin))
        for span, margin, size in zip(tile.spans, halo, shape, strict=True)
    )


def largest_tile(
    region: Sequence[int],
    shape: Sequence[int],
    halo: Sequence[int],
    fits: Callable[[Sequence[int]], bool],
) -> tuple[int, ...] | None:
    """Return the shape of the largest tiles whose blocks fit; None if the smallest do not.

    Parameters
    ----------
    region
        Shape of the region to compute.
    shape
        Shape of the volume, which limits the blocks.
    halo
        Margin around a tile; see `halo_of`.
    fits
        Function that returns True if a block of this shape fits in memory.
    """
    tile = list(region)

    def block() -> list[int]:
        return [min(n, t + 2 * margin) for n, t, margin in zip(shape, tile, halo, strict=True)]

    while not fits(block()):
        # Halving the longest axis saves most.
        axis = max(range(len(tile)), key=lambda k: tile[k])
        if tile[axis] <= _SMALLEST_TILE:
            return None
        tile[axis] = max(_SMALLEST_TILE, math.ceil(tile[axis] / 2))
    return tuple(tile)
