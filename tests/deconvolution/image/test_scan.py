"""Counting by several threads: the same as by one thread, stopped on request, and without lost errors."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from napari_lucyd.deconvolution.image.scan import count_parts
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.preprocessing.background import BlockMeans
from napari_lucyd.deconvolution.statistics.percentiles import StreamingPercentiles
from napari_lucyd.errors import Cancelled


class OneByOne:
    """An array of another kind than numpy's, which notes the threads that read it."""

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
    "make", [lambda v: StreamingPercentiles(v.dtype, (5.0,)), lambda v: BlockMeans(v.shape, (8, 64, 64))]
)
def test_threads_count_what_one_counts(volume, threads, make):
    found = []
    for array in (volume, OneByOne(volume)):
        source, tally = Source(array, 3), make(volume)
        assert len(source.parts()) > 1
        count_parts(source, tally, parts_of(source))
        found.append(tally)
    fast, slow = found
    if isinstance(fast, StreamingPercentiles):
        assert (fast.finite, fast.minimum, fast.maximum) == (slow.finite, slow.minimum, slow.maximum)
        np.testing.assert_array_equal(fast._upper, slow._upper)
    else:
        np.testing.assert_array_equal(fast.background().grid, slow.background().grid)
    assert array.readers == {threading.main_thread()}


@pytest.mark.parametrize("wrap", [lambda v: v, OneByOne])
def test_counting_stops_when_asked(volume, threads, wrap):
    tally = Waits()
    source = Source(wrap(np.concatenate([volume] * 4)), 3)
    asked, askers = iter([False, True]), set()

    def should_stop():
        askers.add(threading.current_thread())
        return next(asked)

    with pytest.raises(Cancelled):
        count_parts(source, tally, parts_of(source), should_stop)
    # After one round of the three threads, no thread works any more.
    assert 1 <= len(tally.ended) <= 3 < len(source.parts())
    assert len(tally.begun) == len(tally.ended) and askers == {threading.main_thread()}


def test_an_error_of_a_thread_is_raised(volume, threads):
    source = Source(volume, 3)
    with pytest.raises(MemoryError, match="full"):
        count_parts(source, Fails(), parts_of(source))


class Waits:
    def __init__(self):
        self.begun, self.ended = [], []

    def add(self, values, spans):
        self.begun.append(spans)
        time.sleep(0.05)
        self.ended.append(spans)

    def fresh(self):
        return self

    def merge(self, other):
        pass


class Fails(Waits):
    def add(self, values, spans):
        raise MemoryError("full")
