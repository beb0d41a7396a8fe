"""Surrogates: the protocol's numbers, flux, borders and noise, and the record of their parameters."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage

import napari_lucyd as nl
from napari_lucyd.simulation import acquire
from napari_lucyd.simulation.surrogates import _PRESETS

OPTICS = {"numerical_aperture": 0.8, "refractive_index": 1.33, "emission_um": 0.525, "voxel_size": 0.1625}


@pytest.fixture(scope="module")
def psf():
    return nl.make_psf("widefield", (9, 11, 13), **OPTICS)


@pytest.mark.parametrize(
    ("specimen", "emission", "photons", "sheet"),
    [("nuclei", 0.525, 5.0, None), ("membranes", 0.607, 1.0, None), ("light_sheet", 0.525, 5.0, 3.5)],
)
def test_presets_have_the_numbers_of_the_protocol(specimen, emission, photons, sheet):
    phantom = nl.make_phantom((20, 32, 24), rng=3)
    sample = nl.make_surrogate(phantom, specimen, rng=4)
    made = sample.parameters
    assert made["surrogate"] == specimen
    assert (made["background"], made["photons_per_unit"], made["read_noise"]) == (30.0, photons, 0.5)
    assert made["psf"] == {
        "kind": "light_sheet" if sheet else "widefield",
        "shape": [127, 127, 127],
        "numerical_aperture": 0.8,
        "refractive_index": 1.33,
        "emission_um": emission,
        "voxel_size": [0.1625] * 3,
        "sheet_fwhm_um": sheet,
    }
    assert (made["rng"], made["phantom"]) == (4, phantom.parameters)
    assert json.loads(json.dumps(made)) == made
    np.testing.assert_array_equal(sample.truth, phantom.image)
    # The stored parameters make the same sample again.
    again = acquire(
        nl.make_phantom(**made["phantom"]),
        nl.make_psf(**made["psf"]),
        **{name: made[name] for name in ("background", "photons_per_unit", "read_noise", "rng")},
    )
    np.testing.assert_array_equal(again.image, sample.image)


def test_a_light_sheet_takes_haze_away_and_membranes_are_noisier():
    phantom = nl.make_phantom((40, 40, 40), rng=1)
    images = {kind: nl.make_surrogate(phantom, kind).image for kind in _PRESETS}
    thin = nl.make_surrogate(phantom, "light_sheet", sheet_fwhm_um=2.0)
    assert thin.parameters["psf"]["sheet_fwhm_um"] == 2.0

    def contrast(image):
        return np.corrcoef(image.ravel(), phantom.image.ravel())[0, 1]

    assert contrast(thin.image) > contrast(images["light_sheet"]) > contrast(images["nuclei"])
    assert contrast(images["nuclei"]) > contrast(images["membranes"])


def test_the_field_of_the_psf_is_the_same_at_any_voxel_size():
    phantom = nl.make_phantom((20, 20, 20))
    made = nl.make_surrogate(phantom, voxel_size=(1.0, 0.325, 0.65)).parameters["psf"]
    # 10.24 µm to each side, in whole voxels.
    assert made["shape"] == [21, 65, 33]
    assert made["voxel_size"] == [1.0, 0.325, 0.65]


def test_the_convolution_is_the_plain_one_without_wrapping(psf):
    truth = np.random.default_rng(0).random((7, 20, 17)).astype(np.float32)
    expected = ndimage.convolve(truth, psf, mode="constant")
    # Float32 transforms: a few units in the last place of the largest value.
    np.testing.assert_allclose(acquire(truth, psf).image, expected, atol=2e-6)
    raised = ndimage.convolve(truth, psf, mode="constant", cval=0.25)
    np.testing.assert_allclose(acquire(truth, psf, background=0.25).image, raised, atol=2e-6)
    # Asymmetric kernels are not flipped.
    shift = np.zeros((1, 3, 5), np.float32)
    shift[0, 0, 4] = 7
    moved = acquire(truth, shift).image
    np.testing.assert_allclose(moved[:, :-1, 2:], truth[:, 1:, :-2], atol=2e-6)
    assert np.abs(moved[:, -1]).max() < 2e-6


def test_light_at_a_border_does_not_come_back_at_the_other():
    truth = np.zeros((5, 64, 64), np.float32)
    truth[0, 0, 0] = 1000
    wide = nl.make_psf("widefield", (127, 127, 127), **OPTICS)
    image = acquire(truth, wide).image
    assert image[0, 0, 0] == image.max()
    # Around the far corner there is the PSF's own value 10 µm away, and rounding.
    assert image[0, -1, -1] < 1e-4 * image.max()
    assert image[0, 0, -1] < 1e-3 * image.max()


def test_flux_inside_is_kept(psf):
    truth = np.zeros((20, 30, 30), np.float32)
    truth[8:12, 10:20, 10:20] = 100
    assert acquire(truth, psf).image.sum() == pytest.approx(truth.sum(), rel=1e-5)
    assert acquire(truth, 3 * psf).image.sum() == pytest.approx(truth.sum(), rel=1e-5)
    flat = np.full((8, 9, 10), 30.0, np.float32)
    np.testing.assert_allclose(acquire(flat, psf, background=30).image, 30, rtol=1e-6)


def test_noise_has_the_moments_of_photons_and_camera(psf):
    flat = np.full((30, 60, 60), 30.0, np.float32)
    image = acquire(flat, psf, background=30, photons_per_unit=5, read_noise=4.0, rng=1).image
    photons = image * 5
    n = photons.size
    # Variances add: 150 of the photons, 16 of the camera. Four standard errors each.
    assert abs(photons.mean() - 150) < 4 * (166 / n) ** 0.5
    assert abs(photons.var() - 166) < 4 * 166 * (2 / n) ** 0.5
    camera = acquire(flat, psf, background=30, read_noise=0.5, rng=1).image
    assert camera.std() == pytest.approx(0.5, rel=0.02)
    # A dark field is as often below zero as above.
    dark = acquire(np.zeros_like(flat), psf, read_noise=0.5, photons_per_unit=1).image
    assert dark.min() < 0


def test_noise_is_seeded(psf):
    truth = nl.make_phantom((20, 24, 24))
    options = {"background": 30, "photons_per_unit": 1, "read_noise": 0.5}
    first, same, other = (acquire(truth, psf, **options, rng=seed).image for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    assert first.dtype == np.float32


def test_planes_are_acquired_with_flat_psfs():
    flat = nl.make_psf("widefield", (15, 15), **OPTICS)
    image = acquire(nl.make_phantom((40, 30)), flat, background=30).image
    assert image.shape == (40, 30)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"truth": np.ones((8, 8))}, r"both as \(Y, X\)"),
        ({"truth": -np.ones((8, 8, 8))}, "truth holds numbers"),
        ({"truth": np.full((8, 8, 8), np.nan)}, "truth holds numbers"),
        ({"psf": np.ones((3, 4, 3))}, "odd"),
        ({"psf": np.zeros((3, 3, 3))}, "0 everywhere"),
        ({"background": -1.0}, "background is -1.0"),
        ({"photons_per_unit": 0.0}, "above 0 or None"),
        ({"read_noise": np.nan}, "read_noise nan"),
    ],
)
def test_acquire_refuses_in_words(psf, changes, said):
    with pytest.raises(ValueError, match=said):
        acquire(**({"truth": np.ones((8, 8, 8)), "psf": psf} | changes))


@pytest.mark.parametrize(
    ("truth", "options", "said"),
    [
        (np.ones((8, 8)), {}, "volume"),
        (np.ones((8, 8, 8)), {"specimen": "actin"}, "'nuclei', 'membranes' or 'light_sheet'"),
        (np.ones((8, 8, 8)), {"sheet_fwhm_um": 2.0}, "no light sheet"),
        (np.ones((8, 8, 8)), {"specimen": "light_sheet", "sheet_fwhm_um": 0.0}, "from 0.01 to 10000"),
        (np.ones((8, 8, 8)), {"voxel_size": -0.1}, "above 0"),
    ],
)
def test_surrogates_refuse_in_words(truth, options, said):
    with pytest.raises(ValueError, match=said):
        nl.make_surrogate(truth, **options)
