"""The buttons for results: side by side, Inspect, Save, and the settings of a result."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import QObject

from napari_lucyd._napari.deconvolve.saver import Saver
from napari_lucyd._napari.deconvolve.session import DeconvolveSession
from napari_lucyd._napari.deconvolve.status.footer import Footer
from napari_lucyd._napari.layers.side_by_side import SideBySide, put_back
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.layers.viewer import METADATA_KEY, image_of, is_adding, is_result
from napari_lucyd._napari.widgets.panel import Panel

if TYPE_CHECKING:
    from napari.viewer import Viewer


class ResultButtons(QObject):
    """Acts on the results of the last run, or on those that are in the viewer.

    Parameters
    ----------
    viewer
        The viewer with the results.
    session
        The runs.
    footer
        The buttons.
    source_of
        See `Saver`.
    panel
        The panel.
    """

    def __init__(
        self,
        viewer: Viewer,
        session: DeconvolveSession,
        footer: Footer,
        source_of: Callable[[Image], SourceLayer],
        panel: Panel,
    ) -> None:
        super().__init__(panel)
        self._viewer, self._session, self._footer = viewer, session, footer
        self._sources: list[weakref.ref[Image]] = []
        self._newest: weakref.ref[Image] | None = None
        self._grid = SideBySide(viewer, self._on_view_taken)
        self.saver = Saver(viewer, self.results, source_of, lambda: str(footer.save_as.value), panel)
        footer.inspect.changed.connect(self._inspect)
        footer.side_by_side.native.toggled.connect(self._on_side_by_side)
        footer.save_menu.aboutToShow.connect(lambda: self.saver.fill(footer.save_menu))
        layers = viewer.layers
        events = (layers.events.inserted, layers.events.removed, layers.selection.events.changed)
        panel.subscriptions.add(self._offer, *events)
        panel.subscriptions.add(self._on_active, layers.selection.events.active)
        session.ended.connect(self._note_newest)
        footer.replace.changed.connect(self._note_newest)
        # The grid goes with the panel.
        panel.destroyed.connect(partial(put_back, self._grid))
        self._offer()

    def note_sources(self, layers: Sequence[Image]) -> None:
        """Note the images of a run, which are shown beside its results."""
        self._sources = [weakref.ref(layer) for layer in layers]

    def results(self) -> list[Image]:
        """Return the layers that the buttons act on: those of the last run that are still there, else all."""
        layers = self._viewer.layers
        last = [layer for layer in self._session.results if layer in layers]
        return last or [layer for layer in layers if isinstance(layer, Image) and is_result(layer)]

    def _offer(self, event: Any = None) -> None:
        """Enable the buttons while there are results, also those of an earlier panel."""
        footer, session = self._footer, self._session
        active = self._viewer.layers.selection.active
        footer.use_settings.enabled = active is not None and is_result(active)
        results = bool(self.results())
        if not (session.is_running or session.earlier()):
            footer.replace.native.hide()
        # In the side-by-side view the button must stay enabled, to put the view back.
        footer.side_by_side.enabled = self._grid.is_on or results
        footer.inspect.enabled = results
        footer.save.enabled = footer.save_as.enabled = results or bool(self.saver.selected())

    def _note_newest(self, *_: Any) -> None:
        """Note the newest result of a run, which Inspect shows unless another one is selected afterwards."""
        outputs = [
            layer for layer in self._session.results if layer.metadata[METADATA_KEY]["quantity"] == "output"
        ]
        self._newest = weakref.ref(outputs[-1]) if outputs else self._newest

    def _on_active(self, event: Any) -> None:
        if event.value is not None and is_result(event.value) and not is_adding():
            self._newest = None

    def _inspect(self, *_: Any) -> None:
        window = self._viewer.window
        open_before = len(window.dock_widgets)
        dock, inspect = window.add_plugin_dock_widget("napari-lucyd", "Inspect")
        # napari returns a panel that is open already as it is: behind another tab.
        dock.show()
        dock.raise_()
        # One that was open has followed the run. A new one begins with the selected result, which counts only
        # if it was selected after the run.
        newest = None if self._newest is None else self._newest()
        if len(window.dock_widgets) > open_before and newest in self._viewer.layers:
            inspect.choose(newest)

    def _on_side_by_side(self, on: bool) -> None:
        if on:
            results, viewer = self.results(), self._viewer
            ran = [layer for ref in self._sources if (layer := ref()) in viewer.layers]
            # A result of an earlier session has no run here, but its image may be there.
            named = [image for result in results if (image := image_of(viewer, result)) is not None]
            self._grid.show(list(dict.fromkeys([*(ran or named), *results])))
        else:
            self._grid.hide()
            self._offer()

    def _on_view_taken(self) -> None:
        self._footer.side_by_side.native.setChecked(False)
