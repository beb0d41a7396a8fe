"""Runs of a network on first estimates: one job, tiled, out of core, repeated from its recipe."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage

import napari_lucyd as nl
from napari_lucyd.compute.device import FIXED_BYTES
from napari_lucyd.deconvolution import (
    Cancelled,
    first_estimate,
    model_from_recipe,
    options_from_recipe,
    plan,
)
from napari_lucyd.deconvolution.first_stage import job as job_module
from napari_lucyd.psf.gaussian import gaussian_psf
from told_models import blobs, told_model

PARTS = ("output", "correction_mask", "update_term", "intermediate", "first_estimate")


@pytest.fixture(scope="module")
def model():
    return told_model(3)


@pytest.fixture(scope="module")
def image():
    return blobs(20, 40, 44)


def test_the_parts_explain_the_output(model, image):
    found = nl.deconvolve(image, model, blur_sigma=1.2, outputs=PARTS, device="cpu")
    lo, s = (found.recipe["normalization"][name][0] for name in ("lo", "s"))
    y = (found.first_estimate - lo) / s
    gain, offset = found.recipe["g"], found.recipe["o"]
    product = np.maximum((y + found.correction_mask / s) * found.update_term + offset, 0)
    assert lo + s * product == pytest.approx(found.output, abs=1e-3 * s)
    assert gain is not None
    assert found.intermediate == pytest.approx(found.first_estimate + found.correction_mask, abs=1e-3 * s)


def test_the_first_estimate_is_richardson_lucy_with_the_psf(model, image):
    found = nl.deconvolve(image, model, blur_sigma=1.2, outputs=("first_estimate",), device="cpu")
    alone = first_estimate(image, gaussian_psf((1.2,) * 3))
    assert found.first_estimate == pytest.approx(alone.estimate, abs=float(1e-3 * np.ptp(alone.estimate)))
    stage = found.recipe["first_stage"]
    assert stage["num_iter"] == [alone.num_iter]
    assert stage["level"] == [pytest.approx(alone.level)]
    assert found.recipe["normalization"]["s"] == [pytest.approx(alone.scale, rel=1e-5)]


def test_default_parts_and_those_without_a_first_estimate(model, image, random_model):
    found = nl.deconvolve(image, model, blur_sigma=1.2, device="cpu")
    assert found.first_estimate is None
    assert found.correction_mask is not None
    with pytest.raises(ValueError, match="first_estimate"):
        nl.deconvolve(image, random_model, outputs=("first_estimate",), device="cpu")


@pytest.mark.parametrize("name", ["microscope", "psf", "blur_sigma"])
def test_other_methods_refuse_what_they_cannot_be_told(image, random_model, name):
    given = {"microscope": object(), "psf": np.ones((3, 3, 3)), "blur_sigma": 1.0}[name]
    with pytest.raises(ValueError, match=f"{name} is given, but the model .* does not use the blur"):
        plan(image, random_model, **{name: given})
    with pytest.raises(ValueError, match=f"{name} is given, but Wiener has its own PSF"):
        plan(image, nl.Wiener(np.ones((3, 3, 3))), **{name: given})


def test_its_scale_cannot_be_chosen(model, random_model, image):
    with pytest.raises(ValueError, match="normalization cannot be chosen"):
        plan(image, model, normalization="minmax")
    with pytest.raises(ValueError, match="normalization cannot be chosen"):
        plan(image, random_model, normalization="first_estimate")


def test_tiles_of_the_network_change_nothing(model, image):
    whole = nl.deconvolve(image, model, blur_sigma=1.2, device="cpu").output
    tiled = nl.deconvolve(image, model, blur_sigma=1.2, tile_shape=(8, 16, 16), device="cpu").output
    assert tiled == pytest.approx(whole, abs=float(1e-5 * np.ptp(whole)))


def test_a_region_is_that_part_of_the_whole(model, image):
    region = (slice(4, 12), slice(10, 30), slice(0, 20))
    whole = nl.deconvolve(image, model, blur_sigma=1.2, device="cpu").output
    part = nl.deconvolve(image, model, blur_sigma=1.2, region=region, device="cpu").output
    assert part == pytest.approx(whole[region], abs=float(1e-3 * np.ptp(whole)))


def test_tiles_with_their_own_estimates_where_memory_is_short(model, monkeypatch):
    image = blobs(16, 24, 200)
    whole = nl.deconvolve(image, model, blur_sigma=1.0, outputs=PARTS, device="cpu")
    monkeypatch.setattr(job_module, "free_memory", lambda _: int((FIXED_BYTES + 7e6) / 0.6))
    job = plan(image, model, blur_sigma=1.0, outputs=PARTS, device="cpu")
    assert job.tile_shape[-1] < 200
    assert job.tiles == len(list(job.steps()))  # no estimate of a whole volume comes first
    tiled = job.result()
    for name in ("output", "first_estimate"):
        one, other = getattr(whole, name), getattr(tiled, name)
        assert np.abs(one - other).max() <= 1e-3 * np.ptp(one)


def test_progress_counts_iterations_and_tiles(model, image):
    job = plan(image, model, blur_sigma=1.2, device="cpu")
    steps = list(job.steps())
    assert [step.done for step in steps] == list(range(1, len(steps) + 1))
    assert {step.total for step in steps} == {len(steps)}
    assert job.step_count == len(steps)
    assert "first estimate: iteration 1 of" in steps[0].message
    # The time of a tile is unknown before the first tile, and it differs from that of an iteration.
    first = len(steps) - job.tiles
    assert all(step.seconds_left is None for step in steps[:first])
    assert all(step.seconds_left >= 0 for step in steps[first:])
    assert steps[-1].seconds_left == 0


def test_a_cancel_takes_effect_within_the_first_estimate(model, image):
    job = plan(image, model, blur_sigma=1.2, device="cpu")
    asked = 0

    def should_stop():
        nonlocal asked
        asked += 1
        return asked > 20

    with pytest.raises(Cancelled):
        for _ in job.steps(should_stop):
            pass
    assert np.isnan(job.result().output).all()
    for _ in job.steps():
        pass
    whole = nl.deconvolve(image, model, blur_sigma=1.2, device="cpu").output
    assert job.result().output == pytest.approx(whole, abs=float(1e-5 * np.ptp(whole)))


@pytest.mark.parametrize("told", ["blur_sigma", "psf", "microscope"])
def test_a_recipe_repeats_the_run(model, image, told, tmp_path):
    psf = gaussian_psf((1.0, 1.2, 1.2))
    scope = nl.Microscope("widefield", numerical_aperture=0.8, refractive_index=1.33, emission_um=0.525)
    given = {"blur_sigma": (1.0, 1.2, 1.2), "psf": psf, "microscope": scope}[told]
    voxel_size = (0.4, 0.2, 0.2)
    first = nl.deconvolve(image, model, voxel_size=voxel_size, device="cpu", **{told: given})
    recipe = json.loads(json.dumps(first.recipe))
    if told == "psf":
        with pytest.raises(ValueError, match="give the psf"):
            options_from_recipe(recipe)
        with pytest.raises(ValueError, match="is not that of the recipe"):
            options_from_recipe(recipe, psf + 1)
    options = options_from_recipe(recipe, psf if told == "psf" else None)
    path = nl.save_model(
        tmp_path / "told.safetensors",
        model.network,
        card=model.card,
        normalization=model.card["normalization"],
    )
    again = nl.deconvolve(image, model, **options)
    assert np.array_equal(first.output, again.output)
    assert model_from_recipe({**recipe, "sha256": nl.load_model(path).sha256}, path).name == "told"


def test_missing_voxels_stay_missing_and_harm_nothing(model, image):
    holes = image.copy()
    holes[5:7, 10:14, 20:23] = np.nan
    found = nl.deconvolve(holes, model, blur_sigma=1.2, device="cpu")
    whole = nl.deconvolve(image, model, blur_sigma=1.2, device="cpu")
    assert np.array_equal(np.isnan(found.output), np.isnan(holes))
    far = np.s_[14:, :, :]
    assert found.output[far] == pytest.approx(whole.output[far], abs=float(0.05 * np.ptp(whole.output)))


def test_a_series_shares_its_scale_and_blank_frames_stay_blank(model):
    series = np.stack([blobs(12, 24, 24, seed=1), np.full((12, 24, 24), 100.0), blobs(12, 24, 24, seed=2)])
    found = nl.deconvolve(
        series.astype(np.float32),
        model,
        axes="TZYX",
        blur_sigma=1.0,
        device="cpu",
        outputs=("output", "first_estimate"),
    )
    assert len(found.recipe["first_stage"]["level"]) == 1
    assert np.isfinite(found.output).all()
    blank = found.first_estimate[1]
    assert np.ptp(blank) < 0.02 * np.ptp(found.first_estimate[0])


def test_channels_are_measured_separately_and_may_have_their_own_psf(model):
    channels = np.stack([blobs(12, 24, 24, seed=1), 3 * blobs(12, 24, 24, seed=2) + 500])
    psfs = [gaussian_psf((1.0,) * 3), gaussian_psf((1.6,) * 3)]
    both = nl.deconvolve(channels, model, axes="CZYX", psf=psfs, device="cpu").output
    for channel in (0, 1):
        alone = nl.deconvolve(channels[channel], model, psf=psfs[channel], device="cpu").output
        assert both[channel] == pytest.approx(alone, abs=float(1e-4 * np.ptp(alone)))


def test_constants_are_added_and_factors_multiplied(model, image):
    one = nl.deconvolve(image, model, blur_sigma=1.2, device="cpu").output
    other = nl.deconvolve(4 * image + 1000, model, blur_sigma=1.2, device="cpu").output
    assert other == pytest.approx(4 * one + 1000, abs=float(4e-3 * np.ptp(one)))


def test_a_constant_image_stays_as_it_is(model):
    found = nl.deconvolve(np.full((8, 16, 16), 7.0), model, device="cpu")
    assert np.all(found.output == 7)


def test_planes_of_a_volume_one_by_one():
    stack = blobs(6, 40, 44)
    found = nl.deconvolve(stack, told_model(2), blur_sigma=1.2, device="cpu").output
    assert found.shape == stack.shape


def test_flips_average_mirror_images(model, image):
    small = image[:8, :16, :18]
    found = nl.deconvolve(small, model, blur_sigma=1.2, flips=True, device="cpu").output
    mirrored = nl.deconvolve(small[:, ::-1], model, blur_sigma=1.2, flips=True, device="cpu").output
    assert mirrored[:, ::-1] == pytest.approx(found, abs=float(2e-3 * np.ptp(found)))


def test_into_files_as_in_memory(model, image, tmp_path):
    parts = ("output", "first_estimate")
    paths = nl.deconvolve_to_zarr(
        image, model, tmp_path / "out.ome.zarr", blur_sigma=1.2, outputs=parts, device="cpu"
    )
    memory = nl.deconvolve(image, model, blur_sigma=1.2, outputs=parts, device="cpu")
    from napari_lucyd.io import read_image

    for part in parts:
        stored = read_image(paths[part])
        wanted = getattr(memory, part)
        assert np.abs(stored.data - wanted).max() <= 1e-3 * np.ptp(wanted)
    recipe = stored.metadata["recipe"]
    assert recipe["first_stage"]["blur_sigma"] == [1.2, 1.2, 1.2]


def test_a_prefilter_does_not_hide_the_blur_that_held_out_photons_find(model):
    generator = np.random.default_rng(2)
    light = ndimage.gaussian_filter(2e4 * (generator.random((16, 64, 64)) > 0.998), 1.5)
    image = generator.poisson(light + 20).astype(np.float32)
    plain, filtered = (
        nl.deconvolve(image, model, prefilter=prefilter, device="cpu").recipe for prefilter in (None, 1.0)
    )
    assert filtered["first_stage"]["blur_sigma_found"] == plain["first_stage"]["blur_sigma_found"]
    assert not any("share their noise" in text for text in filtered["warnings"])


@pytest.mark.parametrize(("axes", "shape"), [("TYX", (2, 40, 44)), ("YX", (40, 44)), ("ZYX", (1, 40, 44))])
def test_a_3d_model_works_on_planes(model, axes, shape):
    image = np.resize(blobs(40, 44), shape)
    job = plan(image, model, axes=axes, device="cpu")
    assert 0 < job.estimate_seconds() < 60
    for _ in job.steps():
        pass
    assert np.isfinite(job.result().output).all()


def test_cost_is_planned_for_both_stages(model):
    image = np.broadcast_to(np.float32(0), (64, 256, 256))
    told = plan(image, model, blur_sigma=2.0, device="cpu")
    wide = plan(image, model, blur_sigma=6.0, device="cpu")
    assert wide.memory_bytes > told.memory_bytes > 4 * image.size
    assert wide.estimate_seconds() > told.estimate_seconds() > 0
    # The search for a blur that is not told takes time, too.
    untold, as_wide = (plan(image, model, device="cpu", **blur) for blur in ({}, {"blur_sigma": 2.5}))
    assert untold.estimate_seconds() > 1.2 * as_wide.estimate_seconds()
    assert "first estimate with a PSF of 17 × 17 × 17" in told.description
    assert told.work.startswith("first estimate, then 1")


def test_a_microscope_of_a_thin_stack_is_cut_to_what_matters(model):
    scope = nl.Microscope("widefield", numerical_aperture=0.5, refractive_index=1.0, emission_um=0.525)
    job = plan(np.zeros((5, 64, 64)), model, microscope=scope, voxel_size=(1.0, 0.3, 0.3), device="cpu")
    said = job.description
    assert "the bright part of the PSF, 9 ×" in said or "the bright part of the PSF, 7 ×" in said


def test_a_psf_with_dark_ends_has_one_size_for_every_method(model):
    psf = np.pad(nl.RichardsonLucy(np.ones((5, 5, 5))).kernel, 6)
    volume = np.zeros((12, 20, 20))
    methods = ((model, {"psf": psf}), (nl.RichardsonLucy(psf), {}))
    for method, told in methods:
        assert "with a PSF of 17 × 17 × 17" in plan(volume, method, device="cpu", **told).description
    both = plan(np.zeros((2, 12, 20, 20)), model, psf=[psf, psf[2:-2]], axes="CZYX", device="cpu")
    assert "with 2 PSFs of up to 17 × 17 × 17" in both.description
