"""Visible part of a layer, and the rectangle and the line that the user draws."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Shapes

from napari_lucyd._napari.layers.coordinates import linear_matrix, to_data, to_world
from napari_lucyd._napari.layers.source_layer import SPATIAL
from napari_lucyd._napari.layers.viewer import warned_once

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

RECTANGLE_LAYER = "LUCYD region"
LINE_LAYER = "LUCYD line"


def on_screen(layer: Image, viewer: Viewer) -> tuple[slice, ...] | None:
    """Return the part of a layer on the canvas, one slice for each axis; None for the whole layer.

    The 3D view shows the whole layer.

    Raises
    ------
    ValueError
        If the canvas shows nothing of the layer.
    """
    dims, camera = viewer.dims, viewer.scene.camera
    if dims.ndisplay != 2:
        return None
    # A layer's own `corner_pixels` are never outside of it, also where the canvas is.
    half = np.asarray(viewer.canvas.viewbox_size(viewer.layers), float) / (2 * camera.zoom)
    corners = np.tile(np.asarray(dims.point, float), (4, 1))
    signs = np.array([*product((-1, 1), repeat=2)])
    corners[:, list(dims.displayed)] = np.asarray(camera.center, float)[-2:] + half * signs
    shape = layer.data[0].shape if layer.multiscale else layer.data.shape
    displayed = _layer_axes(dims.displayed, dims.ndim, layer.ndim)
    points = to_data(layer, corners[:, -layer.ndim :], viewer)
    part = bounding_slices(points, shape[: layer.ndim], displayed)
    if part is None:
        raise ValueError(
            f"No part of “{layer.name}” is in view. Move it into view, or choose another region."
        )
    return part


def rectangle_layer(viewer: Viewer) -> Shapes | None:
    """Find the shapes layer with the rectangle: the active one, else ours, else the topmost with a shape."""
    active = viewer.layers.selection.active
    drawn = [layer for layer in _shapes(viewer) if any(kind != "line" for kind in layer.shape_type)]
    if active in drawn:
        return active
    ours = [layer for layer in drawn if layer.name.startswith(RECTANGLE_LAYER)]
    return (ours or drawn or [None])[-1]


def line_layer(viewer: Viewer) -> Shapes | None:
    """Find the shapes layer with the line: the active one, else ours, else the topmost with a line."""
    active = viewer.layers.selection.active
    drawn = [layer for layer in _shapes(viewer) if "line" in layer.shape_type]
    if active in drawn:
        return active
    ours = [layer for layer in drawn if layer.name.startswith(LINE_LAYER)]
    return (ours or drawn or [None])[-1]


def drawn_line(viewer: Viewer) -> np.ndarray | None:
    """Return the ends of the drawn line (the selected, else the last) in the world, (2, ndim of the viewer).

    The line determines the position along the displayed axes and those that it was drawn along. Along all
    others it follows the sliders.
    """
    shapes = line_layer(viewer)
    if shapes is None:
        return None
    lines = [index for index, kind in enumerate(shapes.shape_type) if kind == "line"]
    index = max(shapes.selected_data & set(lines), default=lines[-1])
    drawn = to_world(shapes, shapes.data[index], viewer)
    ends = np.tile(np.asarray(viewer.dims.point, float), (2, 1))
    # A shapes layer has the last axes of the viewer.
    offset = ends.shape[1] - drawn.shape[1]
    displayed = viewer.dims.displayed if viewer.dims.ndisplay == 2 else ()
    for axis in range(drawn.shape[1]):
        if np.ptp(drawn[:, axis]) > 0 or axis + offset in displayed:
            ends[:, axis + offset] = drawn[:, axis]
    return ends


def drawn_rectangle(layer: Image, viewer: Viewer) -> tuple[slice, ...]:
    """Return the part of a layer within the drawn shape: the selected one, else the last.

    Raises
    ------
    ValueError
        If nothing is drawn, or the shape is outside the image.
    """
    shapes = rectangle_layer(viewer)
    if shapes is None:
        raise ValueError("There is no rectangle yet. Press “Draw…” and draw one on the image.")
    index = max(shapes.selected_data) if shapes.selected_data else len(shapes.data) - 1
    world = to_world(shapes, shapes.data[index], viewer)
    if world.shape[1] < layer.ndim:
        # Shapes drawn before the image was opened have fewer axes: they apply at every step of the others.
        point = np.asarray(viewer.dims.point)[-layer.ndim :]
        leading = np.broadcast_to(
            point[: layer.ndim - world.shape[1]], (len(world), layer.ndim - world.shape[1])
        )
        world = np.hstack([leading, world])
    points = to_data(layer, world[:, -layer.ndim :], viewer)
    spanned = [axis for axis in range(layer.ndim) if np.ptp(points[:, axis]) > 0]
    shape = layer.data[0].shape if layer.multiscale else layer.data.shape
    region = bounding_slices(points, shape[: layer.ndim], spanned or (layer.ndim - 2, layer.ndim - 1))
    if region is None:
        raise ValueError(f"The rectangle in “{shapes.name}” is outside “{layer.name}”.")
    return region


def start_drawing(viewer: Viewer, layer: Image, name: str = RECTANGLE_LAYER) -> Shapes:
    """Add or reactivate our shapes layer and select its tool."""
    ours = [other for other in _shapes(viewer) if other.name.startswith(name)]
    with warned_once(viewer):
        shapes = ours[-1] if ours else viewer.add_shapes(**_shapes_keywords(viewer, layer, name))
    viewer.layers.selection.active = shapes
    shapes.visible = True
    shapes.mode = "add_line" if name == LINE_LAYER else "add_rectangle"
    return shapes


def _shapes(viewer: Viewer) -> list[Shapes]:
    return [layer for layer in viewer.layers if isinstance(layer, Shapes)]


def _shapes_keywords(viewer: Viewer, layer: Image, name: str) -> dict[str, Any]:
    state = layer.as_layer_data_tuple()[1]
    keywords = {key: state[key] for key in SPATIAL}
    shape = layer.data[0].shape if layer.multiscale else layer.data.shape
    ndim = layer.ndim
    lying = tuple(viewer.dims.displayed) == (viewer.dims.ndim - 2, viewer.dims.ndim - 1)
    plain = np.allclose(linear_matrix(state), np.diag(layer.scale)) and np.allclose(
        state["affine"], np.eye(ndim + 1)
    )
    if lying and plain:
        # A rectangle with two axes is visible on every plane.
        ndim = 2
        keywords = {key: keywords[key][-2:] for key in ("scale", "translate", "units", "axis_labels")}
    return {
        **keywords,
        "name": name,
        "ndim": ndim,
        "face_color": "transparent",
        "edge_color": "#ffcc33",
        "edge_width": max(0.5, max(shape[-2:]) / 250),
    }


def _layer_axes(displayed: Sequence[int], viewer_ndim: int, layer_ndim: int) -> tuple[int, ...]:
    # A layer with fewer axes than the viewer has its last ones.
    offset = viewer_ndim - layer_ndim
    return tuple(axis - offset for axis in displayed if axis >= offset)


def bounding_slices(
    points: npt.ArrayLike, shape: Sequence[int], displayed: Sequence[int]
) -> tuple[slice, ...] | None:
    """Find the smallest block of voxels that contains some points.

    Parameters
    ----------
    points
        (N, ndim) in voxels of the image; a voxel extends half a step around its index.
    shape
        Shape of the image.
    displayed
        The axes that the points span; along the others the block is as long as the image.

    Returns
    -------
    tuple of slice or None
        One slice for each axis within the image; None if there is no voxel inside.

    Examples
    --------
    >>> bounding_slices([[1.6, 2.0], [3.4, 9.0]], (5, 5), (0, 1))
    (slice(2, 4, None), slice(2, 5, None))
    """
    points = np.atleast_2d(np.asarray(points, float))
    region = []
    for axis, size in enumerate(shape):
        start, stop = 0, int(size)
        if axis in displayed:
            low, high = points[:, axis].min(), points[:, axis].max()
            start = max(0, int(np.floor(low + 0.5)))
            stop = min(stop, int(np.floor(high + 0.5)) + 1)
        if start >= stop:
            return None
        region.append(slice(start, stop))
    return tuple(region)
