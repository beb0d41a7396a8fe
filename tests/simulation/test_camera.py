"""Cameras: hot pixels, read noise by the image's own range, and surrogates of a larger specimen."""

from __future__ import annotations

import numpy as np
import pytest

import napari_lucyd as nl
from napari_lucyd.simulation import acquire, repeat_simulation

PSF = {"kind": "gaussian", "shape": [5, 7, 7], "numerical_aperture": 0.8, "refractive_index": 1.33}
PSF |= {"emission_um": 0.525, "voxel_size": [0.4, 0.16, 0.16]}


def degraded(shape, **options):
    specimen = nl.make_structures("bodies", shape, rng=1)
    return nl.degrade(specimen, noise_sigma=0.02, photons=200, photometric=True, rng=3, **options)


def acquired(shape, **options):
    if len(shape) == 2:  # a plane of a volume
        options, shape = {**options, "field_shape": shape}, (9, *shape)
    specimen = nl.make_structures("bodies", shape, rng=1)
    psf = nl.make_psf(**PSF)
    return acquire(specimen, psf, background=100, photons_per_unit=1, psf_parameters=PSF, rng=3, **options)


@pytest.mark.parametrize("make", [degraded, acquired])
@pytest.mark.parametrize("shape", [(8, 24, 26), (24, 26)])
def test_hot_pixels_are_the_same_in_all_planes_and_leave_the_other_noise_alone(make, shape):
    plain, hot = make(shape), make(shape, hot_pixels=5)
    added = hot.image - plain.image
    changed = np.abs(added) > 0
    assert np.array_equal(changed, np.broadcast_to(changed.reshape(-1, *shape[-2:])[0], shape))
    assert changed.reshape(-1, *shape[-2:])[0].sum() == 5
    np.testing.assert_array_equal(hot.truth, plain.truth)
    heat = np.unique(added.reshape(-1, *shape[-2:])[0][changed.reshape(-1, *shape[-2:])[0]])
    assert heat.max() / heat.min() == pytest.approx(10, rel=0.01)  # 0.2 to 2 times the range
    assert "hot_pixels" not in plain.parameters
    np.testing.assert_array_equal(repeat_simulation(hot.parameters).image, hot.image)


@pytest.mark.parametrize("make", [degraded, acquired])
@pytest.mark.parametrize("count", [-1, 24 * 26 + 1])
def test_more_hot_pixels_than_the_camera_has_are_refused(make, count):
    with pytest.raises(ValueError, match="the camera has 624 pixels"):
        make((24, 26), hot_pixels=count)


def test_read_noise_can_be_a_share_of_the_blurred_images_range():
    specimen = np.zeros((16, 40, 40), np.float32)
    specimen[8, 20, 20] = 1
    still = nl.degrade(specimen, blur_sigma=1.5, noise_sigma=0, photometric=True)
    noisy = nl.degrade(
        specimen, blur_sigma=1.5, noise_sigma=0.1, photometric=True, noise_reference="image", rng=2
    )
    drowned = nl.degrade(specimen, blur_sigma=1.5, noise_sigma=0.1, photometric=True, rng=2)
    assert (noisy.image - still.image).std() == pytest.approx(0.1 * np.ptp(still.image), rel=0.02)
    assert (drowned.image - still.image).std() == pytest.approx(0.1, rel=0.02)
    assert noisy.parameters["noise_reference"] == "image" and "noise_reference" not in drowned.parameters
    with pytest.raises(ValueError, match="give 'truth' or 'image'"):
        nl.degrade(specimen, noise_reference="blur")


def test_a_surrogate_of_a_larger_specimen_has_the_haze_from_outside():
    phantom = nl.make_phantom((40, 48, 48), rng=1)
    inner = nl.make_surrogate(phantom, voxel_size=0.5, field_shape=(20, 32, 32), rng=4)
    cut = phantom.image[10:30, 8:40, 8:40]
    alone = nl.make_surrogate(cut, voxel_size=0.5, rng=4)
    np.testing.assert_array_equal(inner.truth, cut)
    # Phantoms have no objects near their border, but an eighth of the light comes in all the same.
    assert inner.image.mean() > 1.1 * alone.image.mean()
    again = repeat_simulation(inner.parameters)
    np.testing.assert_array_equal(again.image, inner.image)
