"""PSFs with spherical aberration, against the integral that defines them and the known place of the focus."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, special

import napari_lucyd as nl
from napari_lucyd.simulation.aberration import Aberration, centre_of_light

OIL = {"numerical_aperture": 1.3, "refractive_index": 1.515, "emission_um": 0.525}
AIR = {"numerical_aperture": 0.8, "refractive_index": 1.0, "emission_um": 0.525}
WATER = {"sample_index": 1.33, "depth_um": 5.0}


def gibson_lanni(
    r: float, z: float, *, numerical_aperture, refractive_index, emission_um, sample_index, depth_um
):
    """Intensity at r from the axis with the objective z from the cover glass, by numerical integration."""
    k = 2 * math.pi / emission_um

    def ray(rho: float) -> complex:
        path = depth_um * math.sqrt(sample_index**2 - rho**2) - z * math.sqrt(refractive_index**2 - rho**2)
        return special.j0(k * r * rho) * rho * np.exp(1j * k * path)

    aperture = min(numerical_aperture, sample_index)
    return abs(integrate.quad(ray, 0, aperture, limit=400, complex_func=True)[0]) ** 2


@pytest.mark.parametrize("optics", [OIL, AIR], ids=["oil into water", "air into water"])
def test_psf_is_gibson_and_lannis_integral(optics):
    steps = (0.3, 0.06, 0.06)
    psf = nl.make_psf("widefield", (15, 41, 41), voxel_size=steps, **optics, **WATER)
    focus = centre_of_light(
        optics["numerical_aperture"], optics["refractive_index"], Aberration(1.33, 5.0), (0.525,)
    )
    points = [(z, x) for z in (0, 3, 6, 7, 8, 10, 14) for x in (0, 1, 3, 6, 11, 20)]
    expected = np.array([gibson_lanni(x * 0.06, focus + (z - 7) * 0.3, **optics, **WATER) for z, x in points])
    found = np.array([psf[z, 20, 20 + x] for z, x in points], float)
    scale = (found @ expected) / (expected @ expected)
    # The steps of the pupil and the period of the FFT show faintly.
    np.testing.assert_allclose(found, scale * expected, atol=5e-3 * found.max())


def test_the_tail_lies_deeper_under_oil_and_shallower_under_air():
    for optics, deeper in ((OIL, True), (AIR, False)):
        psf = nl.make_psf("widefield", (41, 31, 31), voxel_size=(0.3, 0.1, 0.1), **optics, **WATER)
        peaks = psf.max(axis=(1, 2))
        assert (peaks[21:].sum() > peaks[:20].sum()) == deeper


@pytest.mark.parametrize("depth", [2.0, 10.0, 40.0])
@pytest.mark.parametrize("optics", [OIL, AIR])
def test_the_focus_lies_between_those_of_the_paraxial_and_of_the_marginal_rays(optics, depth):
    aperture, index = optics["numerical_aperture"], optics["refractive_index"]
    paraxial = depth * index / 1.33
    marginal = depth * math.sqrt((index**2 - aperture**2) / (1.33**2 - aperture**2))
    focus = centre_of_light(aperture, index, Aberration(1.33, depth), (0.525,))
    assert min(paraxial, marginal) < focus < max(paraxial, marginal)


def test_a_small_aperture_has_the_paraxial_focus_and_no_aberration():
    assert centre_of_light(0.1, 1.0, Aberration(1.33, 40.0), (0.525,)) == pytest.approx(40 / 1.33, rel=0.02)
    small = OIL | {"numerical_aperture": 0.3}
    plain = nl.make_psf("widefield", (15, 21, 21), voxel_size=(2.0, 0.3, 0.3), **small)
    deep = nl.make_psf("widefield", (15, 21, 21), voxel_size=(2.0, 0.3, 0.3), **small, **WATER)
    np.testing.assert_allclose(deep, plain, atol=0.02 * plain.max())


@pytest.mark.parametrize(
    "kind", [("widefield", {}), ("confocal", {"excitation_um": 0.488})], ids=lambda k: k[0]
)
@pytest.mark.parametrize(
    "none", [{"sample_index": 1.515, "depth_um": 30.0}, {"sample_index": 1.33, "depth_um": 0}]
)
def test_equal_indices_and_the_surface_have_no_aberration(kind, none):
    name, options = kind
    keywords = {"shape": (9, 21, 21), "voxel_size": (0.2, 0.06, 0.06), **OIL, **options}
    plain = nl.make_psf(name, **keywords)
    np.testing.assert_allclose(nl.make_psf(name, **keywords, **none), plain, atol=1e-6 * plain.max())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("widefield", {}),
        ("confocal", {"excitation_um": 0.488, "pinhole_airy": 1.0}),
        ("light_sheet", {"sheet_fwhm_um": 4.0}),
    ],
)
def test_the_centre_of_mass_above_a_tenth_of_the_peak_is_in_the_middle(kind, options):
    psf = nl.make_psf(kind, (61, 41, 41), voxel_size=(0.1, 0.08, 0.08), **OIL, **WATER, **options)
    core = np.where(psf >= 0.1 * psf.max(), psf, 0).astype(float)
    z = (core.sum(axis=(1, 2)) * (np.arange(61) - 30)).sum() / core.sum()
    assert abs(z) < 1.5  # in planes of 0.1 µm; the light sheet and the pinhole shift it a little
    assert psf.sum(dtype=float) == pytest.approx(1, abs=1e-6) and psf.min() >= 0
    np.testing.assert_allclose(psf, psf[:, ::-1, ::-1], atol=1e-6 * psf.max())


def test_rays_beyond_total_reflection_are_lost():
    steep = OIL | {"numerical_aperture": 1.45}
    psf = nl.make_psf("widefield", (5, 129, 129), voxel_size=0.06, **steep, sample_index=1.33, depth_um=1.0)
    spectrum = np.abs(np.fft.fft2(psf.sum(axis=0)))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(129, 0.06), np.fft.fftfreq(129, 0.06)))
    beyond = frequency > 2 * 1.33 / 0.525 * 1.03
    assert frequency[beyond].size > 100 and spectrum[beyond].max() < 0.01 * spectrum.max()


@pytest.mark.parametrize("waves", [0.03, -0.05, 0.07])
def test_strehl_ratio_of_a_small_aberration_is_marechals(waves):
    low = {
        "numerical_aperture": 0.3,
        "refractive_index": 1.0,
        "emission_um": 0.5,
        "voxel_size": (0.5, 0.4, 0.4),
    }
    # Every plane has the same light, so their peaks can be compared.
    plain = nl.make_psf("widefield", (21, 101, 101), **low)
    aberrated = nl.make_psf("widefield", (21, 101, 101), **low, spherical_aberration=waves)
    assert aberrated.max() / plain.max() == pytest.approx(math.exp(-((2 * math.pi * waves) ** 2)), rel=0.02)


def test_the_sign_of_the_aberration_turns_the_psf_over():
    keywords = {
        "shape": (31, 31, 31),
        "voxel_size": (0.2, 0.1, 0.1),
        **(OIL | {"numerical_aperture": 0.5}),
    }
    one = nl.make_psf("widefield", **keywords, spherical_aberration=0.2)
    other = nl.make_psf("widefield", **keywords, spherical_aberration=-0.2)
    np.testing.assert_allclose(one, other[::-1], atol=0.01 * one.max())
    assert np.abs(one - one[::-1]).max() > 0.1 * one.max()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sample_index": 1.33}, "sample_index is given without depth_um"),
        ({"depth_um": 3.0}, "depth_um is given without sample_index"),
        ({"sample_index": 0.9, "depth_um": 3.0}, "sample_index is 0.9; give a number from 1 to 2"),
        ({"sample_index": 1.33, "depth_um": -1.0}, "depth_um is -1; give a number from 0"),
        ({"spherical_aberration": 5.0}, "from -2 to 2 wavelengths"),
        ({"spherical_aberration": float("nan")}, "spherical_aberration is nan"),
    ],
)
def test_aberrations_that_cannot_be_are_refused_in_words(changes, said):
    with pytest.raises(ValueError, match=said):
        nl.make_psf("widefield", (5, 5, 5), voxel_size=0.1, **OIL, **changes)
    with pytest.raises(ValueError, match="no aberration"):
        nl.make_psf("gaussian", (5, 5, 5), voxel_size=0.1, **OIL, **WATER)
