"""Results do not depend on torch's settings that other code in the process has changed."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch

import napari_lucyd as nl
from napari_lucyd.deconvolution import deconvolve


@contextmanager
def float64():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def meta():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


SETTINGS = {"float64": float64, "meta": meta, "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16)}


def run(case, image):
    if case == "wiener":
        return deconvolve(image, nl.Wiener(np.ones((3, 3))), device="cpu")
    if case == "total variation":
        method = nl.RichardsonLucy(np.ones((3, 3)), num_iter=3, total_variation=0.01)
        return deconvolve(image, method, device="cpu")
    model = nl.load_model("planes")
    return deconvolve(
        image, model, device="cpu", flips=case == "flips", prefilter="auto", subtract_background="auto"
    )


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("case", ["lucyd", "torch", "flips", "wiener", "total variation"])
def test_defaults_and_autocast_of_others_change_nothing(case, setting, monkeypatch):
    if case == "torch":
        from napari_lucyd.inference import forward

        monkeypatch.setattr(forward, "unsupported_reason", lambda: "tested without compiled kernels")
    image = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    expected = run(case, image)
    with SETTINGS[setting]():
        found = run(case, image)
    for part in ("output", "correction_mask", "update_term"):
        mine, its = getattr(found, part), getattr(expected, part)
        if its is not None:
            assert mine.dtype == np.float32
            np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("setting", ["float64", "meta"])
@pytest.mark.parametrize("name", ["general", "nuclei-rln", "nuclei-care"])
def test_models_are_loaded_in_float32_on_the_processor(name, setting):
    with SETTINGS[setting]():
        network = nl.load_model(name).network
    assert {(p.dtype, p.device.type) for p in network.parameters()} == {(torch.float32, "cpu")}
