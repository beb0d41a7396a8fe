"""Variance against mean, measured on a sample of an image: the points that a noise model is fitted to.

Each voxel gives a difference r = Σ K·y and a mean m = Σ K²·y over the same neighbours, where K is a second
or fourth difference along every axis with Σ K² = 1. For independent noise whose variance is a straight line
in the mean, the expected r² is the value of this line at m. This holds for any choice of voxels that does
not look at their noise. They are therefore binned by a wider local mean, and the half of each bin is kept
where the image is flattest on that wider scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

# Voxels of the sample, and the sides of its blocks: wide enough that their borders lose little.
_VOXELS = 1_200_000
_SIDES = {1: (1, 96, 96), 3: (16, 48, 48)}
# Every fourth voxel is enough to see which blocks have contrast.
_STRIDE = 4
# Normalised differences. The fourth ones suppress structure that is hardly blurred; along Z, where stacks are
# thin and coarsely sampled, the second ones lose fewer planes.
_SECOND = np.array([1, -2, 1]) / math.sqrt(6)
_FOURTH = np.array([1, -4, 6, -4, 1]) / math.sqrt(70)
# Gain in variance when independent voxels' normalised second differences are differenced once more.
_TWICE = 70 / 36
_FEWEST_PLANES = 5
# Gaussian of the wider scale, in voxels.
_WIDE = 1.5
# Standard deviation of the wide mean over that of a voxel's noise, in a plane; less in a volume.
_WIDE_NOISE = 0.19
_BINS = 24
_FEWEST_IN_BIN = 40
# Bins with fewer voxels are kept whole, however uneven the image is there.
_MANY_IN_BIN = 400
# Multiple of the robust standard deviation beyond which a difference is a hot pixel or an edge.
_OUTLIER = 4.5
# Share of the voxels that stand for the dark and for the bright end.
_DARKEST, _BRIGHTEST = 0.01, 0.002
# In an image of few small objects, these many voxels stand for the bright end.
_PEAK_VOXELS = 30
_SPARSE = 3.0
_ROUNDING = 1e-6
# Share of each bin of the coarse image: where structure is faint even at that scale.
_FLATTEST = 0.1

_Doubles = npt.NDArray[np.float64]
_Blocks = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class NoiseSamples:
    """Points of the noise's line, with signs of what may be wrong with them.

    Attributes
    ----------
    means, variances, counts
        Mean grey level, variance of the noise and number of independent differences of each bin of
        brightness.
    dark, bright
        Grey levels of the dark and the bright end of the image, without its noise.
    lowest
        Lowest grey level in the sample.
    step
        Typical distance of neighbouring grey levels; 0 for continuous ones.
    clipped
        Share of the voxels that have the lowest grey level.
    whiteness
        Noise at higher over noise at lower spatial frequencies, by axis; 1 for independent voxels.
    whiteness_error
        Standard error of each of these ratios for independent voxels.
    coarse_means, coarse_variances
        Mean and variance in the flattest parts of the image averaged over 2 × 2 voxels. The variance is
        multiplied by 4, so that it equals that of single voxels if they are independent.
    """

    means: _Doubles
    variances: _Doubles
    counts: _Doubles
    dark: float
    bright: float
    lowest: float
    step: float
    clipped: float
    whiteness: dict[str, float]
    whiteness_error: float
    coarse_means: _Doubles
    coarse_variances: _Doubles


def draw_noise_samples(image: npt.NDArray[Any], *, seed: int = 0) -> NoiseSamples | None:
    """Measure the noise's variance in bins of brightness.

    Parameters
    ----------
    image
        (Y, X) or (Z, Y, X), integer or floating point; at least 8 voxels along the last two axes.
    seed
        Of the choice of the sample.

    Returns
    -------
    NoiseSamples or None
        None if the sample is constant or has too few finite voxels.
    """
    blocks, typical = _draw_blocks(image if image.ndim == 3 else image[None], seed)
    finite = np.isfinite(blocks)
    # NaN passes through all that follows without a warning; infinity does not.
    blocks[~finite] = np.nan
    if not finite.any() or np.ptp(blocks[finite]) == 0:
        return None
    values = blocks[:typical][finite[:typical]]
    clipped = float(np.count_nonzero(values == blocks[finite].min()) / max(1, len(values)))
    step = _grey_level_step(values)

    fine = _points(blocks, _FOURTH, 0.5)
    if fine is None:
        return None
    coarse = _points(_averaged_pairs(blocks), _SECOND, _FLATTEST)
    dark, bright = _ends(blocks, typical)
    whiteness, whiteness_error = _whiteness(blocks, fine)
    return NoiseSamples(
        fine.means,
        fine.variances,
        fine.counts,
        dark,
        bright,
        float(blocks[finite].min()),
        step,
        clipped,
        whiteness,
        whiteness_error,
        coarse.means if coarse else np.zeros(0),
        4 * coarse.variances if coarse else np.zeros(0),
    )


@dataclass(frozen=True, eq=False)
class _Points:
    """Mean and variance of each bin, with the voxels in it as indices of the blocks' `inside`."""

    means: _Doubles
    variances: _Doubles
    counts: _Doubles
    bins: list[npt.NDArray[np.intp]]
    axes: list[int]
    inside: tuple[slice, ...]


def _points(blocks: _Blocks, lateral: _Doubles, flat_share: float) -> _Points | None:
    """Measure bins with this kernel along Y and X; None if there are fewer than two bins."""
    axes = [axis for axis in (1, 2, 3) if axis > 1 or blocks.shape[1] >= _FEWEST_PLANES]
    inside = tuple(slice(2, -2) if axis in axes else slice(None) for axis in range(4))
    wide = ndimage.gaussian_filter(blocks, [_WIDE * (axis in axes) for axis in range(4)], truncate=3)
    slopes = np.sum([np.gradient(wide, axis=axis) ** 2 for axis in axes], axis=0)
    slopes = ndimage.uniform_filter(slopes, [3 if axis in axes else 0 for axis in range(4)])
    kernels = {axis: lateral if axis > 1 else _SECOND for axis in axes}
    difference = _filtered(blocks, kernels)[inside].ravel()
    bins = _bins(difference, wide[inside].ravel(), slopes[inside].ravel(), flat_share)
    if len(bins) < 2:
        return None
    mean = _filtered(blocks, {axis: kernel**2 for axis, kernel in kernels.items()})[inside].ravel()
    share = _independent_share(kernels.values())
    return _Points(
        np.array([mean[chosen].mean(dtype=float) for chosen in bins]),
        np.array([np.square(difference[chosen]).mean(dtype=float) for chosen in bins]),
        np.array([len(chosen) * share for chosen in bins]),
        bins,
        axes,
        inside,
    )


def _averaged_pairs(blocks: _Blocks) -> _Blocks:
    """Return the blocks averaged over 2 × 2 voxels along Y and X."""
    blocks = blocks[..., : blocks.shape[2] // 2 * 2, : blocks.shape[3] // 2 * 2]
    rows = blocks[..., ::2, :] + blocks[..., 1::2, :]
    return ((rows[..., ::2] + rows[..., 1::2]) / 4).astype(np.float32, copy=False)


def _draw_blocks(volume: npt.NDArray[Any], seed: int) -> tuple[_Blocks, int]:
    """Return blocks of the volume, float32, (block, Z, Y, X), and how many of them were drawn evenly.

    The others are those with the most contrast, so that few small objects are not missed.
    """
    if volume.size <= _VOXELS:
        return volume[None].astype(np.float32), 1
    wanted = _SIDES[3 if len(volume) >= _FEWEST_PLANES else 1]
    sides = [min(side, size) for side, size in zip(wanted, volume.shape, strict=True)]
    numbers = [size // side for size, side in zip(volume.shape, sides, strict=True)]
    starts = [(size - n * side) // 2 for size, n, side in zip(volume.shape, numbers, sides, strict=True)]

    def block(index: int, stride: int = 1) -> npt.NDArray[Any]:
        place = np.unravel_index(index, numbers)
        corner = [start + int(i) * side for start, i, side in zip(starts, place, sides, strict=True)]
        z, y, x = (slice(low, low + side) for low, side in zip(corner, sides, strict=True))
        part = volume[z, y, x]
        return part[:, ::stride, ::stride] if stride > 1 else part

    total = math.prod(numbers)
    half = min(total, max(1, _VOXELS // math.prod(sides) // 2))
    even = np.sort(np.random.default_rng(seed).permutation(total)[:half])
    with np.errstate(invalid="ignore"):
        contrast = np.array([block(index, _STRIDE).std(dtype=np.float32) for index in range(total)])
    contrast[~np.isfinite(contrast)] = -1
    contrast[even] = -2
    most = np.sort(np.argsort(contrast, kind="stable")[::-1][: min(half, total - half)])
    chosen = [int(index) for index in (*even, *most)]
    return np.stack([block(index).astype(np.float32) for index in chosen]), half


def _grey_level_step(values: _Blocks) -> float:
    levels = np.unique(values[:: max(1, len(values) // 200_000)])
    # Continuous values hardly ever occur twice.
    if len(levels) < 2 or len(levels) > 0.5 * min(len(values), 200_000):
        return 0.0
    return float(np.quantile(np.diff(levels), 0.1))


def _filtered(blocks: _Blocks, kernels: dict[int, _Doubles]) -> _Blocks:
    for axis, kernel in kernels.items():
        blocks = ndimage.correlate1d(blocks, kernel, axis)
    return blocks


def _bins(
    difference: _Blocks, wide: _Blocks, slopes: _Blocks, flat_share: float
) -> list[npt.NDArray[np.intp]]:
    """Return the flattest voxels of each bin of brightness, without outliers, as indices."""
    known = np.isfinite(difference) & np.isfinite(slopes)
    if np.count_nonzero(known) < 2 * _FEWEST_IN_BIN:
        return []
    thinned = wide[known][:: max(1, len(wide) // 200_000)]
    low, high = np.quantile(thinned, (0.001, 0.999))
    count = int(np.clip(np.count_nonzero(known) // (2 * _MANY_IN_BIN), 4, _BINS))
    # Half of the limits share out the voxels evenly, the other half the brightness. Bins narrower than the
    # noise of the wide mean would sort voxels by their noise.
    noise = _WIDE_NOISE * float(np.median(np.abs(difference[known]))) / 0.6745
    limits = _spread(
        np.concatenate(
            [np.quantile(thinned, np.linspace(0, 1, count + 1)[1:-1]), np.linspace(low, high, count + 1)]
        ),
        3 * noise,
    )
    # What lies beyond, in a few bright objects, in steps that double.
    top, width = float(np.nanmax(wide[known])), (high - low) / 4
    while limits[-1] + width < top and width > 0:
        limits = np.append(limits, limits[-1] + width)
        width *= 2
    labels = np.digitize(wide, limits).astype(np.int16)
    labels[~known] = -1
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(len(limits) + 2))
    bins = []
    for start, stop in pairwise(bounds):
        chosen = order[start:stop]
        if len(chosen) < _FEWEST_IN_BIN:
            continue
        if len(chosen) >= _MANY_IN_BIN:
            chosen = chosen[slopes[chosen] <= np.quantile(slopes[chosen], flat_share)]
        sizes = np.abs(difference[chosen])
        scale = float(np.median(sizes)) / 0.6745
        if scale > 0:
            chosen = chosen[sizes < _OUTLIER * scale]
        bins.append(chosen)
    return bins


def _spread(limits: _Doubles, gap: float) -> _Doubles:
    """Return the limits in order, without those that are nearer than the gap to the one before."""
    kept: list[float] = []
    for limit in np.sort(limits).tolist():
        if not kept or limit - kept[-1] >= max(gap, _ROUNDING * abs(limit)):
            kept.append(limit)
    return np.array(kept)


def _independent_share(kernels: Iterable[_Doubles]) -> float:
    """Return how many of neighbouring squared differences are independent, as a share."""
    share = 1.0
    for kernel in kernels:
        share /= float(np.sum(np.correlate(kernel, kernel, "full") ** 2))
    return share


def _whiteness(blocks: _Blocks, points: _Points) -> tuple[dict[str, float], float]:
    """Return the noise's power at higher over that at lower frequencies by axis, and its standard error."""
    second = _filtered(blocks, dict.fromkeys(points.axes, _SECOND))
    inside, bins = points.inside, points.bins
    squares = np.square(second[inside].ravel())
    power = np.array([max(squares[chosen].mean(dtype=float), 1e-30) for chosen in bins])
    counts = np.array([len(chosen) for chosen in bins], float)
    ratios = {}
    for axis in points.axes:
        twice = np.square(_filtered(second, {axis: _SECOND})[inside].ravel())
        of_bins = np.array([twice[chosen].mean(dtype=float) for chosen in bins]) / (_TWICE * power)
        ratios["-ZYX"[axis]] = _weighted_median(of_bins, counts)
    share = _independent_share([_SECOND] * len(points.axes))
    return ratios, math.sqrt(2 / (share * counts.sum()))


def _weighted_median(values: _Doubles, weights: _Doubles) -> float:
    order = np.argsort(values)
    summed = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(summed, summed[-1] / 2)])


def _ends(blocks: _Blocks, typical: int) -> tuple[float, float]:
    """Return grey levels of the dark and the bright end, without the noise's part in being extreme.

    Every second voxel says where the image is dark or bright, and the voxels between say how much.
    """
    blocks = np.where(np.isfinite(blocks), blocks, np.float32(np.nanmedian(blocks)))
    width = blocks.shape[3] // 2 * 2
    guide, judge = blocks[..., 0:width:2], blocks[..., 1:width:2]
    guide = ndimage.gaussian_filter(guide, (0, 0.5 * (blocks.shape[1] > 1), 1, 0.5), truncate=3)
    guides, judged = guide[:typical].ravel(), judge[:typical].ravel()
    few, many = max(1, round(_BRIGHTEST * len(guides))), max(1, round(_DARKEST * len(guides)))
    order = np.argpartition(guides, (many - 1, len(guides) - few))
    dark = float(judged[order[:many]].mean(dtype=float))
    bright = float(judged[order[-few:]].mean(dtype=float))
    peaks = np.argpartition(guide.ravel(), -_PEAK_VOXELS)[-_PEAK_VOXELS:]
    peak = float(judge.ravel()[peaks].mean(dtype=float))
    return dark, peak if peak - dark > _SPARSE * (bright - dark) else bright
