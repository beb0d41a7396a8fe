"""Layout of the panels: texts that can be read, and controls that have enough room."""

import pytest

pytest.importorskip("napari")

from napari._qt.qt_resources import get_stylesheet
from napari.utils.theme import get_theme
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QHelpEvent, QTextDocument
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QToolTip,
)

from napari_lucyd._napari.deconvolve.choices.advanced import AdvancedSection
from napari_lucyd._napari.phantom.form import PhantomForm
from napari_lucyd._napari.widgets.layout import contrast, plain_tooltip, readable, style_sheet
from napari_lucyd._napari.widgets.long_entries import narrow

pytestmark = pytest.mark.napari


@pytest.mark.parametrize("text", ["plain", "<b>bold</b> & <img src='x'>", "two\nlines", "a < b"])
def test_a_tooltip_shows_tags_and_lines_as_they_are(qapp, text):
    document = QTextDocument()
    document.setHtml(plain_tooltip(text))
    assert document.toPlainText() == text


def test_an_empty_text_has_no_tooltip():
    assert plain_tooltip("") == ""


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_problems_can_be_read_in_each_theme(theme):
    from napari.utils.theme import get_theme

    background = get_theme(theme).background.as_hex("long")
    assert contrast(readable("#e8853d", background), background) >= 4.5
    sheet = style_sheet("#111111", "#222222", "#333333", background)
    assert readable("#e8853d", background) in sheet
    # A colour that is readable already stays the same.
    assert readable("#ffffff", "#000000") == "#ffffff"


def test_the_tab_key_passes_over_a_section_that_is_closed(qtbot):
    section = AdvancedSection()
    qtbot.addWidget(section)
    section.show()
    assert not section.tile.native.isVisible()
    section.toggleButton().click()
    qtbot.waitUntil(section.tile.native.isVisible)
    section.toggleButton().click()
    qtbot.waitUntil(lambda: not section.tile.native.isVisible())


def test_the_numbers_of_the_phantoms_shape_have_room(qtbot):
    form = PhantomForm()
    qtbot.addWidget(form)
    form.setStyleSheet(get_stylesheet("dark"))
    form.resize(form.minimumWidth(), 800)
    form.show()
    for box in form.shape.values():
        line = box.native.lineEdit()
        assert line.fontMetrics().horizontalAdvance("2048") + 4 <= line.width()


def test_no_label_is_wider_than_the_column_of_labels(panel, qtbot):
    from napari_lucyd._napari.widgets.layout import LABEL_WIDTH

    phantom = PhantomForm()
    qtbot.addWidget(phantom)
    phantom.setStyleSheet(get_stylesheet("dark"))
    labels = [
        label
        for form in (panel, phantom)
        for label in form.findChildren(QLabel)
        if label.minimumWidth() == LABEL_WIDTH
    ]
    assert len(labels) > 20
    assert {label.text() for label in labels if label.sizeHint().width() > LABEL_WIDTH} == set()


def test_a_long_entry_of_a_list_is_shortened_and_its_tooltip_has_it_all(qtbot):
    name = "output · 2026-11-30 medium well A03 001 after bleaching correction (lucyd)"
    box = QComboBox()
    qtbot.addWidget(box)
    box.setStyleSheet(get_stylesheet("dark"))
    box.addItems([name, name.replace("A03", "A04"), "short"])
    box.setToolTip("The output to look at.")
    narrow(box)
    box.resize(190, 28)
    box.show()

    def pixels():
        return box.grab().toImage()

    def tip():
        place = box.mapToGlobal(QPoint(20, 10))
        QApplication.sendEvent(box, QHelpEvent(QHelpEvent.Type.ToolTip, QPoint(20, 10), place))
        return QToolTip.text()

    long = pixels()
    assert name in tip() and "The output to look at." in tip()
    # Both are shortened where they differ, so that they look alike; a cut name would show the same, too.
    box.setCurrentIndex(1)
    assert pixels() == long
    box.setItemText(1, name.replace("(lucyd)", "(wiener)"))
    assert pixels() != long
    box.setCurrentIndex(2)
    assert tip() == "The output to look at."


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("kind", ["list", "box"])
def test_the_outline_of_a_box_without_a_tick_can_be_seen(theme, kind, qtbot):
    colours = get_theme(theme)
    made = QListWidget() if kind == "list" else QCheckBox()
    qtbot.addWidget(made)
    if kind == "list":
        QListWidgetItem("", made).setCheckState(Qt.CheckState.Unchecked)
    own = (colours.current, colours.text, colours.foreground, colours.background)
    sheet = style_sheet(*(colour.as_hex("long") for colour in own), theme=theme)
    ground = f"QWidget {{ background: {colours.background.as_hex('long')}; }}"
    made.setStyleSheet((ground if kind == "box" else "") + get_stylesheet(theme) + sheet)
    made.resize(60, 40)
    made.show()
    qtbot.waitExposed(made)
    picture = made.grab().toImage()
    behind = picture.pixelColor(50, 30).name()
    seen = {picture.pixelColor(x, y).name() for x in range(3, 30) for y in range(3, 37)}
    assert max(contrast(colour, behind) for colour in seen) >= 3
