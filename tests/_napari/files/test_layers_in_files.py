"""Layers and files without a window: the saved content of a layer, and the layers of a file."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels

from napari_lucyd._napari.layers.coordinates import voxel_steps
from napari_lucyd._napari.layers.results import DIVERGING
from napari_lucyd._napari.layers.viewer import METADATA_KEY, is_psf, is_result
from napari_lucyd._napari.reader import get_reader, read
from napari_lucyd._napari.writer import write_layers
from napari_lucyd.io import Channel, ImageFileError, read_image, write_image

STACK = np.random.default_rng(0).uniform(0, 900, (4, 5, 6)).astype("float32")
PLACE = {"scale": (0.3, 0.2, 0.1), "units": ("µm",) * 3, "axis_labels": ("z", "y", "x")}
SUFFIXES = [".ome.tif", ".ome.tiff", ".ome.zarr"]
recipe = {"model": "general", "quantity": "output", "source": "cells", "axes": "ZYX"}


def layer(data=STACK, **keywords) -> Image:
    return Image(data, **{"name": "cells", **PLACE, **keywords})


def saved(path, *layers: Image) -> list[Image]:
    """Write layers, read them again, and make layers from the data for napari."""
    assert write_layers(str(path), [each.as_layer_data_tuple() for each in layers]) == [str(path)]
    return [Image(data, **keywords) for data, keywords, kind in get_reader(str(path))(str(path))]


def same(found: Image, expected: Image) -> None:
    np.testing.assert_array_equal(np.asarray(found.data), np.asarray(expected.data))
    before, after = expected.as_layer_data_tuple()[1], found.as_layer_data_tuple()[1]
    for key in ("scale", "translate", "rotate", "shear", "affine", "contrast_limits"):
        np.testing.assert_allclose(after[key], before[key], rtol=1e-6, atol=1e-9, err_msg=key)
    for key in ("name", "gamma", "opacity", "blending", "rendering", "visible", "axis_labels", "metadata"):
        assert after[key] == before[key], key
    assert [str(unit) for unit in after["units"]] == [str(unit) for unit in before["units"]]
    np.testing.assert_allclose(found.colormap.colors, expected.colormap.colors, atol=1e-6)
    np.testing.assert_allclose(found.colormap.controls, expected.colormap.controls)
    assert found.colormap.name == expected.colormap.name


# ------------------------------------------------------------------------------------------- as saved


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"colormap": "green", "contrast_limits": (10, 700), "gamma": 0.7, "opacity": 0.5},
        {"colormap": "viridis", "blending": "additive", "rendering": "iso", "visible": False},
        {"colormap": DIVERGING, "metadata": {METADATA_KEY: recipe}},
        {"translate": (3, -2, 0.5)},
        {"rotate": 30.0, "shear": (0.1, 0, 0)},
        {"affine": np.diag([2.0, 1.0, 1.0, 1.0])},
        {"units": ("nm", "µm", "µm"), "scale": (300, 0.2, 0.1)},
        {"units": ("pixel",) * 3, "scale": (3, 1, 1)},
        {"units": ("pixel",) * 3, "scale": (1, 1, 1), "axis_labels": ("a", "b", "c")},
    ],
)
def test_a_layer_reopens_as_it_was_saved(tmp_path, suffix, keywords):
    original = layer(**keywords)
    (found,) = saved(tmp_path / f"other name{suffix}", original)
    same(found, original)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_layer_with_channels_and_time_on_sliders_reopens_as_one(tmp_path, suffix):
    data = np.random.default_rng(0).integers(0, 900, (2, 3, 4, 5, 6)).astype("uint16")
    place = {"scale": (1, 1, 0.3, 0.2, 0.1), "units": ("s", "pixel", "µm", "µm", "µm")}
    original = layer(data, **place, axis_labels=("t", "c", "z", "y", "x"), contrast_limits=(5, 400))
    (found,) = saved(tmp_path / f"a{suffix}", original)
    same(found, original)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_several_layers_become_channels_and_several_layers_again(tmp_path, suffix):
    first = layer(colormap="magenta", contrast_limits=(0, 500), metadata={METADATA_KEY: recipe})
    second = layer(STACK[::-1].copy(), name="red", colormap="red", blending="additive", translate=(0, 0, 0))
    path = tmp_path / f"a{suffix}"
    for found, original in zip(saved(path, first, second), (first, second), strict=True):
        same(found, original)
    image = read_image(path)
    assert (image.axes, image.voxel_size) == ("CZYX", pytest.approx((0.3, 0.2, 0.1)))
    assert image.channels == (
        Channel("cells", "#ff00ff", (0.0, 500.0)),
        Channel("red", "#ff0000", (*second.contrast_limits,)),
    )


def test_a_result_is_a_result_again(tmp_path):
    (found,) = saved(tmp_path / "a.ome.tif", layer(metadata={METADATA_KEY: recipe}))
    assert is_result(found) and found.metadata == {METADATA_KEY: recipe}


def test_lazy_and_multiscale_layers_are_saved_at_full_resolution(tmp_path):
    lazy = dask.array.from_array(STACK, chunks=(1, 5, 6))
    (found,) = saved(tmp_path / "a.ome.zarr", layer([lazy, lazy[:, ::2, ::2]], multiscale=True))
    np.testing.assert_array_equal(np.asarray(found.data), STACK)
    both = saved(tmp_path / "b.ome.zarr", layer(lazy, name="1"), layer(lazy + 1, name="2"))
    np.testing.assert_array_equal(np.asarray(both[1].data), STACK + 1)


def test_a_voxel_size_that_another_program_changed_counts(tmp_path):
    path = tmp_path / "a.ome.tif"
    saved(path, layer(translate=(1, 2, 3)))
    with tifffile.TiffFile(path) as tif:
        text = tif.ome_metadata.replace('PhysicalSizeZ="0.3"', 'PhysicalSizeZ="0.5"')
    tifffile.tiffcomment(path, text.encode())
    (found,) = [Image(data, **keywords) for data, keywords, _ in read(str(path))]
    np.testing.assert_allclose(found.scale, (0.5, 0.2, 0.1))


# ------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([layer(), layer(STACK[:-1])], "differ in shape"),
        ([layer(), layer(STACK.astype("uint16"))], "differ in shape, dtype"),
        ([layer(), layer(scale=(1, 1, 1))], "scale or place"),
        ([layer(), layer(units=("nm",) * 3)], "scale or place"),
        ([Labels(np.zeros((4, 4), int))], "a layer of labels"),
        ([Image(np.zeros((8, 8, 3), "uint8"), rgb=True)], "a colour picture"),
        ([Image(np.zeros((1,) * 6))], "6 axes; expected 2 to 5"),
    ],
)
def test_layers_that_make_no_image_file_are_refused_in_words(tmp_path, layers, message):
    with pytest.raises(ImageFileError, match=message):
        write_layers(str(tmp_path / "a.ome.tif"), [each.as_layer_data_tuple() for each in layers])
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path):
    saved(tmp_path / "a.ome.tif", layer())
    with pytest.raises(ImageFileError, match="exists already"):
        write_layers(str(tmp_path / "a.ome.tif"), [layer(STACK + 1).as_layer_data_tuple()])
    np.testing.assert_array_equal(read_image(tmp_path / "a.ome.tif").data, STACK)


@pytest.mark.parametrize(
    "entry",
    [
        "text",
        {"name": 7, "gamma": -1.0, "opacity": float(10**9), "blending": "none", "rendering": []},
        {"colormap": {"colors": [[1, 2]], "controls": [0, 1]}},
        {"colormap": {"colors": "red", "controls": {}}},
        {"place": {"scale": [0, 0, 0]}, "voxel_size": [0.3, 0.2, 0.1]},
        {"place": {key: [1, [2]] for key in ("scale", "translate", "rotate", "shear", "affine")}},
        {"units": ["__import__('os')"] * 3, "axis_labels": 5},
    ],
)
def test_a_stranger_s_account_of_the_layers_is_believed_only_where_it_fits(tmp_path, entry):
    path = write_image(
        tmp_path / "a.ome.tif",
        STACK,
        axes="ZYX",
        voxel_size=(0.3, 0.2, 0.1),
        unit="µm",
        metadata={"layers": [entry]},
    )
    (found,) = [Image(data, **keywords) for data, keywords, _ in read(str(path))]
    np.testing.assert_array_equal(found.data, STACK)
    np.testing.assert_allclose(found.scale, (0.3, 0.2, 0.1))
    assert (found.name, found.gamma, found.opacity) == ("a", 1.0, 1.0)


# ------------------------------------------------------------------------------------------- from elsewhere


def test_channels_of_a_file_from_elsewhere_are_layers_with_names_colours_and_limits(tmp_path):
    data = np.random.default_rng(0).integers(0, 900, (2, 4, 5, 6)).astype("uint16")
    channels = [Channel("DAPI", "#0000ff", (10, 700)), Channel("a\x1b[31m", "#ff8000")]
    path = write_image(
        tmp_path / "cells.ome.zarr",
        data,
        axes="CZYX",
        voxel_size=(300, 200, 100),
        unit="nm",
        channels=channels,
    )
    first, second = [Image(values, **keywords) for values, keywords, _ in read(str(path))]
    np.testing.assert_array_equal(first.data, data[0])
    np.testing.assert_array_equal(second.data, data[1])
    assert (first.name, second.name) == ("cells – DAPI", r"cells – a\x1b[31m")
    assert first.contrast_limits == [10, 700]
    assert first.colormap.colors[-1].tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(second.colormap.colors[-1], [1, 128 / 255, 0, 1], atol=1e-6)
    for each in (first, second):
        np.testing.assert_allclose(each.scale, (300, 200, 100))
        assert [str(unit) for unit in each.units] == ["nanometer"] * 3
        assert each.axis_labels == ("z", "y", "x")
        np.testing.assert_allclose(voxel_steps(each.as_layer_data_tuple()[1]), (300, 200, 100))


def test_many_channels_stay_on_a_slider(tmp_path):
    path = write_image(
        tmp_path / "a.ome.tif", np.zeros((17, 5, 6), "u1"), axes="CYX", voxel_size=(0.2, 0.1), unit="µm"
    )
    ((data, keywords, _),) = read(str(path))
    assert data.shape == (17, 5, 6)
    assert (keywords["scale"], keywords["units"]) == ((1.0, 0.2, 0.1), ("pixel", "micrometer", "micrometer"))


def test_a_file_without_a_voxel_size_leaves_napari_s_own(tmp_path):
    path = write_image(tmp_path / "a.ome.tif", STACK, axes="ZYX", voxel_size=None, unit=None)
    ((_, keywords, _),) = read(str(path))
    assert "scale" not in keywords and "units" not in keywords


def test_a_saved_psf_is_a_psf_again(tmp_path):
    path = write_image(
        tmp_path / "psf.ome.tif",
        STACK,
        axes="ZYX",
        voxel_size=(0.3, 0.1, 0.1),
        unit="µm",
        metadata={"shows": "psf"},
    )
    ((data, keywords, _),) = read(str(path))
    assert is_psf(Image(data, **keywords))


def test_a_large_zarr_is_a_multiscale_layer(tmp_path, monkeypatch):
    from napari_lucyd.io import files

    monkeypatch.setattr(files, "EAGER_BYTES", 1000)
    values = np.random.default_rng(0).uniform(0, 1, (2, 2, 600, 300)).astype("float32")
    path = write_image(tmp_path / "a.ome.zarr", values, axes="CZYX", voxel_size=None, unit=None)
    _, second = read(str(path))
    assert [level.shape for level in second[0]] == [(2, 600, 300), (1, 300, 150), (1, 150, 75)]
    assert second[1]["multiscale"] is True
    np.testing.assert_array_equal(np.asarray(second[0][0]), values[1])


def test_only_images_that_can_be_read_are_ours(tmp_path):
    assert get_reader(str(tmp_path / "a.png")) is None
    assert get_reader([str(tmp_path / "a.ome.tif"), str(tmp_path / "b.csv")]) is None
    assert get_reader([str(tmp_path / "a.ome.tif"), str(tmp_path / "b.ome.tif")]) is not None


def test_several_files_give_the_layers_of_each(tmp_path):
    paths = [str(tmp_path / f"{name}.ome.tif") for name in "ab"]
    for path in paths:
        saved(path, layer(name=path[-9]))
    assert [keywords["name"] for _, keywords, _ in get_reader(paths)(paths)] == ["a", "b"]
