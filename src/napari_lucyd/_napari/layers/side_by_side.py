"""The side-by-side view of an image and its results."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer


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
        grid, camera = self.viewer.canvas.grid, self.viewer.scene.camera
        self._before = {
            "grid": (grid.enabled, grid.stride, grid.shape, grid.spacing),
            "camera": (camera.center, camera.zoom, camera.angles),
            "layers": [(layer, layer.visible, layer.name_overlay.visible) for layer in self.viewer.layers],
        }
        for layer in self.viewer.layers:
            layer.visible = layer in layers
            layer.name_overlay.visible = layer in layers
        # The lowest layer comes first: the image, then its results.
        grid.stride, grid.shape, grid.spacing = 1, (-1, -1), 0.02
        grid.enabled = True
        self.viewer.reset_view()

    def hide(self) -> None:
        """Restore the earlier view."""
        if self._before is None:
            return
        before, self._before = self._before, None
        self._showing.pop(self.viewer, None)
        grid, camera = self.viewer.canvas.grid, self.viewer.scene.camera
        grid.enabled, grid.stride, grid.shape, grid.spacing = before["grid"]
        for layer, visible, named in before["layers"]:
            if layer in self.viewer.layers:
                layer.visible, layer.name_overlay.visible = visible, named
        camera.center, camera.zoom, camera.angles = before["camera"]


def put_back(grid: SideBySide, *_: Any) -> None:
    """Restore the view when its panel is closed."""
    # The window may be closing too, and its canvas with it.
    with contextlib.suppress(RuntimeError):
        grid.hide()
