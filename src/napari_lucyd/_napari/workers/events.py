"""Events that a worker thread sends to the window, and texts of errors."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from napari_lucyd._napari.workers.window_words import in_window_words
from napari_lucyd.text import error_text


def explain(error: BaseException) -> str:
    """Describe an error: our own messages in the window's words, others with the name of their class."""
    if isinstance(error, MemoryError):
        detail = f" ({error})" if str(error) else ""
        return f"There is not enough memory{detail}. Choose a smaller image or PSF, or close other programs."
    text = in_window_words(error_text(error)).strip() or type(error).__name__
    ours = type(error).__module__.startswith("napari_lucyd")
    if ours or isinstance(error, ValueError | TypeError | FileNotFoundError | FileExistsError):
        return text
    return f"{type(error).__name__}: {text}"


class RunError(Exception):
    """A run failed; used instead of RuntimeError, which superqt's worker would swallow."""


@dataclass(frozen=True)
class Note:
    """Event: a message for the status line."""

    text: str
    computing: bool = False
    """True if the preparation is over: from now on the progress counts."""


@dataclass(frozen=True)
class Advanced:
    """Event: a tile or an iteration is done."""

    done: int
    total: int
    seconds_left: float | None
    text: str
    curve: tuple[tuple[int, float], ...] = ()
    """Held-out likelihood by the number of iterations, if the number is being chosen."""
    keeps_estimates: bool = False
    """True while `Stop.keep` has an effect."""


@dataclass
class Stop:
    """A request to stop, made by Cancel or by closing napari; the computation checks it often."""

    event: threading.Event = field(default_factory=threading.Event)
    worker: Any = None
    wish: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> bool:
        """Return True if the work must stop."""
        return self.event.is_set() or bool(self.worker is not None and self.worker.abort_requested)

    def set(self) -> None:
        """Request to stop."""
        self.event.set()

    def keep(self) -> None:
        """Request to end the iterations and keep the estimate so far."""
        self.wish.set()

    def take_wish(self) -> bool:
        """Return True once after `keep`."""
        wished = self.wish.is_set()
        self.wish.clear()
        return wished
