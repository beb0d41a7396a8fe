"""Checks of single arguments."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lucyd import checks


class Mute:
    def __repr__(self):
        raise RuntimeError("no description")

    def __index__(self):
        raise RuntimeError("no index")

    def __float__(self):
        raise RuntimeError("no number")

    def __iter__(self):
        raise RuntimeError("no items")


@pytest.mark.parametrize("value", [True, 1.0, "1", None, [1], np.ones(2, int), Mute()])
def test_what_is_no_integer_is_refused(value):
    with pytest.raises(TypeError, match=r"^halo is .*; give an integer of at least 0\.$"):
        checks.integer("halo", value, least=0)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3)])
def test_integers_of_any_kind_are_taken(value):
    found = checks.integer("halo", value)
    assert found == 3 and type(found) is int


@pytest.mark.parametrize("value", [True, "1", b"1", None, [1.0], np.ones(1), 1j, Mute()])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match=r"^balance is .*; give a number\.$"):
        checks.number("balance", value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_numbers_without_a_finite_value_are_refused(value):
    with pytest.raises(ValueError, match=r"^balance is .*; give a number\.$"):
        checks.number("balance", value)


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.array(2)])
def test_numbers_of_any_kind_are_taken(value):
    assert checks.number("balance", value) == 2.0


@pytest.mark.parametrize("value", [5, "zyx", {"a": 1}, {1}, None, Mute()])
def test_what_is_no_list_is_refused(value):
    with pytest.raises(TypeError, match=r"^region is .*; give slices\.$"):
        checks.items("region", value, "slices")


def test_flags_and_texts_are_not_converted():
    assert checks.flag("flips", np.True_) is True
    for value in (1, "True", None, np.ones(2, bool)):
        with pytest.raises(TypeError, match="give True or False"):
            checks.flag("flips", value)
    assert checks.choice("precision", "float16", ("float32", "float16")) == "float16"
    with pytest.raises(TypeError, match="give 'float32' or 'float16'"):
        checks.choice("precision", np.ones(3), ("float32", "float16"))
    with pytest.raises(ValueError, match="give 'float32' or 'float16'"):
        checks.choice("precision", "float64", ("float32", "float16"))


def test_long_values_are_shortened():
    assert len(checks.shown(list(range(10**6)))) < 100
    assert len(checks.shown("x" * 10**6)) < 100
    assert "Mute" in checks.shown(Mute())


def test_integers_beyond_64_bits_are_refused():
    with pytest.raises(ValueError, match=r"^spheres is 1000.*000; give an integer\.$"):
        checks.integer("spheres", 10**400)
