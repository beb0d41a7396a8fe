"""The noise model of a single image against cameras that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from napari_lucyd.evaluation import open_protocol
from napari_lucyd.photons import NoiseModel, estimate_noise
from photographs import photograph, texture


@pytest.fixture
def read(shared):
    """Read one of the shared real images."""
    import tifffile

    return lambda name: tifffile.imread(shared / "data" / "real" / name)


@pytest.mark.parametrize("shape", [(384, 384), (24, 128, 128)])
@pytest.mark.parametrize(
    ("photons", "gain", "offset", "read_noise", "dtype"),
    [
        (60, 1.0, 0.0, 0.0, np.uint8),
        (200, 2.2, 100.0, 3.5, np.uint16),
        (1000, 0.46, 100.0, 1.2, np.uint16),
        (20, 0.02, 0.0, 0.01, np.float32),
    ],
)
def test_gain_offset_and_read_noise_of_a_camera_are_found(shape, photons, gain, offset, read_noise, dtype):
    camera = photograph(texture(shape, 1.3) * photons, gain, offset, read_noise)
    image = camera.round().clip(0, np.iinfo(dtype).max) if np.dtype(dtype).kind == "u" else camera
    found = estimate_noise(image.astype(dtype))
    assert found.poisson, found.reason
    assert found.gain == pytest.approx(gain, rel=0.08)
    bright = gain * photons
    assert found.offset == pytest.approx(offset, abs=0.01 * bright)
    # Rounding to whole grey levels is noise too.
    read = math.hypot(read_noise, math.sqrt(1 / 12) if np.dtype(dtype).kind == "u" and gain != 1 else 0)
    assert found.variance(found.offset) == pytest.approx(read**2, abs=0.015 * gain * bright + 0.15 * read**2)


@pytest.mark.parametrize("shape", [(256, 256), (20, 96, 96)])
@pytest.mark.parametrize("blur", [1.0, 1.6, 2.5])
@pytest.mark.parametrize("noise", [0.02, 0.05, 0.1])
def test_the_noise_is_found_within_ten_percent(shape, blur, noise):
    # Half of the variance at the bright end is read noise.
    light = texture(shape, blur, seed=3)
    photons = 2 / noise**2
    image = 1000 * photograph(light * photons, 1 / photons, 0.1, noise / math.sqrt(2))
    found = estimate_noise(image.astype(np.float32))
    assert found.noise == pytest.approx(noise, rel=0.1)


@pytest.mark.parametrize("name", ["nuclei_cells3d.tif", "biosr_factin_nl_sim.tif", "imdecorr_test_image.tif"])
@pytest.mark.parametrize("blur", [1.0, 2.5])
@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_the_noise_on_real_textures_is_found_within_ten_percent(read, name, blur, noise):
    light = ndimage.gaussian_filter(read(name).astype(float), blur)[..., :256, :256]
    low, high = np.percentile(light, (0.1, 99.9))
    light = np.clip((light - low) / (high - low), 0, None)
    image = photograph(light / noise**2, noise**2) * 2000 / (1 + 3 * noise) + 400
    found = estimate_noise(image.clip(0, 65535).astype(np.uint16))
    assert found.noise == pytest.approx(noise, rel=0.1)


def test_the_variance_is_right_where_no_part_of_the_image_is_dark():
    light = 50 + 200 * texture((256, 256), 1.5)
    found = estimate_noise(photograph(light, 2.0, 100.0, 4.0))
    assert found.offset == pytest.approx(200, rel=0.02)  # the darkest light counts as offset
    grey = np.array([250.0, 350.0, 500.0])
    assert found.variance(grey) == pytest.approx(2 * (grey - 100) + 16, rel=0.08)


def test_photons_and_grey_levels_convert_both_ways_with_equal_mean_and_variance():
    found = NoiseModel(2.0, 110.0, 4.0, 500.0, True, "")
    assert found.zero_level == 110 - 16 / 2
    photons = found.to_photons(np.array([110.0, 310.0]))
    assert photons == pytest.approx([4, 104])
    assert photons * found.gain**2 == pytest.approx(found.variance([110, 310]))
    assert found.from_photons(photons) == pytest.approx([110, 310])


def test_few_small_objects_in_a_dark_volume_are_enough():
    light = np.zeros((24, 256, 256))
    random = np.random.default_rng(0)
    for site in random.integers(8, 16, (12, 1)) + np.c_[np.zeros(12), random.integers(10, 220, (12, 2))]:
        light[tuple(site.astype(int))] = 8e4
    light = ndimage.gaussian_filter(light, (1.6, 1.4, 1.4))
    image = photograph(light + 2, 2.2, 100, 3.5).round().astype(np.uint16)
    found = estimate_noise(image)
    assert found.poisson, found.reason
    assert found.gain == pytest.approx(2.2, rel=0.25)
    assert found.offset == pytest.approx(104.4, abs=0.3)
    assert 0.2 < (found.bright - 104) / (2.2 * light.max()) < 1


def test_single_photons_in_eight_bits_are_photons_though_most_voxels_are_zero():
    image = photograph(texture((24, 128, 128), 1.5) * 12 + 0.2).astype(np.uint8)
    found = estimate_noise(image)
    assert (image == 0).mean() > 0.4
    assert found.poisson, found.reason
    assert found.gain == pytest.approx(1, rel=0.08)
    assert found.offset == pytest.approx(0.2, abs=0.05)


def test_an_average_of_frames_has_photon_noise_with_a_smaller_gain():
    light = texture((256, 256), 1.5) * 80
    image = np.mean([photograph(light, 2.0, 100, seed=seed) for seed in range(4)], axis=0)
    found = estimate_noise(image)
    assert found.poisson, found.reason
    assert found.gain == pytest.approx(0.5, rel=0.08)


def test_hot_pixels_and_dead_ones_change_little():
    light = texture((256, 256), 1.5) * 200
    image = photograph(light, 2.0, 100, 3.0)
    spots = np.random.default_rng(5).integers(0, 256, (2, 60))
    image[tuple(spots)] = np.where(np.arange(60) % 2, 5000, 0)
    found = estimate_noise(image)
    assert found.gain == pytest.approx(2, rel=0.1)


def test_voxels_that_are_not_finite_are_left_out():
    image = photograph(texture((256, 256), 1.5) * 200, 2.0, 100, 3.0)
    image[40:60, 100:130], image[200, 200] = np.nan, np.inf
    found = estimate_noise(image)
    assert found.poisson and found.gain == pytest.approx(2, rel=0.1)
    assert estimate_noise(np.full((32, 32), np.nan)).poisson is False


def test_a_large_volume_is_sampled_and_its_few_bright_objects_are_met():
    light = np.full((40, 512, 512), 3.0)
    light[10:30, 200:280, 300:360] += 150 * texture((20, 80, 60), 1.5)
    image = photograph(light, 2.0, 100, 2.0).round().astype(np.uint16)
    found = estimate_noise(image)
    assert found == estimate_noise(image)  # the sample is the same each time
    assert found.poisson, found.reason
    assert found.gain == pytest.approx(2, rel=0.12)
    assert found.bright > 250


def counts(seed=1) -> np.ndarray:
    return photograph(texture((256, 256), 1.5) * 60 + 3, seed=seed)


def deconvolved(image) -> np.ndarray:
    from skimage.restoration import richardson_lucy

    line = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    psf = np.outer(line, line) / line.sum() ** 2
    return richardson_lucy(image / image.max(), psf, 20) * image.max()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda y: ndimage.zoom(y, 1.4, order=1), "share their noise"),
        (lambda y: ndimage.shift(y, (0.5, 0.5), order=1), "share their noise"),
        (lambda y: ndimage.rotate(y, 7, order=1, reshape=False, mode="reflect"), "share their noise"),
        (lambda y: ndimage.gaussian_filter(y, 0.6), "share their noise"),
        (lambda y: ndimage.median_filter(y, 3), "share their noise"),
        (deconvolved, "share their noise"),
        (lambda y: y - 0.4 * ndimage.laplace(y), "alternates"),
        (lambda y: (255 * np.sqrt(y / y.max())).round().astype(np.uint8), "does not rise"),
        (np.log1p, "does not rise"),
        (lambda y: photograph(np.zeros(y.shape), 1, 100, 5), "too few|does not rise"),
        (
            lambda y: np.clip(photograph(texture(y.shape, 1.5) * 60, 1, 0, 6), 0, None).round(),
            "lowest value",
        ),
        (lambda y: np.clip(y, None, 40), "Saturated"),
        (lambda y: (photograph(texture(y.shape, 1.5) * 5e4) / 1e3).astype(np.uint8), "grey levels"),
        (lambda y: texture((256, 256), 1.5), "share their noise|no noise"),
        (lambda y: np.full((64, 64), 7, np.uint16), "constant"),
        (lambda y: photograph(np.full((8, 48, 48), 100.0)), "too small, or its brightness too even"),
    ],
)
def test_noise_that_is_not_of_photons_is_refused_with_a_reason(change, reason):
    import re

    found = estimate_noise(change(counts()))
    assert not found.poisson
    assert re.search(reason, found.reason), found.reason
    assert found.reason[0].isupper() and found.reason.endswith(".")


def test_noise_of_one_strength_everywhere_is_measured_without_a_gain():
    light = texture((20, 96, 96), 1.5)
    image = 1000 * light + np.random.default_rng(0).normal(150, 30, light.shape)
    found = estimate_noise(image.astype(np.float32))
    assert not found.poisson and found.gain == 0
    assert found.read_noise == pytest.approx(30, rel=0.05)
    assert found.noise == pytest.approx(0.03, rel=0.1)
    with pytest.raises(ValueError, match="gain is 0"):
        found.to_photons(image)


def test_saturated_voxels_are_counted():
    image = photograph(texture((256, 256), 1.5) * 200, 1.2).round().clip(0, 255).astype(np.uint8)
    assert estimate_noise(image).saturated == (image == 255).mean() > 0
    assert estimate_noise((image // 2).astype(np.uint8)).saturated == pytest.approx((image >= 254).mean())
    assert estimate_noise(counts().astype(np.uint16)).saturated == 0


def test_images_that_cannot_be_examined_are_refused_in_words():
    with pytest.raises(TypeError, match="complex"):
        estimate_noise(np.zeros((32, 32), complex))
    for shape in [(32,), (2, 4, 32, 32), (4, 32), (0, 32, 32)]:
        with pytest.raises(ValueError, match="expected are"):
            estimate_noise(np.zeros(shape))


def test_the_model_of_one_frame_predicts_how_far_the_next_one_differs(read):
    first, second = read("yeast_mito_t0-1.tif").astype(float)
    found = estimate_noise(first.astype(np.uint16))
    assert found.poisson, found.reason
    half = (first - second) ** 2 / 2
    mean = ndimage.gaussian_filter((first + second) / 2, 1)
    # The darkest voxels, then brighter ones; beyond them, the specimen moved between the frames.
    for low, high in [(100, 104), (104, 106)]:
        here = (mean > low) & (mean <= high)
        assert found.variance(mean[here].mean()) == pytest.approx(half[here].mean(), rel=0.2)


@pytest.mark.parametrize(
    ("name", "poisson"),
    [
        ("biosr_factin_nl_wf.tif", True),
        ("biosr_microtubules_wf.tif", True),
        ("imdecorr_test_image.tif", True),
        ("xyz_8bit__chromosomes.tif", True),
        ("lls_bead_pycudadecon.tif", True),
        ("widefield_bead_na0.85.tif", True),
        ("biosr_factin_nl_sim.tif", False),
        ("biosr_microtubules_sim.tif", False),
        ("xyz_calibrated_16bit__golgi_bfa.tif", False),
    ],
)
def test_raw_images_pass_and_reconstructed_ones_do_not(read, name, poisson):
    found = estimate_noise(read(name))
    assert found.poisson is poisson, found.reason


def test_an_image_that_is_partly_constant_is_examined_without_warnings():
    protocol = open_protocol()
    (sample,) = protocol.samples(protocol.columns.index("1.2, 0"), 102)  # a phantom without noise
    found = estimate_noise(sample.image)
    assert not found.poisson and found.reason
    assert math.isfinite(found.gain) and math.isfinite(found.read_noise)
