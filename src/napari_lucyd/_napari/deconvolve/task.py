"""Input and events of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lucyd._napari.deconvolve.parameters import Parameters
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.workers.events import Advanced, Note
from napari_lucyd.spans import SPATIAL
from napari_lucyd.text import count_text, duration_text

if TYPE_CHECKING:
    from pathlib import Path

    from napari_lucyd.deconvolution import Job, Result
    from napari_lucyd.deconvolution.method_choice import MethodChoice
    from napari_lucyd.out_of_core import StoreJob

MOST_TRIED = " (the most that are tried)"


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
        Folder and beginning of the names of the result files; None if the results stay in memory.
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
    """The plan of one image and its time, or the reason why it cannot be deconvolved."""

    task: ImageTask
    job: Job | None
    model: Any = None
    seconds: float | None = None
    error: str = ""
    about_psf: bool = False
    """True if the error is one of the PSF, whatever the image."""
    done: str = ""
    """Text if the results exist already, so that there is nothing to do."""
    options: Mapping[str, Any] = field(default_factory=dict)
    psf_text: str = ""
    store: StoreJob | None = None
    choice: MethodChoice | None = None
    """The method that Automatic chose in an earlier run; None if it was not asked, or has to compare."""

    @property
    def region(self) -> tuple[slice, ...] | None:
        """Region over the spatial axes; None for the whole image."""
        region: tuple[slice, ...] | None = self.options.get("region")
        return region


@dataclass(frozen=True)
class Finished:
    """Event: an image is done, completely or, after a cancel, in part."""

    task: ImageTask
    result: Result
    layers: list[tuple[np.ndarray, dict[str, Any], str]]
    seconds: float
    complete: bool = True
    share: float = 1.0
    device: str = ""
    method: str = ""
    warnings: tuple[str, ...] = ()
    volumes: str = ""
    """Volumes of a part, see `volumes_text`."""

    @property
    def text(self) -> str:
        """Sentence about it; the name comes last, because a long one would hide the rest."""
        return done_text(self.task, self.seconds, self.method, self.device)


@dataclass(frozen=True)
class Failed:
    """Event: an image could not be deconvolved; the run continues with the others."""

    task: ImageTask
    reason: str

    @property
    def text(self) -> str:
        """Sentence about it."""
        return f"Not deconvolved: “{self.task.source.name}”. {self.reason}"


@dataclass(frozen=True)
class Skipped:
    """Event: an image needs no run, because its results exist."""

    text: str


@dataclass(frozen=True)
class LeftAlone:
    """Event: no method helps the image, so it was not deconvolved; the text says why."""

    task: ImageTask
    text: str


@dataclass(frozen=True)
class Stopped:
    """Event: the run was cancelled."""

    text: str


Event = Note | Advanced | Finished | Failed | Skipped | LeftAlone | Stopped


def done_text(task: ImageTask, seconds: float, method: str, device: str) -> str:
    """Say that an image is done."""
    by = f" by {method}" if method else ""
    return f"Done in {duration_text(seconds)}{by} on {device}: “{task.source.name}”."


def method_text(method: Any, recipe: Mapping[str, Any]) -> str:
    """Name the method of a run, with the number of iterations if the run has found it.

    Parameters
    ----------
    method
        Model or classical method.
    recipe
        Recipe of the result.
    """
    from napari_lucyd.deconvolution.classical.methods import AUTO, MOST_ITERATIONS

    network = getattr(method, "network", None)
    if network is not None:
        title = str(network.title)
        return title if method.name.lower() == title.lower() else f"{title} ({method.name})"
    found = found_iterations(recipe)
    # The recipe of a method of one step, such as Wiener, counts that step.
    if not found or method.iterations == 1 or getattr(method, "num_iter", AUTO) != AUTO:
        return str(method.title)
    limit = MOST_TRIED if max(found) == MOST_ITERATIONS else ""
    return f"{method.title} with {count_text(span_text(found), 'iteration')}{limit}"


def found_iterations(recipe: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the number of iterations of each volume of a run; empty for a network."""
    return tuple((recipe.get("method") or {}).get("iterations") or ())


def span_text(numbers: Sequence[int]) -> str:
    """Write the smallest and the largest of some numbers, such as ``"8 to 12"``, or the only one."""
    fewest, most = min(numbers), max(numbers)
    return f"{most}" if fewest == most else f"{fewest} to {most}"


def volumes_text(axes: str, shape: Sequence[int], regions: Iterable[tuple[slice, ...]]) -> str:
    """Name the channels or time points of an image that are finished; empty if not one of several is.

    Parameters
    ----------
    axes, shape
        Axes and shape of the output.
    regions
        Finished regions, over all axes.

    Examples
    --------
    >>> row = slice(0, 2), slice(0, 9)
    >>> volumes_text("CYX", (2, 4, 9), [(slice(0, 1), slice(0, 4), slice(0, 9))])
    'C 0'
    >>> volumes_text("TYX", (5, 2, 9), [(slice(0, 2), *row), (slice(2, 3), slice(0, 1), slice(0, 9))])
    'T 0 to 1 and a part of the next'
    >>> volumes_text("TCYX", (2, 2, 2, 9), [(slice(0, 1), slice(0, 2), *row)])
    '2 of 4 volumes'
    """
    leading = [number for number, name in enumerate(axes) if name not in SPATIAL]
    done = np.zeros([shape[number] for number in leading], int)
    for region in regions:
        sizes = [part.stop - part.start for part in region]
        done[tuple(region[number] for number in leading)] += math.prod(
            size for number, size in enumerate(sizes) if number not in leading
        )
    whole = done == math.prod(size for number, size in enumerate(shape) if number not in leading)
    if done.size == 1 or not whole.any():
        return ""
    several = [number for number in leading if shape[number] > 1]
    count = int(whole.sum())
    if len(several) > 1 or not whole.ravel()[:count].all():
        text = f"{count} of {count_text(whole.size, 'volume')}"
    else:
        text = f"{axes[several[0]]} 0" + (f" to {count - 1}" if count > 1 else "")
    return f"{text} and a part of the next" if done[~whole].any() else text


def stopped_text(left: Sequence[ImageTask], *, anything: bool, kept: str = "") -> str:
    """Describe a cancelled run.

    Parameters
    ----------
    left
        The images that were not started.
    anything
        True if another image was finished.
    kept
        Sentence about the image that was finished in part.
    """
    if not (anything or kept):
        return "Cancelled; nothing was finished."
    names = ", ".join(f"“{task.source.name}”" for task in left)
    told = [kept or "Cancelled.", f"Not done: {names}." if names else ""]
    return " ".join(text for text in told if text)
