"""Richardson-Lucy that stops voxel by voxel, where two halves of the photons disagree."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage, signal

import napari_lucyd as nl
from napari_lucyd.compute.device import cpu
from napari_lucyd.deconvolution import method_from_recipe, options_from_recipe, plan
from napari_lucyd.deconvolution.classical.solvers import start

GRIDS = np.ogrid[:13, :13]
PSF = np.exp(-sum((grid - 6) ** 2 for grid in GRIDS) / (2 * 1.8**2))
PSF /= PSF.sum()


def photographed(photons: float = 30) -> tuple[np.ndarray, np.ndarray]:
    """Image and truth of squares with this number of photons at the brightest, with gain and offset."""
    random = np.random.default_rng(1)
    truth = np.zeros((96, 96))
    for y, x in random.integers(8, 88, (40, 2)):
        truth[y - 2 : y + 3, x - 2 : x + 3] += random.uniform(0.3, 1)
    truth *= photons / truth.max()
    light = random.poisson(ndimage.convolve(truth, PSF))
    image = 2 * light + random.normal(100, 1, truth.shape)
    return image.astype(np.float32), 2 * truth + 100


def error(image: np.ndarray, truth: np.ndarray) -> float:
    return float(np.square(image - truth).mean())


def deconvolved(image, **options):
    return nl.deconvolve(image, nl.RichardsonLucy(PSF, **options), device="cpu")


def test_many_iterations_do_no_harm():
    image, truth = photographed()
    few, many = (
        deconvolved(image, num_iter=number, local_stopping=True, acceleration=False) for number in (20, 60)
    )
    plain = deconvolved(image, num_iter=60, acceleration=False)
    assert error(many.output, truth) < 1.1 * error(few.output, truth)
    assert error(many.output, truth) < 0.6 * error(plain.output, truth)
    assert error(many.output, truth) < 0.6 * error(image, truth)
    automatic = deconvolved(image, local_stopping=True, acceleration=False)
    assert automatic.recipe["method"]["iterations"] == [60]
    np.testing.assert_array_equal(automatic.output, many.output)
    # The recipe repeats the run, with the same halves.
    recipe = json.loads(json.dumps(many.recipe))
    method = method_from_recipe(recipe, PSF)
    assert method.local_stopping
    again = nl.deconvolve(image, method, **options_from_recipe(recipe)).output
    np.testing.assert_array_equal(again, many.output)


def test_a_voxel_keeps_its_value_where_the_halves_disagree():
    random = np.random.default_rng(0)
    light = np.full((24, 24), 5.0)
    light[10:14, 10:14] = 20
    image = random.poisson(ndimage.convolve(light, PSF)).astype(np.float32)
    half = random.binomial(image.astype(int), 0.5)
    difference = (2 * half - image).astype(np.float32)
    given = []

    def halves(number: int) -> np.ndarray:
        given.append(number)
        return difference

    method = nl.RichardsonLucy(
        PSF, num_iter=1, background=2, local_stopping=True, center_psf=False, acceleration=False
    )
    restoration = start(method, image, cpu(), halves=halves)
    before = restoration.restored()
    restoration.advance()
    after = restoration.restored()
    assert given == [0]

    # The same with whole convolutions in float64. The object is larger than the image by a margin of 6.
    def forward(estimate):
        return signal.convolve(estimate, PSF, mode="valid")

    def adjoint(values):
        return signal.convolve(values, PSF[::-1, ::-1], mode="full")

    estimate = np.full((36, 36), float(before[0, 0]))
    seen = adjoint(np.ones((24, 24)))
    estimate[seen <= 1e-3] = 0
    blurred = forward(estimate) + 2
    weight = np.where(seen > 1e-3, 1 / np.maximum(seen, 1e-3), 0)
    steps = [adjoint(2 * part / blurred) * weight - (weight > 0) for part in (half, image - half)]
    agreement = adjoint(forward(steps[0] * steps[1]))
    update = adjoint(image / blurred) * weight
    inner = (slice(6, -6),) * 2
    clear = np.abs(agreement[inner]) > 1e-3 * np.abs(agreement).max()
    expected = np.where(agreement < 0, estimate, estimate * update)[inner]
    np.testing.assert_allclose(after[clear], expected[clear], rtol=1e-3, atol=1e-3)
    kept = agreement[inner] < 0
    assert 0.02 < kept.mean() < 0.98


def test_where_the_noise_is_no_photon_noise_it_is_left_out_in_words():
    image = ndimage.gaussian_filter(photographed()[0], 2)
    run = deconvolved(image, num_iter=3, local_stopping=True)
    assert any(text.startswith("Local stopping is not used: ") for text in run.warnings)
    np.testing.assert_array_equal(run.output, deconvolved(image, num_iter=3).output)
    with pytest.raises(ValueError, match=r"local_stopping cannot be used: .* Leave it out"):
        nl.richardson_lucy(image, PSF, num_iter=3, local_stopping=True, device="cpu")


def test_the_function_has_it_too():
    image, truth = photographed()
    light = np.maximum(image - 100, 0)
    local, plain = (
        nl.richardson_lucy(light, PSF, num_iter=60, local_stopping=on, device="cpu") for on in (True, False)
    )
    assert error(local + 100, truth) < 0.8 * error(plain + 100, truth)


def test_tiles_are_computed_without_it_in_words():
    image, _ = photographed()
    method = nl.RichardsonLucy(PSF, num_iter=3, local_stopping=True)
    job = plan(image, method, tile_shape=(48, 48), device="cpu")
    (warning,) = job.warnings
    assert warning.startswith("Local stopping is not used: the volume is computed in tiles")
    list(job.steps())
    assert np.isfinite(job.result().output).all()
