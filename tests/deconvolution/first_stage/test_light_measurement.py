"""Numbers that are found in an image: its light, and its blur if the user did not tell it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import napari_lucyd as nl
from napari_lucyd.deconvolution import plan
from told_models import blobs, told_model


@pytest.fixture(scope="module")
def model():
    return told_model(3)


@pytest.fixture(scope="module")
def plane_model():
    return told_model(2)


def structures(sigma, *, photons: float, seed: int = 3) -> np.ndarray:
    truth = nl.make_structures("mixture", (24, 64, 64), rng=seed, blur_sigma=(sigma,) * 3).image
    light = ndimage.gaussian_filter(truth, sigma)
    generator = np.random.default_rng(seed)
    return (generator.poisson(light / light.max() * photons) * 2 + 90).astype(np.uint16)


def test_the_blur_is_found_and_said(model):
    image = structures(1.8, photons=800)
    job = plan(image, model, device="cpu")
    sigmas = np.array(job.measure().light[0].blur_sigma)
    assert sigmas.shape == (3,)
    assert np.all((sigmas > 1.0) & (sigmas < 2.0))  # on the safe side
    # One width for each axis, as the image's examination says it.
    (said,) = (text for text in job.warnings if text.startswith("No blur was given: the run used"))
    assert f"{sigmas[0]:.2g} × {sigmas[1]:.2g} × {sigmas[2]:.2g} voxels" in said
    assert "a tenth narrower" in said and "examination" in said


def test_the_blur_of_a_single_plane_is_said_without_z(model):
    job = plan(structures(1.8, photons=800)[12:13], model, axes="ZYX", device="cpu")
    sigmas = job.measure().light[0].blur_sigma
    assert len(sigmas) == 3 and sigmas[0] == 0
    assert f"deviation of {sigmas[1]:.2g} × {sigmas[2]:.2g} voxels" in " ".join(job.warnings)


def test_empty_planes_at_the_ends_do_not_narrow_the_blur(model):
    image = structures(1.8, photons=800)
    filled_in = image.copy()
    filled_in[:2] = filled_in[-4:] = 0
    found, known = (plan(each, model, device="cpu").measure().light[0] for each in (filled_in, image[2:-4]))
    assert found.blur_sigma == pytest.approx(known.blur_sigma, rel=0.05)
    assert nl.examine(filled_in).blur_sigma == pytest.approx(nl.examine(image).blur_sigma, rel=0.15)
    blind = [nl.deconvolve(each, nl.SemiBlind(), device="cpu").recipe for each in (filled_in, image)]
    found, known = (recipe["method"]["sigma_found"][0] for recipe in blind)
    assert found == pytest.approx(known, rel=0.15)


def test_without_photon_noise_the_blur_is_that_of_the_spectrum(model):
    smooth = ndimage.gaussian_filter(blobs(16, 32, 32), 1.0)
    job = plan(smooth, model, device="cpu")
    sigmas = job.measure().light[0].blur_sigma
    assert len(sigmas) == 3 and all(0.6 < sigma < 1.5 for sigma in sigmas)
    assert any("The photons do not show how wide the blur is" in text for text in job.warnings)


def test_an_image_of_noise_has_a_usual_blur(model):
    noise = np.random.default_rng(0).normal(100, 10, (12, 32, 32)).astype(np.float32)
    assert plan(noise, model, device="cpu").measure().light[0].blur_sigma == (1.3, 1.3, 1.3)


def test_planes_have_two_widths(plane_model):
    image = structures(1.5, photons=2000)[12]
    job = plan(image, plane_model, device="cpu")
    assert len(job.measure().light[0].blur_sigma) == 2


def test_told_blur_is_not_looked_for(model):
    job = plan(blobs(12, 24, 24), model, blur_sigma=1.0, device="cpu")
    assert job.measure().light[0].blur_sigma == ()
    assert list(job.warnings) == []


def test_statistics_travel_as_json(model):
    from napari_lucyd.out_of_core.fingerprint import statistics_as_json, statistics_from_json

    found = plan(blobs(12, 24, 24), model, blur_sigma=1.0, device="cpu").measure()
    assert statistics_from_json(statistics_as_json(found)) == found
