"""The Phantom panel's thread: starts it, hears its events, adds the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]
from superqt.utils import create_worker

from napari_lucyd._napari.layers.viewer import unique_names
from napari_lucyd._napari.phantom.task import PhantomTask
from napari_lucyd._napari.phantom.worker import Event, Made, make
from napari_lucyd._napari.workers import garbage_collection
from napari_lucyd._napari.workers.events import Advanced, Note, Stop, explain

if TYPE_CHECKING:
    from napari.viewer import Viewer


class PhantomRun(QObject):
    """Makes samples, one at a time.

    Parameters
    ----------
    viewer
        Gets the layers.
    parent
        A Qt object that goes when the panel goes; what is being made is then dropped.
    """

    told = Signal(str)
    advanced = Signal(object)
    failed = Signal(str)
    finished = Signal(object)
    """The event that tells what was made, once its layers are there."""
    ended = Signal()

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.layers: list[Image] = []
        self._worker: Any = None
        self._stop = Stop()
        self._made: Made | None = None
        self._waiting: list[tuple[Any, dict[str, Any]]] = []
        self._done = True
        self._adder = QTimer(self)
        self._adder.setInterval(0)
        self._adder.timeout.connect(self._add_next)

    @property
    def is_running(self) -> bool:
        """Whether a sample is being made, or its layers are still being added."""
        return not self._done

    def start(self, task: PhantomTask) -> None:
        """Begin to make a sample.

        Raises
        ------
        ValueError
            If one is being made already.
        """
        if self.is_running:
            raise ValueError("A sample is being made already; wait for it or cancel it.")
        self._done, self._made, self.layers = False, None, []
        self._stop = Stop()
        # Errors are told of here; otherwise superqt raises them in the window's thread as well.
        self._worker = create_worker(make, task, self._stop, _start_thread=False, _ignore_errors=True)
        self._stop.worker = self._worker
        # The window, or the panel, can go at any time.
        self.destroyed.connect(self._stop.set)
        self._worker.yielded.connect(self._hear)
        self._worker.errored.connect(self._on_error)
        self._worker.finished.connect(self._on_finished)
        # Not a method: it has to be called also when this object is gone with its window.
        self._worker.finished.connect(garbage_collection.release)
        garbage_collection.hold()
        self._worker.start()

    def cancel(self) -> None:
        """Ask to stop; `ended` tells when it has."""
        if self._worker is not None:
            self.told.emit("Stopping…")
            self._stop.set()

    def _hear(self, event: Event) -> None:
        match event:
            case Note():
                self.told.emit(event.text)
            case Advanced():
                garbage_collection.sweep()
                self.advanced.emit(event)
            case Made():
                self._made = event
                names = unique_names(
                    [keywords["name"] for _, keywords, _ in event.layers],
                    {layer.name for layer in self.viewer.layers},
                )
                for (data, keywords, _), name in zip(event.layers, names, strict=True):
                    self._waiting.append((data, {**keywords, "name": name}))
                # One layer a turn of the event loop, so that the window breathes in between.
                self._adder.start()

    def _add_next(self) -> None:
        if self._waiting:
            self._add(*self._waiting.pop(0))
        if not self._waiting:
            self._adder.stop()
            if self._worker is None:
                self._end()

    def _add(self, data: Any, keywords: dict[str, Any]) -> None:
        layers = self.viewer.layers
        layer = Image(data, **keywords)
        above = self.layers[-1] if self.layers else None
        # The image comes first, as an empty window takes view and slice from its first layer; each other goes
        # below the one before, which may have been removed meanwhile.
        layers.insert(layers.index(above) if above in layers else len(layers), layer)
        self.layers.append(layer)

    def _on_error(self, error: Exception) -> None:
        self.failed.emit(explain(error))

    def _on_finished(self) -> None:
        self._worker = None
        if not self._waiting:
            self._end()

    def _end(self) -> None:
        if self.layers and self.layers[0] in self.viewer.layers:
            self.viewer.layers.selection.active = self.layers[0]
        self._done = True
        if self._made is not None:
            self.finished.emit(self._made)
        self.ended.emit()
