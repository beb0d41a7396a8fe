"""The microscope as a value: its PSF and the PSF's size, its optical units, and values that it refuses."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

import napari_lucyd as nl

OIL = {"numerical_aperture": 1.4, "refractive_index": 1.515, "emission_um": 0.525}
MICROSCOPES = {
    "widefield": nl.Microscope("widefield", **OIL),
    "confocal": nl.Microscope("confocal", **OIL, excitation_um=0.488, pinhole_airy=1.2),
    "light-sheet": nl.Microscope(
        "light-sheet", numerical_aperture=0.8, refractive_index=1.33, emission_um=0.525, sheet_fwhm_um=2.5
    ),
    "deep": nl.Microscope("widefield", **OIL, sample_index=1.45, depth_um=4.0),
}


@pytest.mark.parametrize("name", MICROSCOPES)
def test_psf_is_that_of_the_optics(name):
    microscope = MICROSCOPES[name]
    optics = microscope.parameters
    kind = optics.pop("modality").replace("-", "_")
    expected = nl.make_psf(kind, (9, 21, 21), voxel_size=(0.2, 0.1, 0.1), **optics)
    np.testing.assert_array_equal(microscope.psf((0.2, 0.1, 0.1), (9, 21, 21)), expected)


@pytest.mark.parametrize("name", MICROSCOPES)
def test_a_microscope_is_frozen_and_made_again_from_plain_data(name):
    microscope = MICROSCOPES[name]
    assert nl.Microscope(**json.loads(json.dumps(microscope.parameters))) == microscope
    assert hash(microscope) == hash(dataclasses.replace(microscope))
    with pytest.raises(dataclasses.FrozenInstanceError):
        microscope.emission_um = 0.6


def test_a_psf_has_the_size_that_was_told():
    voxel = (0.2, 0.1, 0.1)
    told = dataclasses.replace(MICROSCOPES["widefield"], psf_size=[9, 21, 23])
    assert told.psf(voxel).shape == told.psf_shape(voxel) == told.psf_shape(voxel, (3, 3, 3)) == (9, 21, 23)
    assert told.psf_shape(voxel[1:]) == (21, 23)
    assert nl.Microscope(**json.loads(json.dumps(told.parameters))) == told
    # A size along Z that was not told is chosen.
    planes = dataclasses.replace(told, psf_size=(21, 23))
    assert planes.psf_shape(voxel) == (MICROSCOPES["widefield"].psf_shape(voxel)[0], 21, 23)
    with pytest.raises(ValueError, match=r"psf_size is \(8, 9, 9\); give two or three odd sizes"):
        dataclasses.replace(told, psf_size=(8, 9, 9))


def test_a_chosen_psf_ends_near_the_volume():
    microscope = MICROSCOPES["widefield"]
    assert microscope.psf_shape((0.2, 0.1, 0.1), (4, 10, 500))[:2] == (7, 15)
    assert microscope.psf_shape((0.2, 0.1, 0.1), (500,) * 3) == microscope.psf_shape((0.2, 0.1, 0.1))


def test_a_light_sheet_may_be_spelled_as_for_a_psf():
    spelled = {"numerical_aperture": 0.8, "refractive_index": 1.33, "emission_um": 0.5, "sheet_fwhm_um": 3.0}
    assert nl.Microscope("light_sheet", **spelled) == nl.Microscope("light-sheet", **spelled)


@pytest.mark.parametrize(
    ("name", "voxel", "kept"),
    [
        # The other half of twice as large a widefield PSF is the haze of planes further away.
        ("widefield", (0.19, 0.1, 0.1), 0.49),
        ("confocal", (0.2, 0.08, 0.08), 0.96),
        ("light-sheet", (0.5, 0.1625, 0.1625), 0.98),
    ],
)
def test_the_chosen_shape_holds_the_light(name, voxel, kept):
    psf = MICROSCOPES[name].psf(voxel)
    assert psf.shape == MICROSCOPES[name].psf_shape(voxel)
    larger = MICROSCOPES[name].psf(voxel, [2 * n - 1 for n in psf.shape])
    window = tuple(slice(n // 2, n // 2 + n) for n in psf.shape)
    assert larger[window].sum() > kept
    # Sideways, nearly no light is cut off in any plane that has light.
    planes, whole = larger[window].sum(axis=(1, 2)), larger.sum(axis=(1, 2))[window[0]]
    bright = whole > 0.01 * whole.max()
    assert (planes / whole)[bright].min() > 0.98
    assert psf[0].max() < psf.max() / 390


def test_a_plane_has_the_psf_in_focus():
    microscope = MICROSCOPES["widefield"]
    flat = microscope.psf((0.1, 0.1))
    assert flat.ndim == 2 and flat.shape == microscope.psf_shape((0.1, 0.1))
    focus = microscope.psf((0.2, 0.1, 0.1), (9, *flat.shape))[4]
    np.testing.assert_allclose(flat, focus / focus.sum(), atol=0.01 * flat.max())


def test_a_deeper_look_takes_a_longer_psf():
    shapes = [
        nl.Microscope("widefield", **OIL, sample_index=1.33, depth_um=depth).psf_shape(0.1)[0]
        for depth in (0.0, 2.0, 8.0)
    ]
    assert shapes[0] < shapes[1] < shapes[2]
    assert shapes[0] == nl.Microscope("widefield", **OIL).psf_shape(0.1)[0]


def test_optical_units_are_those_of_aperture_and_wavelength():
    microscope = MICROSCOPES["widefield"]
    axial, lateral = 0.525 / (1.515 - math.sqrt(1.515**2 - 1.4**2)), 0.525 / 1.4
    assert microscope.optical_units == pytest.approx((axial, lateral, lateral))
    assert microscope.in_optical_units((0.17 * axial, 0.25 * lateral, 0.5 * lateral)) == pytest.approx(
        (0.17, 0.25, 0.5)
    )
    assert microscope.in_optical_units((0.25 * lateral, 0.25 * lateral)) == pytest.approx((0.25, 0.25))
    assert microscope.in_optical_units(0.1) == pytest.approx((0.1 / axial, 0.1 / lateral, 0.1 / lateral))


@pytest.mark.parametrize(("aperture", "index"), [(0.3, 1.0), (0.5, 1.0), (1.0, 1.33)])
def test_psfs_of_all_objectives_are_alike_in_optical_units(aperture, index):
    def psf(aperture, index, wavelength):
        microscope = nl.Microscope(
            "widefield", numerical_aperture=aperture, refractive_index=index, emission_um=wavelength
        )
        return microscope.psf(np.multiply(microscope.optical_units, (0.17, 0.25, 0.25)), (31, 51, 51))

    reference = psf(0.8, 1.33, 0.525)
    assert np.abs(psf(aperture, index, 0.6) - reference).max() < 0.03 * reference.max()


@pytest.mark.parametrize(
    ("modality", "changes", "said"),
    [
        ("brightfield", {}, "'brightfield'; give one of widefield, confocal, light-sheet"),
        ("widefield", {"numerical_aperture": 1.6}, "at least 0.01 and below refractive_index"),
        ("widefield", {"numerical_aperture": 1e-9}, "at least 0.01 and below refractive_index"),
        ("widefield", {"refractive_index": 1e9}, r"refractive_index is 1e\+09; give a number from 1 to 2"),
        ("widefield", {"refractive_index": 0.9}, "refractive_index is 0.9; give a number from 1 to 2"),
        ("widefield", {"emission_um": 525}, "0.525 for 525 nm"),
        ("widefield", {"emission_um": 1e-9}, "emission_um is 1e-09; give a number from 0.1 to 10, in µm"),
        ("widefield", {"emission_um": 1e9}, r"emission_um is 1e\+09; give a number from 0.1 to 10, in µm"),
        ("confocal", {"excitation_um": 0.488, "pinhole_airy": 1e9}, "from 0.001 to 1000, in Airy units"),
        ("light-sheet", {"sheet_fwhm_um": 1e9}, "from 0.01 to 10000, in µm"),
        ("widefield", {"sample_index": 1e9, "depth_um": 1.0}, "sample_index is .* from 1 to 2"),
        ("widefield", {"sample_index": 1.4, "depth_um": 1e9}, "depth_um is .* from 0 to 10000, in µm"),
        ("widefield", {"pinhole_airy": 1.0}, "a widefield PSF does not use it"),
        ("confocal", {}, "excitation_um is missing"),
        ("light-sheet", {}, "sheet_fwhm_um is missing"),
        ("widefield", {"sample_index": 1.33}, "without depth_um"),
    ],
)
def test_what_no_microscope_is_like_is_refused_in_words(modality, changes, said):
    with pytest.raises(ValueError, match=said):
        nl.Microscope(modality, **(OIL | changes))


def test_a_psf_too_large_for_any_memory_is_refused_in_words():
    with pytest.raises(
        ValueError, match=r"at most 536 million are possible\. Check that voxel_size is in µm"
    ):
        MICROSCOPES["widefield"].psf((1e-9, 0.1, 0.1))
    with pytest.raises(ValueError, match=r"Give a smaller psf_size\."):
        dataclasses.replace(MICROSCOPES["widefield"], psf_size=(3, 9999, 99999))


@pytest.mark.parametrize(
    ("changes", "voxel", "said"),
    [
        ({"numerical_aperture": 0.01}, 0.1, "Check numerical_aperture: it is 0.01; objectives have 0.1 to"),
        ({"emission_um": 10.0}, 0.02, "Check emission_um: it is 10;"),
        ({}, 0.0001, "Check that voxel_size is in µm, not nm"),
        ({}, 1000.0, "Check that voxel_size is in µm, not nm"),
        (
            {"numerical_aperture": 0.1},
            0.03,
            "numerical_aperture and voxel_size: the voxels are 44 times",
        ),
    ],
)
def test_the_number_that_is_unlike_microscopes_is_named(changes, voxel, said):
    microscope = dataclasses.replace(MICROSCOPES["widefield"], **changes)
    with pytest.raises(ValueError, match=said):
        microscope.psf(voxel, (31, 97, 97))


def test_sizes_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="give the same number of values for both"):
        MICROSCOPES["widefield"].psf((0.1, 0.1), (9, 21, 21))
    with pytest.raises(ValueError, match="one number above 0, in µm, or 3 of them"):
        MICROSCOPES["widefield"].psf((0.1,) * 4)
