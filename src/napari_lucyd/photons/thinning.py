"""Two independent images from one: each photon is given to one of them by chance.

If a voxel's photons are Poisson distributed, and each goes to the first image with probability p, then both
images are Poisson distributed. They have p and 1 − p of the mean, and are independent. A method that sees the
first can be judged by the second, without a truth.

References
----------
A. Neufeld, A. Dharamshi, L. L. Gao, D. Witten, "Data thinning for convolution-closed distributions",
Journal of Machine Learning Research 25 (2024) 1-35.
D. L. Snyder, C. W. Helstrom, A. D. Lanterman, M. Faisal, R. L. White, "Compensation for readout noise in CCD
images", Journal of the Optical Society of America A 12 (1995) 272-283.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd.photons.noise_model import NoiseModel

# Keeps these random numbers apart from those of an image that was simulated with the same seed: NumPy takes
# (5, 0) for 5.
_STREAM = 0x7411

_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SplitImage:
    """Two independent parts of an image, which add up to it.

    Attributes
    ----------
    fitted
        The part for a method to see, float32; its mean is `share` times that of the whole.
    held_out
        The part to judge the method by, float32; its mean is 1 − `share` times that of the whole.
    share
        Share of the light in the fitted part, above 0 and below 1.
    background
        Level without light in the whole image, in its units. A method that uses `fitted` must expect `share`
        times as much.
    variance
        None for photons, where the variance of each part equals its mean. Else the variance of the whole, for
        normal noise; that of the held-out part is 1 − `share` times as much.
    """

    fitted: _Floats
    held_out: _Floats
    share: float
    background: float
    variance: float | None = None

    def of_held_out(self, predicted: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the mean of the held-out part that belongs to a mean of the fitted part."""
        result: npt.NDArray[np.float64] = np.asarray(predicted, np.float64) * ((1 - self.share) / self.share)
        return result


def thin(
    image: npt.NDArray[Any], noise: NoiseModel, *, share: float = 0.5, seed: int = 0, first_plane: int = 0
) -> SplitImage:
    """Split an image into two independent parts.

    *Photons* (a gain above 0): the grey levels become photons, and each photon goes to the first part with
    probability `share`. For whole photons without read noise, the parts are independent exactly. Read noise
    counts as photons of a constant background; grey levels between whole photons are rounded up or down by
    chance, and the variance that this adds is made up for in the same way. Then the parts are uncorrelated
    exactly, and independent up to moments of third order. Only where light and read noise together give fewer
    than about 5 photons, negative ones are cut off, which leaves a correlation of up to −0.04.

    *Normal noise* (a gain of 0): normal noise of the same variance is added to the first part and taken from
    the second. The parts are independent exactly if the image's noise is normal and of that variance.

    Parameters
    ----------
    image
        (Y, X) or (Z, Y, X), in grey levels, finite.
    noise
        Noise model of this image, from `estimate_noise`.
    share
        Part of the light that the first part gets, above 0 and below 1.
    seed
        The same seed gives the same parts; from 0 on.
    first_plane
        Index of the first plane of `image` in the volume that it was cut from. Each plane along Z has random
        numbers of its own, so parts of whole planes give what the whole volume gives.

    Returns
    -------
    SplitImage
        The two parts, in photons, or in grey levels above `NoiseModel.offset` for normal noise.

    Raises
    ------
    ValueError
        If `share` is not between 0 and 1, the image has not two or three axes or is not finite, or the noise
        is 0.
    """
    if not 0 < share < 1:
        raise ValueError(f"share is {share}; give a number above 0 and below 1.")
    if image.ndim not in (2, 3):
        raise ValueError(f"The image has shape {image.shape}; expected are (Y, X) or (Z, Y, X).")
    planes = image if image.ndim == 3 else image[None]
    if not np.isfinite(planes).all():
        raise ValueError("The image has voxels that are not finite; fill or crop them first.")
    if not noise.gain and not noise.read_noise:
        raise ValueError("The noise model has neither gain nor read noise; such an image cannot be split.")
    fitted, held_out = np.empty(planes.shape, np.float32), np.empty(planes.shape, np.float32)
    for index, plane in enumerate(planes):
        random = np.random.default_rng((seed, first_plane + index, _STREAM))
        if noise.gain:
            whole = _whole_photons(noise.to_photons(plane), random)
            first = random.binomial(whole, share)
            fitted[index], held_out[index] = first, whole - first
        else:
            above = np.asarray(plane, np.float64) - noise.offset
            extra = random.normal(0, math.sqrt(share * (1 - share)) * noise.read_noise, plane.shape)
            fitted[index], held_out[index] = share * above + extra, (1 - share) * above - extra
    background = (noise.offset - noise.zero_level) / noise.gain if noise.gain else 0.0
    shape = image.shape
    return SplitImage(
        fitted.reshape(shape),
        held_out.reshape(shape),
        share,
        background,
        None if noise.gain else noise.read_noise**2,
    )


def _whole_photons(photons: _Floats, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Round up or down by chance, and add photons that make up for the variance of doing so."""
    rest = photons - np.floor(photons)
    raised = np.maximum(photons + rest * (1 - rest), 0)
    return np.floor(raised + random.random(raised.shape, np.float32)).astype(np.int64)
