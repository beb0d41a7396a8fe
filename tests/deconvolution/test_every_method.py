"""One contract for every method: LUCYD, RLN, CARE, Richardson-Lucy and Wiener, for planes and for volumes."""

from __future__ import annotations

import copy
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import ndimage

import napari_lucyd as nl
from napari_lucyd.compute.device import Device
from napari_lucyd.deconvolution import (
    Cancelled,
    OutOfMemory,
    deconvolve,
    method_from_recipe,
    options_from_recipe,
    plan,
)
from napari_lucyd.deconvolution import api as api_module
from napari_lucyd.deconvolution.classical import job as classical_job
from napari_lucyd.deconvolution.findings import negative_voxels_text
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.preprocessing.background import estimate_background
from napari_lucyd.models import Model
from napari_lucyd.spans import Span

SHAPES = {2: (21, 18), 3: (7, 13, 11)}
SMALL = {2: (13, 11), 3: (3, 6, 5)}

NETWORKS = ["lucyd", "rln", "care"]
CLASSICAL = ["richardson-lucy", "wiener"]
# Methods for tests in which the number of axes does not matter.
FOR_PLANES = ["lucyd", *CLASSICAL]
CASES = [(kind, 3) for kind in NETWORKS + CLASSICAL] + [(kind, 2) for kind in FOR_PLANES]


def spot(dimension: int, size: int = 3) -> np.ndarray:
    """A PSF that no axis mirrors."""
    return np.random.default_rng(5).random((size,) * dimension) + 0.1


def image(*shape: int, seed: int = 0, dtype=np.float32) -> np.ndarray:
    return (np.random.default_rng(seed).random(shape) * 200 + 20).astype(dtype)


def make(kind: str, dimension: int, request):
    fixtures = {"lucyd": ("random_model_2d", "random_model")[dimension - 2]}
    fixtures |= {"rln": "random_rln", "care": "slim_care"}
    if kind in fixtures:
        return request.getfixturevalue(fixtures[kind])
    psf = spot(dimension)
    return nl.Wiener(psf) if kind == "wiener" else nl.RichardsonLucy(psf, num_iter=3)


@pytest.fixture(params=CASES, ids=str)
def case(request):
    """A method, the shape of a small volume for it, and its axes."""
    kind, dimension = request.param
    return SimpleNamespace(
        kind=kind,
        dimension=dimension,
        method=make(kind, dimension, request),
        shape=SHAPES[dimension],
        axes="ZYX"[-dimension:],
    )


@pytest.fixture(params=FOR_PLANES)
def flat(request):
    """The method for planes, for tests in which the number of axes does not matter."""
    return make(request.param, 2, request)


@pytest.fixture(params=NETWORKS)
def model(request):
    """A network for volumes."""
    return make(request.param, 3, request)


@pytest.fixture(params=["rln", "care"])
def rival(request):
    """A network for volumes that test_deconvolve.py does not test."""
    return make(request.param, 3, request)


def changed(model, change) -> Model:
    """A copy of a model with something done to its network."""
    network = copy.deepcopy(model.network)
    with torch.no_grad():
        change(network)
    return Model.from_network(network, name=model.name, normalization={"method": "minmax"})


def tolerance(case) -> float:
    """Return the tolerance on the range of 200: a random network's division magnifies rounding."""
    return 200 * (1e-3 if case.kind == "lucyd" else 1e-5)


# ------------------------------------------------------------------------------------------ what comes out


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
def test_float32_of_the_inputs_shape_comes_out_whatever_goes_in(flat, dtype):
    plane = image(12, 9).astype(dtype)
    result = deconvolve(plane, flat, axes="YX", outputs="output")
    assert result.output.shape == plane.shape and result.output.dtype == np.float32
    assert result.correction_mask is result.update_term is result.intermediate is None
    as_float = deconvolve(plane.astype(np.float32), flat, axes="YX", outputs="output")
    np.testing.assert_array_equal(result.output, as_float.output)


def test_the_input_is_never_changed(case):
    volume = image(*case.shape)
    volume[(0,) * case.dimension] = np.nan
    before = volume.copy()
    volume.flags.writeable = False
    deconvolve(volume, case.method)
    np.testing.assert_array_equal(volume, before)


def test_leading_axes_are_gone_through_one_volume_after_another(case):
    stack = image(2, 2, *case.shape)
    job = plan(stack, case.method, axes="TC" + case.axes)
    assert (job.axes, job.output_shape) == ("TC" + case.axes, stack.shape)
    list(job.steps())
    # A volume alone has other statistics, which matter to a network, so those of the whole are passed on.
    one = plan(
        stack,
        case.method,
        axes="TC" + case.axes,
        statistics=job.measure(),
        region=(1, 1, *map(slice, case.shape)),
    )
    list(one.steps())
    np.testing.assert_array_equal(one.result().output[0, 0], job.result().output[1, 1])
    if case.kind in CLASSICAL:
        np.testing.assert_array_equal(job.result().output[1, 1], deconvolve(stack[1, 1], case.method).output)


def test_a_region_is_what_the_whole_run_gives_there(case):
    volume = image(*case.shape)
    region = tuple(slice(1, size - 2) for size in case.shape)
    whole = deconvolve(volume, case.method)
    part = deconvolve(volume, case.method, region=region)
    assert part.output.shape == whole.output[region].shape
    np.testing.assert_allclose(part.output, whole.output[region], rtol=0, atol=tolerance(case))
    assert part.recipe["region"] == [[1, size - 2] for size in case.shape]


def test_results_scale_with_the_image(case):
    volume = image(*case.shape)
    once, twice = (deconvolve(times * volume, case.method).output for times in (1, 2))
    # A power of two rounds alike everywhere except for a fixed epsilon or floor, and these are relative too.
    np.testing.assert_allclose(twice, 2 * once, rtol=0, atol=2 * tolerance(case))


def test_a_constant_image_stays_itself(case):
    result = deconvolve(np.full(case.shape, 7.5, dtype=np.float32), case.method)
    assert (result.output == 7.5).all()
    assert "All voxels are 7.5: there is nothing to restore." in result.warnings
    assert (deconvolve(np.zeros(case.shape), case.method).output == 0).all()


def test_a_single_plane_can_be_given_to_a_method_for_volumes(random_model, random_rln, slim_care):
    classical = nl.RichardsonLucy(np.ones((1, 3, 3))), nl.Wiener(np.ones((1, 3, 3)))
    for method in (random_model, random_rln, slim_care, *classical):
        assert deconvolve(image(9, 8), method).output.shape == (9, 8)


def test_results_go_where_they_are_told(flat):
    places = {}

    def allocate(name, shape):
        places[name] = np.zeros(shape, dtype=np.float32)
        return places[name]

    result = deconvolve(image(12, 9), flat, outputs=["output"], allocate=allocate)
    assert list(places) == ["output"] and result.output is places["output"] and result.output.any()


# -------------------------------------------------------------------------------------------------- voxels


def test_nan_is_restored_around_returned_as_nan_and_warned_of(case):
    volume = image(*case.shape)
    hole = tuple(slice(2, 4) for _ in case.shape)
    volume[hole] = np.nan
    result = deconvolve(volume, case.method)
    missing = np.isnan(volume)
    np.testing.assert_array_equal(np.isnan(result.output), missing)
    assert any("are NaN" in text for text in result.warnings)
    assert result.warnings == tuple(result.recipe["warnings"])


@pytest.mark.parametrize(
    ("volume", "options", "words"),
    [
        (np.full((12, 9), np.nan), {}, "All voxels are NaN"),
        (np.where(np.eye(12) > 0, np.inf, 1), {}, "infinite"),
        (np.zeros((0, 9)), {}, "empty"),
        (np.zeros((40, 40, 3), np.uint8), {}, "RGB"),
        (np.ones((12, 9)) * 1j, {}, "complex"),
        (np.ones((12, 9)), {"axes": "ZYX"}, "names 3 axes"),
        (np.ones((12, 9)), {"region": (slice(5, 5), slice(0, 9))}, "region along Y"),
        (np.ones((12, 9)), {"outputs": ["mask"]}, "'correction_mask'"),
        (np.ones((12, 9)), {"voxel_size": (1, -1)}, "positive"),
        (np.ones((12, 9)), {"device": "abacus"}, "abacus"),
        (np.ones((12, 9)), {"separate": "1"}, "separate"),
        (np.ones((12, 9)), {"prefilter": "some"}, "prefilter is 'some'; give None, 'auto' or a number"),
        (np.ones((12, 9)), {"prefilter": 0}, "above 0, at most 10"),
        (np.ones((12, 9)), {"prefilter": np.nan}, "prefilter is nan"),
        (np.ones((12, 9)), {"subtract_background": 5}, "of at least 16"),
        (np.where(np.eye(12) > 0, np.inf, 1), {"subtract_background": 20}, "infinite"),
        (np.full((12, 9), np.nan), {"prefilter": 1}, "All voxels are NaN"),
        (np.ones((12, 9)), {"flips": 8}, "True or False"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(flat, volume, options, words):
    with pytest.raises((ValueError, TypeError), match=words):
        deconvolve(volume, flat, **options)


# ----------------------------------------------------------------------------------------------- the course


def test_progress_ends_at_its_total_and_covers_every_voxel_once(case):
    stack = image(2, *case.shape)
    job = plan(stack, case.method, axes="T" + case.axes)
    announced, covered, steps = job.tiles, np.zeros(stack.shape, dtype=int), []
    for step in job.steps():
        covered[step.region] += 1
        steps.append(step)
        assert len(step.region) == stack.ndim and step.message.startswith("T ")
    assert (covered == 1).all()
    assert [step.done for step in steps] == list(range(1, len(steps) + 1))
    assert steps[-1].done == steps[-1].total == announced == job.tiles
    assert steps[-1].seconds_left == 0 and all(step.seconds_left >= 0 for step in steps)
    assert job.result().recipe["complete"] is True


def test_progress_reaches_the_caller(flat):
    steps = []
    deconvolve(image(12, 9), flat, progress=steps.append)
    assert steps and steps[-1].done == steps[-1].total


def test_a_plan_says_what_a_run_will_take(case):
    job = plan(image(2, *case.shape), case.method, axes="T" + case.axes)
    assert job.description.startswith("T 2 × ") and "2" in job.work
    assert job.memory_bytes > 4 * np.prod(job.output_shape)
    assert len(job.tile_shape) == case.dimension and job.halo >= 0 and not job.resampled
    assert job.device.torch == "cpu" and job.warnings == []
    estimate = job.estimate_seconds()
    assert 0 < estimate < 60
    assert job.estimate_seconds() == estimate  # remembered, because a second measurement would differ


def test_a_cancel_is_heard_and_what_was_finished_is_kept(case):
    stack = image(2, *case.shape)
    job = plan(stack, case.method, axes="T" + case.axes)
    kept = np.zeros(stack.shape, dtype=bool)
    seen = []

    def follow():
        for step in job.steps(lambda: bool(kept.any())):
            kept[step.region] = True
            seen.append(step)

    with pytest.raises(Cancelled):
        follow()
    assert seen[-1].done < seen[-1].total
    result = job.result()
    np.testing.assert_array_equal(np.isnan(result.output), ~kept)
    assert result.recipe["complete"] is False
    # It continues from there.
    assert [step.done for step in job.steps()][-1] == seen[-1].total
    whole = deconvolve(stack, case.method, axes="T" + case.axes)
    np.testing.assert_array_equal(job.result().output, whole.output)
    assert job.result().recipe["complete"] is True


def test_before_the_first_step_the_result_is_nan(flat):
    result = plan(image(12, 9), flat).result()
    assert np.isnan(result.output).all() and not result.recipe["complete"]


def test_measuring_can_be_cancelled_and_its_numbers_be_handed_on(flat):
    plane = image(12, 9)
    with pytest.raises(Cancelled):
        plan(plane, flat).measure(lambda: True)
    statistics = plan(plane, flat).measure()
    given = deconvolve(plane, flat, statistics=statistics)
    np.testing.assert_array_equal(given.output, deconvolve(plane, flat).output)


def test_nothing_of_torch_is_held_across_a_step(flat):
    steps = plan(image(2, 12, 9), flat, axes="TYX").steps()
    next(steps)
    assert not torch.is_inference_mode_enabled()
    steps.close()


def test_a_device_that_cannot_do_it_is_replaced_by_the_cpu_and_named(flat, monkeypatch):
    if torch.backends.mps.is_available():
        pytest.skip("this machine has the device")
    monkeypatch.setattr(api_module, "choose_device", lambda wish: Device("mps", "Apple GPU"))
    monkeypatch.setattr(classical_job, "free_memory", lambda device: 2**40)
    result = deconvolve(image(12, 9), flat)
    assert result.recipe["device"]["torch"] == "cpu"
    assert "Apple GPU could not run" in result.recipe["device"]["reason"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu(case):
    if case.kind in NETWORKS:
        pytest.skip("test_gpu.py compares the networks")
    volume = image(*case.shape)
    on_gpu, on_cpu = (deconvolve(volume, case.method, device=name).output for name in ("cuda", "cpu"))
    np.testing.assert_allclose(on_gpu, on_cpu, atol=200 * 1e-4)


# ----------------------------------------------------------------------------------------------- the recipe


def test_the_recipe_is_json_and_repeats_the_run(case):
    stack = image(2, *case.shape)
    region = (slice(1, 2), *(slice(0, size - 1) for size in case.shape))
    first = deconvolve(
        stack,
        case.method,
        axes="T" + case.axes,
        region=region,
        voxel_size=(2.0, 2.0, 2.0),
        device="cpu",
        separate="T",
    )
    recipe = json.loads(json.dumps(first.recipe))
    assert recipe["input"] == {"shape": list(stack.shape), "dtype": "float32"}
    assert recipe["versions"]["torch"] and recipe["device"]["torch"] == "cpu" and recipe["threads"] > 0
    method = method_from_recipe(recipe, case.method.psf) if case.kind in CLASSICAL else case.method
    again = deconvolve(stack, method, **options_from_recipe(recipe))
    np.testing.assert_array_equal(again.output, first.output)
    assert again.recipe == first.recipe


def test_something_else_is_no_recipe():
    with pytest.raises(ValueError, match="not the recipe"):
        options_from_recipe({"device": {"torch": "cpu"}})
    with pytest.raises(ValueError, match="psf"):
        options_from_recipe({"method": {"name": "wiener"}})
    with pytest.raises(ValueError, match="richardson-lucy, wiener or semi-blind"):
        method_from_recipe({"model": "general"}, spot(2))


# ------------------------------------------------------------------------------------------ optional steps


def noisy(*shape: int, sigma: float, seed: int = 0) -> np.ndarray:
    """Bright blocks on a background, 100 above it, with noise."""
    rng = np.random.default_rng(seed)
    blocks = np.kron(rng.random([-(-size // 8) for size in shape]) > 0.7, np.ones([8] * len(shape)))
    blocks = blocks[tuple(map(slice, shape))]
    return (100 + 100 * blocks + rng.normal(0, sigma, shape)).astype(np.float32)


def prepared(volume, method, **options) -> np.ndarray:
    """The image as the method gets it."""
    job = plan(volume, method, **options)
    applied = job.measure().prepared.applied(job._source)
    return applied.read((), [Span(0, size) for size in volume.shape])


@pytest.mark.parametrize("options", [{"prefilter": 0.8}, {"subtract_background": 16}], ids=str)
def test_a_step_before_any_method_is_as_if_the_image_had_been_prepared(case, options):
    volume = image(*SMALL[case.dimension])
    ready = prepared(volume, case.method, **options)
    if "prefilter" in options:
        expected = ndimage.gaussian_filter(volume.astype(float), 0.8, mode="mirror", radius=4)
    else:
        source = Source(volume, case.dimension)
        grid = estimate_background(source, (), (16,) * case.dimension)
        expected = volume - grid.at([Span(0, size) for size in volume.shape])
    np.testing.assert_allclose(ready, expected, atol=200 * 1e-6)
    result = deconvolve(volume, case.method, **options)
    np.testing.assert_array_equal(result.output, deconvolve(ready, case.method).output)
    assert np.abs(ready - volume).max() > 10


def test_with_every_step_parts_equal_the_whole_and_the_recipe_repeats_it(case):
    # Networks for volumes would do it eight times, which takes as long as all other tests; they have tests
    # below.
    flips = case.dimension == 2 or case.kind in CLASSICAL
    shape = SMALL[case.dimension]
    volume = image(*shape)
    volume[(slice(1, 3),) * case.dimension] = np.nan
    options = {"prefilter": 0.8, "subtract_background": 16, "flips": flips, "outputs": "output"}
    whole = deconvolve(volume, case.method, **options)
    np.testing.assert_array_equal(np.isnan(whole.output), np.isnan(volume))
    region = tuple(slice(0, size - 1) for size in shape)
    tiles = {} if case.kind in CLASSICAL else {"tile_shape": (4,) * case.dimension}
    part = deconvolve(volume, case.method, region=region, **options, **tiles)
    np.testing.assert_allclose(part.output, whole.output[region], rtol=0, atol=tolerance(case))
    recipe = json.loads(json.dumps(part.recipe))
    assert recipe["prefilter"] == {"wish": 0.8, "sigma": [0.8], "noise": []}
    background = recipe["subtract_background"]
    assert (background["wish"], background["size"]) == (16, [16] * case.dimension)
    assert 20 <= background["range"][0] <= background["range"][1] <= 220
    assert recipe["flips"] is flips
    again = deconvolve(volume, case.method, **options_from_recipe(recipe))
    np.testing.assert_array_equal(again.output, part.output)
    assert again.recipe == part.recipe


def test_a_constant_image_stays_itself_or_is_all_background(case):
    volume = np.full(case.shape, 0.1, dtype=np.float32)
    assert (deconvolve(volume, case.method, prefilter=1, flips=True).output == volume).all()
    assert (deconvolve(volume, case.method, subtract_background="auto").output == 0).all()


def test_steps_are_off_and_leave_the_recipe_empty_unless_asked_for(flat):
    result = deconvolve(image(12, 9), flat)
    recipe = result.recipe
    assert (recipe["prefilter"], recipe["subtract_background"], recipe["flips"]) == (None, None, False)
    for name in ("prefilter", "subtract_background", "flips"):
        del recipe[name]
    again = deconvolve(image(12, 9), flat, **options_from_recipe(recipe))
    np.testing.assert_array_equal(again.output, result.output)


def test_the_prefilter_is_chosen_from_the_noise(flat):
    clean = noisy(64, 64, sigma=0)
    plain = deconvolve(clean, flat, outputs="output")
    chosen = deconvolve(clean, flat, outputs="output", prefilter="auto")
    assert chosen.recipe["prefilter"] == {"wish": "auto", "sigma": [0.0], "noise": [0.0]}
    np.testing.assert_array_equal(chosen.output, plain.output)
    sigmas = []
    for sigma in (2, 10, 40):
        entry = deconvolve(noisy(64, 64, sigma=sigma), flat, prefilter="auto").recipe["prefilter"]
        # With only two levels, the estimate is larger: widths add up to more than their squares do.
        assert entry["noise"][0] == pytest.approx(sigma / 100, rel=0.35)
        sigmas += entry["sigma"]
    assert sigmas[0] == 0 < sigmas[1] < sigmas[2]


def test_a_model_that_bears_more_noise_is_filtered_for_less(random_model_2d):
    robust = copy.deepcopy(random_model_2d)
    robust.card["noise_sigma"] = [0.0, 0.9]
    volume = noisy(64, 64, sigma=20)
    usual, less = (
        deconvolve(volume, model, prefilter="auto").recipe["prefilter"]["sigma"][0]
        for model in (random_model_2d, robust)
    )
    assert usual > less == 0
    # So their statistics differ; those that do not depend on the model serve both.
    for prefilter in (None, 1.0):
        statistics = plan(volume, random_model_2d, prefilter=prefilter).measure()
        plan(volume, robust, prefilter=prefilter, statistics=statistics)
    statistics = plan(volume, random_model_2d, prefilter="auto").measure()
    with pytest.raises(ValueError, match="Measure them again"):
        plan(volume, robust, prefilter="auto", statistics=statistics)


def test_what_is_shown_explains_the_output_from_the_prepared_image(random_model_2d):
    plane, steps = image(20, 18), {"prefilter": 0.7, "subtract_background": 16}
    result = deconvolve(plane, random_model_2d, **steps)
    (lo,), (s,) = (result.recipe["normalization"][name] for name in ("lo", "s"))
    ready = prepared(plane, random_model_2d, **steps).astype(float)
    estimate = (ready - lo + result.correction_mask) / s * result.update_term + result.recipe["o"]
    expected = lo + s * np.maximum(0, estimate)
    np.testing.assert_allclose(result.output, expected, rtol=0, atol=1e-5 * np.ptp(expected))


def test_each_channel_has_numbers_of_its_own_and_each_time_point_its_background(flat):
    series = np.stack([noisy(2, 64, 64, sigma=sigma, seed=3) for sigma in (0, 40)])  # C T Y X
    series[:, 1] += 500
    options = {"axes": "CTYX", "prefilter": "auto", "subtract_background": 24, "outputs": "output"}
    job = plan(series, flat, **options)
    statistics = job.measure()
    assert statistics.prepared.sigma[0] == 0 < statistics.prepared.sigma[1]
    list(job.steps())
    one = plan(series, flat, **options, statistics=statistics, region=(1, 1, slice(64), slice(64)))
    list(one.steps())
    np.testing.assert_array_equal(one.result().output[0, 0], job.result().output[1, 1])
    grids = [statistics.prepared.backgrounds[1, time].grid.mean() for time in (0, 1)]
    assert grids[1] - grids[0] > 400
    with pytest.raises(ValueError, match="Measure them again"):
        plan(series, flat, **{**options, "prefilter": 1}, statistics=statistics)
    with pytest.raises(Cancelled):
        plan(series, flat, **options).measure(lambda: True)


def test_along_z_lengths_are_those_of_the_voxel_size():
    volume, method = image(9, 12, 12), nl.Wiener(spot(3))
    options = {"prefilter": 1.2, "subtract_background": 32, "voxel_size": (4, 2, 2)}
    ready = prepared(volume, method, **options)
    plain = plan(volume, method).measure()
    plan(volume, method, voxel_size=(4, 2, 2), statistics=plain)
    with pytest.raises(ValueError, match="Measure them again"):
        plan(volume, method, prefilter=1.2, statistics=plain)
    grid = estimate_background(Source(volume, 3), (), (16, 32, 32))
    flat = volume - grid.at([Span(0, size) for size in volume.shape])
    expected = ndimage.gaussian_filter(flat.astype(float), (0.6, 1.2, 1.2), mode="mirror", radius=(3, 5, 5))
    np.testing.assert_allclose(ready, expected, atol=200 * 1e-6)


def test_saturation_is_seen_before_the_image_is_prepared(flat):
    plane = np.minimum(noisy(40, 40, sigma=5), 180).astype(np.uint8)
    plane[:8, :8] = 255
    assert any("full scale" in text for text in deconvolve(plane, flat, prefilter=1, axes="YX").warnings)


@pytest.mark.parametrize("kind", ["lucyd", "rln"])
def test_flips_are_the_mean_over_mirror_images(kind, request):
    dimension = 2 if kind == "lucyd" else 3
    method = make(kind, dimension, request)
    # Even sizes, so that a mirrored voxel is where the network's grid has one.
    volume = image(*(2, 6, 4)[-dimension:])
    total = np.zeros(volume.shape)
    for number in range(2**dimension):
        axes = [axis for axis in range(dimension) if number >> axis & 1]
        total += np.flip(deconvolve(np.flip(volume, axes), method, outputs="output").output, axes)
    result = deconvolve(volume, method, flips=True)
    mean = total / 2**dimension
    bound = 200 * (1e-4 if kind == "lucyd" else 1e-5)
    np.testing.assert_allclose(result.output, mean, rtol=0, atol=bound)
    assert np.abs(mean - deconvolve(volume, method).output).max() > 10 * bound


def test_flips_change_nothing_for_a_network_that_mirrors(slim_care):
    def symmetrise(network):
        for parameter in network.parameters():
            if parameter.ndim == 5:
                mirrors = [parameter.flip([2 + a for a in range(3) if n >> a & 1]) for n in range(8)]
                parameter.copy_(torch.stack(mirrors).mean(dim=0))

    symmetric = changed(slim_care, symmetrise)
    volume = image(2, 6, 4)
    plain, flipped = (deconvolve(volume, symmetric, flips=flips).output for flips in (False, True))
    np.testing.assert_allclose(flipped, plain, rtol=0, atol=200 * 1e-5)


@pytest.mark.parametrize("kind", CLASSICAL)
def test_classical_methods_mirror_with_image_and_psf_and_are_run_once(kind, request):
    method, volume = make(kind, 2, request), image(13, 12)
    plain, flipped = deconvolve(volume, method), deconvolve(volume, method, flips=True)
    np.testing.assert_array_equal(flipped.output, plain.output)
    assert any("is run once" in text for text in flipped.warnings) and flipped.recipe["flips"]
    assert plan(volume, method, flips=True).tiles == plan(volume, method).tiles
    mirrored = deconvolve(volume[::-1, ::-1], method.with_psf(method.psf[::-1, ::-1])).output[::-1, ::-1]
    np.testing.assert_allclose(mirrored, plain.output, rtol=0, atol=200 * 1e-4)


def test_with_flips_there_is_an_output_only(model):
    job = plan(image(5, 6, 7), model, flips=True)
    assert job._choices.outputs == ("output",)
    assert not {"g", "o", "identity_deviation"} & set(job.result().recipe)
    for name in set(model.network.parts) - {"output"}:
        with pytest.raises(ValueError, match=f"averages the output only, so {name}"):
            plan(image(5, 6, 7), model, flips=True, outputs=("output", name))


def test_flips_are_in_the_estimate_of_time(random_model_2d):
    plain, flipped = (plan(image(60, 60), random_model_2d, flips=flips) for flips in (False, True))
    assert flipped.estimate_seconds() == pytest.approx(4 * plain.estimate_seconds())


# ---------------------------------------------------------------------------------- networks in particular


def reference(volume, model) -> np.ndarray:
    """The output of the whole volume through the network as it is, continued by reflection."""
    pads = [(24, 24 + -size % model.network.multiple) for size in volume.shape]
    lo, s = volume.min(), np.ptp(volume)
    y = ((np.pad(volume.astype(np.float64), pads, mode="reflect") - lo) / s).astype(np.float32)
    with torch.inference_mode():
        output = model.network(torch.from_numpy(y)[None, None]).output[0, 0].numpy().astype(np.float64)
    return lo + s * output[tuple(slice(24, 24 + size) for size in volume.shape)]


@pytest.mark.parametrize(
    ("shape", "tile_shape"),
    [((9, 13, 11), (5, 7, 9)), ((7, 1, 5), (4, 1, 2)), ((1, 11, 3), (1, 6, 3)), ((2, 1, 1), (1, 1, 1))],
)
def test_whole_and_tiled_are_the_networks_own(rival, shape, tile_shape):
    volume = image(*shape)
    whole = deconvolve(volume, rival, outputs=rival.network.parts)
    tiled = deconvolve(volume, rival, outputs=rival.network.parts, tile_shape=tile_shape)
    assert tiled.recipe["tile_shape"] != whole.recipe["tile_shape"] or max(shape) < 5
    # 1e-5 of the range: the acceptance tolerance.
    np.testing.assert_allclose(whole.output, reference(volume, rival), rtol=0, atol=200 * 1e-5)
    for name in rival.network.parts:
        np.testing.assert_allclose(getattr(tiled, name), getattr(whole, name), rtol=0, atol=200 * 1e-5)


def test_blocks_begin_and_end_where_the_network_needs_it(model):
    # A smaller volume would be run on one period of its reflection.
    job = plan(image(60, 61, 59), model, tile_shape=(5, 6, 7), region=(slice(3, 30), slice(5, 21), slice(29)))
    geometry, multiple = job._choices.geometry, model.network.multiple
    assert job.halo >= model.network.receptive_field
    assert all(size % multiple == 0 for size in (job.halo, *job.tile_shape))
    for _ in range(3):
        _, tile = job._running().queue.first
        for kept, block in zip(tile.spans, geometry.block(tile), strict=True):
            assert block.start % multiple == block.stop % multiple == 0
            assert block.start <= kept.start - model.network.receptive_field
        job._running().queue.finish()


def test_full_care_tiled_equals_whole():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Model.from_network(nl.networks.CARE(), name="care", normalization={"method": "minmax"})
    volume = image(3, 5, 9)
    whole = deconvolve(volume, model).output
    tiled = deconvolve(volume, model, tile_shape=(4, 8, 5)).output
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=200 * 1e-5)


def test_what_a_network_lacks_is_neither_returned_nor_to_be_had(model):
    volume = image(5, 6, 7)
    parts = model.network.parts
    usual = {"output", "correction_mask", "update_term"} & set(parts)
    result = deconvolve(volume, model)
    names = ("output", "correction_mask", "update_term", "intermediate")
    assert {name for name in names if getattr(result, name) is not None} == usual
    assert set(result.recipe["outputs"]) == usual
    for name in set(names) - set(parts):
        with pytest.raises(
            ValueError, match=f"of {model.network.title} .*at least one of 'output'"
        ) as caught:
            plan(volume, model, outputs=("output", name))
        assert all(repr(part) in str(caught.value) for part in parts)
    # Only LUCYD has gain and offset, and the check of the shown parts.
    assert {"g", "o", "identity_deviation"} <= set(result.recipe) or model.network.name != "lucyd"
    assert not {"g", "o", "identity_deviation"} & set(result.recipe) or model.network.name == "lucyd"


def test_every_part_of_a_constant_image_is_what_it_should_be(model):
    result = deconvolve(np.full((4, 5, 6), 7.5), model, outputs=model.network.parts)
    for name in model.network.parts:
        expected = {"correction_mask": 0.0, "update_term": 1.0}.get(name, 7.5)
        assert (getattr(result, name) == expected).all(), name


def test_parts_are_in_units_of_the_image(rival):
    volume = image(5, 6, 7)
    once = deconvolve(volume, rival, outputs=rival.network.parts)
    # Powers of two: exact, but for the rounding of lo + s x'.
    moved = deconvolve(volume * 64 - 1024, rival, outputs=rival.network.parts)
    for name in rival.network.parts:
        expected = getattr(once, name) * 64 - 1024
        np.testing.assert_allclose(getattr(moved, name), expected, rtol=0, atol=64 * 200 * 1e-5)


def test_resampled_parts_below_zero_stay_where_the_network_may_give_them(slim_care, random_rln):
    volume = image(5, 6, 7)
    options = {"voxel_size": (2.5, 1, 1), "axes": "ZYX"}
    dark = changed(slim_care, lambda network: network.project.bias.sub_(10))
    result = deconvolve(volume, dark, **options)
    assert result.recipe["resampling"] and result.output.max() < volume.min()
    assert deconvolve(volume, random_rln, **options).output.min() >= volume.min()


# ------------------------------------------------------------------------- classical methods in particular


def test_their_results_are_those_of_the_plain_functions():
    volume, psf = image(7, 13, 11), spot(3)
    numbers = {"num_iter": 4, "background": 10, "total_variation": 0.01, "acceleration": True}
    expected = nl.richardson_lucy(volume, psf, **numbers, center_psf=True, device="cpu")
    result = deconvolve(volume, nl.RichardsonLucy(psf, **numbers), device="cpu").output
    np.testing.assert_array_equal(result, expected)
    expected = nl.wiener(volume, psf, balance=0.5, center_psf=True, device="cpu")
    np.testing.assert_array_equal(deconvolve(volume, nl.Wiener(psf, 0.5), device="cpu").output, expected)


def test_planes_of_a_stack_can_be_done_one_by_one():
    stack = image(3, 12, 9)
    result = deconvolve(stack, nl.Wiener(spot(2)), axes="ZYX")
    np.testing.assert_array_equal(result.output[2], deconvolve(stack[2], nl.Wiener(spot(2))).output)


def test_negative_voxels_are_set_to_zero_counted_and_recorded():
    series = image(2, 12, 9) - 21
    series[0, 3, 3] = np.nan
    negative = int((series < 0).sum())
    assert negative > 0
    method = nl.RichardsonLucy(spot(2), num_iter=3, background=0)
    result = deconvolve(series, method, axes="TYX")
    told = [text for text in result.warnings if "negative, which" in text]
    assert told == [negative_voxels_text(negative)]
    assert negative_voxels_text(1).startswith("1 voxel was negative")
    assert negative_voxels_text(1200).startswith("1,200 voxels were negative")
    entry = result.recipe["method"]
    assert (entry["negative"], entry["negative_voxels"]) == ("set to 0", negative)
    expected = deconvolve(np.maximum(series[1], 0), method)
    np.testing.assert_array_equal(result.output[1], expected.output)
    assert expected.recipe["method"]["negative_voxels"] == 0
    assert not any("negative" in text for text in expected.warnings)
    assert not any("negative" in text for text in deconvolve(series[1], nl.Wiener(spot(2))).warnings)


def test_the_background_is_no_part_of_the_result():
    method = nl.RichardsonLucy(spot(2), num_iter=50, background=100)
    plane = image(20, 20)
    result = deconvolve(plane + 100, method)
    without = deconvolve(plane, nl.RichardsonLucy(spot(2), num_iter=50, background=0))
    assert result.output.mean() == pytest.approx(without.output.mean(), rel=0.02)
    assert (deconvolve(np.full((9, 9), 130), method).output == 30).all()
    assert (deconvolve(np.full((9, 9), 30), method).output == 0).all()
    faint = deconvolve(image(9, 9) / 10, method)
    assert any("so the result is 0" in text for text in faint.warnings)


def test_an_early_end_shortens_the_total_and_is_recorded():
    series = np.stack([image(20, 20), np.zeros((20, 20), np.float32)])
    job = plan(series, nl.RichardsonLucy(spot(2), num_iter=400, tolerance=0.05), axes="TYX")
    assert job.tiles == 800
    steps = list(job.steps())
    assert steps[-1].done == steps[-1].total == job.tiles == len(steps) < 400
    assert job.result().recipe["method"]["iterations"] == [len(steps) - 1, 1]  # black is done at once


def test_a_cancel_is_heard_within_an_iteration(monkeypatch):
    polls = 0

    def should_stop():
        nonlocal polls
        polls += 1
        return polls > 12

    job = plan(image(12, 9), nl.RichardsonLucy(spot(2), num_iter=1000, total_variation=0.01))
    job.measure()
    with pytest.raises(Cancelled, match=r"0 of 1 volume\."):
        list(job.steps(should_stop))
    assert polls == 13


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"halo": 4}, "it follows from the psf"),
        ({"normalization": "percentile"}, "own units"),
        ({"isotropic": True}, "isotropic has no effect"),
        (
            {"outputs": ("output", "correction_mask")},
            "outputs names correction_mask, which only networks have",
        ),
    ],
)
def test_what_only_networks_take_is_refused(options, words):
    for method in (nl.Wiener(spot(2)), nl.RichardsonLucy(spot(2))):
        with pytest.raises(ValueError, match=words):
            plan(image(12, 9), method, **options)
    plan(image(12, 9), method, normalization="none", isotropic=False, outputs="output")
    with pytest.raises(
        ValueError, match="tile_shape has no effect on Wiener, because it computes whole volumes"
    ):
        plan(image(12, 9), nl.Wiener(spot(2)), tile_shape=(8, 8))


@pytest.mark.parametrize(
    ("make_it", "error", "words"),
    [
        (lambda: nl.Wiener(np.ones(3)), ValueError, r"\(Z, Y, X\)"),
        (lambda: nl.Wiener(np.full((3, 3), np.nan)), ValueError, "psf holds NaN"),
        (lambda: nl.Wiener(spot(2), balance=0), ValueError, "balance is 0"),
        (lambda: nl.RichardsonLucy(spot(2), num_iter=1.5), TypeError, "integer"),
        (lambda: nl.RichardsonLucy(spot(2) - 0.2), ValueError, "Set them to 0"),
        (lambda: nl.Wiener(spot(2), psf_voxel_size=(1, -1)), ValueError, "2 positive numbers"),
    ],
)
def test_a_method_that_cannot_be_is_refused_when_it_is_made_or_planned(make_it, error, words):
    with pytest.raises(error, match=words):
        make_it()


def test_a_method_keeps_a_psf_of_its_own_and_another_one_does_not_pass_for_it():
    psf = spot(2)
    method = nl.RichardsonLucy(psf, num_iter=np.int64(2), background=np.float32(1))
    result = deconvolve(image(12, 9), method)
    json.dumps(result.recipe)
    psf[0, 0] = 9
    assert method.psf[0, 0] != 9 and not method.psf.flags.writeable
    assert method.kernel.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="not that of the run"):
        method_from_recipe(result.recipe, psf)
    assert repr(method) == (
        "RichardsonLucy(num_iter=2, background=1.0, total_variation=0.0, tolerance=None, acceleration=True, "
        "local_stopping=False)"
    )


@pytest.mark.parametrize("make", [nl.RichardsonLucy, nl.Wiener])
def test_a_stack_with_a_psf_of_one_plane_is_told_that_it_goes_plane_by_plane(make):
    told = "The PSF is one plane, so the stack is deconvolved plane by plane"
    stack = plan(image(4, 12, 9), make(spot(2)), axes="ZYX")
    assert stack.work.startswith("4 whole planes of 12 × 9")
    assert any(text.startswith(told) for text in stack.warnings)
    for job in (plan(image(4, 12, 9), make(spot(2)), axes="TYX"), plan(image(4, 12, 9), make(spot(3)))):
        assert not any(text.startswith(told) for text in job.warnings)


def test_a_volume_that_does_not_fit_is_told_before_and_refused_in_the_run(monkeypatch):
    monkeypatch.setattr(classical_job, "free_memory", lambda device: 2**20)
    job = plan(image(12, 9), nl.RichardsonLucy(spot(2)))
    assert "MB of memory for a whole plane of 12 × 9" in job.warnings[0]
    with pytest.raises(OutOfMemory, match="Crop the image, crop the psf"):
        list(job.steps())


def test_seconds_are_estimated_within_reason():
    """The promise is a factor of two; a loaded machine that runs tests gets a factor of four."""
    method = nl.RichardsonLucy(spot(2), num_iter=6)
    job = plan(image(900, 900), method)
    estimate = job.estimate_seconds()
    began = time.perf_counter()
    list(job.steps())
    assert estimate / 4 < time.perf_counter() - began < estimate * 4
