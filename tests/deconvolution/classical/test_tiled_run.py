"""Richardson-Lucy in tiles: the same result as on the whole volume, in less memory."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.signal import fftconvolve

import napari_lucyd as nl
from napari_lucyd.deconvolution import Cancelled, method_from_recipe, options_from_recipe, plan
from napari_lucyd.deconvolution.classical import job as classical_job
from napari_lucyd.deconvolution.classical.tiled_run import halo_of, largest_tile
from napari_lucyd.errors import OutOfMemory

OPTICS = {"numerical_aperture": 0.8, "refractive_index": 1.33, "emission_um": 0.525}


def imaged(shape: tuple[int, ...], psf: np.ndarray) -> np.ndarray:
    truth = np.asarray(nl.make_phantom(shape, rng=3), float) - 30
    blurred = np.clip(fftconvolve(truth, psf / psf.sum(), mode="same"), 0, None) + 30
    return (np.random.default_rng(0).poisson(2 * blurred) / 2).astype(np.float32)


def wide_gaussian(size: int, sigma: float) -> np.ndarray:
    line = np.exp(-0.5 * ((np.arange(size) - size // 2) / sigma) ** 2)
    return line[:, None, None] * line[:, None] * line


@pytest.mark.parametrize(
    ("psf", "shape", "tile"),
    [
        (nl.make_psf("widefield", (31, 31, 31), voxel_size=0.1625, **OPTICS), (24, 32, 150), (24, 32, 50)),
        (wide_gaussian(31, 4), (24, 40, 180), (24, 40, 60)),
        (nl.make_psf("widefield", (63, 101, 101), voxel_size=0.1625, **OPTICS), (20, 32, 220), (20, 32, 55)),
    ],
    ids=["31", "wide 31", "63 × 101 × 101"],
)
def test_tiles_give_what_the_whole_volume_gives(psf, shape, tile):
    image = imaged(shape, psf)
    method = nl.RichardsonLucy(psf, num_iter=20)
    whole = nl.deconvolve(image, method, device="cpu").output
    job = plan(image, method, tile_shape=tile, device="cpu")
    assert "tiles of" in job.work and job.tiles == 20 * -(-shape[2] // tile[2])
    steps = list(job.steps())
    result = job.result()
    assert np.abs(result.output - whole).max() <= 1e-3 * np.ptp(whole)
    assert steps[-1].done == steps[-1].total == len(steps)
    assert result.recipe["tile_shape"] == list(tile) and max(result.recipe["halo"]) == job.halo
    # The first tile does not depend on the last one, because its block does not reach it.
    assert tile[2] + job.halo < shape[2]


@pytest.fixture
def small():
    psf = wide_gaussian(5, 1)
    return imaged((20, 40, 100), psf), psf


def test_a_recipe_repeats_a_run_in_tiles(small):
    image, psf = small
    run = nl.deconvolve(image, nl.RichardsonLucy(psf, num_iter=5), tile_shape=(20, 20, 30), device="cpu")
    recipe = json.loads(json.dumps(run.recipe))
    again = nl.deconvolve(image, method_from_recipe(recipe, psf), **options_from_recipe(recipe))
    np.testing.assert_array_equal(again.output, run.output)


def test_all_numbers_are_found_before_the_first_tile(small):
    image, psf = small
    run = nl.deconvolve(image, nl.RichardsonLucy(psf), tile_shape=(20, 40, 40), device="cpu")
    whole = nl.deconvolve(image, nl.RichardsonLucy(psf), device="cpu")
    for name in ("iterations", "background_found", "held_out"):
        assert run.recipe["method"][name] == whole.recipe["method"][name]
    assert np.abs(run.output - whole.output).max() <= 1e-3 * np.ptp(whole.output)


def test_a_volume_that_does_not_fit_is_cut_into_tiles_that_do(small, monkeypatch):
    image, psf = small
    method = nl.RichardsonLucy(psf, num_iter=3)
    whole = plan(image, method, device="cpu")
    list(whole.steps())
    few = whole.memory_bytes - 4 * image.size - 2**20
    monkeypatch.setattr(classical_job, "_SHARE", 1.0)
    monkeypatch.setattr(classical_job, "free_memory", lambda device: few)
    job = plan(image, method, device="cpu")
    assert job.tile_shape != whole.tile_shape and job.memory_bytes < whole.memory_bytes
    assert not job.warnings
    list(job.steps())
    difference = job.result().output - whole.result().output
    assert np.abs(difference).max() <= 1e-3 * np.ptp(whole.result().output)
    monkeypatch.setattr(classical_job, "free_memory", lambda device: 2**20)
    with pytest.raises(OutOfMemory, match="whole volume of 20 × 40 × 100"):
        list(plan(image, method, device="cpu").steps())


def test_a_cancel_keeps_the_finished_tiles(small):
    image, psf = small
    stack = np.stack([image, image + 50])
    job = plan(stack, nl.RichardsonLucy(psf, num_iter=4), axes="TZYX", tile_shape=(20, 40, 50), device="cpu")
    kept = np.zeros(stack.shape, bool)

    def follow():
        for step in job.steps(lambda: bool(kept.any())):
            kept[step.region] = True

    with pytest.raises(Cancelled, match="1 of 4 tiles"):
        follow()
    np.testing.assert_array_equal(np.isnan(job.result().output), ~kept)
    assert list(job.steps())[-1].done == job.tiles == 16
    whole = nl.deconvolve(
        stack, nl.RichardsonLucy(psf, num_iter=4), axes="TZYX", tile_shape=(20, 40, 50), device="cpu"
    )
    np.testing.assert_array_equal(job.result().output, whole.output)
    assert whole.recipe["method"]["iterations"] == [4, 4]


def test_an_early_stop_is_refused_in_words_where_tiles_have_to_agree(small):
    image, psf = small
    method = nl.RichardsonLucy(psf, num_iter=4, tolerance=0.5)
    job = plan(image, method, tile_shape=(20, 40, 50), device="cpu")
    assert any("early stop is not used" in text for text in job.warnings)
    list(job.steps())
    assert job.result().recipe["method"]["iterations"] == [4]


def test_the_halo_grows_with_the_psf_and_the_iterations():
    few, many = (halo_of(wide_gaussian(31, 4), number) for number in (4, 64))
    assert all(15 < a < b for a, b in zip(few, many, strict=True))
    assert halo_of(wide_gaussian(31, 2), 64) < many
    assert halo_of(np.ones((1, 1, 1), np.float32), 64) == (0, 0, 0)


def test_the_largest_tiles_are_as_large_as_fits():
    def fits(block):
        return np.prod(block) <= 2**20

    tile = largest_tile((64, 512, 512), (64, 512, 512), (8, 8, 8), fits)
    block = [min(n, t + 16) for n, t in zip((64, 512, 512), tile, strict=True)]
    assert fits(block) and not fits([2 * n for n in block])
    assert largest_tile((64, 64, 64), (64, 64, 64), (40, 40, 40), lambda block: False) is None
