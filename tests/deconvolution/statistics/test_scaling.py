"""Statistics of an input, however it is stored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.statistics.scaling import measure, resolve_normalization, separate_axes
from napari_lucyd.models import Normalization

PERCENTILE = Normalization("percentile", 1, 99)


@settings(max_examples=12)
@given(
    st.tuples(*[st.integers(1, 9)] * 3),
    st.tuples(*[st.integers(1, 9)] * 3),
    st.sampled_from(["uint8", "uint16", "float32", "float64"]),
)
def test_numpy_dask_and_zarr_give_the_same_numbers_for_every_chunking(shape, chunks, dtype):
    import dask.array
    import zarr

    chunks = tuple(min(c, n) for c, n in zip(chunks, shape, strict=True))
    values = (np.random.default_rng(0).random(shape) * 250).astype(dtype)
    stored = zarr.create_array({}, shape=shape, dtype=dtype, chunks=chunks)
    stored[...] = values
    found = {
        measure(Source(array, 3, "ZYX"), PERCENTILE, "")
        for array in (values, dask.array.from_array(values, chunks=chunks), stored)
    }
    assert len(found) == 1
    (group,) = found.pop().groups
    low, high = np.percentile(values.astype(np.float32).astype(np.float64), (1, 99))
    if low < high:
        assert group.lo == pytest.approx(low, rel=1e-6, abs=1e-6)
        assert group.lo + group.s == pytest.approx(high, rel=1e-6)


def test_parts_are_whole_chunks_and_cover_the_volume_once():
    import zarr

    stored = zarr.create_array({}, shape=(70, 300, 310), dtype="uint16", chunks=(8, 128, 96))
    parts = Source(stored, 3).parts()
    assert sum(np.prod(part.shape) for part in parts) == 70 * 300 * 310
    for part in parts:
        for span, chunk, size in zip(part.spans, (8, 128, 96), stored.shape, strict=True):
            assert span.start % chunk == 0 and (span.stop % chunk == 0 or span.stop == size)
            assert np.prod(part.shape) <= 2**22


def test_a_chunk_too_large_is_read_in_parts():
    watched = np.broadcast_to(np.uint8(3), (3, 5000, 5000))
    assert max(np.prod(part.shape) for part in Source(watched, 3).parts()) <= 2**22


def test_minmax_percentile_and_none():
    values = np.arange(1001, dtype=np.float32).reshape(7, 11, 13)[None].repeat(1, 0)
    source = Source(values[0], 3)
    numbers = {
        method: measure(source, Normalization(method, 10, 90), "").groups[0]
        for method in ("minmax", "percentile", "none")
    }
    assert (numbers["minmax"].lo, numbers["minmax"].s) == (0, 1000)
    assert (numbers["percentile"].lo, numbers["percentile"].s) == (100, 800)
    assert (numbers["none"].lo, numbers["none"].s) == (0, 1)


def test_percentiles_that_are_one_number_fall_back_and_say_so():
    values = np.zeros((100, 100), dtype=np.uint16)
    values[3, 4] = 500
    statistics = measure(Source(values, 2), PERCENTILE, "")
    assert (statistics.groups[0].lo, statistics.groups[0].s) == (0, 500)
    assert "are equal" in statistics.warnings[0]
    # Percentiles that equal the extremes by chance are no such case.
    assert measure(Source(values[:, :1] + np.arange(100, dtype="u2"), 2), PERCENTILE, "").warnings == ()


@pytest.mark.parametrize(
    ("values", "saturated"),
    [
        (np.where(np.arange(900) < 20, 255, np.arange(900) % 200).astype("uint8"), 20),
        (np.where(np.arange(900) < 20, 4095, np.arange(900)).astype("uint16"), 20),
        (np.where(np.arange(900) < 20, 1.0, np.arange(900) / 1000), 20),
        (np.where(np.arange(900) < 3, 255, np.arange(900) % 200).astype("uint8"), 0),
        (np.where(np.arange(900) < 20, 777, np.arange(900) % 200).astype("uint16"), 0),
        (np.arange(900) % 2 == 0, 0),
        (np.full(900, 255, dtype="uint8"), 0),
    ],
)
def test_voxels_that_pile_up_at_a_full_scale_are_saturated(values, saturated):
    statistics = measure(Source(values.reshape(30, 30), 2), Normalization("minmax"), "")
    assert statistics.groups[0].saturated_voxels == saturated
    assert any("full scale" in text for text in statistics.warnings) is bool(saturated)


def test_groups_follow_the_separate_axes():
    values = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    source = Source(values, 2, "TCYX")
    by_channel = measure(source, Normalization("minmax"), "C")
    assert [group.lo for group in by_channel.groups] == [0, 20, 40]
    assert [group.s for group in by_channel.groups] == [79, 79, 79]
    assert by_channel.group({"T": 1, "C": 2}).label == "C 2"
    assert len(measure(source, Normalization("minmax"), "TC").groups) == 6
    assert len(measure(source, Normalization("minmax"), "").groups) == 1


def test_an_unusable_channel_is_named():
    values = np.ones((2, 4, 5), dtype=np.float32)
    values[1] = np.nan
    with pytest.raises(ValueError, match="All voxels of C 1 are NaN"):
        measure(Source(values, 2, "CYX"), Normalization("minmax"), "C")


def test_separate_keeps_to_the_axes_that_are_there():
    assert separate_axes("ct", "TP") == "T"
    assert separate_axes("", "TC") == ""


@pytest.mark.parametrize(
    ("wanted", "own", "expected"),
    [
        ("model", Normalization("none"), Normalization("none")),
        ("minmax", Normalization("percentile", 1, 98), Normalization("minmax")),
        ("percentile", Normalization("percentile", 1, 98), Normalization("percentile", 1, 98)),
        ("percentile", Normalization("minmax"), Normalization("percentile", 0.1, 99.9)),
        ({"method": "percentile", "high": 97}, Normalization("none"), Normalization("percentile", 0.1, 97)),
        (Normalization("percentile", 3, 4), Normalization("none"), Normalization("percentile", 3, 4)),
    ],
)
def test_what_normalization_means(wanted, own, expected):
    assert resolve_normalization(wanted, own) == expected


@pytest.mark.parametrize(
    ("dtype", "offset", "warned"),
    [
        ("uint32", 10**8, True),
        ("int64", 10**8, True),
        ("float64", 1e8, True),
        ("float64", 1e3, False),
        ("uint32", 1000, False),
        ("float32", 1e8, False),
        ("uint16", 60_000, False),
    ],
)
def test_an_offset_that_float32_cannot_hold_is_warned_of(dtype, offset, warned):
    values = (np.random.default_rng(0).integers(0, 1000, (20, 20)) + offset).astype(dtype)
    for method in ("minmax", "percentile", "none"):
        statistics = measure(Source(values, 2), Normalization(method), "")
        found = [text for text in statistics.warnings if "Subtract an offset" in text]
        assert bool(found) == warned
    assert not warned or "to steps of 8, which is 0.80 % of the contrast" in found[0]
