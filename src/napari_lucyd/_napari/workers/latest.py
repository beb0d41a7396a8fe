"""Work in the background for the choices as they stand, and for no others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]
from superqt.utils import create_worker

from napari_lucyd._napari.workers.events import Stop, explain


class Request(Protocol):
    """What is asked for; of two with one key, the same comes out."""

    @property
    def key(self) -> Any:
        """To be compared."""


class LatestOnly(QObject):
    """Does what was asked for last; what is no longer wanted is stopped.

    Parameters
    ----------
    request
        Called on the window's thread once the choices rest: what is wanted now, or None.
    work
        Called in a worker thread with the request and a function that says whether to stop.
    settle_ms
        How long the choices have to rest.
    parent
        Qt's owner; with it, the work ends.
    """

    began = Signal()
    ready = Signal(object)
    """What came of the latest request; None where nothing was asked for."""
    failed = Signal(str)

    def __init__(
        self,
        request: Callable[[], Request | None],
        work: Callable[[Any, Callable[[], bool]], Any],
        settle_ms: int,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._request = request
        self._work = work
        self._wanted: Request | None = None
        self._asked = self._waiting = False
        self._stop: Stop | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(settle_ms)
        self._timer.timeout.connect(self._look)
        self._gone = Stop()
        self.destroyed.connect(self._gone.set)

    @property
    def settled(self) -> bool:
        """Whether what was told last is of the present choices."""
        return not (self._timer.isActive() or self._waiting or self._stop)

    def refresh(self, *_: object) -> None:
        """The choices may have changed."""
        self._timer.start()

    def _look(self) -> None:
        wanted = self._request()
        if self._asked and (wanted and wanted.key) == (self._wanted and self._wanted.key):
            return
        self._asked = True
        self._wanted, self._waiting = wanted, True
        if self._stop is not None:
            self._stop.set()
        else:
            self._begin()

    def _begin(self) -> None:
        self._waiting = False
        if self._wanted is None:
            self.ready.emit(None)
            return
        self._stop = stop = Stop()
        self.began.emit()
        gone = self._gone
        # Errors are told of here; otherwise superqt raises them in the window's thread as well.
        worker = create_worker(
            self._work,
            self._wanted,
            lambda: stop() or gone(),
            _start_thread=False,
            _ignore_errors=True,
        )
        worker.returned.connect(self._on_returned)
        worker.errored.connect(self._on_errored)
        worker.start()

    def _on_returned(self, value: Any) -> None:
        self._stop = None
        if self._waiting:
            self._begin()
        else:
            self.ready.emit(value)

    def _on_errored(self, error: Exception) -> None:
        self._stop = None
        if self._waiting:
            self._begin()
        else:
            self.failed.emit(explain(error))
