"""Background work for the present choices only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]
from superqt.utils import create_worker

from napari_lucyd._napari.workers.events import Stop, explain


class Request(Protocol):
    """A request for work; two requests with equal keys have the same result."""

    @property
    def key(self) -> Any:
        """Value that identifies the result."""


@dataclass(frozen=True)
class _Refused:
    """A request that could not be made."""

    text: str

    @property
    def key(self) -> Any:
        return "refused", self.text


class LatestOnly(QObject):
    """Works on the latest request and stops work on earlier ones.

    Parameters
    ----------
    request
        Called on the window's thread when the choices have not changed for a while. Returns the request, or
        None if there is nothing to do; raises ValueError if the choices cannot be carried out.
    work
        Called in a worker thread with the request and a function that returns True when it must stop.
    settle_ms
        Time without changes before the request is made.
    parent
        Qt's owner; the work ends with it.
    """

    began = Signal()
    ready = Signal(object)
    """Result of the latest request; None where nothing was requested."""
    failed = Signal(str)
    """Reason why the latest request has no result."""

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
        """True when the last result is that of the present choices."""
        return not (self._timer.isActive() or self._waiting or self._stop)

    def refresh(self, *_: object) -> None:
        """Make the request again soon: the choices may have changed."""
        self._timer.start()

    def _look(self) -> None:
        wanted: Request | None
        try:
            wanted = self._request()
        except ValueError as error:
            wanted = _Refused(explain(error))
        same = (wanted and wanted.key) == (self._wanted and self._wanted.key)
        # A reason is given again: what is shown along with it may have changed.
        if self._asked and same and not isinstance(wanted, _Refused):
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
        if isinstance(self._wanted, _Refused):
            self.failed.emit(self._wanted.text)
            return
        self._stop = stop = Stop()
        self.began.emit()
        gone = self._gone
        # Errors are reported here; otherwise superqt raises them in the window's thread as well.
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
