"""From what is on screen, or a drawn rectangle, to a region of an image: geometry without windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def bounding_slices(
    points: npt.ArrayLike, shape: Sequence[int], displayed: Sequence[int]
) -> tuple[slice, ...] | None:
    """The smallest block of voxels that holds some points, along the axes on display.

    Parameters
    ----------
    points
        (N, ndim) in voxels of the image; a voxel reaches half a step about its index.
    shape
        Of the image.
    displayed
        The axes that the points span; along all others the block is as long as the image.

    Returns
    -------
    tuple of slice or None
        One an axis, with whole bounds within the image; None if no voxel is inside.

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


def spatial_region(
    region: tuple[slice, ...] | None, axes: str, z_range: tuple[int, int] | None, shape: Sequence[int]
) -> tuple[slice, ...] | None:
    """Keep the spatial part of a region and cut it to a range of planes.

    Parameters
    ----------
    region
        One slice an axis of the image, or None for all of it.
    axes
        What each axis of the image is.
    z_range
        First and last plane, both included, or None for all.
    shape
        Of the image.

    Returns
    -------
    tuple of slice or None
        Over Z (where the image has it), Y, X; None if that is everything.

    Raises
    ------
    ValueError
        If the range of planes lies outside the region.
    """
    parts = list(region) if region is not None else [slice(0, size) for size in shape]
    if z_range is not None and "Z" in axes:
        axis = axes.index("Z")
        first, last = sorted(z_range)
        start, stop = max(parts[axis].start, first), min(parts[axis].stop, last + 1)
        if start >= stop:
            raise ValueError(
                f"The Z range {first} to {last} and what is on screen (planes {parts[axis].start} to "
                f"{parts[axis].stop - 1}) do not overlap; change the Z range."
            )
        parts[axis] = slice(start, stop)
    spatial = tuple(parts[axes.index(name)] for name in "ZYX" if name in axes)
    sizes = tuple(shape[axes.index(name)] for name in "ZYX" if name in axes)
    whole = all(part.start == 0 and part.stop == size for part, size in zip(spatial, sizes, strict=True))
    return None if whole else spatial
