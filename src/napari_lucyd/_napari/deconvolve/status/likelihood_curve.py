"""Plot of the held-out likelihood over the number of iterations, from which a run chooses the number."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from napari_lucyd._napari.deconvolve.task import span_text

_HEIGHT = 96
_MARGIN = 8.0
_DOT = 2.5


class LikelihoodCurve(QWidget):
    """Shows how well the estimate predicts photons that it has not seen, and marks a number of iterations.

    It is the best one so far, and after the run the one that was used: the semi-blind method takes the fewest
    iterations that are nearly as likely as the best number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("lucyd-curve")
        self.setFixedHeight(_HEIGHT)
        self.setToolTip(
            "Held-out likelihood over iterations: a part of the photons is kept out of the estimate, and the "
            "curve shows how well each number of iterations predicts it. The best number so far is marked, "
            "and after the run the number that was used. With fewer iterations the image is still blurred, "
            "with more noise is amplified."
        )
        self.points: tuple[tuple[int, float], ...] = ()
        self.used: tuple[int, ...] = ()
        self._is_over = False
        self.hide()

    @property
    def best(self) -> int:
        """The number of iterations with the largest likelihood so far; 0 without a curve."""
        return max(self.points, key=lambda point: point[1])[0] if self.points else 0

    @property
    def title(self) -> str:
        """The line above the curve."""
        if self.used:
            number = f"used: {span_text(self.used)}"
        else:
            number = f"best{'' if self._is_over else ' so far'}: {self.best}"
        return f"Held-out likelihood over iterations; {number}"

    def show_points(self, points: Sequence[tuple[int, float]]) -> None:
        """Show pairs of a number of iterations and its log likelihood; hide without any."""
        if tuple(points) != self.points:
            self.points, self.used, self._is_over = tuple(points), (), False
            self.update()
        self.setVisible(bool(self.points))

    def show_used(self, numbers: Sequence[int]) -> None:
        """Mark the numbers of iterations that were used for an image; for a network there are none."""
        if numbers:
            self.used = tuple(numbers)
            self.update()

    def end(self) -> None:
        """Show that the run is over; without points the room is no longer kept."""
        self._is_over = True
        self.setVisible(bool(self.points))
        self.update()

    def clear(self) -> None:
        """Take the points away and keep the room, which the next run is likely to need."""
        self.points, self.used, self._is_over = (), (), False
        self.update()

    def paintEvent(self, event: object) -> None:
        """Draw the curve over a logarithmic axis of iterations."""
        if not self.points:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().text().color()
        line = float(painter.fontMetrics().height())
        plot = QRectF(self.rect()).adjusted(_MARGIN, line + 4, -_MARGIN, -line - 2)
        faint = QColor(text)
        faint.setAlphaF(0.35)
        painter.setPen(QPen(faint, 1))
        painter.drawLine(plot.bottomLeft(), plot.bottomRight())
        painter.setPen(text)
        painter.drawText(QRectF(_MARGIN, 0, self.width() - 2 * _MARGIN, line), self.title)
        values = [value for _, value in self.points]
        low, span = min(values), max(values) - min(values) or 1.0
        last = math.log(max(2, self.points[-1][0]))
        places = [
            QPointF(
                plot.left() + plot.width() * math.log(number) / last,
                plot.bottom() - plot.height() * (value - low) / span,
            )
            for number, value in self.points
        ]
        accent = QColor("#5a9bd5")
        painter.setPen(QPen(accent, 1.5))
        painter.drawPolyline(QPolygonF(places))
        shown_until = -math.inf
        marked = self.used or (self.best,)
        for (number, _), place in zip(self.points, places, strict=True):
            is_marked = number in marked
            painter.setBrush(accent if is_marked else Qt.BrushStyle.NoBrush)
            radius = 2 * _DOT if is_marked else _DOT
            painter.drawEllipse(place, radius, radius)
            width = painter.fontMetrics().horizontalAdvance(str(number))
            if place.x() - width / 2 > shown_until:
                painter.save()
                painter.setPen(text)
                box = QRectF(place.x() - width, plot.bottom() + 2, 2.0 * width, line)
                painter.drawText(box, Qt.AlignmentFlag.AlignHCenter, str(number))
                painter.restore()
                shown_until = place.x() + width / 2 + 6
        painter.end()
