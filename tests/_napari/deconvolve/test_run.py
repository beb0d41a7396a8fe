"""Runs from the panel in a real window: results, cancels, and windows that close."""

import threading

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_lucyd._napari.layers.viewer import METADATA_KEY
from napari_lucyd._napari.workers.events import RunError
from napari_lucyd._napari.workers.session import ClosingWorker

pytestmark = pytest.mark.napari


def speckles(shape, seed=0):
    return (1000 * np.random.default_rng(seed).random(shape)).astype(np.uint16)


def test_run_equals_the_engine_and_fills_the_layers(panel, add_image, run, random_model_2d):
    from napari_lucyd.deconvolution import deconvolve

    layer = add_image(scale=(0.2, 0.1), units=("µm", "µm"), colormap="green", contrast_limits=(100, 900))
    results = run()
    assert list(results) == ["output", "correction_mask", "update_term"]
    expected = deconvolve(layer.data, random_model_2d, device="cpu", voxel_size=(0.2, 0.1))
    np.testing.assert_allclose(results["output"].data, expected.output, atol=1e-2)  # 1e-5 of 1000
    output = results["output"]
    np.testing.assert_allclose(output.scale, (0.2, 0.1))
    assert output.units == layer.units
    assert output.colormap.name == "green"
    assert output.contrast_limits == [100, pytest.approx(np.percentile(output.data, 99.99))]
    recipe = output.metadata[METADATA_KEY]
    assert recipe["model"] == "random-2d"
    assert recipe["input"]["shape"] == [40, 44]
    assert "image 0" in panel.status.text()
    assert "CPU" in panel.status.text()


def test_all_selected_images_in_one_run(panel, add_image, run, ready):
    layers = [add_image(seed=n) for n in range(3)]
    panel.viewer.layers.selection = {layers[0], layers[2]}
    ready()
    assert "both selected images" in panel.image.also.text()
    run()
    sources = {layer.metadata[METADATA_KEY]["source"] for layer in panel.session.results}
    assert sources == {"image 0", "image 2"}
    assert len(panel.session.results) == 6


def test_an_image_that_fails_is_told_of_and_the_other_runs(panel, add_image, run):
    good = add_image()
    bad = panel.viewer.add_image(np.full((20, 20), np.nan, np.float32), name="empty", contrast_limits=(0, 1))
    panel.viewer.layers.selection = {good, bad}
    run()
    assert "Not deconvolved: “empty”" in panel.status.text()
    assert panel.status.property("problem")
    assert len(panel.session.results) == 3
    assert panel.footer.run.enabled


def test_a_run_that_an_error_ends_leaves_the_bar_empty_though_one_image_is_done(
    panel, add_image, ready, qtbot, monkeypatch
):
    from napari_lucyd._napari.deconvolve import session

    own = session.run

    def broken(tasks, should_stop):
        yield from own(tasks, should_stop)
        raise RunError("out of luck")

    monkeypatch.setattr(session, "run", broken)
    add_image()
    ready()
    with qtbot.capture_exceptions():
        panel.footer.run.native.click()
        qtbot.waitUntil(lambda: not panel.session.is_running, timeout=60_000)
    assert len(panel.session.results) == 3 and panel.footer.progress.value == 0
    assert "The run failed: out of luck" in panel.status.text() and panel.status.property("problem")


def test_no_failure_is_dropped_from_a_long_report(panel, add_image, run):
    empty = np.full((20, 20), np.nan, np.float32)
    bad = panel.viewer.add_image(empty, name="empty", contrast_limits=(0, 1))
    panel.viewer.layers.selection = {bad, *(add_image(seed=n) for n in range(5))}
    run()
    said = panel.status.text()
    assert said.startswith("Not deconvolved: “empty”") and panel.status.property("problem")
    assert ": “image 4”." in said and ": “image 0”." not in said


def test_only_the_ticked_layers_come(panel, add_image, run):
    add_image()
    for name, box in panel.destination.outputs.items():
        box.value = name in ("output", "intermediate")
    assert list(run()) == ["output", "intermediate"]


def test_optional_steps_are_those_of_deconvolve(panel, add_image, run, ready):
    from napari_lucyd.deconvolution import deconvolve

    layer = add_image((30, 34))
    panel.advanced.steps["prefilter"].value, panel.advanced.steps["subtract_background"].value = "0,8", "16"
    panel.advanced.flips.value = True
    panel.destination.outputs["output"].value = False
    assert not panel.destination.outputs["output"].native.isVisible()
    results = run()
    assert list(results) == ["output"]
    method = panel.estimate.entries[0].model
    options = {"prefilter": 0.8, "subtract_background": 16, "flips": True}
    expected = deconvolve(layer.data, method, **options).output
    # Not bit for bit: convolutions in a worker thread may add in another order.
    np.testing.assert_allclose(results["output"].data, expected, rtol=0, atol=1e-5 * np.ptp(expected))
    assert results["output"].metadata[METADATA_KEY]["prefilter"]["sigma"] == [0.8]
    panel.advanced.flips.value = False
    assert panel.destination.outputs["output"].native.isVisible()
    panel.advanced.steps["prefilter"].value = "much"
    ready()
    assert (
        "Prefilter: 'much' is not a number" in panel.footer.estimate.text() and not panel.footer.run.enabled
    )


def test_what_is_on_screen(panel, add_image, run):
    layer = add_image((200, 220))
    panel.viewer.scene.camera.zoom *= 4
    panel.viewer.scene.camera.center = (100, 110)
    panel.region.combo.value = "screen"
    output = run()["output"]
    assert output.data.shape < layer.data.shape
    # The computed part covers the canvas: the middle, and less than the image.
    start = output.translate
    stop = start + np.asarray(output.data.shape)
    assert (start > 0).all()
    assert (stop < layer.data.shape).all()
    np.testing.assert_allclose((start + stop) / 2, (100, 110), atol=3)
    panel.viewer.scene.camera.zoom /= 8
    panel.estimator.refresh()
    assert run()["output"].data.shape == layer.data.shape


@pytest.mark.parametrize("centre", [(-900, 110), (100, 2000)])
def test_an_image_that_is_out_of_view_has_no_visible_part(panel, add_image, ready, centre):
    layer = add_image((200, 220))
    panel.region.combo.value = "screen"
    panel.viewer.scene.camera.center = centre
    panel.estimator.refresh()
    ready()
    assert f"No part of “{layer.name}” is in view" in panel.footer.estimate.text()
    assert not panel.footer.run.enabled and panel.region.where.text() == ""


@pytest.mark.parametrize("planes", [100, 4])
def test_another_image_is_run_with_the_planes_that_are_shown(panel, add_image, ready, planes):
    add_image((60, 20, 22))
    ready()
    panel.region.combo.value = "screen"
    panel.region.planes.value = (10, 20)
    ready()
    assert "Z 10–20" in panel.region.where.text()
    add_image((planes, 20, 22), seed=1, axis_labels=("z", "y", "x"))
    ready()
    shown = panel.region.planes.value
    assert shown == (0, planes - 1) and panel.footer.run.enabled
    assert f"Z 0–{planes - 1}" in panel.region.where.text() or panel.region.where.text() == "The whole image."
    (task,) = panel.sections.tasks()
    assert task.parameters.z_range == shown == panel.estimate.entries[0].task.parameters.z_range


def test_what_is_on_screen_follows_the_size_of_the_window(panel, add_image, ready, qtbot):
    add_image((200, 220))
    panel.viewer.scene.camera.zoom *= 4
    panel.region.combo.value = "screen"
    ready()
    before = panel.region.where.text()
    window = panel.viewer.window._qt_window
    window.resize(window.width() - 150, window.height() - 100)
    qtbot.waitUntil(lambda: panel.estimator.settled and panel.region.where.text() != before, timeout=10_000)
    (entry,), (task,) = panel.estimate.entries, panel.sections.tasks()
    assert entry.task.view == task.view


def test_drawn_rectangle_with_a_range_of_planes(panel, add_image, run, ready, qtbot):
    layer = add_image((9, 40, 44), scale=(2, 1, 1), translate=(0, 5, 5))
    ready()
    panel.region.combo.value = "rectangle"
    ready()
    assert "Draw" in panel.footer.estimate.text() and panel.region.where.text() == ""
    panel.region.draw_button.native.click()
    assert panel.status.text() == "Draw a rectangle on the image."
    shapes = panel.viewer.layers["LUCYD region"]
    assert shapes.mode == "add_rectangle"
    # One line says so while the tool is active.
    ready()
    line = panel.footer.estimate
    assert line.text() == "" and not line.property("problem") and not panel.footer.run.enabled
    for put_away in (
        lambda: setattr(shapes, "mode", "pan_zoom"),
        lambda: setattr(panel.viewer.layers.selection, "active", layer),
    ):
        put_away()
        ready()
        assert "no rectangle yet" in line.text() and line.property("problem")
        panel.region.draw_button.native.click()
        ready()
        assert line.text() == ""
    corners = [layer.data_to_world((0, y, x))[-2:] for y, x in ((10, 12), (10, 30), (22, 30), (22, 12))]
    shapes.add_rectangles(np.asarray([shapes.world_to_data(corner) for corner in corners]))
    assert panel.status.text() == "Run will process the rectangle."
    ready()
    assert panel.region.planes.native.isVisible()
    panel.region.planes.value = (2, 5)
    ready()
    assert panel.region.where.text() == "Z 2–5   Y 10–22   X 12–30"
    output = run()["output"]
    assert output.data.shape == (4, 13, 19)
    np.testing.assert_allclose(output.data_to_world((0, 0, 0)), layer.data_to_world((2, 10, 12)))
    assert panel.image.layer is layer
    panel.viewer.layers.clear()
    ready()
    assert line.text() == "Open an image to deconvolve." and panel.region.where.text() == ""
    assert panel.image.also.isHidden()


def test_a_drawn_rectangle_gives_back_the_selected_images_and_stays_above_the_results(
    panel, add_image, run, ready, qtbot
):
    from napari.utils._test_utils import read_only_mouse_event
    from napari.utils.interactions import (
        mouse_move_callbacks,
        mouse_press_callbacks,
        mouse_release_callbacks,
    )

    images = [add_image(seed=number) for number in range(2)]
    layers = panel.viewer.layers
    layers.selection = set(images)
    panel.region.combo.value = "rectangle"
    for corner in ((10, 12), (8, 10)):
        # Pressed twice, it is still the images that come back.
        for _ in range(2):
            panel.region.draw_button.native.click()
        shapes = layers.selection.active
        assert shapes.name == "LUCYD region" and shapes.mode == "add_rectangle"
        places = (
            (mouse_press_callbacks, "mouse_press", corner),
            (mouse_move_callbacks, "mouse_move", (20, 30)),
        )
        for callbacks, kind, place in (*places, (mouse_release_callbacks, "mouse_release", (20, 30))):
            event = read_only_mouse_event(type=kind, position=place, is_dragging=True, dims_displayed=[0, 1])
            callbacks(shapes, event)
            assert kind == "mouse_release" or layers.selection.active is shapes
        qtbot.waitUntil(lambda: layers.selection == set(images), timeout=5_000)
        assert panel.image.targets() == images
        assert shapes.mode == images[0].mode == "pan_zoom"
        ready()
        assert panel.region.where.text() == f"Y {corner[0]}–20   X {corner[1]}–30"
    run()
    assert layers[-1] is shapes and len(panel.session.results) == 6
    assert [layer for layer in layers if layer in panel.session.results] == panel.session.results


@pytest.mark.parametrize("planes", [16, 1500])
def test_the_labels_of_the_planes_are_whole_at_both_ends(panel, add_image, ready, planes):
    add_image((planes, 8, 9), axis_labels=("z", "y", "x"))
    ready()
    panel.region.combo.value = "screen"
    ready()
    slider, last = panel.region.planes, planes - 1
    for chosen in ((0, last), (0, 0), (last, last)):
        slider.value = chosen
        labels = slider.native._handle_labels
        assert [label.text() for label in labels] == [str(number) for number in chosen]
        places = [(label.x(), label.x() + label.width()) for label in labels]
        assert all(left >= 0 and right <= slider.native.width() for left, right in places), places


def test_a_rectangle_counts_for_images_in_other_units_of_length(panel, add_image, ready):
    place = {"axis_labels": ("z", "y", "x")}
    fine = add_image((4, 40, 44), scale=(300, 100, 100), units=("nm",) * 3, **place)
    coarse = add_image((4, 40, 44), seed=1, scale=(0.3, 0.1, 0.1), units=("µm",) * 3, **place)
    panel.region.combo.value = "rectangle"
    panel.region.draw_button.native.click()
    shapes = panel.viewer.layers["LUCYD region"]
    shapes.add_rectangles(np.asarray([[10, 12], [10, 30], [22, 30], [22, 12]], float))
    for layer in (coarse, fine):
        panel.viewer.layers.selection.active = layer
        ready()
        assert panel.region.where.text() == "Z 0–3   Y 10–22   X 12–30"


def test_a_rectangle_elsewhere_is_told_of(panel, add_image, ready):
    add_image()
    panel.region.combo.value = "rectangle"
    panel.region.draw_button.native.click()
    panel.viewer.layers["LUCYD region"].add_rectangles(np.asarray([[90, 90], [90, 99], [99, 99], [99, 90]]))
    ready()
    assert "outside “image 0”" in panel.footer.estimate.text()


def test_cancel_offers_the_finished_part(panel, add_image, ready, qtbot, slow_tiles):
    layer = add_image((96, 20))
    panel.advanced.tile.value = "12, 20"
    ready()
    panel.footer.run.native.click()
    qtbot.waitUntil(lambda: panel.footer.progress.value >= 2, timeout=30_000)
    assert panel.footer.cancel.enabled
    assert not panel.footer.run.enabled
    assert "left" in panel.footer.progress.native.text()
    panel.footer.cancel.native.click()
    qtbot.waitUntil(lambda: not panel.session.is_running, timeout=2_000)
    assert list(panel.viewer.layers) == [layer]
    assert "Stopped after" in panel.status.text()
    assert panel.footer.keep.native.isVisible()
    panel.footer.keep.native.click()
    qtbot.waitUntil(lambda: not panel.session.is_running, timeout=10_000)
    output = panel.session.results[0].data
    assert np.isfinite(output[:12]).all()
    assert np.isnan(output[-12:]).all()
    assert not panel.footer.keep.native.isVisible()
    assert panel.footer.run.enabled


def test_cancel_and_discard(panel, add_image, ready, qtbot, slow_tiles):
    layer = add_image((96, 20))
    panel.advanced.tile.value = "12, 20"
    ready()
    panel.footer.run.native.click()
    qtbot.waitUntil(lambda: panel.footer.progress.value >= 1, timeout=30_000)
    panel.footer.cancel.native.click()
    qtbot.waitUntil(lambda: not panel.session.is_running, timeout=2_000)
    panel.footer.discard.native.click()
    assert panel.session.partial is None
    assert list(panel.viewer.layers) == [layer]


def test_a_run_survives_its_layer_being_renamed_and_removed(panel, add_image, ready, qtbot, slow_tiles):
    layer = add_image((96, 20))
    panel.advanced.tile.value = "12, 20"
    ready()
    panel.footer.run.native.click()
    qtbot.waitUntil(lambda: panel.footer.progress.value >= 1, timeout=30_000)
    layer.name = "something else"
    panel.viewer.layers.clear()
    qtbot.waitUntil(lambda: not panel.session.is_running, timeout=30_000)
    assert [entry.name for entry in panel.viewer.layers] == [
        "output · image 0 (random-2d)",
        "mask · image 0 (random-2d)",
        "update term · image 0 (random-2d)",
    ]
    assert np.isfinite(panel.session.results[0].data).all()


def test_closing_napari_during_a_run_ends_cleanly(panel, add_image, ready, qtbot, slow_tiles):
    from qtpy.QtCore import QThreadPool

    add_image((960, 20))
    panel.advanced.tile.value = "12, 20"
    ready()
    panel.footer.run.native.click()
    qtbot.waitUntil(lambda: panel.footer.progress.value >= 1, timeout=30_000)
    panel.viewer.window.close()
    # 80 tiles of a tenth of a second were left.
    assert QThreadPool.globalInstance().waitForDone(2_000)
    qtbot.wait(100)


def test_dask_multiscale_and_rotated_layers_work(panel, add_image, run, random_model_2d):
    da = pytest.importorskip("dask.array")
    from napari_lucyd.deconvolution import deconvolve

    data = speckles((48, 52))
    expected = deconvolve(data, random_model_2d, device="cpu").output
    keywords = {"contrast_limits": (0, 1000)}
    panel.viewer.add_image(da.from_array(data, chunks=16), name="dask", **keywords)
    np.testing.assert_allclose(run()["output"].data, expected, atol=1e-2)
    panel.viewer.add_image([data, data[::2, ::2]], name="pyramid", multiscale=True, **keywords)
    np.testing.assert_allclose(run()["output"].data, expected, atol=1e-2)
    layer = panel.viewer.add_image(data, name="rotated", rotate=30, scale=(0.5, 0.5), **keywords)
    output = run()["output"]
    np.testing.assert_allclose(output.data, expected, atol=1e-2)
    np.testing.assert_allclose(output.data_to_world((7, 9)), layer.data_to_world((7, 9)))


def test_a_series_with_channels_keeps_its_axes(panel, add_image, run):
    layer = add_image((2, 2, 3, 20, 22), scale=(1, 1, 0.5, 0.2, 0.2))
    output = run()["output"]
    assert output.data.shape == layer.data.shape
    assert output.metadata[METADATA_KEY]["axes"] == "TCZYX"
    np.testing.assert_allclose(output.scale, layer.scale)


def test_a_volume_through_a_3d_model(panel, add_image, run, qtbot, model_files):
    panel.model.load(model_files[3])
    qtbot.waitUntil(lambda: panel.model.name == str(model_files[3]), timeout=20_000)
    add_image((4, 16, 18), scale=(0.3, 0.1, 0.1))
    output = run()["output"]
    assert "resampled ×3" in panel.image.understood.text()
    assert output.metadata[METADATA_KEY]["resampling"]["factor"] == pytest.approx(3)
    assert output.data.shape == (4, 16, 18)


def test_a_run_that_napari_quits_between_two_events_is_closed_when_its_thread_ends(qtbot):
    from napari.qt.threading import create_worker
    from qtpy.QtCore import QThreadPool

    closed_in = []

    def events():
        try:
            while True:
                yield
        finally:
            closed_in.append(threading.current_thread())

    # Held, as a session holds its worker until it reports its end.
    worker = create_worker(events, _start_thread=False, _worker_class=ClosingWorker)
    with qtbot.waitSignal(worker.yielded):
        worker.start()
    worker.quit()
    assert QThreadPool.globalInstance().waitForDone(5_000)
    assert closed_in and closed_in[0] is not threading.main_thread()


def test_napari_names_the_run_in_its_question_before_it_closes(panel, add_image, run, slow_tiles):
    add_image()
    asked = []
    tasks = panel.viewer.window._task_status_manager
    panel.session.advanced.connect(lambda _: asked.extend(tasks.get_status()))
    run()
    assert set(asked) == {"napari-worker: Executing Deconvolve (napari-lucyd)"}
