"""Layout of the panels: notes, rows of controls with their labels, sections and the footer."""

from __future__ import annotations

import html
import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QColor, QFontMetrics, QResizeEvent, QWheelEvent
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QDialog,
    QFormLayout,
    QFrame,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

# The controls of all groups begin at one line.
LABEL_WIDTH = 118
# All lines with a unit have one length.
UNIT_WIDTH = 60
# A form within a form brings no margins of its own.
_NONE = (0, 0, 0, 0)
_MARGIN = 8
_NOTE_PIXELS = 11
# Room that napari's style leaves beside a scroll bar.
_BAR_SPACING = 2
# A label that wraps is this much higher than its lines.
_NOTE_PADDING = 9
# Margin of a text that can be selected, on each side.
_NOTE_INSET = 5
# Share of a line's width that a name keeps in a text that does not fit.
_NAME_SHARE = 0.5
# End of a text of which only a part is shown.
_MORE = " … (hold the mouse here)"
_PROBLEM = "#e8853d"
# Contrast of small text that people with weak eyesight can read (WCAG 2.1, level AA).
_READABLE = 4.5
# Black and white have the same contrast with a colour of this luminance.
_MIDDLE_LUMINANCE = 0.179


class Section(QGroupBox):
    """A titled group of labelled controls.

    Parameters
    ----------
    title
        Its heading.
    """

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self.rows = form(self)

    def add(self, text: str, control: QWidget) -> None:
        """Add a control with its label."""
        add(self.rows, text, control)

    def show_row(self, control: QWidget, visible: bool) -> None:
        """Show or hide a control together with its label."""
        show_row(self.rows, control, visible)


class Note(QLabel):
    """A line of text that wraps, shortened where it does not fit; its tooltip then has all of it.

    A word that is wider than the line, such as a path, is shortened in the middle, and so is a name in quotes
    if the text does not fit otherwise.

    Parameters
    ----------
    name, lines, most, keeps_room
        See `note`.
    """

    def __init__(self, name: str, lines: int = 0, most: int = 0, keeps_room: bool = False) -> None:
        super().__init__()
        self._all = self._about = ""
        self._keeps_room, self._around = keeps_room, 0
        self.setObjectName(name)
        self.setProperty("note", True)
        self.setWordWrap(True)
        # Otherwise word-wrapped labels reserve the height that they would have in a narrow column.
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        font = self.font()
        font.setPixelSize(_NOTE_PIXELS)
        spacing = QFontMetrics(font).lineSpacing()
        if lines:
            self.setMinimumHeight(lines * spacing + _NOTE_PADDING)
            self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        if most:
            self.setMaximumHeight(most * spacing + _NOTE_PADDING)
        # A few words cannot spare the room for the hint.
        self._more = _MORE if most > 2 else " …"
        self._least = self.minimumHeight()

    def free_room(self) -> None:
        """Give up the room of earlier texts, where it is kept."""
        self.setMinimumHeight(self._least)
        self._fit()

    def text(self) -> str:
        """Return the whole text, of which a part may be shown."""
        return self._all

    @property
    def shown(self) -> str:
        """The part of the text that is shown."""
        return super().text()

    def setText(self, text: str | None) -> None:
        """Set the whole text."""
        self._all = text or ""
        self._fit()

    def setToolTip(self, text: str | None) -> None:
        """Set the tooltip; the whole text stands above it while only a part is shown."""
        self._about = text or ""
        self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Fit the text into the new width."""
        super().resizeEvent(event)
        parent = self.parentWidget()
        around = 0 if parent is None else parent.width()
        if around == self._around:  # as if a button beside it appeared
            self._fit()
        else:
            # Earlier texts would take another height now.
            self._around = around
            self.free_room()

    def _fit(self) -> None:
        room = self.width() - 2 * _NOTE_INSET
        words = self._shortened(r"\S+", self._all, room)
        if not self._fits(words):
            # Rather a part of a name than the sentences behind it.
            names = self._shortened(r"(?<=“)[^”]+(?=”)", self._all, int(_NAME_SHARE * room))
            words = self._shortened(r"\S+", names, room)
        if not self._fits(words):
            ends = [word.end() for word in re.finditer(r"\S+", words)]
            kept = bisect_left(ends, True, key=lambda end: not self._fits(words[:end] + self._more))
            self._fits(words[: ends[max(0, kept - 1)]] + self._more)
        if self._keeps_room and self.isVisible():
            needed = min(self.heightForWidth(self.width()), self.maximumHeight())
            self.setMinimumHeight(max(self.minimumHeight(), needed))
        texts = [plain_tooltip(self._all)] if self.shown != self._all else []
        super().setToolTip("<br>".join([*texts, *([self._about] if self._about else [])]))

    def _shortened(self, pattern: str, text: str, room: int) -> str:
        """Shorten what the pattern finds in the middle where it is wider than the room."""
        metrics, middle = self.fontMetrics(), Qt.TextElideMode.ElideMiddle
        return re.sub(pattern, lambda found: metrics.elidedText(found[0], middle, room), text)

    def _fits(self, text: str) -> bool:
        """Show a text, and return True if it is not too high."""
        if text != self.shown:
            super().setText(text)
        return self.heightForWidth(self.width()) <= self.maximumHeight()


def note(name: str, lines: int = 0, most: int = 0, keeps_room: bool = False) -> Note:
    """Make a line of text that wraps and can be copied.

    Parameters
    ----------
    name
        Its name for the style sheet and tests.
    lines
        Number of lines that keep their room when the text is shorter. Otherwise a message would move the
        controls below it, and the next click would hit another one.
    most
        Largest number of lines, for messages of any length; 0 for no limit.
    keeps_room
        True to keep the room of a longer text until `Note.free_room`, so that nothing below moves while a
        field is corrected.
    """
    return Note(name, lines, most, keeps_room)


def set_note(line: QLabel, text: str, *, problem: bool = False) -> None:
    """Write a line; a problem stands out in colour."""
    mark(line, problem)
    line.setText(text)


def mark(widget: QWidget, problem: bool) -> None:
    """Show a widget in the colour of a problem, or no longer."""
    if widget.property("problem") != problem:
        widget.setProperty("problem", problem)
        # Style sheets read properties only when a widget is polished.
        style: Any = widget.style()
        style.unpolish(widget)
        style.polish(widget)


def plain_tooltip(text: str) -> str:
    """Turn text from a file or a layer into a tooltip, or a question, that shows it as it is.

    Qt would interpret a text with tags as rich text.

    Examples
    --------
    >>> plain_tooltip("a <b> c")
    '<qt>a &lt;b&gt; c</qt>'
    """
    return f"<qt>{html.escape(text, quote=False).replace(chr(10), '<br>')}</qt>" if text else ""


def form(parent: QWidget, margins: tuple[int, int, int, int] = (10, 8, 10, 8)) -> QFormLayout:
    """Lay out labels and controls in two columns."""
    rows = QFormLayout(parent)
    rows.setContentsMargins(*margins)
    rows.setHorizontalSpacing(10)
    rows.setVerticalSpacing(6)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    rows.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    return rows


def inner_form(parent: QWidget) -> QFormLayout:
    """Lay out rows that are shown and hidden together, within another form."""
    return form(parent, _NONE)


def add(rows: QFormLayout, text: str, control: QWidget) -> None:
    """Add a control with its label."""
    name = QLabel(text)
    name.setMinimumWidth(LABEL_WIDTH)
    rows.addRow(name, control)


def row(*widgets: Any, stretch: tuple[int, ...] = ()) -> QWidget:
    """Put widgets side by side."""
    together = QWidget()
    line = QHBoxLayout(together)
    line.setContentsMargins(*_NONE)
    line.setSpacing(6)
    for number, widget in enumerate(widgets):
        line.addWidget(widget, stretch[number] if stretch else 0)
    return together


def with_unit(control: QWidget, unit: str) -> QWidget:
    """Put the unit of a number behind its control."""
    about = QLabel(unit)
    about.setFixedWidth(UNIT_WIDTH)
    return row(control, about, stretch=(1, 0))


def show_row(rows: QFormLayout, control: QWidget, visible: bool) -> None:
    """Show or hide a control and its label, if it is among these rows."""
    if rows.indexOf(control) >= 0:
        rows.setRowVisible(control, visible)


def fixed(button: QWidget) -> None:
    """Keep a button as wide as its text."""
    button.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)


def stack(panel: QWidget, sections: Sequence[QWidget], footer: QWidget, width: int) -> None:
    """Lay out sections that scroll above a footer that stays.

    Parameters
    ----------
    panel
        The widget to fill.
    sections
        The widgets that scroll, from the top.
    footer
        The widget below them.
    width
        The smallest width of the panel in pixels.
    """
    body = QWidget()
    rows = QVBoxLayout(body)
    rows.setContentsMargins(_MARGIN, _MARGIN, _MARGIN, 0)
    rows.setSpacing(10)
    for section in sections:
        rows.addWidget(section)
    rows.addStretch(1)
    scroll = _Scroll(panel, width)
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(body)
    scroll.keep_wheel(body)
    column = QVBoxLayout(panel)
    column.setContentsMargins(*_NONE)
    column.setSpacing(0)
    column.addWidget(scroll, 1)
    column.addWidget(footer)


class _Scroll(QScrollArea):
    """An area that makes its panel as wide as the controls in it need, since it scrolls up and down only."""

    def __init__(self, panel: QWidget, width: int) -> None:
        super().__init__()
        self._panel, self._least = panel, width
        panel.setMinimumWidth(width)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Follow the width of the controls; Qt watches the widget by this filter, too."""
        body, bar = self.widget(), self.verticalScrollBar()
        if event is not None and watched is body and event.type() == QEvent.Type.LayoutRequest:
            assert body is not None and bar is not None
            around = bar.sizeHint().width() + _BAR_SPACING
            self._panel.setMinimumWidth(max(self._least, body.minimumSizeHint().width() + around))
        if isinstance(event, QWheelEvent) and watched is not body:
            self.wheelEvent(event)
            return True
        return super().eventFilter(watched, event)

    def keep_wheel(self, body: QWidget) -> None:
        """Scroll with the wheel over all controls: none may change because it passes under the cursor."""
        for kind in (QComboBox, QAbstractSpinBox, QAbstractSlider):
            for control in body.findChildren(kind):
                control.installEventFilter(self)


def fill_footer(footer: QFrame, *widgets: QWidget) -> None:
    """Lay out the lines and buttons that stay visible at the bottom of a panel.

    The footer grows upwards. Lines of text and what is shown at times go above the buttons, which then stay
    where they are: a second click must not hit another control.
    """
    footer.setObjectName("lucyd-footer")
    column = QVBoxLayout(footer)
    column.setContentsMargins(_MARGIN + 2, _MARGIN, _MARGIN + 2, _MARGIN)
    column.setSpacing(6)
    for widget in widgets:
        column.addWidget(widget)


def pass_focus(leaving: Sequence[QWidget], to: QWidget) -> None:
    """Pass the focus on if one of these controls has it, before they are disabled or hidden.

    Qt would pass it to whatever is next for the tab key, and a second Return or Space would press that.
    """
    window = to.window()
    if window is not None and any(window.focusWidget() is widget for widget in leaving):
        to.setFocus()


def leave_return_to_fields(dialog: QDialog) -> None:
    """Keep Return in a field of a dialog from pressing a button; Qt would choose one."""
    for button in dialog.findChildren(QPushButton):
        button.setAutoDefault(False)


def contrast(color: str, background: str) -> float:
    """Return the contrast of two colours, 1 to 21, as WCAG 2.1 defines it.

    Examples
    --------
    >>> round(contrast("#000000", "#ffffff"), 3)
    21.0
    """
    light, dark = sorted((_luminance(QColor(color)), _luminance(QColor(background))), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def readable(color: str, background: str) -> str:
    """Darken or lighten a colour until text in it can be read on a background."""
    # Away from the background.
    end = QColor("black" if _luminance(QColor(background)) > _MIDDLE_LUMINANCE else "white")
    start, share = QColor(color), 0.0
    mixed = start
    while share < 1 and contrast(mixed.name(), background) < _READABLE:
        share += 0.05
        mixed = QColor.fromRgbF(
            *(
                (1 - share) * own + share * other
                for own, other in zip(start.getRgbF()[:3], end.getRgbF()[:3], strict=True)
            )
        )
    return mixed.name()


def _luminance(color: QColor) -> float:
    linear = [
        value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4
        for value in color.getRgbF()[:3]
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def style_sheet(accent: str, text: str, line: str, background: str, theme: str = "dark") -> str:
    """Build a style sheet in a theme's colours.

    Parameters
    ----------
    accent
        Colour of the button that starts the work.
    text
        Colour of notes.
    line
        Colour of the line above the footer, and behind lists.
    background
        Colour behind the panel.
    theme
        Name of the theme, whose tick check boxes have.
    """
    # A list is nearer to the colour of an outline than the panel is.
    outline = readable(line, line)
    return (
        f"QLabel[note='true'] {{ color: {text}; font-size: {_NOTE_PIXELS}px; }}"
        f"QLabel[problem='true'] {{ color: {readable(_PROBLEM, background)}; font-size: {_NOTE_PIXELS}px; }}"
        # The border takes the place of napari's padding: nothing moves.
        f"QLineEdit[problem='true'] {{ border: 1px solid {readable(_PROBLEM, background)}; padding: 1px; }}"
        f"QPushButton#lucyd-run {{ background-color: {accent}; font-weight: bold; }}"
        f"QPushButton#lucyd-run:disabled {{ background-color: {line}; font-weight: normal; }}"
        # Boxes without a tick are hard to see in napari's themes, and those of a list harder still.
        f"QCheckBox::indicator:enabled {{ border: 1px solid {outline}; width: 14px; height: 14px; }}"
        f"QListWidget::indicator {{ border: 1px solid {outline}; width: 12px; height: 12px; }}"
        "QListWidget::indicator { border-radius: 2px; }"
        f'QListWidget::indicator:checked {{ image: url("theme_{theme}:/check.svg"); }}'
        "QPushButton#lucyd-toggle { background: transparent; border: none; }"
        "QPushButton#lucyd-toggle { text-align: left; font-weight: bold; }"
        f"QFrame#lucyd-footer {{ border-top: 1px solid {line}; }}"
        f"QProgressBar::chunk {{ background-color: {accent}; }}"
        "QTableWidget, QHeaderView::section { font-size: 11px; }"
        "QGroupBox { font-weight: bold; } QGroupBox QWidget { font-weight: normal; }"
    )
