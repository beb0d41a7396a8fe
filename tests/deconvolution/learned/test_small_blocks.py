"""Several small volumes at a time give the results of one after another."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from napari_lucyd.deconvolution import Cancelled, deconvolve, plan
from napari_lucyd.deconvolution.learned import pipeline, small_blocks
from napari_lucyd.deconvolution.learned.small_blocks import SmallBlocks
from napari_lucyd.inference.lucyd import cpu

PARTS = ("output", "correction_mask", "update_term")


@pytest.fixture
def threads(monkeypatch):
    """Two threads, however many cores there are, also for a short series."""
    monkeypatch.setattr(small_blocks, "_FEW_BLOCKS", 8)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def made(monkeypatch):
    """The groups of threads that were made."""
    found = []
    real = SmallBlocks.__init__

    def counted(self, *arguments):
        found.append(self)
        real(self, *arguments)

    monkeypatch.setattr(SmallBlocks, "__init__", counted)
    return found


@pytest.fixture
def series():
    """Volumes of which one has a NaN and one is constant."""
    values = np.random.default_rng(0).random((12, 6, 16, 18), dtype=np.float32) * 200
    values[3, 1, 4, 5] = np.nan
    values[5] = 7
    return values


@pytest.fixture(params=["direct", "told"])
def options(request, random_model):
    if request.param == "direct":
        return {"model": random_model, "device": "cpu", "axes": "TZYX"}
    return {"model": "lucyd", "device": "cpu", "axes": "TZYX", "blur_sigma": 1.2}


def running():
    return [each for each in threading.enumerate() if each.name.startswith("lucyd-blocks")]


def test_a_series_gives_the_same_as_its_volumes_one_by_one(series, options, threads, made):
    together = deconvolve(series, **options)
    assert len(made) == 1 and made[0].threads == 2 and not running()
    torch.set_num_threads(1)
    one_by_one = deconvolve(series, **options)
    assert len(made) == 1
    for part in PARTS:
        np.testing.assert_array_equal(getattr(together, part), getattr(one_by_one, part))


def test_a_finite_series_is_estimated_as_it_is_read(series, threads, made):
    series = np.nan_to_num(series)
    options = {"model": "lucyd", "device": "cpu", "axes": "TZYX", "blur_sigma": 1.2}
    job = plan(series, **options)
    steps = [*job.steps()]
    assert [step.done for step in steps] == [*range(1, 13)] and steps[-1].total == 12
    torch.set_num_threads(1)
    np.testing.assert_array_equal(job.result().output, deconvolve(series, **options).output)


def test_a_series_is_computed_on_other_threads_than_the_callers(series, random_model, threads, monkeypatch):
    seen = set()
    real = cpu.CompiledLucyd._compute

    def counted(self, *arguments):
        seen.add(threading.current_thread().name)
        return real(self, *arguments)

    monkeypatch.setattr(cpu.CompiledLucyd, "_compute", counted)
    deconvolve(series, random_model, device="cpu", axes="TZYX")
    assert seen and all(name.startswith("lucyd-blocks") for name in seen)


def test_a_stopped_series_leaves_no_thread_and_goes_on(series, options, threads):
    job = plan(series, **options)
    stop = threading.Event()
    steps = job.steps(stop.is_set)
    for _ in range(3):
        next(steps)
    stop.set()
    with pytest.raises(Cancelled):
        next(steps)
    assert not running()
    assert [*job.steps()]
    np.testing.assert_array_equal(job.result().output, deconvolve(series, **options).output)


def test_an_error_of_a_volume_counts_in_its_turn(series, random_model, threads, monkeypatch):
    real = pipeline.parts_on_device
    calls = []

    def failing(*arguments):
        calls.append(None)
        if len(calls) == 5:
            raise OSError("gone")
        return real(*arguments)

    monkeypatch.setattr(pipeline, "parts_on_device", failing)
    job = plan(series, random_model, device="cpu", axes="TZYX")
    done = []
    with pytest.raises(OSError, match="gone"):
        done.extend(job.steps())
    assert not running()
    # Two volumes are in work at a time, so the fifth call may be that of a neighbour.
    assert 3 <= len(done) <= 6
    monkeypatch.setattr(pipeline, "parts_on_device", real)
    for _ in job.steps():
        pass
    expected = deconvolve(series, random_model, device="cpu", axes="TZYX")
    np.testing.assert_array_equal(job.result().output, expected.output)


@pytest.mark.parametrize("change", [{"shape": (7, 6, 16, 18)}, {"shape": (12, 16, 64, 64)}, {"flips": True}])
def test_few_or_large_volumes_and_mirrored_ones_are_computed_one_by_one(change, random_model, threads, made):
    change = dict(change)
    values = np.random.default_rng(1).random(change.pop("shape", (12, 4, 8, 8)), dtype=np.float32) * 99
    deconvolve(values, random_model, device="cpu", axes="TZYX", **change)
    assert not made
