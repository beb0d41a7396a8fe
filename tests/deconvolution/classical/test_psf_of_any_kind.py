"""PSFs that are larger than the image, even-sized, off centre or on other voxels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import fftconvolve

import napari_lucyd as nl
from napari_lucyd.compute.device import FIXED_BYTES
from napari_lucyd.deconvolution import plan as deconvolution_plan
from napari_lucyd.deconvolution.classical import job as classical_job

OPTICS = {"numerical_aperture": 0.8, "refractive_index": 1.33, "emission_um": 0.525}


def gaussian(shape, centre, sigma=1.3):
    grids = np.ogrid[tuple(slice(0, n) for n in shape)]
    squares = sum((grid - at) ** 2 for grid, at in zip(grids, centre, strict=True))
    psf = np.exp(-squares / (2 * sigma**2))
    return psf / psf.sum()


def points(shape, places):
    truth = np.zeros(shape)
    for place in places:
        truth[place] = 1000
    return truth


def centre_of(image, place, reach=2):
    part = image[tuple(slice(at - reach, at + reach + 1) for at in place)]
    grids = np.meshgrid(*[np.arange(-reach, reach + 1)] * image.ndim, indexing="ij")
    return np.array([(grid * part).sum() / part.sum() for grid in grids])


@pytest.mark.parametrize("method", [nl.RichardsonLucy, nl.Wiener])
@pytest.mark.parametrize("size", [17, 18])
@pytest.mark.parametrize("shift", [0, 0.5, 1.4, -3])
def test_the_result_does_not_move_however_the_psf_lies_in_its_array(method, size, shift):
    places = [(10, 10), (10, 26), (26, 18)]
    blurred = fftconvolve(points((36, 36), places), gaussian((17, 17), (8, 8)), mode="same")
    image = np.clip(blurred, 0, None) + 1
    psf = gaussian((size, size), (size // 2 + shift, size // 2 - shift))
    options = {"num_iter": 10} if method is nl.RichardsonLucy else {"balance": 0.01}
    result = nl.deconvolve(image, method(psf, **options), device="cpu")
    for place in places:
        assert np.abs(centre_of(result.output, place)).max() < 0.1
    assert any("would shift the result" in text for text in result.warnings) == (abs(shift) > 0.5)
    if shift:
        moved = nl.deconvolve(image, method(psf, center_psf=False, **options), device="cpu").output
        assert np.abs(centre_of(moved, places[0]) - centre_of(result.output, places[0])).max() > 0.25 * abs(
            shift
        )


@pytest.mark.parametrize("method", [nl.RichardsonLucy, nl.Wiener])
def test_a_psf_may_be_larger_than_the_image(method):
    image = np.random.default_rng(0).random((3, 9, 40)) + 1
    small = gaussian((5, 9, 9), (2, 4, 4), 0.8)
    large = np.pad(small, [(10, 10), (20, 20), (30, 30)])
    options = {"num_iter": 5} if method is nl.RichardsonLucy else {}
    results = [nl.deconvolve(image, method(psf, **options), device="cpu").output for psf in (small, large)]
    # The dark ends are cut off either way.
    np.testing.assert_allclose(results[1], results[0], atol=1e-3)
    assert results[0].shape == image.shape


def test_haze_beyond_the_image_needs_the_whole_psf():
    """A PSF larger than the image explains the light of other planes better than one cut to the image."""
    psf = nl.make_psf("widefield", (41, 41, 41), voxel_size=0.1625, **OPTICS)
    truth = np.full((12, 32, 32), 10.0)
    truth[6, 14:18, 14:18] = 1000
    # Constant beyond the borders, as in a large specimen.
    image = fftconvolve(truth - 10, psf, mode="same") + 10
    core = psf[15:26, 5:36, 5:36]
    whole, cropped = (
        nl.richardson_lucy(np.clip(image, 0, None), kernel, num_iter=30, acceleration=True, device="cpu")
        for kernel in (psf, core)
    )
    assert np.square(whole - truth).mean() < 0.9 * np.square(cropped - truth).mean()


def test_a_psf_on_other_voxels_is_resampled_with_a_note():
    steps = (0.3, 0.16, 0.16)
    psf = nl.make_psf("widefield", (15, 15, 15), voxel_size=steps, **OPTICS)
    fine = nl.make_psf("widefield", (45, 31, 31), voxel_size=(0.1, 0.08, 0.08), **OPTICS)
    image = np.clip(fftconvolve(points((15, 24, 24), [(7, 12, 12)]), psf, mode="same"), 0, None) + 5
    expected = nl.deconvolve(image, nl.RichardsonLucy(psf, num_iter=5), device="cpu").output
    method = nl.RichardsonLucy(fine, num_iter=5, psf_voxel_size=(0.1, 0.08, 0.08))
    result = nl.deconvolve(image, method, voxel_size=steps, device="cpu")
    assert any("resampled" in text for text in result.warnings)
    assert np.abs(result.output - expected).max() < 0.15 * expected.max()
    assert result.recipe["method"]["psf_voxel_size"] == [0.1, 0.08, 0.08]


def test_a_voxel_size_with_other_axes_than_the_psf_is_refused():
    with pytest.raises(ValueError, match="give 2 positive numbers"):
        nl.RichardsonLucy(np.ones((3, 3)), psf_voxel_size=(1, 1, 1))


@pytest.mark.parametrize("kind", ["richardson-lucy", "wiener"])
def test_a_psf_is_cut_where_memory_holds_no_more_and_the_note_says_what_is_lost(kind, monkeypatch):
    psf = nl.make_psf(
        "widefield",
        (81, 41, 41),
        numerical_aperture=0.8,
        refractive_index=1.33,
        emission_um=0.525,
        voxel_size=0.2,
    )
    method = nl.RichardsonLucy(psf, num_iter=2) if kind == "richardson-lucy" else nl.Wiener(psf)
    image = np.random.default_rng(0).poisson(20, (9, 40, 40)).astype(np.float32)
    whole = deconvolution_plan(image, method, device="cpu")
    assert not any("was cut" in text for text in whole.warnings)
    needed = whole.memory_bytes - image.nbytes
    monkeypatch.setattr(
        classical_job, "free_memory", lambda device: FIXED_BYTES + (needed - FIXED_BYTES) // 2
    )
    job = deconvolution_plan(image, method, device="cpu")
    (note,) = [text for text in job.warnings if "was cut" in text]
    assert "The PSF was cut from 81 × 41 × 41 to" in note and "% of its light" in note
    for _ in job.steps():
        pass
    assert np.isfinite(job.result().output).all()
    # The recipe names the PSF as it was given.
    assert job.result().recipe["psf"]["shape"] == [81, 41, 41]
