"""Resampling along Z, from the planes of a stack to the network's isotropic grid and back.

The networks are trained on isotropic voxels. Plane k of the network's grid lies at k / f source planes, where
f is the Z step over the lateral one. The grid is infinite, because the stack is continued by reflection. Both
directions are cubic convolutions (Keys 1981, a = -1/2) whose weights depend on the plane's index alone, so a
tile gives the same values as the whole volume. If the stack is finer along Z than laterally (f < 1), the
forward kernel is widened to avoid aliasing.

References
----------
R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE Trans. ASSP 29
(1981) 1153-1160.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_lucyd.deconvolution.tiling.tiles import reflected
from napari_lucyd.spans import Span

# Largest ratio of the Z step to the lateral one that is not resampled by default.
TOLERANCE = 1.25


@dataclass(frozen=True)
class Resampling:
    """Resampling along Z.

    Attributes
    ----------
    factor
        Planes of the network's grid for each plane of the source: Z step / lateral step.
    """

    factor: float

    def needed_planes(self, kept: Span) -> Span:
        """Return the planes of the network's grid that yield the source planes ``kept``."""
        first, last = kept.start * self.factor, (kept.stop - 1) * self.factor
        return Span(math.floor(first) - 1, math.floor(last) + 3)

    def source_planes(self, planes: Span) -> Span:
        """Return the planes of the continued source that yield planes of the network's grid."""
        reach = 2 * self._width
        return Span(
            math.floor(planes.start / self.factor - reach),
            math.ceil((planes.stop - 1) / self.factor + reach) + 1,
        )

    def there(self, planes: Span, size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Return the weights that map a stack of ``size`` planes to planes of the network's grid.

        Returns
        -------
        indices
            The source planes to read, increasing, each once.
        weights
            (planes, indices): ``weights @ stack[indices]`` gives the planes.
        """
        continued = self.source_planes(planes)
        positions = np.arange(planes.start, planes.stop, dtype=np.float64) / self.factor
        weights = _weights(positions, continued, self._width)
        indices, inverse = np.unique(reflected(continued, size), return_inverse=True)
        folded = weights @ np.eye(indices.size)[inverse.ravel()]
        return indices, folded.astype(np.float32)

    def back(self, kept: Span, planes: Span) -> npt.NDArray[np.float32]:
        """Return the weights (kept, planes) that map ``planes`` of the network's grid back to ``kept``."""
        positions = np.arange(kept.start, kept.stop, dtype=np.float64) * self.factor
        return _weights(positions, planes, 1.0).astype(np.float32)

    @property
    def _width(self) -> float:
        return max(1.0, 1 / self.factor)


def choose_resampling(
    voxel_size: Sequence[float] | None, isotropic: bool | None, planes: int, has_z: bool
) -> Resampling | None:
    """Choose the resampling of a stack, or None.

    Parameters
    ----------
    voxel_size
        (Z, Y, X) steps in one unit, or None if unknown.
    isotropic
        True or False to decide; None to resample if the Z step differs from the lateral one by more than a
        quarter.
    planes
        Number of planes; a single plane is never resampled.
    has_z
        True if the image has a Z axis and the model uses it.

    Raises
    ------
    ValueError
        If ``isotropic`` is True and the voxel size is unknown.
    """
    if not has_z or planes < 2 or isotropic is False:
        return None
    if voxel_size is None:
        if isotropic:
            raise ValueError(
                "isotropic=True needs the voxel size. Give voxel_size=(z, y, x), in any one unit."
            )
        return None
    z, y, x = voxel_size
    factor = z / math.sqrt(y * x)
    # Steps read from files are rounded, so a difference of a millionth is not intended.
    if abs(factor - 1) < 1e-6 or (isotropic is None and 1 / TOLERANCE <= factor <= TOLERANCE):
        return None
    nearest = round(factor)
    return Resampling(float(nearest) if nearest and abs(factor / nearest - 1) < 1e-6 else factor)


def _keys(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    d = np.abs(distance)
    near = 1 + d * d * (1.5 * d - 2.5)
    far = 2 + d * (-4 + d * (2.5 - 0.5 * d))
    weights: npt.NDArray[np.float64] = np.where(d <= 1, near, np.where(d < 2, far, 0.0))
    return weights


def _weights(positions: npt.NDArray[np.float64], planes: Span, width: float) -> npt.NDArray[np.float64]:
    """Compute weights (positions, planes) of a kernel widened by ``width``; each row sums to one."""
    distance = positions[:, None] - np.arange(planes.start, planes.stop)[None, :]
    weights = _keys(distance / width)
    total: npt.NDArray[np.float64] = weights.sum(axis=1, keepdims=True)
    return weights / total
