"""Gaussian smoothing, part by part."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_lucyd.deconvolution.preprocessing.prefilter import gaussian, noise_left, sigma_for, smoothed
from napari_lucyd.spans import Span


def volume(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32) * 100


def read_from(array):
    return lambda spans: array[tuple(span.slice for span in spans)]


def whole(shape) -> list[Span]:
    return [Span(0, size) for size in shape]


@pytest.mark.parametrize("shape", [(9, 14, 11), (1, 17, 2), (20, 3)])
def test_the_whole_is_scipys_with_the_image_continued_by_reflection(shape):
    image, sigmas = volume(*shape), (0.6, 1.0, 1.7)[-len(shape) :]
    reach = [int(np.ceil(4 * sigma)) for sigma in sigmas]
    expected = ndimage.gaussian_filter(image.astype(float), sigmas, mode="mirror", radius=reach)
    found = smoothed(read_from(image), whole(shape), shape, sigmas)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_part_is_bit_for_bit_what_the_whole_is_there():
    image = volume(9, 14, 11)
    image[4, 5:7, 3] = np.nan
    full = smoothed(read_from(image), whole(image.shape), image.shape, (0.8,) * 3)
    part = [Span(1, 5), Span(0, 7), Span(8, 11)]
    found = smoothed(read_from(image), part, image.shape, (0.8,) * 3)
    np.testing.assert_allclose(found, full[1:5, 0:7, 8:11], rtol=1e-6)
    known = np.nan_to_num(image)
    full = smoothed(read_from(known), whole(image.shape), image.shape, (0.8,) * 3)
    found = smoothed(read_from(known), part, image.shape, (0.8,) * 3)
    np.testing.assert_array_equal(found, full[1:5, 0:7, 8:11])


def test_nan_stays_where_it_is_and_counts_for_nothing():
    image = np.full((12, 12), 5, np.float32)
    image[3:6, 4] = np.nan
    found = smoothed(read_from(image), whole(image.shape), image.shape, (1.5, 1.5))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(image))
    np.testing.assert_allclose(found[~np.isnan(image)], 5, rtol=1e-6)


def test_noise_left_is_what_is_left_of_white_noise():
    noise = np.random.default_rng(1).normal(size=(40, 60, 60)).astype(np.float32)
    for sigmas in ((0.5, 0.5, 0.5), (0.0, 1.0, 1.0)):
        left = smoothed(read_from(noise), whole(noise.shape), noise.shape, sigmas).std()
        # 144,000 voxels, correlated over about ten: the deviation itself is known to about 1 %.
        assert left == pytest.approx(noise_left(sigmas), rel=0.03)


def test_sigma_is_the_smallest_that_does_it():
    def along(sigma):
        return (sigma, sigma)

    sigma = sigma_for(0.3, along)
    assert noise_left(along(sigma)) <= 0.3 < noise_left(along(sigma - 0.05))
    assert sigma_for(1.0, along) == 0 and sigma_for(1e-9, along) == 2
    assert gaussian(0).tolist() == [1] and gaussian(1.2).sum() == pytest.approx(1)
