"""Deconvolution without a PSF: the blur and the number of iterations are found in the image."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage, signal

import napari_lucyd as nl
from napari_lucyd.compute.threads import follow
from napari_lucyd.deconvolution import Cancelled, method_from_recipe, options_from_recipe, plan

REAL = Path(__file__).parents[4] / "shared" / "data" / "real"


def photographed(sigma: float, shape=(96, 96), photons: float = 400) -> tuple[np.ndarray, np.ndarray]:
    """Fine structure behind a Gaussian blur, with photon noise and an offset; and the truth."""
    random = np.random.default_rng(2)
    truth = np.zeros(shape)
    for place in random.integers(0, shape, (60 * len(shape), len(shape))):
        truth[tuple(place)] += random.uniform(0.3, 1)
    truth = ndimage.gaussian_filter(truth, 0.8)
    truth *= photons / ndimage.gaussian_filter(truth, sigma).max()
    image = random.poisson(ndimage.gaussian_filter(truth, sigma)) + random.normal(100, 1, shape)
    return image.astype(np.float32), truth


def affine_psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """PSNR in dB after the best affine map of intensities."""
    x, y = image.ravel().astype(float), truth.ravel().astype(float)
    slope, height = np.polyfit(x, y, 1)
    return float(10 * np.log10(np.ptp(y) ** 2 / np.mean((slope * x + height - y) ** 2)))


@pytest.fixture(scope="module")
def plane():
    image, truth = photographed(2)
    return image, truth, nl.deconvolve(image, nl.SemiBlind(), device="cpu")


def test_it_is_better_than_the_image_and_nearly_as_good_as_with_the_psf(plane):
    image, truth, found = plane
    grids = np.ogrid[:17, :17]
    psf = np.exp(-sum((grid - 8) ** 2 for grid in grids) / (2 * 2**2))
    known = nl.deconvolve(image, nl.RichardsonLucy(psf), device="cpu").output
    before, after, best = (affine_psnr(values, truth) for values in (image, found.output, known))
    assert after > before + 1
    assert after > before + 0.6 * (best - before)


def test_the_blur_is_about_right_and_grows_with_the_true_one(plane):
    (found,) = plane[2].recipe["method"]["sigma_found"]
    assert 1.2 < found[0] < 2.6
    image, _ = photographed(3)
    (wider,) = nl.deconvolve(image, nl.SemiBlind(), device="cpu").recipe["method"]["sigma_found"]
    assert wider[0] > 1.15 * found[0]


def test_the_curve_at_the_end_of_a_run_is_that_of_the_blur_that_was_chosen():
    job = plan(photographed(2)[0], nl.SemiBlind(), device="cpu")
    curves = [step.curve for step in job.steps()]
    method = job.result().recipe["method"]
    assert curves[-1] == tuple((number, value) for number, value, _ in method["held_out"][0])
    # The blurs are tried in an order of their own: the last one need not be the best.
    assert any(curve and curve[0] != curves[-1][0] for curve in curves)


def test_the_recipe_holds_the_curve_and_repeats_the_run(plane):
    image, _, run = plane
    recipe = json.loads(json.dumps(run.recipe))
    entry = recipe["method"]
    assert entry["name"] == "semi-blind" and recipe["psf"] is None
    assert entry["iterations"][0] in [point[0] for point in entry["held_out"][0]]
    assert len(entry["blurs_tried"][0]) > 5
    again = nl.deconvolve(image, method_from_recipe(recipe), **options_from_recipe(recipe))
    np.testing.assert_array_equal(again.output, run.output)


def test_progress_names_the_blur_and_ends_at_its_total():
    image, _ = photographed(1.5, (48, 48))
    steps = list(plan(image, nl.SemiBlind(), device="cpu").steps())
    assert "blur tried: 0.6 voxels, iterations tried: 1" in steps[0].message
    assert [step.done for step in steps] == list(range(1, len(steps) + 1))
    assert steps[-1].done == steps[-1].total and steps[-1].curve


def test_a_volume_has_a_blur_across_and_one_along_z():
    image, truth = photographed(1.6, (12, 40, 40))
    result = nl.deconvolve(image, nl.SemiBlind(), device="cpu")
    (found,) = result.recipe["method"]["sigma_found"]
    assert len(found) == 2
    assert affine_psnr(result.output, truth) > affine_psnr(image, truth) + 1


def test_where_the_noise_is_no_photon_noise_it_says_what_is_done_instead():
    image, _ = photographed(2)
    result = nl.deconvolve(ndimage.gaussian_filter(image, 1), nl.SemiBlind(), device="cpu")
    (warning,) = result.warnings
    assert "do not show how wide the blur is" in warning and "10 iterations were made" in warning
    assert "than the spectrum of the image suggests" in warning
    assert "sigma_found" not in result.recipe["method"]


def test_a_cancel_ends_the_search_and_its_thread():
    image, _ = photographed(2)
    job = plan(image, nl.SemiBlind(), device="cpu")
    seen = []

    def run():
        for step in job.steps(lambda: len(seen) >= 3):
            seen.append(step)

    with pytest.raises(Cancelled):
        run()
    assert len(seen) < 10


def test_constant_images_stay_themselves():
    flat = np.full((5, 20, 20), 7.5, np.float32)
    assert (nl.deconvolve(flat, nl.SemiBlind(), device="cpu").output == 7.5).all()


def test_followed_work_reports_returns_fails_and_stops():
    def count(report, check):
        for number in range(3):
            check()
            report(number)
        return "done"

    def outcome(generator):
        seen = []
        while True:
            try:
                seen.append(next(generator))
            except StopIteration as end:
                return seen, end.value

    assert outcome(follow(count, lambda: None)) == ([0, 1, 2], "done")

    def refuse():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        next(follow(count, refuse))
    endless = follow(lambda report, check: [check() or report(n) for n in iter(int, 1)], lambda: None)
    assert next(endless) == 0
    endless.close()  # returns, as the thread has ended


@pytest.mark.skipif(not REAL.exists(), reason="the real images are not here")
@pytest.mark.parametrize("name", ["biosr_factin_nl", "biosr_microtubules"])
def test_real_widefield_images_come_nearer_to_their_sim_images(name):
    import tifffile

    image, truth = (tifffile.imread(REAL / f"{name}_{kind}.tif") for kind in ("wf", "sim"))
    result = nl.deconvolve(image, nl.SemiBlind(), axes="YX", device="cpu")
    assert not result.warnings
    assert affine_psnr(result.output, truth) >= affine_psnr(image, truth) + 1.2


def through_a_microscope(width: float) -> np.ndarray:
    """Points behind the PSF of `MICROSCOPE`, wider by a factor, with photon noise and an offset."""
    random = np.random.default_rng(4)
    truth = np.zeros((16, 40, 40))
    for place in random.integers(0, truth.shape, (250, 3)):
        truth[tuple(place)] += random.uniform(0.3, 1)
    psf = MICROSCOPE.psf([step / width for step in STEPS], shape=(15, 39, 39))
    blurred = signal.fftconvolve(truth, psf, mode="same")
    light = random.poisson(np.maximum(600 * blurred / blurred.max(), 0))
    return (light + random.normal(100, 1, truth.shape)).astype(np.float32)


MICROSCOPE = nl.Microscope(
    "light-sheet", numerical_aperture=0.8, refractive_index=1.33, emission_um=0.525, sheet_fwhm_um=1.5
)
STEPS = (0.5, 0.16, 0.16)


def test_the_width_of_a_microscopes_psf_is_found():
    found = {}
    for width in (1.0, 1.5):
        image = through_a_microscope(width)
        run = nl.deconvolve(image, nl.SemiBlind(microscope=MICROSCOPE), voxel_size=STEPS, device="cpu")
        ((factor,),) = run.recipe["method"]["width_found"]
        assert 0.75 * width < factor < 1.35 * width, (width, factor)
        found[width] = factor
        assert len(run.recipe["method"]["held_out"][0]) > 2
    assert found[1.5] > 1.15 * found[1.0]
    recipe = json.loads(json.dumps(run.recipe))
    again = nl.deconvolve(image, method_from_recipe(recipe), **options_from_recipe(recipe))
    np.testing.assert_allclose(again.output, run.output, rtol=1e-4, atol=1e-2)


def test_a_microscope_needs_the_voxel_size_and_a_plane_gets_the_plane_in_focus():
    with pytest.raises(ValueError, match="needs the voxel size of the image: give voxel_size in µm"):
        plan(np.ones((4, 16, 16)), nl.SemiBlind(microscope=MICROSCOPE), device="cpu")
    for microscope in ("widefield", [MICROSCOPE, None], []):
        with pytest.raises(TypeError, match=r"give a napari_lucyd\.Microscope, a list with one for each"):
            nl.SemiBlind(microscope=microscope)
    image = through_a_microscope(1.0)[8]
    run = nl.deconvolve(image, nl.SemiBlind(microscope=MICROSCOPE), voxel_size=STEPS[1:], device="cpu")
    assert len(run.recipe["method"]["width_found"][0]) == 1


def test_a_psf_has_the_size_that_the_microscope_was_told():
    told = replace(MICROSCOPE, psf_size=(9, 11, 13))
    ready, _ = nl.SemiBlind(microscope=told).prepared(STEPS, (16, 40, 40))
    assert {ready.family.psf((width,)).shape for width in (0.7, 1.0, 2.0)} == {(9, 11, 13)}


def test_without_photon_noise_the_computed_psf_is_used():
    image = ndimage.gaussian_filter(through_a_microscope(1.0), 2)
    run = nl.deconvolve(image, nl.SemiBlind(microscope=MICROSCOPE), voxel_size=STEPS, device="cpu")
    assert any(
        "The PSF was computed from the optics as they are. 10 iterations were made" in text
        for text in run.warnings
    )
    assert run.recipe["method"]["iterations"] == [10]


def test_each_channel_has_its_own_microscope():
    red = replace(MICROSCOPE, emission_um=0.65)
    planes = np.stack([through_a_microscope(width)[8] for width in (1.0, 1.3)])
    run = nl.deconvolve(
        planes, nl.SemiBlind(microscope=[MICROSCOPE, red]), axes="CYX", voxel_size=STEPS[1:], device="cpu"
    )
    for number, microscope in enumerate((MICROSCOPE, red)):
        alone = nl.deconvolve(
            planes[number], nl.SemiBlind(microscope=microscope), voxel_size=STEPS[1:], device="cpu"
        )
        np.testing.assert_array_equal(run.output[number], alone.output)
        assert run.recipe["method"]["width_found"][number] == alone.recipe["method"]["width_found"][0]
    method = method_from_recipe(json.loads(json.dumps(run.recipe)))
    assert method.microscope == (MICROSCOPE, red)
    with pytest.raises(ValueError, match="microscope is a list of 2, but the image has 3 channels"):
        plan(np.ones((3, 16, 16)), method, axes="CYX", voxel_size=STEPS[1:], device="cpu")
