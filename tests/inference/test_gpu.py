"""Tests that need a CUDA device: its results equal the processor's, and it frees its memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_lucyd.compute.device import choose_device
from napari_lucyd.deconvolution import deconvolve, plan
from napari_lucyd.deconvolution.learned import pipeline
from napari_lucyd.deconvolution.learned.transfer import Transfer
from napari_lucyd.inference.forward import compile_where_possible, prepare
from napari_lucyd.inference.half_precision import HARMLESS
from napari_lucyd.inference.lucyd.cuda import CudaLucyd, unsupported_reason
from napari_lucyd.models import load_model
from napari_lucyd.training import train
from small_training import SMALL

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
DEVICE = "cuda"
PARTS = ("output", "correction_mask", "update_term", "intermediate")


def image(*shape):
    return (np.random.default_rng(0).random(shape) * 200 + 20).astype(np.float32)


@pytest.mark.parametrize(("name", "shape"), [("general", (12, 40, 44)), ("planes", (60, 64))])
def test_networks_give_what_they_give_on_the_processor(name, shape):
    volume, model = image(*shape), load_model(name)

    there, here = (deconvolve(volume, model, device=kind, outputs=PARTS) for kind in (DEVICE, "cpu"))

    assert there.recipe["device"]["torch"].startswith(DEVICE)
    for part in PARTS:
        expected = getattr(here, part)
        # Float32 sums of two libraries; the division may amplify their difference.
        atol = 1e-4 * max(np.ptp(expected), 1)
        np.testing.assert_allclose(getattr(there, part), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["general", "planes"])
def test_kernels_of_our_own_run_there(name):
    network = load_model(name).network
    assert unsupported_reason("cuda:0") == ""
    device = compile_where_possible(network, choose_device(DEVICE))
    assert device.compiled and isinstance(prepare(network, device), CudaLucyd)


@pytest.mark.parametrize(("name", "shape"), [("general", (12, 40, 44)), ("nuclei", (12, 40, 44))])
def test_half_precision_is_within_what_the_card_allows(name, shape):
    volume, model = image(*shape), load_model(name)

    there = deconvolve(volume, model, device=DEVICE, precision="float16")
    here = deconvolve(volume, model, device="cpu")

    assert there.recipe["precision"] == "float16" and there.recipe["device"]["torch"].startswith(DEVICE)
    np.testing.assert_allclose(there.output, here.output, rtol=0, atol=HARMLESS * np.ptp(here.output))


def test_tiles_give_what_the_whole_gives():
    volume, model = image(12, 40, 44), load_model("general")

    whole, tiled = (
        deconvolve(volume, model, device=DEVICE, tile_shape=tile, outputs=("output",)).output
        for tile in (volume.shape, (6, 16, 20))
    )

    # The acceptance tolerance, as a share of the range.
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * np.ptp(volume))


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_copies_beside_the_computing_never_meet_it(precision, monkeypatch):
    # Many tiles of several volumes, so that a piece of memory that is used too early would be found.
    series, model = image(3, 24, 96, 96), load_model("general")
    options = {"axes": "TZYX", "tile_shape": (12, 24, 24), "outputs": PARTS, "precision": precision}
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "LAUNCHES_AHEAD", ())
        patch.setattr(pipeline, "READS_AHEAD", ())
        patch.setattr(pipeline, "transfer", Transfer)
        expected = deconvolve(series, model, device=DEVICE, **options)

    for _ in range(3):
        there = deconvolve(series, model, device=DEVICE, **options)
        for part in PARTS:
            # The library may choose other kernels from run to run, which sum in another order.
            atol = (1e-5 if precision == "float32" else HARMLESS) * np.ptp(getattr(expected, part))
            np.testing.assert_allclose(getattr(there, part), getattr(expected, part), rtol=0, atol=atol)


def test_where_no_memory_can_be_pinned_copies_are_waited_for(monkeypatch):
    volume, model = image(12, 40, 44), load_model("general")
    expected = deconvolve(volume, model, device=DEVICE, tile_shape=(6, 16, 20)).output

    empty, refused = torch.empty, []

    def refuse(*args, **keywords):
        if keywords.get("pin_memory"):
            refused.append(args)
            raise RuntimeError("CUDA error: out of memory")
        return empty(*args, **keywords)

    monkeypatch.setattr(torch, "empty", refuse)
    there = deconvolve(volume, model, device=DEVICE, tile_shape=(6, 16, 20)).output
    assert refused
    np.testing.assert_allclose(there, expected, rtol=0, atol=1e-5 * np.ptp(expected))


def test_a_plan_tells_the_memory_that_its_run_takes_at_most():
    job = plan(image(32, 128, 128), load_model("general"), device=DEVICE)
    torch.cuda.reset_peak_memory_stats()
    for _ in job.steps():
        pass
    assert torch.cuda.max_memory_allocated() <= job.memory_bytes


def test_a_network_trains_and_its_model_runs(tmp_path):
    path = train(SMALL, tmp_path, device=DEVICE)

    model = load_model(path)
    assert model.card["training"]["device"] == DEVICE
    assert np.isfinite(deconvolve(image(40, 44), model, device=DEVICE).output).all()
