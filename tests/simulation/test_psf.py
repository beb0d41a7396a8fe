"""PSFs against known optics: widths, energy, the support of the transfer function."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

import napari_lucyd as nl
from napari_lucyd.simulation.psf import light_at_the_edge

NUCLEI = {
    "numerical_aperture": 0.8,
    "refractive_index": 1.33,
    "emission_um": 0.525,
    "voxel_size": 0.1625,
}
OIL = {"numerical_aperture": 1.4, "refractive_index": 1.515, "emission_um": 0.6, "voxel_size": 0.04}
KINDS = {
    "gaussian": {},
    "widefield": {},
    "confocal": {"excitation_um": 0.488, "pinhole_airy": 1.0},
    "light_sheet": {"sheet_fwhm_um": 2.0},
}


def test_a_voxel_size_in_another_unit_takes_no_memory():
    for step in (162.5, 1e-3):
        with pytest.raises(ValueError, match=r"samples for each plane, .* is in µm, not nm"):
            nl.make_psf("widefield", (9, 63, 63), **(NUCLEI | {"voxel_size": step}))


def fwhm(profile, step: float) -> float:
    """Full width at half maximum of a profile whose middle sample is its maximum."""
    half = profile[len(profile) // 2 :]
    offsets = np.linspace(0, (len(half) - 1) * step, 20_001)
    mirrored = (np.arange(len(profile)) - len(profile) // 2) * step
    values = CubicSpline(mirrored, profile)(offsets)
    return 2 * offsets[np.argmax(values < values[0] / 2)]


def axial_width(optics) -> float:
    n, aperture = optics["refractive_index"], optics["numerical_aperture"]
    return 0.88 * optics["emission_um"] / (n - np.sqrt(n**2 - aperture**2))


@pytest.fixture(scope="module")
def haze():
    """The PSF of the nuclei surrogate: 127³, so that the cone of light stays inside."""
    return nl.make_psf("widefield", (127, 127, 127), **NUCLEI)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(9, 15, 13), (15, 13), (1, 7, 7), (1, 1)])
def test_psf_is_centred_symmetric_and_sums_to_one(kind, shape):
    psf = nl.make_psf(kind, shape, **(NUCLEI | {"voxel_size": 0.15}), **KINDS[kind])
    assert (psf.shape, psf.dtype) == (shape, np.float32)
    assert psf.min() >= 0
    assert psf.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    assert np.unravel_index(psf.argmax(), shape) == tuple(n // 2 for n in shape)
    for axis in range(psf.ndim):
        np.testing.assert_allclose(psf, np.flip(psf, axis), atol=1e-6 * psf.max())
    if psf.ndim == 3 and psf.shape[0] == 1:
        np.testing.assert_allclose(
            psf[0], nl.make_psf(kind, shape[1:], **(NUCLEI | {"voxel_size": 0.15}), **KINDS[kind])
        )


def test_nuclei_have_the_widths_of_the_protocol(haze):
    # The protocol's two numbers come from the formulas below. For a filled circular pupil they hold to a few
    # per cent.
    assert fwhm(haze[63, 63], 0.1625) == pytest.approx(0.335, rel=0.03)
    assert fwhm(haze[:, 63, 63], 0.1625) == pytest.approx(1.73, rel=0.03)


@pytest.mark.parametrize("kind", ["widefield", "gaussian"])
@pytest.mark.parametrize("aperture", [0.4, 0.8])
def test_widths_are_those_of_diffraction(kind, aperture):
    optics = NUCLEI | {"numerical_aperture": aperture, "voxel_size": (0.5, 0.08, 0.08)}
    psf = nl.make_psf(kind, (41, 31, 31), **optics)
    assert fwhm(psf[20, 15], 0.08) == pytest.approx(0.51 * 0.525 / aperture, rel=0.02)
    assert fwhm(psf[20, :, 15], 0.08) == pytest.approx(0.51 * 0.525 / aperture, rel=0.02)
    # 0.88 is 0.886, the value of sinc², rounded. A pupil that is even in the plane is not quite even along Z.
    assert fwhm(psf[:, 15, 15], 0.5) == pytest.approx(axial_width(optics), rel=0.03)


def test_airy_disc_has_its_dark_rings():
    step = 0.015
    psf = nl.make_psf("widefield", (201, 201), **(OIL | {"voxel_size": step}))
    profile = psf[100, 100:] / psf.max()
    dark = [index for index in range(1, 100) if profile[index] < min(profile[index - 1], profile[index + 1])]
    # First zeros of J1: 1.2197 π and 2.2331 π; they lie within half a step, and the pupil's steps add 1 %.
    expected = np.array([1.2197, 2.2331]) * 0.6 / (2 * 1.4)
    np.testing.assert_allclose(np.array(dark[:2]) * step, expected, atol=step / 2 + 0.01 * expected[1])
    assert profile[dark[0] : dark[1]].max() == pytest.approx(0.0175, rel=0.05)


def test_every_plane_of_a_widefield_psf_holds_the_same_energy(haze):
    energy = haze.sum(axis=(1, 2)) * len(haze)
    # In the far planes the cone reaches 7.7 of the field's 10.3 µm; only outer rings are lost.
    np.testing.assert_allclose(energy, 1, atol=0.01)


def test_nothing_passes_beyond_the_cut_off_of_the_optics():
    step = 0.06
    psf = nl.make_psf("widefield", (401, 401), **(OIL | {"voxel_size": step})).astype(float)
    # The crop cuts the rings. A window that fades keeps this from smearing the spectrum.
    fade = np.hanning(403)[1:-1]
    transfer = np.abs(np.fft.fft2(psf * fade[:, None] * fade))
    frequency = np.fft.fftfreq(401, step)
    radius = np.hypot(frequency[:, None], frequency)
    cut_off = 2 * 1.4 / 0.6
    spacing = 1 / (401 * step)
    assert transfer[radius > cut_off + 3 * spacing].max() < 1e-5 * transfer.max()
    assert transfer[radius < 0.9 * cut_off].min() > 1e-3 * transfer.max()
    # Half way the diffraction-limited transfer is 2/π (arccos ½ − ½ sqrt(¾)).
    half = transfer[0, np.argmin(np.abs(frequency - cut_off / 2))] / transfer.max()
    assert half == pytest.approx(0.391, abs=0.01)


def test_widefield_misses_the_cone_along_the_axis_and_a_sheet_fills_it(haze):
    sheet = nl.make_psf("light_sheet", (127, 127, 127), **NUCLEI, sheet_fwhm_um=2.0)

    def along_z(psf):
        # Lateral sums are the transfer function on the kz axis.
        return np.abs(np.fft.rfft(psf.sum(axis=(1, 2)) * 1.0))

    assert along_z(haze)[1:].max() < 0.01
    assert along_z(sheet)[5] > 0.3


def test_a_small_pinhole_sharpens_as_the_square_of_an_airy_disc():
    optics = NUCLEI | {"voxel_size": (0.25, 0.06, 0.06)}
    wide = nl.make_psf("widefield", (21, 21, 21), **optics)
    same = {"excitation_um": 0.525}
    point = nl.make_psf("confocal", (21, 21, 21), **optics, **same, pinhole_airy=0.01)
    # Excitation and emission alike, seen through a point: the widefield PSF squared.
    square = wide.astype(float) ** 2
    np.testing.assert_allclose(point, square / square.sum(), rtol=2e-3, atol=1e-4 * point.max())
    # Half of the square is 0.707 of the Airy disc: 0.72 of the width laterally and along Z.
    for profile, plain, step in (
        (point[10, 10], wide[10, 10], 0.06),
        (point[:, 10, 10], wide[:, 10, 10], 0.25),
    ):
        assert fwhm(profile, step) / fwhm(plain, step) == pytest.approx(0.72, abs=0.015)


def test_an_open_pinhole_leaves_the_excitation():
    optics = NUCLEI | {"voxel_size": 0.05}
    wide_open = nl.make_psf("confocal", (61, 61), **optics, excitation_um=0.488, pinhole_airy=40)
    excitation = nl.make_psf("widefield", (61, 61), **(optics | {"emission_um": 0.488}))
    assert fwhm(wide_open[30], 0.05) == pytest.approx(fwhm(excitation[30], 0.05), rel=0.01)
    usual = nl.make_psf("confocal", (61, 61), **optics, excitation_um=0.488)
    point = nl.make_psf("confocal", (61, 61), **optics, excitation_um=0.488, pinhole_airy=0.1)
    assert fwhm(point[30], 0.05) < fwhm(usual[30], 0.05) < fwhm(wide_open[30], 0.05)


@pytest.mark.parametrize("thickness", [0.5, 2.0, 3.5])
def test_a_light_sheet_is_the_widefield_times_the_sheet(haze, thickness):
    psf = nl.make_psf("light_sheet", (127, 127, 127), **NUCLEI, sheet_fwhm_um=thickness)
    z = (np.arange(127) - 63) * 0.1625
    profile = psf.sum(axis=(1, 2))
    # Every plane of the widefield PSF holds the same light, so the share that remains of each is the sheet.
    assert fwhm(profile, 0.1625) == pytest.approx(thickness, rel=0.02)
    sheet = 0.5 ** (4 * (z / thickness) ** 2)
    np.testing.assert_allclose(
        psf[:, 63, 63], (haze[:, 63, 63] * sheet) / (haze.T * sheet).sum(), rtol=1e-4, atol=1e-9
    )


def test_coarse_pixels_are_means_over_their_area():
    fine = nl.make_psf("widefield", (3, 135, 135), **(NUCLEI | {"voxel_size": (0.5, 0.04, 0.04)}))
    coarse = nl.make_psf("widefield", (3, 15, 15), **(NUCLEI | {"voxel_size": (0.5, 0.36, 0.36)}))
    binned = fine.reshape(3, 15, 9, 15, 9).sum(axis=(2, 4))
    # With nine samples a pixel, its mean lacks a hundredth of the pixel's own variance.
    np.testing.assert_allclose(coarse, binned, atol=0.005 * binned.max())
    # The planes have equal energy, although no sample falls into most of the Airy disc.
    assert np.ptp(coarse.sum(axis=(1, 2))) < 0.01


def test_width_does_not_depend_on_the_voxel_or_the_field():
    widths = [
        fwhm(nl.make_psf("widefield", (size, size), **(OIL | {"voxel_size": step}))[size // 2], step)
        for size, step in ((11, 0.1), (101, 0.05), (41, 0.02))
    ]
    assert max(widths) / min(widths) < 1.02


def test_pixels_may_be_oblong():
    psf = nl.make_psf("widefield", (41, 61), **(OIL | {"voxel_size": (0.04, 0.02)}))
    assert fwhm(psf[:, 30], 0.04) == pytest.approx(fwhm(psf[20], 0.02), rel=0.01)


def test_progress_comes_by_plane_and_what_it_raises_ends_the_computation():
    told = []
    nl.make_psf("widefield", (9, 7, 7), **NUCLEI, progress=lambda *step: told.append(step))
    # The planes above and below the focus are alike.
    assert told == [(n, 5) for n in range(1, 6)]

    def stop(done, total):
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        nl.make_psf("widefield", (9, 7, 7), **NUCLEI, progress=stop)


def test_light_at_the_edge_is_what_a_widefield_keeps_and_a_gaussian_loses(haze):
    assert light_at_the_edge(haze) == pytest.approx(1, abs=0.05)
    assert light_at_the_edge(nl.make_psf("gaussian", (63, 9, 9), **NUCLEI)) < 1e-6
    assert light_at_the_edge(haze[63]) is None


def test_the_edge_of_a_psf_holds_at_most_the_light_in_focus_wherever_the_focus_is():
    planes = np.ones((5, 3, 3)) * np.array([1, 4, 2, 1, -1])[:, None, None]
    assert light_at_the_edge(planes) == light_at_the_edge(planes[::-1]) == pytest.approx(0.25)
    assert light_at_the_edge(planes[1:4]) == 1
    assert light_at_the_edge(-planes[4:].repeat(3, 0) * [[[1]], [[3]], [[1]]]) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "widefeld"}, "'gaussian', 'widefield', 'confocal' or 'light_sheet'"),
        ({"shape": (8, 9, 9)}, "odd"),
        ({"shape": (9,)}, "odd"),
        ({"voxel_size": (0.1, 0.1)}, "or 3 of them"),
        ({"voxel_size": 0.0}, "above 0"),
        ({"voxel_size": np.nan}, "above 0"),
        ({"numerical_aperture": 1.4}, "below refractive_index"),
        ({"numerical_aperture": 0.0}, "at least 0.01"),
        ({"emission_um": 525.0}, "0.525 for 525 nm"),
        ({"emission_um": -0.5}, "emission_um is -0.5"),
        ({"kind": "confocal"}, "excitation_um is missing"),
        ({"kind": "confocal", "excitation_um": 0.488, "pinhole_airy": 0.0}, "Airy units"),
        ({"kind": "light_sheet"}, "sheet_fwhm_um is missing"),
        ({"kind": "light_sheet", "sheet_fwhm_um": -2.0}, "in µm"),
        ({"pinhole_airy": 1.0}, "leave it out"),
    ],
)
def test_what_cannot_be_is_refused_in_words(changes, said):
    with pytest.raises(ValueError, match=said):
        nl.make_psf(**({"kind": "widefield", "shape": (9, 9, 9)} | NUCLEI | changes))
