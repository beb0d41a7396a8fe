"""Intensities along a line, from any array, of which no more is read than the line passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# For the corner of a voxel at the border that comes out of a transform a rounding error too far.
_ROUNDING = 1e-6


def sample_line(image: Any, start: npt.ArrayLike, stop: npt.ArrayLike, count: int) -> npt.NDArray[np.float64]:
    """Values at evenly spaced points of a line, linear between voxels.

    Parameters
    ----------
    image
        Anything with ``shape`` and basic indexing: numpy, dask, zarr or xarray, real values.
    start, stop
        The ends, in voxels, one number an axis; voxel centres have whole numbers. An axis along which both
        are the same whole number is read there alone.
    count
        Points, both ends among them.

    Returns
    -------
    ndarray
        (count,); NaN beyond the voxels, each of which reaches half a step about its centre.

    Examples
    --------
    >>> sample_line(np.arange(5.0) * [[1], [10]], (1, 0), (1, 3), 4).tolist()
    [0.0, 10.0, 20.0, 30.0]
    >>> sample_line(np.arange(5.0), [3], [6], 4).tolist()
    [3.0, 4.0, nan, nan]
    """
    from scipy.ndimage import map_coordinates

    points = np.linspace(np.asarray(start, float), np.asarray(stop, float), count)
    last = np.asarray(image.shape) - 1
    reach = 0.5 + _ROUNDING
    inside = np.all((points >= -reach) & (points <= last + reach), axis=1)
    values = np.full(count, np.nan)
    if not inside.any():
        return values
    within = np.clip(points[inside], 0, last)
    low = np.floor(within.min(axis=0)).astype(int)
    high = np.ceil(within.max(axis=0)).astype(int)
    block = np.asarray(image[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))], np.float64)
    values[inside] = map_coordinates(block, (within - low).T, order=1, mode="nearest")
    return values


def points_along(lengths: npt.ArrayLike, at_most: int = 2000) -> int:
    """How many points a line needs so that no step is longer than a voxel.

    Parameters
    ----------
    lengths
        Of the line in the voxels of each image.
    at_most
        A plot shows no more.

    Examples
    --------
    >>> points_along([9.2, 4.0])
    11
    """
    longest = float(np.max(np.asarray(lengths, float)))
    return int(np.clip(np.ceil(longest) + 1, 2, at_most))
