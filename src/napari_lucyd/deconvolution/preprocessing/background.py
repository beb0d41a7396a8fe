"""The smooth background of a volume, estimated on a coarse grid and interpolated at every voxel.

Averaging the image over small blocks removes noise. A morphological opening of the block means, with a box of
the requested size, removes bright structure narrower than the box (Sternberg's idea, with a box instead of a
ball). The rest is smoothed, and interpolated linearly between the blocks.

References
----------
S. R. Sternberg, "Biomedical image processing", Computer 16 (1983) 22-34.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_lucyd.deconvolution.image.scan import Count, count_parts
from napari_lucyd.deconvolution.image.source import Source, to_float32
from napari_lucyd.spans import Span

# Number of blocks along the box: their means have little noise and still follow the background.
_BLOCKS = 8
# Limit of the number of blocks of a volume, because they must fit in memory. Very large volumes with small
# boxes get larger blocks: from 1024 voxels along each axis on, a box of 16 has four along each axis.
_MOST_BLOCKS = 2**24

_Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Background:
    """The background of one volume.

    Attributes
    ----------
    grid
        Values at the centres of the blocks, float32, in units of the image.
    sides
        Size of a block along each axis, in voxels; the last block may be shorter.
    shape
        Shape of the volume.
    """

    grid: npt.NDArray[np.float32]
    sides: tuple[int, ...]
    shape: tuple[int, ...]

    def at(self, spans: Sequence[Span]) -> npt.NDArray[np.float32]:
        """Interpolate the background of a part of the volume, float32, of the part's shape."""
        values = self.grid
        for axis, (span, side, size) in enumerate(zip(spans, self.sides, self.shape, strict=True)):
            starts = np.arange(0, size, side)
            centres = (starts + np.minimum(starts + side, size) - 1) / 2
            position = np.arange(span.start, span.stop)
            last = len(centres) - 1
            lower = np.clip(np.searchsorted(centres, position, side="right") - 1, 0, max(0, last - 1))
            upper = np.minimum(lower + 1, last)
            gap = np.maximum(centres[upper] - centres[lower], 1)
            # Beyond the outer centres the background is constant.
            share = np.clip((position - centres[lower]) / gap, 0, 1).astype(np.float32)
            below, above = np.take(values, lower, axis=axis), np.take(values, upper, axis=axis)
            rows = [1] * values.ndim
            rows[axis] = -1
            values = below + share.reshape(rows) * (above - below)
        return values


class BlockMeans:
    """The means over small blocks of one volume, accumulated part by part; see `scan.Accumulator`.

    Parameters
    ----------
    shape
        Shape of the volume.
    sizes
        Size of the background's box along each axis, in voxels.
    """

    def __init__(self, shape: Sequence[int], sizes: Sequence[float]) -> None:
        self._shape, self._sizes = tuple(shape), tuple(sizes)
        sides = [max(1, round(size / _BLOCKS)) for size in sizes]
        while math.prod(_blocks(shape, sides)) > _MOST_BLOCKS:
            sides = [2 * side for side in sides]
        self._sides = tuple(sides)
        # For each part, by its origin: its blocks, with their sums and counts. At the end they are added in a
        # fixed order, so that the result is identical to the last bit however the parts were shared out.
        self._parts: dict[tuple[int, ...], tuple[tuple[slice, ...], _Doubles, _Doubles]] = {}

    def add(self, values: npt.NDArray[Any], spans: Sequence[Span]) -> None:
        """See `scan.Accumulator`."""
        values = to_float32(values).astype(np.float64)
        known = ~np.isnan(values)
        where = tuple(
            slice(span.start // side, (span.stop - 1) // side + 1)
            for span, side in zip(spans, self._sides, strict=True)
        )
        sums = _block_sums(np.where(known, values, 0), spans, self._sides)
        counts = _block_sums(known.astype(np.float64), spans, self._sides)
        self._parts[tuple(span.start for span in spans)] = where, sums, counts

    def fresh(self) -> BlockMeans:
        """See `scan.Accumulator`."""
        return BlockMeans(self._shape, self._sizes)

    def merge(self, other: BlockMeans) -> None:
        """See `scan.Accumulator`."""
        self._parts |= other._parts

    def background(self) -> Background:
        """Compute the background, after all parts were added."""
        blocks = _blocks(self._shape, self._sides)
        sums, counts = np.zeros(blocks), np.zeros(blocks)
        for _, (where, part_sums, part_counts) in sorted(self._parts.items(), key=lambda item: item[0]):
            sums[where] += part_sums
            counts[where] += part_counts
        empty = counts == 0
        means = sums / np.maximum(counts, 1)
        if empty.any() and not empty.all():  # a block of NaNs takes the mean of the nearest other block
            nearest = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
            means = means[tuple(nearest)]
        # Odd sizes, so that the box has a centre.
        box = [round(size / side) | 1 for size, side in zip(self._sizes, self._sides, strict=True)]
        opened = ndimage.grey_opening(means, size=box, mode="reflect")
        grid = ndimage.gaussian_filter(opened, [length / 4 for length in box], mode="reflect")
        return Background(grid.astype(np.float32), self._sides, self._shape)


def estimate_background(
    source: Source,
    lead: tuple[int, ...],
    sizes: Sequence[float],
    should_stop: Callable[[], bool] | None = None,
    count: Count | None = None,
) -> Background:
    """Estimate the background of one volume, which is read once, part by part.

    Parameters
    ----------
    source, lead
        The volume, without infinities.
    sizes
        Size of the box along each axis, in voxels; narrower bright structure does not count as background.
    should_stop
        Called between parts; True stops.
    count
        Function that counts parts elsewhere; by default they are read here, one after another.

    Raises
    ------
    Cancelled
        When ``should_stop`` returns True.
    """
    means = BlockMeans(source.axes.volume_shape, sizes)
    counted = count or partial(count_parts, source, should_stop=should_stop)
    counted(means, [(lead, part) for part in source.parts()])
    return means.background()


def _blocks(shape: Sequence[int], sides: Sequence[int]) -> list[int]:
    return [math.ceil(size / side) for size, side in zip(shape, sides, strict=True)]


def _block_sums(
    values: npt.NDArray[np.float64], spans: Sequence[Span], sides: Sequence[int]
) -> npt.NDArray[np.float64]:
    """Sum over the parts of blocks that lie in ``spans``."""
    for axis, (span, side) in enumerate(zip(spans, sides, strict=True)):
        first = np.arange(span.start // side, (span.stop - 1) // side + 1) * side
        values = np.add.reduceat(values, np.maximum(first - span.start, 0), axis=axis)
    return values
