"""Counting by several threads: the same as by one, stopped when asked, and no error lost."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from napari_lucyd.deconvolution.background import BlockMeans
from napari_lucyd.deconvolution.counting import count_parts
from napari_lucyd.deconvolution.errors import Cancelled
from napari_lucyd.deconvolution.selection import Selection
from napari_lucyd.deconvolution.source import Source


class OneByOne:
    """An array that is not numpy's, and notes which threads read it."""

    def __init__(self, values):
        self.shape, self.dtype = values.shape, values.dtype
        self.values, self.readers = values, set()

    def __getitem__(self, index):
        self.readers.add(threading.current_thread())
        return self.values[index]


@pytest.fixture
def volume():
    return np.random.default_rng(0).normal(100, 30, (24, 512, 512)).astype(np.float32)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def parts_of(source):
    return [((), part) for part in source.parts()]


@pytest.mark.parametrize(
    "make", [lambda v: Selection(v.dtype, (5.0,)), lambda v: BlockMeans(v.shape, (8, 64, 64))]
)
def test_threads_count_what_one_counts(volume, threads, make):
    found = []
    for array in (volume, OneByOne(volume)):
        source, tally = Source(array, 3), make(volume)
        assert len(source.parts()) > 1
        count_parts(source, tally, parts_of(source))
        found.append(tally)
    fast, slow = found
    if isinstance(fast, Selection):
        assert (fast.finite, fast.minimum, fast.maximum) == (slow.finite, slow.minimum, slow.maximum)
        np.testing.assert_array_equal(fast._upper, slow._upper)
    else:
        np.testing.assert_array_equal(fast.background().grid, slow.background().grid)
    assert array.readers == {threading.main_thread()}


@pytest.mark.parametrize("wrap", [lambda v: v, OneByOne])
def test_counting_stops_when_asked(volume, threads, wrap):
    source = Source(wrap(volume), 3)
    asked = iter([False, True])
    with pytest.raises(Cancelled):
        count_parts(source, Waits(), parts_of(source), lambda: next(asked, True))
    assert not any(thread.name.startswith("lucyd-counting") for thread in threading.enumerate())


def test_an_error_of_a_thread_is_raised(volume, threads):
    source = Source(volume, 3)
    with pytest.raises(MemoryError, match="full"):
        count_parts(source, Fails(), parts_of(source))


class Waits:
    def add(self, values, spans):
        threading.Event().wait(0.2)

    def emptied(self):
        return self

    def merge(self, other):
        raise AssertionError("a count that was stopped is no count")


class Fails(Waits):
    def add(self, values, spans):
        raise MemoryError("full")
