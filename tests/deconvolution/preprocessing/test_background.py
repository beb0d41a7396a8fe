"""The background's estimate against backgrounds that are known."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lucyd.deconvolution import Cancelled, deconvolve
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.preprocessing import background
from napari_lucyd.deconvolution.preprocessing.background import estimate_background
from napari_lucyd.spans import Span


def slope(*shape: int) -> np.ndarray:
    """A slope from 100 at one end of the last axis to 200 at the other."""
    return np.broadcast_to(np.linspace(100, 200, shape[-1], dtype=np.float32), shape).copy()


def found(image, sizes) -> np.ndarray:
    source = Source(image, image.ndim)
    return estimate_background(source, (), sizes).at([Span(0, size) for size in image.shape])


@pytest.mark.parametrize("shape", [(20, 60, 75), (90, 101)])
def test_a_slope_under_spots_and_noise_is_found(shape):
    rng = np.random.default_rng(0)
    image = slope(*shape) + rng.normal(0, 5, shape).astype(np.float32)
    for _ in range(12):
        corner = [int(rng.integers(size - 6)) for size in shape]
        image[tuple(slice(start, start + 6) for start in corner)] += 300
    estimate = found(image, (24,) * len(shape))
    # The smallest of noisy means lies below their mean, and an opening is flat at the border: some % of 300.
    assert np.abs(estimate - slope(*shape)).max() < 25
    assert np.abs(estimate - slope(*shape)).mean() < 8


def test_what_is_wider_than_the_size_is_background():
    image = np.full((80, 80), 10, np.float32)
    image[20:60, 20:60] = 110
    assert found(image, (16, 16))[40, 40] == pytest.approx(110, abs=1)
    assert found(image, (64, 64))[40, 40] == pytest.approx(10, abs=1)


def test_a_constant_is_its_own_background_exactly():
    image = np.full((17, 23), 0.1, np.float32)
    np.testing.assert_array_equal(found(image, (16, 16)), image)


def test_nan_plays_no_part():
    image = slope(40, 40)
    holed = image.copy()
    holed[:20, :20] = np.nan
    estimate = found(holed, (16, 16))
    assert np.isfinite(estimate).all()
    np.testing.assert_allclose(estimate[32:], found(image, (16, 16))[32:], atol=1)


def test_the_estimate_does_not_depend_on_how_the_image_is_read(monkeypatch):
    image = np.random.default_rng(0).random((19, 30, 31)).astype(np.float32)
    sizes = (16, 24, 24)
    whole = found(image, sizes)
    monkeypatch.setattr("napari_lucyd.deconvolution.image.source._PART_VOXELS", 700)
    np.testing.assert_allclose(found(image, sizes), whole, rtol=1e-6)
    part = [Span(3, 9), Span(0, 30), Span(30, 31)]
    at = estimate_background(Source(image, 3), (), sizes).at(part)
    np.testing.assert_array_equal(at, found(image, sizes)[3:9, 0:30, 30:31])


def test_blocks_are_never_more_than_memory_is_kept_for(monkeypatch):
    image = slope(40, 60)
    fine = estimate_background(Source(image, 2), (), (16, 16))
    monkeypatch.setattr(background, "_MOST_BLOCKS", 200)
    coarse = estimate_background(Source(image, 2), (), (16, 16))
    assert fine.grid.shape == (20, 30) and coarse.grid.shape == (10, 15)
    spans = [Span(0, 40), Span(0, 60)]
    inside = np.s_[12:-12, 12:-12]
    np.testing.assert_allclose(coarse.at(spans)[inside], fine.at(spans)[inside], rtol=0.1)


def test_a_cancel_is_heard():
    with pytest.raises(Cancelled):
        estimate_background(Source(slope(8, 8), 2), (), (16, 16), lambda: True)


def test_a_background_below_0_is_named_because_it_adds_light(random_model_2d):
    noise = np.random.default_rng(0).normal(0, 20, (64, 64)).astype(np.float32)
    noise[20:30, 20:30] += 500
    options = {"device": "cpu", "subtract_background": 16}
    for offset, expected in ((0, True), (100, False)):
        found = deconvolve(noise + offset, random_model_2d, **options).recipe["warnings"]
        assert any("lies below 0" in text for text in found) == expected
