"""Slices from points on screen: no window needed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lucyd._napari.deconvolve.planning import spatial_region
from napari_lucyd._napari.layers.drawing import bounding_slices


def test_voxels_reach_half_a_step_about_their_index():
    assert bounding_slices([[0.4, -0.4], [2.6, 0.4]], (5, 5), (0, 1)) == (slice(0, 4), slice(0, 1))


def test_axes_not_on_display_stay_whole():
    region = bounding_slices([[7, 1, 1], [7, 2, 3]], (9, 4, 5), (1, 2))
    assert region == (slice(0, 9), slice(1, 3), slice(1, 4))


def test_nothing_inside_is_none():
    assert bounding_slices([[9, 9], [12, 12]], (5, 5), (0, 1)) is None
    assert bounding_slices([[-3, 0], [-1, 3]], (5, 5), (0, 1)) is None


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    corners=st.lists(st.tuples(st.floats(-60, 60), st.floats(-60, 60)), min_size=1, max_size=6),
)
def test_region_lies_within_the_image_and_holds_every_point_that_does(shape, corners):
    region = bounding_slices(corners, shape, (0, 1))
    inside = [c for c in corners if all(-0.5 <= x < n - 0.5 for x, n in zip(c, shape, strict=True))]
    if region is None:
        assert not inside
        return
    for part, size in zip(region, shape, strict=True):
        assert 0 <= part.start < part.stop <= size
    for corner in inside:
        nearest = np.floor(np.asarray(corner) + 0.5)
        assert all(part.start <= n < part.stop for part, n in zip(region, nearest, strict=True))


def test_spatial_part_is_cut_to_the_range_of_planes():
    view = (slice(0, 2), slice(0, 10), slice(3, 7), slice(0, 8))
    assert spatial_region(view, "TZYX", (4, 6), (2, 10, 9, 8)) == (slice(4, 7), slice(3, 7), slice(0, 8))


def test_range_of_planes_alone():
    assert spatial_region(None, "ZYX", (9, 2), (20, 5, 5)) == (slice(2, 10), slice(0, 5), slice(0, 5))


def test_everything_is_no_region():
    assert spatial_region(None, "ZYX", None, (4, 5, 6)) is None
    assert spatial_region(None, "ZYX", (0, 3), (4, 5, 6)) is None
    assert spatial_region((slice(0, 4), slice(0, 5)), "YX", (0, 0), (4, 5)) is None


def test_range_of_planes_beside_the_view_is_refused():
    with pytest.raises(ValueError, match="do not overlap"):
        spatial_region((slice(0, 3), slice(0, 5), slice(0, 5)), "ZYX", (5, 6), (9, 5, 5))
