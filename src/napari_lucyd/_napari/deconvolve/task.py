"""What a run is given, one image at a time, and what it tells while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_lucyd._napari.deconvolve.parameters import Parameters
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.workers.events import Advanced, Note

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from napari_lucyd.deconvolution import Job, Result
    from napari_lucyd.out_of_core import StoreJob


@dataclass(frozen=True)
class ImageTask:
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

    source: SourceLayer
    parameters: Parameters
    view: tuple[slice, ...] | None = None
    stem: Path | None = None


@dataclass(frozen=True)
class EstimateRequest:
    """Images to plan; each request has a key of its own, because memory and files change without a choice."""

    tasks: list[ImageTask]
    key: object = field(default_factory=object)


@dataclass(frozen=True)
class Estimate:
    """What one image will take, or why it cannot be deconvolved; and its PSF, in words too."""

    task: ImageTask
    job: Job | None
    model: Any = None
    seconds: float | None = None
    error: str = ""
    region: tuple[slice, ...] | None = None
    psf_text: str = ""
    store: StoreJob | None = None


@dataclass(frozen=True)
class Finished:
    """An image is done, wholly or, after a cancel, in part."""

    task: ImageTask
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

    task: ImageTask
    text: str


@dataclass(frozen=True)
class Stopped:
    """A cancel ended the run; what to tell of it."""

    text: str


Event = Note | Advanced | Finished | Failed | Stopped


def stopped_text(left: Sequence[ImageTask], *, anything: bool, kept: str = "") -> str:
    """What to tell of a cancel.

    Parameters
    ----------
    left
        The images of which nothing is done.
    anything
        Whether another image was finished.
    kept
        What is told of the one that was finished in part.
    """
    if not (anything or kept):
        return "Cancelled; nothing was finished."
    names = ", ".join(f"“{task.source.name}”" for task in left)
    told = [kept or "Cancelled.", f"Not done: {names}." if names else ""]
    return " ".join(text for text in told if text)
