"""The first stage of a network that is told the PSF: Richardson-Lucy, with its numbers found in the image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd.compute.device import choose_device
from napari_lucyd.deconvolution.classical.dark_level import DarkLevel, find_dark_level
from napari_lucyd.deconvolution.classical.functions import richardson_lucy
from napari_lucyd.deconvolution.classical.methods import as_real
from napari_lucyd.deconvolution.statistics.noise import estimate_noise

# The number of accelerated iterations is this, over the square root of the noise as a share of the scale,
# over a power of the PSF's concentration (docs/decisions/0014-a-living-network.md).
_ITERATIONS, _CONCENTRATION_POWER = 0.3, 0.75
_FEWEST, _MOST = 5, 45
# Voxels that exceed the noise by this number of standard deviations are light.
_SIGNIFICANT = 4.0
# An image that holds no light is scaled by its noise, so that noise stays small.
_NOISE_SCALE = 10.0
# Planes that noise is estimated on.
_PLANES = 9


@dataclass(frozen=True, eq=False)
class FirstEstimate:
    """An estimate of the object, with what was found in the image.

    Attributes
    ----------
    estimate
        In the image's units, the dark level included; float32.
    level
        The image's dark level.
    scale
        How far above it the light is, see `bright_level`.
    noise
        Standard deviation of the image's noise as a share of the scale.
    num_iter
        Iterations that were made.
    """

    estimate: npt.NDArray[np.float32]
    level: float
    scale: float
    noise: float
    num_iter: int


def first_estimate(
    image: Any, psf: Any, *, num_iter: int | None = None, effort: float = 1.0, device: Any = "cpu"
) -> FirstEstimate:
    """Estimate the object by accelerated Richardson-Lucy iterations, as many as noise and PSF allow.

    Parameters
    ----------
    image
        ([Z,] Y, X), any real dtype; a constant that is added to it is added to the estimate.
    psf
        As `richardson_lucy` takes it.
    num_iter
        Iterations; chosen by `iterations_for` where None.
    effort
        Factor of the number that is chosen.
    device
        As in `choose_device`.

    Returns
    -------
    FirstEstimate
        Of the image's shape.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_lucyd.deconvolution import first_estimate
    >>> image = np.random.default_rng(0).normal(100, 1, (32, 32))
    >>> image[12:20, 12:20] += 50
    >>> found = first_estimate(image, np.ones((3, 3)))
    >>> found.estimate.shape, found.num_iter > 0
    ((32, 32), True)
    """
    values = as_real("image", image)
    dark = find_dark_level(values)
    noise = _noise(values)
    scale = bright_level(values, dark, noise)
    share = noise / scale
    count = iterations_for(share, psf, effort) if num_iter is None else num_iter
    observed = np.maximum(values - np.float32(dark.floor), 0)
    found = richardson_lucy(
        observed,
        psf,
        num_iter=count,
        background=dark.pedestal,
        acceleration=True,
        device=choose_device(device) if isinstance(device, str) else device,
    )
    return FirstEstimate(found + np.float32(dark.level), dark.level, scale, share, count)


def iterations_for(noise: float, psf: npt.ArrayLike, effort: float = 1.0) -> int:
    """Choose the number of accelerated iterations: fewer for more noise, more for a wider PSF.

    A wide PSF averages the noise of many voxels, and its estimate is longer on the way.

    Parameters
    ----------
    noise
        Standard deviation as a share of the scale.
    psf
        Its concentration is the root of the sum of its squares, where its sum is 1.
    effort
        Factor of the number.
    """
    weights = np.asarray(psf, np.float64)
    concentration = math.sqrt(float(np.square(weights).sum())) / float(weights.sum())
    wanted = _ITERATIONS / math.sqrt(max(noise, 1e-6)) / math.pow(concentration, _CONCENTRATION_POWER)
    return max(_FEWEST, min(_MOST, round(effort * wanted)))


def bright_level(values: npt.NDArray[np.float32], dark: DarkLevel, noise: float) -> float:
    """Measure how bright the light is above the dark level: its mean, weighted by itself, times 1.5.

    Unlike a percentile it does not depend on how much of the field is filled: three beads in the dark have
    the scale of a field that is full of them. It is never below ten standard deviations of the noise, and 1
    where an image is constant.

    Parameters
    ----------
    values
        The image, finite.
    dark
        Its dark level.
    noise
        Standard deviation of its noise.
    """
    light = values[values > dark.level + _SIGNIFICANT * noise].astype(np.float64) - dark.level
    total = float(light.sum())
    bright = 1.5 * float(light @ light) / total if total > 0 else 0.0
    return max(bright, _NOISE_SCALE * noise) or 1.0


def _noise(values: npt.NDArray[np.float32]) -> float:
    planes = values.reshape(-1, *values.shape[-2:])
    chosen = np.unique(np.linspace(0, len(planes) - 1, _PLANES).round().astype(int))
    return float(np.median([estimate_noise(planes[number]) for number in chosen]))
