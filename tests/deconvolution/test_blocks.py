"""Voxels read for a tile, against indices of the volume continued by reflection."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lucyd.deconvolution.blocks import NAN_MARGIN, fill_nan, read_block
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.statistics.scaling import Group
from napari_lucyd.deconvolution.tiling.geometry import Geometry
from napari_lucyd.deconvolution.tiling.resampling import Resampling
from napari_lucyd.deconvolution.tiling.tiles import Tile, reflected
from napari_lucyd.spans import Span


def read(volume, tile, geometry, nan_voxels=0):
    group = Group((), 0.0, 1.0, 0.0, 1.0, volume.size, nan_voxels, 0)
    out = np.full([span.size for span in geometry.block(tile)], np.nan, dtype=np.float32)
    missing = read_block(Source(volume, volume.ndim), (), tile, geometry, group, out)
    return out, missing


@st.composite
def tiles(draw):
    shape = draw(st.lists(st.integers(1, 20), min_size=2, max_size=3))
    starts = [draw(st.integers(0, size - 1)) for size in shape]
    spans = [Span(a, draw(st.integers(a + 1, size))) for a, size in zip(starts, shape, strict=True)]
    return Geometry(tuple(shape), draw(st.integers(0, 30)), multiple=draw(st.sampled_from([2, 4]))), Tile(
        spans
    )


@given(tiles())
def test_a_block_is_the_volume_continued_by_reflection(case):
    geometry, tile = case
    volume = np.arange(np.prod(geometry.shape), dtype=np.float32).reshape(geometry.shape)
    out, missing = read(volume, tile, geometry)
    indices = [reflected(span, size) for span, size in zip(geometry.block(tile), geometry.shape, strict=True)]
    assert missing is None
    np.testing.assert_array_equal(out, volume[np.ix_(*indices)])


def test_resampled_planes_are_continued_in_the_plane():
    volume = np.random.default_rng(0).random((9, 14, 11), dtype=np.float32)
    geometry = Geometry(volume.shape, 6, Resampling(2.0))
    tile = Tile((Span(2, 5), Span(0, 14), Span(4, 11)))
    out, _ = read(volume, tile, geometry)
    block = geometry.block(tile)
    planes, weights = geometry.resampling.there(block[0], 9)
    across = [reflected(span, size) for span, size in zip(block[1:], volume.shape[1:], strict=True)]
    expected = np.tensordot(weights, volume[np.ix_(planes, *across)], axes=1)
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_nan_are_said_of_the_tile_and_filled_in_the_block():
    volume = np.ones((8, 12, 12), dtype=np.float32)
    volume[3, 5, 6] = volume[0, 0, 0] = np.nan
    tile = Tile((Span(2, 6), Span(4, 12), Span(4, 12)))
    out, missing = read(volume, tile, Geometry(volume.shape, 4), nan_voxels=2)
    assert np.argwhere(missing).tolist() == [[1, 1, 2]]
    np.testing.assert_array_equal(out, 1)


@pytest.mark.parametrize("step", [1, -1])
def test_the_source_is_left_as_it_is(step):
    volume = np.random.default_rng(0).random((16, 16, 16), dtype=np.float32)[::step]
    before = volume.copy()
    out, _ = read(volume, Tile((Span(0, 16),) * 3), Geometry(volume.shape, 0))
    out += 1
    np.testing.assert_array_equal(volume, before)


# ---------------------------------------------------------------------------------------- filling of NaN


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
    assert (filled[0, : NAN_MARGIN + 1] == 5).all() and (filled[0, NAN_MARGIN + 1 :] == -1).all()


def test_a_value_depends_on_its_surroundings_alone():
    rng = np.random.default_rng(0)
    values = rng.random((60, 50)).astype(np.float32)
    values[rng.random((60, 50)) < 0.6] = np.nan
    values[20:40, 10:40] = np.nan
    whole = fill_nan(values, 0.5)
    part = fill_nan(values[10:45, 12:40], 0.5)
    inner = (slice(NAN_MARGIN, -NAN_MARGIN), slice(NAN_MARGIN, -NAN_MARGIN))
    np.testing.assert_array_equal(part[inner], whole[10:45, 12:40][inner])
