"""From the planes of a stack to the network's isotropic grid along Z, and back.

The networks are trained on isotropic voxels. Plane k of the network's grid lies at k / f source planes, where
f is the Z step over the lateral one; the grid has no end, for the stack is continued by reflection. Both ways
are cubic convolutions (Keys 1981, a = -1/2) whose weights depend on the plane's index alone: so a tile gives
what the whole volume gives. Where the stack is finer along Z than laterally (f < 1) the kernel is widened on
the way there, so that nothing is aliased.

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

# The step along Z may differ from the lateral one by this much before a stack is resampled by default.
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
        """The planes of the network's grid from which the source planes ``kept`` are made."""
        first, last = kept.start * self.factor, (kept.stop - 1) * self.factor
        return Span(math.floor(first) - 1, math.floor(last) + 3)

    def source_planes(self, planes: Span) -> Span:
        """The planes of the (continued) source that the planes of the network's grid are made from."""
        reach = 2 * self._width
        return Span(
            math.floor(planes.start / self.factor - reach),
            math.ceil((planes.stop - 1) / self.factor + reach) + 1,
        )

    def there(self, planes: Span, size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """How to make planes of the network's grid from a stack of ``size`` planes.

        Returns
        -------
        indices
            The source planes to read, rising, each once.
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
        """Weights (kept, planes) to make the source planes ``kept`` from ``planes`` of the network's grid."""
        positions = np.arange(kept.start, kept.stop, dtype=np.float64) * self.factor
        return _weights(positions, planes, 1.0).astype(np.float32)

    @property
    def _width(self) -> float:
        return max(1.0, 1 / self.factor)


def choose_resampling(
    voxel_size: Sequence[float] | None, isotropic: bool | None, planes: int, has_z: bool
) -> Resampling | None:
    """Whether and how a stack is resampled.

    Parameters
    ----------
    voxel_size
        (Z, Y, X) steps in one unit, or None where not known.
    isotropic
        True and False as wished; None for resampling where the Z step differs from the lateral one by more
        than a quarter.
    planes
        Along Z; a single plane is never resampled.
    has_z
        Whether there is such an axis, for a model that takes it.

    Raises
    ------
    ValueError
        If ``isotropic`` is True and the voxel size is not known.
    """
    if not has_z or planes < 2 or isotropic is False:
        return None
    if voxel_size is None:
        if isotropic:
            raise ValueError(
                "isotropic=True needs the voxel size; give voxel_size=(z, y, x), in any one unit."
            )
        return None
    z, y, x = voxel_size
    factor = z / math.sqrt(y * x)
    # Steps read from files are rounded; nobody means a resampling by a millionth.
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
    """(positions, planes) weights of a kernel widened by ``width``; each row sums to one."""
    distance = positions[:, None] - np.arange(planes.start, planes.stop)[None, :]
    weights = _keys(distance / width)
    total: npt.NDArray[np.float64] = weights.sum(axis=1, keepdims=True)
    return weights / total
