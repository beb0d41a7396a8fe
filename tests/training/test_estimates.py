"""Patches of first estimates: made with the PSF, scaled as in use, and equal in any order of request."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from napari_lucyd.deconvolution import first_estimate
from napari_lucyd.deconvolution.first_stage.estimate import iterations_for
from napari_lucyd.models.normalization import Normalization
from napari_lucyd.networks import LucydConfig
from napari_lucyd.simulation import acquire, make_structures
from napari_lucyd.training import TrainingConfig, estimates
from napari_lucyd.training.config import DataConfig, ScheduleConfig
from napari_lucyd.training.data import Patches
from napari_lucyd.training.estimates import EstimateSpecimen, gaussian_psf

VOLUMES = DataConfig(
    track="estimates", blur_sigma=(0.7, 2.0), noise_sigma=(0.15, 4.0), axial_ratio=(0.8, 2.0),
    patch_shape=(8, 16, 16), phantom_shape=(8, 24, 24), alive=2, patches_per_phantom=4, misled=0.5,
)  # fmt: skip
PLANES = replace(VOLUMES, patch_shape=(16, 16), phantom_shape=(8, 24, 24))
SCALE = Normalization("first_estimate", pedestal=0.25)


def whole(data, seed, plane=3):
    sizes = data.phantom_shape[-len(data.patch_shape) :]
    window = tuple(slice(0, n) for n in sizes)
    window = window if len(sizes) == 3 else (plane, *window)
    return EstimateSpecimen(data, SCALE, seed).patch(window, np.random.default_rng(0))


def test_estimate_is_nearer_to_the_truth_than_the_image_on_its_scale():
    sigmas = [1.5, 1.5]
    psf = gaussian_psf(sigmas)
    specimen = make_structures("filaments", (74, 74), rng=4, blur_sigma=sigmas)
    sample = acquire(specimen, psf, photons_per_unit=5.0, read_noise=2.0, rng=4, field_shape=(64, 64))
    found = first_estimate(sample.image, psf)
    inner = np.s_[8:-8, 8:-8]
    error, before = (
        np.square(values - sample.truth)[inner].mean() for values in (found.estimate, sample.image)
    )
    assert error < 0.7 * before
    light = (found.estimate - found.level)[inner].sum() / (sample.image - found.level)[inner].sum()
    assert light == pytest.approx(1, abs=0.03)


def test_first_estimate_shifts_and_scales_with_the_image():
    psf = gaussian_psf([1.0, 1.0])
    image = acquire(make_structures("puncta", (48, 48), rng=1), psf, photons_per_unit=1.0, rng=1).image
    found, moved = first_estimate(image, psf), first_estimate(3 * image + 500, psf)
    assert moved.num_iter == found.num_iter
    assert moved.level == pytest.approx(3 * found.level + 500, rel=1e-4)
    assert moved.scale == pytest.approx(3 * found.scale, rel=1e-3)
    np.testing.assert_allclose(
        moved.estimate, 3 * found.estimate + 500, atol=2e-3 * np.ptp(moved.estimate), rtol=0
    )


def test_scale_of_few_bright_objects_is_their_brightness_and_that_of_an_empty_field_its_noise():
    psf, generator = gaussian_psf([1.3, 1.3]), np.random.default_rng(2)
    empty = generator.normal(100, 10, (128, 128)).astype(np.float32)
    bead = np.zeros((128, 128), np.float32)
    bead[64, 64] = 2e4
    bright = empty + acquire(bead, psf).image
    peak = float(bright.max()) - 100
    assert 0.4 * peak < first_estimate(bright, psf).scale < 1.2 * peak
    assert 80 < first_estimate(empty, psf).scale < 140


def test_more_noise_takes_fewer_iterations():
    psf, specimen = gaussian_psf([1.5, 1.5]), make_structures("bodies", (64, 64), rng=3)
    counts = [
        first_estimate(acquire(specimen, psf, photons_per_unit=photons, rng=0).image, psf).num_iter
        for photons in (0.01, 0.1, 10)
    ]
    assert counts == sorted(counts) and counts[0] < counts[-1]


def test_wider_psf_takes_more_iterations_whatever_its_sum():
    counts = [iterations_for(0.05, gaussian_psf([sigma] * 3)) for sigma in (0.7, 1.5, 2.5)]
    assert counts == sorted(counts) and counts[0] < counts[-1]
    assert iterations_for(0.05, 7 * gaussian_psf([1.5] * 3)) == counts[1]


def test_plane_takes_a_fifth_more_iterations_than_a_volume_with_the_same_concentration():
    psf = gaussian_psf([2.0, 2.0])
    assert iterations_for(0.003, psf) == pytest.approx(1.2 * iterations_for(0.003, psf[None]), abs=1)


@pytest.mark.parametrize(("thin", "is_blurred_truth"), [(1.0, True), (0.0, False)])
def test_thin_specimen_has_no_light_from_out_of_focus(thin, is_blurred_truth):
    data = replace(
        PLANES, phantom_shape=(8, 48, 48), modalities=("gaussian",), blur_sigma=(1.0, 1.0),
        noise_sigma=(0.0, 0.0), axial_ratio=(2.0, 2.0), photons=(1e6, 1e6), misled=0.0, thin=thin,
    )  # fmt: skip
    specimen = EstimateSpecimen(data, SCALE, 3)
    expected = ndimage.convolve(specimen._truth[4], specimen._psf / specimen._psf.sum(), mode="nearest")
    inner = np.s_[6:-6, 6:-6]
    error = np.abs(expected - specimen._image[4])[inner].mean() / np.ptp(specimen._image[4])
    assert bool(error < 0.002) is is_blurred_truth


def test_structures_are_drawn_as_often_as_they_are_named(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        estimates,
        "make_structures",
        lambda kind, *args, **options: drawn.append(kind) or make_structures("puncta", *args, **options),
    )
    data = replace(
        PLANES, structures=("mixture", "filaments", "filaments"), modalities=("gaussian",), thin=1.0
    )
    for seed in range(30):
        EstimateSpecimen(data, SCALE, seed)
    assert set(drawn) == {"mixture", "filaments"} and 13 <= drawn.count("filaments") <= 27


@pytest.mark.parametrize("data", [VOLUMES, PLANES])
def test_patches_of_estimates_follow_from_the_seed_alone(data):
    config = TrainingConfig(
        name="estimates", network=LucydConfig(len(data.patch_shape), 1e-2), normalization=SCALE, data=data,
        schedule=ScheduleConfig(patches=16),
    )  # fmt: skip
    forwards, backwards = Patches(config), Patches(config)
    first = [forwards[i] for i in range(3)]
    for i, patch in zip((2, 1, 0), reversed(first), strict=True):
        again = backwards[i]
        assert all(np.array_equal(a, b) for a, b in zip(patch, again, strict=True))
        assert patch.image.shape == (1, *data.patch_shape)
        assert float(patch.image.min()) > -0.5


@pytest.mark.parametrize("kind", ["gaussian", "widefield", "confocal", "light_sheet"])
def test_every_modality_gives_estimates_that_resemble_the_truth(kind):
    data = replace(VOLUMES, modalities=(kind,), photons=(1e4, 2e4), misled=0.0)
    estimate, truth, peak = whole(data, seed=11)
    assert estimate.shape == truth.shape == data.phantom_shape
    assert peak > 0
    assert np.corrcoef(estimate.ravel(), truth.ravel())[0, 1] > 0.3


def test_plane_of_a_volume_is_the_same_whichever_was_asked_for_before():
    specimen = EstimateSpecimen(PLANES, SCALE, 5)
    window = (slice(0, 16), slice(0, 16))
    generator = np.random.default_rng(0)
    specimen.patch((0, *window), generator)
    late = specimen.patch((7, *window), generator)
    early = EstimateSpecimen(PLANES, SCALE, 5).patch((7, *window), generator)
    np.testing.assert_array_equal(late[0], early[0])
    assert not np.array_equal(late[0], specimen.patch((0, *window), generator)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modalities": ("widefeild",)}, "data.modalities"),
        ({"modalities": ()}, "data.modalities"),
        ({"photons": (0.0, 10.0)}, "data.photons"),
        ({"blur_sigma": (0.0, 1.0)}, "data.blur_sigma"),
        ({"blur_sigma": (1.0, 1.2, 1.5)}, "lower and an upper limit"),
        ({"misled": 2.0}, "from 0 to 1"),
        ({"structures": ("filament",)}, "data.structures"),
        ({"structures": ()}, "data.structures"),
        ({"thin": 0.5}, "only 2D patches of 3D phantoms"),
    ],
)
def test_data_of_estimates_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(VOLUMES, **change)
