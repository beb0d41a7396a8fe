"""Residual of a result, the part of the image that it does not explain, and the errors of SQUIRREL.

References
----------
S. Culley et al., "Quantitative mapping and minimization of super-resolution optical imaging artifacts",
Nature Methods 15 (2018) 263-266.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import ndimage, optimize

from napari_lucyd import checks
from napari_lucyd.photons import NoiseModel, estimate_noise
from napari_lucyd.psf.cleaning import scaled_to_one
from napari_lucyd.psf.gaussian import gaussian_psf
from napari_lucyd.referee.scores.reblur import STEPS_AROUND, Reblur, Values, fit_line
from napari_lucyd.referee.scores.samples import contrast_part

# Largest number of voxels to look at.
_SAMPLE_VOXELS = 2**19
# Limits of the Gaussian that blurs a result to its image, in voxels, and its precision.
_WIDEST, _TOLERANCE = 8.0, 0.02


@dataclass(frozen=True)
class Residual:
    """The image minus what the result predicts, in standard deviations of the noise.

    Attributes
    ----------
    mean
        Mean; 0 is expected.
    variance
        Mean square. 1 is expected. More means that the result does not explain the image, or that the PSF is
        wrong; less means that the result has followed the noise. None if the image has no photon noise.
    correlation
        Correlation of neighbouring voxels, the mean over the axes, from −1 to 1. 0 is white noise, which is
        expected. Above 0, structure is left in the residual.
    """

    mean: float
    variance: float | None
    correlation: float

    def as_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class ReblurError:
    """Agreement of an image with a result that is blurred again, as in SQUIRREL.

    Attributes
    ----------
    rsp
        Pearson correlation, at most 1.
    rse
        Root mean square difference, in units of the image.
    blur_sigma
        Standard deviations of the Gaussian that blurs the result to the image, in voxels along the axes; None
        if a PSF was given.
    """

    rsp: float
    rse: float
    blur_sigma: tuple[float, ...] | None

    def as_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON data."""
        return asdict(self)


def measure_residual(
    image: Any, output: Any, *, psf: Any = None, noise: NoiseModel | None = None
) -> Residual:
    """Measure the residual of any result of an image, also of one that was made elsewhere.

    A sample with much contrast is measured. Scale and offset of the result are fitted to the image.

    Parameters
    ----------
    image, output
        Image and result, (Y, X) or (Z, Y, X), of one shape.
    psf
        PSF on the image's voxels. None for the Gaussian by which the result agrees with the image best; then
        a result that is too smooth or too sharp shows less.
    noise
        Noise model of the image; None to estimate it.

    Raises
    ------
    TypeError, ValueError
        If the arrays differ in shape, or hold no numbers that can be compared.
    """
    values, result = _pair(image, output)
    part = contrast_part(values, _SAMPLE_VOXELS)
    if noise is None:
        noise = estimate_noise(values)
    given, restored = values[part], result[part]
    kernel = _kernel(psf, given.ndim) if psf is not None else gaussian_psf(_best_sigma(given, restored))
    return residual_of(Reblur(kernel, given.shape), given, restored, noise)


def residual_of(reblur: Reblur, image: Values, output: Values, noise: NoiseModel) -> Residual:
    """Measure the residual of a part; see `measure_residual`."""
    standardised = standardised_residual(reblur, image, output, noise)[reblur.inner].astype(np.float64)
    centred = standardised - standardised.mean()
    power = float(np.mean(np.square(centred, dtype=np.float64)))
    correlations = [
        float(np.mean(np.take(centred, range(1, n), axis) * np.take(centred, range(n - 1), axis))) / power
        for axis, n in enumerate(centred.shape)
        if n > 1 and power > 0
    ]
    known = noise.poisson
    return Residual(
        float(standardised.mean(dtype=np.float64)),
        float(np.mean(np.square(standardised, dtype=np.float64))) if known else None,
        float(np.mean(correlations)) if correlations else 0.0,
    )


def standardised_residual(
    reblur: Reblur, image: Values, output: Values, noise: NoiseModel, steps: int = STEPS_AROUND
) -> Values:
    """Return image minus prediction, in standard deviations of the noise that the prediction has.

    The prediction is `Reblur.explained`, which takes the ``steps``.
    """
    predicted, _ = reblur.explained(output, image, steps)
    # Without noise in the model, a thousandth of the image's contrast counts as noise.
    smallest = max(1e-6 * float(np.var(image, dtype=np.float64)), 1e-30)
    variance = np.maximum(noise.variance(predicted), smallest)
    residual: Values = ((image - predicted) / np.sqrt(variance)).astype(np.float32)
    return residual


def reblur_error(image: Any, output: Any, *, psf: Any = None) -> ReblurError:
    """Blur a result again and compare it with its image: RSP and RSE.

    Both are fitted for the scale and the offset of the result and, if no PSF is given, for the width of a
    Gaussian blur. A sample with much contrast is compared.

    Parameters
    ----------
    image, output, psf
        See `measure_residual`.

    Raises
    ------
    TypeError, ValueError
        See `measure_residual`.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import gaussian_filter
    >>> truth = np.zeros((64, 64)); truth[20:40, 30] = 100
    >>> found = reblur_error(gaussian_filter(truth, 2), truth)
    >>> round(found.rsp, 3), round(found.blur_sigma[0], 1)
    (1.0, 2.0)
    """
    values, result = _pair(image, output)
    part = contrast_part(values, _SAMPLE_VOXELS)
    given, restored = values[part], result[part]
    sigma = None
    if psf is None:
        sigma = _best_sigma(given, restored)
        blurred = ndimage.gaussian_filter(restored, sigma, mode="reflect")
        inner: tuple[slice, ...] = tuple(slice(None) for _ in given.shape)
    else:
        reblur = Reblur(_kernel(psf, given.ndim), given.shape)
        explained, factor = reblur.explained(restored, given)
        blurred, inner = np.float32(math.copysign(1, factor)) * explained, reblur.inner
    factor, constant = fit_line(blurred[inner], given[inner])
    difference = given[inner] - (factor * blurred[inner] + constant)
    rse = math.sqrt(float(np.mean(np.square(difference, dtype=np.float64))))
    spread = float(given[inner].std(dtype=np.float64)) * float(blurred[inner].std(dtype=np.float64))
    covariance = factor * float(blurred[inner].var(dtype=np.float64))
    return ReblurError(covariance / spread if spread > 0 else 0.0, rse, sigma)


def _best_sigma(image: Values, output: Values) -> tuple[float, ...]:
    """Return the widths of the Gaussian with which the output agrees best: one across Z, one along it."""

    def spread(sigmas: Sequence[float]) -> tuple[float, ...]:
        return (sigmas[-1], sigmas[0], sigmas[0])[3 - image.ndim :]

    def misfit(sigmas: Sequence[float]) -> float:
        blurred = ndimage.gaussian_filter(output, spread(sigmas), mode="reflect")
        factor, constant = fit_line(blurred, image)
        return float(np.mean(np.square(image - factor * blurred - constant, dtype=np.float64)))

    def along(lateral: float) -> float:
        return misfit((lateral, lateral))

    options = {"xatol": _TOLERANCE}
    lateral = float(optimize.minimize_scalar(along, bounds=(0, _WIDEST), method="bounded", options=options).x)
    axial = lateral
    if image.ndim == 3 and image.shape[0] > 1:
        for _ in range(2):
            axial, lateral = (
                float(optimize.minimize_scalar(one, bounds=(0, _WIDEST), method="bounded", options=options).x)
                for one in (
                    lambda sigma, other=lateral: misfit((other, sigma)),
                    lambda sigma, other=axial: misfit((sigma, other)),
                )
            )
    return tuple(round(sigma, 3) for sigma in spread((lateral, axial)))


def _pair(image: Any, output: Any) -> tuple[Values, Values]:
    values, result = checks.float_array("The image", image), checks.float_array("The result", output)
    if values.shape != result.shape or values.ndim not in (2, 3):
        raise ValueError(
            f"The image has shape {values.shape} and the result {result.shape}; give one volume or plane, "
            "(Z, Y, X) or (Y, X), of the same shape for both."
        )
    finite = np.isfinite(values) & np.isfinite(result)
    if not finite.any():
        raise ValueError("The image or the result has no finite voxel; there is nothing to compare.")
    if finite.all():
        return values, result
    return tuple(  # type: ignore[return-value]
        np.where(finite, array, np.float32(np.median(array[finite]))) for array in (values, result)
    )


def _kernel(psf: Any, dimension: int) -> Values:
    kernel = checks.float_array("The psf", psf)
    if kernel.ndim != dimension or not kernel.sum() > 0:
        raise ValueError(
            f"The psf has shape {kernel.shape}; give one with {dimension} axes and a sum above 0, on the "
            "image's voxels."
        )
    return scaled_to_one(kernel)
