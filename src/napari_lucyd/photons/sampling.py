"""Blocks of an image that stand for the whole: some drawn evenly, some for their contrast."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

# Voxels of the sample, and the sides of its blocks: wide enough that their borders lose little.
_VOXELS = 1_200_000
_PLANE_BLOCK, _VOLUME_BLOCK = (1, 96, 96), (16, 48, 48)
# Every fourth voxel is enough to see which blocks have contrast.
_STRIDE = 4
# Thinner stacks are examined plane by plane.
FEWEST_PLANES = 5
# Share of the voxels that stand for the dark and for the bright end.
_DARKEST, _BRIGHTEST = 0.001, 0.002
_FEWEST_DARK = 30
# In an image of few small objects, this number of voxels stands for the bright end.
_PEAK_VOXELS = 30
_SPARSE = 3.0
# Values looked at for the distance of grey levels.
_LEVEL_VALUES = 200_000

Blocks = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Sample:
    """Blocks of one image.

    Attributes
    ----------
    blocks
        (block, Z, Y, X), float32; NaN where the image is not finite.
    even
        Number of blocks, the first ones, that were drawn evenly over the image. The others have the most
        contrast, so that a few small objects are not missed.
    """

    blocks: Blocks
    even: int

    @property
    def typical(self) -> Blocks:
        """Finite values of the blocks that were drawn evenly, flat."""
        blocks = self.blocks[: self.even]
        return blocks[np.isfinite(blocks)]


def draw_sample(image: npt.NDArray[Any], seed: int) -> Sample:
    """Draw about a million voxels; all of a smaller image.

    Parameters
    ----------
    image
        (Y, X) or (Z, Y, X), integer or floating point.
    seed
        Seed of the random sample, 0 or more.
    """
    volume = image if image.ndim == 3 else image[None]
    if volume.size <= _VOXELS:
        return Sample(_finite_or_nan(volume[None].astype(np.float32)), 1)
    wanted = _VOLUME_BLOCK if len(volume) >= FEWEST_PLANES else _PLANE_BLOCK
    sides = [min(side, size) for side, size in zip(wanted, volume.shape, strict=True)]
    numbers = [size // side for size, side in zip(volume.shape, sides, strict=True)]
    starts = [(size - n * side) // 2 for size, n, side in zip(volume.shape, numbers, sides, strict=True)]

    def block(index: int, stride: int = 1) -> npt.NDArray[Any]:
        place = np.unravel_index(index, numbers)
        corner = [start + int(i) * side for start, i, side in zip(starts, place, sides, strict=True)]
        z, y, x = (slice(low, low + side) for low, side in zip(corner, sides, strict=True))
        return volume[z, y, x][:, ::stride, ::stride]

    total = math.prod(numbers)
    half = min(total, max(1, _VOXELS // math.prod(sides) // 2))
    even = np.sort(np.random.default_rng(seed).permutation(total)[:half])
    with np.errstate(invalid="ignore"):
        contrast = np.array([block(index, _STRIDE).std(dtype=np.float32) for index in range(total)])
    contrast[~np.isfinite(contrast)] = -1
    contrast[even] = -2
    most = np.sort(np.argsort(contrast, kind="stable")[::-1][: min(half, total - half)])
    blocks = [block(int(index)).astype(np.float32) for index in (*even, *most)]
    return Sample(_finite_or_nan(np.stack(blocks)), half)


def without_empty_ends(volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a volume without the planes at both ends whose voxels are all equal, as a view.

    The step to planes that a program has filled in looks like an image without blur along Z.

    Parameters
    ----------
    volume
        (Z, Y, X) or (Y, X). A plane is returned as it is, and so is a volume of empty planes.

    Examples
    --------
    >>> stack = np.zeros((6, 8, 8))
    >>> stack[1:4, 2, 2] = 1
    >>> without_empty_ends(stack).shape
    (3, 8, 8)
    """
    if volume.ndim < 3:
        return volume
    start, stop = between_empty_ends(len(volume), lambda z: volume[z])
    return volume[start:stop]


def between_empty_ends(count: int, plane: Callable[[int], npt.NDArray[Any]]) -> tuple[int, int]:
    """Return start and stop of the planes between the ends whose voxels are all equal.

    Parameters
    ----------
    count
        Number of planes; all of them are returned if all are empty.
    plane
        Returns a plane. It is called for planes at the ends, up to the first one that shows something.
    """

    def shows_something(z: int) -> bool:
        values = plane(z)
        return bool((values != values.flat[0]).any())

    first = next((z for z in range(count) if shows_something(z)), None)
    if first is None:
        return 0, count
    return first, next(z for z in reversed(range(count)) if shows_something(z)) + 1


def dark_and_bright(sample: Sample) -> tuple[float, float]:
    """Return the grey levels of the dark and the bright end, not biased by noise.

    Every second voxel selects the dark and the bright places, and the voxels between them give the levels.
    """
    blocks = np.where(np.isfinite(sample.blocks), sample.blocks, np.float32(np.nanmedian(sample.blocks)))
    width = blocks.shape[3] // 2 * 2
    guide, judge = blocks[..., 0:width:2], blocks[..., 1:width:2]
    deep = blocks.shape[1] > 1

    def extreme(guides: Blocks, judged: Blocks, count: int, sign: int) -> float:
        order = np.argpartition(-sign * guides.ravel(), count - 1)[:count]
        return float(judged.ravel()[order].mean(dtype=float))

    # The darkest part is wide, the brightest may be narrow.
    broad, judge_broad = (
        ndimage.gaussian_filter(values, (0, 1.0 * deep, 2, 1), truncate=3) for values in (guide, judge)
    )
    narrow = ndimage.gaussian_filter(guide, (0, 0.5 * deep, 1, 0.5), truncate=3)
    even = slice(0, sample.even)
    number = judge[even].size
    dark = extreme(broad[even], judge_broad[even], max(_FEWEST_DARK, round(_DARKEST * number)), -1)
    bright = extreme(narrow[even], judge[even], max(1, round(_BRIGHTEST * number)), 1)
    peak = extreme(narrow, judge, _PEAK_VOXELS, 1)
    return dark, peak if peak - dark > _SPARSE * (bright - dark) else bright


def grey_level_step(values: npt.NDArray[np.float32]) -> float:
    """Return the typical distance of neighbouring grey levels; 0 for continuous values."""
    levels = np.unique(values[:: max(1, len(values) // _LEVEL_VALUES)])
    # Continuous values hardly ever occur twice.
    if len(levels) < 2 or len(levels) > 0.5 * min(len(values), _LEVEL_VALUES):
        return 0.0
    return float(np.quantile(np.diff(levels), 0.1))


def _finite_or_nan(blocks: Blocks) -> Blocks:
    """Return the blocks with NaN for infinity, which would warn in sums and differences."""
    blocks[~np.isfinite(blocks)] = np.nan
    return blocks
