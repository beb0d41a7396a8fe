"""Files in a real window: opened and saved by this plugin's reader and writer, with scale and recipe."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lucyd._napari.layers.viewer import METADATA_KEY
from napari_lucyd.io import read_image, write_image

STACK = np.random.default_rng(0).integers(0, 900, (4, 15, 16)).astype("uint16")
PLUGIN = "napari-lucyd"


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr"])
def test_a_stack_keeps_its_voxel_size_from_the_file_to_the_window_and_back(viewer, tmp_path, suffix):
    path = write_image(tmp_path / f"cells{suffix}", STACK, axes="ZYX", voxel_size=(300, 100, 100), unit="nm")
    (layer,) = viewer.open(str(path), plugin=PLUGIN)
    np.testing.assert_allclose(layer.scale, (300, 100, 100))
    assert [str(unit) for unit in layer.units] == ["nanometer"] * 3
    layer.metadata[METADATA_KEY] = {"recipe": {"model": "general"}}
    layer.colormap, layer.contrast_limits = "green", (10, 500)
    saved = tmp_path / f"saved{suffix}"
    assert viewer.layers.save(str(saved), plugin=PLUGIN) == [str(saved)]
    image = read_image(saved)
    assert (image.voxel_size, image.unit) == ((300.0, 100.0, 100.0), "nanometer")
    assert image.metadata["recipe"] == {"model": "general"}
    viewer.layers.clear()
    (again,) = viewer.open(str(saved), plugin=PLUGIN)
    np.testing.assert_array_equal(np.asarray(again.data), STACK)
    assert (again.name, again.colormap.name, again.contrast_limits) == ("cells", "green", [10, 500])
    assert again.metadata[METADATA_KEY] == {"recipe": {"model": "general"}}


def test_napari_takes_this_plugin_s_writer_for_ome_tiff(viewer, tmp_path):
    viewer.add_image(STACK, name="one", scale=(0.3, 0.1, 0.1), units=("µm",) * 3)
    viewer.add_image(STACK + 1, name="two", scale=(0.3, 0.1, 0.1), units=("µm",) * 3)
    path = tmp_path / "both.ome.tif"
    viewer.layers.save(str(path))
    image = read_image(path)
    assert (image.axes, image.voxel_size) == ("CZYX", (0.3, 0.1, 0.1))
    np.testing.assert_array_equal(image.data, np.stack([STACK, STACK + 1]))


def test_warnings_of_the_file_are_shown(viewer, tmp_path, monkeypatch):
    from napari.utils import notifications

    shown = []
    monkeypatch.setattr(notifications, "show_warning", shown.append)
    path = write_image(tmp_path / "a.ome.tif", STACK, axes="TYX", voxel_size=(0.1, 0.1), unit="µm")
    sizes = (b'SizeZ="1" SizeT="4"', b'SizeZ="4" SizeT="1"')
    path.write_bytes(path.read_bytes().replace(*sizes))
    viewer.open(str(path), plugin=PLUGIN)
    assert shown == ["a: the file's voxel size, 0.1 × 0.1 micrometer, has none along Z and is not used"]
