"""The blur that is assumed where photons do not show it, such as in stretched 8-bit images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import napari_lucyd as nl
from napari_lucyd.deconvolution.statistics.spectrum import assumed_blur
from napari_lucyd.evaluation import psnr_affine
from napari_lucyd.simulation import make_structures


def stretched(sigma, shape, photons=2_000):
    """An image of filaments as 8-bit grey levels with a gamma, and the filaments."""
    truth = make_structures("filaments", shape, rng=3, blur_sigma=[sigma] * len(shape)).image
    truth = ndimage.gaussian_filter(truth, 0.5)
    light = ndimage.gaussian_filter(truth, sigma)
    light *= photons / np.percentile(light, 99.9)
    image = np.random.default_rng(0).poisson(light + 20).astype(np.float32)
    low, high = np.percentile(image, (1, 99.9))
    return np.round(255 * np.clip((image - low) / (high - low), 0, 1) ** 0.7).astype(np.float32), truth


@pytest.mark.parametrize("sigma", [0.8, 1.3, 2.0])
def test_the_blur_of_a_stretched_plane_is_that_of_the_optics_and_the_filaments_together(sigma):
    image, _ = stretched(sigma, (160, 160))
    (found,), sentence = assumed_blur(image[None], 1.3)
    # Filaments are about a voxel wide themselves, and stretching the grey levels makes them wider.
    assert 0.7 * sigma < found < 1.25 * np.hypot(sigma, 1)
    assert f"{found:.2g} × {found:.2g} voxels was assumed, a tenth narrower than the spectrum" in sentence


def test_a_volume_has_a_blur_along_z_and_across():
    image, _ = stretched(1.5, (24, 96, 96))
    sigmas, _ = assumed_blur(image, 1.3)
    assert len(sigmas) == 2 and all(0.9 < sigma < 2 for sigma in sigmas)


def test_where_the_spectrum_shows_nothing_a_usual_blur_is_assumed():
    noise = np.random.default_rng(0).normal(100, 5, (1, 64, 64)).astype(np.float32)
    assert assumed_blur(noise, 1.3) == ((1.3,), "A Gaussian blur of 1.3 voxels was assumed.")


@pytest.mark.parametrize("method", ["lucyd", nl.SemiBlind()], ids=str)
@pytest.mark.parametrize("sigma", [0.7, 2.0])
def test_a_stretched_image_is_restored_with_nothing_told(sigma, method):
    image, truth = stretched(sigma, (128, 128))
    result = nl.deconvolve(image, method, device="cpu")
    assert any("The photons do not show how wide the blur is" in warning for warning in result.warnings)
    assert psnr_affine(result.output, truth) > psnr_affine(image, truth) + 0.3
