"""Points of a layer in the viewer's world, where layers may have units of their own.

A layer's `data_to_world` and `world_to_data` are in its own units; the sliders and the camera are in the
viewer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.transforms import Affine

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer
if TYPE_CHECKING:
    pass


def unit_scale(layer: Layer, world: Sequence[Any] | None) -> tuple[float, ...]:
    """How many of the world's units one of the layer's is, for each axis of the layer.

    Parameters
    ----------
    layer
        Has a unit for each axis.
    world
        The viewer's units, `viewer.dims.units`; None where the layers' cannot be brought together.
    """
    if world is None or len(world) < layer.ndim:
        return (1.0,) * layer.ndim
    return tuple(factor(own, other) for own, other in zip(layer.units, world[-layer.ndim :], strict=True))


def factor(unit: Any, other: Any) -> float:
    """How many of another unit one unit is; 1 where they are of different kinds."""
    if unit == other or not (1 * unit).is_compatible_with(other):
        return 1.0
    return float((1 * unit).m_as(other))


def to_world(layer: Layer, points: Any, viewer: Viewer) -> np.ndarray:
    """Voxels of a layer, (n, ndim of the layer), in the viewer's world."""
    world = np.asarray([layer.data_to_world(point) for point in np.asarray(points, float)], float)
    return world * unit_scale(layer, viewer.dims.units)


def to_data(layer: Layer, points: Any, viewer: Viewer) -> np.ndarray:
    """Points of the viewer's world, (n, ndim of the layer), in voxels of a layer."""
    own = np.asarray(points, float) / unit_scale(layer, viewer.dims.units)
    return np.asarray([layer.world_to_data(point) for point in own], float)


def voxel_steps(state: dict[str, Any]) -> tuple[float, ...]:
    """Length of one voxel along each axis, in the unit of the last axis.

    The whole transform counts, also a scale inside `affine`. An axis with a unit of another kind, such as
    time, gets NaN.
    """
    linear = linear_matrix(state)
    affine = np.asarray(state["affine"], float)
    ndim = linear.shape[0]
    matrix = affine[:ndim, :ndim] @ linear
    units = [np.asarray(1.0) * unit for unit in state["units"]]
    # NaN marks an axis whose unit is of another kind than X, a time axis for one.
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


def linear_matrix(state: dict[str, Any]) -> np.ndarray:
    """The linear part of a layer's own transform (scale, rotate, shear), without its `affine`."""
    ndim = len(state["scale"])
    transform = Affine(
        scale=state["scale"],
        translate=state["translate"],
        rotate=state["rotate"],
        shear=state["shear"],
        ndim=ndim,
    )
    return np.asarray(transform.linear_matrix, float)
