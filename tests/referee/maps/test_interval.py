"""The interval: coverage on structures that were not calibrated on, and none outside of their range."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import napari_lucyd as nl
from napari_lucyd.psf.gaussian import gaussian_psf

SIGMA = 1.5


def plane(seed):
    truth = nl.make_structures("mixture", (96, 96), rng=seed, background=60, blur_sigma=SIGMA).image
    photons = np.random.default_rng(seed).poisson(np.maximum(gaussian_filter(truth, SIGMA), 0) * 0.6) / 0.6
    return truth, photons.astype(np.float32)


def test_the_truth_lies_between_the_limits_in_most_voxels():
    held, bright = [], []
    for seed in range(9000, 9006):
        truth, image = plane(seed)
        limits = nl.interval(nl.deconvolve(image, "lucyd", blur_sigma=SIGMA, device="cpu"))
        inside = (truth >= limits.lower) & (truth <= limits.upper)
        held.append(inside.mean())
        bright.append(inside[truth >= np.quantile(truth, 0.9)].mean())
    assert 0.82 < np.mean(held) < 0.97
    assert np.mean(bright) > 0.75
    assert limits.coverage == 0.9


def test_each_volume_of_a_series_has_its_own_limits():
    images = np.stack([plane(seed)[1] for seed in (9000, 9001)])
    both = nl.interval(nl.deconvolve(images, "lucyd", blur_sigma=SIGMA, axes="CYX", device="cpu"))
    alone = nl.interval(nl.deconvolve(images[1], "lucyd", blur_sigma=SIGMA, device="cpu"))
    np.testing.assert_allclose(both.upper[1], alone.upper, rtol=1e-3, atol=1)


def test_there_is_none_outside_of_the_calibration_and_a_reason():
    _, image = plane(9000)
    wide = nl.interval(nl.deconvolve(image, "lucyd", blur_sigma=6.0, device="cpu"))
    assert wide.lower is None
    assert "the blur is 6 voxels" in wide.reason
    other = nl.interval(nl.deconvolve(image, nl.Wiener(gaussian_psf((SIGMA,) * 2)), device="cpu"))
    assert other.upper is None
    assert "lucyd and lucyd-planes only" in other.reason
    told = nl.deconvolve(image, "lucyd", psf=gaussian_psf((SIGMA,) * 2), device="cpu")
    by_sigma = nl.interval(nl.deconvolve(image, "lucyd", blur_sigma=SIGMA, device="cpu"))
    np.testing.assert_allclose(nl.interval(told).upper, by_sigma.upper, rtol=0.02, atol=3)
    found = replace(told, recipe={**told.recipe, "first_stage": {"blur_sigma_found": [[1.5, 1.5]], **{
        name: told.recipe["first_stage"][name] for name in ("level", "scale", "noise")}}})  # fmt: skip
    assert "was found in the image" in nl.interval(found).reason
    with pytest.raises(TypeError, match="result of deconvolve"):
        nl.interval(image)
