"""The held-out likelihood: the truth wins, and its standard error is honest."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from napari_lucyd.photons import NoiseModel, Score, score_held_out, thin
from photographs import photograph, texture

PHOTONS = NoiseModel(1.0, 0.0, 0.0, 50.0, True, "")
NORMAL = NoiseModel(0.0, 0.0, 5.0, 50.0, False, "")


@pytest.mark.parametrize("noise", [PHOTONS, NORMAL])
def test_the_truth_scores_better_than_the_image_or_too_smooth_an_estimate(noise):
    light = 40 * texture((256, 256), 1.5) + 2
    random = np.random.default_rng(1)
    image = photograph(light) if noise.gain else light + random.normal(0, 5, light.shape)
    split = thin(image, noise, share=0.5, seed=2)
    truth = score_held_out(light / 2, split)
    for other in (split.fitted, ndimage.gaussian_filter(split.fitted, 4), 0.55 * light, 0.45 * light):
        difference = truth.minus(score_held_out(other, split))
        assert difference.mean > 4 * difference.standard_error > 0


@pytest.mark.parametrize("noise", [PHOTONS, NORMAL])
def test_a_paired_difference_has_a_far_smaller_error_than_a_score(noise):
    light = 40 * texture((256, 256), 1.5) + 2
    split = thin(photograph(light), noise, seed=2)
    one, other = score_held_out(light / 2, split), score_held_out(light / 2.02, split)
    assert one.minus(other).standard_error < 0.1 * one.standard_error or not noise.gain
    assert one.minus(other).mean == pytest.approx(one.mean - other.mean)


def test_the_standard_error_is_the_spread_over_repeated_images():
    light, means, errors = np.full((64, 64), 9.0), [], []
    for seed in range(300):
        split = thin(photograph(light, seed=seed), PHOTONS, seed=seed)
        difference = score_held_out(light / 2, split).minus(score_held_out(light / 2.2, split))
        means.append(difference.mean)
        errors.append(difference.standard_error)
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.15)


def test_a_score_is_the_mean_over_all_voxels_however_they_fall_into_blocks():
    light = 40 * texture((5, 37, 61), 1.5) + 2
    split = thin(photograph(light), PHOTONS, seed=2)
    score = score_held_out(light / 2, split)
    assert score.voxels.sum() == light.size and 40 < len(score.voxels) < 250
    expected = np.mean(split.held_out * np.log(light / 2) - light / 2)
    assert score.mean == pytest.approx(expected)


def test_a_prediction_of_no_light_is_bad_and_finite():
    split = thin(photograph(np.full((32, 32), 5.0)), PHOTONS)
    dark = score_held_out(np.zeros((32, 32)), split)
    assert math.isfinite(dark.mean)
    assert dark.mean < score_held_out(np.full((32, 32), 2.5), split).mean


def test_the_score_of_a_single_block_has_no_error():
    assert Score(np.array([3.0]), np.array([2.0])).standard_error == math.inf


def test_what_cannot_be_scored_is_refused_in_words():
    split = thin(np.full((16, 16), 5), PHOTONS)
    with pytest.raises(ValueError, match=r"shape \(8, 8\)"):
        score_held_out(np.ones((8, 8)), split)
    with pytest.raises(ValueError, match="not finite"):
        score_held_out(np.full((16, 16), np.nan), split)
    larger = thin(np.full((64, 64), 5), PHOTONS)
    with pytest.raises(ValueError, match="different shapes"):
        score_held_out(np.ones((16, 16)), split).minus(score_held_out(np.ones((64, 64)), larger))
