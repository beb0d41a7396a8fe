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

from napari_lucyd.photons.sampling import (
    FEWEST_PLANES,
    Blocks,
    dark_and_bright,
    draw_sample,
    grey_level_step,
)

# Normalised differences. The fourth ones suppress structure that is hardly blurred; along Z, where stacks are
# thin and coarsely sampled, the second ones lose fewer planes.
_SECOND = np.array([1, -2, 1]) / math.sqrt(6)
_FOURTH = np.array([1, -4, 6, -4, 1]) / math.sqrt(70)
# Gain in variance when independent voxels' normalised second differences are differenced once more.
_TWICE = 70 / 36
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
_ROUNDING = 1e-6
# Shares of the coarse image that are its flattest parts, and the smallest number of their voxels.
_FLATTEST, _FEWEST_FLAT = (0.1, 0.01), 100

_Doubles = npt.NDArray[np.float64]


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
    coarse, coarse_flattest
        Variance of averages of 2 × 2 voxels times 4, over the variance of single voxels, in the flattest
        tenth and hundredth of the image. 1 for independent voxels without structure; NaN if too few were
        seen.
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
    coarse: float
    coarse_flattest: float


def draw_noise_samples(image: npt.NDArray[Any], *, seed: int = 0) -> NoiseSamples | None:
    """Measure the noise's variance in bins of brightness.

    Parameters
    ----------
    image
        (Y, X) or (Z, Y, X), integer or floating point; at least 8 voxels along the last two axes.
    seed
        Seed of the random sample, 0 or more.

    Returns
    -------
    NoiseSamples or None
        None if the sample is constant or has too few finite voxels.
    """
    sample = draw_sample(image, seed)
    values = sample.typical
    if not len(values) or np.ptp(values) == 0:
        return None
    field = _Field(sample.blocks)
    difference, mean = field.differences(_FOURTH)
    bins = _bins(difference, field.wide, field.slopes)
    # A bin without a single photon has no noise to measure.
    bins = [chosen for chosen in bins if difference[chosen].any()]
    if len(bins) < 2:
        return None
    means = np.array([mean[chosen].mean(dtype=float) for chosen in bins])
    variances = np.array([np.square(difference[chosen]).mean(dtype=float) for chosen in bins])
    counts = np.array([len(chosen) for chosen in bins]) * field.independent_share(_FOURTH)
    dark, bright = dark_and_bright(sample)
    lowest = float(np.nanmin(sample.blocks))
    return NoiseSamples(
        means,
        variances,
        counts,
        dark,
        bright,
        lowest,
        grey_level_step(values),
        float(np.count_nonzero(values == lowest) / len(values)),
        *_whiteness(field, bins),
        *_coarse_ratios(sample.blocks, means, variances),
    )


class _Field:
    """Local quantities of blocks, flat, away from the blocks' borders.

    Attributes
    ----------
    wide
        Mean on the wider scale.
    slopes
        Squared slope on the wider scale.
    """

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self.axes = [axis for axis in (1, 2, 3) if axis > 1 or blocks.shape[1] >= FEWEST_PLANES]
        self._inside = tuple(slice(2, -2) if axis in self.axes else slice(None) for axis in range(4))
        wide = ndimage.gaussian_filter(blocks, self._sigma(_WIDE), truncate=3)
        steepness = np.sum([np.gradient(wide, axis=axis) ** 2 for axis in self.axes], axis=0)
        self.wide = self.flat(wide)
        self.slopes = self.flat(ndimage.gaussian_filter(steepness, self._sigma(1.0), truncate=3))

    def _sigma(self, sigma: float) -> list[float]:
        return [sigma if axis in self.axes else 0.0 for axis in range(4)]

    def _kernels(self, lateral: _Doubles) -> dict[int, _Doubles]:
        return {axis: lateral if axis > 1 else _SECOND for axis in self.axes}

    def flat(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the values inside, flat."""
        return values[self._inside].ravel()

    def differences(self, lateral: _Doubles) -> tuple[Blocks, Blocks]:
        """Return differences and the means that belong to them, with this kernel along Y and X."""
        kernels = self._kernels(lateral)
        squares = {axis: kernel**2 for axis, kernel in kernels.items()}
        return self.flat(_filtered(self._blocks, kernels)), self.flat(_filtered(self._blocks, squares))

    def second_differences(self) -> tuple[Blocks, dict[str, Blocks]]:
        """Return second differences along all axes, and these differenced once more along each axis."""
        second = _filtered(self._blocks, self._kernels(_SECOND))
        twice = {"-ZYX"[axis]: self.flat(_filtered(second, {axis: _SECOND})) for axis in self.axes}
        return self.flat(second), twice

    def independent_share(self, lateral: _Doubles) -> float:
        """Return how many of the squared differences are independent, as a share."""
        return _independent_share(self._kernels(lateral).values())


def _filtered(blocks: Blocks, kernels: dict[int, _Doubles]) -> Blocks:
    for axis, kernel in kernels.items():
        blocks = ndimage.correlate1d(blocks, kernel, axis)
    return blocks


def _independent_share(kernels: Iterable[_Doubles]) -> float:
    # Neighbouring differences share voxels; their correlation is that of the kernel with itself.
    return math.prod(1 / float(np.sum(np.correlate(kernel, kernel, "full") ** 2)) for kernel in kernels)


def _bins(difference: Blocks, wide: Blocks, slopes: Blocks) -> list[npt.NDArray[np.intp]]:
    """Return the flatter half of the voxels in each bin of brightness, without outliers, as indices."""
    known = np.isfinite(difference) & np.isfinite(slopes)
    if np.count_nonzero(known) < 2 * _FEWEST_IN_BIN:
        return []
    limits = _limits(wide[known], float(np.median(np.abs(difference[known]))) / 0.6745)
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
            chosen = chosen[slopes[chosen] <= np.median(slopes[chosen])]
        sizes = np.abs(difference[chosen])
        scale = float(np.median(sizes)) / 0.6745
        if scale > 0:
            chosen = chosen[sizes < _OUTLIER * scale]
        bins.append(chosen)
    return bins


def _limits(wide: Blocks, noise: float) -> _Doubles:
    """Return limits between bins of brightness, in rising order."""
    thinned = wide[:: max(1, len(wide) // 200_000)]
    low, high = np.quantile(thinned, (0.001, 0.999))
    count = int(np.clip(len(wide) // (2 * _MANY_IN_BIN), 4, _BINS))
    # Half of the limits share out the voxels evenly, the other half the brightness.
    shares, levels = np.linspace(0, 1, count + 1)[1:-1], np.linspace(low, high, count + 1)
    wanted = np.sort(np.concatenate([np.quantile(thinned, shares), levels]))
    # Brighter voxels, of a few bright objects, get bins of doubling width.
    width, top = (high - low) / 4, float(wide.max())
    while width > 0 and wanted[-1] + width < top:
        wanted = np.append(wanted, wanted[-1] + width)
        width *= 2
    # Bins narrower than the noise of the wide mean would sort voxels by their noise.
    limits: list[float] = []
    for limit in wanted.tolist():
        if not limits or limit - limits[-1] >= max(3 * _WIDE_NOISE * noise, _ROUNDING * abs(limit)):
            limits.append(limit)
    return np.array(limits)


def _whiteness(field: _Field, bins: list[npt.NDArray[np.intp]]) -> tuple[dict[str, float], float]:
    """Return the noise's power at higher over that at lower frequencies by axis, and its standard error."""
    second, twice = field.second_differences()
    powers = np.array([np.square(second[chosen]).mean(dtype=float) for chosen in bins])
    counts = np.array([len(chosen) for chosen in bins], float)
    ratios = {}
    for name, values in twice.items():
        higher = np.array([np.square(values[chosen]).mean(dtype=float) for chosen in bins])
        ratios[name] = _weighted_median(higher / (_TWICE * np.maximum(powers, 1e-30)), counts)
    # Both powers come from the same voxels, so chance moves their ratio about half as far as each of them.
    return ratios, 0.5 * math.sqrt(2 / (field.independent_share(_SECOND) * counts.sum()))


def _weighted_median(values: _Doubles, weights: _Doubles) -> float:
    order = np.argsort(values)
    summed = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(summed, summed[-1] / 2)])


def _coarse_ratios(blocks: Blocks, means: _Doubles, variances: _Doubles) -> tuple[float, float]:
    """Return the variance of averages of 2 × 2 voxels over that expected; see `NoiseSamples`."""
    blocks = blocks[..., : blocks.shape[2] // 2 * 2, : blocks.shape[3] // 2 * 2]
    rows = blocks[..., ::2, :] + blocks[..., 1::2, :]
    averages = ((rows[..., ::2] + rows[..., 1::2]) / 4).astype(np.float32, copy=False)
    if min(averages.shape[2:]) < 8:
        return math.nan, math.nan
    field = _Field(averages)
    difference, mean = field.differences(_SECOND)
    # Darker than the darkest bin, there is not even one photon.
    known = np.isfinite(difference) & np.isfinite(field.slopes) & (mean >= means.min())
    if np.count_nonzero(known) < 2 * _FEWEST_FLAT:
        return math.nan, math.nan
    rising = np.argsort(means)
    expected = np.interp(mean[known], means[rising], variances[rising])
    flattest = np.argsort(field.slopes[known] / expected)
    squares = np.square(difference[known]) / expected

    def ratio(share: float) -> float:
        chosen = flattest[: max(_FEWEST_FLAT, round(share * len(flattest)))]
        return 4 * float(squares[chosen].mean(dtype=float))

    return ratio(_FLATTEST[0]), ratio(_FLATTEST[1])
