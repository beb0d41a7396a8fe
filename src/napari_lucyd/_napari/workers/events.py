"""Events that a worker thread sends to the window, and errors put into words for it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass
if TYPE_CHECKING:
    pass


def explain(error: BaseException) -> str:
    """What to tell of an error: our own messages as they are, others with the name of their kind."""
    text = str(error).strip() or type(error).__name__
    ours = type(error).__module__.startswith("napari_lucyd")
    if ours or isinstance(error, ValueError | TypeError | FileNotFoundError):
        return text
    return f"{type(error).__name__}: {text}"


class RunError(Exception):
    """A run failed for a reason that is ours to explain or to report; never a RuntimeError."""


@dataclass(frozen=True)
class Note:
    """Something to tell in the status line."""

    text: str


@dataclass(frozen=True)
class Advanced:
    """A tile, or an iteration, is done."""

    done: int
    total: int
    seconds_left: float | None
    text: str


@dataclass
class Stop:
    """A request to stop that the engine can ask for at any time; set by Cancel or by napari's closing."""

    event: threading.Event = field(default_factory=threading.Event)
    worker: Any = None

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.event.is_set() or bool(self.worker is not None and self.worker.abort_requested)

    def set(self) -> None:
        """Ask to stop."""
        self.event.set()
