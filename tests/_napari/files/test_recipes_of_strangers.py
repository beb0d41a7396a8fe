"""Recipes in files from elsewhere: a damaged one makes no result, and no panel fails over it."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image

from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget
from napari_lucyd._napari.inspection.panel import InspectWidget
from napari_lucyd._napari.layers.source_layer import noted_sizes
from napari_lucyd._napari.layers.viewer import METADATA_KEY, is_preview, is_result, unfinished_folder
from napari_lucyd._napari.reader import read
from napari_lucyd.io import write_image

PLANE = np.random.default_rng(0).random((12, 16), np.float32)
SCALING = {"method": "percentile", "separate": "", "groups": [{}], "lo": [0.0], "s": [1.0]}
RECIPE = {
    "model": "planes",
    "sha256": "0" * 64,
    "normalization": SCALING,
    "axes": "YX",
    "input": {"shape": [12, 16], "dtype": "float32"},
    "region": None,
    "outputs": ["output"],
    "quantity": "output",
    "source": "image",
}
DAMAGES = [
    {"source": None},
    {"quantity": ["output"]},
    {"model": 5},
    {"normalization": {**SCALING, "lo": "x"}},
    {"input": {"shape": "x"}},
    {"region": [[1, 2, 3]]},
    {"outputs": 5},
    {"method": "x"},
    {"prefilter": [1]},
    {"first_stage": {"microscope": 5}},
    {"halo": ["x"]},
]


def reopened(tmp_path, **entries):
    """A layer of a file whose recipe has other entries."""
    path = tmp_path / "result.ome.tif"
    notes = {name: entry for name, entry in {**RECIPE, **entries}.items() if entry is not None}
    write_image(path, PLANE, axes="YX", voxel_size=None, unit=None, metadata=notes, overwrite=True)
    ((data, keywords, _),) = read(str(path))
    return Image(data, **keywords)


def test_a_recipe_makes_a_result(tmp_path):
    assert is_result(reopened(tmp_path))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_recipe_makes_no_result(tmp_path, damage):
    assert not is_result(reopened(tmp_path, **damage))


def test_a_file_cannot_be_a_preview_or_a_run_that_goes_on(tmp_path):
    layer = reopened(tmp_path, preview=True, unfinished=str(tmp_path / "a.ome.zarr"))
    assert not is_preview(layer) and unfinished_folder([layer]) is None
    layer.metadata[METADATA_KEY]["unfinished"] = 5
    assert unfinished_folder([layer]) is None


@pytest.mark.parametrize("sizes", [5, {"Z": "x"}, {"Z": None}, {"Z": -1}, {"Z": float("nan")}])
def test_a_voxel_size_that_is_none_is_left_out(tmp_path, sizes):
    layer = reopened(tmp_path)
    layer.metadata[METADATA_KEY]["voxel_size_um"] = sizes
    assert noted_sizes({"metadata": layer.metadata, "units": layer.units}) == {}


def test_no_panel_fails_over_a_damaged_recipe(make_napari_viewer, tmp_path, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(PLANE, name="image")
    panel, inspect = DeconvolveWidget(viewer), InspectWidget(viewer)
    for widget in (panel, inspect):
        viewer.window.add_dock_widget(widget)
    told = []
    panel.entered.failed.connect(told.append)
    for damage in [*DAMAGES, {"method": {"name": "richardson-lucy", "background": {}}}]:
        layer = viewer.add_layer(reopened(tmp_path, **damage))
        viewer.layers.selection.active = layer
        panel.entered.use_result()
        assert len(told) == 1
        told.clear()
        viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: panel.estimator.settled, timeout=60_000)
