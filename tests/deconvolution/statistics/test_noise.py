"""Warnings where an image is not of the kind that the model was trained for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_lucyd.deconvolution import plan
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.statistics.noise import noise_share, plane_noise, plane_noises
from napari_lucyd.deconvolution.statistics.scaling import measure
from napari_lucyd.models import Model, load_model
from napari_lucyd.models.normalization import Normalization


def scene(sigma, shape=(120, 130)):
    rng = np.random.default_rng(0)
    spots = gaussian_filter((rng.random(shape) > 0.99) * 5000.0, 2)
    return spots + 100 + rng.normal(0, sigma, shape)


@pytest.mark.parametrize("sigma", [2.0, 10.0, 40.0])
def test_noise_is_told_from_structure(sigma):
    assert plane_noise(scene(sigma)) == pytest.approx(sigma, rel=0.15)


def test_a_tiny_or_empty_image_has_no_noise_to_tell():
    assert plane_noise(np.zeros((5, 100))) == 0
    assert plane_noise(np.full((20, 20), np.nan)) == 0


def test_noise_is_a_share_of_the_contrast_that_it_has_no_part_in():
    def share(volume):
        source = Source(volume, volume.ndim)
        (group,) = measure(source, Normalization("minmax"), "").groups
        return noise_share(source, group.index)

    clean = scene(0.0, (20, 90, 100))
    span = np.ptp(np.percentile(clean, (0.1, 99.9)))
    for noise in (0.02, 0.3):
        # Means over 3 x 3 voxels are lower where spots are highest.
        noisy = clean + np.random.default_rng(1).normal(0, noise * span, clean.shape)
        assert share(noisy) == pytest.approx(noise, rel=0.3)
    assert share(np.round(clean)) < 0.005  # rounding is all its noise
    assert 0.5 < share(clean * 0 + np.random.default_rng(1).normal(0, 1, clean.shape)) <= 1


def model_for(network_model, noise_sigma):
    card = {"noise_sigma": noise_sigma}
    return Model.from_network(network_model.network, name="m", normalization={"method": "minmax"}, card=card)


@pytest.mark.parametrize(("limit", "warned"), [(0.05, True), (0.5, False)])
def test_an_image_noisier_than_the_card_allows_is_warned_of(random_model_2d, limit, warned):
    channels = np.stack([scene(1.0), scene(60.0)])
    job = plan(channels, model_for(random_model_2d, [0, limit]), axes="CYX")
    job.measure()
    assert [("noise of C 1" in text) for text in job.warnings] == [True] * warned


def test_noise_far_beyond_the_default_model_is_warned_of_though_it_widens_the_range():
    clean = scene(0.0, (24, 90, 100))
    span = np.ptp(np.percentile(clean, (0.1, 99.9)))
    for noise, warned in ((0.1, False), (0.3, False), (1.0, True)):
        noisy = clean + np.random.default_rng(1).normal(0, noise * span, clean.shape)
        job = plan(noisy, load_model("general"))
        job.measure()
        assert any("noise" in text for text in job.warnings) == warned, noise


def test_a_card_that_does_not_say_is_taken_as_it_is(random_model_2d):
    job = plan(scene(60.0), random_model_2d)
    job.measure()
    assert job.warnings == []


@pytest.mark.parametrize("shape", [(16, 16), (17, 31), (7, 40), (300, 301)])
@pytest.mark.parametrize("odd", [False, True])
def test_planes_together_have_the_noise_of_each(shape, odd):
    planes = np.random.default_rng(0).normal(100, 5, (5, *shape)).astype(np.float32)
    if odd:
        planes[3, 2, 2:5] = np.nan
    assert plane_noises(list(planes)) == [plane_noise(plane) for plane in planes]
