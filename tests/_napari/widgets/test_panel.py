"""Panels in a real window whose docks are closed, hidden, moved: which panels are deleted, and which stay."""

import gc

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QFileDialog,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSlider,
    QWidget,
)

from napari_lucyd._napari.compare.panel import CompareWidget
from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget
from napari_lucyd._napari.inspection.panel import InspectWidget
from napari_lucyd._napari.layers.viewer import METADATA_KEY
from napari_lucyd._napari.phantom.panel import PhantomWidget
from napari_lucyd._napari.preview.live import is_preview

pytestmark = pytest.mark.napari


def cross(panel, qtbot):
    """Click the cross of the panel's dock."""
    with qtbot.waitSignal(panel.destroyed, timeout=20_000):
        panel.parent().title.close_button.click()


@pytest.fixture
def viewer(make_napari_viewer, kept_programs):
    return make_napari_viewer(show=True)


@pytest.mark.parametrize("kind", [DeconvolveWidget, CompareWidget, PhantomWidget])
def test_a_panel_goes_with_the_cross_of_its_dock(viewer, qtbot, kind):
    layer = viewer.add_image(np.random.default_rng(0).random((6, 20, 24)), name="A")
    panel = kind(viewer)
    viewer.window.add_dock_widget(panel, name="A panel")
    qtbot.wait(500)
    cross(panel, qtbot)
    del panel
    gc.collect()
    # A callback that is still connected would raise, because its Qt objects are gone.
    layer.name = "other"
    viewer.dims.set_current_step(0, 2)
    viewer.add_image(np.zeros((8, 8)))
    viewer.layers.clear()
    qtbot.wait(500)


@pytest.mark.parametrize("kind", [DeconvolveWidget, CompareWidget, PhantomWidget, InspectWidget])
def test_the_narrowest_panel_holds_its_controls(viewer, qtbot, kind):
    viewer.add_image(np.random.default_rng(0).random((6, 20, 24)), name="A")
    panel = kind(viewer)
    dock = viewer.window.add_dock_widget(panel, name="A panel")
    viewer.window._qt_window.resizeDocks([dock], [1], Qt.Orientation.Horizontal)
    qtbot.wait(500)
    area = panel.findChild(QScrollArea)
    area.horizontalScrollBar().setValue(1000)
    # Controls that do not fit would be cut on the right, and move to the left under the tab key.
    assert area.horizontalScrollBar().value() == 0
    assert area.widget().width() <= area.viewport().width()


@pytest.mark.parametrize("kind", [DeconvolveWidget, PhantomWidget, InspectWidget])
def test_the_wheel_scrolls_a_panel_and_changes_no_setting(viewer, qtbot, kind):
    viewer.add_image(np.random.default_rng(0).random((6, 20, 24)), name="A")
    panel = kind(viewer)
    viewer.window.add_dock_widget(panel, name="A panel")
    qtbot.wait(500)
    area = panel.findChild(QScrollArea)

    def values():
        boxes = [box.currentIndex() for box in area.findChildren(QComboBox)]
        numbers = [box.text() for box in area.findChildren(QAbstractSpinBox)]
        return boxes, numbers, [slider.value() for slider in area.findChildren(QSlider)]

    before, position = values(), area.verticalScrollBar().value()
    for control in area.findChildren(QWidget):
        if control.isVisible() and isinstance(control, QComboBox | QAbstractSpinBox | QSlider):
            control.setFocus()
            turn_wheel(control)
    assert values() == before
    if area.verticalScrollBar().maximum():
        assert area.verticalScrollBar().value() > position


@pytest.mark.parametrize("name", ["batch", "adaptation"])
def test_return_in_a_field_of_a_dialog_presses_no_button(viewer, qtbot, monkeypatch, name):
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    panel = DeconvolveWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Deconvolve")
    dialog = getattr(panel, name)
    dialog.show()
    pressed = []
    for button in dialog.findChildren(QPushButton):
        button.clicked.connect(lambda *_, button=button: pressed.append(button.text()))
    for line in dialog.findChildren(QLineEdit):
        if line.isVisible():
            qtbot.keyClick(line, Qt.Key.Key_Return)
    dialog.close()
    assert not pressed


@pytest.mark.parametrize("kind", [DeconvolveWidget, CompareWidget, PhantomWidget, InspectWidget])
def test_the_tab_key_goes_through_a_panel_from_the_top(viewer, qtbot, kind):
    viewer.add_image(np.random.default_rng(0).random((6, 20, 24)), name="A")
    panel = kind(viewer)
    viewer.window.add_dock_widget(panel, name="A panel")
    if kind is DeconvolveWidget:
        panel.method.combo.value = "lucyd"  # it has the most controls
    qtbot.wait(500)
    body = panel.findChild(QScrollArea).widget()
    places, control = [], body
    while (control := control.nextInFocusChain()) is not body:
        tabbed = control.isVisible() and control.focusPolicy() & Qt.FocusPolicy.TabFocus
        if tabbed and body.isAncestorOf(control):
            middle = control.mapTo(body, control.rect().center())
            places.append((middle.y() // 12, middle.x()))
    assert len(places) > 3
    assert [y for y, _ in places] == sorted(y for y, _ in places)


def turn_wheel(control):
    """Turn the mouse wheel down over a control, as the window system reports it."""
    middle = control.rect().center()
    event = QWheelEvent(
        QPointF(middle),
        QPointF(control.mapToGlobal(middle)),
        QPoint(),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(control, event)


def test_a_dock_that_is_hidden_or_moved_keeps_its_panel(viewer, qtbot):
    gone = []
    panel = PhantomWidget(viewer)
    panel.destroyed.connect(gone.append)
    dock = viewer.window.add_dock_widget(panel, name="Phantom")
    other = viewer.window.add_dock_widget(CompareWidget(viewer), name="Compare", area="left")
    window = viewer.window._qt_window
    qtbot.waitUntil(panel.isVisible)
    dock.title.hide_button.click()
    qtbot.waitUntil(lambda: not panel.isVisible())
    dock.show()
    dock.setFloating(True)
    qtbot.wait(50)
    dock.setFloating(False)
    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, dock)
    window.tabifyDockWidget(other, dock)
    qtbot.wait(50)
    # A script may move it from one dock to another.
    viewer.window.remove_dock_widget(panel)
    viewer.window.add_dock_widget(panel, name="Phantom again")
    qtbot.wait(50)
    assert not gone and panel.isVisible()


def test_a_second_panel_is_a_tab_beside_the_first(viewer, qtbot):
    first, second = (
        viewer.window.add_dock_widget(kind(viewer), name=kind.__name__)
        for kind in (PhantomWidget, CompareWidget)
    )
    window = viewer.window._qt_window
    qtbot.waitUntil(lambda: window.tabifiedDockWidgets(second) == [first])
    third = viewer.window.add_dock_widget(PhantomWidget(viewer), name="Elsewhere", area="left")
    qtbot.wait(50)
    assert not window.tabifiedDockWidgets(third)
    # A panel that the user takes out of the tabs stays outside.
    second.setFloating(True)
    qtbot.wait(50)
    assert second.isFloating() and not window.tabifiedDockWidgets(first)


def test_the_live_preview_goes_with_the_cross(panel, add_image, ready, qtbot):
    viewer = panel.viewer
    layer = add_image((6, 64, 64))
    ready()
    panel.footer.preview.setChecked(True)
    qtbot.waitUntil(lambda: any(is_preview(entry) for entry in viewer.layers), timeout=20_000)
    cross(panel, qtbot)
    assert list(viewer.layers) == [layer]
    viewer.dims.set_current_step(0, 3)
    qtbot.wait(400)
    assert list(viewer.layers) == [layer]


@pytest.mark.parametrize("kind", [DeconvolveWidget, CompareWidget])
def test_the_grid_is_put_back_with_the_cross_and_a_new_panel_can_show_it_again(viewer, qtbot, kind):
    viewer.add_image(np.zeros((20, 24)), name="A")
    for _ in range(2):
        panel = kind(viewer)
        viewer.window.add_dock_widget(panel, name="A panel")
        controls = panel.form if kind is CompareWidget else panel.footer
        assert not controls.side_by_side.native.isChecked()
        controls.side_by_side.native.setChecked(True)
        assert viewer.canvas.grid.enabled
        cross(panel, qtbot)
        assert not viewer.canvas.grid.enabled


def test_the_cross_cancels_a_run_and_keeps_what_is_finished(panel, add_image, ready, qtbot, slow_tiles):
    from qtpy.QtCore import QThreadPool

    viewer = panel.viewer
    # The first takes one tile, the second eighty.
    add_image((12, 20), seed=0)
    add_image((960, 20), seed=1)
    viewer.layers.selection = set(viewer.layers)
    panel.advanced.tile.value = "12, 20"
    ready()
    panel.footer.run.native.click()
    qtbot.waitUntil(lambda: len(panel.session.results) == 3, timeout=30_000)
    asked, answers = [], iter([False, True])
    panel.may_close = lambda text: asked.append(text) or next(answers)
    panel.parent().title.close_button.click()
    assert panel.session.is_running and "it stops" in asked[0]
    cross(panel, qtbot)
    assert QThreadPool.globalInstance().waitForDone(2_000)
    qtbot.wait(100)
    results = [layer for layer in viewer.layers if METADATA_KEY in layer.metadata]
    assert {layer.metadata[METADATA_KEY]["source"] for layer in results} == {"image 0"}
    assert len(results) == 3
    again = DeconvolveWidget(viewer)
    viewer.window.add_dock_widget(again, name="Deconvolve")
    qtbot.waitUntil(lambda: again.estimator.settled, timeout=60_000)
    assert again.footer.run.enabled and not again.footer.cancel.enabled
