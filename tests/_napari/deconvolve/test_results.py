"""The result layers in a real window: seen, compared, saved."""

import json

import numpy as np
import pytest

pytest.importorskip("napari")

pytestmark = pytest.mark.napari


def pixels(viewer, qtbot):
    qtbot.wait(150)
    return viewer.screenshot(canvas_only=False, flash=False)[..., :3].astype(int)


def test_results_show_in_the_window_and_hiding_one_changes_it(panel, add_image, run, qtbot):
    add_image()
    before = pixels(panel.viewer, qtbot)
    output = run()["output"]
    shown = pixels(panel.viewer, qtbot)
    assert np.abs(shown - before).max() > 40
    output.visible = False
    hidden = pixels(panel.viewer, qtbot)
    assert np.abs(hidden - shown).max() > 40


def test_the_users_layers_selection_and_view_are_left_alone(panel, add_image, run):
    viewer = panel.viewer
    layer = add_image()
    other = viewer.add_points([[3, 3]])
    viewer.layers.selection.active = layer
    viewer.scene.camera.zoom = 3.21
    states = [{k: v for k, v in entry._get_state().items() if k != "data"} for entry in (layer, other)]
    run()
    assert list(viewer.layers)[:2] == [layer, other]
    assert set(viewer.layers.selection) == {layer}
    assert viewer.layers.selection.active is layer
    assert viewer.scene.camera.zoom == pytest.approx(3.21)
    after = [{k: v for k, v in entry._get_state().items() if k != "data"} for entry in (layer, other)]
    assert repr(after) == repr(states)
    assert panel.image.layer is layer


def test_results_of_three_or_four_voxels_along_x_are_no_colours(panel, add_image, run):
    layer = add_image((32, 33, 4), rgb=False)
    results = run()
    assert not any(result.rgb for result in results.values())
    assert {result.data.shape for result in results.values()} == {layer.data.shape}


def test_a_second_run_gets_names_of_its_own(panel, add_image, run):
    add_image()
    first, second = run(), run()
    assert second["output"].name == first["output"].name + " 2"
    assert len(panel.viewer.layers) == 7


def test_results_are_never_taken_along(panel, add_image, run):
    layer = add_image()
    results = run()
    panel.viewer.layers.selection = {layer, *results.values()}
    assert panel.image.targets() == [layer]


def test_side_by_side_and_back(panel, add_image, run, qtbot):
    layer = add_image()
    hidden = add_image(seed=1, visible=False)
    panel.viewer.layers.selection.active = layer
    run()
    viewer = panel.viewer
    before = pixels(viewer, qtbot)
    zoom = viewer.scene.camera.zoom
    panel.footer.side_by_side.native.click()
    grid = pixels(viewer, qtbot)
    assert viewer.canvas.grid.enabled
    assert [entry.visible for entry in viewer.layers] == [True, False, True, True, True]
    assert all(entry.name_overlay.visible for entry in panel.session.results)
    assert np.abs(grid - before).max() > 40
    panel.footer.side_by_side.native.click()
    assert not viewer.canvas.grid.enabled
    assert viewer.scene.camera.zoom == pytest.approx(zoom)
    assert [entry.visible for entry in viewer.layers] == [True, False, True, False, False]
    assert not any(entry.name_overlay.visible for entry in viewer.layers)
    assert not hidden.visible


def test_save_writes_files_that_open_again(panel, add_image, run, qtbot, tmp_path):
    from napari_lucyd.io import read_image

    add_image(scale=(0.2, 0.1), units=("µm", "µm"))
    results = run()
    panel.save(tmp_path, panel.results())
    qtbot.waitUntil(lambda: "Saved" in panel.status.text(), timeout=20_000)
    image = read_image(tmp_path / "image_0_output.ome.tif")
    np.testing.assert_array_equal(image.data, results["output"].data)
    assert (image.axes, image.voxel_size) == ("YX", (0.2, 0.1))
    assert image.metadata["model"] == "random-2d"
    (layer,) = panel.viewer.open(str(tmp_path / "image_0_update_term.ome.tif"), plugin="napari-lucyd")
    saved = results["update_term"]
    assert layer.name.startswith(saved.name) and layer.colormap.name == saved.colormap.name
    assert layer.contrast_limits == pytest.approx(saved.contrast_limits)
    assert layer.metadata == json.loads(json.dumps(saved.metadata))
    assert {path.name for path in tmp_path.iterdir()} == {
        "image_0_output.ome.tif",
        "image_0_correction_mask.ome.tif",
        "image_0_update_term.ome.tif",
    }


def test_save_as_uint16_states_the_scaling(panel, add_image, run, qtbot, tmp_path):
    from napari_lucyd.io import read_image

    add_image()
    output = run()["output"]
    panel.footer.save_as.value = "uint16"
    panel.save(tmp_path, [output])
    qtbot.waitUntil(lambda: "Saved" in panel.status.text(), timeout=20_000)
    image = read_image(tmp_path / "image_0_output.ome.tif")
    stated = image.metadata["stored_values"]
    restored = stated["offset"] + stated["scale"] * np.asarray(image.data, float)
    assert image.data.dtype == np.uint16
    fits = output.data.min() >= -0.5 and np.ptp(output.data) >= 256
    assert stated["scale"] == pytest.approx(1.0 if fits else np.ptp(output.data) / 65535)
    np.testing.assert_allclose(restored, output.data, atol=0.5001 * stated["scale"])


def test_saving_never_overwrites(panel, add_image, run, qtbot, tmp_path):
    add_image()
    output = run()["output"]
    for _ in range(2):
        panel.tell("")
        panel.save(tmp_path, [output])
        qtbot.waitUntil(lambda: "Saved" in panel.status.text(), timeout=20_000)
    assert {path.name for path in tmp_path.iterdir()} == {
        "image_0_output.ome.tif",
        "image_0_output_2.ome.tif",
    }


def test_a_failed_save_is_told_of(panel, add_image, run, qtbot, tmp_path):
    add_image()
    output = run()["output"]
    panel.save(tmp_path / "missing", [output])
    qtbot.waitUntil(lambda: "Not saved" in panel.status.text(), timeout=20_000)


def test_the_buttons_are_for_results_that_are_there(panel, add_image, run, qtbot, monkeypatch):
    from qtpy.QtWidgets import QFileDialog

    from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget

    viewer, buttons = panel.viewer, panel.footer.results
    add_image()
    assert not buttons.isEnabled()
    results = run()
    assert buttons.isEnabled()
    # Results of an earlier panel count as well.
    other = DeconvolveWidget(viewer)
    viewer.window.add_dock_widget(other, name="Second")
    assert other.footer.results.isEnabled()
    other.footer.side_by_side.native.click()
    for layer in results.values():
        viewer.layers.remove(layer)
    assert not buttons.isEnabled()
    other.footer.side_by_side.native.click()
    assert not viewer.canvas.grid.enabled and not other.footer.results.isEnabled()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: pytest.fail("asked for a folder"))
    panel.ask_and_save()
    assert "no results" in panel.status.text() and panel.status.property("problem")
    qtbot.waitUntil(lambda: other.estimator.settled, timeout=30_000)
