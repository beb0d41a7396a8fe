"""The input that a run takes from a layer, and its result layers. No window: napari's layers stand alone."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image
from napari.utils import Colormap

from napari_lucyd._napari.layers.coordinates import voxel_steps
from napari_lucyd._napari.layers.results import (
    deviation,
    own_limits,
    place_region,
    result_layers,
    sampled,
    starts,
)
from napari_lucyd._napari.layers.source_layer import SourceLayer, axes_from_labels
from napari_lucyd._napari.layers.viewer import METADATA_KEY, RANGE_KEY, is_result, unique_names

SHAPE = (4, 6, 8)


def rotated_layer(**keywords):
    data = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    angle = np.deg2rad(30)
    rotation = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    affine = np.eye(4)
    affine[:3, 3] = (5, 6, 7)
    affine[0, 0] = 2
    return Image(
        data,
        **{
            "name": "nuclei",
            "scale": (0.3, 0.1, 0.1),
            "translate": (10, 20, 30),
            "rotate": rotation,
            "shear": [0.1, 0.0, 0.0],
            "affine": affine,
            "units": ("µm", "µm", "µm"),
            "axis_labels": ("z", "y", "x"),
            "contrast_limits": (0.2, 0.7),
            "colormap": "magenta",
            "gamma": 0.8,
            **keywords,
        },
    )


def result_of(shape, **changed):
    generator = np.random.default_rng(1)
    parts = {
        "output": generator.random(shape, dtype=np.float32) * 2,
        "correction_mask": generator.normal(0, 1, shape).astype(np.float32),
        "update_term": generator.normal(1.2, 0.1, shape).astype(np.float32),
        "intermediate": None,
        "first_estimate": None,
        "recipe": {"model": "m", "axes": "ZYX"},
    }
    return SimpleNamespace(**{**parts, **changed})


def made(source, result, region=None, **keywords):
    tuples = result_layers(source, result, "general", axes="ZYX", region=region, **keywords)
    layers = {}
    for data, entries, kind in tuples:
        entries.pop(RANGE_KEY, None)
        layer = getattr(__import__("napari").layers, kind.title())(data, **entries)
        layers[layer.metadata[METADATA_KEY]["quantity"]] = layer
    return layers


def test_every_spatial_property_is_the_sources():
    layer = rotated_layer()
    layers = made(SourceLayer.from_layer(layer), result_of(SHAPE))
    assert set(layers) == {"output", "correction_mask", "update_term"}
    for result in layers.values():
        for name in ("scale", "translate", "shear"):
            np.testing.assert_allclose(getattr(result, name), getattr(layer, name), err_msg=name)
        np.testing.assert_allclose(result.rotate, layer.rotate)
        np.testing.assert_allclose(result.affine.affine_matrix, layer.affine.affine_matrix)
        assert result.units == layer.units
        assert result.axis_labels == layer.axis_labels
        corner = (3, 5, 7)
        np.testing.assert_allclose(result.data_to_world(corner), layer.data_to_world(corner))


def test_source_survives_changes_to_the_layer():
    layer = rotated_layer()
    source = SourceLayer.from_layer(layer)
    layer.name, layer.scale, layer.contrast_limits = "other", (1, 1, 1), (0, 1)
    output = made(source, result_of(SHAPE))["output"]
    assert output.name == "output · nuclei (general)"
    np.testing.assert_allclose(output.scale, (0.3, 0.1, 0.1))
    assert output.contrast_limits[0] == 0.2


def test_output_looks_like_the_source_and_the_others_diverge_about_their_centre():
    layers = made(SourceLayer.from_layer(rotated_layer()), result_of(SHAPE))
    output, mask, update = (layers[name] for name in ("output", "correction_mask", "update_term"))
    assert (output.colormap.name, output.gamma) == ("magenta", 0.8)
    assert output.contrast_limits == [0.2, pytest.approx(np.percentile(output.data, 99.99))]
    assert sum(mask.contrast_limits) == pytest.approx(0)
    assert sum(update.contrast_limits) == pytest.approx(2)
    for layer in (mask, update):
        colours = layer.colormap.map(np.asarray([0.0, 0.5, 1.0]))
        assert colours[0, 2] > colours[0, 0]  # below the centre: cold
        assert colours[2, 0] > colours[2, 2]  # above: warm
        assert colours[1, :3].max() < 0.1  # at the centre: dark
        # In 3D both signs are seen, and the centre is transparent; in 2D it covers the output.
        assert (layer.rendering, layer.blending) == ("translucent", "opaque")
        assert list(colours[:, 3]) == [1, 0, 1]


def test_only_the_output_is_visible_at_once():
    layers = made(SourceLayer.from_layer(rotated_layer()), result_of(SHAPE))
    assert {name: layer.visible for name, layer in layers.items()} == {
        "output": True,
        "correction_mask": False,
        "update_term": False,
    }


def test_without_an_output_something_else_is_visible():
    layers = made(SourceLayer.from_layer(rotated_layer()), result_of(SHAPE, output=None))
    assert any(layer.visible for layer in layers.values())


def test_recipe_is_plain_json_in_the_metadata():
    image = rotated_layer()
    for name, layer in made(SourceLayer.from_layer(image), result_of(SHAPE)).items():
        entry = json.loads(json.dumps(layer.metadata[METADATA_KEY]))
        assert entry.pop("source_id") == str(image.unique_id)
        assert entry == {"model": "m", "axes": "ZYX", "quantity": name, "source": "nuclei"}
        assert is_result(layer)
    assert not is_result(rotated_layer())


def test_contrast_slider_reaches_the_brightest_of_the_output():
    tuples = result_layers(
        SourceLayer.from_layer(rotated_layer()), result_of(SHAPE), "general", axes="ZYX", region=None
    )
    low, high = tuples[0][1][RANGE_KEY]
    assert low <= 0.2
    assert high >= float(tuples[0][0].max())


def test_a_region_lands_where_it_was_taken():
    layer = rotated_layer()
    region = (slice(1, 3), slice(2, 6), slice(4, 7))
    layers = made(SourceLayer.from_layer(layer), result_of((2, 4, 3)), region)
    for part in layers.values():
        np.testing.assert_allclose(part.data_to_world((0, 0, 0)), layer.data_to_world((1, 2, 4)))
        np.testing.assert_allclose(part.data_to_world((1, 3, 2)), layer.data_to_world((2, 5, 6)))


def test_region_starts_at_zero_along_leading_axes():
    assert starts("TCZYX", (slice(3, 5), slice(0, 2), slice(7, 9))) == (0, 0, 3, 0, 7)
    assert starts("CYX", None) == (0, 0, 0)


def test_placing_a_region_leaves_the_original_alone():
    spatial = SourceLayer.from_layer(rotated_layer()).spatial
    before = np.array(spatial["translate"])
    place_region(spatial, (1, 1, 1))
    np.testing.assert_array_equal(spatial["translate"], before)


def test_voxel_steps_count_scale_and_affine_whatever_the_rotation():
    layer = rotated_layer(shear=None)
    np.testing.assert_allclose(voxel_steps(layer.as_layer_data_tuple()[1]), (0.6, 0.1, 0.1), rtol=1e-6)


def test_voxel_steps_in_one_unit():
    layer = rotated_layer(shear=None, affine=None, units=("nm", "µm", "µm"), scale=(300, 0.1, 0.1))
    source = SourceLayer.from_layer(layer)
    np.testing.assert_allclose(source.voxel_size("ZYX"), (0.3, 0.1, 0.1), rtol=1e-6)
    assert source.unit == "µm"


def test_units_that_cannot_be_compared_give_no_voxel_size():
    layer = rotated_layer(shear=None, affine=None, units=("s", "µm", "µm"))
    source = SourceLayer.from_layer(layer)
    assert source.voxel_size("ZYX") is None
    # The same numbers on a time series: time has no effect.
    np.testing.assert_allclose(source.voxel_size("TYX"), (0.1, 0.1), rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "axes"),
    [
        (("t", "c", "z", "y", "x"), "TCZYX"),
        (("Time", "Z", "Y", "X"), "TZYX"),
        (("channel", "y", "x"), "CYX"),
        (("axis -3", "axis -2", "axis -1"), None),
        (("y", "x", "c"), "YXC"),
        (("z", "z", "y", "x"), None),
        (("x", "y", "z"), "XYZ"),
        (("angle", "t", "c", "z", "y", "x"), "PTCZYX"),
        (("t", "axis -4", "axis -3", "axis -2", "axis -1"), "TCZYX"),
    ],
)
def test_axes_from_labels(labels, axes):
    assert axes_from_labels(labels) == axes


@pytest.mark.parametrize(
    ("units", "axes"),
    [
        (("s", "um", "um", "um"), "TZYX"),
        (("minute", "um", "um"), "TYX"),
        (("pixel", "pixel", "pixel"), None),
    ],
)
def test_an_axis_in_a_unit_of_time_is_t(units, axes):
    layer = Image(np.zeros((4,) * len(units), np.uint8), units=units)
    assert SourceLayer.from_layer(layer).axes == axes


def test_contrast_limits_that_are_nan_are_replaced():
    values = np.linspace(2, 6, 3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
    values[1, 0, 0] = np.nan
    layer = Image(values, contrast_limits=(0, np.nan))
    limits = SourceLayer.from_layer(layer).display["contrast_limits"]
    assert limits == [np.nanmin(values[1]), values[1].max(initial=0, where=~np.isnan(values[1]))]


def test_rgb_is_refused_in_words():
    layer = Image(np.zeros((8, 8, 3), np.uint8), rgb=True, name="photo")
    with pytest.raises(ValueError, match=r"“photo” is a colour.*Split RGB"):
        SourceLayer.from_layer(layer)


def test_multiscale_gives_full_resolution():
    big = np.zeros((32, 32), np.float32)
    source = SourceLayer.from_layer(Image([big, big[::2, ::2]], multiscale=True, contrast_limits=(0, 1)))
    assert source.shape == (32, 32)


def test_dask_is_not_computed():
    da = pytest.importorskip("dask.array")

    def refuse(block):
        raise AssertionError("a voxel was read")

    lazy = da.map_blocks(refuse, da.zeros((4, 4, 4), chunks=2), dtype=float, meta=np.empty((0, 0, 0)))
    source = SourceLayer.from_layer(Image(lazy, contrast_limits=(0, 1), visible=False))
    assert source.data is lazy


def test_additive_channels_add_up():
    source = SourceLayer.from_layer(rotated_layer(blending="additive"))
    first = made(source, result_of(SHAPE))["output"]
    second = made(source, result_of(SHAPE), additive=True)["output"]
    assert first.blending != "additive"
    assert second.blending == "additive"


def test_names_of_one_run_share_their_number():
    taken = ["a – output", "a – update term 2", "a – output 2"]
    assert unique_names(["a – output", "a – update term"], taken) == ["a – output 3", "a – update term 3"]


def test_an_output_below_the_image_keeps_the_limits_of_the_image():
    assert own_limits(np.zeros(9), (1, 2)) == own_limits(np.zeros(0), (1, 2)) == (1, 2)


def test_limits_ignore_a_hot_voxel_and_nan():
    data = np.random.default_rng(0).normal(0, 1, 100_000).astype(np.float32)
    data[:3] = (1e9, np.nan, -1e9)
    assert 3 < deviation(data, 0) < 4


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_limits_of_nothing_are_finite(value):
    assert deviation(np.full((3, 3), value, np.float32), 0) == 1


def test_colormap_is_napari_s_own_kind():
    from napari_lucyd._napari.layers.results import DIVERGING

    assert isinstance(DIVERGING, Colormap)


@pytest.mark.parametrize("shape", [(3000, 3000), (400, 60, 70), (2, 3, 5, 900, 901), (20_000, 7, 9)])
def test_a_sample_is_small_and_spread_out(shape):
    data = np.broadcast_to(np.arange(shape[0], dtype=np.float32).reshape(-1, *[1] * (len(shape) - 1)), shape)
    values = sampled(data)
    assert values.size <= 3e6
    assert values.mean() == pytest.approx(data.mean(), rel=0.05)


def test_all_of_small_data_counts():
    data = np.random.default_rng(0).random((7, 8, 9))
    np.testing.assert_array_equal(sampled(data), data)
