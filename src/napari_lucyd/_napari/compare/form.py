"""Controls, tables and pictures of the Compare panel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magicgui.widgets import ComboBox, PushButton
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QGroupBox,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_lucyd._napari.compare import held_out
from napari_lucyd._napari.compare.export import row_values
from napari_lucyd._napari.compare.layer_list import LayerList, swatch
from napari_lucyd._napari.compare.views.painting import PlotStyle
from napari_lucyd._napari.compare.views.profile_plot import ProfilePlot
from napari_lucyd._napari.compare.views.projections_view import ProjectionsView
from napari_lucyd._napari.compare.worker import Metrics
from napari_lucyd._napari.widgets.layout import Section, fill_footer, note, plain_tooltip, row, stack
from napari_lucyd._napari.widgets.long_entries import narrow

_WIDTH = 440
_ROW_HEIGHT = 22
# Two lines each, to leave room for the names of the layers.
_COLUMNS = ("Layer", "PSNR\n(dB)", "SSIM\nglobal", "SSIM\nwindowed")
_NUMBER_WIDTH = 68
_FORMATS = (".2f", ".4f", ".4f")
_TOOLTIPS = (
    "",
    "Peak signal-to-noise ratio. The range is that of the ground truth, extended to 0.",
    "Structural similarity with one mean, variance and covariance for the whole volume, as in the LUCYD "
    "paper.",
    "Structural similarity in windows of 7 voxels, as it is usually reported. Needs scikit-image.",
)


class CompareForm(QWidget):
    """The panel's controls, tables and pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("lucyd-compare")
        self.layers = LayerList()
        self.truth = ComboBox(
            choices=[],
            nullable=True,
            tooltip="A layer with the true image, such as the ground truth of a simulation.",
        )
        self.picked_note = note("lucyd-picked")
        self.side_by_side = PushButton(
            text="Show side by side",
            tooltip="Show the ticked layers in a grid with their names. Press again to go back.",
        )
        self.metrics = _table()
        self.metrics_note = note("lucyd-metrics-note")
        self.held_out = PushButton(text=held_out.SCORE, tooltip=held_out.TOOLTIP)
        self.held_out_note = note("lucyd-held-out")
        self.profile = ProfilePlot()
        self.profile_note = note("lucyd-profile-note")
        self.draw = PushButton(text="Draw line…", tooltip="Add a shapes layer and activate the line tool.")
        self.projections = ProjectionsView()
        self.projections_note = note("lucyd-projections-note")
        self.export = PushButton(
            text="Export CSV and PNG…",
            tooltip="Save metrics and profile as tables (CSV), and projections, profile and side-by-side "
            "view as a figure (PNG).",
        )
        self.status = note("lucyd-compare-status")
        self.side_by_side.native.setCheckable(True)
        narrow(self.truth.native)
        sections = (
            self._layers(),
            _section("Metrics", self.metrics, self.metrics_note, self.held_out.native, self.held_out_note),
            _section("Line profile", self.profile, row(self.draw.native, self.profile_note)),
            _section("Maximum projections", self.projections, self.projections_note),
        )
        footer = QFrame()
        fill_footer(footer, self.status, row(self.side_by_side.native, self.export.native, stretch=(1, 1)))
        stack(self, sections, footer, _WIDTH)

    def _layers(self) -> QGroupBox:
        group = Section("Layers")
        group.rows.addRow(self.layers)
        group.add("Ground truth", self.truth.native)
        group.rows.addRow(self.picked_note)
        return group

    def show_metrics(self, metrics: Metrics | None, numbers: Mapping[str, int]) -> None:
        """Fill the table, with the colours of the layers; hide it if there are no metrics."""
        table = self.metrics
        table.setVisible(metrics is not None)
        rows = metrics.rows if metrics else ()
        table.setRowCount(len(rows))
        for index, entry in enumerate(rows):
            name = QTableWidgetItem(entry.name)
            name.setToolTip(plain_tooltip(entry.name))
            name.setIcon(swatch(numbers.get(entry.name)))
            table.setItem(index, 0, name)
            for column, (value, shape) in enumerate(zip(row_values(entry.scores), _FORMATS, strict=True), 1):
                cell = QTableWidgetItem("–" if value is None else format(value, shape))
                cell.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                cell.setToolTip(plain_tooltip("\n".join(entry.scores.remarks)) if value is None else "")
                table.setItem(index, column, cell)
        height = _headers(table)[1].sizeHint().height() + sum(
            table.rowHeight(index) for index in range(len(rows))
        )
        table.setFixedHeight(height + 4)

    def colour(self, paper: str, text: str, line: str) -> None:
        """Draw plot and projections in the theme's colours."""
        for drawing in (self.profile, self.projections):
            drawing.use(PlotStyle(paper, text, line))


def _section(title: str, *widgets: QWidget) -> QGroupBox:
    group = QGroupBox(title)
    column = QVBoxLayout(group)
    column.setContentsMargins(10, 8, 10, 8)
    column.setSpacing(6)
    for widget in widgets:
        column.addWidget(widget)
    return group


def _headers(table: QTableWidget) -> tuple[Any, Any]:
    return table.verticalHeader(), table.horizontalHeader()


def _table() -> QTableWidget:
    table = QTableWidget(0, len(_COLUMNS))
    table.setObjectName("lucyd-metrics")
    for index, (title, tip) in enumerate(zip(_COLUMNS, _TOOLTIPS, strict=True)):
        item = QTableWidgetItem(title)
        item.setToolTip(tip)
        table.setHorizontalHeaderItem(index, item)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
    table.setWordWrap(False)
    rows, head = _headers(table)
    rows.hide()
    head.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    for index in range(1, len(_COLUMNS)):
        table.setColumnWidth(index, _NUMBER_WIDTH)
    rows.setDefaultSectionSize(_ROW_HEIGHT)
    return table
