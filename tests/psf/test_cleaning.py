"""PSFs made ready: camera offset, origin, sampling, dark ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import napari_lucyd as nl
from napari_lucyd.psf.cleaning import (
    UNLIKE_A_POINT,
    check_psf,
    find_offset,
    find_origin,
    is_like_a_point,
    prepare_psf,
    resample,
)

OPTICS = {"numerical_aperture": 0.8, "refractive_index": 1.33, "emission_um": 0.525}


def gaussian(shape: tuple[int, ...], centre: tuple[float, ...], sigma: float = 1.5) -> np.ndarray:
    grids = np.ogrid[tuple(slice(0, n) for n in shape)]
    squares = sum((grid - at) ** 2 for grid, at in zip(grids, centre, strict=True))
    return np.exp(-squares / (2 * sigma**2)).astype(np.float32)


@pytest.mark.parametrize("size", [24, 25])
@pytest.mark.parametrize("shift", [0.3, 0.5, 1.0, 2.6, -3.0])
def test_a_shifted_psf_is_centred_to_sub_voxel_accuracy(size, shift):
    given = gaussian((size, size), (size // 2 + shift, size // 2 - shift / 2))
    ready = prepare_psf(given)
    middle = np.array(ready.kernel.shape) // 2
    np.testing.assert_allclose(find_origin(ready.kernel.astype(float)), middle, atol=0.02)
    # The shape is kept: the centred PSF equals one that was sampled on the centre.
    expected = gaussian(ready.kernel.shape, tuple(middle))
    np.testing.assert_allclose(ready.kernel * expected.sum(), expected, atol=0.02)
    assert len(ready.notes) == (abs(shift) > 0.5)
    if ready.notes:
        assert f"{shift:+.2g} along Y" in ready.notes[0] and "center_psf=False" in ready.notes[0]


def test_a_psf_stays_where_it_is_when_it_is_not_to_be_centred():
    given = gaussian((15, 15), (9, 7))
    ready = prepare_psf(given, center=False)
    assert ready.notes == ()
    np.testing.assert_allclose(
        find_origin(ready.kernel.astype(float)) - np.array(ready.kernel.shape) // 2, [2, 0], atol=1e-3
    )


@pytest.mark.parametrize("kind", ["widefield", "confocal"])
def test_a_camera_offset_is_found_and_subtracted_with_a_note(kind):
    excitation = {"excitation_um": 0.488} if kind == "confocal" else {}
    psf = nl.make_psf(kind, (31, 31, 31), voxel_size=0.16, **OPTICS, **excitation)
    assert find_offset(psf.astype(float)) == (0, 0)
    random = np.random.default_rng(0)
    camera = random.poisson(psf / psf.max() * 2000) + 100 + random.normal(0, 2, psf.shape)
    ready = prepare_psf(camera.astype(np.float32))
    assert any("camera offset of 100" in note or "camera offset of 99" in note for note in ready.notes)
    core = tuple(slice(n // 2 - 3, n // 2 + 4) for n in ready.kernel.shape)
    true_core = psf[12:19, 12:19, 12:19]
    # The offset alone held more than nine tenths of the sum.
    assert ready.kernel[core].sum() == pytest.approx(true_core.sum(), rel=0.15)


@pytest.mark.parametrize("given", [np.ones((9, 9)), gaussian((9, 9), (4, 4), 3), np.pad(np.ones((3, 3)), 5)])
def test_light_is_not_taken_for_an_offset(given):
    assert find_offset(given.astype(float)) == (0, 0)
    np.testing.assert_allclose(prepare_psf(given.astype(np.float32)).kernel.sum(), 1, rtol=1e-5)


def measured(psf, light, offset=100.0, noise=3.0):
    random = np.random.default_rng(0)
    return random.poisson(psf / psf.max() * light) + random.normal(offset, noise, psf.shape)


@pytest.mark.parametrize("shape", [(15, 15, 15), (9, 31, 31), (31, 41, 41), (31, 31)])
@pytest.mark.parametrize("numerical_aperture", [0.1, 0.5, 1.2])
def test_a_psf_looks_like_a_point_computed_or_measured_and_cut_off_its_middle(shape, numerical_aperture):
    for step in (0.1, 0.3):
        psf = nl.make_psf(
            "widefield",
            shape,
            numerical_aperture=numerical_aperture,
            refractive_index=1.33,
            emission_um=0.525,
            voxel_size=(max(step, 0.2), step, step)[-len(shape) :],
        )
        for given in (psf, psf[..., 2:, :-1], measured(psf, 50), measured(psf, 3000)):
            assert is_like_a_point(given), step


@pytest.mark.parametrize("kind", ["tubules", "bodies", "filaments", "sheets", "mixture"])
def test_an_image_of_a_specimen_is_not_taken_for_a_psf_without_a_word(kind):
    truth = nl.make_structures(kind, (16, 48, 48), rng=0, background=30).image
    image = np.random.default_rng(0).poisson(gaussian_filter(truth, (2, 1, 1))) + 100.0
    for given in (image, image[8]):
        assert prepare_psf(given.astype(np.float32)).notes[0] == UNLIKE_A_POINT
    assert prepare_psf(image.astype(np.float32), center=False).notes == ()
    # The origin of a PSF for Fourier transforms is in the corner.
    corner = np.fft.ifftshift(gaussian((9, 31, 31), (4, 15, 15)))
    assert UNLIKE_A_POINT in prepare_psf(corner).notes


def test_a_psf_of_other_voxels_is_resampled_to_those_of_the_image():
    fine = nl.make_psf("widefield", (61, 61, 61), voxel_size=0.08, **OPTICS)
    ready = prepare_psf(fine, steps=(0.08, 0.08, 0.08), image_steps=(0.24, 0.16, 0.16))
    expected = nl.make_psf("widefield", ready.kernel.shape, voxel_size=(0.24, 0.16, 0.16), **OPTICS)
    assert "0.08 × 0.08 × 0.08 to the image's 0.24 × 0.16 × 0.16" in ready.notes[0]
    # Means over voxels against values at their centres.
    assert np.abs(ready.kernel - expected).max() < 0.06 * expected.max()
    assert prepare_psf(fine, steps=(0.08,) * 3, image_steps=(0.0801,) * 3).notes == ()


def test_interpolation_keeps_the_sum_of_a_smooth_psf():
    given = gaussian((21, 21), (10.4, 9.7)).astype(float)
    assert resample(given, (10.4, 9.7), (1, 1)).sum() == pytest.approx(given.sum(), rel=1e-3)
    assert resample(given, (10.4, 9.7), (1.7, 2)).sum() * 3.4 == pytest.approx(given.sum(), rel=1e-3)


def test_dark_ends_are_cut_off_and_haze_is_kept():
    dark = np.zeros((41, 41), np.float32)
    dark[12:29, 12:29] = gaussian((17, 17), (8, 8))
    assert prepare_psf(dark).kernel.shape == (13, 13)
    haze = nl.make_psf("widefield", (63, 31, 31), voxel_size=0.16, **OPTICS)
    assert prepare_psf(haze).kernel.shape == haze.shape


@pytest.mark.parametrize(
    ("psf", "words"),
    [
        (np.ones(5), r"\(Z, Y, X\)"),
        (np.zeros((3, 3)), "is empty: all its voxels are 0"),
        (np.array([[1, -1], [-1, 1 + 1e-6]]), "only rounding"),
    ],
)
def test_what_is_no_psf_is_refused(psf, words):
    with pytest.raises(ValueError, match=words):
        check_psf(psf.astype(np.float32))


def test_the_haze_of_a_cropped_widefield_psf_is_no_camera_offset():
    psf = nl.make_psf(
        "widefield",
        (9, 9, 9),
        numerical_aperture=0.8,
        refractive_index=1.33,
        emission_um=0.525,
        voxel_size=0.16,
    )
    np.testing.assert_allclose(prepare_psf(psf).kernel, psf / psf.sum(), rtol=1e-5)


def test_a_psf_that_is_not_to_be_centred_is_used_as_it_is():
    psf = np.random.default_rng(0).random((6, 9, 8), dtype=np.float32) + 1
    prepared = prepare_psf(psf, center=False)
    np.testing.assert_allclose(prepared.kernel, psf / psf.sum(), rtol=1e-6)
    assert prepared.notes == ()


@pytest.mark.parametrize("shape", [(15, 15, 15), (9, 31, 31), (9, 15, 15), (31, 31)])
@pytest.mark.parametrize("numerical_aperture", [0.3, 0.5, 0.8, 1.2])
def test_no_computed_psf_loses_haze_as_a_camera_offset(shape, numerical_aperture):
    for step in (0.1, 0.1625, 0.3):
        psf = nl.make_psf(
            "widefield",
            shape,
            numerical_aperture=numerical_aperture,
            refractive_index=1.33,
            emission_um=0.525,
            voxel_size=(max(step, 0.2), step, step)[-len(shape) :],
        ).astype(float)
        assert find_offset(psf) == (0, 0), step
        # Off its centre, of even size, and rounded to the counts of a camera file.
        for other in (psf[..., 1:], psf[..., 2:, :-1], np.round(psf / psf.max() * 4000)):
            assert find_offset(other) == (0, 0), step


@pytest.mark.parametrize("shape", [(15, 31, 31), (31, 31), (9, 21, 25)])
@pytest.mark.parametrize(("offset", "noise"), [(100, 3), (400, 20), (20, 4)])
def test_a_camera_offset_with_noise_is_found_on_small_frames(shape, offset, noise):
    psf = nl.make_psf("gaussian", shape, voxel_size=(0.3, 0.1, 0.1)[-len(shape) :], **OPTICS)
    for seed in range(4):
        camera = 3000 * psf / psf.max() + np.random.default_rng(seed).normal(offset, noise, shape)
        found, spread = find_offset(camera.astype(float))
        assert found == pytest.approx(offset, rel=0.05)
        assert spread == pytest.approx(noise, rel=0.5)
