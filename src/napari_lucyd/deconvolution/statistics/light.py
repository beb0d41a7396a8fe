"""Numbers of an image that its first estimate is computed and scaled with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Light:
    """Dark level, noise and brightness of all volumes with equal scaling.

    Attributes
    ----------
    level
        Dark level of the image, in its units.
    pedestal
        Distance from the level down to a floor that noise hardly falls below, in units of the image.
    scale
        Brightness of the light above the level, in units of the image.
    noise
        Standard deviation of the noise as a share of the scale.
    peak, mean
        Brightest voxel and mean above the floor, in units of the image.
    blur_sigma
        Standard deviations of the Gaussian blur that was found in the image, in voxels along (Z,) Y, X; empty
        if the blur was told.
    """

    level: float
    pedestal: float
    scale: float
    noise: float
    peak: float
    mean: float
    blur_sigma: tuple[float, ...] = ()

    @property
    def floor(self) -> float:
        """A level that noise hardly falls below."""
        return self.level - self.pedestal
