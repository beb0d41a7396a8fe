"""Planted beads: the widths, the light and the resolved distance that a method gives."""

import numpy as np
import pytest

import napari_lucyd as nl
from napari_lucyd.psf.gaussian import gaussian_psf

SIGMA = 1.5


@pytest.fixture(scope="module")
def image():
    random = np.random.default_rng(0)
    made = random.poisson(50, (12, 100, 100))
    made[:, 85:, 85:] += random.poisson(900, (12, 15, 15))
    return made.astype(np.uint16)


def test_the_image_itself_has_the_width_of_bead_and_blur(image):
    found = nl.plant_beads(image, None, blur_sigma=SIGMA)
    expected = 2.355 * np.hypot(SIGMA, 0.7)
    assert found.fwhm_image == pytest.approx((expected,) * 3, rel=0.12)
    assert found.fwhm_result == pytest.approx(found.fwhm_image, rel=0.01)
    assert found.fwhm_planted == pytest.approx((2.355 * 0.7,) * 3, rel=0.1)
    assert found.light == pytest.approx(1, abs=0.1)
    assert found.resolved_image == found.resolved_result == 5
    assert min(stop for _, stop in found.place[1:]) <= 87  # away from the bright corner


def test_richardson_lucy_narrows_beads_and_resolves_closer_pairs(image):
    before = image.copy()
    psf = gaussian_psf((SIGMA,) * 3)
    found = nl.plant_beads(image, nl.RichardsonLucy(psf, num_iter=20), device="cpu")
    assert max(found.fwhm_result) < 0.75 * min(found.fwhm_image)
    assert found.resolved_result < found.resolved_image
    assert "in the result" in found.text()
    np.testing.assert_array_equal(image, before)


def test_structures_of_the_image_are_no_light_of_the_beads(image):
    grid = np.indices(image.shape)
    everywhere = 400 * (1 + np.sin(grid[1] / 4) * np.sin(grid[2] / 4))
    crowded = np.random.default_rng(1).poisson(50 + everywhere).astype(np.float32)
    method = nl.RichardsonLucy(gaussian_psf((SIGMA,) * 3), num_iter=10)
    assert nl.plant_beads(crowded, method, device="cpu").light == pytest.approx(1, abs=0.25)
    assert nl.plant_beads(crowded, None, blur_sigma=SIGMA).light == pytest.approx(1, abs=0.25)


def test_no_beads_are_planted_in_empty_planes_at_the_ends(image):
    stack = np.pad(image, ((3, 40), (0, 0), (0, 0)))
    found = nl.plant_beads(stack, None, blur_sigma=SIGMA)
    assert 3 <= found.place[0][0] < found.place[0][1] <= 15
    whole = nl.plant_beads(image, None, blur_sigma=SIGMA)
    assert found.place[1:] == whole.place[1:]
    assert found.fwhm_image == pytest.approx(whole.fwhm_image, rel=0.05)


def test_a_small_image_is_refused(image):
    with pytest.raises(ValueError, match="at least 80 voxels"):
        nl.plant_beads(image[:, :70], None, blur_sigma=SIGMA)
