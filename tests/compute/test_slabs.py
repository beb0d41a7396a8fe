"""Arithmetic slab by slab gives the same as on the whole volume."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_lucyd as nl
from napari_lucyd.compute import slabs as module
from napari_lucyd.compute.slabs import slabs
from napari_lucyd.errors import DeconvolutionError

NAMES = ("output", "correction_mask", "update_term", "intermediate")


@pytest.mark.parametrize("shape", [(1, 3), (7, 300, 300), (513, 200), (2, 1024, 1024)])
def test_slabs_cover_a_volume_once(shape):
    found = slabs(torch.Size(shape), torch.device("cpu"))
    assert [index for slab in found for index in range(shape[0])[slab]] == list(range(shape[0]))


@pytest.mark.parametrize(("shape", "model"), [((9, 40, 48), "nuclei"), ((50, 60), "planes")])
@pytest.mark.parametrize("voxel_size", [None, "other"])
def test_results_do_not_depend_on_slabs(shape, model, voxel_size, monkeypatch):
    image = np.random.default_rng(1).random(shape, np.float32)
    told = {} if voxel_size is None or len(shape) == 2 else {"voxel_size": (0.3, 0.1, 0.1)}

    def parts():
        result = nl.deconvolve(image, model, outputs=NAMES, device="cpu", **told)
        return [getattr(result, name) for name in NAMES]

    monkeypatch.setattr(module, "_VOXELS", 10**9)
    whole = parts()
    monkeypatch.setattr(module, "_VOXELS", 4000)
    for one, other in zip(whole, parts(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_value_that_is_not_finite_is_found_in_any_slab(monkeypatch):
    monkeypatch.setattr(module, "_VOXELS", 4000)
    model = nl.load_model("nuclei")
    with torch.no_grad():
        model.network.rescale.bias.fill_(float("nan"))
    with pytest.raises(DeconvolutionError, match="finite"):
        nl.deconvolve(np.random.default_rng(1).random((9, 40, 48), np.float32), model, device="cpu")
