"""Copies by several threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from napari_lucyd.compute.threads import copy_into


@pytest.fixture(params=[1, 3])
def threads(request, monkeypatch):
    monkeypatch.setattr("napari_lucyd.compute.threads._SHARE", 100)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(40, 30), (1, 2, 999), (5, 7, 3, 11), (3,), (0, 5)])
def test_everything_arrives_where_it_belongs(threads, shape):
    values = np.random.default_rng(0).random(shape, dtype=np.float32)
    values.flags.writeable = False
    room = np.full([size + 4 for size in shape], -1, dtype=np.float32)
    inside = tuple(slice(2, 2 + size) for size in shape)
    copy_into(room[inside], values)
    np.testing.assert_array_equal(room[inside], values)
    room[inside] = -1
    assert (room == -1).all()


def test_a_number_fills_all(threads):
    array = np.zeros((50, 60), dtype=np.float32)
    copy_into(array, np.float32(np.nan))
    assert np.isnan(array).all()


def test_what_float32_cannot_hold_becomes_infinite(threads):
    array = np.zeros((50, 60), dtype=np.float32)
    copy_into(array, np.full((50, 60), 1e300))
    assert np.isposinf(array).all()


def test_what_does_not_fit_is_an_error_and_no_thread_is_left(threads):
    before = set(threading.enumerate())
    with pytest.raises(ValueError, match="broadcast"):
        copy_into(np.zeros((40, 40)), np.zeros((7, 40)))
    copy_into(np.zeros((40, 40)), np.ones((40, 40)))
    assert set(threading.enumerate()) <= before
