"""A run in the window: starts the worker, hears its events, adds the layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils import progress
from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]

from napari_lucyd._napari.deconvolve.task import Event, Failed, Finished, ImageTask, Stopped
from napari_lucyd._napari.deconvolve.to_zarr import worker
from napari_lucyd._napari.deconvolve.to_zarr.layers import StoreLayers
from napari_lucyd._napari.deconvolve.to_zarr.worker import Begun, Grown, Halted, Stored
from napari_lucyd._napari.deconvolve.worker import run
from napari_lucyd._napari.layers.viewer import add_image, unique_names, unwrapped
from napari_lucyd._napari.workers import garbage_collection
from napari_lucyd._napari.workers.events import Advanced, Note, Stop

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer


class _Worker(GeneratorWorker):
    """A worker that closes its generator in its own thread, also when napari quits it between two events.

    Otherwise a store would stay locked until the generator is collected.
    """

    def work(self) -> Any:
        try:
            return super().work()
        finally:
            self._gen.close()


class Session(QObject):
    """Runs of one owner (the panel, or the menu's command), one at a time.

    Parameters
    ----------
    viewer
        Gets the result layers.
    parent
        A Qt object that goes when the window goes; events of a run still on its way are then dropped.
    activity
        Whether to show the progress in napari's own activity dock.
    """

    started = Signal()
    told = Signal(str)
    advanced = Signal(object)
    failed = Signal(object)
    finished = Signal(object)
    concluded = Signal(object)
    """Lines that tell what became of results that go to files, or of a run that was cancelled."""
    ended = Signal()

    def __init__(self, viewer: Viewer, parent: QObject | None = None, *, activity: bool = False) -> None:
        super().__init__(parent)
        self.viewer = unwrapped(viewer)
        self.partial: Finished | None = None
        self.results: list[Image] = []
        self.halted = False
        self._worker: Any = None
        self._stop = Stop()
        self._waiting: list[tuple[Any, dict[str, Any]]] = []
        self._done = True
        self._activity = activity
        self._bar: Any = None
        self._adder = QTimer(self)
        self._adder.setInterval(0)
        self._adder.timeout.connect(self._add_next)
        self.stores = StoreLayers(self.viewer, self._add, self._take, self)
        self.stores.idled.connect(self._end_if_done)

    @property
    def is_running(self) -> bool:
        """Whether a run is on, or its layers are still being added."""
        return not self._done

    def start(self, tasks: Sequence[ImageTask]) -> None:
        """Begin a run.

        Raises
        ------
        ValueError
            If one is on already, or there is nothing to do.
        """
        if self.is_running:
            raise ValueError("A run is on already; wait for it or cancel it.")
        if not tasks:
            raise ValueError("There is no image layer to deconvolve; open an image first.")
        self.partial, self.results, self.halted = None, [], False
        self._done = False
        self._stop = Stop()
        # errored: napari shows it as a notification with its traceback.
        work = run if tasks[0].stem is None else worker.run
        self._worker = create_worker(
            work, tuple(tasks), self._stop, _start_thread=False, _worker_class=_Worker
        )
        self._stop.worker = self._worker
        # The window, or the panel, can go at any time.
        self.destroyed.connect(self._stop.set)
        self._worker.yielded.connect(self._hear)
        self._worker.errored.connect(self._on_error)
        self._worker.finished.connect(self._on_finished)
        # Not a method: it has to be called also when this session is gone with its window.
        self._worker.finished.connect(garbage_collection.release)
        garbage_collection.hold()
        if self._activity:
            self._bar = progress(total=1, desc="Deconvolve")
        self.started.emit()
        self._worker.start()

    def cancel(self) -> None:
        """Ask the run to stop; `ended` tells when it has."""
        if self._worker is not None:
            self.told.emit("Stopping…")
            self._stop.set()

    def keep_partial(self) -> None:
        """Add the layers of what a cancelled run had finished; the rest of them is NaN."""
        if self.partial is not None:
            part, self.partial = self.partial, None
            self._done = False
            self._queue(part)

    def discard_partial(self) -> None:
        """Let go of what a cancelled run had finished."""
        self.partial = None

    def _hear(self, event: Event | Begun | Grown | Stored | Halted) -> None:
        match event:
            case Note():
                self.told.emit(event.text)
            case Advanced():
                garbage_collection.sweep()
                if self._bar is not None:
                    self._bar.total = event.total
                    self._bar.update(event.done - self._bar.n)
                self.advanced.emit(event)
            case Failed():
                self.failed.emit(event)
            case Finished() if event.complete:
                self._queue(event)
                self.finished.emit(event)
            case Finished():
                self.partial = event
            case Begun():
                self.stores.begun(event)
            case Grown():
                self.stores.grown(event)
            case Stored():
                self.stores.stored(event)
                self.concluded.emit(event.lines)
            case Halted():
                self.halted = True
                self.stores.halted(event)
            case Stopped():
                self.halted = True
                self.concluded.emit((event.text,))

    def _queue(self, event: Finished) -> None:
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
            self._end_if_done()

    def _add(self, data: Any, keywords: dict[str, Any]) -> Image:
        layer = add_image(self.viewer, data, keywords)
        self._take(layer)
        return layer

    def _take(self, layer: Image) -> None:
        self.results.append(layer)

    def _on_error(self, error: Exception) -> None:
        self.concluded.emit((f"The run failed: {error}",))

    def _on_finished(self) -> None:
        self._worker = None
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._worker is None and not self._waiting and self.stores.idle and not self._done:
            self._done = True
            self.ended.emit()
