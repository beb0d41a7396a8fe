"""Facts of a layer's file: axes, voxel size and optics. Reading them never fails and never guesses."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from napari.layers import Image

from napari_lucyd._napari.layers.source_file import SourceFile, look_into
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd.io import write_image

STACK = np.random.default_rng(0).integers(0, 900, (4, 15, 16)).astype("uint16")


@pytest.mark.parametrize("name", ["a.ome.tif", "a.tif", "a.ome.zarr"])
def test_the_voxel_size_of_a_file_is_read_in_micrometres(name, tmp_path):
    path = write_image(tmp_path / name, STACK, axes="ZYX", voxel_size=(300, 100, 110), unit="nm")
    facts = look_into(str(path))
    assert facts.name == name and facts.axes == "ZYX" and facts.shape == STACK.shape
    assert facts.sizes_um == pytest.approx({"Z": 0.3, "Y": 0.1, "X": 0.11})


def test_a_file_without_a_voxel_size_has_none(tmp_path):
    path = write_image(tmp_path / "a.ome.tif", STACK, axes="ZYX", voxel_size=None, unit=None)
    assert look_into(str(path)).sizes_um == {}


@pytest.mark.parametrize("content", [b"", b"II*\x00nonsense", None])
def test_what_cannot_be_read_says_nothing(content, tmp_path):
    path = tmp_path / "a.tif"
    if content is not None:
        path.write_bytes(content)
    assert look_into(str(path)) is None
    assert look_into("https://example.org/a.ome.zarr") is None
    assert look_into(str(tmp_path)) is None


FILE = SourceFile("a.tif", "CZYX", (2, 9, 30, 40), {"Z": 0.3, "Y": 0.1, "X": 0.1})


@pytest.mark.parametrize(
    ("shape", "known"),
    [
        ((2, 9, 30, 40), True),
        ((9, 30, 40), True),  # one of the channels
        ((9, 2, 30, 40), True),  # with the axes of the file
        ((9, 15, 20), False),  # binned, or cropped
        ((8, 30, 40), False),
        ((30, 40), False),
    ],
)
def test_a_layer_of_other_sizes_does_not_take_the_voxel_size(shape, known):
    assert bool(FILE.sizes_for(shape)) is known
    in_order = {(2, 9, 30, 40): "CZYX", (9, 2, 30, 40): "ZCYX"}
    assert FILE.axes_for(shape) == in_order.get(shape)


@pytest.mark.parametrize(
    ("axes", "shape", "of_layer", "known"),
    [
        ("TCZYX", (4, 2, 9, 30, 40), (4, 9, 2, 30, 40), "TZCYX"),  # ImageJ's own order
        ("TCZYX", (5, 5, 2, 30, 40), (5, 2, 5, 30, 40), "TZCYX"),  # two orders fit
        ("TCZYX", (4, 2, 9, 30, 40), (9, 4, 2, 30, 40), "ZTCYX"),
        ("TCZYX", (2, 2, 9, 30, 40), (9, 2, 2, 30, 40), None),  # T or C first
        ("CZYX", (3, 3, 30, 40), (3, 3, 30, 40), "CZYX"),
        ("YX", (30, 40), (30, 40), "YX"),
        (None, (3, 30, 40), (3, 30, 40), None),
    ],
)
def test_the_axes_are_in_the_order_of_the_layer(axes, shape, of_layer, known):
    assert SourceFile("a.tif", axes, shape, {}).axes_for(of_layer) == known


def test_channels_in_a_file_of_imagej_are_not_taken_for_planes(tmp_path):
    path = tmp_path / "two channels.tif"
    data = np.zeros((9, 2, 30, 40), np.uint16)
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "ZCYX", "mode": "composite"})
    layer = Image(tifffile.imread(path))
    assert layer.data.shape == data.shape
    assert SourceLayer.from_layer(layer).with_file(look_into(str(path))).axes == "ZCYX"


def test_a_plane_of_a_file_without_z_takes_its_pixel_size():
    file = SourceFile("a.tif", "YX", (30, 40), {"Y": 0.1, "X": 0.1})
    assert file.sizes_for((30, 40)) == {"Y": 0.1, "X": 0.1}
    assert file.sizes_for((40, 30)) == {}


def test_a_layer_takes_what_it_lacks_from_its_file():
    file = SourceFile("a.tif", "TYX", (4, 15, 16), {"Y": 0.1, "X": 0.2})
    bare = SourceLayer.from_layer(Image(STACK)).with_file(file)
    assert bare.axes == "TYX" and bare.voxel_size_um("TYX") == (0.1, 0.2) and bare.unit == "µm"
    assert bare.voxel_size("ZYX") is None  # the file knows nothing of Z
    own = Image(STACK, scale=(3, 2, 2), units=("nm",) * 3, axis_labels=("z", "y", "x"))
    kept = SourceLayer.from_layer(own).with_file(file)
    assert kept.axes == "ZYX" and kept.voxel_size_um("ZYX") == (0.003, 0.002, 0.002)


@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"scale": (3, 1, 1), "translate": (6, 5, 4)},
        {"scale": (0.3, 200, 200), "units": ("µm", "nm", "nm"), "translate": (0.6, 1000, 800)},
        {"scale": (3, 1, 1), "rotate": np.eye(3)[[0, 2, 1]]},
    ],
)
def test_results_get_the_voxel_size_in_use(keywords):
    layer = Image(STACK, **keywords)
    source = SourceLayer.from_layer(layer).with_voxel_size({"Z": 0.5, "Y": 0.1, "X": 0.25})
    place = source.place("ZYX")
    placed = Image(STACK, **place)
    again = SourceLayer.from_layer(placed)
    assert again.voxel_size_um("ZYX") == pytest.approx((0.5, 0.1, 0.25))
    assert [str(unit) for unit in placed.units] == ["micrometer"] * 3
    # The corner lies on the same voxel of the layer.
    before = np.asarray(layer.translate) / layer.scale
    np.testing.assert_allclose(np.asarray(placed.translate) / placed.scale, before)


def test_other_axes_keep_their_scale():
    layer = Image(np.zeros((2, 4, 5, 6)), scale=(7, 1, 1, 1))
    source = SourceLayer.from_layer(layer).with_voxel_size({"Z": 0.5, "Y": 0.1, "X": 0.25})
    place = source.place("TZYX")
    np.testing.assert_allclose(place["scale"], (7, 0.5, 0.1, 0.25))
    assert [str(unit) for unit in place["units"]] == ["pixel", *["micrometer"] * 3]
    own = SourceLayer.from_layer(layer)
    assert own.place("TZYX") is own.spatial
