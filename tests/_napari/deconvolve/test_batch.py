"""Batches from the window: files or layers in, files out, and a table that says what happened."""

import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from scipy.ndimage import gaussian_filter

from napari_lucyd._napari.deconvolve.batch import worker
from napari_lucyd._napari.layers.saving import SUFFIX, name_of
from napari_lucyd._napari.layers.viewer import METADATA_KEY, is_result
from napari_lucyd._napari.workers import notification
from napari_lucyd._napari.workers.events import RunError
from napari_lucyd.io import read_image, write_image

pytestmark = pytest.mark.napari


def test_a_folder_and_then_the_selected_layers(
    panel, add_image, ready, qtbot, monkeypatch, tmp_path, random_model_2d
):
    from napari_lucyd.deconvolution import deconvolve

    image = (1000 * np.random.default_rng(1).random((30, 34))).astype(np.uint16)
    write_image(tmp_path / "a.ome.tif", image, axes="YX", voxel_size=(0.2, 0.1), unit="micrometer")
    (tmp_path / "broken.tif").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("no image either")
    for name, box in panel.destination.outputs.items():
        box.value = name == "output"
    layer = add_image()
    ready()
    window = panel.batch
    window.start.native.click()
    assert window.status.text() == "Choose the folder with the images."
    window.folder.value = str(tmp_path)
    assert window.status.text() == ""  # the message was about the earlier entry
    monkeypatch.setattr(notification, "LONG_SECONDS", 0)
    notification_manager.records.clear()

    def run():
        window.start.native.setFocus()
        window.start.native.click()
        assert window.focusWidget() is window.cancel.native
        qtbot.waitUntil(lambda: not window.session.is_running, timeout=60_000)
        assert window.focusWidget() is window.start.native
        return window.rows()

    good, bad = run()
    assert good[:2] == ("a.ome.tif", "done") and ": a_output.ome.tif\nThe voxel size differs" in good[2]
    assert bad[:2] == ("broken.tif", "failed") and "damaged" in bad[2]
    assert window.status.text() == "1 of 2 done, 1 with warnings, 1 failed." and window.status.property(
        "problem"
    )
    assert [note.message for note in notification_manager.records] == [
        "Batch: 1 of 2 done, 1 with warnings, 1 failed."
    ]
    result = read_image(tmp_path / "deconvolved" / "a_output.ome.tif")
    expected = deconvolve(image, random_model_2d, device="cpu", voxel_size=(0.2, 0.1)).output
    np.testing.assert_allclose(result.data, expected, rtol=0, atol=1e-5 * np.ptp(expected))
    assert result.voxel_size == (0.2, 0.1) and result.metadata["recipe"]["model"] == "random-2d"
    # Nothing is replaced.
    before = (tmp_path / "deconvolved" / "a_output.ome.tif").stat().st_mtime_ns
    name, state, text = run()[0]
    assert (name, state, text) == (
        "a.ome.tif",
        "exists",
        "a_output.ome.tif is there from an earlier run with random-2d.",
    )
    assert window.status.text() == (
        "0 of 2 done, 1 there from an earlier run, 1 failed. "
        "To compute existing results again, choose another folder for the results."
    )
    assert (tmp_path / "deconvolved" / "a_output.ome.tif").stat().st_mtime_ns == before

    window.source.value, window.out.value = "layers", str(tmp_path / "layers")
    ((name, state, _),) = run()
    assert (name, state) == (layer.name, "done")
    assert read_image(tmp_path / "layers" / "image_0_output.ome.tif").data.shape == layer.data.shape
    # Save… proposes the same name.
    quantity = {METADATA_KEY: {"quantity": "output", "source": layer.name}}
    assert name_of(Image(layer.data, metadata=quantity)) + SUFFIX == "image_0_output.ome.tif"


def test_a_colour_image_among_the_selected_layers_fails_and_the_others_run(
    panel, add_image, ready, qtbot, tmp_path
):
    layers = [add_image(seed=number) for number in range(2)]
    colours = panel.viewer.add_image(np.zeros((16, 16, 3), np.uint8), name="colours", rgb=True)
    panel.viewer.layers.selection = {*layers, colours}
    ready()
    # Run names it before it starts, and takes the others.
    assert panel.footer.run.enabled and panel.image.targets() == layers
    text = panel.image.also.text()
    assert "“colours” is a colour (RGB) image and will be left out." in text and layers[0].name in text
    window = panel.batch
    window.source.value, window.out.value = "layers", str(tmp_path / "results")
    window.start.native.click()
    qtbot.waitUntil(lambda: not window.session.is_running, timeout=60_000)
    first, second, last = window.rows()
    assert (first[1], second[1]) == ("done", "done")
    assert last[:2] == ("colours", "failed") and "Split RGB" in last[2]
    assert window.status.text() == "2 of 3 done, 1 failed."


@pytest.mark.parametrize(
    ("step", "said"),
    [("_inputs", "Cancelled before the first image."), ("_one", "Cancelled: 0 of 1 done.")],
)
def test_a_cancelled_batch_says_so(panel, ready, qtbot, tmp_path, monkeypatch, step, said):
    write_image(tmp_path / "a.ome.tif", np.ones((30, 34)), axes="YX", voxel_size=None, unit=None)
    ready()
    window = panel.batch
    window.folder.value = str(tmp_path)
    own, begun, stopped = getattr(worker, step), threading.Event(), threading.Event()

    def wait(*arguments):
        begun.set()
        stopped.wait(20)
        return own(*arguments)

    monkeypatch.setattr(worker, step, wait)
    window.start.native.click()
    qtbot.waitUntil(begun.is_set, timeout=20_000)
    window.cancel.native.click()
    stopped.set()
    qtbot.waitUntil(lambda: not window.session.is_running, timeout=60_000)
    assert window.status.text() == said
    # An empty folder has no image, also after a batch that was cancelled.
    monkeypatch.undo()
    (tmp_path / "empty").mkdir()
    window.folder.value = str(tmp_path / "empty")
    window.start.native.click()
    qtbot.waitUntil(lambda: not window.session.is_running, timeout=60_000)
    assert window.status.text() == "There is no image in this folder."
    assert window.progress.value == 0


def test_a_batch_that_an_error_ends_gives_the_reason_and_leaves_its_bar_empty(
    panel, ready, qtbot, tmp_path, monkeypatch
):
    write_image(tmp_path / "a.ome.tif", np.ones((30, 34)), axes="YX", voxel_size=None, unit=None)
    ready()
    window = panel.batch
    window.folder.value = str(tmp_path)

    def broken(request, should_stop):
        yield worker.Row(0, "a.ome.tif", worker.RUNNING)
        yield worker.Advanced(1, 2, None, "a.ome.tif")
        raise RunError("out of luck")

    monkeypatch.setattr(worker, "run", broken)
    with qtbot.capture_exceptions():
        window.start.native.click()
        qtbot.waitUntil(lambda: not window.session.is_running, timeout=60_000)
    assert window.status.text() == "out of luck" and window.status.property("problem")
    assert window.progress.value == 0


def test_table_messages_and_bar_of_a_batch_do_not_outlive_its_entries(panel, ready, qtbot, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        image = np.random.default_rng(1).random((30, 34), np.float32)
        write_image(tmp_path / name / f"{name}.ome.tif", image, axes="YX", voxel_size=None, unit=None)
    ready()
    window = panel.batch
    window.folder.value = str(tmp_path / "first")
    window.start.native.click()
    qtbot.waitUntil(lambda: not window.session.is_running, timeout=60_000)
    assert window.status.text() == "1 of 1 done." and window.progress.value == window.progress.max
    # The settings are the panel's, so that the table must say which ones it belongs to.
    heading = window.heading.text()
    assert heading.startswith("Started at ") and "“first” with LUCYD (model random-2d" in heading
    assert "results in “deconvolved”" in heading
    panel.method.combo.value = "auto"
    assert window.heading.text() == heading and len(window.rows()) == 1
    window.folder.value = str(tmp_path / "second")
    assert window.rows() == [] and window.progress.value == 0
    assert window.status.text() == window.heading.text() == ""


def test_a_row_has_the_warnings_of_its_result_and_the_status_counts_such_rows(panel, ready, qtbot, tmp_path):
    image = np.random.default_rng(0).poisson(50, (32, 32)).astype(np.float32)
    for name in ("clean", "good", "nan"):
        if name == "nan":
            image[4:6, 7] = np.nan
        write_image(tmp_path / f"{name}.ome.tif", image, axes="YX", voxel_size=(0.1, 0.1), unit="micrometer")
    ready()
    window = panel.batch
    window.folder.value = str(tmp_path)
    for folder in ("first", "second"):  # each batch counts its own rows
        window.out.value = str(tmp_path / folder)
        window.start.native.click()
        qtbot.waitUntil(lambda: not window.session.is_running, timeout=60_000)
        rows = {name: text for name, _, text in window.rows()}
        names, *warnings = rows["nan.ome.tif"].split("\n")
        assert "nan_output.ome.tif" in names and any("NaN" in text for text in warnings)
        assert "NaN" not in rows["clean.ome.tif"]
        assert "NaN" in window.table.item(2, 2).toolTip()
        warned = sum("\n" in text for text in rows.values())
        assert window.status.text() == f"3 of 3 done, {warned} with warnings."


def test_a_blur_that_was_found_is_in_the_row_and_no_warning_of_the_image(panel, ready, qtbot, tmp_path):
    light = gaussian_filter(np.random.default_rng(0).random((64, 64)) > 0.98, 1.5, output=float)
    image = np.random.default_rng(1).poisson(20 + 10_000 * light).astype(np.float32)
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.ome.tif", image, axes="YX", voxel_size=(0.1, 0.1), unit="micrometer")
        image[4, 5] = np.nan
    (tmp_path / "c.tif").write_bytes(b"no image")
    panel.method.combo.value, panel.model.combo.value = "lucyd", "lucyd-planes"
    ready()
    window = panel.batch
    window.folder.value = str(tmp_path)
    window.start.native.click()
    qtbot.waitUntil(lambda: not window.session.is_running, timeout=120_000)
    assert window.status.text() == "2 of 3 done, 1 with warnings, 1 failed."
    first, second, broken = (text for _, _, text in window.rows())
    assert ", blur of 1" in first and "\n" not in first
    assert ", blur of 1" in second and "NaN" in second
    assert window.common.text().count("No blur was given") == 1
    assert str(tmp_path) not in broken and broken[0].isupper()
    window.folder.value = ""
    assert window.common.text() == ""


def test_a_double_click_opens_the_results_of_a_row_and_rows_are_in_natural_order(
    panel, ready, qtbot, tmp_path
):
    plane = (1000 * np.random.default_rng(1).random((30, 34))).astype(np.uint16)
    for number in (1, 2, 10):
        path = tmp_path / f"cell_{number}.ome.tif"
        write_image(path, plane, axes="YX", voxel_size=(0.1, 0.1), unit="µm")
    (tmp_path / "cell_3.tif").write_bytes(b"no image")
    for name, box in panel.destination.outputs.items():
        box.value = name in ("output", "correction_mask")
    ready()
    window, layers = panel.batch, panel.viewer.layers
    window.folder.value = str(tmp_path)
    window.show()

    def run():
        window.start.native.click()
        qtbot.waitUntil(lambda: not window.session.is_running, timeout=60_000)
        assert [name.split(".")[0] for name, *_ in window.rows()] == ["cell_1", "cell_2", "cell_3", "cell_10"]

    def double_click(number):
        table = window.table
        table.scrollToItem(table.item(number, 1))
        at = table.visualItemRect(table.item(number, 1)).center()
        for click in (QTest.mouseClick, QTest.mouseDClick):
            click(table.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at)
        return sorted(Path(layer.source.path).name for layer in layers.selection)

    run()
    files = ["cell_1_correction_mask.ome.tif", "cell_1_output.ome.tif"]
    assert double_click(0) == files
    assert len(layers) == 2 and all(is_result(layer) for layer in layers)
    # After another batch the results are there; those that are open are selected.
    run()
    double_click(1)
    assert len(layers) == 4 and double_click(0) == files and len(layers) == 4
    # A row without results opens nothing, and a file that is gone is a reason.
    double_click(2)
    assert len(layers) == 4
    (tmp_path / "deconvolved" / "cell_10_output.ome.tif").unlink()
    double_click(3)
    assert "cell_10_output.ome.tif" in window.status.text() and window.status.property("problem")


def test_an_image_that_no_method_helps_is_left_alone_in_the_table_and_in_its_file(
    panel, ready, qtbot, tmp_path
):
    noise = np.random.default_rng(0).poisson(50, (64, 64)).astype(np.uint16)
    write_image(tmp_path / "noise.ome.tif", noise, axes="YX", voxel_size=(0.1, 0.1), unit="micrometer")
    panel.method.combo.value = "auto"
    ready()
    window = panel.batch
    window.folder.value = str(tmp_path)
    window.start.native.click()
    qtbot.waitUntil(lambda: not window.session.is_running, timeout=120_000)
    ((name, state, text),) = window.rows()
    assert (name, state) == ("noise.ome.tif", "left alone")
    assert "choose the method LUCYD" in text
    table = window.table
    assert table.rowHeight(0) >= table.sizeHintForRow(0) > table.fontMetrics().height() * 2
    assert window.status.text() == "1 of 1 done, 1 left alone."
    np.testing.assert_array_equal(read_image(tmp_path / "deconvolved" / "noise_output.ome.tif").data, noise)


def test_a_file_of_a_batch_has_the_optics_of_its_psf(tmp_path):
    from napari_lucyd._napari.deconvolve.parameters import Parameters
    from napari_lucyd._napari.psf.optics import OpticsPsf

    image = np.random.default_rng(0).random((30, 34), np.float32)
    write_image(tmp_path / "a.ome.tif", image, axes="YX", voxel_size=(0.2, 0.2), unit="micrometer")
    optics = OpticsPsf(numerical_aperture=0.8, emission_um=0.525, shape=(9,))
    parameters = Parameters(method="richardson-lucy", microscope=optics, num_iter=2, device="cpu")
    request = worker.BatchRequest(tmp_path, (), parameters, tmp_path / "out", "float32")
    assert [event.state for event in worker.run(request, lambda: False) if hasattr(event, "state")][
        -1
    ] == "done"
    (written,) = (tmp_path / "out").iterdir()
    origin = read_image(written).metadata["recipe"]["psf"]["origin"]
    assert origin["optics"]["numerical_aperture"] == 0.8 and origin["psf_size"] == [9]


def test_a_plane_in_a_folder_takes_the_default_model_of_planes_and_its_blur_has_no_z(tmp_path):
    from napari_lucyd._napari.deconvolve.parameters import Parameters

    light = gaussian_filter(np.random.default_rng(0).random((64, 64)) > 0.98, 1.5, output=float)
    image = np.random.default_rng(1).poisson(20 + 10_000 * light).astype(np.uint16)[None]
    write_image(tmp_path / "a.ome.tif", image, axes="ZYX", voxel_size=(1, 0.1, 0.1), unit="micrometer")
    parameters = Parameters(method="lucyd", model="lucyd", device="cpu")
    request = worker.BatchRequest(tmp_path, (), parameters, tmp_path / "out", "float32")
    *_, row = (event for event in worker.run(request, lambda: False) if isinstance(event, worker.Row))
    assert row.state == "done" and "of 0 ×" not in row.text
    written = tmp_path / "out" / "a_output.ome.tif"
    assert read_image(written).metadata["recipe"]["model"] == "lucyd-planes"


def test_automatic_names_the_method_and_compares_none_for_a_result_that_exists(
    panel, ready, qtbot, tmp_path, monkeypatch
):
    light = 200 * gaussian_filter(np.random.default_rng(0).random((64, 64)) > 0.98, 1.5, output=float)
    image = np.random.default_rng(1).poisson(20 + 50 * light).astype(np.uint16)
    write_image(tmp_path / "cells.ome.tif", image, axes="YX", voxel_size=(0.1, 0.1), unit="micrometer")
    panel.method.combo.value = "auto"
    ready()
    window = panel.batch
    window.folder.value = str(tmp_path)

    def run():
        window.start.native.click()
        qtbot.waitUntil(lambda: not window.session.is_running, timeout=120_000)
        ((_, state, text),) = window.rows()
        return state, text

    state, text = run()
    recipe = read_image(tmp_path / "deconvolved" / "cells_output.ome.tif").metadata["recipe"]
    assert state == "done" and f", {recipe['automatic']['chosen']}: cells_output.ome.tif" in text
    monkeypatch.setattr(worker, "compare_methods", lambda *_: pytest.fail("the methods were compared"))
    state, text = run()
    assert state == "exists" and "cells_output.ome.tif" in text
