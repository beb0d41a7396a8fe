"""Plot of the line profile, drawn with Qt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from napari_lucyd._napari.compare.views.painting import FIGURE, PlotStyle, painting, write
from napari_lucyd._napari.compare.worker import Curve, Profile

_HEIGHT = 170


def ticks(low: float, high: float, at_most: int = 6) -> list[float]:
    """Choose round numbers between two others.

    Examples
    --------
    >>> ticks(0, 9.3)
    [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return []
    step = 10 ** math.floor(math.log10(span / at_most))
    step *= next(times for times in (1, 2, 5, 10) if span / (times * step) <= at_most)
    first, last = math.ceil(low / step), math.floor(high / step)
    # Rounded: 3 × 0.1 is not 0.3.
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def draw(
    painter: QPainter,
    where: QRectF,
    profile: Profile,
    numbers: Mapping[str, int],
    ink: PlotStyle,
    legend: bool,
) -> None:
    """Draw a profile.

    Parameters
    ----------
    painter, where
        The painter, and the rectangle to draw in.
    profile
        The curves. Intensities use the left axis; factors use the right one if there are both.
    numbers
        Numbers of the layers, for their colours.
    ink
        Font and colours.
    legend
        True to write the names of the layers above.
    """
    metrics = ink.begin(painter)
    line = metrics.height()
    factors = [curve for curve in profile.curves if curve.is_factor]
    intensities = [curve for curve in profile.curves if not curve.is_factor]
    left, right = (intensities, factors) if intensities else (factors, [])
    names = list(profile.curves) if legend else []
    top = where.top() + (len(names) + 1) * line * 1.2
    room = 4.2 * ink.size
    plot = QRectF(
        where.left() + room,
        top,
        where.width() - room - (room if right else ink.size),
        where.bottom() - top - 2.6 * line,
    )
    for index, curve in enumerate(names):
        y = where.top() + index * line * 1.2
        painter.setPen(ink.curve(_number(curve, numbers)))
        painter.drawLine(
            QPointF(plot.left(), y + line / 2), QPointF(plot.left() + 2 * ink.size, y + line / 2)
        )
        painter.setPen(QColor(ink.text))
        label = curve.name + (" (ground truth)" if curve.is_truth else "")
        write(painter, QRectF(plot.left() + 3 * ink.size, y, plot.width(), line), label)
    painter.setPen(QPen(QColor(ink.line), 1))
    painter.drawRect(plot)
    _across(painter, plot, float(profile.distance[-1]), f"distance ({profile.unit})", ink)
    for curves, at_left in ((left, True), (right, False)):
        if curves:
            title = "factor" if curves is factors else "intensity"
            _curves(painter, plot, curves, title, numbers, ink, at_left)


def _number(curve: Curve, numbers: Mapping[str, int]) -> int | None:
    return None if curve.is_truth else numbers.get(curve.name, 0)


def _across(painter: QPainter, plot: QRectF, length: float, title: str, ink: PlotStyle) -> None:
    line = ink.begin(painter).height()
    for value in ticks(0, length):
        x = plot.left() + plot.width() * value / length
        painter.setPen(QPen(QColor(ink.line), 1))
        painter.drawLine(QPointF(x, plot.bottom()), QPointF(x, plot.bottom() + ink.size / 3))
        painter.setPen(QColor(ink.text))
        box = QRectF(x - 3 * ink.size, plot.bottom() + ink.size / 2, 6 * ink.size, line)
        write(painter, box, f"{value:g}", Qt.AlignmentFlag.AlignHCenter)
    box = QRectF(plot.left(), plot.bottom() + ink.size / 2 + line, plot.width(), line)
    write(painter, box, title, Qt.AlignmentFlag.AlignHCenter)


def _curves(
    painter: QPainter,
    plot: QRectF,
    curves: Sequence[Curve],
    title: str,
    numbers: Mapping[str, int],
    ink: PlotStyle,
    at_left: bool,
) -> None:
    line = ink.begin(painter).height()
    values = np.concatenate([curve.values for curve in curves])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    margin = 0.05 * (high - low) or max(abs(high), 1.0) * 0.05
    low, high = low - margin, high + margin

    def height(value: float) -> float:
        return plot.bottom() - plot.height() * (value - low) / (high - low)

    side = plot.left() if at_left else plot.right()
    out = -1 if at_left else 1
    align = Qt.AlignmentFlag.AlignRight if at_left else Qt.AlignmentFlag.AlignLeft
    room = 4 * ink.size
    for value in ticks(low, high):
        y = height(value)
        painter.setPen(QPen(QColor(ink.line), 1))
        painter.drawLine(QPointF(side, y), QPointF(side + out * ink.size / 3, y))
        painter.setPen(QColor(ink.text))
        edge = side + out * ink.size / 2
        write(
            painter, QRectF(edge - room if at_left else edge, y - line / 2, room, line), f"{value:g}", align
        )
    box = QRectF(plot.left() - room, plot.top() - line * 1.15, plot.width() + 2 * room, line)
    write(painter, box, title, Qt.AlignmentFlag.AlignLeft if at_left else Qt.AlignmentFlag.AlignRight)
    painter.save()
    painter.setClipRect(plot)
    for curve in curves:
        painter.setPen(ink.curve(_number(curve, numbers)))
        count = len(curve.values)
        piece = QPolygonF()
        for index, value in enumerate([*curve.values, np.nan]):
            if np.isfinite(value):
                x = plot.left() + plot.width() * index / max(1, count - 1)
                piece.append(QPointF(x, height(float(value))))
            elif len(piece):
                # A gap outside the layer.
                painter.drawPolyline(piece)
                piece = QPolygonF()
    painter.restore()


class ProfilePlot(QWidget):
    """Shows a profile."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("lucyd-profile")
        self.setFixedHeight(_HEIGHT)
        self.profile: Profile | None = None
        self.numbers: Mapping[str, int] = {}
        self._ink = FIGURE

    def use(self, ink: PlotStyle) -> None:
        """Set the style."""
        self._ink = ink
        self.update()

    def show_profile(self, profile: Profile | None, numbers: Mapping[str, int]) -> None:
        """Show a profile."""
        self.profile, self.numbers = profile, numbers
        self.setVisible(profile is not None)
        self.update()

    def paintEvent(self, event: object) -> None:
        """Draw the profile."""
        if self.profile is not None:
            with painting(self) as painter:
                draw(painter, QRectF(self.rect()), self.profile, self.numbers, self._ink, legend=False)
