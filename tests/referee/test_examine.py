"""Findings about an image before a run: right numbers on images whose noise, blur and cut-off are known."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import dask.array
import numpy as np
import pytest
from scipy import fft, ndimage, signal

import napari_lucyd as nl
from napari_lucyd.errors import Cancelled
from napari_lucyd.psf.spectral_blur import find_blur
from napari_lucyd.referee import examiner
from napari_lucyd.referee.decorrelation import decorrelation_resolution


def photographed(blurred: np.ndarray, noise: float, *, offset: float = 100, gain: float = 2) -> np.ndarray:
    """A camera image with this noise at its bright end, as a share of the range."""
    random = np.random.default_rng(1)
    brightness = blurred / np.percentile(blurred, 99.9)
    return (gain * random.poisson(brightness / noise**2) + random.normal(offset, 1, blurred.shape)).round()


@pytest.fixture(scope="module")
def bodies() -> np.ndarray:
    """Round objects of many sizes, sharp."""
    random = np.random.default_rng(0)
    image = np.zeros((40, 96, 96))
    grid = np.ogrid[: image.shape[0], : image.shape[1], : image.shape[2]]
    for _ in range(40):
        centre, radius = random.uniform(0, image.shape), random.uniform(2, 8)
        image[sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True)) < radius**2] += 1
    return image


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_noise_gain_offset_and_blur_are_found(bodies, noise):
    sigma = (2.2, 1.5, 1.5)
    found = nl.examine(photographed(ndimage.gaussian_filter(bodies, sigma), noise))
    assert found.poisson
    assert found.noise == pytest.approx(noise, rel=0.1)
    assert found.gain == pytest.approx(2, rel=0.1)
    assert abs(found.offset - 100) < 0.03 * 2 / noise**2
    assert found.blur_sigma == pytest.approx(sigma, rel=0.15)
    assert found.recommendation.model == "lucyd"


def test_a_wider_blur_is_found_wider_in_planes_too(bodies):
    plane = ndimage.zoom(bodies[20], 3, order=0)
    widths = [
        find_blur(ndimage.gaussian_filter(plane, sigma) + noise, 1e-4).sigma[0]
        for sigma in (1.5, 2.5)
        for noise in [np.random.default_rng(0).normal(0, 0.01, plane.shape)]
    ]
    assert widths == pytest.approx([1.5, 2.5], rel=0.15)


@pytest.mark.parametrize("cut_off", [0.15, 0.25, 0.35])
def test_resolution_is_the_cut_off(bodies, cut_off):
    spectrum = fft.rfft2(bodies[20])
    spectrum[np.hypot(fft.fftfreq(96)[:, None], fft.rfftfreq(96)) > cut_off] = 0
    image = fft.irfft2(spectrum, (96, 96)) + np.random.default_rng(0).normal(0, 0.003, (96, 96))
    assert decorrelation_resolution(image) == pytest.approx(1 / cut_off, rel=0.05)


def test_noise_alone_has_no_resolution_and_is_left_alone():
    image = np.random.default_rng(0).normal(100, 5, (24, 64, 64))
    found = nl.examine(image)
    assert found.recommendation.leave_alone
    assert decorrelation_resolution(image) is None


def test_planes_that_a_program_has_filled_in_change_neither_noise_nor_blur():
    light = nl.make_structures("bodies", (16, 64, 64), rng=3, background=5, contrast=300).image
    image = 100 + np.random.default_rng(0).poisson(ndimage.gaussian_filter(light, 1.5)).astype(np.uint16)
    filled = image.copy()
    filled[:4], filled[-4:] = 0, 0
    found, expected = nl.examine(filled), nl.examine(image[4:12])
    for name in ("noise", "gain", "offset", "blur_sigma"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name))
    assert found.recommendation.method == expected.recommendation.method == "lucyd"
    assert any("8 of 16 planes are empty. Crop the stack" in text for text in found.warnings)
    result = nl.deconvolve(filled, "lucyd", device="cpu")
    score = nl.score(filled, result, device="cpu")
    alone = nl.score(image[4:12], result.recipe, device="cpu")
    assert score.image_held_out == pytest.approx(alone.image_held_out)
    assert score.held_out > score.image_held_out and score.sample[0] == (4, 12)


def test_a_constant_image_is_left_alone():
    found = nl.examine(np.full((10, 20, 20), 7.0))
    assert found.recommendation.leave_alone
    assert found.blur_sigma is None
    assert found.resolution is None
    json.dumps(found.as_dict(), allow_nan=False)
    constant = "the image is constant: there is nothing to restore. Leave this image alone"
    assert found.summary == constant
    assert not any("empty" in text for text in found.warnings) and "all of the range" not in str(found)


@pytest.mark.parametrize("value", [np.inf, 1e39])
def test_infinite_voxels_are_named_before_a_run(bodies, value):
    stack = photographed(ndimage.gaussian_filter(bodies, (2.2, 1.5, 1.5)), 0.02).astype(np.float64)
    assert not nl.examine(stack).recommendation.leave_alone
    stack[3, 5:9, 5:9] = value
    stack[3, 20] = np.nan
    found = nl.examine(stack)
    assert found.recommendation.leave_alone and "infinite" in found.recommendation.reasons[0]
    assert found.warnings[0].startswith("Replace the voxels that are infinite, or too large for float32")
    assert found.warnings[0].endswith("at least 16.")
    with pytest.raises(ValueError, match="infinite, or too large"):
        nl.deconvolve(stack, "lucyd", device="cpu")


def test_infinite_voxels_anywhere_in_memory_are_named_before_a_run(bodies, monkeypatch, tmp_path):
    monkeypatch.setattr(examiner, "_VOXELS", 2**15)
    channel = photographed(ndimage.gaussian_filter(bodies, (2.2, 1.5, 1.5)), 0.02).astype(np.float32)
    stack = np.stack([channel, channel])
    stack[1, 3, 0, :2] = np.inf
    found = nl.examine(stack, axes="CZYX")
    assert all("infinite" in one.recommendation.reasons[0] for one in found.channels)
    assert found.warnings[0].endswith("at least 2.")
    with pytest.raises(Cancelled):
        nl.examine(stack, axes="CZYX", should_stop=lambda: True)
    mapped = np.memmap(tmp_path / "stack", np.float32, "w+", shape=stack.shape)
    mapped[:] = stack
    for lazy in (dask.array.from_array(stack), mapped, np.asarray(mapped)):
        assert not any("infinite" in text for text in nl.examine(lazy, axes="CZYX").warnings)


def test_a_mask_is_not_examined(bodies):
    with pytest.raises(TypeError, match="The image is a mask"):
        nl.examine(bodies > bodies.mean())


def test_noise_that_is_not_of_photons_is_said_and_gives_no_gain(bodies):
    image = photographed(ndimage.gaussian_filter(bodies, 1.5), 0.05)
    found = nl.examine(np.round(20 * image / image.max()))
    assert not found.poisson
    assert found.gain is None
    assert found.read_noise is None
    assert any("held-out photons are not available" in text for text in found.warnings)
    assert "Gain" not in str(found)


def test_no_model_is_recommended_beyond_the_noise_that_it_was_trained_for(bodies):
    image = photographed(ndimage.gaussian_filter(bodies, 1.5), 0.25)
    found = nl.examine(image)
    assert found.poisson and any("trained for up to" in text for text in found.warnings)
    assert found.recommendation.method == "auto" and "compare methods" in found.summary
    assert "use lucyd" not in str(found) and "--method auto" in str(found)
    # Without photon noise nothing can be compared.
    stretched = nl.examine(np.round(9 * image / image.max()))
    assert not stretched.poisson and stretched.noise > 0.2
    assert "use lucyd with a prefilter" in stretched.summary


@pytest.mark.parametrize(("read_noise", "noisy"), [(0.05, False), (0.2, True)])
def test_noise_beyond_the_training_is_named_before_a_run_as_in_the_run(bodies, read_noise, noisy):
    light = ndimage.gaussian_filter(bodies, 1.5)
    light *= 1000 / np.percentile(light, 99.9)
    image = np.random.default_rng(0).normal(light + 5000, 1000 * read_noise).astype(np.float32)

    def named(texts):
        return [re.findall(r"noise is about (\d+) %", text) for text in texts if "noise is about" in text]

    before = named(nl.examine(image).warnings)
    assert before == named(nl.deconvolve(image, "lucyd", blur_sigma=1.5, device="cpu").recipe["warnings"])
    assert bool(before) == noisy


def test_each_channel_is_examined_with_its_microscope(bodies):
    blurred = ndimage.gaussian_filter(bodies, 1.5)
    image = np.stack([photographed(blurred, 0.02), photographed(blurred, 0.08)])
    green, red = (
        nl.Microscope(
            "confocal", numerical_aperture=1.2, refractive_index=1.33, emission_um=e, excitation_um=0.4
        )
        for e in (0.5, 0.8)
    )
    found = nl.examine(image, voxel_size=(0.3, 0.15, 0.15), microscope=[green, red])
    assert [one.channel for one in found.channels] == [0, 1]
    assert found.noise == found.channels[1].noise > found.channels[0].noise
    assert found.channels[0].sampling[1] == pytest.approx(0.15 / (0.25 * 0.5 / 1.2))
    assert any("larger than the optics need along Y" in text for text in found.channels[0].warnings)
    assert not any("larger than the optics need along Y" in text for text in found.channels[1].warnings)
    assert "Channel 1" in str(found)


def test_empty_planes_and_saturation_are_found(bodies):
    image = photographed(ndimage.gaussian_filter(bodies, 1.5), 0.05)
    image[:3] = 0
    image = np.minimum(image, np.percentile(image, 97))
    found = nl.examine(image)
    assert found.empty_planes[:3] == (0, 1, 2)
    assert any("planes are empty. Crop the stack" in text for text in found.warnings)
    assert 0.02 < found.saturated < 0.05
    assert any("saturated" in text for text in found.warnings)


def test_an_image_is_left_alone_only_if_all_of_its_channels_are():
    points = 2e3 * (np.random.default_rng(0).random((64, 64)) > 0.98)
    noise = np.random.default_rng(1).normal(0, 1, points.shape)
    blurry = ndimage.gaussian_filter(points, 1.5) + noise
    # Without contrast, and as sharp as its voxels allow, with more noise than the other channel.
    constant, sharp = np.full_like(points, 7), ndimage.gaussian_filter(points / 8, 0.3) + noise
    for alone in (constant, sharp):
        for number, channels in enumerate([[alone, blurry], [blurry, alone]]):
            found = nl.examine(np.stack(channels), axes="CYX")
            assert found.channels[number].recommendation.leave_alone
            assert not found.recommendation.leave_alone and np.isfinite(found.noise)
            assert found.summary.endswith(f"(nothing to restore in C {number})")
            assert "this image" not in str(found) and "leave this channel alone" in str(found)
        both = nl.examine(np.stack([alone, alone]), axes="CYX")
        assert both.recommendation.leave_alone and both.summary.lower().endswith("leave this image alone")


def test_a_flash_in_any_channel_is_named_before_a_run(bodies):
    plane = photographed(ndimage.gaussian_filter(bodies, 1.5), 0.05)[20]
    noisy = photographed(ndimage.gaussian_filter(bodies, 1.5), 0.2)[20]
    movie = np.stack([plane, noisy] * 5).reshape(5, 2, *plane.shape)
    assert not any("as bright as most" in text for text in nl.examine(movie, axes="TCYX").warnings)
    movie[2, 0] = 65535  # the frame in the middle, which is examined if it is like the others
    found = nl.examine(dask.array.from_array(movie), axes="TCYX")
    assert found.noise == found.channels[1].noise
    assert found.warnings[0].startswith("C 0, T 2 is 9") and "separate='TC'" in found.warnings[0]
    assert str(found).count("as bright as most") == 1
    assert found.channels[0].noise < found.channels[1].noise < 1


def test_haze_of_a_widefield_microscope_contradicts_a_confocal_one():
    told = {"numerical_aperture": 1.2, "refractive_index": 1.33, "emission_um": 0.525}
    psf = nl.Microscope("widefield", **told).psf((0.2, 0.1, 0.1), (39, 101, 101))
    puncta = np.maximum(nl.make_structures("puncta", (40, 112, 112), rng=3).image - 100, 0)
    light = signal.fftconvolve(np.pad(puncta, 15, mode="reflect"), psf, "same")
    hazy = np.maximum(light[15:-15, 15:-15, 15:-15], 0)
    confocal = nl.Microscope("confocal", excitation_um=0.488, **told)
    sentence = "Light spreads along Z as in a widefield microscope, but the microscope is given as confocal"
    for image, expected in ((hazy, True), (ndimage.gaussian_filter(puncta, (1.5, 1, 1)), False)):
        found = nl.examine(photographed(image, 0.02), voxel_size=(0.2, 0.1, 0.1), microscope=confocal)
        assert any(sentence in text for text in found.warnings) == expected


def test_a_psf_that_is_too_long_for_the_image_is_named():
    microscope = nl.Microscope("widefield", numerical_aperture=1.2, refractive_index=1.33, emission_um=0.525)
    step = (0.2, 0.1, 0.1)
    puncta = nl.make_structures("puncta", (78, 136, 136), rng=3).image
    light = signal.fftconvolve(puncta, microscope.psf(step, (39, 41, 41)), "valid")
    image = photographed(np.maximum(light, 0), 0.02)
    for factor, expected in ((1, False), (2 / 3, True)):
        told = replace(microscope, numerical_aperture=1.2 * factor)
        found = nl.examine(image, voxel_size=step, microscope=told)
        assert any("ghosts above and below" in text for text in found.warnings) == expected
    # Without a voxel size the PSF has no length in planes.
    assert not any("ghosts" in text for text in nl.examine(image, microscope=told).warnings)


def test_a_large_lazy_image_is_read_in_part(bodies):
    read = []
    noise = np.random.default_rng(0).poisson(50, (16, 64, 64)).astype(np.uint16)

    def block(block_info=None):
        read.append(block_info[None]["chunk-location"])
        return np.tile(noise, (1, 4, 4))

    image = dask.array.map_blocks(block, chunks=((16,) * 4, (256,) * 6, (256,) * 6), dtype=np.uint16)
    nl.examine(image)
    assert len(set(read)) < image.npartitions
    assert len(read) < 2 * 3 * 36 + 100  # three planes are looked at as a whole, twice
    in_memory = photographed(ndimage.gaussian_filter(bodies, 1.5), 0.05)
    assert nl.examine(dask.array.from_array(in_memory, chunks=32)) == nl.examine(in_memory)


def test_an_argument_that_does_not_fit_is_refused(bodies):
    with pytest.raises(TypeError, match=r"give a napari_lucyd\.Microscope"):
        nl.examine(bodies, microscope="confocal")
    with pytest.raises(ValueError, match="no finite voxels"):
        nl.examine(np.full((10, 20, 20), np.nan))


def test_a_large_stack_is_examined_in_two_seconds_of_processor_time():
    import time

    random = np.random.default_rng(0)
    light = ndimage.gaussian_filter(2e4 * (random.random((64, 128, 128)) > 0.999), 1.5) + 20
    image = np.tile(random.poisson(light).astype(np.uint16), (1, 8, 8))
    nl.examine(image[:, :64, :64])  # imports at the first call do not count
    began = time.process_time()
    found = nl.examine(image, voxel_size=(0.3, 0.1, 0.1))
    assert time.process_time() - began < 2
    assert found.poisson and found.blur_sigma is not None


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ((1.3, 1.3, 1.3), "need along all axes (1.3 times): finer"),
        ((1.1, 1.3, 1.3), "need along Z (1.1 times), Y and X (1.3 times): finer"),
        ((0.9, 1.3, 1.3), "need along Y and X (1.3 times): finer"),
        ((1.2, 0.9, 0.9), "need along Z (1.2 times): finer"),
    ],
)
def test_axes_that_are_too_coarse_by_the_same_factor_are_named_together(bodies, times, words):
    microscope = nl.Microscope("widefield", numerical_aperture=1.2, refractive_index=1.33, emission_um=0.525)
    finest = np.array(microscope.optical_units) * (0.5, 0.25, 0.25)
    found = nl.examine(photographed(bodies, 0.05), voxel_size=finest * times, microscope=microscope)
    assert [text for text in found.warnings if words in text]
