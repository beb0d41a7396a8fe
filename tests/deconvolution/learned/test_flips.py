"""The mean over mirror images: it is that of the whole image, for any size and any tiles."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from napari_lucyd.deconvolution import deconvolve


@pytest.mark.parametrize(
    ("fixture", "shape", "options"),
    [
        ("random_model_2d", (37, 52), {}),
        ("random_model_2d", (36, 50), {"tile_shape": (16, 16)}),
        ("random_model", (5, 9, 13), {"tile_shape": (4, 8, 8)}),
        ("random_model", (6, 9, 11), {"voxel_size": (2.6, 1, 1)}),
        ("slim_care", (5, 9, 11), {"tile_shape": (4, 8, 8)}),
    ],
)
def test_flips_average_the_results_of_the_mirrored_images(fixture, shape, options, request):
    model = request.getfixturevalue(fixture)
    image = np.random.default_rng(0).random(shape).astype(np.float32) * 200
    image[(..., 2, 3)] = np.nan
    averaged = deconvolve(image, model, flips=True, device="cpu", **options).output
    total = np.zeros(shape)
    for flips in product((False, True), repeat=len(shape)):
        axes = [axis for axis, flipped in enumerate(flips) if flipped]
        mirrored = deconvolve(np.flip(image, axes), model, device="cpu", outputs=("output",), **options)
        total += np.flip(mirrored.output, axes)
    expected = total / 2 ** len(shape)
    # Random weights amplify rounding; blocks mirrored instead of the image would differ by far more.
    np.testing.assert_allclose(averaged, expected, rtol=0, atol=1e-3 * np.nanmax(np.abs(expected)))


def test_averaging_blocks_instead_of_the_image_would_show(random_model_2d):
    image = np.random.default_rng(0).random((37, 52)).astype(np.float32) * 200
    plain = deconvolve(image, random_model_2d, device="cpu").output
    mirrored = deconvolve(image[::-1], random_model_2d, device="cpu").output[::-1]
    shifted = deconvolve(image[1:][::-1], random_model_2d, device="cpu").output[::-1]
    assert np.abs(mirrored - plain).max() > 0.01 * np.ptp(plain)
    assert np.abs(mirrored[1:] - shifted)[:-30].max() > 1e-3 * np.ptp(plain)
