"""Colours and sizes of plots and pictures, in the panel and in a figure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QFontMetricsF, QImage, QPaintDevice, QPainter, QPen, QTextOption

# The palette of Okabe and Ito, which most colour-blind people can distinguish, without yellow and black: it
# is visible on dark and on white.
CURVES = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#0072b2")
_DASHES = (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine)


@dataclass(frozen=True)
class PlotStyle:
    """Style of a drawing.

    Parameters
    ----------
    paper, text, line
        Colours of the background, of text and of axes.
    size
        Height of the letters in pixels.
    """

    paper: str
    text: str
    line: str
    size: int = 11

    def begin(self, painter: QPainter) -> QFontMetricsF:
        """Set font and colours of a painter."""
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        font = painter.font()
        font.setPixelSize(self.size)
        painter.setFont(font)
        painter.setPen(QColor(self.text))
        return QFontMetricsF(font)

    def curve(self, number: int | None) -> QPen:
        """Return the pen of a layer by its number, or of the ground truth (None)."""
        pen = QPen(QColor(self.text if number is None else colour(number)))
        pen.setWidthF(self.size / 7)
        pen.setStyle(_DASHES[1] if number is None else _DASHES[number // len(CURVES) % len(_DASHES)])
        return pen


FIGURE = PlotStyle("#ffffff", "#202020", "#9a9a9a", 20)


@contextlib.contextmanager
def painting(device: QPaintDevice) -> Iterator[QPainter]:
    """Paint within a block; an open painter on a deleted device would end the process."""
    painter = QPainter(device)
    try:
        yield painter
    finally:
        painter.end()


def colour(number: int) -> str:
    """Return the colour of a layer's curve, by its number."""
    return CURVES[number % len(CURVES)]


def write(
    painter: QPainter,
    where: QRectF,
    text: str,
    align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
    *,
    wrap: bool = False,
) -> None:
    """Write one line, shortened in the middle if it is too long; or, with `wrap`, several lines."""
    option = QTextOption(align)
    option.setWrapMode(QTextOption.WrapMode.WordWrap if wrap else QTextOption.WrapMode.NoWrap)
    if not wrap:
        metrics = QFontMetricsF(painter.font())
        text = metrics.elidedText(text, Qt.TextElideMode.ElideMiddle, where.width())
    painter.drawText(where, text, option)


def to_image(pixels: np.ndarray) -> QImage:
    """Convert pixels, (height, width, 4) uint8 RGBA, for Qt."""
    height, width, _ = pixels.shape
    image = QImage(pixels.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888)
    # A copy, because Python may free the memory of `pixels`.
    return image.copy()
