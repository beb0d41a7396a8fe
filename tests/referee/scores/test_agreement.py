"""Correlation of halves, residual and reblur error on images made for them."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import napari_lucyd as nl
from napari_lucyd.photons import NoiseModel
from napari_lucyd.psf.gaussian import gaussian_psf
from napari_lucyd.referee import measure_residual, reblur_error, shell_correlation


def halves_with_cut_off(cut_off, shape=(96, 96)):
    """Return two halves that share all detail below a frequency, and nothing above it."""
    random = np.random.default_rng(0)
    radius = np.sqrt(
        sum(np.square(f) for f in np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij"))
    )
    shared, *own = (np.fft.fftn(random.normal(size=shape)) for _ in range(3))
    return tuple(
        np.fft.ifftn(np.where(radius < cut_off, shared, other)).real.astype(np.float32) for other in own
    )


@pytest.mark.parametrize("cut_off", [0.15, 0.3])
def test_halves_are_reproduced_up_to_their_cut_off(cut_off):
    images = halves_with_cut_off(cut_off)
    (found,) = shell_correlation(images, halves_with_cut_off(0.45))
    assert found.resolution_before == pytest.approx(1 / cut_off, rel=0.07)
    assert found.resolution_after < 1 / 0.4
    (scaled,) = shell_correlation(images, images, voxel_size=(0.1, 0.1))
    assert scaled.resolution_after == pytest.approx(0.1 / cut_off, rel=0.07)
    # Whatever the unit of the voxel size is, a text is in voxels.
    written = scaled.in_voxels(scaled.resolution_after)
    assert float(written.removesuffix(" voxels")) == pytest.approx(1 / cut_off, rel=0.08)
    assert scaled.in_voxels(None) == "no limit found"


def test_the_two_directions_of_a_volume_are_told_apart():
    random = np.random.default_rng(1)
    shared = random.normal(size=(48, 48, 48))
    halves = tuple(
        gaussian_filter(shared, (1.6, 0.6, 0.6)) + 0.02 * random.normal(size=shared.shape) for _ in range(2)
    )
    lateral, axial = shell_correlation(halves, halves)
    assert (lateral.direction, axial.direction) == ("lateral", "axial")
    assert lateral.resolution_after is None  # nothing limits it
    assert 2.2 < axial.resolution_after < 3


def test_the_residual_of_the_truth_is_white_and_that_of_a_smoothed_image_is_not():
    volume = nl.make_structures("filaments", (12, 64, 64), rng=3, background=60, contrast=200).image
    truth = volume.max(axis=0)
    image = np.random.default_rng(0).poisson(gaussian_filter(truth, 1.5)).astype(np.float32)
    psf = gaussian_psf((1.5, 1.5))
    noise = NoiseModel(1, 0, 0, 300, True, "simulated")
    good, bad = (measure_residual(image, output, psf=psf, noise=noise) for output in (3 * truth + 50, image))
    assert good.variance == pytest.approx(1, abs=0.15)
    assert abs(good.correlation) < 0.06
    assert bad.correlation > 0.2
    assert bad.variance > 1.3


def test_reblur_error_finds_the_blur_along_each_axis():
    truth = nl.make_structures("puncta", (24, 48, 48), rng=2).image
    image = 0.5 * gaussian_filter(truth, (2.4, 1.2, 1.2)) + 7
    found = reblur_error(image, truth)
    assert found.blur_sigma == pytest.approx((2.4, 1.2, 1.2), rel=0.1)
    assert found.rsp > 0.999
    assert found.rse < 0.02 * np.ptp(image)
    worse = reblur_error(image, truth[:, ::-1].copy())
    assert worse.rsp < 0.7
    with pytest.raises(ValueError, match="of the same shape"):
        reblur_error(image, truth[1:])
