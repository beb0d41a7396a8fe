"""What all panels have in common: they go when their dock is closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, QObject, QTimer
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


class Subscriptions:
    """Connects callbacks to napari's events until a Qt object is destroyed.

    napari holds a callback for as long as its Python object lives, and the Qt object under it may go first,
    when the dock or the window is closed.
    """

    def __init__(self, owner: QObject) -> None:
        connections: list[tuple[Any, Callable[..., Any]]] = []
        self._connections = connections
        # The list, not self: nothing of the owner may be kept alive by this.
        owner.destroyed.connect(lambda *_: _end(connections))

    def add(self, callback: Callable[..., Any], *emitters: Any) -> None:
        """Call back on each of these events."""
        for emitter in emitters:
            emitter.connect(callback)
            self._connections.append((emitter, callback))

    def end(self) -> None:
        """Disconnect all."""
        _end(self._connections)


def _end(connections: list[tuple[Any, Callable[..., Any]]]) -> None:
    while connections:
        emitter, callback = connections.pop()
        emitter.disconnect(callback)
