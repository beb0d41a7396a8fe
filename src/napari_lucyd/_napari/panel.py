"""What all panels have in common: they go when their dock is closed."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QSizePolicy, QWidget


class Panel(QWidget):
    """A panel of ours in napari's window.

    On the cross of a dock napari takes the panel out of it and leaves the rest to Python's garbage collector:
    until that comes round the panel would live on unseen, with its preview and its run, and then be destroyed
    in the middle of a collection, where its callbacks can no longer run. So it goes at once. A dock that is
    hidden, moved or made a window of its own keeps its panel.
    """

    _docked = False

    def __init__(self) -> None:
        super().__init__()
        # With a policy that grows, napari gives the panel the whole height of the window.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._leaving = QTimer(self)
        self._leaving.setSingleShot(True)
        self._leaving.setInterval(0)
        self._leaving.timeout.connect(self.deleteLater)

    def changeEvent(self, event: QEvent | None) -> None:
        """Notice that the panel is docked, or taken out of its dock."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
                self._leaving.stop()
            elif self._docked:
                # Not now: whoever took it out may put it into another dock.
                self._leaving.start()
        super().changeEvent(event)
