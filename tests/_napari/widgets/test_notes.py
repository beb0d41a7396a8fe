"""Lines of text in the panels: names of any length and messages of any number stay in their room."""

import pytest

pytest.importorskip("napari")

from napari._qt.qt_resources import get_stylesheet
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_lucyd._napari.compare.form import CompareForm
from napari_lucyd._napari.deconvolve.choices.destination import DestinationSection
from napari_lucyd._napari.deconvolve.status.footer import Footer
from napari_lucyd._napari.inspection.form import InspectForm
from napari_lucyd._napari.phantom.form import PhantomForm
from napari_lucyd._napari.widgets.layout import Note, note, plain_tooltip, style_sheet

pytestmark = pytest.mark.napari

PATH = "/data/" + "measurement_" * 12 + "/" + "x" * 80 + ".ome.tif"


@pytest.fixture
def room(qtbot):
    """A panel of the usual width."""
    room = QWidget()
    qtbot.addWidget(room)
    QVBoxLayout(room)
    room.setStyleSheet(get_stylesheet("dark") + style_sheet("#3b4dc9", "#ffffff", "#414851", "#262930"))
    room.resize(400, 300)
    return room


@pytest.fixture
def line(room, qtbot):
    def make(**lines):
        line = note("lucyd-test", **lines)
        room.layout().addWidget(line)
        room.layout().addStretch(1)
        room.show()
        qtbot.waitExposed(room)
        return line

    return make


def test_a_long_name_is_shortened_in_the_middle_and_is_whole_in_the_tooltip(line, qtbot):
    line = line()
    line.setText(f"Saved a.ome.tif in {PATH}.")
    assert line.text() == f"Saved a.ome.tif in {PATH}."
    assert "…" in line.shown and line.shown.startswith("Saved a.ome.tif in /data/")
    assert line.shown.endswith(".ome.tif.")
    assert all(line.fontMetrics().horizontalAdvance(word) < line.width() for word in line.shown.split())
    assert line.toolTip() == plain_tooltip(line.text())
    line.window().resize(3000, 300)
    qtbot.waitUntil(lambda: line.shown == line.text(), timeout=10_000)
    assert line.toolTip() == ""


def test_a_message_of_any_length_takes_a_limited_number_of_lines(line, qtbot):
    line = line(lines=2, most=3)
    line.setToolTip("About it.")
    line.setText("A message of many words. " * 30)
    qtbot.waitUntil(lambda: line.height() == line.maximumHeight(), timeout=10_000)
    assert line.shown.endswith(" …") and line.heightForWidth(line.width()) <= line.height()
    assert line.toolTip() == f"{plain_tooltip(line.text())}<br>About it."
    line.setText("Short.")
    assert (line.shown, line.toolTip()) == ("Short.", "About it.")


@pytest.mark.parametrize("form", [Footer, DestinationSection, PhantomForm, CompareForm, InspectForm])
def test_every_line_of_the_panels_is_one_that_shortens(form, qtbot):
    made = form()
    qtbot.addWidget(made)
    parts = [made, *getattr(made, "sections", ()), getattr(made, "footer", made)]
    notes = {line for part in parts for line in part.findChildren(QLabel) if line.property("note")}
    assert notes and all(isinstance(line, Note) for line in notes)
