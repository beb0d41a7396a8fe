"""NaN voxels filled from around them."""

from __future__ import annotations

import numpy as np

from napari_lucyd.deconvolution.preprocessing.nan_filling import MARGIN, fill_nan


def test_a_single_nan_becomes_the_mean_of_its_neighbours():
    values = np.arange(25, dtype=np.float32).reshape(5, 5)
    values[2, 2] = np.nan
    filled = fill_nan(values, -1.0)
    assert filled[2, 2] == 12  # the ring around it is symmetric
    values[2, 2] = 12
    np.testing.assert_array_equal(filled, values)


def test_the_input_is_left_alone():
    values = np.array([[np.nan, 1.0]], dtype=np.float32)
    fill_nan(values, 0.0)
    assert np.isnan(values[0, 0])


def test_a_wider_hole_is_filled_from_wider_around():
    values = np.full((3, 20, 20), 7, dtype=np.float32)
    values[:, 5:10, 5:10] = np.nan
    assert (fill_nan(values, -1.0) == 7).all()


def test_beyond_the_margin_the_constant_is_taken():
    values = np.full(60, np.nan, dtype=np.float32)[None]
    values[0, 0] = 5
    filled = fill_nan(values, -1.0)
    assert (filled[0, : MARGIN + 1] == 5).all() and (filled[0, MARGIN + 1 :] == -1).all()


def test_a_value_depends_on_its_surroundings_alone():
    rng = np.random.default_rng(0)
    values = rng.random((60, 50)).astype(np.float32)
    values[rng.random((60, 50)) < 0.6] = np.nan
    values[20:40, 10:40] = np.nan
    whole = fill_nan(values, 0.5)
    part = fill_nan(values[10:45, 12:40], 0.5)
    inner = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    np.testing.assert_array_equal(part[inner], whole[10:45, 12:40][inner])
