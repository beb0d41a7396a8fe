"""Two parts of one image: they add up to it, and are independent."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lucyd.photons import NoiseModel, thin
from photographs import photograph, texture


def model(gain=1.0, offset=0.0, read_noise=0.0) -> NoiseModel:
    return NoiseModel(gain, offset, read_noise, 1000.0, gain > 0, "")


def dependence(split, light) -> np.ndarray:
    """Correlation of the parts' noise in eighths of the voxels, from the darkest to the brightest."""
    order = np.argsort(light, axis=None)
    first = (split.fitted - split.share * light).ravel()[order]
    second = (split.held_out - (1 - split.share) * light).ravel()[order]
    eighths = zip(np.array_split(first, 8), np.array_split(second, 8), strict=True)
    return np.array([np.corrcoef(one, other)[0, 1] for one, other in eighths])


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_whole_photons_are_shared_out_without_loss_and_independently(share):
    light = 40 * texture((400, 400), 1.5) + 2
    image = photograph(light).astype(np.uint16)
    split = thin(image, model(), share=share, seed=4)
    assert (split.fitted + split.held_out == image).all()
    assert split.variance is None and split.background == 0
    assert split.fitted.mean() == pytest.approx(share * image.mean(), rel=0.005)
    # Each part is Poisson: its variance is its mean.
    assert np.var(split.fitted - share * light) == pytest.approx(share * light.mean(), rel=0.02)
    assert np.var(split.held_out - (1 - share) * light) == pytest.approx((1 - share) * light.mean(), rel=0.02)
    # 20,000 voxels a bin: a standard error of 0.007.
    assert np.abs(dependence(split, light)).max() < 0.025


@pytest.mark.parametrize(("gain", "read_noise"), [(2.2, 3.5), (0.46, 1.0), (0.014, 0.02)])
def test_the_parts_of_a_camera_image_with_read_noise_are_uncorrelated(gain, read_noise):
    light = 40 * texture((400, 400), 1.5) + 2
    image = photograph(light, gain, 100, read_noise)
    noise = model(gain, 100, read_noise)
    split = thin(image, noise, seed=4)
    background = (read_noise / gain) ** 2
    assert split.background == pytest.approx(background)
    whole = split.fitted + split.held_out
    assert whole.mean() == pytest.approx(light.mean() + background, abs=0.25)
    # Fewer than five photons: negative ones are cut off there.
    found = dependence(split, light + background)
    assert np.abs(found[:2]).max() < 0.05
    assert np.abs(found[2:]).max() < 0.03


def test_a_wrong_gain_makes_the_parts_correlated():
    light = 40 * texture((400, 400), 1.5) + 2
    split = thin(photograph(light, 2.0, 100), model(1.0, 100), seed=4)
    assert dependence(split, 2 * light).min() > 0.2


def test_normal_noise_is_split_into_independent_parts_that_add_up():
    light = 1000 * texture((400, 400), 1.5)
    image = light + np.random.default_rng(1).normal(150, 30, light.shape)
    split = thin(image, model(0, 150, 30), share=0.8, seed=4)
    assert split.fitted + split.held_out == pytest.approx(image - 150, abs=1e-3)
    assert split.variance == 900 and split.background == 0
    assert np.var(split.fitted - 0.8 * light) == pytest.approx(0.8 * 900, rel=0.02)
    assert np.var(split.held_out - 0.2 * light) == pytest.approx(0.2 * 900, rel=0.02)
    assert np.abs(dependence(split, light)).max() < 0.025


@pytest.mark.parametrize("noise", [model(2.0, 100, 3.0), model(0, 100, 3.0)])
def test_the_same_seed_gives_the_same_parts_whole_or_plane_by_plane(noise):
    image = photograph(10 * texture((6, 64, 64), 1.5), 2.0, 100, 3.0)
    whole = thin(image, noise, seed=7)
    assert np.array_equal(thin(image, noise, seed=7).fitted, whole.fitted)
    assert not np.array_equal(thin(image, noise, seed=8).fitted, whole.fitted)
    upper = thin(image[2:5], noise, seed=7, first_plane=2)
    assert np.array_equal(upper.fitted, whole.fitted[2:5])
    assert np.array_equal(upper.held_out, whole.held_out[2:5])


def test_a_mean_of_the_fitted_part_is_scaled_to_the_held_out_part():
    split = thin(np.full((8, 8), 10), model(), share=0.8)
    assert split.of_held_out([8.0]) == pytest.approx([2.0])


def test_what_cannot_be_split_is_refused_in_words():
    image = np.ones((8, 8))
    for share in (0, 1, -0.5, float("nan")):
        with pytest.raises(ValueError, match="share is"):
            thin(image, model(), share=share)
    with pytest.raises(ValueError, match=r"shape \(8,\)"):
        thin(np.ones(8), model())
    with pytest.raises(ValueError, match="not finite"):
        thin(np.full((8, 8), np.nan), model())
    with pytest.raises(ValueError, match="neither gain nor read noise"):
        thin(image, model(0, 0, 0))
