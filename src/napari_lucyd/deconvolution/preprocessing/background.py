"""The slowly varying background of a volume: estimated once on a coarse grid, known at every voxel.

The image is averaged over small blocks, which takes its noise; a morphological opening of the block means
with a box of the size that is asked for takes away all that is bright and narrower than the box (Sternberg's
idea, with a box for the ball); what is left is smoothed and interpolated linearly between the blocks.

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

# Blocks along the box: their means have little noise, and still follow the background.
_BLOCKS = 8
# Of a volume: they have to fit into memory, however large it is. Of small boxes in very large volumes the
# blocks are larger for it: from 1024 voxels along each axis on, a box of 16 has four along each axis.
_MOST_BLOCKS = 2**24

_Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Background:
    """The background of one volume.

    Attributes
    ----------
    grid
        At the centres of the blocks, float32, in units of the image.
    sides
        Of a block along each axis, in voxels; the last block may be shorter.
    shape
        Of the volume.
    """

    grid: npt.NDArray[np.float32]
    sides: tuple[int, ...]
    shape: tuple[int, ...]

    def at(self, spans: Sequence[Span]) -> npt.NDArray[np.float32]:
        """The background of a part of the volume, float32, of the part's shape."""
        values = self.grid
        for axis, (span, side, size) in enumerate(zip(spans, self.sides, self.shape, strict=True)):
            starts = np.arange(0, size, side)
            centres = (starts + np.minimum(starts + side, size) - 1) / 2
            position = np.arange(span.start, span.stop)
            last = len(centres) - 1
            lower = np.clip(np.searchsorted(centres, position, side="right") - 1, 0, max(0, last - 1))
            upper = np.minimum(lower + 1, last)
            gap = np.maximum(centres[upper] - centres[lower], 1)
            # Beyond the outer centres the background stays as it is there.
            share = np.clip((position - centres[lower]) / gap, 0, 1).astype(np.float32)
            below, above = np.take(values, lower, axis=axis), np.take(values, upper, axis=axis)
            rows = [1] * values.ndim
            rows[axis] = -1
            values = below + share.reshape(rows) * (above - below)
        return values


class BlockMeans:
    """The means over small blocks of one volume, counted part by part; see `counting.Tally`.

    Parameters
    ----------
    shape
        Of the volume.
    sizes
        Of the background's box along each axis, in voxels.
    """

    def __init__(self, shape: Sequence[int], sizes: Sequence[float]) -> None:
        self._shape, self._sizes = tuple(shape), tuple(sizes)
        sides = [max(1, round(size / _BLOCKS)) for size in sizes]
        while math.prod(_blocks(shape, sides)) > _MOST_BLOCKS:
            sides = [2 * side for side in sides]
        self._sides = tuple(sides)
        # Of each part, by where it begins: blocks, and the sums and counts in them. They are added up in one
        # order in the end, so that the result is the same to the last bit however the parts were shared out.
        self._parts: dict[tuple[int, ...], tuple[tuple[slice, ...], _Doubles, _Doubles]] = {}

    def add(self, values: npt.NDArray[Any], spans: Sequence[Span]) -> None:
        """See `counting.Tally`."""
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
        """See `counting.Tally`."""
        return BlockMeans(self._shape, self._sizes)

    def merge(self, other: BlockMeans) -> None:
        """See `counting.Tally`."""
        self._parts |= other._parts

    def background(self) -> Background:
        """What the means say, when all parts are counted."""
        blocks = _blocks(self._shape, self._sides)
        sums, counts = np.zeros(blocks), np.zeros(blocks)
        for _, (where, part_sums, part_counts) in sorted(self._parts.items(), key=lambda item: item[0]):
            sums[where] += part_sums
            counts[where] += part_counts
        empty = counts == 0
        means = sums / np.maximum(counts, 1)
        if empty.any() and not empty.all():  # where all is NaN, the nearest block that has a mean
            nearest = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
            means = means[tuple(nearest)]
        # Odd, so that the box has a middle.
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
    """Estimate the background of one volume; it is read once, part by part.

    Parameters
    ----------
    source, lead
        The volume; no infinities.
    sizes
        Of the box along each axis, in voxels: what is bright and narrower is no background.
    should_stop
        Asked between parts.
    count
        Has parts counted elsewhere; by default they are read here, one after the other.

    Raises
    ------
    Cancelled
        If ``should_stop`` says so.
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
    """Sums over the parts of blocks that lie in ``spans``."""
    for axis, (span, side) in enumerate(zip(spans, sides, strict=True)):
        first = np.arange(span.start // side, (span.stop - 1) // side + 1) * side
        values = np.add.reduceat(values, np.maximum(first - span.start, 0), axis=axis)
    return values
