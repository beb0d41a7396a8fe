"""Projections of several layers side by side, drawn with Qt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qtpy.QtCore import QPointF, QRectF, QSizeF, Qt
from qtpy.QtGui import QColor, QPainter, QPixmap
from qtpy.QtWidgets import QWidget

from napari_lucyd._napari.compare.views.painting import FIGURE, PlotStyle, painting, to_image, write
from napari_lucyd._napari.compare.worker import LayerProjections, Picture

# The narrowest useful picture in the panel.
_NARROWEST = 88
_GAP = 8
# Lines of text that the name and its underline take.
_NAME = 1.5


@dataclass(frozen=True)
class Arrangement:
    """Layout of the cells: number in a row, width, and heights of the two pictures."""

    columns: int
    width: float
    lateral: float
    axial: float
    line: float

    @property
    def cell(self) -> float:
        """Height of a cell: name, pictures and gaps."""
        return _NAME * self.line + self.lateral + (self.axial + _GAP / 2 if self.axial else 0) + _GAP

    def height(self, count: int) -> int:
        """Return the height of all cells."""
        return int(-(-count // self.columns) * self.cell)


def arrange(views: Sequence[LayerProjections], width: float, narrowest: float, line: float) -> Arrangement:
    """Lay out views in rows.

    Parameters
    ----------
    views
        The projections, at least one.
    width
        The available width.
    narrowest
        Smallest width of a cell, if possible.
    line
        Height of a line of text.
    """
    most = max(1, int((width + _GAP) // (narrowest + _GAP)))
    rows = -(-len(views) // most)
    columns = -(-len(views) // rows)
    cell = (width - (columns - 1) * _GAP) / columns
    sizes = [(_size(view.lateral, view, cell), _size(view.axial, view, cell)) for view in views]
    lateral = max((size.height() for size, _ in sizes), default=0.0)
    axial = max((size.height() for _, size in sizes), default=0.0)
    # Without pictures there is a text.
    return Arrangement(columns, cell, lateral or 3 * line, axial, line)


def _size(picture: Picture | None, view: LayerProjections, cell: float) -> QSizeF:
    """Return the size of a picture; both pictures of a view have the same scale."""
    if picture is None or view.lateral is None:
        return QSizeF(0, 0)
    pictures = [one for one in (view.lateral, view.axial) if one is not None]
    longest = max(max(one.width, one.height) for one in pictures)
    return QSizeF(max(1.0, cell * picture.width / longest), max(1.0, cell * picture.height / longest))


def draw(
    painter: QPainter,
    where: QRectF,
    views: Sequence[LayerProjections],
    numbers: Mapping[str, int],
    ink: PlotStyle,
    narrowest: float,
) -> None:
    """Draw each view: its name in the colour of its curve, the projections along Z and, below, along Y."""
    line = ink.begin(painter).height()
    grid = arrange(views, where.width(), narrowest, line)
    for index, view in enumerate(views):
        row, column = divmod(index, grid.columns)
        left = where.left() + column * (grid.width + _GAP)
        top = where.top() + row * grid.cell
        painter.setPen(QColor(ink.text))
        write(painter, QRectF(left, top, grid.width, line), view.name, Qt.AlignmentFlag.AlignHCenter)
        painter.setPen(ink.curve(numbers.get(view.name)))
        painter.drawLine(QPointF(left, top + 1.2 * line), QPointF(left + grid.width, top + 1.2 * line))
        painter.setPen(QColor(ink.text))
        top += _NAME * line
        if view.lateral is None:
            box = QRectF(left, top, grid.width, grid.lateral)
            write(painter, box, view.problem, Qt.AlignmentFlag.AlignHCenter, wrap=True)
            continue
        for picture, below in ((view.lateral, 0.0), (view.axial, grid.lateral + _GAP / 2)):
            if picture is not None:
                size = _size(picture, view, grid.width)
                box = QRectF(left + (grid.width - size.width()) / 2, top + below, size.width(), size.height())
                _paint(painter, box, picture)


def _paint(painter: QPainter, box: QRectF, picture: Picture) -> None:
    image = to_image(picture.pixels)
    if box.width() < image.width():
        # A painter would skip pixels, so that small objects vanish.
        image = image.scaled(
            max(1, round(box.width())),
            max(1, round(box.height())),
            Qt.AspectRatioMode.IgnoreAspectRatio,
            Qt.TransformationMode.SmoothTransformation,
        )
    painter.drawImage(box, image)


class ProjectionsView(QWidget):
    """Shows projections; its height follows from its width."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("lucyd-projections")
        self.views: Sequence[LayerProjections] = ()
        self._numbers: Mapping[str, int] = {}
        self._ink = FIGURE
        # Drawn once, because scaling is too slow for every scroll.
        self._drawn: QPixmap | None = None

    def use(self, ink: PlotStyle) -> None:
        """Set the style."""
        self._ink, self._drawn = ink, None
        self.update()

    def show_views(self, views: Sequence[LayerProjections], numbers: Mapping[str, int]) -> None:
        """Show projections."""
        self.views, self._numbers = views, numbers
        self.setVisible(bool(views))
        self._fit()
        self.update()

    def _fit(self) -> None:
        self._drawn = None
        if self.views:
            line = self.fontMetrics().height()
            grid = arrange(self.views, self.width(), _NARROWEST, line)
            self.setFixedHeight(grid.height(len(self.views)))

    def resizeEvent(self, event: object) -> None:
        """Adapt the height to the width."""
        self._fit()

    def paintEvent(self, event: object) -> None:
        """Draw the projections."""
        if not self.views:
            return
        if self._drawn is None:
            ratio = self.devicePixelRatioF()
            self._drawn = QPixmap(self.size() * ratio)
            self._drawn.setDevicePixelRatio(ratio)
            self._drawn.fill(QColor(self._ink.paper))
            with painting(self._drawn) as painter:
                draw(painter, QRectF(self.rect()), self.views, self._numbers, self._ink, _NARROWEST)
        with painting(self) as painter:
            painter.drawPixmap(0, 0, self._drawn)
