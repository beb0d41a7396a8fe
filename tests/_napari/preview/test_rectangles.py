"""The live preview's geometry: the part of a layer that a view shows, and the growth of a patch over it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from napari.layers import Image

from napari_lucyd._napari.preview.rectangles import (
    SMALLEST_CORE,
    LayerTransform,
    Rectangle,
    Speed,
    cost,
    growth,
    layer_axes_displayed,
    missing_parts,
    patch_around,
    planes_seen,
    visible_rectangle,
    within,
)


@st.composite
def views(draw, longest: int = 300) -> Rectangle:
    """A part of a layer as `visible_rectangle` returns it: even origins, odd sizes at the layer's end."""
    top, left = (2 * draw(st.integers(0, 60)) for _ in range(2))
    height, width = (draw(st.integers(1, longest)) for _ in range(2))
    return Rectangle(top, left, top + height, left + width)


@st.composite
def views_and_foci(draw) -> tuple[Rectangle, tuple[float, float]]:
    view = draw(views())
    row = draw(st.floats(view.top - 50, view.bottom + 50))
    column = draw(st.floats(view.left - 50, view.right + 50))
    return view, (row, column)


HALO = st.tuples(*[st.sampled_from([0, 8, 24])] * 2)


@given(views_and_foci(), st.floats(1e3, 1e7), HALO, st.sampled_from([1.0, 17.0, 49.0]))
def test_a_patch_lies_in_the_view_on_even_origins_and_within_its_budget(case, budget, halo, depth):
    view, focus = case
    patch = patch_around(focus, view, budget, halo, depth)

    assert view.intersection(patch) == patch
    assert patch.top % 2 == patch.left % 2 == 0
    for size, edge, end in (
        (patch.height, patch.bottom, view.bottom),
        (patch.width, patch.right, view.right),
    ):
        assert size >= 1
        assert size % 2 == 0 or edge == end
    sides = [min(n, 2 * h + SMALLEST_CORE + 1) for n, h in zip((view.height, view.width), halo, strict=True)]
    least = Rectangle(0, 0, *sides)
    # It may have one pixel more on each side, so that no sliver is left at an odd end of the layer.
    slack = cost(Rectangle(0, 0, patch.height + 1, patch.width + 1), halo, depth) - cost(patch, halo, depth)
    assert cost(patch, halo, depth) <= max(budget + slack, cost(least, halo, depth) + slack)


@given(views_and_foci(), HALO)
def test_a_budget_for_the_whole_view_takes_the_whole_view(case, halo):
    view, focus = case
    assert patch_around(focus, view, cost(view, halo, 49), halo, 49) == view


@given(views_and_foci())
def test_a_patch_holds_the_pixel_at_the_focus(case):
    view, focus = case
    row = min(max(focus[0], view.top), view.bottom - 1)
    column = min(max(focus[1], view.left), view.right - 1)
    patch = patch_around((row, column), view, 3e5, (24, 24), 49)
    assert patch.top - 0.5 <= row <= patch.bottom
    assert patch.left - 0.5 <= column <= patch.right


@given(views_and_foci(), st.floats(1e4, 1e6), st.one_of(st.none(), st.tuples(*[st.integers(2, 90)] * 2)))
def test_growth_covers_every_pixel_of_the_view_once_from_even_origins(case, budget, cell):
    view, focus = case
    start = patch_around(focus, view, budget, (8, 8), 17)
    cells = growth(view, start, cell)

    times = np.zeros((view.height, view.width), dtype=int)
    for part in (start, *cells):
        assert part.top % 2 == part.left % 2 == 0
        assert part.area > 0
        assert view.intersection(part) == part
        times[part.slices_in(view)] += 1
    assert (times == 1).all()


@given(views(60), HALO, st.lists(st.tuples(*[st.integers(0, 30)] * 4), max_size=5))
def test_missing_parts_hold_every_missing_pixel_once_from_even_origins(view, halo, done):
    covered = np.zeros((view.height, view.width), dtype=bool)
    for top, left, height, width in done:
        covered[2 * top : 2 * (top + height), 2 * left : 2 * (left + width)] = True
    parts = missing_parts(view, covered, halo)
    times = np.zeros(covered.shape, dtype=int)
    for part in parts:
        assert part.top % 2 == part.left % 2 == 0
        assert view.intersection(part) == part
        times[part.slices_in(view)] += 1
    assert (times <= 1).all()
    assert (times[~covered] == 1).all()
    # The work is never more than for one box around all of it.
    if parts:
        box = Rectangle(*np.min(parts, axis=0)[:2], *np.max(parts, axis=0)[2:])
        assert sum(cost(p, halo, 1) for p in parts) <= cost(box, halo, 1)


def test_two_strips_that_a_pan_brings_into_view_are_two_parts():
    view, covered = Rectangle(0, 0, 400, 600), np.zeros((400, 600), dtype=bool)
    covered[40:, :560] = True
    parts = missing_parts(view, covered, (24, 24))
    assert sorted(parts) == [Rectangle(0, 0, 40, 600), Rectangle(40, 560, 400, 600)]


def test_growth_goes_outward():
    view, start = Rectangle(0, 0, 200, 200), Rectangle(80, 80, 120, 120)
    cells = growth(view, start)
    distances = [np.hypot(c.centre[0] - 99.5, c.centre[1] - 99.5) for c in cells]
    assert distances == sorted(distances)
    assert len(cells) == 24


@given(views_and_foci(), st.integers(4, 5000))
def test_a_view_too_large_for_memory_is_cut_to_its_part_round_the_focus(case, most):
    view, focus = case
    part = within(view, focus, 120, most)
    assert view.intersection(part) == part
    assert max(part.height, part.width) <= 121
    # It may have one row and one column more at an odd end of the layer.
    assert part.area <= most + part.height + part.width + 1
    if view.area <= most and max(view.height, view.width) <= 120:
        assert part == view


ANGLES = st.floats(-3.1, 3.1)


def rotated(angle: float, scale: tuple[float, ...], translate: tuple[float, ...]) -> LayerTransform:
    """A transform that turns the last two axes."""
    matrix = np.diag(scale).astype(float)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix[-2:, -2:] = turn @ matrix[-2:, -2:]
    return LayerTransform(matrix, np.asarray(translate, dtype=float))


@given(ANGLES, st.floats(0.1, 5), st.floats(-40, 140), st.floats(-40, 140), st.floats(0.3, 8))
def test_the_visible_rectangle_holds_every_pixel_that_the_canvas_shows(angle, scale, row, column, zoom):
    shape, canvas = (5, 61, 83), (90.0, 130.0)
    transform = rotated(angle, (2, scale, 1.5 * scale), (3, 7, -11))
    centre = (transform.matrix @ [0, row, column] + transform.translate)[1:]

    visible = visible_rectangle(transform, (1, 2), shape, centre, canvas, zoom)

    # Brute force: the world positions of all pixels' centres against the canvas.
    y, x = np.mgrid[:61, :83]
    world = transform.matrix[1:, 1:] @ [y.ravel(), x.ravel()] + transform.translate[1:, None]
    half = np.asarray(canvas)[:, None] / (2 * zoom)
    shown = (np.abs(world - np.asarray(centre)[:, None]) <= half).all(axis=0).reshape(61, 83)
    covered = np.zeros_like(shown)
    if visible is not None:
        assert visible.top % 2 == visible.left % 2 == 0
        covered[visible.slices_in(Rectangle(0, 0, 61, 83))] = True
    assert covered[shown].all()


def test_the_visible_rectangle_is_tight_where_nothing_is_turned():
    transform = LayerTransform(np.diag([2.0, 0.5, 0.25]), np.array([0.0, 10.0, 20.0]))
    # 40 by 80 canvas pixels at 4 a unit: 10 by 20 units, 20 by 80 pixels of the layer.
    seen = visible_rectangle(transform, (1, 2), (9, 200, 400), (10 + 0.5 * 50, 20 + 0.25 * 100), (40, 80), 4)
    assert seen == Rectangle(40, 60, 62, 142)


def test_nothing_is_visible_where_the_layer_is_out_of_view():
    transform = LayerTransform(np.eye(3), np.zeros(3))
    assert visible_rectangle(transform, (1, 2), (5, 60, 60), (500, 500), (100, 100), 1) is None


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
@pytest.mark.parametrize(
    ("rotation", "faces"), [((0, 0, 30), True), ((0, 20, 0), True), ((0, 90, 0), False), ((90, 0, 0), False)]
)
def test_a_layer_seen_from_its_edge_is_known(rotation, faces):
    layer = Image(np.zeros((8, 9, 10)), rotate=rotation, scale=(3, 0.1, 0.1))
    assert LayerTransform.sampled(layer.data_to_world, 3).faces((1, 2)) == faces


def test_a_view_with_its_axes_swapped_shows_the_same_pixels_in_the_order_of_the_data():
    transform = LayerTransform(np.diag([1.0, 2.0, 3.0]), np.zeros(3))
    upright = visible_rectangle(transform, (1, 2), (5, 90, 90), (60, 90), (40, 60), 1)
    swapped = visible_rectangle(transform, (2, 1), (5, 90, 90), (90, 60), (60, 40), 1)
    assert upright == swapped


@given(st.lists(st.floats(-2, 2), min_size=9, max_size=9), st.permutations(range(3)))
def test_a_moved_layer_is_drawn_where_its_pixels_were_and_shown_with_the_same_slice(numbers, order):
    matrix = 3 * np.eye(3) + 0.4 * np.reshape(numbers, (3, 3))  # turned out of every plane, invertible
    source = LayerTransform(matrix, np.array([5.0, -3.0, 2.0]))
    displayed, origin = (order[1], order[2]), (4, 12, 30)
    part = LayerTransform(matrix, source.translate + source.shift(origin, displayed))

    canvas = np.array([[10.0, 20.0], [-5.0, 40.0]])
    offset = [origin[axis] for axis in sorted(displayed)]
    np.testing.assert_allclose(
        part.displayed_to_data(canvas, displayed), source.displayed_to_data(canvas, displayed) - offset
    )
    world = matrix @ [4.0, 12.0, 30.0] + source.translate
    hidden = order[0]
    assert part.slice_indices(world, displayed)[hidden] == (
        source.slice_indices(world, displayed)[hidden] - origin[hidden]
    )


def test_without_a_rotation_out_of_the_plane_a_layer_moves_by_its_origin():
    transform = rotated(0.7, (2, 0.5, 0.5), (1, 2, 3))
    np.testing.assert_allclose(
        transform.shift((3, 10, 20), (1, 2)), transform.matrix @ np.array([3.0, 10.0, 20.0])
    )


def test_a_transform_is_recovered_from_the_layers_own_map_with_units():
    known = rotated(0.3, (2, 0.5, 0.5), (1, 2, 3))
    sampled = LayerTransform.sampled(lambda p: known.matrix @ np.asarray(p) + known.translate, 3, (1, 10, 10))
    np.testing.assert_allclose(sampled.matrix, np.diag([1, 10, 10]) @ known.matrix, atol=1e-12)
    np.testing.assert_allclose(sampled.translate, [1, 20, 30])


@pytest.mark.parametrize(
    ("order", "ndim", "expected"),
    [
        ((0, 1, 2), 3, (1, 2)),
        ((0, 2, 1), 3, (2, 1)),
        ((1, 0, 2), 3, (0, 2)),
        ((0, 1, 2, 3), 2, (0, 1)),
        ((2, 3, 0, 1), 3, None),
    ],
)
def test_the_axes_that_a_layer_shows_follow_the_viewers_order(order, ndim, expected):
    assert layer_axes_displayed(order, ndim) == expected


def test_planes_across_the_view_count_with_their_halo():
    assert planes_seen([]) == 1
    assert planes_seen([(1.0, 24)]) == 49
    assert planes_seen([(3.0, 24)]) == 51


@given(st.floats(1e4, 1e9))
def test_the_measured_speed_is_reached_after_a_few_passes(actual):
    speed = Speed()
    for _ in range(12):
        voxels = speed.budget(0.5)
        speed.measured(voxels, voxels / actual)
    assert 0.4 * actual <= speed.budget(0.5) / 0.5 <= 2.5 * actual
