"""The side-by-side view of an image and its results."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QFont, QFontMetricsF  # type: ignore[attr-defined]

from napari_lucyd._napari.layers.viewer import of_axes, show_plane_of

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer


# Pixels of the canvas for each point of a font and each em of a name's width; measured.
_PIXELS = 1.8
# Room beside a name in its cell, in pixels.
_MARGINS = 18
# Points; smaller names are hard to read. A name that is still too long is shortened.
_SMALLEST = 8.0


class SideBySide:
    """Layers in a grid with their names; restores the view when it is turned off.

    A viewer has one view: a panel that shows its layers takes the view from the panel that did before.

    Parameters
    ----------
    viewer
        The viewer.
    taken
        Called when another panel takes the view, after it was restored.
    """

    _showing: ClassVar[WeakKeyDictionary[Viewer, SideBySide]] = WeakKeyDictionary()

    def __init__(self, viewer: Viewer, taken: Callable[[], object] = lambda: None) -> None:
        self.viewer = viewer
        self._taken = taken
        self._before: dict[str, Any] | None = None
        self._shown: list[Layer] = []

    @property
    def is_on(self) -> bool:
        """True while the grid is shown by this object."""
        return self._before is not None

    def show(self, layers: Sequence[Layer]) -> None:
        """Show layers side by side."""
        other = self._showing.get(self.viewer)
        if other is not None:
            other.hide()
            if other is not self:
                other._taken()
        self._showing[self.viewer] = self
        self._shown = list(layers)
        grid, camera, dims = self.viewer.canvas.grid, self.viewer.scene.camera, self.viewer.dims
        self._before = {
            "grid": (grid.enabled, grid.stride, grid.shape, grid.spacing),
            "view": (dims.ndisplay, dims.point, camera.center, camera.zoom, camera.angles),
            "layers": [
                (layer, layer.visible, layer.name_overlay.visible, layer.name_overlay.font_size)
                for layer in self.viewer.layers
            ],
        }
        for layer in self.viewer.layers:
            layer.visible = layer in layers
            layer.name_overlay.visible = layer in layers
        # The lowest layer comes first: the image, then its results.
        grid.stride, grid.shape, grid.spacing = 1, (-1, -1), 0.02
        grid.enabled = True
        self._fit_names()
        self.viewer.canvas.events.size.connect(self._fit_names)
        for layer in self._shown:
            # After napari, which writes the whole name.
            layer.events.name.connect(self._fit_names, position="last")
        self._show_common_part(layers)
        self._before["point"] = dims.point

    def _fit_names(self, event: Any = None) -> None:
        """Make each name fit into its cell, also when the window gets another size: smaller, then shorter."""
        if self._before is None:
            return
        _, columns = self.viewer.canvas.grid.actual_shape(self.viewer.layers)
        width = self.viewer.canvas.size[1] / columns - _MARGINS
        for layer, _, _, size in self._before["layers"]:
            if layer in self._shown:
                fitting = width / (_PIXELS * max(1.0, _ems(layer.name)))
                layer.name_overlay.font_size = min(size, max(_SMALLEST, fitting))
                self._write_name(layer, _shortened(layer.name, width / (_PIXELS * _SMALLEST)))

    def _write_name(self, layer: Layer, text: str) -> None:
        """Write a text in place of a layer's name; napari has no public way to do so."""
        with contextlib.suppress(AttributeError, KeyError):
            canvas: Any = self.viewer.window._qt_viewer.canvas
            drawn = canvas._layer_overlay_to_visual[layer][layer.name_overlay]
            drawn.node.text = text
            drawn._on_position_change()

    def _show_common_part(self, layers: Sequence[Layer]) -> None:
        """Show the part that all layers have: the result of a region is smaller than its image."""
        if not layers:
            return
        dims = self.viewer.dims
        extents = [self.viewer.layers.get_extent([layer]).world for layer in layers]
        displayed = list(dims.displayed)
        sizes = [math.prod(np.ptp(of_axes(extent, dims.ndim), axis=0)[displayed]) for extent in extents]
        smallest = int(np.argmin(sizes))
        shown = dims.point
        # napari cannot fit its view to a layer that has fewer axes than the viewer.
        fitted = [layers[smallest]] if layers[smallest].ndim == dims.ndim else None
        self.viewer.reset_view(layers=fitted)
        low, high = of_axes(extents[smallest], dims.ndim)
        camera, first = self.viewer.scene.camera, displayed[0]
        if dims.ndisplay == 3 and np.isfinite(low[first]):
            # Back in 2D, napari shows the plane in which the camera's centre was.
            camera.center = (float(np.clip(shown[first], low[first], high[first])), *camera.center[1:])
        show_plane_of(self.viewer, layers[smallest])

    def hide(self) -> None:
        """Restore the earlier view."""
        if self._before is None:
            return
        before, self._before = self._before, None
        self._showing.pop(self.viewer, None)
        for layer in self._shown:
            layer.events.name.disconnect(self._fit_names)
            self._write_name(layer, layer.name)
        self._shown = []
        self.viewer.canvas.events.size.disconnect(self._fit_names)
        grid, camera, dims = self.viewer.canvas.grid, self.viewer.scene.camera, self.viewer.dims
        grid.enabled, grid.stride, grid.shape, grid.spacing = before["grid"]
        for layer, visible, named, size in before["layers"]:
            if layer in self.viewer.layers:
                layer.visible, layer.name_overlay.visible = visible, named
                layer.name_overlay.font_size = size
        # The dimensions first: they move the camera, and in 3D the camera moves the sliders.
        chosen, flat = dims.point, dims.ndisplay == 2
        dims.ndisplay, point, *camera_view = before["view"]
        if len(point) == dims.ndim == len(before["point"]) == len(chosen):
            # A plane that was chosen in the grid stays.
            trios = zip(point, before["point"], chosen, strict=True)
            dims.point = tuple(now if flat and now != then else old for old, then, now in trios)
        camera.center, camera.zoom, camera.angles = camera_view


def _ems(text: str) -> float:
    """Return the width of a text, in units of the size of its font."""
    return float(_metrics().horizontalAdvance(text)) / 100


def _shortened(text: str, ems: float) -> str:
    """Return a text with "…" in its middle if it is wider."""
    return str(_metrics().elidedText(text, Qt.TextElideMode.ElideMiddle, 100 * ems))


def _metrics() -> QFontMetricsF:
    font = QFont()
    font.setPixelSize(100)
    return QFontMetricsF(font)


def put_back(grid: SideBySide, *_: Any) -> None:
    """Restore the view when its panel is closed."""
    # The window may be closing too, and its canvas with it.
    with contextlib.suppress(RuntimeError):
        grid.hide()
