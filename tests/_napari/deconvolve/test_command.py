"""Layers ▸ Filter ▸ Deconvolve (LUCYD), and the samples and the panel by their menu entries."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.utils.notifications import notification_manager

from napari_lucyd._napari.deconvolve import command
from napari_lucyd._napari.layers.viewer import METADATA_KEY

pytestmark = pytest.mark.napari
COMMAND = "napari-lucyd.deconvolve_active"


@pytest.fixture
def viewer(make_napari_viewer, model_files, monkeypatch, qtbot):
    monkeypatch.setattr(command, "default_model", lambda ndim: str(model_files[2]))
    yield make_napari_viewer(show=True)
    qtbot.waitUntil(lambda: not command._sessions, timeout=60_000)


def choose(viewer, path, title):
    """Trigger a menu's entry as a click does."""
    actions = viewer.window._qt_window.menuBar().actions()
    for name in path:
        (found,) = [action for action in actions if action.text().replace("&", "") == name]
        found.menu().aboutToShow.emit()
        actions = found.menu().actions()
    (entry,) = [action for action in actions if action.text().replace("&", "") == title]
    entry.trigger()


def messages():
    return "\n".join(note.message for note in notification_manager.records)


def test_the_menus_entry_makes_the_default_run(viewer, qtbot, random_model_2d):
    from napari_lucyd.deconvolution import deconvolve

    data = (1000 * np.random.default_rng(0).random((40, 44))).astype(np.uint16)
    layer = viewer.add_image(data, name="cells")
    choose(viewer, ["Layers", "Filter"], "Deconvolve (LUCYD) (napari-lucyd)")  # napari adds the second
    qtbot.waitUntil(lambda: len(viewer.layers) == 4, timeout=60_000)
    output = viewer.layers["output · cells (random-2d)"]
    np.testing.assert_allclose(
        output.data, deconvolve(data, random_model_2d, device="cpu").output, atol=1e-2
    )  # 1e-5 of 1000
    assert output.metadata[METADATA_KEY]["source"] == "cells"
    assert viewer.layers.selection.active is layer
    assert not viewer.window.dock_widgets
    qtbot.waitUntil(lambda: "Done in" in messages(), timeout=10_000)


def test_the_voxel_size_of_the_file_is_taken_and_an_unknown_one_warned_of(
    viewer, qtbot, tmp_path, model_files, monkeypatch
):
    from napari_lucyd.io import write_image

    monkeypatch.setattr(command, "default_model", lambda ndim: str(model_files[3]))
    stack = np.random.default_rng(0).integers(0, 900, (6, 14, 16)).astype(np.uint16)
    path = write_image(tmp_path / "a.ome.tif", stack, axes="ZYX", voxel_size=(0.3, 0.1, 0.1), unit="µm")
    notification_manager.records.clear()
    (layer,) = viewer.open(str(path), plugin="napari")
    command.deconvolve_active(viewer)
    qtbot.waitUntil(lambda: "Done in" in messages() and not command._sessions, timeout=60_000)
    (output,) = [layer for layer in viewer.layers if "output" in layer.name]
    np.testing.assert_allclose(output.extent.world, layer.extent.world)
    assert output.metadata[METADATA_KEY]["voxel_size"] == [0.3, 0.1, 0.1]
    assert "unknown" not in messages()
    viewer.layers.clear()
    viewer.add_image(stack, name="bare")
    command.deconvolve_active(viewer)
    qtbot.waitUntil(lambda: "voxel size is unknown" in messages(), timeout=60_000)


def test_without_an_image_it_says_what_to_do(viewer):
    notification_manager.records.clear()
    viewer.add_points([[1, 1]])
    command.deconvolve_active(viewer)
    assert "select an image layer first" in messages()


def test_rgb_is_refused_in_words(viewer):
    notification_manager.records.clear()
    viewer.add_image(np.zeros((9, 9, 3), np.uint8), rgb=True)
    # napari hands plugins a proxy; with show_error a message is enough, nothing is raised.
    command.deconvolve_active(viewer)
    assert "Split RGB" in messages()


def test_an_image_that_fails_is_told_of(viewer, qtbot):
    notification_manager.records.clear()
    viewer.add_image(np.full((20, 20), np.nan, np.float32), name="empty", contrast_limits=(0, 1))
    command.deconvolve_active(viewer)
    qtbot.waitUntil(lambda: "Not deconvolved: “empty”" in messages(), timeout=60_000)
    assert len(viewer.layers) == 1


def test_samples_open_by_their_keys(viewer):
    for key, names in {
        "phantom": ["phantom truth", "phantom"],
        "unseen": ["phantom unseen truth", "phantom unseen"],
        "sharp": ["phantom sharp"],
        "anisotropic": ["phantom anisotropic truth", "phantom anisotropic"],
        "2D": ["phantom 2D truth", "phantom 2D"],
    }.items():
        viewer.layers.clear()
        viewer.open_sample("napari-lucyd", key)
        assert [layer.name for layer in viewer.layers] == names


def test_the_samples_have_a_menu_of_the_plugins_name(viewer):
    choose(viewer, ["File", "Open Sample", "napari-lucyd"], "Sharp phantom")
    assert [layer.name for layer in viewer.layers] == ["phantom sharp"]


def test_the_panel_opens_from_the_plugins_menu(viewer, qtbot):
    choose(viewer, ["Plugins", "napari-lucyd"], "Deconvolve (napari-lucyd)")
    (panel,) = (dock for dock in viewer.window.dock_widgets.values())
    qtbot.waitUntil(lambda: panel.estimator.settled, timeout=60_000)
    assert panel.viewer is viewer
    assert panel.isVisible()
