"""Specimens of structures: contrast under the blur, dynamic range, shapes of the objects, seeds and speed."""

from __future__ import annotations

import time
from typing import get_args

import numpy as np
import pytest
from scipy import ndimage

import napari_lucyd as nl
from napari_lucyd.simulation import acquire, repeat_simulation
from napari_lucyd.simulation.rasterization import Grid, around, draw_points, draw_spots, random_paths
from napari_lucyd.simulation.smooth_noise import SmoothNoise
from napari_lucyd.simulation.structures import StructureKind

KINDS = get_args(StructureKind)
CLASSES = [kind for kind in KINDS if kind != "mixture"]
SHAPE = (24, 64, 64)


def light(specimen: nl.simulation.Phantom) -> np.ndarray:
    """The objects without the background: a density of 0 draws the background alone."""
    return specimen.image - nl.make_structures(**(specimen.parameters | {"density": 0.0})).image


def weighted_mean(image: np.ndarray) -> float:
    return float((image.astype(float) ** 2).sum() / image.sum(dtype=float))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [SHAPE, (48, 96), (1, 7, 9), (5, 1)])
def test_a_specimen_has_its_shape_is_not_negative_and_repeats_by_its_parameters(kind, shape):
    specimen = nl.make_structures(kind, shape, rng=4)
    assert (specimen.image.shape, specimen.image.dtype) == (shape, np.float32)
    assert specimen.image.min() >= 0 and np.isfinite(specimen.image).all()
    np.testing.assert_array_equal(nl.make_structures(**specimen.parameters).image, specimen.image)
    assert np.any(nl.make_structures(kind, shape, rng=5).image != specimen.image)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("density", [0.1, 0.9])
@pytest.mark.parametrize("blur", [0.8, (2.5, 1.5, 1.5)])
def test_contrast_is_that_of_the_blurred_image_from_sparse_to_crowded(kind, density, blur):
    specimen = nl.make_structures(kind, SHAPE, rng=2, density=density, blur_sigma=blur, contrast=500)
    blurred = ndimage.gaussian_filter(np.maximum(light(specimen), 0), blur, mode="constant")
    # The Gaussian is cut off at three sigma while a specimen is made, which keeps 99 % of it.
    assert weighted_mean(blurred) == pytest.approx(500, rel=0.02)


def test_a_mixture_has_about_the_contrast_of_its_brightest_class():
    brightness = []
    for seed in range(12):
        blurred = ndimage.gaussian_filter(light(nl.make_structures(shape=SHAPE, rng=seed)), 1.5)
        brightness.append(weighted_mean(np.maximum(blurred, 0)))
    # Overlapping classes make the sum brighter; a faint class that fills the volume lowers the mean.
    assert min(brightness) > 300 and max(brightness) < 3000


def test_puncta_span_three_decades_of_brightness_under_the_blur():
    specimen = nl.make_structures("puncta", (64, 160, 160), rng=1, density=0.6)
    blurred = ndimage.gaussian_filter(light(specimen), 1.5)
    peaks = blurred[(ndimage.maximum_filter(blurred, 9) == blurred) & (blurred > 1)]
    assert peaks.size > 50
    assert peaks.max() / peaks.min() > 1000


@pytest.mark.parametrize("kind", CLASSES)
def test_density_goes_from_sparse_to_crowded(kind):
    covered = []
    for density in (0.05, 0.5, 1.0):
        blurred = ndimage.gaussian_filter(light(nl.make_structures(kind, SHAPE, rng=3, density=density)), 1.5)
        covered.append(float((blurred > 50).mean()))
    assert covered[0] < covered[1] < covered[2]
    assert covered[0] < 0.15 and covered[2] > 0.25


def test_a_density_of_zero_is_an_uneven_background_of_the_level():
    images = [nl.make_structures(shape=SHAPE, rng=s, density=0, background=40).image for s in range(30)]
    assert np.mean(images) == pytest.approx(40, rel=0.15)
    assert np.mean([image.std() / image.mean() for image in images]) > 0.02
    # The background varies only over the whole field: neighbours are alike.
    assert max(np.abs(np.diff(image, axis=axis)).max() for image in images for axis in range(3)) < 6


def test_objects_are_as_large_along_a_coarse_z_as_across():
    isotropic = nl.make_structures("bodies", (72, 64, 64), rng=1, density=0.5)
    coarse = nl.make_structures("bodies", (24, 64, 64), rng=1, density=0.5, anisotropy=3)

    def length(image: np.ndarray, axis: int) -> float:
        """Lag at which the autocorrelation along an axis falls to half."""
        image = image - image.mean()
        n = image.shape[axis]
        spectrum = np.abs(np.fft.rfft(image, 2 * n, axis=axis)) ** 2
        others = tuple(a for a in range(3) if a != axis)
        correlation = np.fft.irfft(spectrum.sum(axis=others), 2 * n)[:n]
        return float(np.interp(-0.5, -correlation / correlation[0], np.arange(n)))

    assert length(coarse.image, 0) * 3 == pytest.approx(length(isotropic.image, 0), rel=0.35)
    assert length(coarse.image, 2) == pytest.approx(length(coarse.image, 0) * 3, rel=0.4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_specimen_of_64_160_160_takes_under_a_second_of_the_processor(kind):
    nl.make_structures(kind, (8, 16, 16))
    spent = []
    for density in (0.2, 1.0):
        best = np.inf
        for _ in range(4):
            start = time.thread_time()
            nl.make_structures(kind, (64, 160, 160), rng=1, density=density)
            best = min(best, time.thread_time() - start)
        spent.append(best)
    assert max(spent) < 1


def test_a_degraded_specimen_is_made_again_by_its_record():
    specimen = nl.make_structures("sheets", (16, 32, 32), rng=6)
    sample = nl.degrade(specimen, blur_sigma=1.5, noise_sigma=0.02, photons=300, photometric=True)
    np.testing.assert_array_equal(repeat_simulation(sample.parameters).image, sample.image)
    with pytest.raises(ValueError, match=r"make_structures\(\*\*parameters\)"):
        repeat_simulation(specimen.parameters)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "stars"}, "kind is 'stars'; give one of mixture, puncta"),
        ({"shape": (8,)}, r"shape is \(8,\); give \(Z, Y, X\) or \(Y, X\)"),
        ({"shape": (0, 8, 8)}, "each at least 1"),
        ({"density": 1.5}, "density is 1.5; give a number from 0 to 1"),
        ({"contrast": -1}, "contrast is -1"),
        ({"background": float("nan")}, "background is nan"),
        ({"anisotropy": 0}, "anisotropy is 0"),
        ({"blur_sigma": (1, 2)}, "give one number of at least 0, or 3 of them"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(changes, said):
    with pytest.raises(ValueError, match=said):
        nl.make_structures(**({"shape": (8, 8, 8)} | changes))


# Light from beyond the field


@pytest.mark.parametrize("psf_shape", [(9, 31, 21), (51, 61, 71)])
@pytest.mark.parametrize("field", [(10, 16, 17), (16, 17), (1, 1, 1), (20, 32, 33)])
def test_a_field_inside_a_specimen_gets_the_light_from_outside(psf_shape, field):
    random = np.random.default_rng(0)
    specimen, psf = random.random((20, 32, 33), np.float32), random.random(psf_shape)
    whole = acquire(specimen, psf, background=0.2)
    sizes = (1, *field)[-3:]
    window = tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip((20, 32, 33), sizes, strict=True))
    seen = acquire(specimen, psf, background=0.2, field_shape=field)
    assert seen.image.shape == seen.truth.shape == field
    np.testing.assert_allclose(seen.image, whole.image[window].reshape(field), atol=2e-6)
    np.testing.assert_array_equal(seen.truth, specimen[window].reshape(field))
    assert seen.parameters["field_shape"] == list(field)


def test_haze_comes_in_from_planes_that_the_camera_does_not_see():
    specimen = np.zeros((41, 64, 64), np.float32)
    specimen[5, 32, 32] = 1e4  # far below the plane in focus
    psf = nl.Microscope("widefield", numerical_aperture=0.8, refractive_index=1.33, emission_um=0.525).psf(
        (0.5, 0.2, 0.2), (41, 63, 63)
    )
    plane = acquire(specimen, psf, field_shape=(48, 48))
    assert plane.truth.max() == 0
    # The image of a point is the PSF's plane at that distance.
    np.testing.assert_allclose(plane.image, 1e4 * psf[35, 7:55, 7:55], atol=0.01)


def test_a_field_of_a_specimen_is_made_again_by_its_record():
    optics = {"kind": "gaussian", "shape": [5, 9, 9], "numerical_aperture": 0.8, "refractive_index": 1.33}
    optics |= {"emission_um": 0.525, "voxel_size": [0.3, 0.16, 0.16]}
    sample = acquire(
        nl.make_structures("tubules", (12, 40, 40), rng=3),
        nl.make_psf(**optics),
        background=100,
        photons_per_unit=0.5,
        read_noise=1.5,
        field_shape=(32, 32),
        psf_parameters=optics,
    )
    again = repeat_simulation(sample.parameters)
    np.testing.assert_array_equal(again.image, sample.image)
    np.testing.assert_array_equal(again.truth, sample.truth)


@pytest.mark.parametrize("field", [(8, 8, 17), (17, 8), (8,), (0, 8, 8)])
def test_a_field_larger_than_the_specimen_is_refused(field):
    with pytest.raises(ValueError, match="a field that fits in the truth"):
        acquire(np.ones((16, 16, 16)), np.ones((3, 3, 3)), field_shape=field)


# Drawing of single objects


@pytest.mark.parametrize("anisotropy", [1.0, 2.5])
def test_spots_keep_their_light_place_and_width_between_voxels(anisotropy):
    grid = Grid((24, 30, 31), anisotropy)
    place = np.array([[12.3 * anisotropy, 14.8, 16.1]])
    spot = draw_spots(grid, place, np.array([0.9 * anisotropy]), np.array([7.0]))
    assert spot.sum() == pytest.approx(7, rel=1e-3)
    for axis, (centre, step) in enumerate(zip(place[0], grid.steps, strict=True)):
        profile = spot.sum(axis=tuple(a for a in range(3) if a != axis)).astype(float)
        at = (np.arange(len(profile)) + 0.5) * step
        mean = (profile * at).sum() / profile.sum()
        assert mean == pytest.approx(centre, abs=0.01)
        variance = (profile * (at - mean) ** 2).sum() / profile.sum()
        # The width of a voxel adds to it, and the window cuts off the tails.
        assert variance == pytest.approx((0.9 * anisotropy) ** 2 + step**2 / 12, rel=0.02)


def test_points_on_a_path_make_an_even_line_of_its_radius():
    grid = Grid((21, 21, 60))
    x = np.arange(-10, 70, 0.6)
    places = np.stack([np.full_like(x, 10.3), np.full_like(x, 10.8), x], axis=1)
    line = draw_points(grid, places, np.ones(len(x)), 0.9)
    along = line[:, :, 5:-5].sum(axis=(0, 1))
    assert along.std() / along.mean() < 0.02
    across = line[:, :, 30].sum(axis=1)
    at = np.arange(21) + 0.5
    mean = (across * at).sum() / across.sum()
    assert mean == pytest.approx(10.3, abs=0.02)
    assert (across * (at - mean) ** 2).sum() / across.sum() == pytest.approx(0.81, rel=0.15)


def test_paths_are_smooth_and_keep_their_direction_over_the_persistence():
    grid = Grid((64, 64, 64))
    generator = np.random.default_rng(0)
    places, directions = random_paths(grid, 400, 60, 40, 1.0, generator)
    steps = np.linalg.norm(np.diff(places, axis=1), axis=2)
    np.testing.assert_allclose(steps, 0.6, rtol=1e-6)
    turns = (directions[:, 1:] * directions[:, :-1]).sum(axis=2)
    assert turns.min() > 0.9  # no corner
    cosine = (directions[:, 0] * directions[:, round(40 / 0.6)]).sum(axis=1).mean()
    assert 0.2 < cosine < 0.6  # exp(-1) for a worm-like chain; the first turn depends on none before it


def test_rings_around_a_path_stand_at_right_angles_at_the_radius():
    _, directions = random_paths(Grid((32, 32, 32)), 5, 30, 20, 1.0, np.random.default_rng(1))
    ring = around(directions, 2.5)
    np.testing.assert_allclose(np.linalg.norm(ring, axis=-1), 2.5, rtol=1e-6)
    np.testing.assert_allclose((ring * directions[:, :, None]).sum(axis=-1), 0, atol=1e-6)


def test_smooth_noise_has_mean_zero_variance_one_and_the_slope_that_it_says():
    generator = np.random.default_rng(0)
    fields = [SmoothNoise((40, 41, 42), (4.0, 6.0, 8.0), generator) for _ in range(20)]
    values = np.stack([field.values() for field in fields])
    assert values.mean() == pytest.approx(0, abs=0.05)
    assert values.var() == pytest.approx(1, rel=0.1)
    slopes = np.gradient(values[0].astype(float), 2.0, 1.0, 1.0)
    expected = np.sqrt(sum(slope**2 for slope in slopes))[2:-2, 2:-2, 2:-2]
    found = fields[0].steepness((2.0, 1.0, 1.0))[2:-2, 2:-2, 2:-2]
    np.testing.assert_allclose(found, expected, atol=0.05 * expected.max())
