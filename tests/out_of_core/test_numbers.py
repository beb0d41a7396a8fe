"""Numbers of classical methods are found once for a volume, whatever computes its parts."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import numpy as np
import pytest
import zarr
from scipy import ndimage

import napari_lucyd as nl
from napari_lucyd.deconvolution import Cancelled
from napari_lucyd.deconvolution.classical import run as classical_run
from napari_lucyd.io import read_image
from napari_lucyd.io import zarr as zarr_io
from napari_lucyd.out_of_core import partial_path, plan_to_zarr
from napari_lucyd.psf.gaussian import gaussian_psf

PSF = gaussian_psf((0.8, 1.2, 1.2))


@pytest.fixture
def image(monkeypatch) -> np.ndarray:
    """Two volumes with photon noise, stored in four chunks each."""
    monkeypatch.setattr(zarr_io, "_CHUNK", {"T": 1, "C": 1, "Z": 8, "Y": 32, "X": 32})
    random = np.random.default_rng(0)
    points = 400.0 * (random.random((2, 4, 64, 64)) > 0.98)
    light = 20 + ndimage.gaussian_filter(points, (0, 0.8, 1.2, 1.2))
    return (random.poisson(light) + random.normal(100, 1, light.shape)).astype(np.float32)


@pytest.fixture
def searches(monkeypatch) -> list[tuple[int, ...]]:
    """Shapes of the volumes that numbers are found in."""
    found = []
    decide = classical_run.decide

    def counted(method, values, device, ask):
        found.append(values.shape)
        return decide(method, values, device, ask)

    monkeypatch.setattr(classical_run, "decide", counted)
    return found


@pytest.mark.parametrize("method", [nl.RichardsonLucy(PSF), nl.SemiBlind()], ids=["psf", "semi-blind"])
def test_a_resumed_run_finds_no_numbers_again(image, searches, tmp_path, method):
    out = tmp_path / "out.ome.zarr"
    plan = partial(plan_to_zarr, image, method, out, axes="TZYX", device="cpu", tile_shape=(8, 32, 32))
    done = []
    job = plan()
    with suppress(Cancelled):
        for step in job.steps(lambda: len(done) >= 3):
            done.append(step)
    assert len(searches) == 2  # one for each volume, before the first of its tasks
    assert partial_path(out).exists()
    job = plan()
    list(job.steps())
    assert job.resumed >= 3
    assert len(searches) == 2
    recipe = read_image(out).metadata["recipe"]["method"]
    assert len(recipe["iterations"]) == len(recipe["held_out"]) == len(recipe["background_found"]) == 2
    assert all(len(point) == 3 for curve in recipe["held_out"] for point in curve)
    expected = nl.deconvolve(image, method, axes="TZYX", device="cpu", tile_shape=(8, 32, 32))
    np.testing.assert_allclose(
        zarr.open_group(out, mode="r")["0"][...], expected.output, rtol=1e-4, atol=1e-2
    )
    for name in ("iterations", "held_out", "background_found"):
        assert recipe[name] == expected.recipe["method"][name]


def test_tasks_of_whole_volumes_put_their_numbers_into_the_recipe(image, searches, tmp_path):
    out = tmp_path / "out.ome.zarr"
    list(plan_to_zarr(image, nl.RichardsonLucy(PSF), out, axes="TZYX", device="cpu").steps())
    assert len(searches) == 2
    recipe = read_image(out).metadata["recipe"]["method"]
    expected = nl.deconvolve(image, nl.RichardsonLucy(PSF), axes="TZYX", device="cpu").recipe["method"]
    for name in ("iterations", "held_out", "background_found"):
        assert recipe[name] == expected[name]


def test_a_psf_for_each_channel_reaches_the_tasks(image, tmp_path):
    psfs = [PSF, gaussian_psf((1.5, 2, 2))]
    method = nl.RichardsonLucy(psfs, num_iter=3)
    for name, tiles in (("whole", None), ("tiles", (8, 32, 32))):
        out = tmp_path / f"{name}.ome.zarr"
        list(plan_to_zarr(image, method, out, axes="CZYX", device="cpu", tile_shape=tiles).steps())
        expected = nl.deconvolve(image, method, axes="CZYX", device="cpu", tile_shape=tiles).output
        np.testing.assert_allclose(zarr.open_group(out, mode="r")["0"][...], expected, rtol=1e-4, atol=1e-2)
