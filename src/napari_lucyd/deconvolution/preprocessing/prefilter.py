"""Gaussian smoothing, part by part; a voxel's value does not depend on the part."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_lucyd.deconvolution.tiling.tiles import reflected
from napari_lucyd.spans import Span

Read = Callable[[Sequence[Span]], npt.NDArray[np.float32]]
"""Function that reads a part of a volume, which may have NaNs."""

# Half width of the kernel in sigma; the rest is less than 1e-4 of its sum.
_REACH = 4
# Candidate standard deviations: below 0.3 voxels a Gaussian has no effect; above 2 it removes more than any
# method restores.
_SIGMAS = tuple(round(0.05 * number, 2) for number in range(6, 41))


def gaussian(sigma: float) -> npt.NDArray[np.float64]:
    """Compute the kernel: an odd number of voxels with a sum of 1, or a single 1 for a sigma of 0."""
    reach = math.ceil(_REACH * sigma)
    distance = np.arange(-reach, reach + 1)
    values = np.exp(-0.5 * (distance / sigma) ** 2) if sigma else np.ones(1)
    kernel: npt.NDArray[np.float64] = values / values.sum()
    return kernel


def noise_left(sigmas: Sequence[float]) -> float:
    """Return the share of white noise (its standard deviation) that smoothing leaves.

    Examples
    --------
    >>> round(noise_left((1.0, 1.0, 1.0)), 3)
    0.15
    """
    return math.prod(math.sqrt(float(np.sum(gaussian(sigma) ** 2))) for sigma in sigmas)


def sigma_for(wanted: float, along: Callable[[float], Sequence[float]]) -> float:
    """Find the smallest sigma that leaves no more than a given share of white noise; at most 2 voxels.

    Parameters
    ----------
    wanted
        The share; for 1 and more, sigma is 0.
    along
        Function from sigma to the standard deviations along the axes.

    Examples
    --------
    >>> sigma_for(0.15, lambda sigma: (sigma,) * 3), sigma_for(1.2, lambda sigma: (sigma,) * 3)
    (1.0, 0.0)
    """
    if wanted >= 1:
        return 0.0
    return next((sigma for sigma in _SIGMAS if noise_left(along(sigma)) <= wanted), _SIGMAS[-1])


def smoothed(
    read: Read, spans: Sequence[Span], shape: Sequence[int], sigmas: Sequence[float]
) -> npt.NDArray[np.float32]:
    """Smooth a part of a volume, which is continued by reflection beyond its borders.

    NaNs stay NaN. Means next to them are over the finite voxels only.

    Parameters
    ----------
    read
        Function that reads the volume.
    spans
        Part to smooth.
    shape
        Shape of the volume.
    sigmas
        Standard deviation along each axis, in voxels.
    """
    kernels = [gaussian(sigma) for sigma in sigmas]
    # Voxels needed on both sides.
    reaches = [kernel.size // 2 for kernel in kernels]
    indices = [
        reflected(Span(span.start - reach, span.stop + reach), size)
        for span, reach, size in zip(spans, reaches, shape, strict=True)
    ]
    needed = [Span(int(index.min()), int(index.max()) + 1) for index in indices]
    values = read(needed)
    for axis, (index, span) in enumerate(zip(indices, needed, strict=True)):
        values = np.take(values, index - span.start, axis=axis)
    inside = tuple(slice(reach, reach + span.size) for span, reach in zip(spans, reaches, strict=True))
    missing = np.isnan(values)
    if not missing.any():
        return _convolved(values, kernels)[inside]
    known = _convolved((~missing).astype(np.float32), kernels)[inside]
    total = _convolved(np.where(missing, np.float32(0), values), kernels)[inside]
    # A finite voxel has at least its own weight.
    result: npt.NDArray[np.float32] = np.full_like(total, np.nan)
    np.divide(total, known, out=result, where=~missing[inside])
    return result


def _convolved(
    values: npt.NDArray[np.float32], kernels: Sequence[npt.NDArray[np.float64]]
) -> npt.NDArray[np.float32]:
    # Sums of doubles in a fixed order at each voxel, so that they do not depend on the part.
    for axis, kernel in enumerate(kernels):
        if kernel.size > 1:
            values = ndimage.correlate1d(values, kernel, axis=axis, mode="nearest")
    return values
