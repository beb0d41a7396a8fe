"""Plot of the held-out likelihood over the number of iterations, while a run chooses the number."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

_HEIGHT = 96
_MARGIN = 8.0
_DOT = 2.5


class LikelihoodCurve(QWidget):
    """Shows how well the estimate predicts photons that it has not seen; the best number is marked."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("lucyd-curve")
        self.setFixedHeight(_HEIGHT)
        self.setToolTip(
            "Held-out likelihood over iterations: a part of the photons is kept out of the estimate, and the "
            "curve shows how well each number of iterations predicts it. The best number, marked, is used: "
            "before it the image is still blurred, after it noise is amplified."
        )
        self.points: tuple[tuple[int, float], ...] = ()
        self.hide()

    @property
    def best(self) -> int:
        """The number of iterations with the largest likelihood so far; 0 without a curve."""
        return max(self.points, key=lambda point: point[1])[0] if self.points else 0

    def show_points(self, points: Sequence[tuple[int, float]]) -> None:
        """Show pairs of a number of iterations and its log likelihood; hide without any."""
        if tuple(points) != self.points:
            self.points = tuple(points)
            self.update()
        self.setVisible(bool(self.points))

    def clear(self) -> None:
        """Take the points away and keep the room, which the next run is likely to need."""
        self.points = ()
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
        title = f"Held-out likelihood over iterations; best so far: {self.best}"
        painter.drawText(QRectF(_MARGIN, 0, self.width() - 2 * _MARGIN, line), title)
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
        for (number, _), place in zip(self.points, places, strict=True):
            best = number == self.best
            painter.setBrush(accent if best else Qt.BrushStyle.NoBrush)
            radius = 2 * _DOT if best else _DOT
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
