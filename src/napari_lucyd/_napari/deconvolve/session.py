"""A deconvolution in the window: receives its events and adds the result layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_lucyd._napari.deconvolve.contest import forget_choice
from napari_lucyd._napari.deconvolve.task import Failed, Finished, ImageTask, LeftAlone, Skipped, Stopped
from napari_lucyd._napari.deconvolve.to_zarr.layers import StoreLayers
from napari_lucyd._napari.deconvolve.to_zarr.worker import Begun, Grown, Halted, Stored
from napari_lucyd._napari.deconvolve.worker import run
from napari_lucyd._napari.layers.viewer import add_image, same_settings, unique_names, unnumbered, warned_once
from napari_lucyd._napari.workers.session import Session

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer


class DeconvolveSession(Session):
    """Runs of the Deconvolve panel, or of the menu's command.

    Parameters
    ----------
    viewer
        Gets the result layers.
    parent
        See `Session`.
    """

    failed = Signal(object)
    finished = Signal(object)
    concluded = Signal(object)
    """Lines about results in files, or about a run that was cancelled."""

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(viewer, parent, activity="Deconvolve")
        self._tasks: tuple[ImageTask, ...] = ()
        self.partial: Finished | None = None
        self.results: list[Image] = []
        self.left_alone: list[ImageTask] = []
        """Images of the last run that no method helps."""
        self.halted = False
        self.stores = StoreLayers(self.viewer, self._add, self._note_result, self)
        self.stores.idled.connect(self._end_if_done)

    def start(self, tasks: Sequence[ImageTask]) -> None:
        """Start a run.

        Raises
        ------
        ValueError
            If a run is in progress, or there is nothing to do.
        """
        if self.is_running:
            raise ValueError("A run is already in progress. Wait until it ends, or cancel it.")
        if not tasks:
            raise ValueError("There is no image to deconvolve. Open an image first.")
        self.partial, self.results, self.halted = None, [], False
        self.left_alone = []
        self._tasks = tuple(tasks)
        self._begin(run, self._tasks)

    def earlier(self) -> list[Image]:
        """List results of earlier runs that the last run made again, with the same settings."""
        return [
            layer
            for layer in self.viewer.layers
            if layer not in self.results and any(self._are_alike(layer, result) for result in self.results)
        ]

    def _are_alike(self, one: Any, other: Any) -> bool:
        return same_settings(self.viewer.layers, one, other)

    def replace_earlier(self) -> None:
        """Remove the results that the last run made again; the new ones get the names of a first run."""
        for layer in self.earlier():
            result = next(result for result in self.results if self._are_alike(layer, result))
            result.visible = layer.visible
            with warned_once(self.viewer):
                self.viewer.layers.remove(layer)
        others = {layer.name for layer in self.viewer.layers if layer not in self.results}
        names = unique_names([unnumbered(result.name) for result in self.results], others)
        for result, name in zip(self.results, names, strict=True):
            result.name = name

    def keep_partial(self) -> None:
        """Add the layers of what a cancelled run had finished; the rest of them is NaN."""
        if self.partial is not None:
            part, self.partial = self.partial, None
            self._queue(part.layers)

    def discard_partial(self) -> None:
        """Drop what a cancelled run had finished."""
        self.partial = None

    def _note_result(self, layer: Image) -> None:
        self.results.append(layer)

    def _take(self, event: Failed | Finished | Begun | Grown | Stored | Halted | Skipped | Stopped) -> None:
        match event:
            case Failed():
                forget_choice(event.task.source.data)
                self.failed.emit(event)
            case Finished() if event.complete:
                self._queue(event.layers)
                self.finished.emit(event)
            case Finished():
                self.partial = event
            case Begun():
                self.stores.begun(event)
            case Grown():
                self.stores.grown(event)
            case Stored():
                self.stores.stored(event)
                self.concluded.emit(event.lines)
            case Halted():
                self.halted = True
                self.stores.halted(event)
            case Skipped():
                self.concluded.emit((event.text,))
            case LeftAlone():
                self.left_alone.append(event.task)
                self.concluded.emit((f"“{event.task.source.name}”: {event.text}",))
            case Stopped():
                self.halted = True
                self.concluded.emit((event.text,))

    def _add(self, data: Any, keywords: dict[str, Any]) -> Image:
        layer = add_image(self.viewer, data, keywords)
        self._note_result(layer)
        return layer

    def _on_error(self, error: Exception) -> None:
        for task in self._tasks:
            forget_choice(task.source.data)
        self.concluded.emit((f"The run failed: {error}",))

    @property
    def _idle(self) -> bool:
        return super()._idle and self.stores.idle
