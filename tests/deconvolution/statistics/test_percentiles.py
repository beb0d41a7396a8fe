"""Exact percentiles of a stream, against numpy's of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_lucyd.deconvolution.statistics.percentiles import (
    _PIECE,
    SortedPercentiles,
    StreamingPercentiles,
    from_sort_key,
)

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


def select(parts, percentages):
    selection = StreamingPercentiles(parts[0].dtype, percentages)
    for part in parts:
        selection.add(part)
    if selection.needs_second_pass:
        selection.begin_second_pass()
        for part in parts:
            selection.add(part)
    return selection


@given(st.integers(0, 2**32 - 2))
def test_sort_keys_lead_to_floats_in_their_order(key):
    low, high = from_sort_key(key), from_sort_key(key + 1)
    assert low <= high or np.isnan([low, high]).any()


@given(finite)
def test_every_float_is_found_by_both_passes(value):
    # A single value in the middle, between the smallest and the largest possible ones.
    largest = np.finfo(np.float32).max
    selection = select([np.array([largest, value, -largest], dtype=np.float32)], (50.0,))
    assert selection.percentile(50.0) == value


@given(
    hnp.arrays(np.float32, st.integers(1, 200), elements=st.floats(-1e6, 1e6, width=32)),
    st.integers(1, 5),
    st.lists(st.floats(0, 100), min_size=1, max_size=2),
)
def test_percentiles_are_those_of_the_whole_however_it_is_cut(values, pieces, percentages):
    selection = select(np.array_split(values, pieces), tuple(percentages))
    for percentage in percentages:
        expected = np.percentile(values.astype(np.float64), percentage)
        # Both interpolate between the same two voxels; numpy rounds the position otherwise.
        assert selection.percentile(percentage) == pytest.approx(expected, rel=1e-9, abs=1e-6)
    assert (selection.minimum, selection.maximum) == (values.min(), values.max())
    assert selection.at_maximum == (values == values.max()).sum()


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "int16", "uint16", ">u2", "int32", "uint32", "int64", "float16", ">f8"]
)
def test_every_dtype_gives_the_same_numbers(dtype):
    values = np.random.default_rng(0).integers(0, 100, 1001)
    values = (values % 2 if dtype == "bool" else values).astype(dtype)
    selection = select(np.array_split(values, 3), (0.1, 50.0, 99.9))
    for percentage in (0.1, 50.0, 99.9):
        expected = np.percentile(values.astype(np.float64), percentage)
        assert selection.percentile(percentage) == pytest.approx(expected, rel=1e-9)


def test_a_rank_is_one_of_the_voxels_to_the_last_bit():
    values = np.random.default_rng(1).normal(1e5, 1e-1, 100_001).astype(np.float32)
    selection = select(np.array_split(values, 7), (25.0,))
    assert selection.percentile(25.0) == float(np.sort(values)[25_000])


def test_nan_and_infinities_are_counted_and_left_out():
    values = np.array([1, np.nan, 3, np.inf, -np.inf, np.nan, 2], dtype=np.float32)
    selection = select([values], (50.0,))
    assert (selection.finite, selection.nans, selection.infinities) == (3, 2, 2)
    assert selection.percentile(50.0) == 2.0
    assert (selection.minimum, selection.maximum) == (1.0, 3.0)


def test_a_constant_needs_no_second_pass():
    selection = StreamingPercentiles(np.dtype(np.float32), (10.0,))
    selection.add(np.full(9, 7.5, dtype=np.float32))
    assert not selection.needs_second_pass
    assert selection.percentile(10.0) == 7.5


def test_float64_beyond_float32_counts_as_infinite():
    selection = select([np.array([1e300, 1.0])], ())
    assert selection.infinities == 1


@pytest.mark.parametrize("dtype", ["float32", "uint16", "int16", "float64"])
def test_parts_larger_than_what_is_counted_at_once(dtype):
    values = np.random.default_rng(2).normal(1000, 100, 2 * _PIECE + 17).astype(dtype).reshape(-1, 1)
    values[_PIECE + 3] = values.max() + 1
    if values.dtype.kind == "f":
        values[5], values[_PIECE + 5] = np.nan, np.inf
    whole = values[np.isfinite(values)]
    selection = select([values], (5.0, 99.9))
    assert (selection.finite, selection.at_maximum) == (whole.size, (whole == whole.max()).sum())
    assert selection.nans + selection.infinities == values.size - whole.size
    for percentage in (5.0, 99.9):
        expected = np.percentile(whole.astype(np.float32).astype(np.float64), percentage)
        assert selection.percentile(percentage) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_few_values_are_sorted_to_the_same_numbers(dtype):
    values = (np.random.default_rng(0).normal(20, 30, (3, 50)) * 1.5).clip(0, 120).astype(dtype)
    if values.dtype.kind == "f":
        values[0, :3] = np.nan
    percentages = (0.0, 3.0, 50.0, 99.9)
    counted, kept = select(list(values), percentages), SortedPercentiles(values.dtype, percentages)
    for part in values:
        own = kept.fresh()
        own.add(part)
        kept.merge(own)
    assert not kept.needs_second_pass
    for name in ("finite", "nans", "infinities", "minimum", "maximum", "at_maximum", "merged"):
        assert getattr(kept, name) == getattr(counted, name), name
    assert [kept.percentile(p) for p in percentages] == [counted.percentile(p) for p in percentages]


@pytest.mark.parametrize("kind", [StreamingPercentiles, SortedPercentiles])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_mean_and_deviation_are_those_of_numpy(kind, dtype):
    values = (np.random.default_rng(0).gamma(2, 20, 5000) + 3).astype(dtype)
    whole = kind(values.dtype, moments=True)
    for part in np.array_split(values, 3):
        other = whole.fresh()
        other.add(part)
        whole.merge(other)
    assert whole.mean_and_deviation() == pytest.approx((values.mean(dtype=float), values.std(dtype=float)))


def test_mean_and_deviation_leave_out_nan():
    values = np.array([1, np.nan, 3, 5], np.float32)
    found = StreamingPercentiles(values.dtype, moments=True)
    found.add(values)
    assert found.mean_and_deviation() == pytest.approx((3, np.sqrt(8 / 3)))
