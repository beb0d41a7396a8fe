"""Blur of an image from its spectrum, for images in which the photons do not show it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_lucyd.deconvolution.statistics.noise import noise_of
from napari_lucyd.psf.spectral_blur import UNKNOWN_NOISE_ERROR, find_blur
from napari_lucyd.text import steps_text

SAFE = 0.9
"""Factor for a blur that is found: too narrow a PSF leaves blur, too wide a one invents structure."""

_NARROWEST, _WIDEST = 0.6, 6.0


def assumed_blur(stack: npt.NDArray[np.float32], usual: float) -> tuple[tuple[float, ...], str]:
    """Choose a Gaussian blur by the power spectrum, a tenth narrower to be safe.

    Parameters
    ----------
    stack
        (Z, Y, X), finite; a single plane as (1, Y, X).
    usual
        Standard deviation in voxels if the spectrum does not show one.

    Returns
    -------
    tuple
        Standard deviation across, and for volumes another along Z before it, in voxels; and a sentence that
        says what was assumed.
    """
    flat = len(stack) == 1
    found = find_blur(stack[0] if flat else stack, noise_of(stack) ** 2, noise_error=UNKNOWN_NOISE_ERROR)
    if found is None:
        return (usual,) * (1 if flat else 2), f"A Gaussian blur of {usual} voxels was assumed."
    sigmas = tuple(
        min(max(SAFE * sigma, _NARROWEST), _WIDEST)
        for sigma in (found.sigma[-1:] if flat else (found.sigma[0], found.sigma[-1]))
    )
    text = steps_text((sigmas[0], sigmas[-1], sigmas[-1])[flat:], 2)
    return sigmas, (
        f"A Gaussian blur of {text} voxels was assumed, a tenth narrower than the spectrum of the image "
        "suggests."
    )
