"""The dark level of a volume: the camera's offset and the haze that is everywhere, found in the image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

# Number of voxels along Y and X to average, so that noise hardly lowers the darkest value.
_SIDE = 5
# Shares of the voxels: the level is that of the darkest ones, and its noise is measured in a few more.
_DARKEST, _DARK = 0.001, 0.01
# Largest number of voxels to examine; more would not change the level.
_MOST_VOXELS = 2**25
# Distance of the floor below the level, in standard deviations of the noise.
_REACH = 3.0


@dataclass(frozen=True)
class DarkLevel:
    """The darkest level of a volume.

    Attributes
    ----------
    level
        Mean of the darkest places, in units of the image.
    noise
        Standard deviation of single voxels there.
    """

    level: float
    noise: float

    @property
    def floor(self) -> float:
        """Level below which noise hardly ever falls."""
        return self.level - self.pedestal

    @property
    def pedestal(self) -> float:
        """The distance from `floor` to `level`."""
        return _REACH * self.noise


def find_dark_level(values: npt.NDArray[np.float32]) -> DarkLevel:
    """Find the dark level of a volume; it shifts and scales with the image.

    Parameters
    ----------
    values
        (Y, X) or (Z, Y, X), finite. In a large volume, only every nth plane is examined.
    """
    planes = values if values.ndim == 3 else values[None]
    step = max(1, math.ceil(planes.size / _MOST_VOXELS))
    planes = planes[(len(planes) - 1) % step // 2 :: step]
    # Subtract the smallest value first, so that a large offset costs no digits.
    origin = float(planes.min())
    above = planes - np.float32(origin)
    smooth = ndimage.uniform_filter(above, (0, _SIDE, _SIDE), mode="reflect")
    level = float(np.quantile(smooth, _DARKEST))
    dark = smooth <= np.quantile(smooth, _DARK)
    # The mean over the square contains the voxel itself.
    share = 1 - 1 / min(_SIDE, values.shape[-1]) / min(_SIDE, values.shape[-2])
    noise = float(np.std((above - smooth)[dark])) / math.sqrt(share) if share else 0.0
    return DarkLevel(origin + level, noise)
