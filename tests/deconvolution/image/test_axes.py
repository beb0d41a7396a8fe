"""Meaning of the axes of an array."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lucyd.deconvolution.image.axes import name_axes
from napari_lucyd.spans import Span

U16 = np.dtype("uint16")


@pytest.mark.parametrize(
    ("shape", "dimension", "names"),
    [
        ((9, 9), 2, "YX"),
        ((9, 9), 3, "YX"),
        ((9, 9, 9), 3, "ZYX"),
        ((3, 9, 9), 3, "ZYX"),
        ((3, 9, 9), 2, "CYX"),
        ((9, 9, 9), 2, "ZYX"),
        ((4, 9, 9, 9), 3, "CZYX"),
        ((5, 9, 9, 9), 3, "TZYX"),
        ((9, 3, 9, 9), 2, "TCYX"),
        ((9, 9, 9, 9), 2, "TZYX"),
        ((5, 2, 9, 9, 9), 3, "TCZYX"),
        ((5, 2, 9, 9, 9), 2, "TCZYX"),
    ],
)
def test_axes_are_guessed_from_the_shape(shape, dimension, names):
    assert name_axes(shape, U16, dimension).names == names


def test_what_the_user_says_wins():
    axes = name_axes((3, 9, 8, 7), U16, 3, "tzyx", dims=("c", "z", "y", "x"))
    assert (axes.names, axes.leading, axes.leading_shape, axes.volume_shape) == ("TZYX", "T", (3,), (9, 8, 7))


@pytest.mark.parametrize(
    ("dims", "names"),
    [
        (("time", "channel", "z", "y", "x"), "TCZYX"),
        (("T", "C", "Z", "Y", "X"), "TCZYX"),
        (("a b", "b", "c", "d", "e"), "TCZYX"),  # not understood: by shape
    ],
)
def test_names_that_the_array_carries_are_used_where_understood(dims, names):
    assert name_axes((2, 2, 9, 9, 9), U16, 3, dims=dims).names == names


@pytest.mark.parametrize("dims", [("y", "x", "z"), ("x", "y", "z"), ("z", "x", "y")])
def test_names_may_stand_in_any_order(dims):
    axes = name_axes((9, 8, 7), U16, 3, dims=dims)
    assert axes.names == "".join(dims).upper()
    assert axes.volume_shape == tuple(axes.size(name) for name in "ZYX")


def test_the_advice_for_six_axes_can_be_followed():
    shape = (2, 3, 2, 9, 8, 7)
    with pytest.raises(ValueError, match=r"e\.g\. axes='PTCZYX'"):
        name_axes(shape, U16, 3)
    assert name_axes(shape, U16, 3, "PTCZYX").leading == "PTC"


def test_z_need_not_be_next_to_the_plane():
    axes = name_axes((9, 2, 8, 7), U16, 3, "ZCYX")
    assert axes.volume_shape == (9, 8, 7)
    assert axes.index((1,), (Span(2, 4), Span(0, 8), Span(3, 5))) == (
        slice(2, 4),
        1,
        slice(0, 8),
        slice(3, 5),
    )


def test_a_plane_is_a_volume_of_one_plane_for_a_3d_model():
    axes = name_axes((5, 8, 7), U16, 3, "TYX")
    assert axes.volume_shape == (1, 8, 7)
    assert axes.index((4,), (Span(0, 1), Span(0, 8), Span(0, 7))) == (4, slice(0, 8), slice(0, 7))


@pytest.mark.parametrize("shape", [(20, 30, 3), (20, 30, 4), (5, 20, 30, 3)])
def test_rgb_is_refused_in_words(shape):
    with pytest.raises(ValueError, match="RGB"):
        name_axes(shape, np.dtype("uint8"), 3)
    with pytest.raises(ValueError, match="RGB"):
        name_axes(shape, np.dtype("uint8"), 3, "TZYXS"[-len(shape) :])


def test_a_narrow_volume_passes_where_the_axes_are_said():
    assert name_axes((20, 30, 3), np.dtype("uint8"), 3, "ZYX").names == "ZYX"


@pytest.mark.parametrize(
    ("shape", "axes", "message"),
    [
        ((9,), None, "at least two axes"),
        ((9, 9, 9), "YX", "names 2 axes"),
        ((9, 9, 9), "TCX", "must include Y and X"),
        ((9, 9, 9, 9), "TTYX", "different letter"),
        ((9, 9, 9), "1YX", "different letter"),
        ((1, 2, 3, 4, 5, 6), None, "e.g. axes='PTCZYX'"),
        ((0, 9, 9), "ZYX", "empty"),
    ],
)
def test_axes_that_do_not_fit_are_refused_in_words(shape, axes, message):
    with pytest.raises(ValueError, match=message):
        name_axes(shape, U16, 3, axes)


def test_six_axes_are_fine_where_they_are_named():
    axes = name_axes((2, 3, 4, 5, 6, 7), U16, 3, "PTCZYX")
    assert axes.leading == "PTC" and axes.describe() == "P 2 × T 3 × C 4 × Z 5 × Y 6 × X 7"
