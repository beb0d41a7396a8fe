"""Worker of an adaptation; nothing here touches the window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.psf.origins import PsfSource
from napari_lucyd._napari.workers import torch_loading

if TYPE_CHECKING:
    from napari_lucyd.training import Adaptation, AdaptationProgress


@dataclass(frozen=True)
class AdaptationTask:
    """A training that the user asked for.

    Attributes
    ----------
    source, axes
        Image in which noise is measured, and its axes.
    microscope
        Knowledge of the blur.
    model
        Model to start from; None for the default model of the image's dimension.
    """

    source: SourceLayer
    axes: str
    microscope: PsfSource
    model: str | None = None


def run(
    task: AdaptationTask,
    name: str,
    structures: str,
    minutes: float,
    report: Callable[[AdaptationProgress], object],
    should_stop: Callable[[], bool],
) -> Adaptation:
    """Train the model; call it off the window's thread.

    Raises
    ------
    OSError, TypeError, ValueError
        As `napari_lucyd.adapt`; also if the PSF cannot be read.
    """
    torch_loading.load()
    from napari_lucyd.training import adapt

    source, axes = task.source, task.axes
    known: dict[str, Any] = task.microscope.told(source, axes)
    steps = source.voxel_size(axes)
    if "microscope" in known:
        steps = task.microscope.steps_for(source, axes)  # type: ignore[attr-defined]
    return adapt(
        source.data,
        name,
        model=task.model,
        voxel_size=steps,
        axes=axes,
        structures=structures,  # type: ignore[arg-type]
        minutes=minutes,
        progress=report,
        should_stop=should_stop,
        **known,
    )
