"""Where a napari viewer is looking on a layer."""

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

# What one texture of an old graphics card, or of a software one, can hold.
LONGEST_SIDE = 8192
# 128 MiB of float32, four 4K screens; of a larger view the part round the focus is restored.
MOST_PIXELS = 2**25


class Unavailable(Exception):
    """Why there is no preview of a view, in words; empty where there is nothing to say."""


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
        Of the layer, as `LayerTransform.sampled` takes them.
    """

    displayed: tuple[int, int]
    index: tuple[int, ...]
    visible: Rectangle
    focus: tuple[float, float]
    transform: LayerTransform
    unit_scale: tuple[float, ...]

    def under_cursor(self, viewer: Any) -> tuple[float, float]:
        """Row and column of the mouse's cursor."""
        return _on_plane(self.transform, self.displayed, _cursor(viewer))


def look(viewer: Any, layer: Image) -> Viewport:
    """Where the view is on a layer.

    Raises
    ------
    Unavailable
        If it shows nothing of the layer, or in 3D.
    """
    dims, camera = viewer.dims, viewer.scene.camera
    if dims.ndisplay != 2:
        raise Unavailable("Preview: it needs the 2D view; switch the display from 3D to 2D.")
    displayed = layer_axes_displayed(dims.order, layer.ndim)
    if displayed is None:
        raise Unavailable(f"Preview: the view shows an axis that “{layer.name}” does not have.")
    shape = (layer.data[0] if layer.multiscale else layer.data).shape
    scale = unit_scale(layer, dims.units)
    transform = LayerTransform.sampled(layer.data_to_world, layer.ndim, scale)
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
        # Out of view it is one from before the view moved.
        if visible.top <= y < visible.bottom and visible.left <= x < visible.right:
            row, column = y, x
    visible = within(visible, (row, column), LONGEST_SIDE, MOST_PIXELS)
    focus = (
        min(max(row, visible.top), visible.bottom - 1),
        min(max(column, visible.left), visible.right - 1),
    )
    return Viewport(displayed, tuple(index), visible, focus, transform, scale)


def _cursor(viewer: Any) -> list[float]:
    """The cursor on the canvas, in world coordinates along the displayed axes."""
    return [viewer.cursor.position[axis] for axis in viewer.dims.order[-2:]]


def _on_plane(
    transform: LayerTransform, displayed: tuple[int, int], point: Sequence[float]
) -> tuple[float, float]:
    row, column = transform.displayed_to_data(np.array([point], dtype=float), displayed)[0]
    return float(row), float(column)
