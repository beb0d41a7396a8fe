"""Filling of NaN voxels from their surroundings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Half widths of the windows, tried in turn; a voxel without finite neighbours in the last gets a constant.
# Unlike a search for the nearest voxel, windows give values that do not depend on the tile.
_RADII = (1, 3, 8)

MARGIN = _RADII[-1]


def fill_nan(values: npt.NDArray[np.float32], constant: float) -> npt.NDArray[np.float32]:
    """Copy an array, with each NaN replaced by the mean of the finite voxels around it.

    The window is the smallest that holds a finite voxel.

    Parameters
    ----------
    values
        (Z, Y, X) or (Y, X), with NaN.
    constant
        Value for voxels without a finite one within `MARGIN`; in units of the image.
    """
    missing = np.isnan(values)
    filled = values.copy()
    known = np.where(missing, 0, values).astype(np.float64)
    weight = (~missing).astype(np.float64)
    for radius in _RADII:
        if not missing.any():
            break
        number = _window_sum(weight, radius)
        here = missing & (number > 0)
        filled[here] = (_window_sum(known, radius)[here] / number[here]).astype(np.float32)
        missing &= ~here
    filled[missing] = constant
    return filled


def _window_sum(values: npt.NDArray[np.float64], radius: int) -> npt.NDArray[np.float64]:
    """Sum over windows of 2 radius + 1 voxels along every axis, with zeros outside.

    The sum is formed shift by shift, because a running sum would round differently from tile to tile.
    """
    for axis, size in enumerate(values.shape):
        total = values.copy()
        for shift in range(1, min(radius, size - 1) + 1):
            front = [slice(None)] * values.ndim
            rear = [slice(None)] * values.ndim
            front[axis], rear[axis] = slice(shift, None), slice(None, -shift)
            total[tuple(rear)] += values[tuple(front)]
            total[tuple(front)] += values[tuple(rear)]
        values = total
    return values
