"""Contest of methods on a sample of an image, before a run that chooses its method."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lucyd._napari.deconvolve.planning import make_options
from napari_lucyd._napari.deconvolve.task import ImageTask
from napari_lucyd._napari.workers.events import Note

if TYPE_CHECKING:
    from napari_lucyd.deconvolution.method_choice import MethodChoice

_KNOWN = ("microscope", "psf", "psf_voxel_size", "blur_sigma")
# Choices that are remembered, and the voxels along each axis that tell whether an image has changed.
_MOST, _LOOKED_AT = 16, 32
_remembered: list[tuple[Any, str, MethodChoice]] = []


def compare_methods(
    task: ImageTask, model: Any, should_stop: Callable[[], bool] | None
) -> Generator[Note, None, MethodChoice]:
    """Choose the method for an image; an earlier choice for the same image and blur is taken again.

    Parameters
    ----------
    task
        The image.
    model
        The default model for it.
    should_stop
        Called between the methods and the trial iterations.

    Yields
    ------
    Note
        The method that is tried.

    Returns
    -------
    MethodChoice
        The method that explains the image best, or the image itself.

    Raises
    ------
    Cancelled
        If ``should_stop`` returns True.
    """
    from napari_lucyd.referee.contest import run_contest

    told, axes, voxel_size, device = _asked(task, model)
    data = task.source.data
    key = _key(task, model)
    known = _known(data, key)
    if known is not None:
        return known
    contest = run_contest(data, told, axes, voxel_size, device, should_stop=should_stop)
    while True:
        try:
            done, total, name = next(contest)
        except StopIteration as end:
            chosen: MethodChoice = end.value
            break
        if name:
            yield Note(
                f"Comparing methods on a sample of “{task.source.name}”: {name} ({done + 1} of {total})…"
            )
    if key:
        _remember(data, key, chosen)
    return chosen


def known_choice(task: ImageTask, model: Any) -> MethodChoice | None:
    """Return the choice that an earlier contest made for the same image and blur, or None."""
    return _known(task.source.data, _key(task, model))


def forget_choice(data: Any) -> None:
    """Forget the choices for an image whose run failed: the method may be the reason."""
    _remembered[:] = [entry for entry in _remembered if entry[0]() is not data]


def _asked(task: ImageTask, model: Any) -> tuple[dict[str, Any], Any, Any, Any]:
    """Return the arguments of a contest: the blur, axes, voxel size and device."""
    options = make_options(task, model)
    told = {name: options.get(name) for name in _KNOWN}
    return told, options.get("axes"), options.get("voxel_size"), options["device"]


def _key(task: ImageTask, model: Any) -> str:
    """Return the key of a contest; empty if nothing identifies it."""
    told, *asked = _asked(task, model)
    # PSFs as arrays may change in place.
    return "" if told["psf"] is not None else repr((*asked, told, _digest(task.source.data)))


def _known(data: Any, key: str) -> MethodChoice | None:
    return next(
        (choice for ref, known, choice in tuple(_remembered) if key and known == key and ref() is data), None
    )


def _remember(data: Any, key: str, choice: MethodChoice) -> None:
    try:
        ref = weakref.ref(data)
    except TypeError:  # not all arrays can be watched
        return
    _remembered.insert(0, (ref, key, choice))
    del _remembered[_MOST:]


def _digest(data: Any) -> str:
    """Return a digest of some voxels of an array in memory, which may be changed in place."""
    if not isinstance(data, np.ndarray):
        return ""
    part = data[tuple(slice(None, None, max(1, n // _LOOKED_AT)) for n in data.shape)]
    return hashlib.sha256(np.ascontiguousarray(part).tobytes()).hexdigest()
