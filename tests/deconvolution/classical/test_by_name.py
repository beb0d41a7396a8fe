"""The PSF of a run that its recipe tells how to make again."""

import json

import numpy as np
import pytest

import napari_lucyd as nl
from napari_lucyd.deconvolution.classical.by_name import method_from_recipe, recorded_psf
from napari_lucyd.psf.gaussian import gaussian_psf
from napari_lucyd.simulation.psf import make_psf, optics_record

OPTICS = {"numerical_aperture": 0.8, "refractive_index": 1.33, "emission_um": 0.525, "excitation_um": 0.488}
SHAPE, STEPS = (5, 15, 15), (0.3, 0.1, 0.1)


IMAGE = np.random.default_rng(0).poisson(20, (8, 40, 40)).astype(np.float32)


def recipe_with(psf, origin):
    recipe = nl.deconvolve(IMAGE, nl.RichardsonLucy(psf, num_iter=2, center_psf=False), device="cpu").recipe
    # A recipe may have been saved.
    return json.loads(json.dumps({**recipe, "psf": {**recipe["psf"], "origin": origin}}))


@pytest.mark.parametrize(
    ("psf", "origin"),
    [
        (gaussian_psf((1.5, 1.2, 1.2)), {"blur_sigma_voxels": [1.5, 1.2, 1.2]}),
        (
            make_psf("confocal", SHAPE, voxel_size=STEPS, **OPTICS),
            {"optics": optics_record("confocal", **OPTICS), "voxel_size": list(STEPS)},
        ),
    ],
)
def test_a_psf_that_was_made_is_made_again_from_the_recipe(psf, origin):
    recipe = recipe_with(psf, origin)
    np.testing.assert_array_equal(recorded_psf(recipe), psf)
    assert method_from_recipe(recipe).num_iter == 2
    assert nl.score(IMAGE, recipe, device="cpu").blur == "the PSF of the run"


def test_the_psfs_of_channels_that_were_computed_are_made_again_from_the_recipe():
    emissions = (0.46, 0.6)
    optics = {**OPTICS, "emission_um": emissions}
    psfs = [
        make_psf("confocal", SHAPE, voxel_size=STEPS, **{**OPTICS, "emission_um": um}) for um in emissions
    ]
    method = nl.RichardsonLucy(psfs, num_iter=2, center_psf=False)
    recipe = nl.deconvolve(np.stack([IMAGE] * 2), method, axes="CZYX", device="cpu").recipe
    origin = {"optics": optics_record("confocal", **optics), "voxel_size": list(STEPS)}
    recipe["psf"] = [{**each, "origin": origin} for each in recipe["psf"]]
    recipe = json.loads(json.dumps(recipe))
    np.testing.assert_array_equal(recorded_psf(recipe), psfs)
    image = np.stack([IMAGE] * 2)
    found = nl.score(image, recipe, axes="CZYX", volume={"C": 1}, device="cpu")
    assert found.blur == "the PSF of the run"
    recipe["psf"][1]["origin"]["optics"]["emission_um"] = [0.46]
    assert recorded_psf(recipe) is None


@pytest.mark.parametrize(
    "origin",
    [
        {},
        {"blur_sigma_voxels": [2, 2, 2]},
        {"blur_sigma_voxels": "wide"},
        {"blur_sigma_voxels": [1e6, 1e6, 1e6]},
        {"blur_sigma_voxels": [1, 1, 1, 1, 1, 1, 1]},
        {"optics": {"microscope": "camera"}, "voxel_size": [1, 1, 1]},
        {"optics": {}, "voxel_size": None},
        {"file": "psf.tif", "optics": optics_record("confocal", **OPTICS), "voxel_size": list(STEPS)},
    ],
)
def test_a_psf_that_cannot_be_made_again_is_asked_for(origin):
    assert recorded_psf(recipe_with(gaussian_psf((1.5, 1.2, 1.2)), origin)) is None


def test_a_recipe_cannot_ask_for_a_psf_of_any_size():
    optics = {"optics": optics_record("confocal", **OPTICS), "voxel_size": list(STEPS)}
    recipe = recipe_with(make_psf("confocal", SHAPE, voxel_size=STEPS, **OPTICS), optics)
    recipe["psf"]["shape"] = [10**5 + 1] * 3
    assert recorded_psf(recipe) is None
    with pytest.raises(ValueError, match=r"blur is .*1000000"):
        recorded_psf({**recipe, "automatic": {"blur_sigma": [1e6, 1e6, 1e6]}})
