"""The options of a run: stated once, listed in signatures, checked before any work."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from napari_lucyd.deconvolution import deconvolve, plan
from napari_lucyd.deconvolution.options import DEFAULTS, ArrayOptions
from napari_lucyd.out_of_core import deconvolve_to_zarr


def test_functions_list_every_option_with_its_default():
    for function in (deconvolve, plan):
        listed = inspect.signature(function).parameters
        assert {name: listed[name].default for name in DEFAULTS} == DEFAULTS
    assert set(DEFAULTS) == set(ArrayOptions.__annotations__)
    assert "statistics" not in inspect.signature(deconvolve_to_zarr).parameters


def test_every_option_is_described():
    described = inspect.getdoc(deconvolve).split("Returns\n")[0]
    assert all(f"\n{name}\n" in described for name in DEFAULTS)


def test_a_misspelt_option_is_named(random_model_2d):
    with pytest.raises(TypeError, match="'tile_shap' is not an option of a run; did you mean 'tile_shape'"):
        deconvolve(np.zeros((8, 8)), random_model_2d, tile_shap=(8, 8))
    with pytest.raises(TypeError, match="'zzz' is not an option of a run; the options are device"):
        plan(np.zeros((8, 8)), random_model_2d, zzz=1)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"tile_shape": 5}, "tile_shape is 5; give 2 integers of at least 1, for Y, X"),
        ({"tile_shape": (8, 0)}, "tile_shape is 0; give an integer of at least 1"),
        ({"tile_shape": (8, 8, 8)}, "tile_shape is (8, 8, 8); give 2 integers"),
        ({"halo": True}, "halo is True; give an integer of at least 0"),
        ({"halo": 10**9}, "halo is 1000000000; give at most 1000 voxels"),
        ({"voxel_size": "small"}, "voxel_size is 'small'; give 2 positive numbers"),
        ({"voxel_size": ("1", "1")}, "voxel_size along Y is '1'; give a positive number"),
        ({"voxel_size": (1e30, 1)}, "voxel_size is (1e+30, 1): one step is over 1000 times another"),
        ({"voxel_size": (1e-200, 1e-200)}, "voxel_size is (1e-200, 1e-200); give steps in µm or nm"),
        ({"outputs": 3}, "outputs is 3; give at least one of 'output'"),
        ({"outputs": (np.ones(3),)}, "give at least one of 'output'"),
        ({"isotropic": "yes"}, "isotropic is 'yes'; give True or False"),
        ({"prefilter": [1]}, "prefilter is [1]; give None, 'auto' or a number"),
        ({"flips": 1}, "flips is 1; give True or False"),
        ({"precision": np.ones(2)}, "precision is array([1., 1.]); give 'float32' or 'float16'"),
        ({"axes": 7}, "axes is 7; give text with one letter for each axis"),
        ({"separate": 7}, "separate is 7; give letters of leading axes"),
        ({"region": 7}, "region is 7; give a tuple with one slice for each axis (YX)"),
        ({"region": ("a", slice(0, 4))}, "region along Y is 'a'; give an integer"),
        (
            {"region": (slice("a", 4), slice(0, 4))},
            "region along Y is slice('a', 4, None); give a slice of integers",
        ),
        ({"region": (slice(0, 4, 0), slice(0, 4))}, "give a slice of integers"),
        ({"region": (-10, slice(0, 4))}, "region along Y is -10; give an index from -9 to 8"),
        ({"region": (9, slice(0, 4))}, "region along Y is 9; give an index from -9 to 8"),
        ({"statistics": "x"}, "statistics is 'x'; give the result of Job.measure()"),
        ({"allocate": 3}, "allocate is 3; give a function or None"),
        ({"device": 3}, "device is 3; give 'auto', 'cpu'"),
        ({"device": "cuda:²"}, "device is 'cuda:²'; give 'auto', 'cpu'"),
        (
            {"normalization": {"method": "percentile", "low": "a"}},
            "The normalization's low is 'a'; give a number",
        ),
        ({"normalization": {3: 4}}, "normalization has no 3; its entries are"),
        ({"processes": 0}, "processes is 0; give an integer of at least 1"),
    ],
)
def test_wrong_values_are_refused_with_the_name_the_value_and_the_remedy(random_model_2d, options, error):
    with pytest.raises((TypeError, ValueError)) as caught:
        plan(np.zeros((9, 9)), random_model_2d, **options)
    assert error in str(caught.value)


def test_an_index_counts_from_the_end_as_usual(random_model_2d):
    stack = np.random.default_rng(0).random((5, 9, 9))
    last = deconvolve(stack, random_model_2d, axes="TYX", region=(-1, slice(None), slice(None))).output
    whole = deconvolve(stack, random_model_2d, axes="TYX").output
    np.testing.assert_array_equal(last[0], whole[4])


def test_arrays_of_a_wrong_shape_are_refused(random_model_2d):
    with pytest.raises(ValueError, match=r"allocate returned array.* return an array of shape \(9, 9\)"):
        deconvolve(np.eye(9), random_model_2d, allocate=lambda name, shape: np.zeros(3))
