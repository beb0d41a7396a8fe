"""What a run is given, one image at a time, and what it tells while it goes on."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_lucyd._napari.layers import Source
from napari_lucyd._napari.parameters import Parameters

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from napari_lucyd.deconvolution import Job, Result
    from napari_lucyd.stores import StoreJob


class RunError(Exception):
    """A run failed for a reason that is ours to explain or to report; never a RuntimeError."""


@dataclass(frozen=True)
class Task:
    """One image to deconvolve.

    Parameters
    ----------
    source
        The layer as it was when Run was pressed.
    parameters
        The panel's choices.
    view
        One slice an axis of the image (what is on screen or was drawn), or None for all of it.
    stem
        What the names of the files begin with that the results go to, or None where they stay in memory.
    """

    source: Source
    parameters: Parameters
    view: tuple[slice, ...] | None = None
    stem: Path | None = None


@dataclass(frozen=True)
class Estimate:
    """What one image will take, or why it cannot be deconvolved; and its PSF, in words too."""

    task: Task
    job: Job | None
    model: Any = None
    seconds: float | None = None
    error: str = ""
    region: tuple[slice, ...] | None = None
    psf_text: str = ""
    store: StoreJob | None = None


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


@dataclass(frozen=True)
class Finished:
    """An image is done, wholly or, after a cancel, in part."""

    task: Task
    result: Result
    layers: list[tuple[np.ndarray, dict[str, Any], str]]
    seconds: float
    complete: bool = True
    share: float = 1.0
    device: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed:
    """An image could not be deconvolved; the others go on."""

    task: Task
    text: str


@dataclass(frozen=True)
class Stopped:
    """A cancel ended the run; what to tell of it."""

    text: str


Event = Note | Advanced | Finished | Failed | Stopped


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
