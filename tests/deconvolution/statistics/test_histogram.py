"""Numbers are counted as numpy counts them, with and without the compiled function."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lucyd.compute import llvm
from napari_lucyd.deconvolution.statistics import histogram
from napari_lucyd.deconvolution.statistics.histogram import (
    NUMBERS,
    count_lower,
    count_numbers,
    count_upper,
    halves,
)


@pytest.fixture(params=["compiled", "numpy"])
def way(request, monkeypatch):
    """Both ways, whatever the size."""
    monkeypatch.setattr(histogram, "_FEW", 0)
    if request.param == "numpy":
        monkeypatch.setattr(histogram, "_compiled", lambda kind: None)
    else:
        assert all(histogram._compiled(kind) is not None for kind in ("whole", "upper", "lower"))
    return request.param


def values():
    return np.random.default_rng(0).normal(0, 100, 5001).astype(np.float32)


def test_numbers_are_added_to_what_was_counted(way):
    numbers = np.random.default_rng(0).integers(0, NUMBERS, 5001).astype(np.uint16)
    counts = np.ones(NUMBERS, dtype=np.int64)
    count_numbers(counts, numbers)
    np.testing.assert_array_equal(counts, 1 + np.bincount(numbers, minlength=NUMBERS))


def test_halves_of_floats_are_counted(way):
    upper, lower = halves(values())
    np.testing.assert_array_equal((upper.astype(np.uint32) << 16 | lower).view(np.float32).ravel(), values())
    counts = np.zeros(NUMBERS, dtype=np.int64)
    count_upper(counts, values())
    np.testing.assert_array_equal(counts, np.bincount(upper, minlength=NUMBERS))
    wanted = int(np.bincount(upper).argmax())
    counts = np.zeros(NUMBERS, dtype=np.int64)
    count_lower(counts, values(), wanted)
    np.testing.assert_array_equal(counts, np.bincount(lower[upper == wanted], minlength=NUMBERS))


def test_nothing_is_counted_of_what_is_not_there(way):
    counts = np.zeros(NUMBERS, dtype=np.int64)
    count_lower(counts, np.ones(10, dtype=np.float32), 5)
    assert not counts.any()


@pytest.mark.parametrize("broken", [OSError("no such instruction"), None])
def test_what_does_not_compile_or_does_not_count_is_not_used(monkeypatch, broken):
    def function(text, prototype):
        if broken:
            raise broken
        return lambda *arguments: None

    histogram._compiled.cache_clear()
    monkeypatch.setattr(llvm, "function", function)
    try:
        assert histogram._compiled("whole") is None
    finally:
        histogram._compiled.cache_clear()


def test_numbers_may_lie_at_odd_addresses(way):
    memory = np.arange(10_001, dtype=np.uint8)
    numbers = memory[1:].view(np.uint16)
    assert not numbers.flags.aligned
    counts = np.zeros(NUMBERS, dtype=np.int64)
    count_numbers(counts, numbers)
    np.testing.assert_array_equal(counts, np.bincount(numbers.copy(), minlength=NUMBERS))
