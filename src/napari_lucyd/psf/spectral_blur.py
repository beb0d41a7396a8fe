"""Width of the blur of an image, from its power spectrum.

The power of most specimens falls with the spatial frequency k as a power law that flattens below a frequency
k₀, ~ (k² + k₀²)^(−α/2). A Gaussian blur multiplies it with exp(−4π²σ²k²), and noise adds a constant. A power
law and a Gaussian fall in such different ways that a fit over all frequencies above the noise tells them
apart. The fit needs no photons, only the level of the noise, and takes a fraction of a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, optimize, special

NARROWEST, WIDEST = 0.3, 8.0
"""Limits of the standard deviations that are found, in voxels."""

# Rings of spatial frequencies across Z, at most; and the lowest frequency that is used, in periods a voxel:
# below it are the background and the window.
_RINGS, _LOWEST = 48, 0.012
# Frequencies k₀ that are tried, in periods a voxel.
_KNEES = (0.005, 0.01, 0.02, 0.035, 0.06, 0.1)
# Exponents of specimens: limits, and usual values with their spread, for planes and for volumes.
_STEEPEST, _USUAL, _SPREAD = 4.5, {2: 2.5, 3: 3.0}, 0.5
# Typical distance of a specimen's spectrum from the model, as a natural logarithm.
_MISFIT, _INDEPENDENT_RINGS = 0.3, 25
NOISE_ERROR = 0.05
"""Relative error of the level of the noise, where the noise model holds."""
UNKNOWN_NOISE_ERROR = 1.0
"""The same without photon noise: the level is known to a factor only."""
# Share of the independent frequencies that is left behind a Hann window, by dimension.
_INDEPENDENT = {2: 1 / 2, 3: 1 / 3}
SMALLEST = 16
"""Fewest voxels along Y and X in which a blur is looked for."""
# Thinner stacks have too few frequencies along Z.
_FEWEST_PLANES = 8
# Fall of the spectrum up to the highest frequency with signal that a specimen may bring about, as a natural
# logarithm; and the standard error of a width besides, as a share (scripts/referee_examine.py).
_SPECIMEN_FALL, _SYSTEMATIC = 0.5, 0.1
_FEWEST_RINGS = 8
# Power above that of the noise, as a share of it, that counts as signal.
_CLEAR = 0.3

_Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Power of an image over that of its noise, by spatial frequency.

    Attributes
    ----------
    axial, lateral
        Frequency along Z and across it of each ring, in periods a voxel.
    power
        Mean power in each ring; 1 is the noise alone.
    counts
        Number of frequencies in each ring.
    dimension
        Number of axes of the image: 2 or 3.
    """

    axial: _Doubles
    lateral: _Doubles
    power: _Doubles
    counts: _Doubles
    dimension: int


@dataclass(frozen=True)
class FoundBlur:
    """Gaussian blur that was found in an image.

    Attributes
    ----------
    sigma, error
        Standard deviations along (Z,) Y, X in voxels, and their standard errors.
    exponent
        Exponent of the specimen's power law.
    """

    sigma: tuple[float, ...]
    error: tuple[float, ...]
    exponent: float


def power_spectrum(image: npt.NDArray[Any], variance: npt.NDArray[np.float64] | float) -> Spectrum:
    """Measure the power spectrum of an image in units of its noise.

    Parameters
    ----------
    image
        (Z, Y, X) or (Y, X), finite.
    variance
        Variance of the noise of each voxel, or of all voxels.
    """
    stack = np.asarray(image, np.float32)
    stack = stack if stack.ndim == 3 else stack[None]
    window = np.ones((1, 1, 1), np.float32)
    for axis, n in enumerate(stack.shape):
        if n > 1:
            sides = [-1 if axis == other else 1 for other in range(3)]
            window = window * np.hanning(n + 2)[1:-1].astype(np.float32).reshape(sides)
    squares = window**2
    noise = float((squares * np.broadcast_to(variance, stack.shape).reshape(stack.shape)).sum(dtype=float))
    mean = float((stack * window).sum(dtype=float) / window.sum(dtype=float))
    power = np.abs(fft.rfftn((stack - np.float32(mean)) * window, workers=-1)) ** 2 / np.float32(noise)
    depth, height, width = stack.shape
    count = max(4, min(_RINGS, height // 2, width // 2))
    across = np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width)[None])
    ring = np.minimum((across * (2 * count)).astype(int), count).ravel()
    heights = np.arange(depth // 2 + 1)
    folded = np.zeros((len(heights), count + 1))
    for z, plane in enumerate(power):
        folded[min(z, depth - z)] += np.bincount(ring, plane.ravel(), count + 1)
    numbers = np.bincount(ring, minlength=count + 1)
    times = np.where((heights == 0) | (2 * heights == depth), 1, 2)
    counts = (times[:, None] * numbers)[:, :-1]
    lateral = np.bincount(ring, across.ravel(), count + 1)[:-1] / np.maximum(numbers[:-1], 1)
    seen = counts > 0
    return Spectrum(
        np.broadcast_to((heights / depth)[:, None], seen.shape)[seen],
        np.broadcast_to(lateral, seen.shape)[seen],
        folded[:, :-1][seen] / counts[seen],
        counts[seen].astype(float),
        3 if depth > 1 else 2,
    )


def blur_of_spectrum(
    spectrum: Spectrum, step_ratio: float = 1.0, noise_error: float = NOISE_ERROR
) -> FoundBlur | None:
    """Find the Gaussian blur that explains a spectrum.

    Parameters
    ----------
    spectrum
        The spectrum, from `power_spectrum`.
    step_ratio
        Voxel size along Y and X over that along Z: specimens are assumed to look alike in all directions.
    noise_error
        Relative error of the level of the noise.

    Returns
    -------
    FoundBlur or None
        None if too little of the spectrum rises above the noise.
    """
    flat = spectrum.dimension == 2
    distance = np.hypot(spectrum.lateral, spectrum.axial * step_ratio)
    used = (distance > _LOWEST) & (spectrum.power > 0)
    lateral, axial, distance = spectrum.lateral[used], spectrum.axial[used], distance[used]
    power, independent = spectrum.power[used], spectrum.counts[used] * _INDEPENDENT[spectrum.dimension]
    # The logarithm of a mean of few exponential variables is too small on average.
    observed = np.log(power) - special.digamma(independent) + np.log(independent)
    clear = power > 1 + np.maximum(6 / np.sqrt(independent), _CLEAR)
    if np.count_nonzero(clear) < _FEWEST_RINGS:
        return None
    # The misfit of neighbouring rings is alike: all of them together tell no more than a few would.
    misfit = _MISFIT * math.sqrt(max(1.0, np.count_nonzero(clear) / _INDEPENDENT_RINGS))
    widths = [-4 * math.pi**2 * lateral**2, *([] if flat else [-4 * math.pi**2 * axial**2])]
    best, smallest = None, math.inf
    for knee in _KNEES:
        fall = -0.5 * np.log((distance**2 + knee**2) / 0.01)
        model = np.stack([np.ones_like(fall), fall, *widths], axis=1)
        fitted = _fit(
            model, observed, power, independent, clear, _USUAL[spectrum.dimension], noise_error, misfit
        )
        if fitted.cost < smallest:
            best, smallest = fitted, float(fitted.cost)
    assert best is not None
    squares = best.x[2:-1]
    sigmas = np.sqrt(squares)
    variances = np.diag(np.linalg.pinv(best.jac.T @ best.jac))[2:-1]
    highest = [float(np.quantile(frequencies[clear], 0.95)) for frequencies in (lateral, axial)]
    falls = [_SPECIMEN_FALL / (4 * math.pi**2 * max(k, 1e-3) ** 2) for k in highest[: len(squares)]]
    spread = np.sqrt(variances + np.square(falls))
    errors = np.hypot(np.sqrt(squares + spread) - sigmas, _SYSTEMATIC * sigmas)
    order = [0, 0] if flat else [1, 0, 0]
    return FoundBlur(
        tuple(float(sigmas[number]) for number in order),
        tuple(float(errors[number]) for number in order),
        float(best.x[1]),
    )


def _fit(
    model: _Doubles,
    observed: _Doubles,
    power: _Doubles,
    independent: _Doubles,
    clear: npt.NDArray[np.bool_],
    usual: float,
    noise_error: float,
    misfit: float,
) -> Any:
    """Fit level, exponent, squared widths and the level of the noise; robust against single rings."""
    count = model.shape[1]
    low = np.array([-80.0, 0.0, *[NARROWEST**2] * (count - 2), -1.0])
    high = np.array([80.0, _STEEPEST, *[WIDEST**2] * (count - 2), 1.0])
    # A start without the rings in which noise matters: there the model is linear.
    signal = power[clear] - 1
    weights = 1 / np.sqrt((power[clear] / signal) ** 2 / independent[clear] + misfit**2)
    prior = np.zeros((2, count + 1))
    prior[0, 1], prior[1, -1] = 1 / _SPREAD, 1 / noise_error
    wanted = np.array([usual / _SPREAD, 0.0])
    linear = optimize.lsq_linear(
        np.concatenate([model[clear] * weights[:, None], prior[:1, :-1]]),
        np.append(np.log(signal) * weights, wanted[0]),
        (low[:-1], high[:-1]),
    )

    def parts(values: _Doubles) -> tuple[_Doubles, _Doubles, _Doubles]:
        expected = np.exp(np.minimum(model @ values[:-1], 60))
        noise = math.exp(float(values[-1]))
        share = expected / (expected + noise)
        return share, np.log(expected + noise), np.sqrt(1 / independent + (misfit * share) ** 2)

    def residuals(values: _Doubles) -> _Doubles:
        _, logarithm, error = parts(values)
        return np.concatenate([(observed - logarithm) / error, prior @ values - wanted])

    def slopes(values: _Doubles) -> _Doubles:
        share, _, error = parts(values)
        rows = np.concatenate([model * share[:, None], (1 - share)[:, None]], axis=1)
        return np.concatenate([-rows / error[:, None], prior])

    start = np.clip(np.append(linear.x, 0.0), low + 1e-6, high - 1e-6)
    return optimize.least_squares(
        residuals, start, slopes, (low, high), loss="soft_l1", f_scale=1.5, max_nfev=40
    )


def find_blur(
    image: npt.NDArray[Any],
    variance: npt.NDArray[np.float64] | float,
    step_ratio: float = 1.0,
    noise_error: float = NOISE_ERROR,
) -> FoundBlur | None:
    """Find the Gaussian blur of an image from its power spectrum.

    The blur includes that of the optics, of the voxels and of the specimen itself: an image of smooth
    structures has a wider one. In a stack of fewer than 8 planes, the width along Z is unknown; it is taken
    to be that across Z, with an error of the same size.

    Parameters
    ----------
    image
        (Z, Y, X) or (Y, X), finite.
    variance
        Variance of the noise of each voxel, or of all voxels, above 0.
    step_ratio
        Voxel size along Y and X over that along Z; 1 if unknown.
    noise_error
        Relative error of `variance`.

    Returns
    -------
    FoundBlur or None
        None if too little of the spectrum rises above the noise, the image is smaller than 16 voxels along Y
        or X, or there is no noise.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import ndimage
    >>> points = np.random.default_rng(0).random((256, 256)) > 0.99
    >>> image = ndimage.gaussian_filter(1000.0 * points, 2)
    >>> image += np.random.default_rng(1).normal(0, 1, image.shape)
    >>> all(abs(sigma - 2) < 0.2 for sigma in find_blur(image, 1.0).sigma)
    True
    """
    if min(image.shape[-2:]) < SMALLEST or not np.any(np.asarray(variance) > 0):
        return None
    flat = image.ndim == 2
    several = image.ndim == 3 and len(image) >= _FEWEST_PLANES
    if image.ndim == 3 and not several:
        middle = len(image) // 2
        image, variance = image[middle], np.broadcast_to(variance, image.shape)[middle]
    found = blur_of_spectrum(power_spectrum(image, variance), step_ratio, noise_error)
    if found is None or several or flat:
        return found
    return FoundBlur((found.sigma[0], *found.sigma), (found.sigma[0], *found.error), found.exponent)
