"""A PSF for each channel, in one run."""

from __future__ import annotations

import json

import numpy as np
import pytest

import napari_lucyd as nl
from napari_lucyd.deconvolution import Wiener, method_from_recipe, options_from_recipe, plan

OPTICS = {"numerical_aperture": 0.8, "refractive_index": 1.33, "voxel_size": 0.2}


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).poisson(30, (2, 3, 9, 24, 24)).astype(np.uint16)


@pytest.fixture(scope="module")
def psfs() -> list[np.ndarray]:
    return [
        nl.make_psf("widefield", (size, 9, 9), emission_um=emission, **OPTICS)
        for size, emission in ((5, 0.46), (7, 0.7))
    ]


@pytest.mark.parametrize(
    "kind",
    [lambda psf: nl.RichardsonLucy(psf, num_iter=3), lambda psf: Wiener(psf, balance=0.3)],
    ids=["richardson-lucy", "wiener"],
)
def test_each_channel_is_restored_with_its_own_psf(image, psfs, kind):
    together = nl.deconvolve(image, kind(psfs), axes="CTZYX", device="cpu")
    for channel, psf in enumerate(psfs):
        alone = nl.deconvolve(image[channel], kind(psf), axes="TZYX", device="cpu")
        np.testing.assert_array_equal(together.output[channel], alone.output)
    assert np.abs(together.output[1] - nl.deconvolve(image[1], kind(psfs[0]), axes="TZYX").output).max() > 1


def test_a_region_of_one_channel_takes_the_psf_of_that_channel(image, psfs):
    method = nl.RichardsonLucy(psfs, num_iter=3)
    whole = nl.deconvolve(image, method, axes="CTZYX", device="cpu").output
    part = nl.deconvolve(
        image, method, axes="CTZYX", device="cpu", region=(slice(1, 2), *[slice(None)] * 4)
    ).output
    np.testing.assert_array_equal(part[0], whole[1])


def test_a_recipe_with_several_psfs_repeats_the_run(image, psfs):
    run = nl.deconvolve(image[:, :1], nl.RichardsonLucy(psfs, num_iter=2), axes="CTZYX", device="cpu")
    recipe = json.loads(json.dumps(run.recipe))
    assert [entry["shape"] for entry in recipe["psf"]] == [[5, 9, 9], [7, 9, 9]]
    again = nl.deconvolve(image[:, :1], method_from_recipe(recipe, psfs), **options_from_recipe(recipe))
    np.testing.assert_array_equal(again.output, run.output)
    with pytest.raises(ValueError, match="is not that of the run"):
        method_from_recipe(recipe, psfs[::-1])
    with pytest.raises(ValueError, match="The run used 2 PSFs, but 1 are given"):
        method_from_recipe(recipe, psfs[0])


def test_another_number_of_psfs_than_channels_is_refused(image, psfs):
    with pytest.raises(ValueError, match="lists 2 PSFs, one for each channel, but the image has 3 channels"):
        plan(image[:, 0].repeat(2, 0)[:3], nl.RichardsonLucy(psfs), axes="CZYX", device="cpu")
    with pytest.raises(ValueError, match="but the image has 1 channel"):
        plan(image[0, 0], nl.RichardsonLucy(psfs), axes="ZYX", device="cpu")
    with pytest.raises(ValueError, match="give as many axes to each"):
        nl.RichardsonLucy([psfs[0], psfs[1][0]])


def test_a_list_of_one_psf_and_nested_lists_of_numbers_are_one_psf(psfs):
    assert nl.RichardsonLucy(psfs[:1]).psf.shape == (5, 9, 9)
    assert nl.RichardsonLucy([[1, 2, 1], [2, 4, 2]]).psf.shape == (2, 3)


def test_memory_and_halo_follow_from_the_largest_psf(image, psfs):
    several, largest = (
        plan(image[:, 0], nl.RichardsonLucy(psf, num_iter=3), axes="CZYX", device="cpu", tile_shape=(8, 8, 8))
        for psf in (psfs, psfs[1])
    )
    assert several.halo == largest.halo
    assert several.memory_bytes == largest.memory_bytes
    assert "2 PSFs of up to 7 × 9 × 9" in several.description


def test_what_is_changed_in_a_psf_is_said_with_its_channel(image, psfs):
    moved = np.roll(psfs[1], 2, axis=2)
    job = plan(image[:, 0], nl.RichardsonLucy([psfs[0], moved]), axes="CZYX", device="cpu")
    assert any(text.startswith("Channel 1: The PSF's centre of mass is off") for text in job.warnings)


def test_a_list_of_emissions_gives_a_psf_for_each():
    both = nl.make_psf("widefield", (5, 9, 9), emission_um=[0.46, 0.7], **OPTICS)
    assert both.shape == (2, 5, 9, 9)
    assert len(nl.RichardsonLucy(list(both)).psfs) == 2
    for psf, emission in zip(both, (0.46, 0.7), strict=True):
        np.testing.assert_array_equal(
            psf, nl.make_psf("widefield", (5, 9, 9), emission_um=emission, **OPTICS)
        )
    confocal = nl.make_psf(
        "confocal", (5, 9, 9), emission_um=[0.5, 0.6], excitation_um=[0.45, 0.55], **OPTICS
    )
    assert confocal[0].max() > confocal[1].max()
    with pytest.raises(ValueError, match="emission_um lists 2 wavelengths and excitation_um 1"):
        nl.make_psf("confocal", (5, 9, 9), emission_um=[0.5, 0.6], excitation_um=[0.45], **OPTICS)
    with pytest.raises(ValueError, match="emission_um is an empty list"):
        nl.make_psf("widefield", (5, 9, 9), emission_um=[], **OPTICS)
