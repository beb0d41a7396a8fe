"""Runs from the panel into files, in a real window: shown while they grow, stopped, resumed."""

import threading

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget
from napari_lucyd._napari.deconvolve.to_zarr.growing_array import GrowingArray, GrowingLevel
from napari_lucyd._napari.deconvolve.to_zarr.worker import of_all
from napari_lucyd._napari.layers.viewer import METADATA_KEY
from napari_lucyd._napari.workers.events import Advanced
from napari_lucyd.io import read_image
from napari_lucyd.io import zarr as zarr_io
from napari_lucyd.out_of_core import partial_path
from napari_lucyd.out_of_core.journal import Journal

pytestmark = pytest.mark.napari

SHAPE = (6, 30, 34)
"""Six planes of a series: six parts, because a chunk holds one."""


class Gate:
    """A gate that lets a given number of parts of a run through."""

    def __init__(self):
        self._open = threading.Semaphore(0)
        self.free = False

    def wait(self, should_stop):
        while not (self.free or self._open.acquire(timeout=0.02) or should_stop()):
            pass

    def let(self, parts):
        for _ in range(parts):
            self._open.release()

    def let_all(self):
        self.free = True


@pytest.fixture
def gate(monkeypatch):
    from napari_lucyd.out_of_core import executors

    gate, compute = Gate(), executors.compute_steps

    def gated(setting, statistics, task, region, should_stop=None):
        gate.wait(should_stop or bool)
        return compute(setting, statistics, task, region, should_stop)

    monkeypatch.setattr(executors, "compute_steps", gated)
    yield gate
    gate.let_all()


@pytest.fixture
def series(panel, add_image, tmp_path):
    """A series in the panel, whose results go to files."""
    layer = add_image(SHAPE, axis_labels=("t", "y", "x"), contrast_limits=(0, 1000))
    panel.viewer.dims.set_current_step(0, 0)
    panel.destination.take(tmp_path)
    return layer


@pytest.fixture
def begin(panel, ready, qtbot):
    """Press Run, and wait for the layers."""

    def press():
        ready()
        assert panel.footer.run.enabled, panel.footer.estimate.text()
        panel.footer.run.native.click()
        qtbot.waitUntil(lambda: len(results(panel)) == 3, timeout=30_000)
        return results(panel)

    return press


@pytest.fixture
def finished(panel, qtbot):
    """Wait until this number of parts is done."""
    done = []
    panel.session.advanced.connect(lambda event: done.append(event.done / event.total))

    def wait(parts):
        qtbot.waitUntil(lambda: any(share >= parts / SHAPE[0] for share in done), timeout=10_000)

    return wait


@pytest.fixture
def end(panel, qtbot):
    """Wait for the end of the run."""

    def wait():
        qtbot.waitUntil(lambda: not panel.session.is_running, timeout=30_000)

    return wait


def results(panel):
    return {
        layer.metadata[METADATA_KEY]["quantity"]: layer
        for layer in panel.viewer.layers
        if METADATA_KEY in layer.metadata
    }


def expected(layer, model):
    from napari_lucyd.deconvolution import deconvolve

    return deconvolve(layer.data, model, device="cpu", axes="TYX", outputs=("output", "update_term"))


def full(layer):
    return np.asarray(layer.data[0])


def shown(layer):
    return np.asarray(layer._data_view)


def pixels(viewer, qtbot):
    qtbot.wait(150)
    return viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)


def test_parts_appear_as_they_are_finished(panel, series, begin, end, gate, qtbot, random_model_2d, tmp_path):
    viewer = panel.viewer
    series.visible = False
    layers = begin()
    assert (tmp_path / "image_0_output.ome.zarr.partial").is_dir()
    output, term = layers["output"], layers["update_term"]
    assert np.isnan(shown(output)).all()
    empty = pixels(viewer, qtbot)
    first_limits = term.contrast_limits
    gate.let(1)
    qtbot.waitUntil(lambda: np.isfinite(shown(output)).all(), timeout=10_000)
    one = pixels(viewer, qtbot)
    assert np.abs(one - empty).max() > 40
    np.testing.assert_allclose(
        shown(output), expected(series, random_model_2d).output[0], rtol=0, atol=1e-2
    )  # 1e-5 of 1000
    # A plane that is looked at before it is finished.
    viewer.dims.set_current_step(0, 2)
    assert np.isnan(shown(output)).all()
    assert np.abs(pixels(viewer, qtbot) - empty).max() < 10
    gate.let(2)
    qtbot.waitUntil(lambda: np.isfinite(shown(output)).all(), timeout=10_000)
    assert np.abs(pixels(viewer, qtbot) - empty).max() > 40
    # A layer that was hidden, and its limits, which follow the values.
    term.visible = True
    np.testing.assert_allclose(
        shown(term), expected(series, random_model_2d).update_term[2], rtol=0, atol=1e-4
    )
    assert term.contrast_limits != first_limits and np.mean(term.contrast_limits) == pytest.approx(1)
    assert np.isnan(full(output)[3:]).all()
    viewer.dims.ndisplay = 3
    assert np.isfinite(shown(output)[:3]).all() and np.isnan(shown(output)[3:]).all()
    viewer.dims.ndisplay = 2
    gate.let_all()
    end()


def test_the_end_is_the_finished_files_and_equals_the_engine(
    panel, series, begin, end, gate, qtbot, random_model_2d, tmp_path
):
    series.scale, series.translate, series.units = (1, 0.2, 0.1), (0, 5, 6), ("pixel", "µm", "µm")
    other = panel.viewer.add_points([[0, 3, 3]])
    panel.viewer.layers.selection.active = series
    states = [{k: v for k, v in layer._get_state().items() if k != "data"} for layer in (series, other)]
    layers = begin()
    layers["output"].colormap, layers["output"].opacity = "magma", 0.5
    layers["update_term"].contrast_limits = (0.8, 1.3)
    gate.let_all()
    end()
    result = expected(series, random_model_2d)
    for quantity, values in (("output", result.output), ("update_term", result.update_term)):
        path = tmp_path / f"image_0_{quantity}.ome.zarr"
        stored = read_image(path)
        np.testing.assert_array_equal(full(layers[quantity]), stored.data)
        np.testing.assert_allclose(stored.data, values, rtol=0, atol=1e-5 * np.ptp(values))
        assert (stored.axes, stored.voxel_size, stored.unit) == ("TYX", (0.2, 0.1), "micrometer")
        recipe = layers[quantity].metadata[METADATA_KEY]
        assert recipe["complete"] and recipe["quantity"] == quantity
    assert len(list(tmp_path.iterdir())) == 3
    output = layers["output"]
    np.testing.assert_allclose((output.scale, output.translate), (series.scale, series.translate))
    assert output.units == series.units
    assert (output.colormap.name, output.opacity) == ("magma", 0.5)
    assert tuple(layers["update_term"].contrast_limits) == (0.8, 1.3)
    assert panel.session.results == list(layers.values())
    after = [{k: v for k, v in layer._get_state().items() if k != "data"} for layer in (series, other)]
    assert repr(after) == repr(states) and panel.viewer.layers.selection.active is series
    assert "Done in" in panel.status.text() and "“image 0”. " in panel.status.text()
    assert str(tmp_path) in panel.status.text()


def test_cancel_keeps_what_is_finished_and_run_goes_on_in_the_same_layers(
    panel, series, begin, end, finished, ready, gate, qtbot, random_model_2d, tmp_path
):
    layers = begin()
    gate.let(2)
    finished(2)
    panel.footer.cancel.native.click()
    qtbot.waitUntil(lambda: not panel.session.is_running, timeout=2_000)
    said = panel.status.text()
    assert "Stopped after 2 of 6 blocks" in said and "Press Resume to continue." in said
    assert all(layer.name.startswith("unfinished ") for layer in layers.values())
    assert str(tmp_path / "image_0_output.ome.zarr.partial") in said
    assert panel.footer.progress.value == 0 and not panel.footer.keep.native.isVisible()
    output = full(layers["output"])
    assert np.isfinite(output[:2]).all() and np.isnan(output[2:]).all()
    ready()
    assert "An unfinished run was found here. Resume continues it." in panel.footer.estimate.text()
    assert panel.footer.run.text == "Resume"
    panel.advanced.halo.value = "4"
    ready()
    assert "other settings: Halo" in panel.footer.estimate.text() and not panel.footer.run.enabled
    assert panel.footer.run.text == "Run"
    panel.run()
    end()
    assert "unfinished run with other settings: Halo" in panel.status.text()
    np.testing.assert_array_equal(full(layers["output"]), output)
    panel.advanced.halo.value = ""
    ready()
    layers["output"].colormap = "magma"
    notes, lines = [], []
    panel.session.told.connect(notes.append)
    panel.session.ended.connect(lambda: lines.append((panel.footer.estimate.text(), panel.footer.run.text)))
    panel.footer.run.native.click()
    gate.let_all()
    end()
    # At the end, nothing says any longer that there is an unfinished run.
    assert lines == [("", "Run")]
    assert any("after 2 finished blocks" in text for text in notes)
    assert "2 of 6 blocks earlier" in panel.status.text()
    qtbot.waitUntil(lambda: panel.score.work.settled, timeout=10_000)
    assert panel.footer.score_note.text().startswith("Results in files are not scored here.")
    assert results(panel) == layers and len(panel.viewer.layers) == 4
    assert panel.session.results == list(layers.values()) and panel.footer.progress.value == 1
    assert layers["output"].colormap.name == "magma"
    assert not any("unfinished" in layer.name for layer in layers.values())
    values = expected(series, random_model_2d).output
    np.testing.assert_allclose(full(layers["output"]), values, rtol=0, atol=1e-5 * np.ptp(values))
    np.testing.assert_allclose(shown(layers["output"]), values[0], rtol=0, atol=1e-2)


def test_a_run_with_the_automatic_choice_is_resumed_in_this_session_and_in_the_next(
    panel, add_image, end, ready, gate, finished, tmp_path, monkeypatch
):
    from napari_lucyd._napari.deconvolve import contest
    from napari_lucyd.deconvolution.method_choice import MethodChoice
    from napari_lucyd.models import load_model

    held = []

    def chosen(*arguments, **keywords):
        held.append(1)
        yield 0, 1, "lucyd-planes"
        return MethodChoice(load_model("lucyd-planes"), {"blur_sigma": (1.3, 1.3)}, {}, "It was chosen.")

    monkeypatch.setattr("napari_lucyd.referee.contest.run_contest", chosen)
    monkeypatch.setattr(contest, "_remembered", [])
    add_image(SHAPE, axis_labels=("t", "y", "x"))
    panel.method.combo.value = "auto"
    panel.destination.take(tmp_path)
    for turn in (1, 2):
        ready()
        assert panel.footer.run.text == ("Run" if turn == 1 else "Resume")
        panel.footer.run.native.click()
        gate.let(2)
        finished(2 * turn)
        panel.footer.cancel.native.click()
        end()
        assert f"Stopped after {2 * turn} of 6 blocks" in panel.status.text()
    # The next session does not know the choice, and makes the same choice again.
    contest._remembered.clear()
    panel.advanced.halo.value = "8"
    ready()
    panel.advanced.halo.value = ""
    ready()
    assert panel.footer.run.text == "Resume" and panel.footer.run.enabled
    panel.footer.run.native.click()
    gate.let_all()
    end()
    assert "4 of 6 blocks earlier" in panel.status.text() and "It was chosen." in panel.status.text()
    assert len(held) == 2


def test_a_new_panel_resumes_in_the_layers_of_the_one_that_was_closed(
    panel, series, begin, finished, gate, qtbot, random_model_2d, tmp_path, model_files
):
    layers = begin()
    gate.let(2)
    finished(2)
    viewer, model = panel.viewer, panel.model.name
    with qtbot.waitSignal(panel.destroyed, timeout=20_000):
        viewer.window.remove_dock_widget(panel)
    again = DeconvolveWidget(viewer)
    viewer.window.add_dock_widget(again, name="Deconvolve")
    again.model.load(model)
    qtbot.waitUntil(lambda: again.model.name == model, timeout=60_000)
    assert again.destination.folder == tmp_path
    qtbot.waitUntil(lambda: again.estimator.settled and again.footer.run.text == "Resume", timeout=30_000)
    gate.let_all()
    again.footer.run.native.click()
    qtbot.waitUntil(lambda: not again.session.is_running, timeout=30_000)
    assert "2 of 6 blocks earlier" in again.status.text()
    assert [layer for layer in viewer.layers if METADATA_KEY in layer.metadata] == list(layers.values())
    assert not any("unfinished" in layer.name for layer in layers.values())
    values = expected(series, random_model_2d).output
    np.testing.assert_allclose(full(layers["output"]), values, rtol=0, atol=1e-5 * np.ptp(values))


def test_layers_show_a_store_that_somebody_else_finishes(tmp_path):
    partial, final = tmp_path / "a.ome.zarr.partial", tmp_path / "a.ome.zarr"
    zarr_io.create_zarr(
        partial, (2, 8, 8), "float32", axes="TYX", voxel_size=(1, 1), unit="micrometer", name="a"
    )
    array = GrowingArray(partial, [], final)
    level = GrowingLevel(array, (1, 1, 1))
    assert np.isnan(np.asarray(level[0])).all()
    zarr_io.open_zarr(partial)[:] = 3
    partial.rename(final)
    array.add((slice(0, 2), slice(0, 8), slice(0, 8)))
    assert (np.asarray(level[0]) == 3).all() and (np.asarray(level[1]) == 3).all()


def test_layers_that_are_gone_are_added_again_with_what_is_there(panel, series, begin, end, finished, gate):
    begin()
    panel.footer.cancel.native.click()
    end()
    assert list(panel.viewer.layers) == [series]
    # The folder has a run to resume, and the estimate above says so.
    assert "nothing was finished" not in panel.status.text()
    assert panel.status.text().endswith("“image 0” was finished. Press Resume to continue.")
    begin()
    gate.let(1)
    finished(1)
    panel.footer.cancel.native.click()
    end()
    for layer in results(panel).values():
        panel.viewer.layers.remove(layer)
    layers = begin()
    assert np.isfinite(shown(layers["output"])).all()
    limits = layers["correction_mask"].contrast_limits
    assert limits[0] == -limits[1]
    # The image may go now.
    series.name = "something else"
    panel.viewer.layers.remove(series)
    gate.let_all()
    end()
    assert np.isfinite(full(layers["output"])).all()


def test_finished_results_are_never_overwritten(panel, series, begin, end, ready, gate, tmp_path):
    gate.let_all()
    begin()
    end()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    ready()
    assert "image_0_output.ome.zarr" in panel.footer.estimate.text()
    assert "will not be overwritten" in panel.footer.estimate.text()
    # A run that ends well leaves no problem, and nothing to do.
    assert not panel.footer.estimate.property("problem") and not panel.footer.run.enabled
    panel.run()
    end()
    assert "will not be overwritten" in panel.status.text() and not panel.status.property("problem")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert len(panel.viewer.layers) == 4
    other = tmp_path / "other"
    other.mkdir()
    panel.destination.take(other)
    ready()
    assert panel.footer.run.enabled


def test_progress_is_that_of_all_images():
    first, last = Advanced(1, 4, 30.0, "first"), Advanced(3, 4, 10.0, "last")
    assert of_all(first, 0, 1) == first
    assert of_all(first, 0, 2) == Advanced(1, 8, 70.0, "first")
    assert of_all(last, 1, 2) == Advanced(7, 8, 10.0, "last")
    assert of_all(Advanced(4, 4, 0.0, "first"), 0, 2) == Advanced(4, 8, None, "first")


def test_the_bar_moves_within_a_block_since_a_small_image_is_a_single_one(
    panel, add_image, end, ready, tmp_path
):
    add_image((6, 30, 34))
    panel.destination.take(tmp_path)
    panel.method.combo.value = "richardson-lucy"
    panel.microscope.form.kind.value, panel.microscope.form.sigma.value = "blur", "1.5"
    panel.method.num_iter.value = "8"
    told = []
    panel.session.advanced.connect(told.append)
    ready()
    panel.footer.run.native.click()
    end()
    assert panel.session.results, panel.status.text()
    shares = [event.done / event.total for event in told]
    assert shares == sorted(shares) and shares[-1] == 1
    assert len({share for share in shares if 0 < share < 1}) >= 6
    assert any(event.seconds_left for event in told)


def test_two_layers_have_files_of_their_own(panel, series, add_image, begin, end, ready, gate, tmp_path):
    second = add_image(SHAPE[1:], seed=1, name="image:0")
    panel.viewer.layers.selection = {series, second}
    ready()
    assert "image_0_output.ome.zarr (and 5 more)" in panel.destination.files.text()
    assert "on disk" in panel.footer.estimate.text()
    gate.let_all()
    shares = []
    panel.footer.progress.native.valueChanged.connect(
        lambda value: shares.append(value / panel.footer.progress.max)
    )
    begin()
    end()
    assert shares == sorted(shares) and shares[-1] == 1
    assert len(list(tmp_path.glob("*.ome.zarr"))) == len(panel.session.results) == 6
    for name, shape in (("image_0", SHAPE), ("image_0_2", SHAPE[1:])):
        assert read_image(tmp_path / f"{name}_output.ome.zarr").data.shape == shape
    plane = panel.viewer.layers["output · image:0 (random-2d)"]
    np.testing.assert_array_equal(plane.data, read_image(tmp_path / "image_0_2_output.ome.zarr").data)
    np.testing.assert_array_equal(shown(plane), np.asarray(plane.data))


def test_a_cancel_within_the_second_layer_tells_of_both(
    panel, series, add_image, begin, end, ready, gate, finished, qtbot
):
    second = add_image(SHAPE, seed=1, axis_labels=("t", "y", "x"))
    third = add_image(SHAPE, seed=2, axis_labels=("t", "y", "x"))
    panel.viewer.layers.selection = {series, second, third}
    begin()
    gate.let(6)
    qtbot.waitUntil(lambda: len(panel.session.results) == 6, timeout=30_000)
    panel.footer.cancel.native.click()
    end()
    said = panel.status.text()
    assert "Done in" in said and ": “image 0”." in said and "nothing was finished" not in said
    assert "Stopped before the first block of “image 1” was finished." in said
    assert said.endswith("Not done: “image 2”.")


def test_an_error_is_told_of_and_keeps_what_is_finished(
    panel, series, begin, end, finished, gate, monkeypatch
):
    import errno
    import os

    layers = begin()
    gate.let(1)
    finished(1)

    def full_disk(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("napari_lucyd.out_of_core.region_task.open_zarr", full_disk)
    gate.let_all()
    end()
    said = panel.status.text()
    assert "disk is full" in said and "Stopped after 1 of 6 blocks" in said
    assert panel.status.property("problem") and panel.footer.run.enabled
    assert np.isfinite(full(layers["output"])[0]).all()


def test_a_folder_that_goes_away_is_told_of(panel, series, begin, end, ready, gate, tmp_path):
    import shutil

    begin()
    for path in tmp_path.glob("*.partial"):
        shutil.rmtree(path)
    gate.let_all()
    end()
    assert "Not deconvolved" in panel.status.text()
    shutil.rmtree(tmp_path)
    panel.estimator.refresh()
    ready()
    assert "no longer exists" in panel.footer.estimate.text() and not panel.footer.run.enabled


def test_a_memory_or_a_disk_too_small_is_told_of_before_the_run(panel, series, ready, monkeypatch, tmp_path):
    from types import SimpleNamespace

    from napari_lucyd.deconvolution import scratch
    from napari_lucyd.out_of_core import job

    panel.destination.take(None)
    monkeypatch.setattr(scratch, "fills_memory", lambda size: True)
    ready()
    assert "Keep in ▸ OME-Zarr files" in panel.footer.estimate.text() and panel.footer.run.enabled
    panel.destination.take(tmp_path)

    monkeypatch.setattr(job.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    ready()
    assert "disk are free" in panel.footer.estimate.text() and not panel.footer.run.enabled


def test_closing_napari_during_a_run_ends_cleanly_and_keeps_what_is_finished(
    panel, series, begin, finished, gate, qtbot, tmp_path, random_model_2d
):
    from qtpy.QtCore import QThreadPool

    begin()
    gate.let(2)
    finished(2)
    panel.viewer.window.close()
    assert QThreadPool.globalInstance().waitForDone(2_000)
    qtbot.wait(100)
    out = tmp_path / "image_0_output.ome.zarr"
    left = np.asarray(zarr_io.open_zarr(partial_path(out)))
    assert np.isfinite(left[:2]).all() and np.isnan(left[2:]).all()
    # Nothing holds it any more.
    Journal([partial_path(out)]).close()


def test_the_folder_of_the_results_is_asked_for_by_its_button_alone(
    panel, series, ready, monkeypatch, tmp_path
):
    from qtpy.QtWidgets import QFileDialog

    asked = []
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: asked.append(1) or "")
    destination = panel.destination
    assert destination.folder_button.native.isVisible()
    destination.take(None)
    assert not destination.folder_button.native.isVisible() and not destination.files.isVisible()
    # An entry that is passed with the arrow keys or the wheel opens no dialog.
    destination.combo.value = "folder"
    ready()
    assert not asked
    assert "press Folder…" in panel.footer.estimate.text() and not panel.footer.run.enabled
    destination.folder_button.native.click()
    assert asked and destination.folder is None
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    destination.folder_button.native.click()
    assert destination.folder == tmp_path
    ready()
    assert panel.footer.run.enabled
    assert destination.files.text() == f"In “{tmp_path}”: image_0_output.ome.zarr (and 2 more)"


@pytest.fixture
def growing(monkeypatch, tmp_path):
    monkeypatch.setattr(zarr_io, "_CHUNK", {"T": 1, "C": 1, "Z": 4, "Y": 8, "X": 8})
    shape = (3, 9, 21, 18)
    path = tmp_path / "a.zarr"
    array = zarr_io.create_zarr(path, shape, "float32", axes="TZYX", voxel_size=None, unit=None, name="a")
    values = np.random.default_rng(0).random(shape, dtype=np.float32)
    return path, array, values


@pytest.mark.parametrize(
    "index",
    [
        (1,),
        (0, 4),
        (..., 3),
        (slice(None), 2, slice(3, 17), slice(1, 16, 3)),
        (1, slice(None, None, -2), slice(5, 5)),
        (slice(0, 2), 8, 20, 17),
        (np.int64(2), slice(None)),
        ([0, 2], slice(2, 4)),
    ],
)
def test_a_growing_store_is_indexed_as_an_array(growing, index):
    path, array, values = growing
    array[:2] = values[:2]
    store = GrowingArray(path, [(slice(0, 2), slice(0, 9), slice(0, 21), slice(0, 18))])
    level = GrowingLevel(store, (1, 1, 1, 1))
    truth = values.copy()
    truth[2] = np.nan
    for _ in range(2):
        np.testing.assert_array_equal(np.asarray(level[index]), truth[index])
    np.testing.assert_array_equal(np.asarray(level[0:2][1][2:5]), truth[0:2][1][2:5])


def test_resolutions_of_a_growing_store_are_those_of_the_finished_one(growing):
    path, array, values = growing
    factors = list(zarr_io.pyramid(values.shape, "TZYX", None))
    assert len(factors) > 1
    store = GrowingArray(path, [])
    levels = [GrowingLevel(store, each) for each in factors]
    assert all(np.isnan(level[2, 1]).all() for level in levels)
    region = (slice(2, 3), slice(0, 9), slice(8, 21), slice(0, 18))
    array[region] = values[region]
    assert store.add(region)
    for level, (_, z, y, x) in zip(levels, factors, strict=True):
        shown = np.asarray(level[2, 1])
        truth = np.full_like(values[2, z], np.nan)
        truth[8:] = values[2, z, 8:]
        np.testing.assert_array_equal(shown, truth[::y, ::x][: shown.shape[0], : shown.shape[1]])
    zarr_io.finish_zarr(path, {})
    assert [level.shape for level in levels] == [level.shape for level in zarr_io.open_levels(path)]
    assert not store.add((slice(0, 1), slice(0, 9), slice(0, 21), slice(0, 18)))


def test_the_line_of_the_score_follows_the_destination(panel, series, run, tmp_path):
    from napari_lucyd._napari.deconvolve.status.footer import NO_SCORE

    panel.footer.score.setChecked(True)
    line, in_files = panel.footer.score_note, "Results in files are not scored here."
    assert line.text().startswith(in_files)
    panel.destination.take(None)
    assert line.text() == NO_SCORE
    panel.destination.take(tmp_path)
    said = []
    panel.session.started.connect(lambda: said.append(line.text()))
    run()
    assert said[0].startswith(in_files) and line.text().startswith(in_files)
    panel.destination.combo.value = "memory"
    assert line.text() == NO_SCORE
