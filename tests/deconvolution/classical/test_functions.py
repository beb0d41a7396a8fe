"""Richardson-Lucy and Wiener: restored and kept quantities, and a comparison with scikit-image."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve
from skimage import restoration

from napari_lucyd import richardson_lucy, wiener
from napari_lucyd.deconvolution import Cancelled, DeconvolutionError, OutOfMemory
from napari_lucyd.deconvolution.classical.solvers import _divergence_of_direction

METHODS = [richardson_lucy, wiener]


def slanted_psf(ndim: int, size: int, sigma: float = 1.5) -> np.ndarray:
    """A Gaussian that lies off the centre by a different step along each axis."""
    axes = np.mgrid[(slice(0, size),) * ndim]
    squares = sum(((axis - size // 2 + 0.3 * k) / (sigma + 0.2 * k)) ** 2 for k, axis in enumerate(axes))
    psf = np.exp(-squares / 2)
    return psf / psf.sum()


def textured(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) ** 4


def blurred(truth: np.ndarray, psf: np.ndarray) -> np.ndarray:
    return np.clip(fftconvolve(truth, psf, mode="same"), 0, None)


def interior(ndim: int, margin: int) -> tuple[slice, ...]:
    return (slice(margin, -margin),) * ndim


def haloed_psf(ndim: int, size: int, sigma: float = 1.5) -> np.ndarray:
    """The same with a ring around it. Unlike a Gaussian, it is then no product of lines."""
    psf = slanted_psf(ndim, size, sigma)
    radius = np.sqrt(sum((axis - size // 2) ** 2 for axis in np.mgrid[(slice(0, size),) * ndim]))
    psf += 0.1 * psf.max() * np.exp(-((radius - size // 2 + 1) ** 2))
    return psf / psf.sum()


@pytest.mark.parametrize("make_psf", [slanted_psf, haloed_psf])
@pytest.mark.parametrize(("shape", "size", "margin"), [((96, 91), 7, 22), ((44, 45, 47), 5, 14)])
def test_equal_scikit_images_in_the_interior(shape, size, margin, make_psf):
    # scikit-image treats the outside as black (Richardson-Lucy) or wraps around (Wiener). Each iteration
    # spreads this by twice the PSF's half size, and it becomes ever weaker; it is below 1e-4 of the truth's
    # range, which is 1, at this margin.
    psf = make_psf(len(shape), size, sigma=1)
    image = blurred(textured(shape), psf)
    inner = interior(len(shape), margin)
    ours = richardson_lucy(image, psf, num_iter=10, device="cpu")
    theirs = restoration.richardson_lucy(image, psf, num_iter=10, clip=False)
    np.testing.assert_allclose(ours[inner], theirs[inner], atol=1e-4, rtol=0)
    ours = wiener(image, psf, balance=0.1, device="cpu")
    theirs = restoration.wiener(image, psf, 0.1, clip=False)
    np.testing.assert_allclose(ours[inner], theirs[inner], atol=1e-4, rtol=0)


@pytest.mark.parametrize("num_iter", [1, 40])
def test_richardson_lucy_equals_scikit_images_everywhere_on_a_black_surround(num_iter):
    truth = np.zeros((40, 44))
    truth[14:26, 16:28] = textured((12, 12))
    psf = slanted_psf(2, 7)
    image = blurred(truth, psf)
    theirs = restoration.richardson_lucy(image, psf, num_iter=num_iter, clip=False)
    ours = richardson_lucy(image, psf, num_iter=num_iter, device="cpu")
    # float32 against float64, and bounded quotients in black parts: the difference grows with each iteration.
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * theirs.max(), rtol=0)


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_an_even_psf_is_that_with_a_plane_of_zeros_behind_it(size):
    # scikit-image's two functions treat even sizes differently; its Wiener agrees with ours.
    even = slanted_psf(2, size, sigma=0.8)
    odd = np.pad(even, (0, (size + 1) % 2))
    image = blurred(textured((60, 60)), odd)
    # Twenty FFTs in float32, on grids of different sizes.
    np.testing.assert_allclose(
        richardson_lucy(image, even, device="cpu"), richardson_lucy(image, odd, device="cpu"), atol=1e-4
    )
    theirs = restoration.wiener(image, even, 0.1, clip=False)
    inner = interior(2, 20)
    np.testing.assert_allclose(wiener(image, even, device="cpu")[inner], theirs[inner], atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (13, 17), (1, 9, 9), (7, 8, 11)])
def test_a_point_psf_changes_nothing_and_a_shifted_one_shifts_back(shape):
    image = textured(shape).astype(np.float32) + 0.1
    point = np.ones((1,) * len(shape))
    # The rounding of FFTs; Wiener smooths by its balance.
    np.testing.assert_allclose(richardson_lucy(image, point, device="cpu"), image, atol=1e-5)
    np.testing.assert_allclose(wiener(image, point, balance=1e-9, device="cpu"), image, atol=1e-5)
    if shape[-1] < 3:
        return
    shifted = np.zeros((*[1] * (len(shape) - 1), 3))
    shifted[..., 2] = 1  # the image shows every object one voxel to the right
    for restored in (
        richardson_lucy(image, shifted, device="cpu"),
        wiener(image, shifted, balance=1e-9, device="cpu"),
    ):
        np.testing.assert_allclose(restored[..., :-1], image[..., 1:], atol=1e-5)


@pytest.mark.parametrize("ndim", [2, 3])
def test_richardson_lucy_sharpens_and_keeps_flux(ndim):
    truth = np.zeros((24,) * ndim)
    truth[(12,) * ndim] = 700
    truth[(9,) * ndim] = 300
    psf = slanted_psf(ndim, 7, sigma=1.2)
    image = blurred(truth, psf)
    restored = richardson_lucy(image, psf, num_iter=30, device="cpu")
    assert restored.dtype == np.float32
    assert restored.sum() == pytest.approx(image.sum(), rel=1e-4)
    assert np.unravel_index(restored.argmax(), restored.shape) == (12,) * ndim
    assert restored.max() > 3 * image.max()
    assert restored.min() >= 0


def test_borders_neither_darken_nor_brighten():
    psf = slanted_psf(2, 9)
    flat = np.full((33, 41), 7.0)
    # The estimate stops where less than 1e-3 of a voxel's light falls onto the image.
    np.testing.assert_allclose(richardson_lucy(flat, psf, num_iter=30, device="cpu"), 7, rtol=3e-3)
    np.testing.assert_allclose(wiener(flat, psf, device="cpu"), 7, rtol=1e-5)


def test_at_the_border_of_a_cut_image_richardson_lucy_does_about_as_well_as_inside():
    psf = slanted_psf(2, 9)
    truth = np.repeat(np.repeat(textured((24, 24)), 4, axis=0), 4, axis=1)
    cut = interior(2, 16)
    restored = richardson_lucy(blurred(truth, psf)[cut], psf, num_iter=30, device="cpu")
    error = (restored - truth[cut]) ** 2
    inside = error[interior(2, 8)].mean()
    assert (error.sum() - error[interior(2, 4)].sum()) / (
        error.size - error[interior(2, 4)].size
    ) < 2 * inside


@pytest.mark.parametrize("axis", [0, 1])
def test_nothing_wraps_around(axis):
    image = np.zeros((40, 40))
    image[:2, 18:22] = 1
    image = np.moveaxis(image, 0, axis)
    far = np.moveaxis(image, axis, 0).shape[0] // 2
    psf = slanted_psf(2, 9)
    restored = np.moveaxis(richardson_lucy(image, psf, num_iter=50, device="cpu"), axis, 0)
    assert restored[far:].max() == pytest.approx(0, abs=1e-9)
    # The response of a linear filter never ends; at this distance its rings are this weak.
    restored = np.moveaxis(wiener(image, psf, device="cpu"), axis, 0)
    assert np.abs(restored[far:]).max() < 2e-3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "i4", "u8", "f2", "f4", ">f8"])
def test_every_real_dtype_gives_float32_in_its_own_units(method, dtype):
    image = (textured((20, 22)) * 200).round().astype(dtype)
    psf = slanted_psf(2, 5)
    restored = method(image[::-1], psf, device="cpu")
    assert restored.dtype == np.float32
    assert restored.shape == image.shape
    # The sum in float64, because it is too large for float16.
    assert restored.mean() == pytest.approx(image.mean(dtype=np.float64), rel=0.1)
    np.testing.assert_array_equal(restored, method(image[::-1].astype(np.float32), psf, device="cpu"))


@pytest.mark.parametrize("factor", [1e-20, 1e20])
def test_results_follow_the_units_of_the_image_and_not_those_of_the_psf(factor):
    image, psf = textured((20, 22)), slanted_psf(2, 5)
    for method in METHODS:
        expected = method(image, psf, device="cpu").astype(np.float64) * factor
        restored = method(image * factor, psf * 50, device="cpu")
        np.testing.assert_allclose(restored, expected, rtol=1e-3, atol=1e-4 * expected.max())


def test_background_is_not_part_of_the_object():
    truth = np.zeros((30, 30))
    truth[15, 15] = 1000
    psf = slanted_psf(2, 7)
    image = blurred(truth, psf) + 10
    restored = richardson_lucy(image, psf, background=10, num_iter=100, device="cpu")
    assert restored[13:18, 13:18].sum() == pytest.approx(1000, rel=0.05)
    # The rest of the background falls in proportion to one over the number of iterations.
    assert np.median(restored) < 0.2
    assert np.median(richardson_lucy(image, psf, num_iter=100, device="cpu")) == pytest.approx(10, abs=0.5)
    assert not richardson_lucy(np.zeros((9, 9)), psf, device="cpu").any()


def test_total_variation_suppresses_noise_and_keeps_the_edge():
    truth = np.full((40, 40), 20.0)
    truth[:, 20:] = 100
    psf = slanted_psf(2, 7)
    image = np.random.default_rng(0).poisson(blurred(truth, psf)).astype(float)
    inner = interior(2, 8)
    plain, smooth = (
        richardson_lucy(image, psf, num_iter=60, total_variation=weight, device="cpu")[inner]
        for weight in (0, 0.02)
    )
    assert smooth[:, :8].std() < 0.7 * plain[:, :8].std()
    assert np.abs(smooth - truth[inner]).mean() < 0.7 * np.abs(plain - truth[inner]).mean()
    edge = np.diff(smooth.mean(axis=0))
    assert abs(int(edge.argmax()) + 8 - 19) <= 1
    assert edge.max() > 25


def mirrors(ndim):
    """Return the index of each mirror image, without that of the image itself."""
    return [tuple(slice(None, None, step) for step in steps) for steps in product((1, -1), repeat=ndim)][1:]


@pytest.mark.parametrize("shape", [(33, 40), (9, 21, 20)])
def test_total_variation_mirrors_with_the_image(shape):
    generator = np.random.default_rng(0)
    truth = generator.random(shape) ** 8 * 1000
    psf = slanted_psf(len(shape), 5)
    image = generator.poisson(blurred(truth, psf) + 2).astype(np.float32)
    restored = richardson_lucy(image, psf, num_iter=20, total_variation=0.002, device="cpu")
    plain = richardson_lucy(image, psf, num_iter=20, device="cpu")
    assert np.abs(restored - plain).max() > 1e-2 * np.ptp(restored)
    for mirror in mirrors(len(shape)):
        other = richardson_lucy(image[mirror], psf[mirror], num_iter=20, total_variation=0.002, device="cpu")
        np.testing.assert_allclose(other[mirror], restored, rtol=0, atol=1e-5 * np.ptp(restored))


@pytest.mark.parametrize("shape", [(12, 15), (6, 7, 8)])
def test_the_curvature_of_total_variation_mirrors_exactly_and_sums_to_nothing(shape):
    field = torch.from_numpy(np.random.default_rng(0).random(shape))
    curvature = _divergence_of_direction(field).numpy()
    for mirror in mirrors(len(shape)):
        other = _divergence_of_direction(torch.from_numpy(field.numpy()[mirror].copy())).numpy()
        np.testing.assert_allclose(other[mirror], curvature, atol=1e-12)
    assert curvature.sum() == pytest.approx(0, abs=1e-9)
    for order in permutations(range(len(shape))):
        turned = _divergence_of_direction(field.permute(order))
        np.testing.assert_allclose(turned.numpy(), curvature.transpose(order), atol=1e-12)
    # The largest weight, 0.2, keeps the divisor of Richardson-Lucy positive.
    assert np.abs(curvature).max() < 1 / 0.2


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_curvature_of_a_ball_is_that_of_its_surface(ndim):
    radius = 12
    distance = np.sqrt(sum((axis - 20.0) ** 2 for axis in np.indices((41,) * ndim)))
    curvature = _divergence_of_direction(torch.from_numpy(-distance)).numpy()
    shell = np.abs(distance - radius) < 0.5
    np.testing.assert_allclose(curvature[shell], -(ndim - 1) / distance[shell], rtol=0.03)


def test_more_balance_is_smoother():
    image = textured((40, 40))
    psf = slanted_psf(2, 5)
    spreads = [wiener(image, psf, balance=balance, device="cpu").std() for balance in (0.001, 0.1, 10)]
    assert spreads[0] > 2 * spreads[1] > 4 * spreads[2]


def test_progress_counts_iterations_and_tolerance_ends_them():
    image, psf = blurred(textured((24, 24)), slanted_psf(2, 5)), slanted_psf(2, 5)
    steps = []
    full = richardson_lucy(image, psf, num_iter=4, progress=lambda *step: steps.append(step), device="cpu")
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    steps.clear()
    early = richardson_lucy(
        image, psf, num_iter=500, tolerance=0.02, progress=lambda *s: steps.append(s), device="cpu"
    )
    done = len(steps)
    assert 4 < done < 500
    # The same as that many iterations without a tolerance.
    np.testing.assert_array_equal(early, richardson_lucy(image, psf, num_iter=done, device="cpu"))
    assert not np.array_equal(early, full)


def test_cancel_is_heard_before_the_next_iteration():
    done = []
    with pytest.raises(Cancelled):
        richardson_lucy(
            textured((16, 16)),
            slanted_psf(2, 3),
            num_iter=100,
            progress=lambda *step: done.append(step),
            should_stop=lambda: len(done) == 3,
            device="cpu",
        )
    assert len(done) == 3


def test_errors_of_a_callback_are_the_callers_own():
    def fail(*_):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        richardson_lucy(textured((16, 16)), slanted_psf(2, 3), progress=fail, device="cpu")


@pytest.mark.parametrize(
    ("error", "expected"),
    [(torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory), (RuntimeError("odd"), DeconvolutionError)],
)
@pytest.mark.parametrize("method", METHODS)
def test_errors_of_torch_become_ours(method, error, expected, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(torch.fft, "rfftn", fail)
    with pytest.raises(expected):
        method(textured((16, 16)), haloed_psf(2, 5), device="cpu")


PLANE, SPOT = np.ones((8, 8)), np.ones((3, 3))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("image", "psf", "error", "words"),
    [
        (np.ones(8), np.ones(3), ValueError, r"\(Z, Y, X\)"),
        (np.ones((2, 2, 8, 8)), np.ones((1, 1, 3, 3)), ValueError, r"\(Z, Y, X\)"),
        (PLANE, np.ones((1, 3, 3)), ValueError, "3 axes and the image 2"),
        (PLANE, np.array([[1, -1], [-1, 1 + 1e-6]]), ValueError, "only rounding"),
        (PLANE, np.zeros((3, 3)), ValueError, "is empty: all its voxels are 0"),
        (PLANE, -SPOT, ValueError, "sums to -9"),
        (PLANE, np.ones((0, 3)), ValueError, "is empty"),
        (np.full((8, 8), np.nan), SPOT, ValueError, "image holds NaN"),
        (np.full((8, 8), 1e39), SPOT, ValueError, "too large"),
        (PLANE, SPOT * np.inf, ValueError, "psf holds NaN"),
        (PLANE * 1j, SPOT, TypeError, "complex128"),
        (PLANE, SPOT * 1j, TypeError, "psf has dtype"),
        (PLANE.astype(str), SPOT, TypeError, "real numbers"),
    ],
)
def test_what_cannot_be_deconvolved_is_refused_in_words(method, image, psf, error, words):
    with pytest.raises(error, match=words):
        method(image, psf, device="cpu")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_iter": 0}, "at least 1"),
        ({"num_iter": "auto"}, r"num_iter is 'auto'.*deconvolve\(image"),
        ({"background": "auto"}, r"background is 'auto'.*deconvolve\(image"),
        ({"background": -1}, "background is -1"),
        ({"background": float("nan")}, "background is nan"),
        ({"total_variation": 0.3}, "0.002"),
        ({"tolerance": 0}, "tolerance is 0"),
        ({"device": "abacus"}, "abacus"),
    ],
)
def test_options_of_richardson_lucy_that_cannot_be_are_refused_in_words(options, words):
    with pytest.raises(ValueError, match=words):
        richardson_lucy(PLANE, SPOT, **options)


@pytest.mark.parametrize("balance", [0, -1, float("nan"), float("inf")])
def test_balance_has_to_be_positive(balance):
    with pytest.raises(ValueError, match="above 0"):
        wiener(PLANE, SPOT, balance=balance)


def test_negative_voxels_are_refused_by_richardson_lucy_only():
    image = textured((16, 16)) - 0.1
    with pytest.raises(ValueError, match=r"np.maximum\(image, 0\)"):
        richardson_lucy(image, SPOT)
    with pytest.raises(ValueError, match="Set them to 0"):
        richardson_lucy(PLANE, SPOT - 0.1 * np.eye(3) * 15)
    assert np.isfinite(wiener(image, SPOT, device="cpu")).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", METHODS)
def test_cuda_agrees_with_the_cpu(method):
    psf = slanted_psf(3, 7)
    image = blurred(textured((20, 33, 35)), psf)
    # Ten iterations with float32 FFTs of two libraries.
    np.testing.assert_allclose(
        method(image, psf, device="cuda"), method(image, psf, device="cpu"), atol=1e-3 * image.max()
    )
