"""The Deconvolve panel in a real window: its choices, and what it says of them."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image

from napari_lucyd._napari.layers.viewer import METADATA_KEY

pytestmark = pytest.mark.napari


def speckles(shape, seed=0):
    return (1000 * np.random.default_rng(seed).random(shape)).astype(np.uint16)


def test_the_image_follows_the_active_image_layer_only(panel, add_image):
    first, second = add_image(), add_image(seed=1)
    assert panel.image.layer is second
    panel.viewer.layers.selection.active = first
    assert panel.image.layer is first
    panel.viewer.layers.selection.active = panel.viewer.add_labels(np.zeros((8, 8), int))
    assert panel.image.layer is first
    assert [layer for layer in panel.image.combo.choices if layer is not None] == [first, second]
    first.name = "renamed"
    assert panel.image.combo.native.currentText() == "renamed"
    panel.viewer.layers.remove(first)
    assert panel.image.layer is second


def test_an_image_that_is_gone_is_followed_by_an_image_not_by_what_came_of_it(panel, add_image, run):
    first, second = add_image(), add_image(seed=1)
    panel.viewer.layers.selection.active = first
    results = run()
    panel.viewer.layers.remove(first)
    assert panel.image.layer is second
    panel.viewer.layers.remove(second)
    assert panel.image.layer is results["output"]


def test_a_new_name_of_the_image_is_heard_of(panel, add_image, ready, tmp_path):
    first, second = add_image(), add_image(seed=1)
    panel.viewer.layers.selection = {first, second}
    panel.destination.take(tmp_path)
    ready()
    first.name = "cells"
    assert "“cells”" in panel.image.also.text()
    ready()
    assert "cells_output.ome.zarr" in panel.destination.files.text()
    assert panel.estimates[0].task.source.name == "cells"


def test_axes_are_shown_and_can_be_corrected(panel, add_image, ready, run):
    add_image((6, 20, 22))
    ready()
    assert panel.image.axes.value == "ZYX"
    assert "Z 6 × Y 20 × X 22" in panel.image.understood.text()
    panel.image.axes.native.setText("cyx")
    panel.image.axes.native.editingFinished.emit()
    ready()
    assert "C 6 × Y 20 × X 22" in panel.image.understood.text()
    recipe = run()["output"].metadata[METADATA_KEY]
    assert recipe["axes"] == "CYX"
    assert len(recipe["normalization"]["lo"]) == 6
    panel.image.axes.native.setText("QYX")
    panel.image.axes.native.editingFinished.emit()
    assert "unknown" in panel.image.understood.text()
    ready()
    assert not panel.footer.run.enabled and "unknown" in panel.footer.estimate.text()
    panel.image.axes.native.setText("CYX")
    panel.image.axes.native.editingFinished.emit()
    ready()
    assert "C 6 × Y 20 × X 22" in panel.image.understood.text()
    assert panel.footer.run.enabled and not panel.image.understood.property("problem")


def test_rgb_is_refused_before_the_run(panel, add_image, ready):
    panel.viewer.add_image(np.zeros((20, 20, 3), np.uint8), rgb=True, name="photo")
    ready()
    assert "Split RGB" in panel.footer.estimate.text()
    assert not panel.footer.run.enabled
    add_image()
    ready()
    assert panel.footer.run.enabled


def test_wrong_choices_are_told_of_before_run(panel, add_image, ready):
    add_image()
    panel.advanced.tile.value = "huge"
    ready()
    assert "is not a size" in panel.footer.estimate.text()
    assert not panel.footer.run.enabled
    panel.advanced.tile.value = ""
    for box in panel.destination.outputs.values():
        box.value = False
    ready()
    assert "at least one" in panel.footer.estimate.text()


def test_the_estimate_is_shown_and_follows_the_choices(panel, add_image, ready):
    add_image((64, 64))
    ready()
    assert "of memory" in panel.footer.estimate.text()
    assert "1 tile of 64 × 64" in panel.footer.estimate.text()
    assert "CPU" in panel.footer.estimate.text()
    panel.advanced.tile.value = "32"
    panel.advanced.tile.value = "32, 32"
    ready()
    assert "4 tiles of 32 × 32" in panel.footer.estimate.text()


def test_a_file_that_is_no_model_is_not_listed(panel, qtbot, tmp_path):
    path = tmp_path / "notes.safetensors"
    path.write_text("no weights")
    before = panel.model.combo.choices
    panel.model.load(path)
    qtbot.waitUntil(lambda: bool(panel.status.property("problem")), timeout=20_000)
    assert "notes" in panel.status.text()
    assert panel.model.combo.choices == before


def test_the_authors_files_can_be_chosen(panel, add_image, qtbot, shared, run):
    path = shared / "reference" / "lucyd2d.pth"
    panel.model.load(path)
    qtbot.waitUntil(lambda: panel.model.name == str(path), timeout=20_000)
    add_image()
    output = run()["output"]
    assert output.name == "image 0 – output (lucyd2d)"


def test_a_file_of_another_network_makes_that_the_method(panel, qtbot, tmp_path, random_rln):
    from napari_lucyd import save_model

    path = str(
        save_model(tmp_path / "mine.safetensors", random_rln.network, normalization={"method": "minmax"})
    )
    panel.model.load(path)
    qtbot.waitUntil(lambda: panel.model.name == path, timeout=20_000)
    assert panel.method.name == "rln" and not panel.method.classical
    assert path in panel.model.combo.choices and "general" not in panel.model.combo.choices
    panel.method.combo.value = "lucyd"
    assert "general" in panel.model.combo.choices and path not in panel.model.combo.choices
    panel.method.combo.value = "rln"
    assert panel.model.name == path


def test_the_live_preview_is_driven_by_the_switch(panel, add_image, ready, qtbot, run):
    from napari_lucyd._napari.preview.live import is_preview

    layer = add_image((64, 64))
    ready()
    panel.footer.preview.setChecked(True)
    qtbot.waitUntil(lambda: any(is_preview(entry) for entry in panel.viewer.layers), timeout=20_000)
    assert panel.image.layer is layer
    assert len([entry for entry in panel.image.combo.choices if entry is not None]) == 1
    # It would cover the result, so the end of a run switches it off.
    run()
    assert not panel.footer.preview.isChecked()
    assert not any(is_preview(entry) for entry in panel.viewer.layers)
    assert "cover the result" in panel.footer.preview_note.text()

    # Switched on again, it lies above the results; deleting its layer is another way to switch it off.
    panel.footer.preview.setChecked(True)
    qtbot.waitUntil(lambda: is_preview(panel.viewer.layers[-1]), timeout=20_000)
    del panel.viewer.layers[-1]
    qtbot.waitUntil(lambda: not panel.footer.preview.isChecked(), timeout=20_000)


@pytest.mark.parametrize("preview", [False, True])
def test_closing_the_panel_lets_go_of_the_viewer(panel, add_image, ready, qtbot, preview):
    viewer = panel.viewer
    layer = add_image((64, 64))
    ready()
    panel.footer.preview.setChecked(preview)
    qtbot.wait(500)
    with qtbot.waitSignal(panel.destroyed):
        viewer.window.remove_dock_widget(panel)
    # Any callback left over would raise: the Qt objects under it are gone.
    layer.name = "other"
    viewer.scene.camera.zoom = 2
    viewer.add_image(np.zeros((8, 8)))
    viewer.layers.clear()
    qtbot.wait(500)


def test_two_panels_do_not_disturb_each_other(panel, add_image, qtbot, run):
    from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget

    other = DeconvolveWidget(panel.viewer)
    panel.viewer.window.add_dock_widget(other, name="Second")
    add_image()
    run()
    qtbot.waitUntil(lambda: other.estimator.settled, timeout=30_000)
    assert isinstance(other.image.layer, Image)


def test_the_image_is_examined_as_soon_as_it_is_chosen(panel, qtbot):
    import napari_lucyd as nl

    generator = np.random.default_rng(0)
    data = generator.poisson(20 + 400 * (generator.random((96, 96)) > 0.99)).astype(np.uint16)
    panel.viewer.add_image(data, name="cells", axis_labels=("y", "x"))
    qtbot.waitUntil(lambda: panel.examination.found is not None, timeout=60_000)
    expected = nl.examine(data, axes="YX")
    assert panel.examination.line.text().startswith(f"Found: {expected.summary}.")
    assert "Noise" in panel.examination.line.toolTip()
    panel.viewer.layers.clear()
    qtbot.waitUntil(lambda: panel.examination.found is None, timeout=60_000)
    assert panel.examination.line.text() == ""
