"""Connections to napari's events that end with the panel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject


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
