"""The voxel size from the microscope's file to the panel, through Run, to the saved file and back."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_lucyd._napari.layers.viewer import METADATA_KEY
from napari_lucyd._napari.workers import file_lookup
from napari_lucyd.io import Optics, read_image, write_image

STACK = np.random.default_rng(0).integers(0, 900, (8, 20, 22)).astype("uint16")
SIZES = (0.3, 0.1, 0.12)


@pytest.fixture
def stack_panel(panel, qtbot, model_files):
    """The panel with the random model for volumes."""
    panel.model.load(model_files[3])
    qtbot.waitUntil(lambda: panel.model.name == str(model_files[3]), timeout=60_000)
    return panel


@pytest.fixture
def opened(stack_panel, qtbot, ready, tmp_path):
    """Open a stack by a reader and wait until the panel knows its file."""

    def open_with(name: str, plugin: str, voxel_size=SIZES):
        path = write_image(tmp_path / name, STACK, axes="ZYX", voxel_size=voxel_size, unit="µm")
        (layer,) = stack_panel.viewer.open(str(path), plugin=plugin)
        qtbot.waitUntil(lambda: not stack_panel.image.is_reading, timeout=30_000)
        ready()
        return layer

    return open_with


def fields(panel) -> dict[str, str]:
    return {letter: line.value for letter, line in panel.image.voxel_size.lines.items()}


def enter(panel, **texts: str) -> None:
    lines = panel.image.voxel_size.lines
    for letter, text in texts.items():
        lines[letter].native.setText(text)
    for letter in texts:
        lines[letter].native.editingFinished.emit()


@pytest.mark.parametrize(
    ("name", "plugin"),
    [
        ("a.ome.tif", "napari"),
        ("a.tif", "napari"),
        ("a.ome.zarr", "napari"),
        ("a.ome.tif", "napari-lucyd"),
        ("a.ome.zarr", "napari-lucyd"),
    ],
)
def test_a_stack_keeps_its_voxel_size_through_run_and_save(
    opened, stack_panel, run, qtbot, tmp_path, name, plugin
):
    panel, layer = stack_panel, opened(name, plugin)
    assert fields(panel) == {"Z": "0.3", "Y": "0.1", "X": "0.12"}
    assert not panel.image.voxel_size.note.property("problem")
    assert (name in panel.image.voxel_size.note.text()) is (plugin == "napari")
    before = (tuple(layer.scale), layer.units)
    output = run()["output"]
    assert (tuple(layer.scale), layer.units) == before  # the user's layer stays as it was
    # On the image: in napari's own reader's pixels, a result in micrometres would lie in a corner of it.
    np.testing.assert_allclose(output.extent.world, layer.extent.world)
    assert output.units == layer.units
    recipe = output.metadata[METADATA_KEY]
    assert recipe["voxel_size"] == pytest.approx(SIZES) and recipe["resampling"]
    saved = tmp_path / "saved.ome.tif"
    panel.buttons.saver.save({saved: output})
    qtbot.waitUntil(lambda: "Saved" in panel.status.text(), timeout=20_000)
    image = read_image(saved)
    assert image.voxel_size == pytest.approx(SIZES) and image.unit == "micrometer"
    (again,) = panel.viewer.open(str(saved), plugin="napari-lucyd")
    np.testing.assert_allclose(again.extent.world, layer.extent.world)
    np.testing.assert_array_equal(np.asarray(again.data), output.data)


def test_an_unknown_voxel_size_is_a_warning_until_it_is_entered(stack_panel, ready, run):
    panel = stack_panel
    layer = panel.viewer.add_image(STACK, name="bare")
    ready()
    said = panel.image.voxel_size.note
    assert said.property("problem") and "unknown" in said.text() and not said.isHidden()
    assert fields(panel) == {"Z": "", "Y": "", "X": ""} and panel.footer.run.enabled
    enter(panel, Z="0.5", Y="0.1", X="0,1")
    ready()
    assert not said.property("problem")
    output = run()["output"]
    assert output.metadata[METADATA_KEY]["voxel_size"] == [0.5, 0.1, 0.1]
    np.testing.assert_allclose(output.scale, (1, 1, 1))
    np.testing.assert_allclose(layer.scale, (1, 1, 1))
    enter(panel, Z="", Y="", X="")
    ready()
    assert said.property("problem") and "unknown" in said.text()


def test_a_scale_without_a_unit_is_used_as_a_ratio_and_warned_of(stack_panel, ready):
    panel = stack_panel
    panel.viewer.add_image(STACK, name="ratio", scale=(3, 1, 1))
    ready()
    said = panel.image.voxel_size.note
    assert said.property("problem") and "3 × 1 × 1" in said.text() and "ratio" in said.text()
    assert "resampled ×3" in panel.image.understood.text()


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"Z": "0.3"}, "enter Z, Y, X"),
        ({"Z": "x", "Y": "1", "X": "1"}, "'x' is not a number"),
        ({"Z": "0", "Y": "1", "X": "1"}, "Z is 0; enter a number above 0"),
        ({"Z": "inf", "Y": "1", "X": "1"}, "above 0"),
        ({"Z": "nan", "Y": "1", "X": "1"}, "above 0"),
    ],
)
def test_a_voxel_size_that_is_none_stops_run(stack_panel, ready, texts, words):
    panel = stack_panel
    panel.viewer.add_image(STACK)
    ready()
    enter(panel, **texts)
    ready()
    assert words in panel.image.voxel_size.note.text() and words in panel.footer.estimate.text()
    assert not panel.footer.run.enabled
    enter(panel, Z="", Y="", X="")
    ready()
    assert panel.footer.run.enabled


@pytest.mark.parametrize("wrong", ["1.2", "300", "much"])
def test_a_voxel_size_is_corrected_back_while_its_field_has_the_focus(stack_panel, ready, monkeypatch, wrong):
    panel = stack_panel
    panel.viewer.add_image(STACK, scale=SIZES, units=("µm",) * 3)
    ready()
    line = panel.image.voxel_size.lines["X"].native
    # No window has the focus on a display without a window manager.
    monkeypatch.setattr(line, "hasFocus", lambda: True)
    for text in (wrong, "0.12"):
        enter(panel, X=text)
        ready()
    assert panel.image.source_of(panel.image.layer).voxel_size_um("ZYX") == pytest.approx(SIZES)
    assert panel.footer.run.enabled and "much" not in panel.footer.estimate.text()
    monkeypatch.undo()
    enter(panel, X="0.12")
    ready()
    assert fields(panel) == {"Z": "0.3", "Y": "0.1", "X": "0.12"}


def test_axes_are_corrected_back_while_their_line_has_the_focus(stack_panel, ready, monkeypatch):
    panel = stack_panel
    panel.viewer.add_image(STACK)
    ready()
    line = panel.image.axes.native
    monkeypatch.setattr(line, "hasFocus", lambda: True)
    for text in ("TYX", "", "TYX"):
        line.setText(text)
        line.editingFinished.emit()
        ready()
    assert panel.image.axes_of(panel.image.layer, 3) == "TYX"


def test_each_layer_keeps_what_was_entered_for_it(stack_panel, ready):
    panel = stack_panel
    first = panel.viewer.add_image(STACK, name="first")
    ready()
    enter(panel, Z="0.5", Y="0.2", X="0.2")
    second = panel.viewer.add_image(STACK, name="second", scale=SIZES, units=("µm",) * 3)
    ready()
    assert fields(panel) == {"Z": "0.3", "Y": "0.1", "X": "0.12"}
    panel.viewer.layers.selection.active = first
    ready()
    assert fields(panel) == {"Z": "0.5", "Y": "0.2", "X": "0.2"}
    # Another layer of unknown voxel size that runs with it takes this one; a layer with a scale does not.
    third = panel.viewer.add_image(STACK, name="third")
    panel.viewer.layers.selection = {first, second, third}
    panel.image.combo.value = first
    sizes = {task.source.name: task.source.voxel_size_um("ZYX") for task in panel.sections.tasks()}
    assert sizes == {"first": (0.5, 0.2, 0.2), "second": SIZES, "third": (0.5, 0.2, 0.2)}


def test_the_button_gives_the_voxel_size_to_the_layer(stack_panel, ready, run):
    panel = stack_panel
    layer = panel.viewer.add_image(STACK, translate=(2, 3, 4))
    ready()
    button = panel.image.voxel_size.set_on_layer
    assert button.native.isHidden()
    enter(panel, Z="0.5", Y="0.2", X="0.2")
    ready()
    assert not button.native.isHidden()
    earlier = run()["output"]
    np.testing.assert_allclose(earlier.extent.world, layer.extent.world)
    dims, camera = panel.viewer.dims, panel.viewer.scene.camera
    dims.set_current_step(0, 1)
    camera.center, camera.zoom = (0, 9, 11), 8
    seen = layer.world_to_data((*dims.point[:1], *camera.center[1:]))
    button.native.click()
    ready()
    # The view stays on the same voxels, at the same size.
    np.testing.assert_allclose(layer.world_to_data((*dims.point[:1], *camera.center[1:])), seen)
    assert camera.zoom == pytest.approx(8 / 0.2) and dims.current_step[0] == 1
    # Results that lie on the layer stay on it.
    np.testing.assert_allclose(earlier.extent.world, layer.extent.world)
    assert earlier.units == layer.units
    np.testing.assert_allclose(layer.scale, (0.5, 0.2, 0.2))
    np.testing.assert_allclose(layer.translate, (1, 0.6, 0.8))
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 3 and button.native.isHidden()
    output = run()["output"]
    np.testing.assert_allclose(output.extent.world, layer.extent.world)


def test_a_voxel_size_of_many_digits_is_shown_whole(stack_panel, ready, qtbot):
    panel = stack_panel
    panel.viewer.window._qt_window.resize(1280, 800)
    panel.viewer.add_image(STACK)
    ready()
    enter(panel, Z="0.3125", Y="0.1625", X="0.1625")
    ready()
    fields, button = panel.image.voxel_size.lines, panel.image.voxel_size.set_on_layer.native
    for line in (line.native for line in fields.values()):
        free = line.width() - 2 * line.style().pixelMetric(line.style().PixelMetric.PM_DefaultFrameWidth)
        assert free >= line.fontMetrics().horizontalAdvance(line.text())
    assert button.isVisible() and "Not yet on the layer" in panel.image.voxel_size.note.text()


def test_a_result_on_a_layer_without_a_scale_is_saved_and_taken_with_its_voxel_size(
    stack_panel, ready, run, tmp_path
):
    panel = stack_panel
    panel.viewer.add_image(STACK, name="bare", translate=(2, 3, 4))
    ready()
    enter(panel, Z="0.5", Y="0.2", X="0.2")
    ready()
    output = run()["output"]
    (path,) = output.save(str(tmp_path / "written.ome.tif"), plugin="napari-lucyd")
    assert read_image(path).voxel_size == pytest.approx((0.5, 0.2, 0.2))
    panel.image.combo.value = output
    ready()
    assert fields(panel) == {"Z": "0.5", "Y": "0.2", "X": "0.2"}
    panel.viewer.layers.clear()
    (alone,) = panel.viewer.open(path, plugin="napari-lucyd")
    np.testing.assert_allclose(alone.scale, (0.5, 0.2, 0.2))
    np.testing.assert_allclose(alone.translate, (1, 0.6, 0.8))


@pytest.mark.parametrize("result_first", [False, True])
def test_a_reopened_result_and_its_image_without_a_voxel_size_lie_on_each_other_with_one_click(
    stack_panel, ready, run, tmp_path, result_first
):
    panel = stack_panel
    path = write_image(tmp_path / "cells.ome.tif", STACK, axes="ZYX", voxel_size=None, unit=None)
    panel.viewer.open(str(path), plugin="napari-lucyd")
    ready()
    enter(panel, Z="0.5", Y="0.2", X="0.2")
    ready()
    (saved,) = run()["output"].save(str(tmp_path / "written.ome.tif"), plugin="napari-lucyd")
    # Another session: what was entered for the layer is gone with it.
    panel.viewer.layers.clear()
    paths = [saved, str(path)] if result_first else [str(path), saved]
    for each in paths:
        panel.viewer.open(each, plugin="napari-lucyd")
    image, result = panel.viewer.layers["cells"], panel.viewer.layers[0 if result_first else 1]
    if not result_first:
        np.testing.assert_allclose(result.extent.world, image.extent.world)
    panel.image.combo.value = image
    ready()
    assert fields(panel) == {"Z": "0.5", "Y": "0.2", "X": "0.2"}
    apart = ", so the result does not lie on it" if result_first else ""
    assert panel.image.voxel_size.note.text() == f"From “{result.name}”. Not yet on the layer{apart}."
    panel.image.voxel_size.set_on_layer.native.click()
    ready()
    np.testing.assert_allclose(image.scale, (0.5, 0.2, 0.2))
    np.testing.assert_allclose(result.extent.world, image.extent.world)
    assert result.units == image.units


def test_a_cropped_layer_does_not_take_the_voxel_size_of_its_file(opened, stack_panel, ready):
    layer = opened("a.ome.tif", "napari")
    layer.data = layer.data[:, ::2, ::2]
    ready()
    assert "unknown" in stack_panel.image.voxel_size.note.text()


def test_the_optics_of_the_file_are_at_hand(stack_panel, opened, qtbot, monkeypatch):
    from dataclasses import replace

    known, told = Optics(1.4, 1.518, (0.525,), (None,)), []
    look = file_lookup.look_into
    monkeypatch.setattr(file_lookup, "look_into", lambda path: replace(look(path), optics=known))
    stack_panel.image.optics_changed.connect(told.append)
    opened("a.ome.tif", "napari-lucyd")
    assert stack_panel.image.optics == known and told[-1] == known
    stack_panel.viewer.add_image(STACK)
    assert stack_panel.image.optics is None and told[-1] is None


def test_the_window_never_waits_for_a_file(stack_panel, qtbot, ready, monkeypatch, tmp_path):
    panel, answer = stack_panel, threading.Event()
    look = file_lookup.look_into
    monkeypatch.setattr(file_lookup, "look_into", lambda path: (answer.wait(30), look(path))[1])
    path = write_image(tmp_path / "a.ome.tif", STACK, axes="ZYX", voxel_size=SIZES, unit="µm")
    panel.viewer.open(str(path), plugin="napari")
    assert panel.image.is_reading
    panel.run()
    assert "still being read" in panel.status.text() and not panel.session.is_running
    answer.set()
    qtbot.waitUntil(lambda: not panel.image.is_reading, timeout=30_000)
    ready()
    assert panel.footer.run.enabled and fields(panel)["Z"] == "0.3"


def test_a_file_that_does_not_answer_stops_nobody(stack_panel, qtbot, ready, monkeypatch, tmp_path):
    panel, answer = stack_panel, threading.Event()
    monkeypatch.setattr(file_lookup, "_PATIENCE_MS", 100)
    monkeypatch.setattr(file_lookup, "look_into", lambda path: (answer.wait(30), None)[1])
    path = write_image(tmp_path / "a.ome.tif", STACK, axes="ZYX", voxel_size=SIZES, unit="µm")
    panel.viewer.open(str(path), plugin="napari")
    qtbot.waitUntil(lambda: not panel.image.is_reading, timeout=30_000)
    ready()
    assert panel.footer.run.enabled and "unknown" in panel.image.voxel_size.note.text()
    answer.set()


def test_a_voxel_size_that_the_layer_shows_already_is_not_offered_to_it(stack_panel, ready):
    layer = stack_panel.viewer.add_image(
        STACK, name="cells", scale=(0.3, 0.16249999, 0.1625), units=("µm",) * 3, axis_labels=("z", "y", "x")
    )
    ready()
    fields_of = stack_panel.image.voxel_size
    assert fields(stack_panel)["Y"] == "0.1625"
    enter(stack_panel, Z="0.30", Y="0.16250", X="0.1625")
    ready()
    assert fields_of.note.text() == "From the layer." and fields_of.set_on_layer.native.isHidden()
    enter(stack_panel, Y="0.17")
    ready()
    assert fields_of.note.text() == "As entered. Not yet on the layer."
    fields_of.set_on_layer.native.click()
    ready()
    assert tuple(layer.scale)[1] == pytest.approx(0.17)
    assert fields_of.note.text() == "From the layer." and fields_of.set_on_layer.native.isHidden()


@pytest.mark.parametrize("name", ["axes", "Z"])
def test_a_field_with_the_focus_shows_what_another_image_has(stack_panel, ready, monkeypatch, name):
    panel = stack_panel
    panel.viewer.add_image(STACK, axis_labels=("t", "y", "x"))
    ready()
    voxels = panel.image.voxel_size
    line = panel.image.axes if name == "axes" else voxels.lines[name]
    monkeypatch.setattr(line.native, "hasFocus", lambda: True)
    line.native.setText("typed")
    ready()
    panel.estimator.refresh()
    ready()
    # A text for the same image stays.
    assert line.value == "typed"
    panel.viewer.add_image(STACK, name="other", scale=SIZES, units=("µm",) * 3)
    ready()
    assert panel.image.axes.value == "ZYX"
    assert voxels.lines["Z"].value == "0.3" and panel.footer.run.enabled


@pytest.mark.parametrize("units", [("pixel",) * 3, ("µm",) * 3])
def test_a_sheared_layer_s_steps_are_not_called_its_scale_alone(stack_panel, ready, units):
    panel = stack_panel
    panel.viewer.add_image(STACK, scale=(2, 1, 1), shear=(0, 0, 0.3), units=units)
    ready()
    note = panel.image.voxel_size.note.text()
    if units[0] == "pixel":
        assert "The layer's scale, 2 × 1 × 1.04 with its shear, is used as a ratio." in note
    else:
        assert note == "From the layer with its shear."
