"""The Deconvolve panel in a real window: its choices, and its texts about them."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image
from qtpy.QtCore import QPoint

from napari_lucyd._napari.deconvolve.panel import PREVIEW_OFF
from napari_lucyd._napari.deconvolve.status.footer import NO_SCORE
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
    assert panel.estimate.entries[0].task.source.name == "cells"


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
    panel.image.axes.native.setText("SYX")
    panel.image.axes.native.editingFinished.emit()
    assert "S stands for the colours" in panel.image.understood.text()
    ready()
    assert not panel.footer.run.enabled and "S stands for the colours" in panel.footer.estimate.text()
    panel.image.axes.native.setText("CYX")
    panel.image.axes.native.editingFinished.emit()
    ready()
    assert "C 6 × Y 20 × X 22" in panel.image.understood.text()
    assert panel.footer.run.enabled and not panel.image.understood.property("problem")


def test_a_mask_is_refused_before_the_run_and_others_go_on(panel, add_image, ready):
    mask = panel.viewer.add_image(np.eye(24) > 0, name="mask")
    ready()
    assert not panel.footer.run.enabled
    said = panel.footer.estimate.text()
    assert "“mask”: The image is a mask (dtype bool)" in said and said.endswith("it was made from.")
    layer = add_image()
    panel.viewer.layers.selection = {mask, layer}
    ready()
    assert panel.footer.run.enabled


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


def test_the_file_that_was_asked_for_last_is_chosen_whichever_is_loaded_first(panel, qtbot, model_files):
    first, last = str(model_files[3]), str(model_files[2])
    panel.model.load(first)
    panel.model.load(last)
    qtbot.waitUntil(lambda: {first, last} <= set(panel.model.combo.choices), timeout=20_000)
    assert panel.model.name == last
    # As if the other one had taken longer.
    panel.model._on_loaded((first, True, ""))
    assert panel.model.name == last

    panel.model.load(first)
    panel.model.combo.value = "general"
    panel.model._on_loaded((first, True, ""))
    assert panel.model.name == "general"


def test_the_authors_files_can_be_chosen(panel, add_image, qtbot, shared, run):
    path = shared / "reference" / "lucyd2d.pth"
    panel.model.load(path)
    qtbot.waitUntil(lambda: panel.model.name == str(path), timeout=20_000)
    add_image()
    output = run()["output"]
    assert output.name == "output · image 0 (lucyd2d)"


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
    # A callback that is still connected would raise, because its Qt objects are gone.
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


def test_a_flash_is_said_before_the_run_until_each_time_point_is_scaled_by_itself(panel, qtbot):
    spots = np.random.default_rng(0).random((5, 64, 64)) > 0.99
    movie = np.random.default_rng(0).poisson(20 + 400 * spots).astype(np.uint16)
    movie[3] = 65535
    panel.viewer.add_image(movie, name="movie", axis_labels=("t", "y", "x"))
    qtbot.waitUntil(lambda: panel.examination.found is not None, timeout=60_000)
    line = panel.examination.line
    assert "T 3 is" in line.text() and "Per channel and time point" in line.text()
    panel.advanced.separate.value = "TC"
    assert "T 3 is" not in line.text()
    panel.advanced.separate.value = "C"
    assert "T 3 is" in line.text()
    panel.method.combo.value = "richardson-lucy"
    assert "T 3 is" not in line.text()


@pytest.mark.parametrize("method", ["richardson-lucy", "wiener"])
def test_the_axes_are_shown_while_there_is_no_psf_yet(panel, add_image, ready, method):
    panel.method.combo.value = method
    add_image((6, 20, 22), scale=(0.3, 0.1, 0.1), units=("µm",) * 3)
    ready()
    assert panel.footer.estimate.text().startswith("Enter the NA.")
    assert panel.image.axes.value == "ZYX"
    assert panel.image.understood.text() == "Z 6 × Y 20 × X 22"
    assert panel.image.voxel_size.lines["Z"].value == "0.3"
    panel.image.axes.native.setText("TYX")
    panel.image.axes.native.editingFinished.emit()
    ready()
    assert panel.image.understood.text() == "T 6 × Y 20 × X 22"


def test_only_the_outputs_that_a_network_has_are_offered(
    panel, add_image, ready, qtbot, tmp_path, random_rln
):
    from napari_lucyd import save_model

    path = str(save_model(tmp_path / "a.safetensors", random_rln.network, normalization={"method": "minmax"}))
    panel.model.load(path)
    qtbot.waitUntil(lambda: panel.model.name == path, timeout=20_000)
    add_image((8, 20, 22))
    ready()
    shown = [name for name, box in panel.destination.outputs.items() if box.native.isVisible()]
    assert shown == ["output", "intermediate"]
    # Side by side, without gaps for the hidden boxes between them.
    qtbot.waitUntil(lambda: len({panel.destination.outputs[name].native.y() for name in shown}) == 1)
    assert panel.sections.parameters().outputs == ("output",)
    panel.destination.outputs["output"].value = False
    ready()
    assert panel.footer.estimate.text() == "Choose at least one output."
    panel.method.combo.value = "care"
    ready()
    assert not any(box.native.isVisible() for box in panel.destination.outputs.values())
    assert panel.sections.parameters().outputs == ("output",) and panel.footer.run.enabled


def test_another_image_clears_what_the_last_run_said(panel, add_image, run, ready, qtbot):
    first = add_image()
    panel.footer.score.setChecked(True)
    panel.footer.preview.setChecked(True)
    run()
    qtbot.waitUntil(
        lambda: panel.score.work.settled and "·" in panel.footer.score_note.text(), timeout=60_000
    )
    assert "Done in" in panel.status.text() and panel.footer.progress.value == 1
    assert panel.footer.preview_note.text() == PREVIEW_OFF
    panel.footer.anyway.native.show()
    second = add_image(seed=1)
    panel.viewer.layers.selection.active = second
    ready()
    assert panel.status.text() == "Ready." and panel.footer.progress.value == 0
    assert panel.footer.preview_note.text() == "" and panel.footer.anyway.native.isHidden()
    qtbot.waitUntil(lambda: panel.footer.score_note.text() == NO_SCORE, timeout=10_000)
    panel.viewer.layers.selection.active = first
    assert panel.status.text() == "Ready."


def test_the_bar_says_preparing_only_until_the_computation_begins(panel, add_image, ready, qtbot, slow_tiles):
    add_image()
    ready()
    texts = []
    panel.session.told.connect(lambda text: texts.append((text, panel.footer.progress.native.format())))
    panel.session.computing.connect(lambda: texts.append(("begins", panel.footer.progress.native.format())))
    panel.footer.run.native.click()
    assert panel.footer.progress.native.format() == "Preparing…"
    qtbot.waitUntil(lambda: not panel.session.is_running, timeout=60_000)
    assert texts[0][1] == "Preparing…" and texts[-1] == ("begins", "%p %")


def test_an_entry_moves_no_control_whether_it_is_valid_or_not(panel, add_image, ready):
    panel.method.combo.value = "richardson-lucy"
    lines = panel.microscope.form.lines
    add_image((6, 20, 22), scale=(0.3, 0.1, 0.1), units=("µm",) * 3)
    ready()
    shown = (panel.image.voxel_size, panel.method.combo.native, lines["emission_um"].native)
    shown += (panel.region.combo.native, panel.footer.run.native, panel.footer.side_by_side.native)
    before = [control.mapTo(panel, QPoint()) for control in shown]
    assert panel.footer.estimate.text().startswith("Enter the NA.")
    entries = [
        ("numerical_aperture", "0.8"),
        ("emission_um", "0.525"),
        ("shape", "5, 9, 9"),
        ("depth_um", "x"),
    ]
    for name, text in entries:
        lines[name].value = text
        ready()
        assert [control.mapTo(panel, QPoint()) for control in shown] == before
    for line, text in ((panel.image.axes, "SYX"), (panel.image.voxel_size.lines["Z"], "much")):
        line.native.setText(text)
        line.native.editingFinished.emit()
        ready()
        assert [control.mapTo(panel, QPoint()) for control in shown] == before


def test_of_results_that_are_opened_one_after_the_other_the_output_is_the_image(panel, add_image):
    for quantity in ("correction_mask", "output", "update_term"):
        add_image(name=quantity, metadata={METADATA_KEY: {"quantity": quantity, "source": "cells"}})
    assert panel.image.layer.name == "output"
    panel.image.combo.value = panel.viewer.layers["update_term"]
    add_image(name="another", metadata={METADATA_KEY: {"quantity": "output", "source": "cells"}})
    assert panel.image.layer.name == "update_term"


def test_each_phantom_has_its_own_psf_layer(panel, add_image):
    psfs, images = [], []
    for number in (1, 2):
        made = {"blur_sigma": [number, number]}
        note = {"shows": "psf", "psf_of": made}
        psfs.append(panel.viewer.add_image(np.ones((3, 3)), metadata={METADATA_KEY: note}))
        images.append(add_image(seed=number, metadata={METADATA_KEY: {"simulation": made}}))
    for image, psf in zip(images, psfs, strict=True):
        panel.viewer.layers.selection.active = image
        assert panel.image.layer is image and panel.microscope.layer is psf
    # A choice of the user stays.
    panel.microscope.form.kind.value = "blur"
    panel.viewer.layers.selection.active = images[0]
    assert panel.microscope.form.kind.value == "blur"


def test_an_image_that_cannot_be_deconvolved_is_told_of_before_its_missing_psf(panel, ready):
    panel.viewer.add_image(np.zeros((16, 16, 3), np.uint8), name="colours", rgb=True)
    panel.method.combo.value = "richardson-lucy"
    panel.microscope.form.kind.value = "file"
    ready()
    assert "“colours” is a colour (RGB) image" in panel.footer.estimate.text()


def test_the_psf_layer_of_a_phantom_is_taken_unless_the_blur_is_told(panel, add_image, ready):
    made = {METADATA_KEY: {"simulation": {"blur_sigma": [1, 1]}}}
    add_image(metadata=made)
    psf = panel.viewer.add_image(np.ones((3, 3)), name="its PSF", metadata={METADATA_KEY: {"shows": "psf"}})
    assert panel.microscope.layer is psf and panel.image.layer is not psf
    # It is not the PSF of another image, and none at all without its layer.
    add_image(seed=2)
    assert panel.microscope.form.kind.value == "optics"
    panel.viewer.layers.selection.active = panel.viewer.layers["image 0"]
    assert panel.microscope.layer is psf
    panel.viewer.layers.remove(psf)
    assert panel.microscope.form.kind.value == "optics"
    panel.viewer.add_image(np.ones((3, 3)), name="its PSF", metadata={METADATA_KEY: {"shows": "psf"}})
    assert panel.microscope.form.kind.value == "layer"
    panel.microscope.form.kind.value = "optics"
    panel.microscope.form.lines["numerical_aperture"].value = "0.8"
    add_image(seed=1, metadata=made)
    assert panel.microscope.form.kind.value == "optics"
    ready()


def test_many_axes_take_no_more_lines_than_few(panel, add_image, ready):
    add_image((40, 44))
    ready()
    understood = panel.image.understood
    height = understood.height()
    panel.viewer.layers.selection.active = add_image((3, 2, 5, 20, 22), seed=1)
    ready()
    assert panel.image.axes.value == "TCZYX"
    understood.setText("T 1200 × C 12 × Z 1200 × Y 2048 × X 2048, resampled along Z to isotropic voxels " * 2)
    panel.layout().activate()
    assert understood.height() == height and understood.toolTip()
