"""Footers of the panels: no button moves when a text grows or another button appears."""

import itertools

import pytest

pytest.importorskip("napari")

from napari._qt.qt_resources import get_stylesheet
from qtpy.QtCore import QPoint
from qtpy.QtWidgets import QFrame, QLabel, QLineEdit, QPushButton, QScrollArea, QVBoxLayout, QWidget

from napari_lucyd._napari.compare.form import CompareForm
from napari_lucyd._napari.deconvolve.status.footer import Footer
from napari_lucyd._napari.phantom.form import PhantomForm
from napari_lucyd._napari.widgets.layout import stack, style_sheet

pytestmark = pytest.mark.napari


def deconvolve() -> QWidget:
    panel = QWidget()
    stack(panel, [QWidget()], Footer(), 400)
    return panel


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (deconvolve, ("Run", "Cancel", "Batch…", "Side by side", "Inspect", "Save…")),
        (PhantomForm, ("Make", "Cancel")),
        (CompareForm, ("Show side by side", "Export CSV and PNG…")),
    ],
)
def test_no_button_moves_whatever_is_said_or_appears(make, names, qtbot):
    panel = make()
    qtbot.addWidget(panel)
    panel.setStyleSheet(get_stylesheet("dark"))
    panel.resize(500, 800)
    panel.show()
    qtbot.waitExposed(panel)
    footer = panel.findChild(QFrame, "lucyd-footer")

    buttons = {button.text(): button for button in footer.findChildren(QPushButton)}

    def places() -> dict[str, tuple[int, int]]:
        points = {name: buttons[name].mapTo(panel, QPoint(0, 0)) for name in names}
        return {name: (point.x(), point.y()) for name, point in points.items()}

    qtbot.wait(100)
    before = places()
    for line in footer.findChildren(QLabel):
        if line.property("note"):
            line.setText("A text of many words. " * 20)
    hidden = [button for button in footer.findChildren(QPushButton) if not button.isVisible()]
    for button in hidden:
        button.show()
        button.parentWidget().show()
        panel.layout().activate()
        qtbot.wait(50)
        for name, place in places().items():
            # Qt may round the height of a row up or down.
            assert place == pytest.approx(before[name], abs=1), (name, button.text())
        button.hide()


def test_the_form_keeps_its_room_before_in_and_after_a_run(qtbot):
    panel = deconvolve()
    qtbot.addWidget(panel)
    panel.setStyleSheet(get_stylesheet("dark") + style_sheet("#3b4dc9", "#ffffff", "#414851", "#262930"))
    panel.resize(420, 780)
    panel.show()
    qtbot.waitExposed(panel)
    footer = panel.findChild(Footer)
    before = footer.height()
    # No line is empty, and no button's place.
    assert footer.score_note.text() and footer.use_settings.native.isVisible()
    texts = ("", "Short.", "Three lines of text " * 7)
    # The buttons in a run, after Cancel, and after the end.
    states = (
        (footer.stop_and_keep.native,),
        (footer.partial,),
        (footer.anyway.native, footer.replace.native),
    )
    for buttons, text in itertools.product(states, texts):
        for line in (footer.estimate, footer.status, footer.score_note, footer.preview_note):
            line.setText(text)
        for button in buttons:
            button.show()
        panel.layout().activate()
        qtbot.wait(50)
        assert footer.height() == pytest.approx(before, abs=1) and panel.width() == 420
        for button in buttons:
            button.hide()


def test_nothing_moves_when_the_curve_of_the_likelihood_appears(qtbot):
    form = QWidget()
    lines = [QLineEdit() for _ in range(30)]
    rows = QVBoxLayout(form)
    for line in lines:
        rows.addWidget(line)
    panel, footer = QWidget(), Footer()
    stack(panel, [form], footer, 400)
    qtbot.addWidget(panel)
    panel.setStyleSheet(get_stylesheet("dark"))
    panel.resize(420, 780)
    panel.show()
    qtbot.waitExposed(panel)
    # At its end, a form would follow a view that gets higher.
    bar = panel.findChild(QScrollArea).verticalScrollBar()
    bar.setValue(bar.maximum())
    controls = [*lines, footer.estimate, footer.status, footer.score, footer.run.native]

    def places():
        panel.layout().activate()
        qtbot.wait(50)
        return [control.mapTo(panel, QPoint(0, 0)).y() for control in controls]

    before = places()
    footer.show_run("")
    curve, begin = footer.curve, "Held-out likelihood over iterations; "
    curve.show_points([(1, 1.0), (2, 3.0)])
    assert places() == pytest.approx(before, abs=1) and curve.isVisible()
    assert curve.title == f"{begin}best so far: 2"
    footer.show_end(complete=False, partial=False)
    assert curve.title == f"{begin}best: 2"
    # A run may use fewer iterations than the best number; a network uses none.
    curve.show_used((1,))
    curve.show_used(())
    footer.show_end(complete=True, partial=False)
    assert curve.title == f"{begin}used: 1"
    curve.show_used((1, 2, 1))
    assert curve.title == f"{begin}used: 1 to 2"
    # The next run begins where the last one was seen.
    footer.show_run("")
    assert places() == pytest.approx(before, abs=1)
    footer.show_end(complete=True, partial=False)
    assert not footer.curve.isVisible()


def test_the_focus_goes_from_run_to_cancel_and_back_and_is_never_taken_from_a_field(qtbot):
    panel, field = QWidget(), QLineEdit()
    footer = Footer()
    for widget in (field, footer):
        (panel.layout() or QVBoxLayout(panel)).addWidget(widget)
    qtbot.addWidget(panel)
    panel.show()
    qtbot.waitExposed(panel)
    run, cancel = footer.run.native, footer.cancel.native
    footer.run.enabled = True

    def focus_after(start, act):
        start.show()
        start.setFocus()
        assert panel.focusWidget() is start
        act()
        return panel.focusWidget()

    def end(partial=False):
        footer.show_end(complete=not partial, partial=partial)

    assert focus_after(run, lambda: footer.show_run("")) is cancel
    assert focus_after(cancel, end) is run
    assert focus_after(field, lambda: footer.show_run("")) is field
    assert focus_after(field, end) is field
    # Buttons that are shown at times pass it on, too.
    footer.show_run("")
    assert focus_after(footer.stop_and_keep.native, lambda: end(partial=True)) is run
    assert focus_after(footer.discard.native, footer.hide_partial) is run
    assert focus_after(footer.replace.native, footer.hide_replace) is run
    assert focus_after(footer.anyway.native, lambda: footer.show_run("")) is cancel
