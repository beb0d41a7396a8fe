"""Spherical aberration in the pupil: a specimen of another refractive index, or a coefficient.

The phase is that of Gibson and Lanni [1]_, for a cover glass and an immersion as designed. A point lies at
depth d below the cover glass in a specimen of index n_s, and the objective has moved by Z towards it. A ray
that leaves the immersion with n·sin(angle) = ρ then has the optical path d·sqrt(n_s² − ρ²) − Z·sqrt(n² − ρ²).

References
----------
.. [1] S. F. Gibson and F. Lanni, "Experimental test of an analytical model of aberration in an oil-immersion
   objective lens used in three-dimensional light microscopy", J. Opt. Soc. Am. A 9 (1992), 154-166.
.. [2] R. J. Noll, "Zernike polynomials and atmospheric turbulence", J. Opt. Soc. Am. 66 (1976), 207-211.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

FloatArray = npt.NDArray[np.float64]

# Rays at the angle of total reflection run along the cover glass, and their focus is infinitely far away.
# They are imaged, but the PSF gets no room for their spread beyond this share of the specimen's index.
_GRAZING = 0.98
# The centre of a PSF is the centre of mass of its light above this share of the peak.
CORE = 0.1


@dataclass(frozen=True)
class Aberration:
    """Aberration of the light from a point at some depth in the specimen.

    Parameters
    ----------
    sample_index
        Refractive index of the specimen; None if it equals that of the immersion.
    depth_um
        Depth of the point below the cover glass.
    spherical
        Primary spherical aberration (Noll's 11th polynomial), in wavelengths RMS.
    """

    sample_index: float | None = None
    depth_um: float = 0.0
    spherical: float = 0.0

    def __bool__(self) -> bool:
        return self.spherical != 0 or (self.sample_index is not None and self.depth_um > 0)

    def cut_off(self, numerical_aperture: float) -> float:
        """Return the aperture that light from the specimen can fill."""
        if self.sample_index is None or self.depth_um == 0:
            return numerical_aperture
        return min(numerical_aperture, self.sample_index)

    def path(self, rho: FloatArray, numerical_aperture: float, wavelength: float) -> FloatArray:
        """Return the optical path in µm, but for the objective's movement, within `cut_off`."""
        path = np.zeros_like(rho)
        if self.sample_index is not None:
            path += self.depth_um * np.sqrt(np.maximum(self.sample_index**2 - rho**2, 0))
        if self.spherical:
            squared = (rho / numerical_aperture) ** 2
            path += self.spherical * wavelength * math.sqrt(5) * (6 * squared**2 - 6 * squared + 1)
        return path

    def spread(
        self, z_um: tuple[float, float], numerical_aperture: float, refractive_index: float, wavelength: float
    ) -> float:
        """Return how far from the axis rays meet the planes between two positions, in µm."""
        last = self.cut_off(numerical_aperture)
        if self.sample_index is not None and last >= self.sample_index * _GRAZING:
            last = self.sample_index * _GRAZING
        rho = np.linspace(0, last, 200)
        path = self.path(rho, numerical_aperture, wavelength)
        moved = np.sqrt(refractive_index**2 - rho**2)
        # A ray follows the slope of the path, as for any wave front.
        return max(float(np.abs(np.gradient(path - z * moved, rho)).max()) for z in z_um)


def centre_of_light(
    numerical_aperture: float, refractive_index: float, aberration: Aberration, wavelengths: tuple[float, ...]
) -> float:
    """Return the position of the objective at which a point is in focus, in µm from the cover glass.

    This is the centre of mass of the light above a tenth of its peak, along the axis. Without aberration, and
    in a specimen with the immersion's index, it equals the depth.

    Parameters
    ----------
    numerical_aperture, refractive_index
        NA of the objective and index of its immersion.
    aberration
        Aberration of the specimen.
    wavelengths
        Wavelengths in µm: of the emission, and of the excitation if it is focused too.
    """
    aperture = aberration.cut_off(numerical_aperture)
    ends = [0.0]
    if aberration.sample_index is not None:
        last = min(aperture, _GRAZING * aberration.sample_index)
        ends = [
            aberration.depth_um
            * math.sqrt((refractive_index**2 - r**2) / (aberration.sample_index**2 - r**2))
            for r in (0.0, last)
        ]
    length = max(wavelengths) / (refractive_index - math.sqrt(refractive_index**2 - aperture**2))
    beyond = (4 + 12 * abs(aberration.spherical)) * length
    z = np.arange(min(ends) - beyond, max(ends) + beyond, min(wavelengths) / max(wavelengths) * length / 32)
    # From ring to ring of the pupil, the phase turns by less than a quarter at the ends.
    reach = aberration.spread((z[0], z[-1]), numerical_aperture, refractive_index, max(wavelengths))
    rho = np.linspace(0, aperture, 256 + math.ceil(8 * reach * aperture / min(wavelengths)))
    radius = np.linspace(0, 2.5 * max(wavelengths) / aperture, 40)
    light = np.ones((len(radius), len(z)))
    for wavelength in wavelengths:
        k = 2 * math.pi / wavelength
        rings = special.j0(k * radius[:, None] * rho) * rho
        moved = np.sqrt(np.maximum(refractive_index**2 - rho**2, 0))
        path = aberration.path(rho, numerical_aperture, wavelength)
        field = rings @ np.exp(1j * k * (path[:, None] - moved[:, None] * z))
        light *= field.real**2 + field.imag**2
    core = np.where(light >= CORE * light.max(), light, 0) * radius[:, None]
    return float((core.sum(axis=0) * z).sum() / core.sum())
