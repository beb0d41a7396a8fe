"""First estimate for a network that is given the PSF: Richardson-Lucy with parameters found in the image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd import checks
from napari_lucyd.compute.device import choose_device
from napari_lucyd.deconvolution.classical.dark_level import DarkLevel, find_dark_level
from napari_lucyd.deconvolution.classical.functions import richardson_lucy
from napari_lucyd.deconvolution.statistics.noise import noise_of

# The number of accelerated iterations is the first of these, divided by two terms: the square root of the
# noise (a share of the scale), and this power of the PSF's concentration
# (docs/decisions/0014-a-living-network.md).
_ITERATIONS, _CONCENTRATION_POWER = 0.38, 0.75
# For planes it is larger by this factor (the same decision).
_PLANES_FACTOR = 1.2
_FEWEST, MOST_ITERATIONS = 3, 60
# A voxel counts as light if it exceeds the dark level by this number of standard deviations of the noise.
SIGNIFICANT = 4.0
# An image without light is scaled by this number of standard deviations of its noise, so noise stays small.
_NOISE_SCALE = 10.0


@dataclass(frozen=True, eq=False)
class FirstEstimate:
    """An estimate of the object, and the numbers found in the image.

    Attributes
    ----------
    estimate
        Estimated object, float32, in the image's units and with its dark level.
    level
        Dark level of the image.
    scale
        Brightness of the light above the dark level; see `bright_level`.
    noise
        Standard deviation of the image's noise as a share of the scale.
    num_iter
        Number of iterations.
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
        ([Z,] Y, X), any real dtype. A constant added to the image is also added to the estimate.
    psf
        PSF on the image's voxels; see `richardson_lucy`.
    num_iter
        Number of iterations; None to have `iterations_for` choose it.
    effort
        Factor by which the chosen number is multiplied.
    device
        Device; see `choose_device`.

    Returns
    -------
    FirstEstimate
        The estimate, of the image's shape, and the numbers found.

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
    values = checks.float_array("The image", image)
    dark = find_dark_level(values)
    noise = noise_of(values)
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

    A wide PSF averages the noise of many voxels, and its estimate converges more slowly. A PSF with two axes
    takes a fifth more than one with three and the same concentration.

    Parameters
    ----------
    noise
        Standard deviation as a share of the scale.
    psf
        PSF. Its concentration is the square root of the sum of its squares, after scaling to a sum of 1.
    effort
        Factor by which the number is multiplied.
    """
    weights = np.asarray(psf, np.float64)
    concentration = math.sqrt(float(np.square(weights).sum())) / float(weights.sum())
    wanted = _ITERATIONS / math.sqrt(max(noise, 1e-6)) / math.pow(concentration, _CONCENTRATION_POWER)
    if weights.ndim == 2:
        wanted *= _PLANES_FACTOR
    return max(_FEWEST, min(MOST_ITERATIONS, round(effort * wanted)))


def bright_level(values: npt.NDArray[np.float32], dark: DarkLevel, noise: float) -> float:
    """Measure how bright the light is above the dark level: its mean, weighted by itself, times 1.5.

    Unlike a percentile, it does not depend on the share of the field that is filled: three beads in the dark
    have the scale of a field full of beads. It is at least ten standard deviations of the noise, and 1 for a
    constant image.

    Parameters
    ----------
    values
        The image, finite.
    dark
        Its dark level.
    noise
        Standard deviation of its noise.
    """
    return scale_of(values[values > dark.level + SIGNIFICANT * noise].astype(np.float64) - dark.level, noise)


def scale_of(light: npt.NDArray[np.float64], noise: float) -> float:
    """Return the scale of an image from the voxels that are light, above the dark level."""
    total = float(light.sum())
    bright = 1.5 * float(light @ light) / total if total > 0 else 0.0
    return max(bright, _NOISE_SCALE * noise) or 1.0
