"""The part of a layer that a napari viewer shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image

from napari_lucyd._napari.layers.coordinates import unit_scale
from napari_lucyd._napari.preview.rectangles import (
    LayerTransform,
    Rectangle,
    layer_axes_displayed,
    visible_rectangle,
    within,
)

# Size of a texture on old graphics cards and software renderers.
LONGEST_SIDE = 8192
# 134 MB of float32, four 4K screens; of a larger view only the part around the focus is restored.
MOST_PIXELS = 2**25


class Unavailable(Exception):
    """There is no preview; the text says why, and may be empty."""


@dataclass(frozen=True, eq=False)
class Viewport:
    """The part of a layer that a view shows.

    Parameters
    ----------
    displayed
        The layer's displayed axes, in the order of display.
    index
        Index along each axis of the layer, 0 for the displayed ones.
    visible
        Pixels in view, the displayed axes in ascending order.
    focus
        Row and column, among the visible pixels, that come first.
    transform, unit_scale
        Transform and units of the layer, see `LayerTransform.sampled`.
    """

    displayed: tuple[int, int]
    index: tuple[int, ...]
    visible: Rectangle
    focus: tuple[float, float]
    transform: LayerTransform
    unit_scale: tuple[float, ...]

    def under_cursor(self, viewer: Any) -> tuple[float, float]:
        """Return row and column of the mouse cursor."""
        return _on_plane(self.transform, self.displayed, _cursor(viewer))


def look(viewer: Any, layer: Image) -> Viewport:
    """Find the part of a layer that the viewer shows.

    Raises
    ------
    Unavailable
        If it shows nothing of the layer, or shows it in 3D or in a grid.
    """
    dims, camera = viewer.dims, viewer.scene.camera
    if viewer.canvas.grid.enabled:
        raise Unavailable("Preview: not available side by side, where it would be beside its image.")
    if str(layer.projection_mode) != "none" and any(dims.thickness):
        raise Unavailable("Preview: not available for thick slices. Set the slice thickness to 0.")
    if dims.ndisplay != 2:
        raise Unavailable("Preview: not available in 3D. Switch to the 2D view.")
    displayed = layer_axes_displayed(dims.order, layer.ndim)
    if displayed is None:
        raise Unavailable(f"Preview: the view shows an axis that “{layer.name}” does not have.")
    shape = (layer.data[0] if layer.multiscale else layer.data).shape
    scale = unit_scale(layer, dims.units)
    transform = LayerTransform.sampled(layer.data_to_world, layer.ndim, scale)
    if not transform.faces(displayed):
        raise Unavailable(
            f"Preview: not available for “{layer.name}”, which is rotated by 90° out of the view. Set its "
            "rotation to 0."
        )
    centre = camera.center[-2:]
    canvas = viewer.canvas.viewbox_size(viewer.layers)
    visible = visible_rectangle(transform, displayed, shape, centre, canvas, camera.zoom)
    index = [0] * layer.ndim
    for axis, at in transform.slice_indices(list(dims.point)[-layer.ndim :], displayed).items():
        index[axis] = at
    if visible is None or any(not 0 <= at < size for at, size in zip(index, shape, strict=True)):
        raise Unavailable(f"Preview: “{layer.name}” is not in view.")
    row, column = _on_plane(transform, displayed, centre)
    if viewer.mouse_over_canvas:
        y, x = _on_plane(transform, displayed, _cursor(viewer))
        # A cursor outside the view has its position from before the view moved.
        if visible.top <= y < visible.bottom and visible.left <= x < visible.right:
            row, column = y, x
    visible = within(visible, (row, column), LONGEST_SIDE, MOST_PIXELS)
    focus = (
        min(max(row, visible.top), visible.bottom - 1),
        min(max(column, visible.left), visible.right - 1),
    )
    return Viewport(displayed, tuple(index), visible, focus, transform, scale)


def _cursor(viewer: Any) -> list[float]:
    """Return the cursor position in world coordinates along the displayed axes."""
    return [viewer.cursor.position[axis] for axis in viewer.dims.order[-2:]]


def _on_plane(
    transform: LayerTransform, displayed: tuple[int, int], point: Sequence[float]
) -> tuple[float, float]:
    row, column = transform.displayed_to_data(np.array([point], dtype=float), displayed)[0]
    return float(row), float(column)
