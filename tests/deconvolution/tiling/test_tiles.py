"""Tile geometry: pure integers, so checked by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lucyd.deconvolution.tiling.tiles import (
    Tile,
    block_span,
    block_voxels,
    choose_tile_shape,
    cut,
    cut_axis,
    fit_tile_shape,
    halve,
    reflected,
)
from napari_lucyd.spans import Span

sizes = st.integers(1, 40)


@given(st.lists(st.tuples(st.integers(0, 9), sizes), min_size=1, max_size=3), st.data())
def test_tiles_cover_each_voxel_of_an_extent_once(axes, data):
    extent = [Span(start, start + size) for start, size in axes]
    shape = fit_tile_shape(data.draw(st.tuples(*[sizes] * len(axes))), [span.size for span in extent])
    counted = np.zeros([span.stop for span in extent], dtype=int)
    for tile in cut(extent, shape):
        assert all(size <= most for size, most in zip(tile.shape, shape, strict=True))
        counted[tile.slices] += 1
    inside = np.zeros_like(counted)
    inside[tuple(span.slice for span in extent)] = 1
    np.testing.assert_array_equal(counted, inside)


multiples = st.sampled_from([2, 4])


@given(st.integers(0, 50), sizes, st.integers(0, 40), multiples)
def test_a_block_holds_the_halo_between_multiples(start, size, halo, multiple):
    block = block_span(Span(start, start + size), halo, multiple)
    assert block.start % multiple == 0 and block.stop % multiple == 0
    assert start - halo - multiple < block.start <= start - halo
    assert start + size + halo <= block.stop < start + size + halo + multiple


@given(st.integers(1, 9), st.integers(0, 40), st.integers(0, 40))
def test_reflection_is_that_of_numpy(size, before, after):
    expected = np.pad(np.arange(size), (before, after), mode="reflect")
    np.testing.assert_array_equal(reflected(Span(-before, size + after), size), expected)


def test_an_axis_without_voxels_cannot_be_reflected():
    with pytest.raises(ValueError, match="at least one voxel"):
        reflected(Span(0, 3), 0)


def test_inner_borders_are_even_wherever_the_extent_begins():
    assert [span.start for span in cut_axis(Span(5, 30), 8)] == [5, 12, 20, 28]
    assert [span.start for span in cut_axis(Span(7, 30), 8, multiple=4)] == [7, 12, 20, 28]


def test_a_tile_shape_is_made_even_and_no_larger_than_needed():
    assert fit_tile_shape((5, 64, 1), (13, 20, 7)) == (6, 20, 2)
    assert fit_tile_shape((5, 64, 1), (13, 22, 7), multiple=4) == (8, 24, 4)


@pytest.mark.parametrize("shape", [(8, 8), (0, 8, 8), (8, -2, 8)])
def test_an_odd_tile_shape_is_refused_in_words(shape):
    with pytest.raises(ValueError, match="give 3 positive sizes"):
        fit_tile_shape(shape, (9, 9, 9))


@given(st.lists(st.tuples(st.integers(0, 9), sizes), min_size=1, max_size=3), multiples)
def test_halves_make_up_the_tile_and_meet_at_a_multiple(axes, multiple):
    tile = Tile(tuple(Span(start, start + size) for start, size in axes))
    halves = halve(tile, multiple)
    if halves is None:
        assert max(tile.shape) <= 2 * multiple - 2
        return
    low, high = halves
    axis = next(i for i, (a, b) in enumerate(zip(low.spans, tile.spans, strict=True)) if a != b)
    assert tile.shape[axis] == max(tile.shape)
    assert low.spans[axis].stop == high.spans[axis].start
    assert high.spans[axis].start % multiple == 0
    assert low.spans[axis].start == tile.spans[axis].start
    assert high.spans[axis].stop == tile.spans[axis].stop
    assert abs(low.shape[axis] - high.shape[axis]) <= 2 * multiple - 2


@given(
    st.lists(st.integers(1, 3000), min_size=2, max_size=3),
    st.sampled_from([0, 8, 24]),
    st.integers(1, 2**26),
    multiples,
)
def test_the_chosen_tile_fits_wherever_any_does(shape, halo, most, multiple):
    tile = choose_tile_shape(shape, halo, most, multiple)
    assert all(size % multiple == 0 and size < n + multiple for size, n in zip(tile, shape, strict=True))
    smallest = block_voxels((multiple,) * len(shape), halo, multiple)
    assert block_voxels(tile, halo, multiple) <= max(most, smallest)


@given(st.lists(st.integers(1, 60), min_size=2, max_size=2), st.integers(0, 8), st.integers(100, 5000))
def test_the_chosen_tile_takes_the_least_work(shape, halo, most):
    def cost(tile):
        tiles = math.prod(-(-n // size) for n, size in zip(shape, tile, strict=True))
        return (block_voxels(tile, halo) + 4096) * tiles

    every = [
        (z, y)
        for z in range(2, shape[0] + 2, 2)
        for y in range(2, shape[1] + 2, 2)
        if block_voxels((z, y), halo) <= most
    ]
    chosen = choose_tile_shape(shape, halo, most)
    if every:
        assert cost(chosen) == min(map(cost, every))
    else:
        assert chosen == (2, 2)


@pytest.mark.parametrize("most", [2**18, 2**26])
def test_without_a_halo_tiles_are_as_large_as_with_one(most):
    shape = (60, 256, 256)
    tile = choose_tile_shape(shape, 0, most)
    assert 0.5 * min(most, math.prod(shape)) <= math.prod(tile) <= most


def test_a_volume_that_fits_is_one_tile():
    assert choose_tile_shape((33, 100, 101), 24, 2**24) == (34, 100, 102)
