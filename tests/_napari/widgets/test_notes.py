"""Lines of text in the panels: names of any length and messages of any number stay in their room."""

import pytest

pytest.importorskip("napari")

from napari._qt.qt_resources import get_stylesheet
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from napari_lucyd._napari.compare.form import CompareForm
from napari_lucyd._napari.deconvolve.choices.destination import DestinationSection
from napari_lucyd._napari.deconvolve.choices.voxel_size import UNKNOWN, VoxelSizeFields
from napari_lucyd._napari.deconvolve.status.footer import Footer
from napari_lucyd._napari.inspection.form import InspectForm
from napari_lucyd._napari.phantom.form import PhantomForm
from napari_lucyd._napari.widgets.layout import Note, note, plain_tooltip, row, style_sheet

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
    assert (
        line.shown.endswith(" … (hold the mouse here)") and line.heightForWidth(line.width()) <= line.height()
    )
    assert line.toolTip() == f"{plain_tooltip(line.text())}<br>About it."
    line.setText("Short.")
    assert (line.shown, line.toolTip()) == ("Short.", "About it.")


def test_a_long_name_leaves_room_for_the_sentence_behind_it(line, qtbot):
    name = "20240311_HeLa cells in glycerol with three channels and 0.3 µm steps, second try (3 lines)"
    text = f"Done in 6 s by LUCYD on CPU, 2 threads: “{name}”.\n12 voxels in 3 planes are saturated."
    line = line(lines=3, most=3)
    line.setText(text)
    assert "“20240311_HeLa" in line.shown and "(3 lines)”" in line.shown
    assert line.shown.endswith("12 voxels in 3 planes are saturated.")
    assert line.toolTip() == plain_tooltip(text)
    # A name is whole where it fits.
    line.setText(f"Made “{name}”.")
    assert line.shown == line.text()


def test_the_room_of_a_longer_text_is_kept_until_it_is_freed(room, qtbot):
    line, button = note("lucyd-test", lines=1, most=4, keeps_room=True), QPushButton("Beside it")
    button.hide()
    rows = QVBoxLayout()
    room.layout().addLayout(rows)
    below = QLabel("Below it")
    beside = row(line, button, stretch=(1, 0))
    rows.addWidget(beside)
    rows.addWidget(below)
    room.layout().addStretch(1)
    room.show()
    qtbot.waitExposed(room)
    line.setText("Three lines of text. " * 8)
    qtbot.wait(50)
    place = below.y()

    def moved():
        qtbot.wait(50)
        return below.y() - place

    for text in ("Short.", "", "Two lines. " * 8):
        line.setText(text)
        assert moved() == 0
    # The button takes some of its width.
    button.show()
    assert moved() == 0
    button.hide()
    line.setText("Short.")
    assert moved() == 0
    line.free_room()
    assert moved() < 0
    line.setText("Three lines of text. " * 8)
    assert moved() == 0
    # In another width, the earlier texts have another height.
    line.setText("Short.")
    room.resize(800, 300)
    assert moved() < 0


def test_a_voxel_size_that_is_entered_moves_nothing_below(room, qtbot):
    fields = VoxelSizeFields()
    fields.setFixedWidth(270)
    room.layout().addWidget(fields)
    room.layout().addStretch(1)
    room.show()
    qtbot.waitExposed(room)
    fields.describe(f"{UNKNOWN} The layer's scale, 0.3 × 0.1 × 0.1, is used as a ratio.", problem=True)
    qtbot.wait(50)
    before = fields.height()
    fields.describe("Voxel size: enter Z, Y, X in µm, or empty all fields.", problem=True)
    qtbot.wait(50)
    assert fields.height() == before
    fields.describe("As entered. Not yet on the layer.", offer=True)
    qtbot.wait(50)
    assert fields.height() == before
    # Another image.
    fields.clear("ZYX")
    qtbot.wait(50)
    assert fields.height() < before


@pytest.mark.parametrize("form", [Footer, DestinationSection, PhantomForm, CompareForm, InspectForm])
def test_every_line_of_the_panels_is_one_that_shortens(form, qtbot):
    made = form()
    qtbot.addWidget(made)
    parts = [made, *getattr(made, "sections", ()), getattr(made, "footer", made)]
    notes = {line for part in parts for line in part.findChildren(QLabel) if line.property("note")}
    assert notes and all(isinstance(line, Note) for line in notes)
