"""Resampling along Z, there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lucyd.deconvolution.tiling.resampling import Resampling, choose_resampling
from napari_lucyd.spans import Span

factors = st.sampled_from([0.3, 0.5, 0.77, 1.3, 1.5, 2.0, 2.46, 3.0, 5.1])


def there(resampling, stack, planes):
    indices, weights = resampling.there(planes, len(stack))
    return weights @ stack[indices]


def there_and_back(resampling, stack, kept):
    planes = resampling.needed_planes(kept)
    return resampling.back(kept, planes) @ there(resampling, stack, planes)


@given(factors, st.integers(1, 12), st.data())
def test_weights_sum_to_one_and_read_planes_of_the_stack(factor, size, data):
    resampling = Resampling(factor)
    start = data.draw(st.integers(-60, 60))
    planes = Span(start, start + data.draw(st.integers(1, 30)))
    indices, weights = resampling.there(planes, size)
    assert ((indices >= 0) & (indices < size)).all() and (np.diff(indices) > 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)


@given(factors, st.data())
def test_a_plane_depends_on_its_index_alone(factor, data):
    """Every tile then gives the same as the whole."""
    resampling = Resampling(factor)
    stack = np.random.default_rng(0).random((11, 4)).astype(np.float32)
    whole = there(resampling, stack, Span(-20, 60))
    start = data.draw(st.integers(-20, 50))
    stop = data.draw(st.integers(start + 1, 60))
    part = there(resampling, stack, Span(start, stop))
    np.testing.assert_allclose(part, whole[start + 20 : stop + 20], atol=1e-6)
    kept = Span(2, 9)
    np.testing.assert_allclose(
        there_and_back(resampling, stack, Span(4, 6)), there_and_back(resampling, stack, kept)[2:4], atol=1e-6
    )


@pytest.mark.parametrize("factor", [2.0, 3.0, 5.0])
def test_a_whole_factor_gives_every_plane_back_as_it_was(factor):
    stack = np.random.default_rng(0).random((9, 5)).astype(np.float32)
    np.testing.assert_allclose(there_and_back(Resampling(factor), stack, Span(0, 9)), stack, atol=1e-6)


@pytest.mark.parametrize("factor", [0.77, 1.3, 2.46])
def test_a_smooth_stack_comes_back(factor):
    z = np.arange(24)[:, None]
    stack = np.cos(2 * np.pi * z / 16 + np.arange(4)).astype(np.float32)
    back = there_and_back(Resampling(factor), stack, Span(4, 20))
    # Cubic convolution is of third order; at 16 planes a period its error is a few thousandths.
    np.testing.assert_allclose(back, stack[4:20], atol=0.02)


def test_a_ramp_is_met_in_between():
    stack = np.arange(20, dtype=np.float32)[:, None]
    np.testing.assert_allclose(
        there(Resampling(2.5), stack, Span(10, 30))[:, 0], np.arange(10, 30) / 2.5, atol=1e-5
    )


def test_a_finer_stack_is_smoothed_on_the_way_there():
    """A grid three times as coarse cannot hold alternating planes, so their mean is left."""
    stack = np.tile([0, 1], 30).astype(np.float32)[:, None]
    np.testing.assert_allclose(there(Resampling(1 / 3), stack, Span(5, 15)), 0.5, atol=0.02)


@pytest.mark.parametrize(
    ("voxel_size", "isotropic", "planes", "factor"),
    [
        ((2.4, 0.8, 0.8), None, 9, 3.0),
        ((0.3, 0.1, 0.1), None, 9, 3.0),  # 0.3 / 0.1 is not quite 3 in floating point
        ((2, 1, 4), None, 9, None),  # the lateral step is the geometric mean, 2
        ((3, 1, 1), None, 1, None),
        ((3, 1, 1), False, 9, None),
        (None, None, 9, None),
        ((1.1, 1, 1), None, 9, None),
        ((1.1, 1, 1), True, 9, 1.1),
    ],
)
def test_when_and_by_how_much_is_resampled(voxel_size, isotropic, planes, factor):
    found = choose_resampling(voxel_size, isotropic, planes, has_z=True)
    assert (found.factor if found else None) == (
        factor if factor is None else pytest.approx(factor, rel=1e-12)
    )
