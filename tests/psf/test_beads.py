"""PSFs from beads: which are used, which are left out and why, and how wide the average is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.signal import fftconvolve

import napari_lucyd as nl
from napari_lucyd.psf.beads import draw_ball, psf_from_beads
from napari_lucyd.psf.widths import widths_at_half_maximum

VOXEL = (0.2, 0.1, 0.1)
SHAPE = (41, 150, 150)
ALONE = [(20.3, 25.2, 25.7), (19.6, 25.4, 75.1), (20.0, 76.3, 24.8), (20.4, 75.5, 76.4), (20.4, 124.6, 25.3),
         (19.9, 124.2, 75.8)]  # fmt: skip
PSF = nl.make_psf(
    "confocal", (31, 31, 31), numerical_aperture=0.8, refractive_index=1.33, emission_um=0.525,
    excitation_um=0.488, voxel_size=VOXEL,
)  # fmt: skip


def bead_image(places, diameter_um=0.0, noise=0.03, offset=100.0) -> np.ndarray:
    """Beads of a peak of about 1000 on an offset, with noise as a share of the peak."""
    spot = PSF.astype(float)
    if diameter_um:
        spot = fftconvolve(spot, draw_ball(diameter_um, VOXEL), mode="same")
    spot = np.pad(spot / spot.max(), 2)
    image = np.zeros(SHAPE)
    for number, place in enumerate(places):
        whole = np.floor(place).astype(int)
        moved = ndimage.shift(spot, np.array(place) - whole, order=3)
        low = whole - np.array(moved.shape) // 2
        start, stop = np.maximum(low, 0), np.minimum(low + moved.shape, SHAPE)
        into = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        out_of = tuple(slice(a - c, b - c) for a, b, c in zip(start, stop, low, strict=True))
        image[into] += (1 + 0.05 * (number % 3)) * moved[out_of]
    random = np.random.default_rng(0)
    return (1000 * image + offset + random.normal(0, 1000 * noise, SHAPE)).astype(np.float32)


@pytest.mark.parametrize("diameter_um", [0.0, 0.2])
def test_the_width_is_that_of_the_psf_in_spite_of_noise_offset_and_clusters(diameter_um):
    cluster = [(20.0, 124.0, 123.0), (20.0, 124.0, 125.5), (20.2, 126.5, 124.0)]
    measured = psf_from_beads(bead_image(ALONE + cluster, diameter_um), VOXEL, bead_diameter_um=diameter_um)
    true = np.array(widths_at_half_maximum(PSF)) * VOXEL
    np.testing.assert_allclose(measured.fwhm_um, true, rtol=0.05)
    assert measured.used == len(ALONE)
    rejected = [bead for bead in measured.beads if bead.rejected]
    assert rejected and all(np.abs(np.array(bead.position) - (20, 125, 124)).max() < 8 for bead in rejected)
    assert measured.psf.sum() == pytest.approx(1, rel=1e-5) and measured.psf.min() >= 0
    assert all(size % 2 for size in measured.psf.shape)
    assert np.unravel_index(measured.psf.argmax(), measured.psf.shape) == tuple(
        size // 2 for size in measured.psf.shape
    )
    assert f"{len(ALONE)} of" in measured.report and "FWHM in µm: Z" in measured.report


def test_the_beads_own_size_is_taken_out():
    image = bead_image(ALONE, diameter_um=0.3, noise=0.005)
    wide = psf_from_beads(image, VOXEL)
    sharp = psf_from_beads(image, VOXEL, bead_diameter_um=0.3)
    true = np.array(widths_at_half_maximum(PSF)) * VOXEL
    assert (np.array(wide.fwhm_um)[1:] > 1.06 * true[1:]).all()
    np.testing.assert_allclose(sharp.fwhm_um, true, rtol=0.05)


def test_each_bead_that_is_left_out_has_a_reason():
    near = [(20.0, 124.0, 115.0), (20.0, 124.0, 124.0)]
    image = bead_image([*ALONE, *near, (20.0, 3.0, 100.0)], noise=0.01)
    saturated = np.minimum(image, 1110)  # the brightest third of the beads
    reasons = {bead.rejected for bead in psf_from_beads(image, VOXEL).beads}
    assert {"", "too near to another", "cut off by the border"} <= reasons
    assert "saturated" in {bead.rejected for bead in psf_from_beads(saturated, VOXEL).beads}


def test_one_bead_is_enough_and_none_is_refused_in_words():
    one = psf_from_beads(bead_image(ALONE[:1], noise=0.01), VOXEL)
    assert one.used == 1
    random = np.random.default_rng(0)
    with pytest.raises(ValueError, match="No bead was found"):
        psf_from_beads(random.normal(100, 3, (9, 40, 40)), VOXEL)
    with pytest.raises(ValueError, match="No bead was found"):
        psf_from_beads(np.full((9, 40, 40), 7), VOXEL)
    with pytest.raises(ValueError, match=r"The only bead cannot be used \(1 cut off by the border\)"):
        psf_from_beads(bead_image([(20.0, 1.0, 75.0)], noise=0.01), VOXEL)


@pytest.mark.parametrize(
    ("positions", "planes", "words"),
    [
        ([(2.0, 75.0, 75.0)], 9, "more planes above and below them: "),
        ([(20.0, 1.0, 75.0)], None, "beads farther from its border, or crop less."),
        ([(20.0, 75.0, 75.0), (20.0, 75.0, 84.0)], None, "beads farther apart."),
    ],
)
def test_beads_that_cannot_be_used_say_what_came_and_what_to_do(positions, planes, words):
    image = bead_image(positions, noise=0.01)[:planes]
    with pytest.raises(ValueError, match="be used") as told:
        psf_from_beads(image, VOXEL)
    text = str(told.value)
    assert words in text and "the box around a bead is" in text and "shape" not in text
    if planes:
        assert "too near to the first or last plane" in text and f"and the stack has {planes}." in text
    with pytest.raises(ValueError, match="A smaller shape may help"):
        psf_from_beads(image, VOXEL, shape=(15, 31, 31))


@pytest.mark.parametrize(
    ("image", "options", "error", "words"),
    [
        (np.ones(9), {}, ValueError, "at least 7"),
        (np.ones((9, 9, 9), complex), {}, TypeError, "complex128"),
        (np.full((9, 9, 9), np.nan), {}, ValueError, "not finite"),
        (np.ones((9, 9, 9)), {"voxel_size": (1, 1)}, ValueError, "3 positive numbers"),
        (bead_image(ALONE), {"shape": (4, 9, 9)}, ValueError, "3 odd numbers"),
        (bead_image(ALONE), {"bead_diameter_um": -0.1}, ValueError, "-0.1; give the diameter"),
        (
            bead_image(ALONE, 0.2),
            {"bead_diameter_um": 200},
            ValueError,
            r"bead_diameter_um is 200, but the beads look only 0\.3\d µm wide\. .* in µm: 0\.2\.",
        ),
        (bead_image(ALONE, 0.2), {"bead_diameter_um": 5}, ValueError, r"Give their diameter in µm\.$"),
        (
            bead_image(ALONE, 0.2)[20],
            {"bead_diameter_um": 1e9, "voxel_size": VOXEL[1:]},
            ValueError,
            "look only",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_in_words(image, options, error, words):
    with pytest.raises(error, match=words):
        psf_from_beads(image, **{"voxel_size": VOXEL, **options})


@pytest.mark.parametrize("voxel_size", [(0.1, 0.1, 0.1), (0.1, 0.1)])
def test_no_beads_are_refused_for_their_true_diameter(voxel_size):
    # The narrowest images that beads can have: the optics add almost no width to theirs.
    ball = ndimage.gaussian_filter(np.pad(draw_ball(1.0, voxel_size), 30), 0.7)
    measured = psf_from_beads(100 + 1e5 * ball, voxel_size, bead_diameter_um=1.0)
    assert measured.used == 1


def test_a_ball_has_the_width_of_its_diameter():
    ball = draw_ball(1.0, (0.1, 0.1, 0.1))
    assert ball.sum() == pytest.approx(1)
    # The mean square distance from the centre is three fifths of the radius squared.
    grids = np.meshgrid(*[np.arange(n) - n // 2 for n in ball.shape], indexing="ij")
    spread = sum((grid * 0.1) ** 2 for grid in grids)
    assert (ball * spread).sum() == pytest.approx(0.6 * 0.25, rel=0.03)
    assert draw_ball(0.01, (0.2, 0.1, 0.1)).shape == (1, 1, 1)
