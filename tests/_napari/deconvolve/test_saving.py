"""Save…: selected layers or all of the last run, under a name from a dialog; nothing is replaced unasked."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtGui import QTextDocument
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_lucyd._napari.layers.viewer import METADATA_KEY
from napari_lucyd.io import read_image, write_image


@pytest.fixture
def dialogs(monkeypatch):
    """Answer the dialogs, and keep their questions."""

    answers = SimpleNamespace(name="", kind="OME-TIFF (*.ome.tif)", replace=False, asked=[], started=[])

    def get_name(parent, title, start, kinds, options):
        assert options == QFileDialog.Option.DontConfirmOverwrite and answers.kind in kinds.split(";;")
        answers.started.append(start)
        return answers.name, answers.kind

    def question(parent, title, text):
        answers.asked.append(text)
        return QMessageBox.StandardButton.Yes if answers.replace else QMessageBox.StandardButton.No

    monkeypatch.setattr(QFileDialog, "getSaveFileName", get_name)
    monkeypatch.setattr(QMessageBox, "question", question)
    return answers


@pytest.fixture
def choose(panel, qtbot):
    """Choose an entry of the menu by its beginning, and wait until it is done."""

    def press(beginning: str, until: str = "Saved"):
        panel.tell("")
        menu = panel.footer.save_menu
        menu.aboutToShow.emit()
        (entry,) = [action for action in menu.actions() if action.text().startswith(beginning)]
        entry.trigger()
        qtbot.waitUntil(lambda: until in panel.status.text(), timeout=20_000)

    return press


def entries(panel) -> list[str]:
    panel.footer.save_menu.aboutToShow.emit()
    return [action.text() for action in panel.footer.save_menu.actions()]


def test_what_is_selected_is_saved_and_no_other_layer(panel, add_image, run, choose, dialogs, tmp_path):
    layer = add_image(scale=(0.2, 0.1), units=("µm", "µm"))
    results = run()
    panel.viewer.layers.selection = {results["update_term"]}
    assert entries(panel) == [
        f"Save “{results['update_term'].name}”…",
        "Save all 3 results of the last run…",
    ]
    dialogs.name = str(tmp_path / "mine")
    choose("Save “")
    assert dialogs.started == ["image_0_update_term.ome.tif"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.ome.tif"]
    image = read_image(tmp_path / "mine.ome.tif")
    np.testing.assert_array_equal(image.data, results["update_term"].data)
    assert (image.axes, image.voxel_size) == ("YX", (0.2, 0.1))
    assert image.metadata["model"] == "random-2d"
    (opened,) = panel.viewer.open(str(tmp_path / "mine.ome.tif"), plugin="napari-lucyd")
    saved = results["update_term"]
    assert opened.name.startswith(saved.name) and opened.colormap.name == saved.colormap.name
    assert opened.contrast_limits == pytest.approx(saved.contrast_limits)
    # The id of the image's layer means nothing in another session.
    kept = {key: value for key, value in saved.metadata[METADATA_KEY].items() if key != "source_id"}
    assert opened.metadata == {METADATA_KEY: json.loads(json.dumps(kept))}
    # The image itself, too, with its own numbers.
    panel.viewer.layers.selection = {layer}
    dialogs.name = str(tmp_path / "raw")
    assert entries(panel) == [
        "Save all 3 results of the last run…",
        f"Save the image “{layer.name}”…",
    ]
    choose("Save the image “")
    raw = read_image(tmp_path / "raw.ome.tif")
    assert raw.data.dtype == np.uint16
    np.testing.assert_array_equal(raw.data, layer.data)


def test_all_parts_of_the_last_run_get_names_that_begin_alike(
    panel, add_image, run, choose, dialogs, tmp_path
):
    add_image()
    results = run()
    dialogs.name, dialogs.kind = str(tmp_path / "v1.5"), "OME-Zarr (*.ome.zarr)"
    choose("Save all 3 results")
    assert {path.name for path in tmp_path.iterdir()} == {
        "v1.5_output.ome.zarr",
        "v1.5_correction_mask.ome.zarr",
        "v1.5_update_term.ome.zarr",
    }
    for part, layer in results.items():
        saved = read_image(tmp_path / f"v1.5_{part}.ome.zarr", lazy=False)
        np.testing.assert_array_equal(saved.data, layer.data)


def test_several_selected_layers_get_a_file_each(panel, add_image, choose, dialogs, tmp_path):
    layers = {add_image(seed=seed, name="a / b") for seed in (0, 1)}
    assert entries(panel) == ["Save the image “a / b [1]”…"]
    panel.viewer.layers.selection = layers
    dialogs.name = str(tmp_path / "both.tif")
    choose("Save 2 selected layers")
    assert {path.name for path in tmp_path.iterdir()} == {"both_a_b.tif", "both_a_b_1.tif"}


def test_there_is_nothing_to_save_without_an_image(panel, add_image):
    assert entries(panel) == [] and not panel.footer.save.enabled
    layer = add_image(name="A&B")
    assert entries(panel) == ["Save the image “A&&B”…"] and panel.footer.save.enabled
    panel.viewer.layers.selection.clear()
    assert not panel.footer.save.enabled
    panel.viewer.layers.selection = {layer}
    assert panel.footer.save.enabled


@pytest.mark.parametrize("name", ["there", "there.ome.tif"])
def test_a_file_that_is_there_is_replaced_only_if_the_user_says_so(
    panel, add_image, choose, dialogs, tmp_path, qtbot, name
):
    there = tmp_path / "there.ome.tif"
    there.write_text("mine")
    layer = add_image()
    dialogs.name = str(tmp_path / name)
    choose("Save the image “", until="")
    assert len(dialogs.asked) == 1 and "there.ome.tif" in dialogs.asked[0]
    assert there.read_text() == "mine" and panel.status.text() == ""
    dialogs.replace = True
    choose("Save the image “")
    np.testing.assert_array_equal(read_image(there).data, layer.data)


def test_a_name_with_tags_is_shown_as_it_is_before_it_is_replaced(panel, add_image, dialogs, tmp_path):
    layer = add_image()
    path = tmp_path / "<b>cells<b>.ome.tif"
    path.write_bytes(b"mine")
    dialogs.name = str(path)
    panel.viewer.layers.selection = {layer}
    panel.footer.save_menu.aboutToShow.emit()
    panel.footer.save_menu.actions()[0].trigger()
    (asked,) = dialogs.asked
    document = QTextDocument()
    document.setHtml(asked)
    assert "<b>cells<b>.ome.tif" in document.toPlainText()
    assert path.read_bytes() == b"mine"


def test_a_file_that_appears_after_the_question_is_left_alone(panel, add_image, qtbot, tmp_path):
    there = tmp_path / "there.ome.tif"
    there.write_text("mine")
    panel.buttons.saver.save({there: add_image()})
    qtbot.waitUntil(lambda: "Not saved" in panel.status.text(), timeout=20_000)
    assert there.read_text() == "mine" and "exists already" in panel.status.text()


def test_the_file_of_an_open_layer_is_not_replaced(panel, choose, dialogs, tmp_path, ready):
    stack = np.random.default_rng(0).random((20, 22), dtype=np.float32)
    path = write_image(tmp_path / "open.ome.tif", stack, axes="YX", voxel_size=None, unit=None)
    panel.viewer.open(str(path), plugin="napari-lucyd")
    before = path.read_bytes()
    dialogs.name, dialogs.replace = str(path), True
    choose("Save the image “", until="open as the layer")
    assert path.read_bytes() == before and dialogs.asked == []
    ready()


def test_a_cancelled_dialog_saves_nothing(panel, add_image, choose, dialogs, tmp_path):
    add_image()
    choose("Save the image “", until="")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("factor", [1.0, 1e-3])
def test_uint16_keeps_true_counts_where_they_fit(panel, add_image, run, qtbot, tmp_path, factor):
    layer = add_image()
    output = run()["output"]
    output.data = np.linspace(0, 3000 * factor, layer.data.size, dtype=np.float32).reshape(layer.data.shape)
    panel.footer.save_as.value = "uint16"
    panel.buttons.saver.save({tmp_path / "a.ome.tif": output})
    qtbot.waitUntil(lambda: "Saved" in panel.status.text(), timeout=20_000)
    image = read_image(tmp_path / "a.ome.tif")
    stated = image.metadata["stored_values"]
    restored = stated["offset"] + stated["scale"] * np.asarray(image.data, float)
    assert image.data.dtype == np.uint16
    assert (stated["scale"] == 1.0) is (factor == 1.0)
    np.testing.assert_allclose(restored, output.data, atol=0.5001 * stated["scale"])


def test_a_failed_save_is_told_of_with_what_was_saved_before(panel, add_image, run, qtbot, tmp_path):
    add_image()
    output = run()["output"]
    panel.buttons.saver.save({tmp_path / "a.ome.tif": output, tmp_path / "missing/b.ome.tif": output})
    qtbot.waitUntil(lambda: "Not saved" in panel.status.text(), timeout=20_000)
    assert "Saved before: a.ome.tif" in panel.status.text() and Path(tmp_path / "a.ome.tif").exists()
