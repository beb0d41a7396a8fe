"""Pieces that the panel is laid out with: notes, and rows of controls with their labels."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QFrame, QHBoxLayout, QLabel, QScrollArea, QSizePolicy, QWidget

# So that the controls of all groups begin at one line.
LABEL_WIDTH = 84
# So that all lines with a unit are of one length.
UNIT_WIDTH = 60
# Of a form within a form, which brings no margins of its own.
_NONE = (0, 0, 0, 0)


def note(name: str) -> QLabel:
    """A line of text that wraps, and can be copied."""
    line = QLabel()
    line.setObjectName(name)
    line.setProperty("note", True)
    line.setWordWrap(True)
    # Word-wrapped labels otherwise reserve the height that they would have in a narrow column.
    line.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    line.setTextFormat(Qt.TextFormat.PlainText)
    line.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return line


def set_note(line: QLabel, text: str, *, problem: bool = False) -> None:
    """Write a line; problems stand out in colour."""
    if line.property("problem") != problem:
        line.setProperty("problem", problem)
        # Style sheets look at properties only when a widget is polished.
        style: Any = line.style()
        style.unpolish(line)
        style.polish(line)
    line.setText(text)


def form(parent: QWidget, margins: tuple[int, int, int, int] = (10, 8, 10, 8)) -> QFormLayout:
    """Labels and controls in two columns."""
    rows = QFormLayout(parent)
    rows.setContentsMargins(*margins)
    rows.setHorizontalSpacing(10)
    rows.setVerticalSpacing(6)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    rows.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    return rows


def inner_form() -> tuple[QWidget, QFormLayout]:
    """Rows that come and go together, within a form."""
    part = QWidget()
    return part, form(part, _NONE)


def add(rows: QFormLayout, text: str, control: QWidget) -> None:
    """Add a control with its label."""
    name = QLabel(text)
    name.setMinimumWidth(LABEL_WIDTH)
    rows.addRow(name, control)


def row(*widgets: Any, stretch: tuple[int, ...] = ()) -> QWidget:
    """Widgets side by side."""
    together = QWidget()
    line = QHBoxLayout(together)
    line.setContentsMargins(*_NONE)
    line.setSpacing(6)
    for number, widget in enumerate(widgets):
        line.addWidget(widget, stretch[number] if stretch else 0)
    return together


def with_unit(control: QWidget, unit: str) -> QWidget:
    """A control with what its number counts."""
    about = QLabel(unit)
    about.setFixedWidth(UNIT_WIDTH)
    return row(control, about, stretch=(1, 0))


def show_row(rows: QFormLayout, control: QWidget, visible: bool) -> None:
    """Show or hide a control together with its label, where it is among these rows."""
    if rows.indexOf(control) >= 0:
        rows.setRowVisible(control, visible)


def narrow(combo: QWidget) -> None:
    """Keep a long entry, such as a layer's name, from making the panel wider."""
    box: Any = combo
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    box.setMinimumContentsLength(8)
    box.setSizeAdjustPolicy(box.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)


def scrolled(body: QWidget) -> QScrollArea:
    """Controls that may be higher than the window."""
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(body)
    return scroll


def style_sheet(accent: str, text: str, line: str) -> str:
    """In a theme's colours: `accent` for Run, `text` dimmed for notes, `line` above the footer."""
    return (
        f"QLabel[note='true'] {{ color: {text}; font-size: 11px; }}"
        f"QLabel[problem='true'] {{ color: #e8853d; font-size: 11px; }}"
        f"QPushButton#lucyd-run {{ background-color: {accent}; font-weight: bold; }}"
        f"QPushButton#lucyd-run:disabled {{ background-color: {line}; font-weight: normal; }}"
        f"QFrame#lucyd-footer {{ border-top: 1px solid {line}; }}"
        f"QProgressBar::chunk {{ background-color: {accent}; }}"
        "QGroupBox { font-weight: bold; } QGroupBox QWidget { font-weight: normal; }"
    )
