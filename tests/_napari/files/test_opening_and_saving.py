"""Files in a real window: opened and saved by this plugin's reader and writer, with scale and recipe."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_lucyd._napari.compare.panel import CompareWidget
from napari_lucyd._napari.inspection.panel import InspectWidget
from napari_lucyd._napari.layers.results import layer_keywords, layer_metadata
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.layers.viewer import METADATA_KEY, image_of, is_result
from napari_lucyd._napari.widgets.layout import set_note
from napari_lucyd.batch.results import write_results
from napari_lucyd.deconvolution import deconvolve
from napari_lucyd.io import ImageFileError, read_image, write_image

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


@pytest.mark.parametrize("axes", ["ZYX", "CZYX"])
def test_results_of_a_batch_or_the_command_line_are_results_in_the_window(viewer, tmp_path, axes):
    image = STACK if axes == "ZYX" else np.stack([STACK, STACK + 9])
    result = deconvolve(image, "lucyd", axes=axes, blur_sigma=1.2, device="cpu")
    parts = ("output", "correction_mask")
    paths = {part: tmp_path / f"cells_{part}.ome.tif" for part in parts}
    for _ in write_results(result, paths, axes=axes, voxel_size=(0.3, 0.1, 0.1), unit="µm"):
        pass
    for part in parts:
        (layer,) = viewer.open(str(paths[part]), plugin=PLUGIN)
        assert is_result(layer) and layer.data.shape == image.shape
        entry = layer.metadata[METADATA_KEY]
        assert (entry["quantity"], entry["source"], entry["model"]) == (part, "cells", "lucyd")
        assert "recipe" not in entry
    viewer.add_image(image, name="cells", scale=(1,) * (len(axes) - 3) + (0.3, 0.1, 0.1))
    assert image_of(viewer, layer) is viewer.layers["cells"]


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


@pytest.fixture
def saved_result(tmp_path):
    """Write a result of planes 1 and 2 of "cells" with a voxel size, or without."""

    def write(voxel_size=(0.5, 0.2, 0.2)):
        region = [[1, 3], [2, 12], [0, 16]]
        recipe = {"quantity": "output", "source": "cells", "axes": "ZYX", "region": region}
        recipe["input"] = {"shape": list(STACK.shape), "dtype": "uint16"}
        return str(
            write_image(
                tmp_path / "result.ome.tif",
                STACK[1:3, 2:12].astype("float32"),
                axes="ZYX",
                voxel_size=voxel_size,
                unit=None if voxel_size is None else "µm",
                metadata=recipe,
            )
        )

    return write


@pytest.mark.parametrize("voxel_size", [None, (0.5, 0.2, 0.2)])
def test_a_result_lies_on_its_part_of_the_image_though_only_one_of_both_has_a_voxel_size(
    viewer, saved_result, voxel_size, monkeypatch
):
    from napari.utils import notifications

    shown = []
    monkeypatch.setattr(notifications, "show_info", shown.append)
    has_size = {"scale": (0.3, 0.1, 0.1), "units": ("µm",) * 3} if voxel_size is None else {}
    image = viewer.add_image(STACK, name="cells", translate=(5, 6, 7), **has_size)
    path = saved_result(voxel_size)
    (result,) = viewer.open(path, plugin=PLUGIN)
    np.testing.assert_allclose(result.data_to_world((0, 0, 0)), image.data_to_world((1, 2, 0)))
    np.testing.assert_allclose(result.scale, image.scale)
    assert result.units == image.units
    assert ["lies on “cells”" in text and "0.5 × 0.2 × 0.2 µm" in text for text in shown] == (
        [] if voxel_size is None else [True]
    )
    viewer.open(path, plugin=PLUGIN)
    assert len(shown) < 2
    noted = result.metadata[METADATA_KEY].get("voxel_size_um")
    assert noted == (None if voxel_size is None else {"Z": 0.5, "Y": 0.2, "X": 0.2})


@pytest.mark.parametrize(
    ("data", "keywords"),
    [
        (STACK, {"name": "other"}),
        (STACK[1:], {"name": "cells"}),
        (STACK, {"name": "cells", "scale": (0.4, 0.1, 0.1), "units": ("µm",) * 3}),
    ],
)
def test_a_result_of_another_image_lies_where_its_own_voxel_size_says(viewer, saved_result, data, keywords):
    viewer.add_image(data, **keywords)
    (result,) = viewer.open(saved_result(), plugin=PLUGIN)
    np.testing.assert_allclose(result.scale, (0.5, 0.2, 0.2))


# Two channels in the order of ImageJ, as napari's own reader opens them.
SMOOTH = gaussian_filter(np.random.default_rng(1).random((6, 30, 34)) ** 9 * 9000, 1.5)
CHANNELS = np.stack([SMOOTH, SMOOTH[:, ::-1]], axis=1).astype("uint16")
IMAGEJ, OURS = "ZCYX", "CZYX"


@pytest.fixture
def saved_channels(viewer, tmp_path):
    """Deconvolve both channels with the axes in some order, save the output, and return its path."""

    def write(axes, **keywords):
        image = CHANNELS if axes == IMAGEJ else np.moveaxis(CHANNELS, 1, 0)
        layer = viewer.add_image(image, name="cells", axis_labels=tuple(axes.lower()), **keywords)
        source = SourceLayer.from_layer(layer)
        made = deconvolve(image, "lucyd", axes=axes, blur_sigma=1.2, device="cpu")
        place = layer_keywords(source, "output", "lucyd", axes=axes, region=None, additive=False)
        metadata = layer_metadata(made.recipe, "output", source)
        output = viewer.add_image(made.output, **place, metadata=metadata)
        path = tmp_path / "cells_output.ome.tif"
        output.save(str(path), plugin=PLUGIN)
        viewer.layers.clear()
        return str(path), np.moveaxis(made.output, axes.index("C"), 1)

    return write


@pytest.mark.parametrize("axes", [IMAGEJ, OURS])
@pytest.mark.parametrize("size", [{}, {"scale": (3, 1, 2, 2), "units": ("µm", "pixel", "µm", "µm")}])
def test_a_saved_result_has_its_axes_in_the_order_of_its_image_again(
    viewer, saved_channels, axes, size, qtbot
):
    path, output = saved_channels(axes, **(size if axes == IMAGEJ else {}))
    image = viewer.add_image(CHANNELS, name="cells", **size)
    (result,) = viewer.open(path, plugin=PLUGIN)
    assert result.data.shape == CHANNELS.shape
    np.testing.assert_allclose(np.asarray(result.data), output, rtol=1e-5)
    np.testing.assert_allclose(result.scale, image.scale)
    assert result.metadata[METADATA_KEY]["axes"] == IMAGEJ

    viewer.dims.set_point((0, 1), (2, 1))
    compare, inspect = CompareWidget(viewer), InspectWidget(viewer)
    qtbot.waitUntil(lambda: compare.settled, timeout=60_000)
    assert compare.form.picked_note.text() == "At C 1 (counted from 0)."
    assert "“output · cells (lucyd)”: RSP 0.9" in compare.form.metrics_note.text()
    assert inspect.run is not None and inspect.status.text() == ""
    assert inspect.run.recipe["axes"] == IMAGEJ


def test_axes_that_cannot_be_paired_are_a_reason_and_no_score(viewer, saved_channels, qtbot):
    path, _ = saved_channels(OURS)
    viewer.open(path, plugin=PLUGIN)
    viewer.add_image(CHANNELS, name="cells")
    viewer.dims.set_point((0, 1), (1, 1))
    compare, inspect = CompareWidget(viewer), InspectWidget(viewer)
    reason = "the order of its axes, C Z Y X, is not that of the image, Z C Y X"
    qtbot.waitUntil(lambda: compare.settled, timeout=60_000)
    assert reason in compare.form.metrics_note.text() and "RSP 0" not in compare.form.metrics_note.text()
    assert reason in inspect.status.text() and inspect.run is None
    compare.form.held_out.native.click()
    qtbot.waitUntil(lambda: reason in compare.form.held_out_note.text(), timeout=60_000)


@pytest.fixture
def saved_results(tmp_path):
    """A folder with two parts of a result as TIFF and OME-Zarr, and with other files."""
    result = deconvolve(STACK, "lucyd", axes="ZYX", blur_sigma=1.2, device="cpu")
    folder = tmp_path / "results"
    folder.mkdir()
    paths = {
        "output": folder / "cells_output.ome.zarr",
        "correction_mask": folder / "cells_correction_mask.tif",
    }
    for _ in write_results(result, paths, axes="ZYX", voxel_size=(0.3, 0.1, 0.1), unit="µm"):
        pass
    write_image(folder / "another.ome.tif", STACK, axes="ZYX", voxel_size=None, unit=None)
    (folder / "broken.tif").write_bytes(b"II*")
    (folder / "notes.txt").write_text("read me")
    return paths


def test_a_folder_opens_the_results_in_it(viewer, saved_results):
    layers = viewer.open(str(saved_results["output"].parent), plugin=PLUGIN)
    parts = [layer.metadata[METADATA_KEY]["quantity"] for layer in layers]
    assert parts == ["output", "correction_mask"] and all(map(is_result, layers))
    for layer in layers:
        np.testing.assert_allclose(layer.scale, (0.3, 0.1, 0.1))


def test_a_folder_without_results_is_refused_in_words(viewer, tmp_path):
    write_image(tmp_path / "cells.ome.tif", STACK, axes="ZYX", voxel_size=None, unit=None)
    with pytest.raises(ImageFileError, match="there is no result of napari-lucyd in this folder"):
        viewer.open(str(tmp_path), plugin=PLUGIN)


def test_a_file_of_a_folder_that_is_open_is_not_replaced(saved_results, tmp_path):
    from napari_lucyd._napari.layers.saving import same_file

    path = saved_results["output"]
    assert same_file(path, str(path.parent)) and same_file(path, str(path))
    assert not same_file(tmp_path / "other.tif", str(path.parent)) and not same_file(path / "0", str(path))


def test_a_result_whose_folder_was_deleted_is_not_judged_compared_or_saved(
    viewer, saved_results, tmp_path, monkeypatch, qtbot
):
    from napari_lucyd._napari.layers import saving
    from napari_lucyd.io import files

    monkeypatch.setattr(files, "EAGER_BYTES", 0)
    viewer.add_image(STACK, name="cells", scale=(0.3, 0.1, 0.1), units=("µm",) * 3)
    path, gone = saved_results["output"], "cells_output.ome.zarr: the folder is gone"
    (output,) = viewer.open(str(path), plugin=PLUGIN)
    inspect = InspectWidget(viewer)
    output.visible = False
    shutil.rmtree(path)
    trust = inspect.form.trust
    for button in trust.buttons[:3]:
        set_note(trust.line, "")
        button.native.click()
        qtbot.waitUntil(lambda: inspect.judging.settled and gone in trust.line.text(), timeout=60_000)
    compare = CompareWidget(viewer)
    qtbot.waitUntil(lambda: compare.settled, timeout=60_000)
    assert gone in compare.form.metrics_note.text()
    with pytest.raises(ImageFileError, match=gone):
        saving.write_one(saving.File.from_layer(output), tmp_path / "copy.ome.tif", None)
