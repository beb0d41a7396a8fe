"""A phantom in the window: receives the worker's events and adds the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_lucyd._napari.layers.viewer import show_plane_of, warned_once
from napari_lucyd._napari.phantom.task import PhantomTask
from napari_lucyd._napari.phantom.worker import Made, make
from napari_lucyd._napari.workers.events import explain
from napari_lucyd._napari.workers.session import Session

if TYPE_CHECKING:
    from napari.viewer import Viewer


class PhantomSession(Session):
    """Makes samples, one at a time.

    Parameters
    ----------
    viewer
        Gets the layers.
    parent
        See `Session`.
    """

    failed = Signal(str)
    finished = Signal(object)
    """The `Made` event, once its layers are there."""

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(viewer, parent, activity="Phantom")
        self.layers: list[Image] = []
        self._made: Made | None = None

    def start(self, task: PhantomTask) -> None:
        """Start to make a sample.

        Raises
        ------
        ValueError
            If one is being made.
        """
        if self.is_running:
            raise ValueError("A sample is being made. Wait until it ends, or cancel it.")
        self._made, self.layers = None, []
        self._begin(make, task, ignore_errors=True)

    def _take(self, event: Made) -> None:
        self._made = event
        self._queue(event.layers)

    def _add(self, data: Any, keywords: dict[str, Any]) -> Image:
        layers = self.viewer.layers
        layer = Image(data, **keywords)
        above = self.layers[-1] if self.layers else None
        # The image comes first, as an empty window takes view and slice from its first layer. Each other
        # layer goes below the one before, which the user may have removed meanwhile.
        with warned_once(self.viewer):
            layers.insert(layers.index(above) if above in layers else len(layers), layer)
        self.layers.append(layer)
        return layer

    def _on_error(self, error: Exception) -> None:
        self.failed.emit(explain(error))

    def _conclude(self) -> None:
        if self.layers and self.layers[0] in self.viewer.layers:
            self.viewer.layers.selection.active = self.layers[0]
            # The window may show a plane of another image, or of a PSF with more planes.
            show_plane_of(self.viewer, self.layers[0])
        if self._made is not None:
            self.finished.emit(self._made)
