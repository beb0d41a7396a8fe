"""Accelerated Richardson-Lucy: a third of the iterations, and never a negative voxel."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import fftconvolve

import napari_lucyd as nl
from napari_lucyd.compute.device import cpu
from napari_lucyd.deconvolution import method_from_recipe
from napari_lucyd.deconvolution.classical.solvers import start


def blurred_phantom() -> tuple[np.ndarray, np.ndarray]:
    grids = np.ogrid[:13, :13, :13]
    psf = np.exp(-sum((grid - 6) ** 2 for grid in grids) / (2 * 1.5**2))
    psf /= psf.sum()
    truth = np.asarray(nl.make_phantom((24, 48, 48), rng=3), float)
    blurred = np.clip(fftconvolve(truth, psf, mode="same"), 0, None)
    return np.random.default_rng(0).poisson(blurred).astype(np.float32), psf


def log_likelihood(image: np.ndarray, estimate: np.ndarray, psf: np.ndarray) -> float:
    inside = (slice(6, -6),) * 3
    expected = np.maximum(fftconvolve(estimate, psf, mode="same")[inside], 1e-6)
    return float(np.mean(image[inside] * np.log(expected) - expected))


def test_a_third_of_the_iterations_reaches_the_likelihood_of_plain_ones():
    image, psf = blurred_phantom()
    for number in (15, 30):
        fast = nl.richardson_lucy(image, psf, num_iter=number, acceleration=True, device="cpu")
        plain = nl.richardson_lucy(image, psf, num_iter=3 * number, device="cpu")
        assert log_likelihood(image, fast, psf) >= log_likelihood(image, plain, psf)


def likelihoods(image, psf, num_iter: int, *, acceleration: bool) -> list[float]:
    """Return the log likelihood after each iteration."""
    method = nl.RichardsonLucy(
        psf, num_iter=num_iter, background=0, acceleration=acceleration, center_psf=False
    )
    restoration, found = start(method, image, cpu()), []
    for _ in range(num_iter):
        restoration.advance()
        found.append(log_likelihood(image, restoration.restored(), psf))
    return found


def test_a_third_suffices_from_42_plain_iterations_on_and_half_before():
    image, psf = blurred_phantom()
    plain = likelihoods(image, psf, 60, acceleration=False)
    fast = likelihoods(image, psf, 20, acceleration=True)
    for number in range(20, 61):
        # The first steps are short: 10 accelerated iterations reach 24 plain ones, not 30.
        allowed = number // 3 if number >= 42 else number // 2
        assert fast[allowed - 1] >= plain[number - 1], number


@pytest.mark.parametrize("total_variation", [0, 0.01])
def test_the_estimate_stays_finite_and_not_negative_on_black_ground(total_variation):
    image = np.zeros((40, 44), np.float32)
    image[10, 12], image[30, 20] = 500, 3
    psf = np.ones((5, 5))
    restored = nl.richardson_lucy(
        image, psf, num_iter=200, acceleration=True, total_variation=total_variation, device="cpu"
    )
    assert np.isfinite(restored).all() and restored.min() >= 0


def test_flux_is_kept():
    image = np.zeros((40, 40), np.float32)
    image[12:28, 12:28] = 100
    psf = np.ones((5, 5))
    # Blurred by the PSF, so that an object exists that explains it.
    image = np.clip(fftconvolve(image, psf / 25, mode="same"), 0, None)
    restored = nl.richardson_lucy(image, psf, num_iter=30, acceleration=True, device="cpu")
    assert restored.sum() == pytest.approx(image.sum(), rel=1e-3)


def test_a_run_is_accelerated_unless_told_otherwise_and_old_recipes_are_plain():
    image, psf = blurred_phantom()
    image, psf = image[12], psf[6]
    run = nl.deconvolve(image, nl.RichardsonLucy(psf, num_iter=4, background=0), device="cpu")
    fast = nl.richardson_lucy(image, psf, num_iter=4, acceleration=True, device="cpu")
    plain = nl.richardson_lucy(image, psf, num_iter=4, device="cpu")
    assert np.abs(run.output - fast).max() < 1e-3 * fast.max() < np.abs(run.output - plain).max()
    assert run.recipe["method"]["acceleration"] is True
    old = dict(run.recipe, method={"name": "richardson-lucy", "num_iter": 4, "background": 0.0})
    assert method_from_recipe(run.recipe, psf).acceleration is True
    assert method_from_recipe(old, psf).acceleration is False
    assert method_from_recipe(old, psf).center_psf is False
