"""Maximum-intensity projections of any array, which is read part by part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_lucyd.deconvolution import Source


class Projections(NamedTuple):
    """Maximum projections along Z, (Y, X), and along Y, (Z, X); the second is None for a plane."""

    lateral: npt.NDArray[np.float32]
    axial: npt.NDArray[np.float32] | None


def project_maximum(
    image: Any, axes: str, lead: Sequence[int] = (), should_stop: Callable[[], bool] | None = None
) -> Projections | None:
    """Project one volume of an array along Z and along Y.

    Parameters
    ----------
    image
        Array (numpy, dask, zarr or xarray) with real values.
    axes
        One letter per axis, ending in ``"YX"``.
    lead
        Index of the volume: one number for each axis other than Z, Y and X.
    should_stop
        Called between parts; if it returns True, the projection stops.

    Returns
    -------
    Projections or None
        float32. NaN voxels are ignored; a line of NaN alone gives NaN. None if it was stopped.

    Examples
    --------
    >>> volume = np.zeros((3, 4, 5)); volume[1, 2, 3] = 7
    >>> lateral, axial = project_maximum(volume, "ZYX")
    >>> lateral[2, 3], axial[1, 3], lateral.shape, axial.shape
    (np.float32(7.0), np.float32(7.0), (4, 5), (3, 5))
    """
    source = Source(image, 3, axes)
    depth, height, width = source.axes.volume_shape
    lateral = np.full((height, width), np.nan, np.float32)
    axial = np.full((depth, width), np.nan, np.float32)
    for part in source.parts():
        if should_stop is not None and should_stop():
            return None
        values = np.asarray(source.read(lead, part.spans), np.float32)
        z, y, x = part.slices
        lateral[y, x] = np.fmax(lateral[y, x], np.fmax.reduce(values, axis=0))
        axial[z, x] = np.fmax(axial[z, x], np.fmax.reduce(values, axis=1))
    return Projections(lateral, axial if "Z" in axes else None)
