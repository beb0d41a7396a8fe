"""`deconvolve` and `plan`: the results for any shape, container, dtype and tiles.

Most run the 2D network: the code is the same, and its smallest block is fifty times cheaper.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from napari_lucyd.compute.device import cpu
from napari_lucyd.deconvolution import (
    DeconvolutionError,
    RichardsonLucy,
    deconvolve,
    options_from_recipe,
    plan,
)
from napari_lucyd.inference import forward
from napari_lucyd.inference.forward import compile_where_possible, prepare, run_network
from napari_lucyd.io import Image
from napari_lucyd.models import Model, load_model

ALL = ("output", "correction_mask", "update_term", "intermediate")

# The acceptance tolerance, as a share of the range.
TOLERANCE = 1e-5


class MultiScaleData(Sequence):
    """The data of a multiscale layer: napari's class of this name has these properties too."""

    def __init__(self, levels):
        self.levels, self.shapes = levels, tuple(level.shape for level in levels)
        self.shape, self.dtype = levels[0].shape, levels[0].dtype

    def __getitem__(self, key):
        return self.levels[key]

    def __len__(self):
        return len(self.levels)


def calm(model):
    """A random network whose division does not amplify rounding.

    Its forward projection is often 0; divided by an epsilon of 0.01 a rounding of 1e-7 becomes one of 1e-5.
    """
    network = copy.deepcopy(model.network)
    network.division.epsilon = 1.0
    return Model.from_network(network, name=model.name, normalization={"method": "minmax"})


@pytest.fixture(scope="module")
def model(random_model):
    return calm(random_model)


@pytest.fixture(scope="module")
def model_2d(random_model_2d):
    return calm(random_model_2d)


def image(*shape, seed=0, dtype=np.float32):
    return (np.random.default_rng(seed).random(shape) * 200 + 20).astype(dtype)


def reference(volume, model, lo, s):
    """The whole volume through the network as it is (nothing folded, no tiles), continued by reflection.

    In double precision, because a random network may amplify the rounding of float32 to half the tolerance.
    """
    pads = [(24, 24 + size % 2) for size in volume.shape]
    y = (np.pad(volume.astype(np.float64), pads, mode="reflect") - lo) / s
    with torch.inference_mode():
        raw = copy.deepcopy(model.network).double()(torch.from_numpy(y)[None, None])
    crop = (0, 0, *(slice(24, 24 + size) for size in volume.shape))
    output, _, update, intermediate = (part[crop].numpy() for part in raw)
    gain, _ = model.network.output_gain()
    inside = (volume - lo) / s
    return {
        "output": lo + s * output,
        "correction_mask": s * (gain * intermediate - inside),
        "update_term": update,
        "intermediate": lo + s * gain * intermediate,
    }


def assert_same(result, expected, where=...):
    """All four parts, to the tolerance of the range of the whole image (200) or of what is expected."""
    for name in ALL:
        whole = expected[name] if isinstance(expected, dict) else getattr(expected, name)
        span = max(np.nanmax(whole) - np.nanmin(whole), 1 if name == "update_term" else 200)
        assert np.nanmax(np.abs(getattr(result, name) - whole[where])) <= TOLERANCE * span, name


@pytest.mark.parametrize("shape", [(13, 20, 7), (1, 6, 5), (2, 1, 1)])
def test_the_3d_result_is_the_networks_own(model, shape):
    volume = image(*shape)
    result = deconvolve(volume, model, outputs=ALL)
    assert_same(result, reference(volume, model, volume.min(), np.ptp(volume)))


@settings(max_examples=15)
@given(st.tuples(st.integers(1, 70), st.integers(2, 41)))
@example((3, 20))
def test_the_2d_result_is_the_networks_own_for_every_shape(model_2d, shape):
    plane = image(*shape)
    result = deconvolve(plane, model_2d, outputs=ALL)
    assert result.output.shape == shape and result.output.dtype == np.float32
    assert_same(result, reference(plane, model_2d, plane.min(), np.ptp(plane)))


@settings(max_examples=12)
@given(st.tuples(st.integers(1, 40), st.integers(2, 37)), st.tuples(st.integers(1, 60), st.integers(9, 40)))
def test_tiled_equals_whole_for_every_tile_shape(model_2d, shape, tile_shape):
    plane = image(*shape)
    tiled = deconvolve(plane, model_2d, tile_shape=tile_shape, outputs=ALL)
    assert_same(tiled, deconvolve(plane, model_2d, tile_shape=shape, outputs=ALL))


@pytest.mark.parametrize("tile_shape", [(8, 40, 40), (14, 9, 20)])
def test_tiled_equals_whole_in_3d(model, tile_shape):
    volume = image(13, 17, 19)
    whole = deconvolve(volume, model, outputs=ALL)
    assert whole.recipe["tile_shape"] == [14, 18, 20]
    assert_same(deconvolve(volume, model, tile_shape=tile_shape, outputs=ALL), whole)


@settings(max_examples=12)
@given(st.data())
def test_a_region_is_what_the_whole_run_gives_there(model_2d, data):
    plane = image(31, 23)
    region = []
    for size in plane.shape:
        start = data.draw(st.integers(0, size - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, size))))
    part = deconvolve(plane, model_2d, region=region, outputs=ALL, tile_shape=(8, 10))
    assert part.output.shape == plane[tuple(region)].shape
    assert_same(part, deconvolve(plane, model_2d, outputs=ALL), tuple(region))


def test_a_region_along_all_axes_takes_the_statistics_of_the_whole(model_2d):
    series = image(5, 2, 20, 21) * np.arange(1, 6)[:, None, None, None]
    whole = deconvolve(series, model_2d, axes="TCYX", outputs=ALL)
    region = (slice(2, 3), 1, slice(4, 9), slice(None))
    part = deconvolve(series, model_2d, axes="TCYX", region=region, outputs=ALL)
    assert part.output.shape == (1, 1, 5, 21)
    assert_same(part, whole, (slice(2, 3), slice(1, 2), slice(4, 9)))


@pytest.mark.parametrize("factor", [2.46, 0.4])
def test_with_resampling_tiled_and_region_equal_whole(model, factor):
    volume = image(9, 12, 13)
    options = {"voxel_size": (factor, 1, 1), "outputs": ALL}
    whole = deconvolve(volume, model, **options)
    assert whole.recipe["resampling"] == {"axis": "Z", "factor": pytest.approx(factor)}
    assert whole.output.shape == volume.shape
    assert_same(deconvolve(volume, model, tile_shape=(5, 12, 14), **options), whole)
    region = (slice(3, 8), slice(1, 6), slice(0, 13))
    assert_same(deconvolve(volume, model, region=region, **options), whole, region)


def test_planes_repeated_and_resampled_lie_on_one_grid(model):
    """A volume that is constant along Z has nothing to interpolate, so resampling changes nothing."""
    volume = np.repeat(image(1, 9, 10), 7, axis=0)
    plain = deconvolve(volume, model, isotropic=False, outputs=ALL)
    assert_same(deconvolve(volume, model, voxel_size=(3, 1, 1), outputs=ALL), plain)


def containers():
    import dask.array
    import xarray
    import zarr

    def to_zarr(array):
        stored = zarr.create_array({}, shape=array.shape, dtype=array.dtype, chunks=(1, 7, 5))
        stored[...] = array
        return stored

    return {
        "dask": lambda a: dask.array.from_array(a, chunks=(1, 9, 8)),
        "zarr": to_zarr,
        "xarray": lambda a: xarray.DataArray(a, dims=("channel", "y", "x")),
        "xarray of dask": lambda a: xarray.DataArray(
            dask.array.from_array(a, chunks=(2, 9, 8)), dims=("c", "y", "x")
        ),
        "list": lambda a: a.tolist(),
        "torch": torch.from_numpy,
        "Fortran order": np.asfortranarray,
        "view": lambda a: np.repeat(np.repeat(a, 2, axis=1), 2, axis=2)[:, ::2, ::2],
    }


@pytest.mark.parametrize("container", list(containers()))
@pytest.mark.parametrize("normalization", ["minmax", "percentile"])
def test_every_container_gives_the_same_numbers(model_2d, container, normalization):
    array = image(2, 23, 18)
    options = {"normalization": normalization, "axes": "CYX", "tile_shape": (10, 18), "outputs": ALL}
    expected = deconvolve(array, model_2d, **options)
    result = deconvolve(containers()[container](array), model_2d, **options)
    for name in ALL:
        np.testing.assert_array_equal(getattr(result, name), getattr(expected, name))
    assert result.recipe["normalization"] == expected.recipe["normalization"]


class Watched:
    """An array that notes how much is read at once."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.largest = array, array.shape, array.dtype, 0

    def __getitem__(self, index):
        part = self.array[index]
        self.largest = max(self.largest, part.size)
        return part

    def __array__(self, *args, **kwargs):
        raise AssertionError("read as a whole")


def test_a_plan_reads_nothing_and_a_run_reads_tile_by_tile(model_2d):
    watched = Watched(image(6, 300, 200))
    job = plan(watched, model_2d, axes="TYX", tile_shape=(50, 50))
    assert (job.tiles, watched.largest) == (6 * 24, 0)
    job = plan(watched, model_2d, axes="TYX", region=(slice(2, 3), slice(0, 50), slice(0, 40)))
    statistics = job.measure()
    assert watched.largest <= 300 * 200  # never more than a volume
    watched.largest = 0
    list(job.steps())
    assert watched.largest <= (50 + 25) * (40 + 25)
    again = plan(watched, model_2d, axes="TYX", statistics=statistics)
    watched.largest = 0
    assert again.measure() is statistics and watched.largest == 0


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", ">u2", "int32", "uint64", "float16", "float64", ">f4"]
)
def test_every_real_dtype_is_taken_in_its_own_units(model_2d, dtype):
    array = image(12, 14).astype(dtype)
    result = deconvolve(array, model_2d)
    expected = deconvolve(array.astype(np.float32), model_2d)
    assert result.output.dtype == np.float32
    np.testing.assert_array_equal(result.output, expected.output)
    assert result.recipe["input"]["dtype"] == str(np.dtype(dtype))


@pytest.mark.parametrize("method", ["lucyd-planes", "auto", RichardsonLucy(np.ones((3, 3)))])
def test_a_mask_is_refused_when_the_run_is_planned(method):
    mask = image(32, 32) > 120
    with pytest.raises(TypeError, match=r"The image is a mask .* first: image\.astype\('uint8'\)\.$"):
        plan(mask, method)
    assert plan(mask.astype("uint8"), method).description.startswith("Y 32 × X 32")


def test_output_follows_the_units_of_the_input(model_2d):
    plane = image(20, 21)
    result = deconvolve(plane, model_2d, outputs=ALL)
    scaled = deconvolve(plane * 64 - 1024, model_2d, outputs=ALL)  # powers of two: exact
    span = np.ptp(result.output)
    assert np.abs(scaled.output - (result.output * 64 - 1024)).max() < 64 * 1e-4 * span
    assert np.abs(scaled.correction_mask - result.correction_mask * 64).max() < 64 * 1e-4 * span
    assert np.abs(scaled.update_term - result.update_term).max() < 1e-4 * np.ptp(result.update_term)


def test_what_is_shown_fits_the_formula_with_the_numbers_of_the_recipe(model_2d):
    plane = image(20, 21)
    result = deconvolve(plane, model_2d, outputs=ALL)
    recipe = result.recipe
    (lo,), (s,) = recipe["normalization"]["lo"], recipe["normalization"]["s"]
    formula = lo + s * np.maximum(
        0, (plane - lo + result.correction_mask) / s * result.update_term + recipe["o"]
    )
    assert np.abs(formula - result.output).max() <= TOLERANCE * np.ptp(result.output)
    np.testing.assert_allclose(result.intermediate, plane + result.correction_mask, rtol=1e-5, atol=1e-3)
    assert 0 < recipe["identity_deviation"] < 1e-6


def test_only_what_is_asked_for_comes_back(model_2d):
    result = deconvolve(image(8, 9), model_2d, outputs="update_term")
    assert result.update_term is not None
    assert result.output is result.correction_mask is result.intermediate is None


def test_axes_of_any_order_come_back_as_they_were(model):
    volume = image(6, 2, 5, 7)
    result = deconvolve(volume, model, axes="ZCYX")
    swapped = deconvolve(np.moveaxis(volume, 1, 0), model, axes="CZYX")
    np.testing.assert_array_equal(result.output, np.moveaxis(swapped.output, 0, 1))


def test_spatial_axes_of_any_order_come_back_as_they_were(model):
    volume, part = image(2, 6, 5, 7), (slice(0, 2), slice(1, 4), slice(1, 5), slice(2, 6))
    whole = deconvolve(volume, model, axes="CZYX", region=part, tile_shape=(2, 2, 4))
    order = (3, 0, 2, 1)
    turned = volume.transpose(order)
    result = deconvolve(turned, model, axes="XCYZ", region=[part[k] for k in order], tile_shape=(2, 2, 4))
    np.testing.assert_array_equal(result.output, whole.output.transpose(order))
    # Slices along the spatial axes alone are also in the order of the array.
    spatial = [part[k] for k in order if k]
    again = deconvolve(turned, model, axes="XCYZ", region=spatial, tile_shape=(2, 2, 4))
    np.testing.assert_array_equal(again.output, result.output)
    blurred = RichardsonLucy(np.ones((3, 3, 3)), num_iter=2)
    classical = deconvolve(volume, blurred, axes="CZYX").output.transpose(order)
    np.testing.assert_array_equal(deconvolve(turned, blurred, axes="XCYZ").output, classical)


def test_of_several_resolutions_the_highest_is_taken(model_2d):
    levels = [image(12, 16), image(6, 8)]
    whole = deconvolve(levels[0], model_2d).output
    for volume in (levels, tuple(levels), MultiScaleData(levels)):
        np.testing.assert_array_equal(deconvolve(volume, model_2d).output, whole)


def test_a_plane_in_a_3d_model_is_a_volume_of_one_plane(model):
    plane = image(9, 8)
    result = deconvolve(plane, model, voxel_size=(0.1, 0.1))
    np.testing.assert_array_equal(result.output, deconvolve(plane[None], model).output[0])


def test_channels_are_scaled_by_themselves_and_time_points_together(model_2d):
    series = image(3, 2, 16, 17)
    series[:, 1] *= 10
    result = deconvolve(series, model_2d, axes="TCYX")
    numbers = result.recipe["normalization"]
    assert numbers["groups"] == [{"C": 0}, {"C": 1}]
    assert numbers["lo"] == [float(series[:, c].min()) for c in (0, 1)]
    alone = deconvolve(series[:, 1], model_2d, axes="TYX")
    np.testing.assert_array_equal(alone.output, result.output[:, 1])


def test_a_series_does_not_flicker(model_2d):
    """Two equal frames stay equal, whatever the other frames hold."""
    series = image(3, 16, 17)
    series[2] = series[0]
    series[1] *= 5
    together = deconvolve(series, model_2d, axes="TYX", separate="")
    np.testing.assert_array_equal(together.output[0], together.output[2])
    apart = deconvolve(series, model_2d, axes="TYX", separate="T")
    assert len(apart.recipe["normalization"]["lo"]) == 3
    assert np.abs(apart.output[0] - together.output[0]).max() > 1


@pytest.mark.parametrize("method", ["minmax", "percentile", "none"])
@pytest.mark.parametrize("value", [0, 7.25, -3])
def test_a_constant_image_comes_back_as_that_constant(model_2d, method, value):
    result = deconvolve(np.full((9, 31), value), model_2d, normalization=method, outputs=ALL)
    assert (result.output == value).all() and (result.intermediate == value).all()
    assert (result.correction_mask == 0).all() and (result.update_term == 1).all()


def test_nan_voxels_stay_nan_and_spoil_nothing_else(model_2d):
    plane = image(30, 31)
    plane[3, 4] = plane[17:19, 20] = plane[0, 30] = np.nan
    whole = deconvolve(plane, model_2d, outputs=ALL)
    for name in ALL:
        np.testing.assert_array_equal(np.isnan(getattr(whole, name)), np.isnan(plane))
    assert "4 of 930 voxels are NaN" in " ".join(whole.warnings)
    tiled = deconvolve(plane, model_2d, tile_shape=(8, 8), outputs=ALL)
    assert_same(tiled, whole)


def test_large_holes_of_nan_are_the_same_in_every_tiling(model_2d):
    plane = image(60, 61)
    plane[10:45, 12:50] = np.nan  # larger than any window of the fill
    tiled = deconvolve(plane, model_2d, tile_shape=(12, 10), outputs=ALL)
    assert_same(tiled, deconvolve(plane, model_2d, outputs=ALL))


def test_masked_voxels_are_taken_as_nan(model_2d):
    plane = np.ma.masked_greater(image(12, 13), 200)
    np.testing.assert_array_equal(np.isnan(deconvolve(plane, model_2d).output), plane.mask)


def test_masked_voxels_in_chunks_are_too(model_2d):
    da = pytest.importorskip("dask.array")
    plane = np.ma.masked_greater(image(12, 13).astype(np.int32), 200)
    chunked = da.from_array(plane, chunks=(6, 13))
    expected = deconvolve(plane, model_2d).output
    assert np.isnan(expected).any()
    np.testing.assert_array_equal(deconvolve(chunked, model_2d).output, expected)


@pytest.mark.parametrize(
    "plane",
    [
        np.random.default_rng(0).random((9, 9)) + 1e9,
        np.arange(81, dtype=np.uint32).reshape(9, 9) % 100 + np.uint32(4_000_000_000),
        np.arange(81).reshape(9, 9) + 2**62,
    ],
)
def test_what_float32_cannot_tell_apart_is_no_constant_image(model_2d, plane):
    with pytest.raises(ValueError, match="Subtract an offset"):
        deconvolve(plane, model_2d)
    constant = np.full_like(plane, plane[0, 0])
    assert np.ptp(deconvolve(constant, model_2d).output) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axes": ("Y", "X")}, "axes is"),
        ({"separate": None}, "separate is"),
        ({"tile_shape": 32}, "tile_shape is 32"),
        ({"tile_shape": (float("nan"), 8)}, "an integer"),
        ({"voxel_size": 1.0}, "voxel_size is"),
        ({"region": slice(0, 4)}, "one slice for each axis"),
    ],
)
def test_options_of_a_wrong_kind_are_named(model_2d, options, message):
    with pytest.raises(TypeError, match=message):
        plan(image(9, 9), model_2d, **options)


def test_a_number_is_not_a_model():
    with pytest.raises(TypeError, match=r"model is 3; .* load_model"):
        plan(image(9, 9), 3)


def test_misspelt_entries_of_a_normalization_are_named(model_2d):
    with pytest.raises(ValueError, match="no 'lo_percent'; its entries are 'method', 'low'"):
        plan(image(9, 9), model_2d, normalization={"method": "percentile", "lo_percent": 25})


def test_statistics_of_volumes_scaled_by_themselves_are_for_such_runs(model_2d):
    series = np.stack([image(9, 9), 3 * image(9, 9)])
    statistics = plan(series, model_2d, axes="TYX", separate="T").measure()
    with pytest.raises(ValueError, match=r"separate='T'.*''"):
        plan(series, model_2d, axes="TYX", statistics=statistics)


def test_an_array_of_unknown_shape_is_refused_in_words(model_2d):
    da = pytest.importorskip("dask.array")
    values = da.from_array(image(9, 9))
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        plan(values[values[:, 0] > 0], model_2d)


@pytest.mark.parametrize(
    ("volume", "error", "message"),
    [
        ("stack.tif", TypeError, r"path 'stack.tif'; read the file first"),
        (Path("stack.tif"), TypeError, "path.*read_image"),
        (Image(np.zeros((9, 9)), "YX", None, None, "a"), TypeError, r"object of type Image; give.*\.data"),
        (np.zeros((9, 9), dtype=complex), TypeError, "complex"),
        (np.full((9, 9), "a"), TypeError, "dtype"),
        (np.zeros((9, 9), dtype="M8[s]"), TypeError, "dtype"),
        (np.zeros((0, 9)), ValueError, "empty"),
        (np.zeros((9,)), ValueError, "at least two axes"),
        (np.zeros((9, 9, 3), dtype=np.uint8), ValueError, "RGB"),
        (np.full((9, 9), np.nan), ValueError, "All voxels are NaN"),
        (np.array([[1.0, np.inf], [2.0, 3.0]]), ValueError, "^1 voxel is infinite"),
        (np.array([[1.0, 1e300], [2.0, 3.0]]), ValueError, "infinite"),
        (np.array([[-3e38, 3e38], [2.0, 3.0]]), ValueError, "too much for float32"),
    ],
)
def test_what_cannot_be_deconvolved_is_refused_in_words(model_2d, volume, error, message):
    with pytest.raises(error, match=message):
        deconvolve(volume, model_2d)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"outputs": ("mask",)}, ValueError, "'correction_mask'"),
        ({"outputs": ()}, ValueError, "at least one"),
        ({"normalization": "max"}, ValueError, "'minmax'"),
        ({"normalization": {"low": 1}}, ValueError, "method"),
        ({"voxel_size": (1,)}, ValueError, "2 positive numbers"),
        ({"voxel_size": (0, 1)}, ValueError, "positive"),
        ({"halo": -1}, ValueError, "at least 0"),
        ({"halo": 2.5}, TypeError, "an integer"),
        ({"tile_shape": (8,)}, ValueError, "2 integers"),
        ({"region": (slice(0, 0), slice(None))}, ValueError, "one or more of the 9 voxels"),
        ({"region": (slice(0, 9, 2), slice(None))}, ValueError, "without a step"),
        ({"region": (slice(0, 9),)}, ValueError, "one slice for each"),
        ({"separate": "1"}, ValueError, "leading axes"),
        ({"device": "tpu"}, ValueError, "'cuda:1'"),
        ({"axes": "ZYX"}, ValueError, "names 3 axes"),
    ],
)
def test_choices_that_make_no_sense_are_refused_in_words(model_2d, options, error, message):
    with pytest.raises(error, match=message):
        plan(image(9, 9), model_2d, **options)


def test_resampling_needs_a_voxel_size(model):
    with pytest.raises(ValueError, match="voxel_size"):
        plan(image(9, 9, 9), model, isotropic=True)


@pytest.mark.parametrize(
    ("voxel_size", "isotropic", "resampled"),
    [
        (None, None, False),
        ((1, 1, 1), None, False),
        ((1.2, 1, 1), None, False),
        ((1.3, 1, 1), None, True),
        ((0.7, 1, 1), None, True),
        ((1.2, 1, 1), True, True),
        ((3, 1, 1), False, False),
        ((2, 2, 2), True, False),
    ],
)
def test_resampling_is_on_where_the_step_differs_by_a_quarter(model, voxel_size, isotropic, resampled):
    job = plan(image(9, 9, 9), model, voxel_size=voxel_size, isotropic=isotropic)
    assert job.resampled is resampled
    assert ("resampled" in job.description) is resampled


def test_anisotropy_that_stays_is_warned_of(model):
    job = plan(image(9, 9, 9), model, voxel_size=(3, 1, 1), isotropic=False)
    assert "3 times the lateral one" in job.warnings[0]
    assert "size differs along Y" in plan(image(9, 9), model, voxel_size=(1, 2)).warnings[0]


def test_a_short_halo_is_warned_of_and_shows(model_2d):
    plane = image(40, 41)
    with_seams = deconvolve(plane, model_2d, halo=2, tile_shape=(8, 8))
    assert "Seams" in with_seams.warnings[0]
    whole = deconvolve(plane, model_2d)
    assert np.abs(with_seams.output - whole.output).max() > TOLERANCE * np.ptp(whole.output)


def test_saturation_is_warned_of(model_2d):
    plane = image(30, 30, dtype=np.uint8)
    plane[5:10, 5:10] = 255
    assert "25 voxels are at the full scale of 255" in deconvolve(plane, model_2d).warnings[0]


def test_nothing_but_zeros_is_an_error(model_2d):
    dead = _with_output(model_2d, scale=0.0, shift=-1.0)
    with pytest.raises(DeconvolutionError, match="only zeros"):
        deconvolve(image(40, 40), dead)
    dark = deconvolve(image(40, 40), dead, region=(slice(0, 5), slice(0, 5)))
    assert "only zeros" in dark.warnings[0]
    blank = image(1, 40, 40) / 1000
    assert "zeros for T 0" in deconvolve(blank, dead, axes="TYX", normalization="none").warnings[0]


def test_a_network_that_gives_nan_is_an_error(model_2d):
    with pytest.raises(DeconvolutionError, match="not finite"):
        deconvolve(image(20, 20), _with_output(model_2d, scale=float("nan"), shift=0.0))


def _with_output(model, scale, shift):
    network = copy.deepcopy(model.network)
    with torch.no_grad():
        network.rescale.weight.fill_(scale)
        network.rescale.bias.fill_(shift)
    return Model.from_network(network, name="odd", normalization={"method": "minmax"})


def test_a_run_is_repeated_from_its_recipe(model, model_2d):
    volume = image(6, 9, 10)
    options = {
        "normalization": {"method": "percentile", "low": 2, "high": 98},
        "voxel_size": (2, 1, 1),
        "region": (slice(1, 6), slice(0, 9), slice(3, 8)),
        "tile_shape": (4, 6, 6),
    }
    first = deconvolve(volume, model, **options)
    recipe = json.loads(json.dumps(first.recipe))
    assert recipe["complete"] and recipe["model"] == "random-3d" and len(recipe["sha256"]) == 64
    second = deconvolve(volume, model, **options_from_recipe(recipe))
    np.testing.assert_array_equal(first.output, second.output)
    assert second.recipe == first.recipe
    with pytest.raises(ValueError, match="not the recipe"):
        options_from_recipe({"halo": 24})


def test_statistics_of_another_scaling_are_refused(model_2d):
    statistics = plan(image(9, 9), model_2d, normalization="percentile").measure()
    with pytest.raises(ValueError, match="Measure them again"):
        plan(image(9, 9), model_2d, statistics=statistics)
    channels = plan(image(2, 9, 9), model_2d, axes="CYX").measure()
    with pytest.raises(ValueError, match="separately along 'C'"):
        plan(image(9, 9), model_2d, statistics=channels)


def test_results_can_be_streamed_to_where_the_caller_wants(model_2d, tmp_path):
    import zarr

    stored = {}

    def allocate(name, shape):
        stored[name] = zarr.create_array(tmp_path / name, shape=shape, dtype="float32", chunks=(1, 10, 10))
        return stored[name]

    series = image(2, 20, 25)
    result = deconvolve(series, model_2d, axes="TYX", allocate=allocate, tile_shape=(10, 10))
    assert result.output is stored["output"]
    plain = deconvolve(series, model_2d, axes="TYX", tile_shape=(10, 10))
    np.testing.assert_array_equal(stored["output"][...], plain.output)


def test_the_model_is_left_as_it_was(model_2d):
    before = {name: value.clone() for name, value in model_2d.network.state_dict().items()}
    deconvolve(image(9, 9), model_2d)
    after = model_2d.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not model_2d.network.training


def test_progress_covers_the_result_once(model_2d):
    seen = np.zeros((2, 20, 25), dtype=int)
    steps = []

    def note(step):
        seen[step.region] += 1
        steps.append(step)

    deconvolve(image(2, 20, 25), model_2d, axes="CYX", tile_shape=(10, 14), progress=note)
    assert (seen == 1).all()
    assert [step.done for step in steps] == list(range(1, 9)) and {step.total for step in steps} == {8}
    assert steps[-1].seconds_left == 0 and steps[0].seconds_left > 0
    assert (steps[0].message, steps[-1].message) == ("C 0", "C 1")


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", ["lucyd-mixture", "lucyd2d"])
def test_the_authors_weights_as_they_are_run_give_their_golden_output(shared, name, compiled):
    model = load_model(shared / "reference" / f"{name}.pth")
    golden = np.load(shared / "reference" / f"{name}-golden.npz")
    y = torch.from_numpy(golden["y"].reshape(1, 1, *golden["y"].shape[-model.dimension :]))
    device = compile_where_possible(model.network, cpu()) if compiled else cpu()
    assert device.compiled == compiled
    parts = run_network(prepare(model.network, device), y)
    for part, key in (("output", "output"), ("update_term", "update"), ("intermediate", "z_tilde")):
        difference = np.abs(getattr(parts, part).numpy().ravel() - golden[key].ravel()).max()
        assert difference <= TOLERANCE * np.ptp(golden[key]), part


def test_the_processor_runs_lucyd_by_compiled_kernels_and_says_so(model_2d, model):
    for each, shape in ((model_2d, (20, 30)), (model, (5, 9, 8))):
        job = plan(image(*shape), each)
        assert job.device.compiled and job.device.name.endswith("(compiled kernels)")
        list(job.steps())
        assert job.result().recipe["device"]["name"] == job.device.name


def test_without_the_compiler_torch_gives_the_same(model_2d, monkeypatch):
    plane = image(50, 41)
    expected = deconvolve(plane, model_2d, device="cpu", outputs=ALL, tile_shape=(30, 41))
    monkeypatch.setattr(forward, "unsupported_reason", lambda: "llvmlite is not installed")
    result = deconvolve(plane, model_2d, device="cpu", outputs=ALL, tile_shape=(30, 41))
    assert "compiled" not in result.recipe["device"]["name"]
    for name in ALL:
        found, wanted = getattr(result, name), getattr(expected, name)
        assert np.abs(found - wanted).max() <= TOLERANCE * max(np.ptp(wanted), 1), name
    np.testing.assert_allclose(
        deconvolve(plane, model_2d, device="cpu", flips=True, tile_shape=(30, 41)).output,
        deconvolve(plane, model_2d, device="cpu", flips=True).output,
        atol=TOLERANCE * np.ptp(expected.output),
    )
