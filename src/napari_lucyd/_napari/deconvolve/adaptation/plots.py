"""Curve of the validation, and pictures of a validation patch, of an adaptation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPen, QPixmap, QPolygonF
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_lucyd._napari.widgets.layout import row

_CURVE_HEIGHT = 110
_MARGIN = 8.0
_DOT = 2.5
_PICTURE = 128
_TITLES = ("First estimate", "Before", "Now", "Truth")


class ValidationCurve(QWidget):
    """Shows the validation in dB after each part of the training; the best one, which is kept, is marked."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(_CURVE_HEIGHT)
        self.setToolTip(
            "Validation: how close the model comes to the truth of simulated specimens that it was not "
            "trained on, as PSNR in dB. The first point is the model that training started from."
        )
        self.values: tuple[float, ...] = ()

    def show_values(self, values: Sequence[float]) -> None:
        """Show the validations so far."""
        if tuple(values) != self.values:
            self.values = tuple(values)
            self.update()

    def paintEvent(self, event: object) -> None:
        """Draw the curve."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().text().color()
        line = float(painter.fontMetrics().height())
        plot = QRectF(self.rect()).adjusted(_MARGIN, line + 6, -_MARGIN, -6)
        faint = QColor(text)
        faint.setAlphaF(0.35)
        painter.setPen(QPen(faint, 1))
        painter.drawLine(plot.bottomLeft(), plot.bottomRight())
        painter.setPen(text)
        title = "Validation"
        if self.values:
            best = max(self.values)
            title += f": {self.values[0]:.2f} dB at the start, {best:.2f} dB at best"
        painter.drawText(QRectF(_MARGIN, 0, self.width() - 2 * _MARGIN, line), title)
        if len(self.values) > 1:
            low, span = min(self.values), max(self.values) - min(self.values) or 1.0
            last = len(self.values) - 1
            places = [
                QPointF(
                    plot.left() + plot.width() * number / last,
                    plot.bottom() - plot.height() * (value - low) / span,
                )
                for number, value in enumerate(self.values)
            ]
            accent = QColor("#5a9bd5")
            painter.setPen(QPen(accent, 1.5))
            painter.drawPolyline(QPolygonF(places))
            for value, place in zip(self.values, places, strict=True):
                best_one = value == max(self.values)
                painter.setBrush(accent if best_one else Qt.BrushStyle.NoBrush)
                radius = 2 * _DOT if best_one else _DOT
                painter.drawEllipse(place, radius, radius)
        painter.end()


class PatchView(QWidget):
    """Shows a validation patch: first estimate, model before, model now, and truth, with equal contrast."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = tuple(QLabel() for _ in _TITLES)
        columns = []
        for title, picture in zip(_TITLES, self.pictures, strict=True):
            column = QWidget()
            lines = QVBoxLayout(column)
            lines.setContentsMargins(0, 0, 0, 0)
            lines.setSpacing(2)
            picture.setFixedSize(_PICTURE, _PICTURE)
            lines.addWidget(QLabel(title))
            lines.addWidget(picture)
            columns.append(column)
        lines = QVBoxLayout(self)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.addWidget(row(*columns))

    def show_planes(self, planes: Sequence[npt.NDArray[np.float32]]) -> None:
        """Show four planes (Y, X) with the contrast of the last one, the truth."""
        low, high = (float(end) for end in np.percentile(planes[-1], (1, 99.9)))
        for picture, plane in zip(self.pictures, planes, strict=True):
            shares = np.clip((plane - low) / max(high - low, 1e-6), 0, 1)
            grey = np.ascontiguousarray(255 * shares**0.7, np.uint8)
            height, width = grey.shape
            image = QImage(grey.tobytes(), width, height, width, QImage.Format.Format_Grayscale8)
            picture.setPixmap(
                QPixmap.fromImage(image.copy()).scaled(_PICTURE, _PICTURE, Qt.AspectRatioMode.KeepAspectRatio)
            )
