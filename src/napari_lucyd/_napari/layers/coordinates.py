"""Conversion between voxels of a layer and the viewer's world.

A layer's `data_to_world` and `world_to_data` use its own units; the sliders and the camera use the viewer's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.transforms import Affine

from napari_lucyd._napari.layers.viewer import METADATA_KEY
from napari_lucyd.spans import SPATIAL

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer


def unit_scale(layer: Layer, world: Sequence[Any] | None) -> tuple[float, ...]:
    """Return the layer's units in units of the world, for each axis of the layer.

    Parameters
    ----------
    layer
        A layer with a unit for each axis.
    world
        The viewer's units, `viewer.dims.units`; None if the units of its layers are of different kinds.
    """
    if world is None or len(world) < layer.ndim:
        return (1.0,) * layer.ndim
    return tuple(factor(own, other) for own, other in zip(layer.units, world[-layer.ndim :], strict=True))


def factor(unit: Any, other: Any) -> float:
    """Return one unit in another; 1 for different kinds of units."""
    if unit == other or not (1 * unit).is_compatible_with(other):
        return 1.0
    return float((1 * unit).m_as(other))


def to_world(layer: Layer, points: Any, viewer: Viewer) -> np.ndarray:
    """Convert voxels of a layer, (n, ndim of the layer), to the viewer's world."""
    world = np.asarray([layer.data_to_world(point) for point in np.asarray(points, float)], float)
    return world * unit_scale(layer, viewer.dims.units)


def to_data(layer: Layer, points: Any, viewer: Viewer) -> np.ndarray:
    """Convert points of the viewer's world, (n, ndim of the layer), to voxels of a layer."""
    own = np.asarray(points, float) / unit_scale(layer, viewer.dims.units)
    return np.asarray([layer.world_to_data(point) for point in own], float)


def shown_volume(viewer: Viewer, result: Layer) -> dict[str, int]:
    """Return the index of the volume of a result that is shown, along each leading axis of its image.

    Where the sliders are beside the result, it is the nearest one.
    """
    recipe = result.metadata[METADATA_KEY]
    shape = (result.data[0] if getattr(result, "multiscale", False) else result.data).shape
    point = np.asarray(viewer.dims.point, float)[-result.ndim :]
    (at,) = to_data(result, point[None], viewer)
    region = recipe.get("region") or [(0, size) for size in shape]
    return {
        name: int(bounds[0] + np.clip(np.rint(where), 0, size - 1))
        for name, where, size, bounds in zip(recipe["axes"], at, shape, region, strict=True)
        if name not in SPATIAL
    }


@contextmanager
def keep_view(viewer: Viewer, layer: Layer) -> Iterator[None]:
    """Show the same voxels of a layer as before, after its place in the world has changed.

    Otherwise the sliders and the camera stay where the layer was, which may be beside it.
    """
    dims, camera = viewer.dims, viewer.scene.camera
    first = dims.ndim - layer.ndim
    # The camera's centre has the displayed axes only, the last of three.
    shown = [axis for axis in dims.displayed if axis >= first]
    centre = np.asarray(dims.point, float)
    for axis, value in zip(reversed(shown), reversed(camera.center), strict=False):
        centre[axis] = value
    ends = np.stack([np.asarray(dims.point, float), centre])[:, first:]
    voxels = to_data(layer, [*ends, ends[1] + np.eye(layer.ndim)[shown[-1] - first]], viewer)
    yield
    point, middle, beside = to_world(layer, voxels, viewer)
    for axis in dims.not_displayed:
        if axis >= first:
            dims.set_point(axis, point[axis - first])
    camera.zoom /= float(np.linalg.norm(beside - middle)) or 1.0
    moved = list(camera.center)
    for place, axis in enumerate(reversed(shown), 1):
        moved[-place] = middle[axis - first]
    camera.center = tuple(moved)


def voxel_steps(state: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the length of one voxel along each axis, in the unit of the last axis.

    The whole transform counts, also a scale inside `affine`. An axis with another kind of unit, such as time,
    gets NaN.
    """
    linear = linear_matrix(state)
    affine = np.asarray(state["affine"], float)
    ndim = linear.shape[0]
    matrix = affine[:ndim, :ndim] @ linear
    units = [np.asarray(1.0) * unit for unit in state["units"]]
    factors = [
        float(unit.to(units[-1].units).magnitude)
        if unit.dimensionality == units[-1].dimensionality
        else np.nan
        for unit in units
    ]
    # Columns mix axes only through rotations, and those mix axes of one unit.
    rows = np.nan_to_num(factors, nan=1.0)
    lengths = np.linalg.norm(rows[:, None] * matrix, axis=0)
    return tuple(float(length) for length in np.where(np.isnan(factors), np.nan, lengths))


def linear_matrix(state: Mapping[str, Any]) -> np.ndarray:
    """Return the linear part of a layer's own transform (scale, rotate, shear), without its `affine`."""
    ndim = len(state["scale"])
    transform = Affine(
        scale=state["scale"],
        translate=state["translate"],
        rotate=state["rotate"],
        shear=state["shear"],
        ndim=ndim,
    )
    return np.asarray(transform.linear_matrix, float)
