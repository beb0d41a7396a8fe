"""A run outside of its panel: activity dock, notifications, keys; and its messages."""

from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QShortcut
from qtpy.QtTest import QTest

pytest.importorskip("napari")

from napari.utils.notifications import notification_manager

from napari_lucyd._napari.deconvolve.status.footer import CANCEL_KEYS, PREVIEW_KEYS, RUN_KEYS
from napari_lucyd._napari.workers import notification

pytestmark = pytest.mark.napari


def test_a_run_is_in_the_activity_dock_and_can_be_cancelled_there(panel, add_image, ready, qtbot, slow_tiles):
    add_image((96, 20))
    panel.advanced.tile.value = "12, 20"
    ready()
    panel.footer.run.native.click()
    qtbot.waitUntil(lambda: panel.footer.progress.value >= 2, timeout=30_000)
    (bar,) = panel.session._bars
    qtbot.waitUntil(lambda: (bar.total, bar.n >= 2) == (8, True), timeout=10_000)
    bar.cancel()
    qtbot.waitUntil(lambda: not panel.session.is_running, timeout=2_000)
    assert "Stopped after" in panel.status.text()
    assert not panel.session._bars


@pytest.mark.parametrize(("seconds", "told"), [(0, True), (10**6, False)])
def test_the_end_of_a_long_run_is_a_notification(panel, add_image, run, monkeypatch, seconds, told):
    monkeypatch.setattr(notification, "LONG_SECONDS", seconds)
    notification_manager.records.clear()
    add_image()
    run()
    messages = [note.message for note in notification_manager.records]
    assert any(text.startswith("Done in") and "“image 0”" in text for text in messages) is told


def test_keys_press_the_buttons(panel, add_image, ready, qtbot):
    shortcuts = {one.key().toString(): one for one in panel.findChildren(QShortcut)}
    assert set(shortcuts) >= {RUN_KEYS, "Ctrl+Enter", CANCEL_KEYS, PREVIEW_KEYS}
    add_image()
    ready()
    window = panel.window()
    window.activateWindow()
    panel.footer.run.native.setFocus()
    qtbot.waitUntil(window.isActiveWindow, timeout=10_000)
    QTest.keyClick(panel.footer.run.native, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: bool(panel.session.results), timeout=30_000)
    qtbot.waitUntil(lambda: not panel.session.is_running, timeout=30_000)


def test_inspect_comes_to_the_front_if_it_is_open_behind_another_tab(panel, monkeypatch):
    calls = []
    dock = SimpleNamespace(show=lambda: calls.append("show"), raise_=lambda: calls.append("raise"))
    window = panel.viewer.window
    monkeypatch.setattr(type(window), "add_plugin_dock_widget", lambda self, *names: (dock, names))
    panel.buttons._inspect()
    assert calls == ["show", "raise"]


def test_the_messages_of_the_last_run_go_when_the_next_one_begins(panel, add_image, ready, qtbot, slow_tiles):
    add_image((96, 20))
    panel.advanced.tile.value = "12, 20"
    ready()
    assert panel.status.text() == "Ready."
    texts = []
    panel.session.started.connect(lambda: texts.append(panel.status.text()))
    panel.footer.run.native.click()
    assert texts == [""]
    panel.session.cancel()
    qtbot.waitUntil(lambda: not panel.session.is_running, timeout=10_000)


def test_messages_of_many_channels_take_no_room_from_the_form(panel, add_image, run, ready, qtbot):
    from qtpy.QtWidgets import QScrollArea

    panel.window().resize(1280, 800)
    scroll = panel.findChild(QScrollArea)
    add_image((40, 44))
    run()
    scroll.verticalScrollBar().setValue(150)
    ready()
    qtbot.wait(500)
    before = scroll.verticalScrollBar().value(), scroll.viewport().height()
    warnings = [f"C {channel}: a blur of {channel + 1} voxels was assumed. " * 3 for channel in range(9)]
    panel.session.concluded.emit(("Done in 3 s: “image 0”.", *warnings, "1 voxel of C 0 is NaN."))
    panel.session.concluded.emit(("Done in 4 s: “image 0”.", "1 voxel of C 1 is NaN."))
    panel.session.ended.emit()
    text = panel.status.text()
    assert "Similar: C 1 to C 8 (8)." in text and "1 voxel of C 0 and C 1 is NaN." in text
    assert all(word in text for word in ("3 s", "4 s")) and text.count("C 0:") == 3
    ready()
    qtbot.wait(500)
    assert (scroll.verticalScrollBar().value(), scroll.viewport().height()) == before


def test_a_noisy_image_says_so_once(panel, qtbot, ready):
    from napari_lucyd import load_model

    noise = np.random.default_rng(0).normal(100, 30, (6, 40, 44)).astype(np.float32)
    noise[:, 10:20, 10:20] += 60
    load_model("lucyd")
    panel.viewer.add_image(noise, name="cells", axis_labels=("z", "y", "x"))
    panel.method.combo.value, panel.model.combo.value = "lucyd", "lucyd"
    panel.footer.score.setChecked(True)
    qtbot.waitUntil(lambda: panel.examination.found is not None, timeout=60_000)
    reason = panel.examination.found.poisson_reason
    assert reason in panel.examination.line.toolTip() and not panel.examination.found.poisson
    ready()
    panel.footer.run.native.click()
    qtbot.waitUntil(lambda: not panel.session.is_running and "·" in panel.score.line.text(), timeout=120_000)
    qtbot.waitUntil(lambda: panel.score.work.settled, timeout=60_000)
    below = panel.status.text() + panel.footer.estimate.text() + panel.score.line.text()
    assert reason not in below and below.count("see the noise under Image") == 2
    assert "trust fine detail less" not in below


def test_a_thick_slice_is_not_previewed_and_says_why(panel, qtbot):
    layer = panel.viewer.add_image(np.random.default_rng(0).random((8, 30, 34)), projection_mode="mean")
    panel.viewer.layers.selection.active = layer
    panel.viewer.dims.thickness = (3, 0, 0)
    panel.footer.preview.setChecked(True)
    qtbot.waitUntil(lambda: "thick slices" in panel.footer.preview_note.text(), timeout=30_000)
    panel.viewer.dims.thickness = (0, 0, 0)
    qtbot.waitUntil(lambda: "thick" not in panel.footer.preview_note.text(), timeout=30_000)
    panel.footer.preview.setChecked(False)
