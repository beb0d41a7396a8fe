"""List of image layers to tick, with the colour of each curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from napari.layers import Image
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_lucyd._napari.compare.views.painting import colour
from napari_lucyd._napari.widgets.layout import plain_tooltip

_ROW = 18
_ROWS = (3, 7)
_SWATCH = 12
_LAYER = Qt.ItemDataRole.UserRole


class LayerList(QListWidget):
    """Image layers with check boxes."""

    ticked = Signal(object, bool)
    """The user has ticked a layer, or removed the tick."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("lucyd-layers")
        self.setSelectionMode(QListWidget.SelectionMode.NoSelection)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.itemChanged.connect(self._on_changed)
        self.fill([], {})

    def fill(self, layers: Sequence[Image], numbers: Mapping[Image, int]) -> None:
        """List layers; those with a number are ticked."""
        self.blockSignals(True)
        self.clear()
        for layer in layers:
            item = QListWidgetItem(layer.name, self)
            item.setData(_LAYER, layer)
            item.setToolTip(plain_tooltip(layer.name))
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            on = layer in numbers
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
            item.setIcon(swatch(numbers.get(layer)))
        self.blockSignals(False)
        low, high = _ROWS
        self.setFixedHeight(_ROW * min(high, max(low, len(layers))) + 6)

    def _on_changed(self, item: QListWidgetItem) -> None:
        self.ticked.emit(item.data(_LAYER), item.checkState() == Qt.CheckState.Checked)


def swatch(number: int | None) -> QIcon:
    """Make a square in the colour of a layer's curve; a transparent one without a number."""
    square = QPixmap(_SWATCH, _SWATCH)
    square.fill(QColor(0, 0, 0, 0) if number is None else QColor(colour(number)))
    return QIcon(square)
