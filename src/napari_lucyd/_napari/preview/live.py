"""The live preview: the result of Run in the current view."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from napari.layers import Image
from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]

from napari_lucyd._napari.layers.viewer import is_preview
from napari_lucyd._napari.preview.overlay import LOOK, PLACE, Overlay
from napari_lucyd._napari.preview.restorer import ViewRequest
from napari_lucyd._napari.preview.viewport import Unavailable, Viewport, look
from napari_lucyd._napari.preview.worker import Piece, PreviewWorker, Status, in_words

__all__ = ["LivePreview", "PreviewRequest", "is_preview"]

# Long enough for the end of a drag or a turn of the wheel, short enough to seem immediate.
DEBOUNCE_MS = 120
# Finished pieces are fetched at this interval while the thread works.
FETCH_MS = 40
# The preview chooses these itself.
_OURS = ("region", "outputs", "tile_shape", "halo", "statistics", "progress")


@dataclass(frozen=True)
class PreviewRequest:
    """Image and settings to preview.

    Parameters
    ----------
    layer
        The image layer.
    axes
        Its axes, for example ``"TCZYX"``; None lets the core decide.
    model
        The model, from `napari_lucyd.load_model`.
    options
        Keyword arguments of `napari_lucyd.deconvolution.plan`, the same as for Run. Region, outputs, tile and
        halo are ignored: the preview chooses its own.
    """

    layer: Image
    axes: str | None
    model: Any
    options: dict[str, Any] = field(default_factory=dict)


class LivePreview(QObject):
    """Deconvolves the visible part of a slice and shows it over the image.

    It starts with a patch around the cursor, or around the centre of the view: first an approximate result,
    then the exact one. The patch grows until it covers the view. Everything is computed at full resolution
    and with the intensity statistics of the whole image, so exact pixels are equal to those of a run.

    Call all methods on the window's thread. The network runs in a thread of its own, which touches neither Qt
    nor napari.

    Parameters
    ----------
    viewer
        The napari viewer, or the proxy that plugins get.
    request
        Called on the window's thread whenever the preview restarts; must be quick. Returns the image and the
        present settings, or None for no preview (for example while no model is loaded).
    parent
        Qt's owner of this object.
    """

    status = Signal(str)
    """One line for the user: progress of the preview, or the reason why there is none."""
    dismissed = Signal()
    """The user has deleted the preview's layer, which switches the preview off."""

    def __init__(
        self, viewer: Any, request: Callable[[], PreviewRequest | None], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        # The viewer behind the proxy, because the proxy's layers are never identical to those of the list.
        self._viewer = getattr(viewer, "__wrapped__", viewer)
        self._request = request
        self._enabled = self._paused = self._closed = False
        self._told = ""
        self._key: Any = None
        self._at: Viewport | None = None
        self._source: Image | None = None
        self._versions: weakref.WeakKeyDictionary[Image, object] = weakref.WeakKeyDictionary()
        self._overlay = Overlay(self._viewer)
        self._worker = PreviewWorker()
        # Closes it also at the end of this object or of the interpreter.
        weakref.finalize(self, self._worker.close)
        self._debounce = QTimer(self)
        self._debounce.setSingleShot(True)
        self._debounce.setInterval(DEBOUNCE_MS)
        self._debounce.timeout.connect(self._restart)
        self._fetch = QTimer(self)
        self._fetch.setInterval(FETCH_MS)
        self._fetch.timeout.connect(self._take_updates)
        self._ordering = QTimer(self)
        self._ordering.setSingleShot(True)
        self._ordering.setInterval(0)
        self._ordering.timeout.connect(self._keep_order)
        self._dismissing = QTimer(self)
        self._dismissing.setSingleShot(True)
        self._dismissing.setInterval(0)
        self._dismissing.timeout.connect(self._dismiss)

    # Methods for the panel

    @property
    def enabled(self) -> bool:
        """True while the preview is switched on."""
        return self._enabled

    @property
    def settled(self) -> bool:
        """True when the whole view is exact and nothing is being computed."""
        resting = not (self._debounce.isActive() or self._fetch.isActive() or self._worker.busy)
        return self._enabled and resting and self._key is not None and self._overlay.complete

    def set_enabled(self, enabled: bool) -> None:
        """Switch the preview on or off; off removes its layer."""
        if enabled == self._enabled or self._closed:
            return
        self._enabled = enabled
        for emitter, callback in self._emitters():
            (emitter.connect if enabled else emitter.disconnect)(callback)
        if enabled:
            if self._paused:
                self._tell("Preview: waiting for the end of the run.")
            self.refresh()
        else:
            self._drop()
            self._forget_source()
            self._overlay.remove()
            self._tell("")

    def refresh(self) -> None:
        """Read the settings again; the computation continues if they are the same."""
        if self._enabled and not (self._paused or self._closed):
            self._debounce.start()

    def pause(self) -> None:
        """Free the device for a run at once; the layer stays."""
        self._paused = True
        self._drop()

    def resume(self) -> None:
        """Continue after a run."""
        self._paused = False
        self._restart_soon()

    def close(self) -> None:
        """Switch off permanently and end the thread."""
        self.set_enabled(False)
        self._closed = True
        self._debounce.stop()
        self._worker.close()

    # Events of the viewer

    def _emitters(self) -> list[tuple[Any, Callable[..., None]]]:
        viewer = self._viewer
        camera, dims = viewer.scene.camera.events, viewer.dims.events
        changes = (
            *(camera.center, camera.zoom, viewer.canvas.events.size, viewer.canvas.grid.events.enabled),
            *(dims.point, dims.order, dims.ndisplay, dims.margin_left, dims.margin_right),
        )
        return [
            *((emitter, self._view_changed) for emitter in changes),
            (viewer.layers.events.removed, self._layer_removed),
            (viewer.layers.events.reordered, self._reordered),
            (viewer.layers.events.inserted, self._reordered),
            (viewer.cursor.events.position, self._cursor_moved),
        ]

    def _view_changed(self, event: Any = None) -> None:
        self._restart_soon()

    def _layer_removed(self, event: Any) -> None:
        if event.value is self._source or self._overlay.is_layer(event.value):
            # Not at once: the list of layers is still changing, perhaps being cleared.
            self._overlay.let_go(event.value)
            self._key = None
            self._drop()
            if event.value is self._source:
                self._forget_source()
                self._restart_soon()
            else:
                self._dismissing.start()

    def _reordered(self, event: Any = None) -> None:
        # Not at once: the list of layers is still changing.
        self._ordering.start()

    def _dismiss(self) -> None:
        # If the image went with it, the whole list was cleared.
        if self._source is not None:
            self.set_enabled(False)
            self.dismissed.emit()

    def _keep_order(self) -> None:
        if self._source is not None:
            self._overlay.stay_above(self._source)

    def _cursor_moved(self, event: Any = None) -> None:
        if self._at is not None and self._worker.busy and self._viewer.mouse_over_canvas:
            self._worker.look_at(self._at.under_cursor(self._viewer))

    def _source_changed(self, event: Any = None) -> None:
        self._restart_soon()

    def _data_changed(self, event: Any) -> None:
        self._versions[event.source] = object()
        if event.source is self._source:
            self._restart_soon()

    def _look_changed(self, event: Any = None) -> None:
        if self._source is not None:
            self._overlay.copy_look(self._source)

    # Starting and stopping

    def _restart_soon(self) -> None:
        if self._enabled and not self._closed:
            self._drop()
            if not self._paused:
                self._debounce.start()

    def _drop(self) -> None:
        """Stop the thread's work, and discard the updates that it has sent."""
        self._worker.cancel()
        self._debounce.stop()
        self._fetch.stop()

    def _restart(self) -> None:
        if not self._enabled or self._paused or self._closed:
            return
        try:
            self._start()
        except Unavailable as reason:
            self._nothing(str(reason))
        except Exception as error:  # a line in the panel, not a dialog at each movement of the mouse
            self._nothing(in_words(error))

    def _nothing(self, why: str) -> None:
        self._drop()
        self._key = None
        self._overlay.remove()
        self._tell(why)

    def _start(self) -> None:
        request = self._ask()
        layer = getattr(request.layer, "__wrapped__", request.layer)
        self._follow(layer)
        shown = self._at = look(self._viewer, layer)
        options = {name: value for name, value in request.options.items() if name not in _OURS}
        options["axes"] = request.axes
        measured = (
            self._version(layer),
            request.model.sha256,
            sorted((name, repr(value)) for name, value in options.items()),
        )
        key = (measured, shown.displayed, shown.index)
        keep = key == self._key
        if keep and self._worker.busy and shown.visible == self._overlay.visible:
            return
        self._drop()
        self._key = key
        self._overlay.show(layer, shown, keep, measured)
        if self._overlay.complete:
            self._tell("Preview: exact in the whole view.")
            return
        view = ViewRequest(
            layer.data[0] if layer.multiscale else layer.data,
            request.model,
            options,
            self._version(layer),
            (min(shown.displayed), max(shown.displayed)),
            shown.index,
            shown.visible,
            self._overlay.covered.copy(),
        )
        self._tell("Preview: computing…")
        self._worker.submit(view, shown.focus)
        self._fetch.start()

    def _ask(self) -> PreviewRequest:
        request = self._request()
        if request is None:
            raise Unavailable("")
        layer = getattr(request.layer, "__wrapped__", request.layer)
        if not any(layer is other for other in self._viewer.layers) or is_preview(layer):
            raise Unavailable("")
        if layer.rgb:
            raise Unavailable(
                "Preview: RGB images cannot be deconvolved. Split the channels of the layer first."
            )
        return request

    def _take_updates(self) -> None:
        busy = self._worker.busy
        updates = self._worker.fetch()
        pieces = [u for u in updates if isinstance(u, Piece)]
        notes = [u for u in updates if isinstance(u, Status)]
        if pieces:
            self._overlay.put(pieces)
        if notes:
            self._tell(notes[-1].text)
        if not busy:
            self._fetch.stop()

    def _tell(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self.status.emit(text)

    # The layer that is previewed

    def _follow(self, layer: Image) -> None:
        if layer is self._source:
            return
        self._forget_source()
        self._source = layer
        self._overlay.remove()
        self._key = None
        for name in PLACE:
            getattr(layer.events, name).connect(self._source_changed)
        for name in LOOK:
            getattr(layer.events, name).connect(self._look_changed)

    def _forget_source(self) -> None:
        layer, self._source, self._key = self._source, None, None
        if layer is not None:
            for name in PLACE:
                getattr(layer.events, name).disconnect(self._source_changed)
            for name in LOOK:
                getattr(layer.events, name).disconnect(self._look_changed)

    def _version(self, layer: Image) -> object:
        """Return an object that identifies the present data of a layer; other data, another object."""
        if layer not in self._versions:
            # Stays connected while another layer is previewed, because its statistics are kept.
            layer.events.data.connect(self._data_changed)
            self._versions[layer] = object()
        return self._versions[layer]
