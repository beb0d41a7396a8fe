"""The trust map, on results whose errors are known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import napari_lucyd as nl
from napari_lucyd.referee import relative_to_brightness

SIGMA = 1.5


@pytest.fixture(scope="module")
def specimen():
    truth = nl.make_structures("filaments", (16, 64, 64), rng=3, background=60, contrast=300).image
    return truth, np.random.default_rng(0).poisson(gaussian_filter(truth, SIGMA)).astype(np.float32)


def test_a_missing_object_is_marked_and_hardly_anything_else(specimen):
    truth, _ = specimen
    ball = np.zeros_like(truth)
    ball[6:10, 20:25, 30:35] = 150
    image = np.random.default_rng(1).poisson(gaussian_filter(truth + ball, SIGMA)).astype(np.float32)
    found = nl.trust_map(image, lambda part: truth, blur_sigma=SIGMA)
    assert found.significant[8, 22, 32]
    assert found.unexplained[8, 22, 32] > 2
    far = np.ones(truth.shape, bool)
    far[:, 8:40, 16:48] = False
    assert found.significant[far].mean() < 0.03
    assert np.isnan(found.unexplained[0, 0, 0])  # the border is not tested


def test_few_blocks_are_marked_by_chance(specimen):
    truth, image = specimen
    assert nl.trust_map(image, lambda part: truth, blur_sigma=SIGMA).share < 0.02
    assert nl.trust_map(image, None, blur_sigma=SIGMA).share > 0.2


def test_the_spread_over_flips_is_for_networks(specimen):
    truth, image = specimen
    found = nl.trust_map(image[:8, :48, :48], "mixture", flips=True, blur_sigma=SIGMA, device="cpu")
    assert found.flips.shape == (8, 48, 48)
    assert np.median(found.flips) == pytest.approx(1, abs=0.25)
    with pytest.raises(ValueError, match="flips is for networks"):
        nl.trust_map(image, lambda part: truth, flips=True, blur_sigma=SIGMA)


def test_brightness_is_divided_out():
    brightness = np.random.default_rng(0).random(20000) * 100
    spread = 0.1 * brightness + 1
    spread[::100] *= 5
    relative = relative_to_brightness(spread, brightness)
    assert np.median(relative[1::100]) == pytest.approx(1, abs=0.02)
    assert relative[::100].min() > 3


def test_unknown_noise_and_bad_rates_are_refused(specimen):
    _, image = specimen
    with pytest.raises(ValueError, match="No trust map"):
        nl.trust_map(gaussian_filter(image, 1), None, blur_sigma=SIGMA)
    with pytest.raises(ValueError, match="above 0 and below 1"):
        nl.trust_map(image, None, false_discovery_rate=0, blur_sigma=SIGMA)


@pytest.mark.parametrize("flips", [False, True])
def test_empty_planes_at_the_ends_are_not_tested(specimen, flips):
    truth, image = specimen
    ends = ((3, 5), (0, 0), (0, 0))
    stack, restored = np.pad(image, ends), np.pad(truth, ends)
    found = nl.trust_map(stack, lambda part: truth if len(part) == 16 else restored, blur_sigma=SIGMA)
    assert found.significant.shape == found.unexplained.shape == (24, 64, 64)
    assert found.share < 0.02
    assert np.isnan(found.unexplained[:3]).all() and np.isnan(found.unexplained[-5:]).all()
    if flips:
        small = stack[:, :40, :40]
        spread = nl.trust_map(small, "mixture", flips=True, blur_sigma=SIGMA, device="cpu").flips
        assert np.isfinite(spread[3:-5]).all()
        assert np.isnan(spread[:3]).all() and np.isnan(spread[-5:]).all()
