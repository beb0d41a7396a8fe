"""The result layers in a real window: seen, compared, saved."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image

from napari_lucyd._napari.layers.viewer import METADATA_KEY

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


def test_a_result_as_the_image_has_the_axes_of_its_run(panel, add_image, run, ready):
    layer = add_image((5, 2, 16, 18))
    ready()
    panel.image.axes.value = "ZCYX"
    panel.image.axes.native.editingFinished.emit()
    run()
    panel.viewer.layers.remove(layer)
    ready()
    assert panel.image.layer.name.startswith("output") and panel.image.axes.value == "ZCYX"


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


def test_the_button_is_for_results_that_are_there(panel, add_image, run, qtbot):
    from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget

    viewer, button = panel.viewer, panel.footer.side_by_side
    image = add_image()
    assert not button.enabled
    results = run()
    assert button.enabled
    # Results of an earlier panel count as well.
    other = DeconvolveWidget(viewer)
    viewer.window.add_dock_widget(other, name="Second")
    assert other.footer.side_by_side.enabled
    other.footer.side_by_side.native.click()
    # Their image is beside them, although this panel did not run it.
    assert image.visible and image.name_overlay.visible
    for layer in results.values():
        viewer.layers.remove(layer)
    assert not button.enabled
    other.footer.side_by_side.native.click()
    assert not viewer.canvas.grid.enabled and not other.footer.side_by_side.enabled
    qtbot.waitUntil(lambda: other.estimator.settled, timeout=30_000)


@pytest.mark.parametrize("in_files", [False, True])
def test_results_bring_no_further_warning_of_napari_beside_an_image_without_a_voxel_size(
    panel, add_image, run, tmp_path, in_files
):
    from napari.utils.notifications import notification_manager

    shown = []

    def note(event):
        shown.append(event.message)

    notification_manager.notification_ready.connect(note)
    add_image(seed=1)
    image = add_image(scale=(0.2, 0.1), units=("µm", "µm"))
    # Their own images bring it.
    assert len(shown) == 1 and "Inconsistent units" in shown[0]
    if in_files:
        panel.destination.take(tmp_path)
    assert len(run()) == 3
    if not in_files:
        run()
        panel.footer.replace.native.click()
    panel.region.combo.value = "rectangle"
    panel.region.draw_button.native.click()
    assert panel.image.layer is image and len(shown) == 1
    notification_manager.notification_ready.disconnect(note)


def test_equal_results_of_an_earlier_run_can_be_replaced(panel, add_image, run):
    add_image()
    first = run()
    assert not panel.footer.replace.native.isVisible()
    second = run()
    assert second["output"].name == "output · image 0 (random-2d) 2"
    assert panel.footer.replace.native.isVisible()
    panel.footer.replace.native.click()
    assert not any(layer in panel.viewer.layers for layer in first.values())
    assert second["output"].name == "output · image 0 (random-2d)"
    panel.advanced.halo.value = "4"
    run()
    assert not panel.footer.replace.native.isVisible() and len(panel.viewer.layers) == 7


def test_after_replace_the_names_are_those_of_a_first_run_also_of_an_image_that_was_renamed(
    panel, add_image, run
):
    from napari_lucyd._napari.compare.snapshot import pick
    from napari_lucyd._napari.compare.without_truth import source_image
    from napari_lucyd._napari.inspection.run_layers import run_layers
    from napari_lucyd._napari.layers.to_file import own_metadata
    from napari_lucyd._napari.layers.viewer import image_of

    image = add_image()
    layers = panel.viewer.layers
    first, second = run(), run()
    assert second["output"].name == "output · image 0 (random-2d) 2"
    image.name = "cells"
    third = run()["output"]
    assert third.name == "output · cells (random-2d)" and panel.footer.replace.native.isVisible()
    # Another image of the old name is not theirs.
    other = add_image()
    for output in (first["output"], third):
        assert image_of(panel.viewer, output) is source_image([output], [other, image]) is image
        assert pick(output, panel.viewer, {}).recipe["source"] == "cells"
    assert run_layers(panel.viewer, first["output"], image).parts["correction_mask"] in layers
    layers.remove(other)
    panel.viewer.layers.selection.active = image
    fourth = run()
    assert fourth["output"].name == "output · cells (random-2d) 2"
    panel.footer.replace.native.click()
    assert [layer for layer in layers if layer is not image] == list(fourth.values())
    assert fourth["output"].name == "output · cells (random-2d)"
    # An image that is opened again is known by its name, and the id stays out of files.
    layers.remove(image)
    again = add_image(name="cells")
    assert image_of(panel.viewer, fourth["output"]) is again
    assert "source_id" not in own_metadata(fourth["output"].as_layer_data_tuple()[1])


def test_the_settings_of_a_result_can_be_used_and_are_remembered(panel, add_image, run, ready, qtbot):
    from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget

    add_image()
    panel.advanced.halo.value, panel.advanced.steps["prefilter"].value = "6", "0.7"
    result = run()["output"]
    panel.advanced.halo.value, panel.advanced.steps["prefilter"].value = "", ""
    panel.destination.outputs["update_term"].value = False
    assert not panel.footer.use_settings.enabled
    panel.viewer.layers.selection.active = result
    assert panel.footer.use_settings.enabled
    panel.footer.use_settings.native.click()
    assert (panel.advanced.halo.value, panel.advanced.steps["prefilter"].value) == ("6", "0.7")
    assert panel.sections.parameters().outputs == ("output", "correction_mask", "update_term")
    ready()
    again = DeconvolveWidget(panel.viewer)
    panel.viewer.window.add_dock_widget(again, name="Again")
    assert again.advanced.halo.value == "6" and again.advanced.isExpanded()
    qtbot.waitUntil(lambda: again.estimator.settled, timeout=30_000)


@pytest.mark.parametrize("name", ["cells_output.ome.tif", "cells_output.tif", "cells_output.ome.zarr"])
def test_a_result_that_napari_s_own_reader_opened_is_known_as_one(panel, ready, tmp_path, name):
    from napari_lucyd._napari.layers.to_file import arguments_of
    from napari_lucyd.io import write_image

    known = {"quantity": "output", "source": "cells", "axes": "YX", "outputs": ["output"]}
    layer = Image(np.eye(20, dtype=np.float32), name="output", metadata={METADATA_KEY: known})
    given = arguments_of([layer.as_layer_data_tuple()])
    path = write_image(tmp_path / name, given.pop("array"), **given)
    if name.endswith("zarr"):
        from napari.layers._source import layer_source

        with layer_source(path=str(path)):
            panel.viewer.add_image(layer.data)
    else:
        panel.viewer.open(str(path), plugin="napari")
    ready()
    hint = panel.image.also
    assert hint.isVisible() and hint.text().startswith(f"{name} is a result of “cells”.")
    assert "open its folder with the reader napari-lucyd" in hint.text() and panel.footer.run.enabled


def test_a_result_as_the_image_is_called_a_result(panel, add_image, run, ready):
    image = add_image()
    output = run()["output"]
    assert not panel.image.also.isVisible()
    panel.image.combo.value = output
    ready()
    assert panel.image.also.isVisible() and panel.footer.run.enabled
    assert panel.image.also.text() == f"“{output.name}” is a result. Run deconvolves it again."
    panel.image.combo.value = image
    assert not panel.image.also.isVisible()


def test_a_result_that_was_opened_before_its_image_is_said_to_lie_beside_it(panel, ready, tmp_path):
    from napari_lucyd._napari.layers.to_file import arguments_of
    from napari_lucyd.io import write_image

    known = {"quantity": "output", "source": "cells", "axes": "YX", "outputs": ["output"]}
    values = np.eye(20, dtype=np.float32)
    result = Image(values, scale=(0.2, 0.1), units=("µm", "µm"), metadata={METADATA_KEY: known})
    given = arguments_of([result.as_layer_data_tuple()])
    path = write_image(tmp_path / "cells_output.ome.tif", given.pop("array"), **given)
    (opened,) = panel.viewer.open(str(path), plugin="napari-lucyd")
    image = panel.viewer.add_image(values, name="cells")
    panel.image.combo.value = image
    ready()
    fields = panel.image.voxel_size
    said = "Not yet on the layer, so the result does not lie on it."
    assert fields.note.text() == f"From “{opened.name}”. {said}"
    fields.set_on_layer.native.click()
    np.testing.assert_allclose(image.scale, opened.scale)
    ready()
    assert fields.note.text() == "From the layer."


def test_score_and_curve_go_with_the_last_result_of_the_run(panel, add_image, run, qtbot):
    from napari_lucyd._napari.deconvolve.status.footer import NO_SCORE

    layer = add_image()
    panel.footer.score.setChecked(True)
    results = run()
    qtbot.waitUntil(lambda: panel.score.work.settled, timeout=60_000)
    panel.footer.curve.show_points([(1, 1.0), (2, 2.0)])
    score = panel.footer.score_note
    said = score.text()
    assert said != NO_SCORE and panel.footer.curve.isVisible()
    *others, last = results.values()
    for result in others:
        panel.viewer.layers.remove(result)
    assert score.text() == said and panel.footer.curve.isVisible()
    panel.viewer.layers.remove(last)
    assert score.text() == NO_SCORE and not panel.footer.curve.isVisible()
    assert panel.image.layer is layer


def test_side_by_side_leaves_the_visible_part_as_it_was(panel, add_image, run, ready):
    add_image((40, 60))
    run()
    panel.region.combo.value = "screen"
    panel.viewer.scene.camera.zoom *= 3
    ready()
    before = panel.region.where.text()
    assert before and before != "The whole image."
    panel.footer.side_by_side.native.click()
    ready()
    panel.estimator.refresh()
    ready()
    assert panel.region.where.text() == before
    panel.footer.side_by_side.native.click()
    panel.viewer.scene.camera.zoom *= 2
    ready()
    assert panel.region.where.text() not in (before, "")
