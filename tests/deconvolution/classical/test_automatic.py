"""The number of iterations, chosen by photons that the estimates have not seen."""

from __future__ import annotations

import json
from queue import Queue

import numpy as np
import pytest
from scipy import ndimage

import napari_lucyd as nl
from napari_lucyd.compute import threads
from napari_lucyd.deconvolution import (
    Cancelled,
    DeconvolutionError,
    method_from_recipe,
    options_from_recipe,
    plan,
)
from napari_lucyd.deconvolution.classical.automatic import CHECKPOINTS, sample_of
from napari_lucyd.deconvolution.classical.methods import MOST_ITERATIONS, USUAL_ITERATIONS


def photographed(photons: float, offset: float = 100.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, truth and PSF of a specimen with this number of photons at its brightest."""
    truth = np.zeros((96, 96))
    random = np.random.default_rng(1)
    for y, x in random.integers(8, 88, (40, 2)):
        truth[y - 2 : y + 3, x - 2 : x + 3] += random.uniform(0.3, 1)
    truth *= photons / truth.max()
    grids = np.ogrid[:15, :15]
    psf = np.exp(-sum((grid - 7) ** 2 for grid in grids) / (2 * 1.8**2))
    blurred = ndimage.convolve(truth, psf / psf.sum())
    image = random.poisson(blurred) + random.normal(offset, 1, truth.shape)
    return image.astype(np.float32), truth + offset, psf


def error(image: np.ndarray, truth: np.ndarray) -> float:
    return float(np.square(image - truth).mean())


@pytest.fixture(scope="module")
def runs():
    """The automatic run, and the errors of all numbers of iterations, for few and for many photons."""
    found = {}
    for photons in (30, 3000):
        image, truth, psf = photographed(photons)
        run = nl.deconvolve(image, nl.RichardsonLucy(psf), device="cpu")
        errors = {
            number: error(
                nl.deconvolve(image, nl.RichardsonLucy(psf, num_iter=number), device="cpu").output, truth
            )
            for number in CHECKPOINTS
        }
        found[photons] = run, error(run.output, truth), errors, error(image, truth)
    return found


def test_the_chosen_number_is_nearly_as_good_as_the_best(runs):
    for run, chosen, errors, before in runs.values():
        assert run.recipe["method"]["iterations"][0] in CHECKPOINTS
        # In dB of the gain by the best number.
        gains = [np.log10(before / value) for value in (chosen, min(errors.values()))]
        assert gains[0] > 0.8 * gains[1] > 0


def test_more_photons_take_more_iterations(runs):
    few, many = (runs[photons][0].recipe["method"]["iterations"][0] for photons in (30, 3000))
    assert few < many <= MOST_ITERATIONS


def test_the_curve_is_in_the_recipe_and_shown_while_it_runs(runs):
    image, _, psf = photographed(30)
    steps = list(plan(image, nl.RichardsonLucy(psf), device="cpu").steps())
    (curve,) = runs[30][0].recipe["method"]["held_out"]
    numbers, likelihoods, errors = zip(*curve, strict=True)
    assert numbers == CHECKPOINTS[: len(numbers)]
    assert numbers[int(np.argmax(likelihoods))] == runs[30][0].recipe["method"]["iterations"][0]
    assert min(errors) > 0
    assert steps[0].curve == ((1, likelihoods[0]),) and "iterations tried: 1" in steps[0].message
    assert [pair[1] for pair in steps[-1].curve] == list(likelihoods)
    assert steps[-1].done == steps[-1].total == len(steps)


def test_a_recipe_repeats_the_run(runs):
    image, _, psf = photographed(30)
    recipe = json.loads(json.dumps(runs[30][0].recipe))
    again = nl.deconvolve(
        image, nl.deconvolution.method_from_recipe(recipe, psf), **options_from_recipe(recipe)
    )
    np.testing.assert_array_equal(again.output, runs[30][0].output)


def test_where_the_noise_is_no_photon_noise_a_fixed_number_is_taken_and_said():
    image, _, psf = photographed(3000)
    smooth = ndimage.gaussian_filter(image, 1)
    result = nl.deconvolve(smooth, nl.RichardsonLucy(psf), device="cpu")
    assert result.recipe["method"]["iterations"] == [USUAL_ITERATIONS]
    (warning,) = result.warnings
    assert (
        "number of iterations could not be found in the image" in warning
        and f"{USUAL_ITERATIONS} iterations are used" in warning
    )
    assert "held_out" not in result.recipe["method"]


def test_a_cancel_is_heard_while_the_number_is_chosen():
    image, _, psf = photographed(3000)
    job = plan(image, nl.RichardsonLucy(psf), device="cpu")
    seen = []

    def follow():
        for step in job.steps(lambda: len(seen) == 3):
            seen.append(step)

    with pytest.raises(Cancelled):
        follow()
    assert len(seen) == 3
    assert list(job.steps())[-1].done == job.tiles


def test_the_sample_of_a_large_volume_is_where_the_light_is():
    volume = np.zeros((64, 256, 512), np.float32)
    volume[20:40, 30:60, 400:440] = 1
    part = sample_of(volume)
    taken = volume[part]
    assert taken.size <= 2**21 and taken.sum() > 0.95 * volume.sum()
    assert sample_of(volume[:8, :32, :32]) == (slice(0, 8), slice(0, 32), slice(0, 32))


@pytest.mark.parametrize(("given", "error_type"), [("many", TypeError), (2.5, TypeError), (0, ValueError)])
def test_a_number_of_iterations_that_cannot_be_is_refused(given, error_type):
    with pytest.raises(error_type, match="num_iter is"):
        nl.RichardsonLucy(np.ones((3, 3)), num_iter=given)


def test_the_estimate_so_far_can_be_kept_and_its_recipe_repeats_it():
    image, _, psf = photographed(300)
    job = plan(image, nl.RichardsonLucy(psf, num_iter=40), device="cpu")
    assert job.keeps_estimates
    for step in job.steps():
        if step.done == 7:
            job.keep_estimate()
    kept = job.result()
    assert step.done == step.total
    assert kept.recipe["complete"] and kept.recipe["method"]["iterations"] == [7]
    assert any("Stopped after 7 iterations" in text for text in kept.warnings)
    seven = nl.deconvolve(image, nl.RichardsonLucy(psf, num_iter=7), device="cpu")
    np.testing.assert_array_equal(kept.output, seven.output)
    recipe = json.loads(json.dumps(kept.recipe))
    again = nl.deconvolve(image, method_from_recipe(recipe, psf), **options_from_recipe(recipe))
    np.testing.assert_array_equal(again.output, kept.output)


@pytest.mark.parametrize("kind", ["richardson-lucy", "semi-blind"])
def test_a_search_can_be_ended_with_the_best_number_so_far(kind, monkeypatch):
    # The thread of the search is never further ahead than the report that waits and the next one.
    monkeypatch.setattr(threads, "SimpleQueue", lambda: Queue(maxsize=1))
    image, _, psf = photographed(3000)
    method = nl.RichardsonLucy(psf) if kind == "richardson-lucy" else nl.SemiBlind()
    job = plan(image, method, device="cpu")
    searched = 0
    for step in job.steps():
        if "tried" in step.message:
            searched += 1
            if searched == 3:
                job.keep_estimate()
    found = job.result().recipe["method"]
    assert searched <= 5
    assert found["iterations"][0] <= CHECKPOINTS[searched - 1]
    assert len(found["held_out"][0]) <= searched


def test_volumes_after_the_kept_estimate_are_not_computed():
    image, _, psf = photographed(300)
    job = plan(np.stack([image, image]), nl.RichardsonLucy(psf, num_iter=30), axes="TYX", device="cpu")
    steps = job.steps()
    while next(steps).done < 4:
        pass
    job.keep_estimate()
    with pytest.raises(Cancelled, match="Stopped after 1 of 2 volumes"):
        list(steps)
    result = job.result()
    assert np.isfinite(result.output[0]).all() and np.isnan(result.output[1]).all()
    assert not result.recipe["complete"]


def test_tiles_and_networks_keep_no_estimate(random_model_2d):
    image, _, psf = photographed(300)
    tiled = plan(image, nl.RichardsonLucy(psf, num_iter=3), device="cpu", tile_shape=(48, 48))
    assert not tiled.keeps_estimates
    for _ in tiled.steps():
        with pytest.raises(DeconvolutionError, match="no estimate to keep: the volume is computed in tiles"):
            tiled.keep_estimate()
    assert tiled.result().recipe["method"]["iterations"] == [3]
    network = plan(image, random_model_2d, device="cpu")
    with pytest.raises(DeconvolutionError, match="no estimate to keep: a network has none"):
        network.keep_estimate()
    with pytest.raises(DeconvolutionError, match="no estimate to keep: Wiener has a single step"):
        plan(image, nl.Wiener(psf), device="cpu").keep_estimate()
    assert not network.keeps_estimates
