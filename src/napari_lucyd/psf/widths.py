"""Widths of a point-spread function."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# Samples of the spline for each voxel.
_REFINEMENT = 16


def full_width(profile: npt.ArrayLike, background: float | None = None) -> float:
    """Return the full width at half maximum of the highest peak of a line, interpolated between samples.

    Parameters
    ----------
    profile
        One axis.
    background
        Level that the height is taken from; None for the median.

    Returns
    -------
    float
        Width in samples; NaN if the line does not fall below half its maximum on both sides.

    Examples
    --------
    >>> full_width([0, 0, 1, 3, 2, 0, 0])
    2.0
    """
    line = np.asarray(profile, np.float64)
    values = line - (np.median(line) if background is None else background)
    peak = int(np.argmax(values))
    half = values[peak] / 2
    ends = []
    for side in (values[peak::-1], values[peak:]):
        below = np.flatnonzero(side < half)
        if not half > 0 or not below.size:
            return float("nan")
        last = below[0] - 1
        ends.append(last + (side[last] - half) / (side[last] - side[last + 1]))
    return float(sum(ends))


def widths_at_half_maximum(psf: npt.NDArray[np.floating]) -> tuple[float, ...]:
    """Return the full width at half maximum along each axis through the brightest voxel, in voxels.

    Parameters
    ----------
    psf
        (Y, X) or (Z, Y, X), without background. Each line is interpolated by a cubic spline, so widths of
        few voxels are right as well.
    """
    peak = [int(at) for at in np.unravel_index(int(np.argmax(psf)), psf.shape)]
    lines = [line_through(psf, peak, axis) for axis in range(psf.ndim)]
    return tuple(full_width(_refined(line), background=0.0) / _REFINEMENT for line in lines)


def line_through(
    image: npt.NDArray[np.floating], place: Sequence[int], axis: int
) -> npt.NDArray[np.floating]:
    """Return the line of an image through a voxel along an axis."""
    index: list[int | slice] = list(place)
    index[axis] = slice(None)
    return image[tuple(index)]


def _refined(line: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    from scipy.interpolate import make_interp_spline

    size = len(line)
    if size < 4:
        return np.repeat(np.asarray(line, np.float64), _REFINEMENT)
    fine = np.arange((size - 1) * _REFINEMENT + 1) / _REFINEMENT
    values: npt.NDArray[np.float64] = make_interp_spline(np.arange(size), line, k=3)(fine)
    return values
