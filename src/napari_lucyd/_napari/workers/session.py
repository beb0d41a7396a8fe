"""Base of the runs in a window: starts the worker, receives its events, adds the layers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils import cancelable_progress
from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]

from napari_lucyd._napari.layers.viewer import unique_names, unwrapped
from napari_lucyd._napari.workers import garbage_collection
from napari_lucyd._napari.workers.events import Advanced, Note, Stop

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

LayerData = tuple[Any, dict[str, Any], str]

# Interval between updates of napari's activity dock, in milliseconds.
_ACTIVITY_MS = 100


class ClosingWorker(GeneratorWorker):
    """A worker that closes its generator in its own thread, also when napari stops it between two events.

    Otherwise a file would stay locked until the generator is collected.
    """

    def work(self) -> Any:
        """Run the generator to its end."""
        try:
            return super().work()
        finally:
            self._gen.close()


class _Named(partial[Any]):
    """A function with words for napari's question before it closes during a run."""

    words = ""

    def __str__(self) -> str:
        return self.words


class ActivityBar(cancelable_progress):
    """A bar in napari's activity dock. Its button cancels at once and not at the next step."""

    def cancel(self) -> None:
        """Call back."""
        super().cancel()
        if self.cancel_callback is not None:
            self.cancel_callback()


class Session(QObject):
    """Runs of one panel, or of the menu's command, one at a time.

    Parameters
    ----------
    viewer
        Gets the layers.
    parent
        A Qt object that is deleted with the window or the panel. The run then stops and its events are
        dropped.
    activity
        Description of the runs in napari's activity dock.
    """

    started = Signal()
    told = Signal(str)
    computing = Signal()
    """The preparation is over."""
    advanced = Signal(object)
    ended = Signal()

    def __init__(self, viewer: Viewer, parent: QObject | None = None, *, activity: str) -> None:
        super().__init__(parent)
        self.viewer = unwrapped(viewer)
        self._activity = activity
        # One during a run, else none. It belongs to the window, which outlives a panel.
        self._bars: list[ActivityBar] = []
        self.destroyed.connect(partial(_close, self._bars))
        # napari's bars process the window's events, which must not happen while one is handled.
        self._progress: Advanced | None = None
        self._activity_timer = QTimer(self)
        self._activity_timer.setSingleShot(True)
        self._activity_timer.setInterval(_ACTIVITY_MS)
        self._activity_timer.timeout.connect(self._show_activity)
        self._began = 0.0
        self.seconds = 0.0
        """Duration of the last run."""
        self.has_failed = False
        """True if an error ended the last run."""
        self._worker: Any = None
        self._stop = Stop()
        self._waiting: list[tuple[Any, dict[str, Any]]] = []
        self._done = True
        self._adder = QTimer(self)
        self._adder.setInterval(0)
        self._adder.timeout.connect(self._add_next)

    @property
    def is_running(self) -> bool:
        """True during a run, and while its layers are still being added."""
        return not self._done

    @property
    def is_cancelled(self) -> bool:
        """True if the last run was asked to stop."""
        return self._stop()

    def cancel(self) -> None:
        """Ask the run to stop; `ended` is emitted when it has."""
        if self._worker is not None:
            self.told.emit("Stopping…")
            self._stop.set()

    def keep_estimate(self) -> None:
        """Ask the run to end its iterations and keep the estimate so far."""
        if self._worker is not None:
            self.told.emit("Keeping the estimate after this iteration…")
            self._stop.keep()

    def _begin(self, work: Callable[..., Any], *arguments: Any, ignore_errors: bool = False) -> None:
        """Start a generator of events in a worker thread; its last argument is the `Stop`."""
        self._done = self.has_failed = False
        self._progress = None
        self._stop = Stop()
        # Without the arguments: napari keeps the function of a window that was closed.
        named = _Named(work)
        named.words = f"{self._activity} (napari-lucyd)"
        # Unless they are ignored, napari shows errors as notifications with their traceback.
        self._worker = create_worker(
            named,
            *arguments,
            self._stop,
            _start_thread=False,
            _worker_class=ClosingWorker,
            _ignore_errors=ignore_errors,
        )
        self._stop.worker = self._worker
        # The window, or the panel, may be closed at any time.
        self.destroyed.connect(self._stop.set)
        self._worker.yielded.connect(self._receive)
        self._worker.errored.connect(self._note_error)
        self._worker.finished.connect(self._on_finished)
        # A function, not a method: it is called even when this session was deleted with its window.
        self._worker.finished.connect(garbage_collection.release)
        garbage_collection.hold()
        self._began = time.monotonic()
        self._bars.append(ActivityBar(total=1, desc=self._activity, cancel_callback=self.cancel))
        self.started.emit()
        self._worker.start()

    def _receive(self, event: Any) -> None:
        match event:
            case Note():
                self.told.emit(event.text)
                if event.computing:
                    self.computing.emit()
            case Advanced():
                garbage_collection.sweep()
                self._progress = event
                if not self._activity_timer.isActive():
                    self._activity_timer.start()
                self.advanced.emit(event)
            case _:
                self._take(event)

    def _show_activity(self) -> None:
        for bar in tuple(self._bars):
            if self._progress is not None:
                bar.total = self._progress.total
                bar.update(self._progress.done - bar.n)

    def _take(self, event: Any) -> None:
        """Handle an event that only this kind of run has."""
        raise NotImplementedError

    def _queue(self, layers: Sequence[LayerData]) -> None:
        """Add layers one by one, so that the window can respond in between."""
        names = unique_names(
            [keywords["name"] for _, keywords, _ in layers],
            {layer.name for layer in self.viewer.layers},
        )
        for (data, keywords, _), name in zip(layers, names, strict=True):
            self._waiting.append((data, {**keywords, "name": name}))
        self._done = False
        self._adder.start()

    def _add_next(self) -> None:
        if self._waiting:
            self._add(*self._waiting.pop(0))
        if not self._waiting:
            self._adder.stop()
            self._end_if_done()

    def _add(self, data: Any, keywords: dict[str, Any]) -> Image:
        """Add one layer."""
        raise NotImplementedError

    def _note_error(self, error: Exception) -> None:
        self.has_failed = True
        self._on_error(error)

    def _on_error(self, error: Exception) -> None:
        """Say that an error ended the run."""
        raise NotImplementedError

    def _on_finished(self) -> None:
        self._worker = None
        self.seconds = time.monotonic() - self._began
        _close(self._bars)
        self._end_if_done()

    @property
    def _idle(self) -> bool:
        """True when nothing of the run is left to do."""
        return self._worker is None and not self._waiting

    def _end_if_done(self) -> None:
        if self._idle and not self._done:
            self._done = True
            self._conclude()
            self.ended.emit()

    def _conclude(self) -> None:
        """Do what is left before `ended` is emitted."""


def _close(bars: list[ActivityBar], *_: Any) -> None:
    while bars:
        bars.pop().close()
