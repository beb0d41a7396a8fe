"""The automatic background: it shifts and scales with the image, and the result keeps the image's level."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import fftconvolve

import napari_lucyd as nl
from napari_lucyd.deconvolution.classical.dark_level import find_dark_level


def camera_image(offset: float = 100, shape=(8, 40, 44)) -> tuple[np.ndarray, np.ndarray]:
    """Few bright objects on an offset, photon noise, and the PSF."""
    grids = np.ogrid[:5, :9, :9]
    psf = np.exp(-sum((grid - n // 2) ** 2 for grid, n in zip(grids, (5, 9, 9), strict=True)) / 3)
    psf /= psf.sum()
    truth = np.zeros(shape)
    truth[3:5, 10:20, 10:14] = 300
    truth[4, 30, 30] = 4000
    random = np.random.default_rng(0)
    photons = random.poisson(np.clip(fftconvolve(truth, psf, mode="same"), 0, None))
    return (photons + random.normal(offset, 2, shape)).astype(np.float32), psf


def test_the_level_is_the_camera_offset():
    image, _ = camera_image()
    found = find_dark_level(image)
    assert found.level == pytest.approx(99, abs=1)  # the darkest of many means lies a little below
    assert found.noise == pytest.approx(2, rel=0.15)
    assert np.mean(image < found.floor) < 0.003


@pytest.mark.parametrize("added", [1, 100, -150, 5000])
def test_a_constant_added_to_the_image_is_added_to_the_result(added):
    image, psf = camera_image()
    method = nl.RichardsonLucy(psf, num_iter=15)
    before, after = (nl.deconvolve(values, method, device="cpu") for values in (image, image + added))
    # Rounding of the sum in float32, which the iterations magnify a little.
    np.testing.assert_allclose(after.output, before.output + added, rtol=0, atol=1e-3 * np.ptp(before.output))
    assert after.warnings == before.warnings == ()
    levels = [run.recipe["method"]["background_found"][0] for run in (before, after)]
    assert levels[1] - levels[0] == pytest.approx(added, abs=1e-2)


def test_the_result_keeps_the_level_and_the_light_of_the_image():
    image, psf = camera_image()
    result = nl.deconvolve(image, nl.RichardsonLucy(psf, num_iter=15), device="cpu").output
    assert np.median(result) == pytest.approx(100, abs=2)
    assert result.mean() == pytest.approx(image.mean(), rel=0.01)


def test_the_background_makes_the_result_better_than_none():
    image, psf = camera_image()
    truth = np.zeros(image.shape)
    truth[3:5, 10:20, 10:14], truth[4, 30, 30] = 300, 4000
    found, none = (
        nl.deconvolve(image, nl.RichardsonLucy(psf, num_iter=15, background=b), device="cpu").output
        for b in ("auto", 0)
    )
    assert np.square(found - 100 - truth).mean() < 0.9 * np.square(none - 100 - truth).mean()


def test_a_constant_volume_among_others_stays_itself():
    image, psf = camera_image()
    series = np.stack([image, np.full_like(image, 7.25)])
    result = nl.deconvolve(series, nl.RichardsonLucy(psf, num_iter=3), axes="TZYX", device="cpu")
    assert (result.output[1] == 7.25).all()
    assert result.recipe["method"]["background_found"][1] == 7.25


@pytest.mark.parametrize(("given", "error"), [("some", TypeError), (-1, ValueError), (np.nan, ValueError)])
def test_a_background_that_cannot_be_is_refused(given, error):
    with pytest.raises(error, match="background is"):
        nl.RichardsonLucy(np.ones((3, 3)), background=given)
