"""Degradation of a sharp image by a microscope: blur, photon noise and read noise (Eq. 1: y = x * K + n)."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_lucyd import checks
from napari_lucyd.simulation.phantoms import FloatImage, gaussian_kernel

# The authors' blur has a 7x7x7 kernel for every sigma. The effective sigma is therefore 0.46, 1.00, 1.18,
# 1.41 and 1.64 for a nominal 0.5, 1.0, 1.2, 1.5 and 2.0.
KERNEL_SIZE = 7
NoiseReference = Literal["truth", "image"]
# Brightness of a hot pixel over the range of the blurred image, and a number for its own random generator.
_HEAT = (0.2, 2.0)
_HOT_PIXELS = 1
# Beyond four sigma a Gaussian holds 6e-5 of its weight.
REACH = 4.0


@dataclass(frozen=True)
class Degraded:
    """A degraded image with its truth.

    Parameters
    ----------
    image
        Blurred and noisy image, float32. Noise exceeds the truth's range (0 to 1 from `degrade`).
    truth
        Sharp image, float32, with the same shape.
    parameters
        Parameters of the simulation, as plain JSON data.
    """

    image: FloatImage
    truth: FloatImage
    parameters: dict[str, Any] = field(default_factory=dict)

    def in_counts(self, counts: float) -> Degraded:
        """Multiply image and truth by a factor, such as the camera counts for the 1 of `degrade`.

        Parameters
        ----------
        counts
            Factor above 0; stored in the parameters.

        Raises
        ------
        ValueError
            If the factor is invalid, or the sample is already in counts.
        """
        self._refuse_twice("counts")
        if not 0 < counts < math.inf:
            raise ValueError(f"counts is {counts}; give a number above 0.")
        factor = np.float32(counts)
        parameters = {**self.parameters, "counts": float(counts)}
        return Degraded(factor * self.image, factor * self.truth, parameters)

    def with_z_step(self, z_step: int) -> Degraded:
        """Return every `z_step`-th plane of image and truth, as from a microscope with that step.

        Parameters
        ----------
        z_step
            Step in planes, at most the number of planes; stored in the parameters.

        Raises
        ------
        ValueError
            If the step is invalid, the sample is a plane, or planes were already left out.
        """
        self._refuse_twice("z_step")
        planes = self.image.shape[0] if self.image.ndim == 3 else 0
        if not 1 <= operator.index(z_step) <= planes:
            raise ValueError(
                f"z_step is {z_step} and the image has shape {self.image.shape}; give a volume, and a step "
                "from 1 to the number of its planes."
            )
        kept = slice(z_step // 2, None, z_step)
        return Degraded(self.image[kept], self.truth[kept], {**self.parameters, "z_step": int(z_step)})

    def _refuse_twice(self, name: str) -> None:
        if name in self.parameters:
            raise ValueError(
                f"The sample already has {name} = {self.parameters[name]}; apply it to the original sample."
            )


def degrade(
    truth: npt.ArrayLike,
    *,
    blur_sigma: float | Sequence[float] = 1.2,
    noise_sigma: float = 15 / 255,
    photons: float | None = None,
    photometric: bool = False,
    noise_reference: NoiseReference = "truth",
    hot_pixels: int = 0,
    rng: int = 0,
) -> Degraded:
    """Blur an image and add noise.

    The defaults give the mixture degradation of the LUCYD paper (Table 2). The truth is scaled to [0, 1] and
    blurred with a Gaussian that is cut off at 7 voxels, with zeros beyond the border. The result is scaled to
    [0, 1] by its own extremes. Then normal noise is added, without clipping.

    Parameters
    ----------
    truth
        Specimen, (Z, Y, X) or (Y, X): a `Phantom` or an array of any real dtype, not constant.
    blur_sigma
        Standard deviation of the Gaussian in voxels: one number, or one per axis.
    noise_sigma
        Standard deviation of the normal (read) noise, as a share of the range; see `noise_reference`.
    photons
        Expected photons at the brightest voxel of the blurred image; adds Poisson noise before the normal
        noise. None adds none. Live imaging has tens of photons, fixed specimens hundreds to thousands. A
        camera has read noise of 1 to 2 photoelectrons (sCMOS) or 5 to 10 (CCD); divide it by the photons for
        `noise_sigma`.
    photometric
        False to scale truth and image separately, as the authors did. True to give both the scale of the
        truth, without cutting the kernel off at 7 voxels and with reflection at the borders; this keeps flux.
    noise_reference
        Range that `noise_sigma` is a share of, if `photometric` is True: that of the ``"truth"``, or that of
        the blurred ``"image"``, which is much smaller if objects are few and thin.
    hot_pixels
        Number of camera pixels that are too bright, in all planes of a volume, by 0.2 to 2 times the range
        of the blurred image.
    rng
        Seed of the noise.

    Returns
    -------
    Degraded
        Image, truth and parameters.

    Raises
    ------
    ValueError
        If the image is not 2D or 3D, is constant or not finite, or if a parameter is negative.

    Examples
    --------
    >>> import napari_lucyd as nl
    >>> phantom = nl.make_phantom((32, 64, 64), rng=1)
    >>> sample = nl.degrade(phantom, blur_sigma=2.0, noise_sigma=50 / 255)
    >>> sample.image.shape == sample.truth.shape
    True
    """
    sharp = np.asarray(checks.array("truth", truth), np.float32)
    noise_sigma = checks.number("noise_sigma", noise_sigma)
    photons = None if photons is None else checks.number("photons", photons)
    photometric = checks.flag("photometric", photometric)
    rng = checks.integer("rng", rng, least=0)
    if sharp.ndim not in (2, 3):
        raise ValueError(f"The image has shape {sharp.shape}; give (Z, Y, X) or (Y, X).")
    sigmas = _per_axis(blur_sigma, sharp.ndim)
    if not 0 <= noise_sigma < math.inf or not (photons is None or 0 < photons < math.inf):
        raise ValueError(
            f"noise_sigma is {noise_sigma} and photons is {photons}; give noise_sigma of at least 0, and "
            "photons above 0 or None."
        )
    parameters: dict[str, Any] = {
        "blur_sigma": list(sigmas),
        "noise_sigma": float(noise_sigma),
        "photons": None if photons is None else float(photons),
        "photometric": bool(photometric),
        "rng": int(rng),
    }
    checks.choice("noise_reference", noise_reference, get_args(NoiseReference))
    # Older samples have no such entries; their records stay unchanged.
    if noise_reference != "truth":
        parameters["noise_reference"] = noise_reference
    if checked_hot_pixels(hot_pixels, sharp.shape):
        parameters["hot_pixels"] = operator.index(hot_pixels)
    made_by = getattr(truth, "parameters", None)
    if made_by:
        parameters["phantom"] = dict(made_by)

    sharp = scale_to_unit(sharp)
    image = blur(sharp, sigmas) if photometric else scale_to_unit(blur_truncated(sharp, sigmas))
    generator = np.random.default_rng(rng)
    blurred_range = float(image.max() - image.min())
    if photometric and noise_reference == "image":
        noise_sigma *= blurred_range
    if photons is not None:
        # Rounding in the blur may make a zero negative; an expectation cannot be.
        expected = np.maximum(image, 0) * (photons / float(image.max()))
        image = (generator.poisson(expected) * (float(image.max()) / photons)).astype(np.float32)
    if noise_sigma > 0:
        image = image + generator.normal(0, noise_sigma, image.shape).astype(np.float32)
    return Degraded(add_hot_pixels(image, hot_pixels, blurred_range, rng), sharp, parameters)


def add_hot_pixels(image: FloatImage, count: int, brightness_range: float, seed: int) -> FloatImage:
    """Brighten some pixels of the camera, the same in all planes.

    Parameters
    ----------
    image
        (Z, Y, X) or (Y, X).
    count
        Number of pixels; 0 returns the unchanged image.
    brightness_range
        Range of the blurred image. Hot pixels are brighter by 0.2 to 2 times this, uniform in the logarithm.
    seed
        Seed of the pixels. The other noise of the same seed stays the same.
    """
    if count == 0:
        return image
    generator = np.random.default_rng([seed, _HOT_PIXELS])
    pixels = generator.choice(math.prod(image.shape[-2:]), count, replace=False)
    flat = image.copy().reshape(*image.shape[:-2], -1)
    flat[..., pixels] += (brightness_range * np.geomspace(*_HEAT, count)).astype(np.float32)
    return flat.reshape(image.shape)


def checked_hot_pixels(count: int, shape: Sequence[int]) -> int:
    """Refuse a number of hot pixels that a camera of this shape cannot have."""
    pixels = math.prod(shape[-2:])
    if not 0 <= checks.integer("hot_pixels", count) <= pixels:
        raise ValueError(f"hot_pixels is {count}; the camera has {pixels} pixels, so give 0 to {pixels}.")
    return int(count)


def scale_to_unit(image: FloatImage) -> FloatImage:
    """Scale to [0, 1] by the smallest and largest voxel."""
    low, high = float(image.min()), float(image.max())
    if not np.isfinite(high - low) or high <= low:
        raise ValueError(
            f"The image runs from {low} to {high}; give an image that is finite and not constant."
        )
    return (image - np.float32(low)) / np.float32(high - low)


def blur_truncated(image: FloatImage, sigmas: Sequence[float]) -> FloatImage:
    """Blur with a Gaussian of seven taps per axis and zeros beyond the border, as the authors did."""
    for axis, sigma in enumerate(sigmas):
        if sigma > 0:
            image = ndimage.correlate1d(
                image, gaussian_kernel(sigma, KERNEL_SIZE), axis=axis, mode="constant"
            )
    return image


def blur(image: FloatImage, sigmas: Sequence[float]) -> FloatImage:
    """Blur with a Gaussian over four sigma, with the border reflected."""
    return np.asarray(ndimage.gaussian_filter(image, sigmas, mode="reflect", truncate=REACH), np.float32)


def blur_psf(blur_sigma: Sequence[float], *, photometric: bool = False) -> FloatImage:
    """Return the image of a point by `degrade`: the PSF for classical methods.

    Parameters
    ----------
    blur_sigma
        Standard deviation in voxels, one number per axis.
    photometric
        True to keep flux, see `degrade`; if False, the kernel is cut off at 7 voxels.

    Returns
    -------
    numpy.ndarray
        (Z, Y, X) or (Y, X), odd sizes, centre in the middle, sum 1, float32.

    Examples
    --------
    >>> blur_psf((1.2, 1.2)).shape, blur_psf((2.5, 1.2, 1.2), photometric=True).shape
    ((7, 7), (21, 11, 11))
    """
    sigmas = _per_axis(list(blur_sigma), len(blur_sigma))
    reach = [int(REACH * sigma + 0.5) if photometric else KERNEL_SIZE // 2 * (sigma > 0) for sigma in sigmas]
    point = np.zeros([2 * r + 1 for r in reach], np.float32)
    point[tuple(reach)] = 1
    psf = blur(point, sigmas) if photometric else blur_truncated(point, sigmas)
    return np.asarray(psf / psf.sum(dtype=np.float64), np.float32)


def _per_axis(sigma: float | Sequence[float], ndim: int) -> tuple[float, ...]:
    return checks.per_axis("blur_sigma", sigma, ndim, "at least 0", lambda value: 0 <= value < math.inf)
