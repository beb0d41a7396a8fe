"""A planned run: its facts, its steps, cancelling, running out of memory, devices."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import numpy as np
import pytest
import torch

from napari_lucyd.deconvolution import (
    Cancelled,
    DeconvolutionError,
    Device,
    OutOfMemory,
    RichardsonLucy,
    deconvolve,
    plan,
)
from napari_lucyd.deconvolution import api as api_module
from napari_lucyd.deconvolution.learned import pipeline as pipeline_module
from napari_lucyd.inference.lucyd.cpu import CompiledLucyd, unsupported_reason
from napari_lucyd.networks import LUCYD


def image(*shape, seed=0):
    return (np.random.default_rng(seed).random(shape) * 200 + 20).astype(np.float32)


def test_a_plan_says_what_a_run_will_take(random_model):
    job = plan(image(2, 3, 12, 20, 25), random_model, voxel_size=(3, 1, 1), tile_shape=(12, 20, 14))
    assert (job.axes, job.resampled, job.halo, job.tile_shape) == ("TCZYX", True, 24, (12, 20, 14))
    assert job.description == "T 2 × C 3 × Z 12 × Y 20 × X 25, Z resampled ×3"
    assert job.tiles == 2 * 3 * 2 and job.output_shape == (2, 3, 12, 20, 25)
    # (Z: 12 planes are 36 of the network's grid and 4 for the interpolation) with halo, even, in full
    block = (2 + 33 + 3 + 48) * (20 + 48) * (14 + 48)
    results = 3 * 4 * 2 * 3 * 12 * 20 * 25
    assert results + 40 * block < job.memory_bytes < results + 200 * block + 2**27
    assert job.device.torch == "cpu" and job.device.name.startswith("CPU, ") and not job.device.reason
    assert job.warnings == []


def test_no_error_of_ours_is_one_that_gui_workers_swallow():
    assert not any(issubclass(e, RuntimeError) for e in (Cancelled, OutOfMemory, DeconvolutionError))


def run_until_cancelled(job, should_stop):
    """The steps that were finished."""
    finished = []
    try:
        finished.extend(job.steps(should_stop))
    except Cancelled:
        return finished
    raise AssertionError("not cancelled")


def test_a_cancel_is_heard_before_the_next_layer(random_model_2d):
    polls = 0

    def should_stop():
        nonlocal polls
        polls += 1
        return polls > 60

    finished = run_until_cancelled(plan(image(40, 40), random_model_2d, tile_shape=(20, 20)), should_stop)
    assert polls == 61  # never asked again, so nothing more was computed
    # The network has some sixty layers, and each of them asks.
    assert len(finished) <= 1


def test_what_was_finished_before_a_cancel_is_kept_and_the_rest_is_nan(random_model_2d):
    plane = image(40, 40)
    job = plan(plane, random_model_2d, tile_shape=(20, 20))
    done = np.zeros(plane.shape, dtype=bool)
    stop = threading.Event()

    def follow():
        for step in job.steps(stop.is_set):
            done[step.region] = True
            if step.done == 2:
                stop.set()

    with pytest.raises(Cancelled, match="2 of 4"):
        follow()
    result = job.result()
    np.testing.assert_array_equal(np.isnan(result.output), ~done)
    assert result.recipe["complete"] is False
    # It continues from there.
    assert [step.done for step in job.steps()] == [3, 4]
    assert job.result().recipe["complete"] is True
    whole = deconvolve(plane, random_model_2d, tile_shape=(20, 20))
    np.testing.assert_array_equal(job.result().output, whole.output)


def test_a_cancel_within_a_tile_takes_less_than_two_seconds(random_model):
    job = plan(image(48, 160, 160), random_model)
    job.measure()
    stop = threading.Event()
    pressed = []

    def press():
        pressed.append(time.perf_counter())
        stop.set()

    threading.Timer(0.1, press).start()
    assert run_until_cancelled(job, stop.is_set) == []
    assert time.perf_counter() - pressed[0] < 2


def test_measuring_can_be_cancelled(random_model_2d):
    with pytest.raises(Cancelled):
        plan(image(9, 9), random_model_2d).measure(lambda: True)


def test_before_the_first_step_the_result_is_nan(random_model_2d):
    result = plan(image(9, 9), random_model_2d).result()
    assert np.isnan(result.output).all() and not result.recipe["complete"]


def test_no_inference_mode_is_held_across_a_step(random_model_2d):
    for _ in plan(image(20, 20), random_model_2d, tile_shape=(10, 20)).steps():
        assert not torch.is_inference_mode_enabled()


def test_an_abandoned_run_leaves_nothing_behind(random_model_2d):
    steps = plan(image(20, 20), random_model_2d, tile_shape=(10, 10)).steps()
    next(steps)
    steps.close()
    assert not torch.is_inference_mode_enabled()


def wrap(monkeypatch, wrapped):
    """Wrap the network's pass, whatever computes it."""
    unsupported_reason()  # tries a network, once
    for kind, name in ((LUCYD, "forward"), (CompiledLucyd, "__call__")):
        monkeypatch.setattr(kind, name, wrapped(getattr(kind, name)))


def fail_above(monkeypatch, voxels, error):
    """Let the network fail for blocks of more than this number of voxels; return the sizes of all blocks."""
    asked = []

    def wrapped(run):
        def forward(self, y, *inside):
            asked.append(y.numel())
            if y.numel() > voxels:
                raise error
            return run(self, y, *inside)

        return forward

    wrap(monkeypatch, wrapped)
    return asked


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_tile_and_goes_on(random_model_2d, monkeypatch, error):
    series = image(2, 60, 50)
    expected = deconvolve(series, random_model_2d, axes="TYX")
    asked = fail_above(monkeypatch, 90 * 90, error)
    job = plan(series, random_model_2d, axes="TYX", tile_shape=(60, 50))
    covered = np.zeros(series.shape, dtype=int)
    for step in job.steps():
        covered[step.region] += 1
        assert step.done <= step.total
    assert (covered == 1).all() and step.done == step.total == job.tiles
    result = job.result()
    span = np.ptp(expected.output)
    # Random weights amplify rounding (see test_deconvolve.py); seams would be a thousand times as large.
    assert np.abs(result.output - expected.output).max() < 1e-4 * span
    assert "ran out of memory with tiles of 60 × 50" in result.warnings[0]
    assert result.recipe["tile_shape"] == list(job.tile_shape) != [60, 50]
    # A tile size that failed once is not tried again in the next volume.
    assert sum(voxels > 90 * 90 for voxels in asked) <= 2


def test_memory_that_suffices_for_nothing_is_an_error_in_words(random_model_2d, monkeypatch):
    fail_above(monkeypatch, 10, MemoryError())
    with pytest.raises(OutOfMemory, match="too little memory even for a block of"):
        deconvolve(image(60, 50), random_model_2d)


def test_other_errors_of_torch_become_ours(random_model_2d, monkeypatch):
    fail_above(monkeypatch, 0, RuntimeError("no kernel image is available"))
    with pytest.raises(DeconvolutionError, match="no kernel image"):
        deconvolve(image(9, 9), random_model_2d)


def test_a_device_that_cannot_run_the_network_is_replaced_by_the_cpu_and_named(random_model_2d, monkeypatch):
    if torch.backends.mps.is_available():
        pytest.skip("this machine has the device")
    monkeypatch.setattr(api_module, "choose_device", lambda wish: Device("mps", "Apple GPU"))
    plane = image(20, 20)
    result = deconvolve(plane, random_model_2d)
    np.testing.assert_array_equal(result.output, deconvolve(plane, random_model_2d, device="cpu").output)
    assert result.recipe["device"]["torch"] == "cpu"
    assert "Apple GPU could not run the network" in result.recipe["device"]["reason"]
    assert "CPU" in result.warnings[0]


def test_memory_is_released_after_a_run_a_cancel_and_an_error(random_model_2d, monkeypatch):
    released = []
    monkeypatch.setattr(pipeline_module, "release_after_run", lambda device: released.append(device.torch))
    deconvolve(image(9, 9), random_model_2d)
    job = plan(image(9, 9), random_model_2d)
    job.measure()
    with pytest.raises(Cancelled):
        list(job.steps(lambda: True))
    assert released == ["cpu", "cpu"]


@pytest.mark.parametrize("error", [Cancelled("stopped"), RuntimeError("no kernel image is available")])
def test_an_error_does_not_hold_on_to_the_memory_of_its_block(random_model_2d, monkeypatch, error):
    block = []

    def wrapped(run):
        def forward(self, y, *inside):
            parts = run(self, y, *inside)
            block.extend([weakref.ref(y), weakref.ref(parts.output)])
            raise error

        return forward

    wrap(monkeypatch, wrapped)
    with pytest.raises((Cancelled, DeconvolutionError)) as raised:
        list(plan(image(12, 20), random_model_2d).steps())
    assert raised.value.__traceback__ is not None
    assert [tensor() for tensor in block] == [None, None]


def test_seconds_are_estimated_within_reason(random_model_2d):
    """The promise is a factor of two; a loaded machine that runs tests gets a factor of four."""
    job = plan(image(700, 800), random_model_2d)
    estimate = job.estimate_seconds()
    began = time.perf_counter()
    list(job.steps())
    assert estimate / 4 < time.perf_counter() - began < estimate * 4
    assert job.estimate_seconds() == estimate  # remembered, because a second measurement would differ


def test_results_too_large_for_memory_are_warned_of(random_model):
    huge = np.broadcast_to(np.float32(0), (400, 40_000, 40_000))
    job = plan(huge, random_model)
    assert "GB of memory" in job.warnings[0]
    assert min(job.tile_shape) > 32  # and do not make the tiles ever smaller
    began = time.perf_counter()
    assert job.tiles > 10_000 and job.memory_bytes > 10**12 and len(job.description) < 60
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize("method", ["network", "classical"])
def test_results_are_let_go_with_their_job(random_model, method):
    """They go at once: otherwise a run over many tiles would fill the memory before the collector runs."""
    psf = np.ones((3, 3, 3), np.float32)
    chosen = random_model if method == "network" else RichardsonLucy(psf, num_iter=1)
    gc.collect()
    gc.disable()
    try:
        job = plan(image(6, 10, 8), chosen)
        for _ in job.steps():
            pass
        output = job.result().output
        watched = weakref.ref(output)
        del job, output
        assert watched() is None
    finally:
        gc.enable()
