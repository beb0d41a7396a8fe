"""Gain, offset and read noise of a camera, estimated from one of its images.

A camera turns N photons into N·gain + offset and adds read noise of its own, so the variance of a voxel is a
straight line in its mean: gain·(mean − offset) + read_noise². Second differences along every axis remove what
varies smoothly and leave the noise. Their mean square, taken in bins of local brightness, gives that line.

References
----------
J. Immerkær, "Fast noise variance estimation", Computer Vision and Image Understanding 64 (1996) 300-302.
A. Foi, M. Trimeche, V. Katkovnik, K. Egiazarian, "Practical Poissonian-Gaussian noise modeling and fitting
for single-image raw-data", IEEE Transactions on Image Processing 17 (2008) 1737-1754.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd.photons.noise_samples import NoiseSamples, draw_noise_samples
from napari_lucyd.photons.sampling import without_empty_ends
from napari_lucyd.text import percent_text

# A bin's variance may exceed the line by this share, besides three standard errors, before it counts as
# structure instead of noise.
_STRUCTURE = 0.15
_BIN_ERROR = 0.03
_ROUNDS = 20
# Smallest variance that counts in the fit, as a share of the mean of all.
_SMALLEST_VARIANCE = 1e-6
# The slope must be this many standard errors above zero, and must raise the standard deviation from the dark
# to the bright end by this share, before it counts as photon noise.
_SIGNIFICANT_SLOPE = 2.0
_SMALLEST_RISE = 0.1
# Variance at higher over variance at lower spatial frequencies: 1 for independent voxels. Below the last
# value, no frequency is free of structure, if there is noise at all.
_WHITE = (0.85, 1.2)
_NO_PLATEAU = 0.6
# Variance of 2 × 2 averages over that of single voxels, minus 1; and the share of the highest frequencies'
# power that is lost for each 1 of it. Measured in images that are structure all over: up to 0.007; with noise
# that was smoothed, filtered or interpolated: 0.01 to 0.08.
_COARSE_RISE, _COARSE_FALL = 1.2, 0.5
_STEEPNESS = 0.009
# Typical distance of the bins from the line, as a share of the line.
_STRAIGHT = 0.25
# Share of the range from dark to bright by which the line may reach zero above the darkest level.
_DARK_GAP = 0.03
# Voxels at the highest level; fewer may be chance.
_FEWEST_SATURATED = 4
_MANY_SATURATED = 0.01
# Standard deviation, as a share of the range, below which there is rounding alone.
_NO_NOISE = 1e-6
# Smallest number of grey levels in one standard deviation of the noise.
_FEWEST_LEVELS = 0.5

_Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NoiseModel:
    """The noise of an image as a straight line: variance = gain·(mean − offset) + read_noise².

    Only the slope and the height of this line can be measured in one image. It is split into offset and
    read noise at the darkest level of the image. Where no part of the specimen is dark, `offset` therefore
    contains the weakest light and `read_noise` its shot noise. `variance` is right in both cases.

    An average of several frames has photon noise too, with a smaller gain. So has an image of an
    electron-multiplying camera: its excess noise doubles the gain, and a photon counts half.

    Attributes
    ----------
    gain
        Grey levels of the image for one photon; 0 where the noise does not rise with brightness.
    offset
        Grey level of the darkest part of the image.
    read_noise
        Standard deviation of the noise at `offset`, in grey levels.
    bright
        Grey level of the bright end: the 99.9th percentile of the image without its noise. In an image of few
        small objects it is their peak.
    poisson
        True if the noise is photon noise, apart from read noise, and independent from voxel to voxel. Then
        the image may be split by `thin` and scored by held-out photons.
    reason
        One sentence for the user that explains `poisson`.
    saturated
        Share of the voxels at the upper limit of the detector, from 0 to 1.
    """

    gain: float
    offset: float
    read_noise: float
    bright: float
    poisson: bool
    reason: str
    saturated: float = 0.0

    @property
    def zero_level(self) -> float:
        """Grey level at which the line of the variance reaches zero; −inf if the gain is 0."""
        return self.offset - self.read_noise**2 / self.gain if self.gain else -math.inf

    @property
    def noise(self) -> float:
        """Standard deviation at the bright end, as a share of the range from `offset` to `bright`."""
        reach = self.bright - self.offset
        return math.sqrt(float(self.variance(self.bright))) / reach if reach > 0 else math.inf

    def variance(self, mean: npt.ArrayLike) -> _Doubles:
        """Return the variance of voxels with these means, in squared grey levels, float64."""
        above = np.maximum(np.asarray(mean, np.float64) - self.offset, 0)
        result: _Doubles = self.gain * above + self.read_noise**2
        return result

    def to_photons(self, image: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the image in photons whose variance equals their mean, float32.

        Read noise counts as a constant background of (read_noise / gain)² photons (Snyder et al., 1995).

        Raises
        ------
        ValueError
            If the gain is 0.
        """
        if not self.gain:
            raise ValueError("The gain is 0: this image's noise is not photon noise, so it has no photons.")
        return ((np.asarray(image, np.float64) - self.zero_level) / self.gain).astype(np.float32)

    def from_photons(self, photons: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return photons as grey levels, float32: the inverse of `to_photons`."""
        if not self.gain:
            raise ValueError("The gain is 0: this image's noise is not photon noise, so it has no photons.")
        return (np.asarray(photons, np.float64) * self.gain + self.zero_level).astype(np.float32)


def estimate_noise(image: npt.NDArray[Any], *, seed: int = 0) -> NoiseModel:
    """Estimate gain, offset and read noise from a single image.

    The work is done on a sample of about a million voxels, so the time does not grow with the image.

    Parameters
    ----------
    image
        (Y, X) or (Z, Y, X), integer or floating point, in grey levels as the camera gave them. Voxels that
        are not finite are left out, and so are planes at both ends whose voxels are all equal.
    seed
        Seed of the random sample, 0 or more.

    Returns
    -------
    NoiseModel
        The noise model. Its `NoiseModel.poisson` is False if the noise is not photon noise.

    Raises
    ------
    TypeError
        If the image holds no real numbers.
    ValueError
        If it has not two or three axes, or no 8 voxels along the last two.

    Examples
    --------
    >>> import numpy as np
    >>> random = np.random.default_rng(0)
    >>> light = 40 * (1 + np.sin(np.arange(256) / 20))
    >>> photons = random.poisson(np.broadcast_to(light, (256, 256)))
    >>> camera = 2.0 * photons + 100 + random.normal(0, 3, photons.shape)
    >>> found = estimate_noise(camera)
    >>> found.poisson, bool(abs(found.gain - 2) < 0.1)
    (True, True)
    """
    _check(image)
    image = without_empty_ends(image)
    samples = draw_noise_samples(image, seed=seed)
    saturated = _saturated_share(image)
    if samples is None:
        finite = image[np.isfinite(image)]
        level = float(finite.mean(dtype=float)) if finite.size else 0.0
        constant = not finite.size or finite.min() == finite.max()
        unknown = "The image is too small, or its brightness too even, to show how its noise varies."
        text = "The image is constant: it has no noise." if constant else unknown
        return NoiseModel(0.0, level, 0.0, level, False, text, saturated)
    slope, height, slope_error, misfit = _fit_line(samples)
    # By chance, the bright end of an image of noise alone may seem darker than the dark end.
    dark, bright = samples.dark, max(samples.dark, samples.bright)
    at_dark, at_bright = slope * dark + height, slope * bright + height
    rises = slope > _SIGNIFICANT_SLOPE * slope_error and at_bright > (1 + _SMALLEST_RISE) ** 2 * max(
        at_dark, 0
    )
    if rises:
        zero = -height / slope
        offset = max(dark, zero)
        gain, read_noise = slope, math.sqrt(max(0.0, slope * (offset - zero)))
    else:
        gain, offset, zero = 0.0, dark, dark
        read_noise = math.sqrt(float(np.average(samples.variances, weights=samples.counts)))
    model = NoiseModel(gain, offset, read_noise, bright, True, "", saturated)
    reason = _objection(samples, model, rises, slope_error, misfit, zero)
    return NoiseModel(
        gain,
        offset,
        read_noise,
        bright,
        reason is None,
        reason or "The noise is that of photons: its variance rises in a straight line with the brightness.",
        saturated,
    )


def _check(image: npt.NDArray[Any]) -> None:
    if image.dtype.kind not in "uif":
        raise TypeError(
            f"The image has dtype {image.dtype}; integers or floating-point numbers are expected."
        )
    if image.ndim not in (2, 3) or min(image.shape[-2:]) < 8 or image.shape[0] < 1:
        raise ValueError(
            f"The image has shape {image.shape}; expected are (Y, X) or (Z, Y, X) with at least 8 voxels "
            "along Y and X. Pass one channel of one time point."
        )


def _fit_line(samples: NoiseSamples) -> tuple[float, float, float, float]:
    """Return slope, height, the slope's standard error and the typical misfit of the lower envelope."""
    means, variances = samples.means, samples.variances
    centre, used = float(means.mean()), np.ones(len(means), bool)
    # Relative standard error of each variance: chance, and the effect of the bins' finite width.
    relative = np.sqrt(2 / samples.counts + _BIN_ERROR**2)
    # Part of the image may be constant, so without variance; it still needs a finite weight.
    least = _SMALLEST_VARIANCE * float(variances.mean()) or 1.0
    x, line = means - centre, np.maximum(variances, least)
    for _ in range(_ROUNDS):
        weights = used / (relative * line) ** 2
        total, first, second = weights.sum(), (weights * x).sum(), (weights * x * x).sum()
        spread = total * second - first**2
        if spread <= 1e-12 * total * second:
            return 0.0, float(np.average(variances, weights=samples.counts)), math.inf, 0.0
        slope = (total * (weights * x * variances).sum() - first * (weights * variances).sum()) / spread
        height = ((weights * variances).sum() - slope * first) / total
        # Positive everywhere, so that it can weigh the next round.
        line = np.maximum(np.maximum(slope * x + height, 0.05 * variances), least)
        now = variances - line <= np.maximum(3 * relative, _STRUCTURE) * line
        if now.sum() < 3 or (now == used).all():
            break
        used = now
    # Differences that chance explains do not count.
    excess = np.maximum(np.abs(variances / line - 1) - 2 * relative, 0)[used]
    misfit = math.sqrt(float(np.mean(excess**2)))
    return float(slope), float(height - slope * centre), math.sqrt(float(total / spread)), misfit


def _objection(
    samples: NoiseSamples, model: NoiseModel, rises: bool, slope_error: float, misfit: float, zero: float
) -> str | None:
    """Return why the noise is not that of photons, or None."""
    reach = max(0.0, samples.bright - samples.dark)
    typical = math.sqrt(float(np.average(samples.variances, weights=samples.counts)))
    if typical < _NO_NOISE * reach:
        return "The image has no noise: it was denoised, or simulated without noise."
    if typical < _FEWEST_LEVELS * samples.step:
        return f"The noise is finer than the image's grey levels, which are {samples.step:g} apart."
    correlated = _correlation(samples)
    if correlated:
        return correlated
    # Share of the darkest voxels that see no photon, if the lowest value means none.
    by_chance = math.exp(-max(0.0, samples.dark - samples.lowest) / model.gain) if model.gain else 0.0
    if samples.clipped > 0.05 + 1.2 * by_chance:
        return (
            f"The lowest value is that of {percent_text(samples.clipped)} of the voxels: a background was "
            "subtracted "
            "and the rest was cut off."
        )
    if model.saturated > _MANY_SATURATED:
        return f"Saturated voxels make up {percent_text(model.saturated)} of the image."
    if not rises and slope_error * reach > typical**2:
        return "The image has too few bright voxels to tell whether its noise rises with the brightness."
    if not rises:
        return (
            "The noise does not rise with the brightness: it is not photon noise, or the grey levels were "
            "stretched."
        )
    if zero - samples.dark > _DARK_GAP * reach:
        return "The darkest voxels have less noise than photons would give: the grey levels were changed."
    if misfit > _STRAIGHT:
        return "The variance is no straight line in the brightness: the grey levels were stretched unevenly."
    return None


def _correlation(samples: NoiseSamples) -> str | None:
    """Return how the noise of neighbouring voxels depends on each other, or None.

    Structure and correlated noise both raise the variance of averages of neighbours. Structure is steeper:
    for the same rise, it takes less power from the highest frequencies.
    """
    margin = 3 * samples.whiteness_error
    lateral = (samples.whiteness["Y"] + samples.whiteness["X"]) / 2
    rise = samples.coarse - 1
    shared = lateral < _NO_PLATEAU or (lateral < _WHITE[0] - margin and not rise > 0)
    if samples.coarse_flattest > 1 + _COARSE_RISE:
        shared |= 1 - lateral > max(margin, _STEEPNESS * rise)
    axial = samples.whiteness.get("Z", 1.0)
    if shared or axial < _WHITE[0] - margin:
        where = "" if shared else " along Z"
        return (
            f"Neighbouring voxels{where} share their noise: the image was resampled, denoised or deconvolved."
        )
    if lateral > _WHITE[1] + margin or samples.coarse < _COARSE_FALL:
        return "The noise of neighbouring voxels alternates: the image has stripes, or was sharpened."
    return None


def _saturated_share(image: npt.NDArray[Any]) -> float:
    """Return the share of voxels at a highest level that is far more frequent than those below it."""
    top, bottom = image.max(), image.min()
    if not (np.isfinite(top) and np.isfinite(bottom)):
        image = image[np.isfinite(image)]
        if not image.size:
            return 0.0
        top, bottom = image.max(), image.min()
    share = np.count_nonzero(image == top)
    if share < _FEWEST_SATURATED or top == bottom:
        return 0.0
    at_limit = image.dtype.kind in "ui" and int(top) == np.iinfo(image.dtype).max
    below = float(top) - 0.02 * (float(top) - float(bottom))
    if not at_limit and np.count_nonzero(image >= below) - share > share:
        return 0.0
    return float(share / image.size)
