"""Light of a point through a microscope, by the Fourier transform of its pupil.

Scalar theory [1]_: the field of a point at defocus z is the Fourier transform of an evenly filled pupil of
radius NA/λ with the phase 2πz·sqrt((n/λ)² − f²). There is no polarisation, and all aberrations are symmetric
about the axis.

References
----------
.. [1] J. W. Goodman, "Introduction to Fourier Optics", 3rd ed., Roberts & Company, 2005, chapter 6.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, special

from napari_lucyd.simulation.aberration import Aberration, FloatArray, centre_of_light

# The FFT repeats the field sideways. Its period exceeds the PSF by this many λ/NA, which keeps out the rings
# of the copies. The pupil has at least this radius in samples, so that its steps have no effect.
MARGIN = 40
# Samples of a plane; more than this would take over 2 GB. PSFs that fit into a stack need a few million.
MOST_SAMPLES = 2**24
# Usual numbers: smallest, largest, and the words for them. They are not limits.
_USUAL = {
    "numerical_aperture": (0.1, 1.5, "objectives have"),
    "emission_um": (0.3, 1.2, "in µm, light that is detected has"),
    "excitation_um": (0.3, 1.2, "in µm, lasers have"),
    "voxel_size": (0.02, 10.0, ""),
}
# Voxels that are finer than the optics need by more than this factor do not belong to them.
_FINE = 4


@dataclass(frozen=True)
class Optics:
    """An objective with the refractive index of its immersion, and the aberrations of the specimen."""

    numerical_aperture: float
    refractive_index: float
    aberration: Aberration = field(default_factory=Aberration)

    @property
    def cosine(self) -> float:
        """sqrt(n² − NA²): n times the cosine of the widest ray's angle."""
        return math.sqrt(self.refractive_index**2 - self.numerical_aperture**2)


def diffracted_light(
    shape: tuple[int, ...],
    steps: tuple[float, ...],
    optics: Optics,
    emission_um: float,
    excitation_um: float | None,
    pinhole_um: float,
    progress: Callable[[int, int], object] | None = None,
) -> FloatArray:
    """Compute plane by plane the emission's intensity, times that of the excitation where there is one."""
    wavelengths = [emission_um] if excitation_um is None else [emission_um, excitation_um]
    coarse = coarseness(steps, optics, min(wavelengths))
    # In ray optics, the light of a point at this defocus fills a cone.
    cone_um = shape[0] // 2 * steps[0] * optics.numerical_aperture / optics.cosine
    focus_um = 0.0
    if optics.aberration:
        aperture, index = optics.numerical_aperture, optics.refractive_index
        focus_um = centre_of_light(aperture, index, optics.aberration, tuple(wavelengths))
        ends = (focus_um - shape[0] // 2 * steps[0], focus_um + shape[0] // 2 * steps[0])
        cone_um = optics.aberration.spread(ends, aperture, index, max(wavelengths))
    margin_um = MARGIN * max(wavelengths) / optics.numerical_aperture + pinhole_um
    lengths = []
    for size, step, over in zip(shape[1:], steps[1:], coarse, strict=True):
        half_um = size * step / 2
        lengths.append((half_um + max(half_um, cone_um) + margin_um) * over / step)
    if not math.prod(lengths) <= MOST_SAMPLES:
        raise ValueError(
            f"The PSF needs {math.prod(lengths):.3g} samples for each plane, but at most {MOST_SAMPLES:,} "
            f"are possible. {likely_mistake(steps, optics.numerical_aperture, emission_um, excitation_um)}"
        )
    frequencies, window = [], []
    for size, step, over, length in zip(shape[1:], steps[1:], coarse, lengths, strict=True):
        period = fft.next_fast_len(math.ceil(length))
        frequencies.append(np.fft.fftfreq(period, step / over))
        window.append(centred(size).astype(int) * over % period)  # zero is the FFT's first sample
    squared = frequencies[0][:, None] ** 2 + frequencies[1] ** 2
    pinhole = _disc_spectrum(np.sqrt(squared), pinhole_um / 2)
    y_pixel, x_pixel = (
        np.sinc(frequency * step) if over > 1 else np.ones_like(frequency)
        for frequency, step, over in zip(frequencies, steps[1:], coarse, strict=True)
    )
    pixel = y_pixel[:, None] * x_pixel

    pupils = [_pupil(squared, optics, wavelength) for wavelength in wavelengths]

    planes: list[FloatArray] = []
    # Without aberration, defocus up and down differ only in the sign of the phase, which an intensity does
    # not show.
    first = -(shape[0] // 2) if optics.aberration else 0
    number = shape[0] // 2 + 1 - first
    for index in range(first, shape[0] // 2 + 1):
        z_um = focus_um + index * steps[0]
        plane = _intensity(z_um, squared, optics, emission_um, pupils[0])
        if excitation_um is not None:
            excited = _intensity(z_um, squared, optics, excitation_um, pupils[1])
            plane = _filtered(plane, pinhole) * excited
        if max(coarse) > 1:
            plane = _filtered(plane, pixel)
        planes.append(plane[np.ix_(*window)])
        if progress is not None:
            progress(len(planes), number)
    return np.stack(planes if optics.aberration else [*planes[:0:-1], *planes])


def likely_mistake(
    steps: Sequence[float],
    numerical_aperture: float,
    emission_um: float,
    excitation_um: float | None,
    *,
    otherwise: str = "Check the size of the PSF, the voxel size and the optics.",
) -> str:
    """Name the number to check where a PSF is too large to be computed: the least usual one.

    Parameters
    ----------
    steps
        Voxel size in µm.
    numerical_aperture, emission_um, excitation_um
        The optics.
    otherwise
        Advice if no number is unusual.
    """
    given = [("numerical_aperture", numerical_aperture), ("emission_um", emission_um)]
    given += [] if excitation_um is None else [("excitation_um", excitation_um)]
    given += [("voxel_size", step) for step in (min(steps), max(steps))]

    def excess(name: str, value: float) -> float:
        least, most, _ = _USUAL[name]
        return max(least / value, value / most)

    name, value = max(given, key=lambda pair: excess(*pair))
    least, most, what = _USUAL[name]
    if excess(name, value) > 1:
        # A semi-blind method computes with other steps than the given ones.
        if name == "voxel_size":
            return "Check that voxel_size is in µm, not nm."
        return f"Check {name}: it is {value:g}; {what} {least:g} to {most:g}."
    fine = emission_um / (4 * numerical_aperture) / steps[-1]
    if fine <= _FINE:
        return otherwise
    return (
        f"Check numerical_aperture and voxel_size: the voxels are {fine:.0f} times as fine as the optics "
        "need."
    )


def _pupil(squared: FloatArray, optics: Optics, wavelength: float) -> npt.NDArray[Any]:
    """Return the light in the pupil: even, with the phase of the aberrations."""
    aperture, aberration = optics.numerical_aperture, optics.aberration
    if not aberration:
        return np.asarray(squared <= (aperture / wavelength) ** 2)
    inside = squared <= (aberration.cut_off(aperture) / wavelength) ** 2
    path = aberration.path(np.sqrt(squared[inside]) * wavelength, aperture, wavelength)
    pupil = np.zeros(squared.shape, np.complex128)
    # The sign is for a point below the cover glass; the movement of the objective is subtracted.
    pupil[inside] = np.exp(-2j * np.pi / wavelength * path)
    return pupil


def _intensity(
    z_um: float, squared: FloatArray, optics: Optics, wavelength: float, pupil: npt.NDArray[Any]
) -> FloatArray:
    inside = squared <= (optics.numerical_aperture / wavelength) ** 2
    axial = np.sqrt(np.where(inside, (optics.refractive_index / wavelength) ** 2 - squared, 0))
    field = fft.ifft2(pupil * np.exp(2j * np.pi * z_um * axial))
    return np.asarray(field.real**2 + field.imag**2)


def _disc_spectrum(frequency: FloatArray, radius_um: float) -> FloatArray:
    """Return the Fourier transform of a disc with integral 1."""
    argument = 2 * np.pi * radius_um * frequency
    safe = np.where(argument > 0, argument, 1)
    return np.where(argument > 0, 2 * special.j1(safe) / safe, 1.0)


def _filtered(plane: FloatArray, spectrum: FloatArray) -> FloatArray:
    half = plane.shape[1] // 2 + 1
    filtered = fft.irfft2(fft.rfft2(plane) * spectrum[:, :half], plane.shape)
    # Rounding may make means of light negative.
    return np.maximum(np.asarray(filtered, np.float64), 0)


def coarseness(steps: tuple[float, ...], optics: Optics, wavelength: float) -> tuple[int, int]:
    """Return the number of samples per pixel along (Y, X) for a spacing of at most λ/(4 NA)."""
    # An intensity has frequencies up to 2 NA/λ.
    nyquist = wavelength / (4 * optics.numerical_aperture)
    y, x = (math.ceil(step / nyquist * (1 - 1e-9)) for step in steps[1:])
    return y, x


def centred(size: int) -> FloatArray:
    """Return whole numbers with 0 in the middle."""
    return np.arange(size, dtype=np.float64) - size // 2
