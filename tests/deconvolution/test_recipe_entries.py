"""Recipes from files of strangers: an entry of the wrong type is named."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

import napari_lucyd as nl
from napari_lucyd.deconvolution import method_from_recipe, model_from_recipe, options_from_recipe
from napari_lucyd.deconvolution.recipe_entries import wrong_entry

IMAGE = np.random.default_rng(0).random((3, 16, 20), np.float32)
REGION = (slice(2, 14), slice(0, 20))
METHODS = {
    "network": ("planes", {"region": REGION, "separate": "T"}),
    "told": ("lucyd-planes", {"blur_sigma": 1.2, "prefilter": "auto"}),
    "microscope": (
        "lucyd-planes",
        {
            "microscope": nl.Microscope(
                "widefield", numerical_aperture=1.2, refractive_index=1.33, emission_um=0.5
            )
        },
    ),
    "richardson-lucy": (nl.RichardsonLucy(np.ones((3, 3)), num_iter=2), {"subtract_background": 20}),
    "semi-blind": (nl.SemiBlind(), {}),
}


@pytest.fixture(scope="module")
def recipes():
    found = {}
    for name, (method, options) in METHODS.items():
        sizes = (0.1, 0.1) if name == "microscope" else None
        run = nl.deconvolve(IMAGE, method, axes="TYX", device="cpu", voxel_size=sizes, **options)
        found[name] = json.loads(json.dumps(run.recipe))
    return found


@pytest.mark.parametrize("name", METHODS)
def test_the_recipe_of_a_run_has_no_wrong_entry(recipes, name):
    assert wrong_entry(recipes[name]) is None


@pytest.mark.parametrize(
    ("name", "entry", "value"),
    [
        ("network", "device", 5),
        ("network", "outputs", "output"),
        ("network", "normalization", [1]),
        ("network", "region", [[1, 2, 3]]),
        ("network", "tile_shape", None),
        ("told", "first_stage", "x"),
        ("told", "prefilter", 5),
        ("microscope", "first_stage", {"microscope": 5}),
        ("richardson-lucy", "psf", 5),
        ("richardson-lucy", "voxel_size", ["x", 1, 1]),
    ],
)
def test_an_entry_of_the_wrong_type_is_named(recipes, name, entry, value):
    recipe = {**copy.deepcopy(recipes[name]), entry: value}
    assert wrong_entry(recipe) == entry
    with pytest.raises(ValueError, match=f"not the recipe of a deconvolution: its {entry} is "):
        options_from_recipe(recipe)


def test_the_model_and_the_method_of_a_recipe_are_checked_alike(recipes):
    with pytest.raises(ValueError, match="its model is 5"):
        model_from_recipe({**recipes["network"], "model": 5})
    with pytest.raises(ValueError, match="its psf is 5"):
        method_from_recipe({**recipes["richardson-lucy"], "psf": 5}, np.ones((3, 3)))
