"""*Train for this microscope…*: starts a worker with the panel's choices, and shows what it does."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

import napari_lucyd as nl
from napari_lucyd.errors import Cancelled
from napari_lucyd.models.user_models import FOLDER_VARIABLE

pytest.importorskip("napari")

from napari.utils.notifications import NotificationSeverity, notification_manager
from qtpy.QtCore import QPoint

from napari_lucyd._napari.workers import notification

pytestmark = pytest.mark.napari


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def panel(make_napari_viewer, qtbot, folder):
    from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget

    viewer = make_napari_viewer()
    viewer.add_image(np.random.default_rng(0).random((32, 32), dtype=np.float32), name="actin (2)")
    widget = DeconvolveWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.method.combo.value = "lucyd"
    widget.microscope.form.fill({"kind": "blur", "sigma": "1.4"})
    yield widget
    qtbot.waitUntil(lambda: widget.estimator.settled, timeout=60_000)


def progress(stage, done, values=(), pictures=None):
    return SimpleNamespace(
        stage=stage, done=done, total=10, seconds_left=5.0, validation_psnr=values, pictures=pictures
    )


def test_the_model_is_trained_with_the_panels_choices_then_listed_and_chosen(
    panel, qtbot, monkeypatch, folder
):
    from napari_lucyd._napari.deconvolve.adaptation import window

    calls = []

    def run(task, name, structures, minutes, report, should_stop):
        calls.append((task, name, structures, minutes))
        planes = [np.random.default_rng(n).random((16, 16), dtype=np.float32) for n in range(4)]
        report(progress("training", 5, (20.0, 20.5, 20.4), planes))
        model = nl.load_model("lucyd-planes")
        path = nl.save_model(folder / f"{name}.safetensors", model.network, card=model.card)
        return SimpleNamespace(
            summary="Better.",
            seconds=3.0,
            notes=("Noise: 1 %.",),
            path=path,
            model=nl.load_model(name),
            stopped_after=None,
        )

    monkeypatch.setattr(window, "run", run)
    panel.model.train.native.click()
    training = panel.adaptation
    assert training.isVisible() and training.name.value == "actin -2"
    training.structures.value = "filaments"
    training.train.native.setFocus()
    training.train.native.click()
    assert training.focusWidget() is training.cancel.native
    qtbot.waitUntil(lambda: not training.is_running, timeout=60_000)
    assert training.focusWidget() is training.train.native
    ((task, name, structures, minutes),) = calls
    assert (name, structures, minutes, task.axes) == ("actin -2", "filaments", 8.0, "YX")
    assert task.microscope.told(task.source, "YX") == {"blur_sigma": (1.4, 1.4)}
    assert training.curve.values == (20.0, 20.5, 20.4)
    assert not training.patch.pictures[3].pixmap().isNull()
    assert training.status.text().startswith("“actin -2” is saved and chosen. Better.")
    assert "Noise" in training.status.text()
    assert panel.model.name == "actin -2"
    training.name.value = ""
    training.suggest("actin (2)")
    assert training.name.value == "actin -2-2"
    training.close()


def test_stop_reaches_the_worker_and_errors_are_shown(panel, qtbot, monkeypatch):
    from napari_lucyd._napari.deconvolve.adaptation import window

    def run(task, name, structures, minutes, report, should_stop):
        report(progress("measuring", 0))
        report(progress("training", 1))
        while not should_stop():
            time.sleep(0.01)
        raise ValueError("name is '', give another")

    monkeypatch.setattr(window, "run", run)
    training = panel.adaptation
    training.minutes.value = "soon"
    training.start()
    assert "Time limit" in training.status.text() and not training.is_running
    training.minutes.value = "2"
    assert training.status.text() == ""
    assert panel.running_text() == ""
    training.start()
    assert training.is_running and not training.train.enabled
    assert "A model is being trained" in panel.running_text()
    monkeypatch.setattr(notification, "LONG_SECONDS", 0)
    notification_manager.records.clear()
    qtbot.waitUntil(lambda: training.status.text().startswith("Training"), timeout=60_000)
    assert training.cancel.enabled
    training.cancel.native.click()
    assert not training.cancel.enabled
    qtbot.waitUntil(lambda: not training.is_running, timeout=60_000)
    assert "give another" in training.status.text()
    assert any("give another" in note.message for note in notification_manager.records)
    assert training.train.enabled and not training.cancel.enabled


def test_a_stop_before_the_first_step_says_that_no_model_will_be_saved(panel, qtbot, monkeypatch):
    from napari_lucyd._napari.deconvolve.adaptation import window

    texts = []

    def run(task, name, structures, minutes, report, should_stop):
        report(progress("measuring", 0))
        while not should_stop():
            time.sleep(0.01)
        for done in (0, 1):
            report(progress("training", done))
            time.sleep(0.3)
            texts.append(panel.adaptation.status.text())

    monkeypatch.setattr(window, "run", run)
    training = panel.adaptation
    for _ in range(2):
        training.start()
        qtbot.waitUntil(lambda: training.status.text().startswith("Measuring"), timeout=60_000)
        training.cancel.native.click()
        assert training.status.text() == "Stopping before the first step, so no model will be saved…"
        with qtbot.capture_exceptions():
            qtbot.waitUntil(lambda: not training.is_running, timeout=60_000)
    # A step that was on its way makes a model after all.
    assert [text.partition(",")[0].partition(".")[0] for text in texts] == [
        "Stopping before the first step",
        "Stopping",
    ] * 2


def test_a_name_with_umlauts_is_refused_with_the_label_of_its_field(panel, qtbot, monkeypatch):
    from napari_lucyd._napari.deconvolve.adaptation import window
    from napari_lucyd.models.user_models import check_model_name

    monkeypatch.setattr(window, "run", lambda task, name, *_: check_model_name(name, set()))
    training = panel.adaptation
    training.name.value = "mein Öl 63"
    training.start()
    qtbot.waitUntil(lambda: not training.is_running, timeout=60_000)
    text = training.status.text()
    assert text.startswith("Name is 'mein Öl 63'; give up to 60 letters (a to z, no accents or umlauts)")

    def taken(*_):
        raise FileExistsError("You have a model 'mine' already; give another name, or overwrite.")

    monkeypatch.setattr(window, "run", taken)
    training.start()
    qtbot.waitUntil(lambda: not training.is_running, timeout=60_000)
    assert training.status.text().startswith("You have a model 'mine' already")


@pytest.mark.parametrize("begun", [True, False])
def test_a_training_that_the_user_stops_is_no_failure(panel, qtbot, monkeypatch, begun):
    from napari_lucyd._napari.deconvolve.adaptation import window

    texts = []

    def run(task, name, structures, minutes, report, should_stop):
        report(progress("training", 1))
        while not should_stop():
            time.sleep(0.01)
        report(progress("training", 2))
        time.sleep(0.2)
        texts.append((panel.adaptation.status.text(), panel.adaptation.bar.maximum()))
        if not begun:
            raise Cancelled("The training was stopped before its first step.")
        summary = "The training was stopped after 2 steps."
        return SimpleNamespace(summary=summary, seconds=80.0, notes=(), path=None, stopped_after=2)

    monkeypatch.setattr(window, "run", run)
    monkeypatch.setattr(notification, "LONG_SECONDS", 0)
    notification_manager.records.clear()
    training = panel.adaptation
    training.start()
    qtbot.waitUntil(lambda: training.status.text().startswith("Training"), timeout=60_000)
    training.cancel.native.click()
    qtbot.waitUntil(lambda: not training.is_running, timeout=60_000)
    # The wait is explained, and the bar says that work goes on.
    assert texts[0][0].startswith("Stopping. The steps so far are validated") and texts[0][1] == 0
    assert training.status.text().startswith("The training was stopped")
    assert training.bar.value() == int(begun)  # full only if there was a training
    assert not training.status.property("problem")
    assert [note.severity for note in notification_manager.records] == [NotificationSeverity.INFO]


def test_the_bar_is_the_share_of_the_time_of_the_stage_that_the_text_names(panel, monkeypatch):
    from napari_lucyd._napari.deconvolve.adaptation import window

    training, now = panel.adaptation, [100.0]
    monkeypatch.setattr(window.time, "monotonic", lambda: now[0])
    training._began, training._limit = 100.0, 480.0
    shown = []
    training.bar.setRange(0, 0)
    for passed, stage, done, left in (
        (60, "training", 0, np.nan),  # no step yet: the limit counts
        (240, "training", 3, 240.0),
        (300, "training", 4, 400.0),  # a worse estimate does not move it back
        (479.5, "training", 5, 0.5),
        (510, "trust", 1, 30.0),
        (540, "trust", 2, 0.0),
    ):
        now[0] = 100.0 + passed
        state = progress(stage, done)
        state.total, state.seconds_left = 2, left
        training._on_advanced(state)
        shown.append(training.bar.value() / training.bar.maximum())
        if stage == "training" and left < 1:
            assert training.status.text() == "Training; under a second left…"
    # The trust suite may not follow, so a training that is over fills it.
    assert shown == pytest.approx([60 / 480, 240 / 480, 240 / 480, 1, 1 / 2, 1], abs=2e-3)


def test_no_text_moves_the_controls(panel, qtbot):
    training = panel.adaptation
    training.ask()
    qtbot.waitExposed(training)
    qtbot.wait(100)
    controls = (training.name, training.minutes, training.train, training.cancel)
    before = [control.native.mapTo(training, QPoint(0, 0)) for control in controls]
    training.status.setText("A note on the new model that says what it was adapted to. " * 12)
    qtbot.wait(200)
    assert [control.native.mapTo(training, QPoint(0, 0)) for control in controls] == before
    training.close()
