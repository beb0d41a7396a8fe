"""Lists whose entries may be long, such as names of layers: shortened, and whole in the tooltip."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QHelpEvent
from qtpy.QtWidgets import (
    QComboBox,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QToolTip,
    QWidget,
)

from napari_lucyd._napari.widgets.layout import plain_tooltip

# Room around the entry of a list.
_ENTRY_PADDING = 2


def narrow(combo: QWidget) -> None:
    """Keep a long entry, such as a layer's name, from making the panel wider: it is shortened with "…"."""
    box: Any = combo
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    box.setMinimumContentsLength(8)
    box.setSizeAdjustPolicy(box.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    # Names of results differ at their beginning, names of images at their end.
    box.view().setTextElideMode(Qt.TextElideMode.ElideMiddle)
    box.installEventFilter(_Shortened(box))


class _Shortened(QObject):
    """Paints the chosen entry of a list with "…" where it does not fit; the tooltip then begins with it."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Paint the list, and show its tooltip."""
        box: Any = watched
        # magicgui makes the list, so that no class of ours can paint it.
        if event is not None and event.type() == QEvent.Type.Paint:
            painter, option = QStylePainter(box), QStyleOptionComboBox()
            box.initStyleOption(option)
            option.currentText = self.shown(box)
            painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
            painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
            painter.end()
            return True
        if isinstance(event, QHelpEvent) and self.shown(box) != box.currentText():
            about = box.toolTip()
            name = plain_tooltip(box.currentText())
            QToolTip.showText(event.globalPos(), f"{name}<p>{about}</p>" if about else name, box)
            return True
        return super().eventFilter(watched, event)

    @staticmethod
    def shown(box: QComboBox) -> str:
        """Return the entry as it is painted."""
        option = QStyleOptionComboBox()
        box.initStyleOption(option)
        style: Any = box.style()
        parts = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
        room = style.subControlRect(parts[0], option, parts[1], box).width() - _ENTRY_PADDING
        return box.fontMetrics().elidedText(box.currentText(), Qt.TextElideMode.ElideMiddle, room)
