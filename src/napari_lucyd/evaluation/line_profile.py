"""Intensities along a line through any array; only the part around the line is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# A transform may place the corner of a border voxel a rounding error too far out.
_ROUNDING = 1e-6
# A peak counts if it stands out by this share of the profile's range.
_PROMINENCE = 0.15


@dataclass(frozen=True)
class Peak:
    """One peak of a profile.

    Attributes
    ----------
    position
        Place along the profile, in units of its step.
    height
        Value at the peak.
    fwhm
        Full width at half of its prominence, in units of the step: the height above the higher of the valleys
        beside it.
    """

    position: float
    height: float
    fwhm: float


def sample_line(image: Any, start: npt.ArrayLike, stop: npt.ArrayLike, count: int) -> npt.NDArray[np.float64]:
    """Sample values at evenly spaced points of a line, linear between voxels.

    Parameters
    ----------
    image
        Array with ``shape`` and basic indexing: numpy, dask, zarr or xarray; real values.
    start, stop
        Ends of the line in voxels, one number per axis; voxel centres have whole numbers. Where both ends are
        the same whole number, only that plane is read.
    count
        Number of points, including both ends.

    Returns
    -------
    ndarray
        Shape (count,). NaN outside the array; a voxel reaches half a voxel around its centre.

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
    """Return the number of points of a line whose steps are at most one voxel long.

    Parameters
    ----------
    lengths
        Lengths of the line in the voxels of each image.
    at_most
        Upper limit; a plot cannot show more points.

    Examples
    --------
    >>> points_along([9.2, 4.0])
    11
    """
    longest = float(np.max(np.asarray(lengths, float)))
    return int(np.clip(np.ceil(longest) + 1, 2, at_most))


def find_peaks(values: npt.ArrayLike, step: float = 1.0) -> list[Peak]:
    """Find the peaks of a profile and their full widths at half maximum.

    Parameters
    ----------
    values
        Intensities at evenly spaced points, such as `sample_line` returns. NaN at the ends is left out.
    step
        Distance of the points, in any unit.

    Returns
    -------
    list of Peak
        The peaks, in their order along the profile.

    Examples
    --------
    >>> line = np.exp(-np.square(np.arange(-20, 21) / 3.0) / 2)
    >>> [round(peak.fwhm, 1) for peak in find_peaks(line, step=0.1)]
    [0.7]
    """
    from scipy import signal

    line = np.asarray(values, np.float64)
    known = np.flatnonzero(np.isfinite(line))
    if known.size < 3:
        return []
    line = np.interp(np.arange(known[0], known[-1] + 1), known, line[known])
    span = float(np.ptp(line))
    if not (span > 0 and math.isfinite(span)):
        return []
    places, _ = signal.find_peaks(line, prominence=_PROMINENCE * span)
    widths = signal.peak_widths(line, places, rel_height=0.5)[0]
    return [
        Peak(step * float(place + known[0]), float(line[place]), step * float(width))
        for place, width in zip(places, widths, strict=True)
    ]
