"""Background lookup of the files of layers, each layer once."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]
from superqt.utils import create_worker

from napari_lucyd._napari.layers.source_file import SourceFile, look_into

if TYPE_CHECKING:
    from napari.layers import Layer

# A disk that does not answer must not block Run.
_PATIENCE_MS = 10_000


class FileLookup(QObject):
    """Lookup of the files that layers were opened from.

    Parameters
    ----------
    parent
        Qt's owner; later answers are dropped.
    """

    found = Signal(object)
    """The file of this layer was read, or could not be."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._facts: weakref.WeakKeyDictionary[Layer, SourceFile | None] = weakref.WeakKeyDictionary()
        self._pending: weakref.WeakSet[Layer] = weakref.WeakSet()

    def ask(self, layers: Iterable[Layer]) -> None:
        """Start to look into the files of layers that are new."""
        for layer in layers:
            path = layer.source.path
            if path is None or layer in self._facts or layer in self._pending:
                continue
            self._pending.add(layer)
            worker = create_worker(
                _look, weakref.ref(layer), str(path), _start_thread=False, _ignore_errors=True
            )
            worker.returned.connect(self._on_looked)
            worker.start()
            QTimer.singleShot(_PATIENCE_MS, self._give_up)

    def is_pending(self, layer: Layer) -> bool:
        """Return True while the layer's file is being read."""
        return layer in self._pending

    def facts(self, layer: Layer) -> SourceFile | None:
        """Return the facts of the layer's file; None if there are none, or not yet."""
        return self._facts.get(layer)

    def _on_looked(self, answer: tuple[Any, SourceFile | None]) -> None:
        reference, facts = answer
        layer = reference()
        if layer is not None:
            self._facts[layer] = facts
            self._pending.discard(layer)
            self.found.emit(layer)

    def _give_up(self) -> None:
        for layer in list(self._pending):
            self._pending.discard(layer)
            self._facts[layer] = None
            self.found.emit(layer)


def _look(layer: Any, path: str) -> tuple[Any, SourceFile | None]:
    return layer, look_into(path)
