"""Gaussian smoothing of an image part by part; each voxel's value is the same in every part."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_lucyd.deconvolution.tiling.tiles import reflected
from napari_lucyd.spans import Span

Read = Callable[[Sequence[Span]], npt.NDArray[np.float32]]
"""Gives a part of a volume, which may have NaN."""

# Where the kernel ends, in sigma: what is left out has less than 1e-4 of its sum.
_REACH = 4
# Standard deviations tried for a given noise: below 0.3 voxels a Gaussian does nothing, above 2 it takes more
# than any of the methods brings back.
_SIGMAS = tuple(round(0.05 * number, 2) for number in range(6, 41))


def gaussian(sigma: float) -> npt.NDArray[np.float64]:
    """The kernel, with an odd number of voxels and a sum of 1; a single 1 for a sigma of 0."""
    reach = math.ceil(_REACH * sigma)
    distance = np.arange(-reach, reach + 1)
    values = np.exp(-0.5 * (distance / sigma) ** 2) if sigma else np.ones(1)
    kernel: npt.NDArray[np.float64] = values / values.sum()
    return kernel


def noise_left(sigmas: Sequence[float]) -> float:
    """What share of white noise's standard deviation a smoothing along these axes leaves.

    Examples
    --------
    >>> round(noise_left((1.0, 1.0, 1.0)), 3)
    0.15
    """
    return math.prod(math.sqrt(float(np.sum(gaussian(sigma) ** 2))) for sigma in sigmas)


def sigma_for(wanted: float, along: Callable[[float], Sequence[float]]) -> float:
    """The smallest sigma that leaves no more than a wanted share of white noise; at most 2 voxels.

    Parameters
    ----------
    wanted
        The share; 0 is the answer to 1 and more.
    along
        From sigma to the standard deviations along the axes.

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
    """A part of the smoothed volume; beyond its borders the volume is continued by reflection.

    NaN stays NaN and counts for nothing around it: there the mean is over the voxels that are known.

    Parameters
    ----------
    read
        Reads the volume.
    spans
        The part.
    shape
        Of the volume.
    sigmas
        Standard deviation along each axis, in voxels.
    """
    kernels = [gaussian(sigma) for sigma in sigmas]
    # From here to the next voxel that is needed, on both sides.
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
    # A voxel that is known has its own weight at least.
    result: npt.NDArray[np.float32] = np.full_like(total, np.nan)
    np.divide(total, known, out=result, where=~missing[inside])
    return result


def _convolved(
    values: npt.NDArray[np.float32], kernels: Sequence[npt.NDArray[np.float64]]
) -> npt.NDArray[np.float32]:
    # Sums of doubles in one order at each voxel: the same wherever the part begins.
    for axis, kernel in enumerate(kernels):
        if kernel.size > 1:
            values = ndimage.correlate1d(values, kernel, axis=axis, mode="nearest")
    return values
