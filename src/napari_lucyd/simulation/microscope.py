"""Microscope as a value, with its PSF on any voxels and its optical units."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

from napari_lucyd.simulation.diffraction import Optics
from napari_lucyd.simulation.phantoms import FloatImage
from napari_lucyd.simulation.psf import (
    FWHM_PER_SIGMA,
    PINHOLE_AIRY,
    PsfKind,
    check_kind,
    check_optics,
    check_voxels,
    checked_aberration,
    checked_sizes,
    make_psf,
    voxel_sizes,
)

Modality = Literal["widefield", "confocal", "light-sheet"]

_KINDS: dict[str, PsfKind] = {
    "widefield": "widefield",
    "confocal": "confocal",
    "light-sheet": "light_sheet",
    "light_sheet": "light_sheet",
}
# Axial reach of a PSF in units of λ/(n − sqrt(n² − NA²)). Light on the axis falls as 1/(πz)², here to 1/400.
_WIDEFIELD_REACH = 6.4
# A confocal PSF is the product of excitation and emission, which both fall like this: here to 1/8,000.
_CONFOCAL_REACH = 3.0
# A Gaussian sheet holds 99.7 % of its light within three standard deviations.
_SHEET_REACH = 3.0
# Largest size of a PSF, in sizes of the volume that is deconvolved.
_REACH = 1.5
# Parameters that `make_psf` gets otherwise.
_NOT_OPTICS = ("modality", "psf_size")
# Lateral reach beyond the cone of light, in λ/NA: three dark rings of an Airy disc, with 94 % of its light.
_RINGS = 1.62


@dataclass(frozen=True)
class Microscope:
    """A microscope, with the index of the specimen and the depth of the focus.

    Parameters
    ----------
    modality
        ``"widefield"``, ``"confocal"`` or ``"light-sheet"``.
    numerical_aperture
        NA of the objective, below the refractive index.
    refractive_index
        n of the immersion, and of the specimen unless `sample_index` is given: 1.0 air, 1.33 water, 1.515
        oil.
    emission_um
        Wavelength λ of the detected light in vacuum, in µm.
    excitation_um
        Required for confocal: wavelength of the laser in vacuum, in µm.
    pinhole_airy
        Confocal: diameter of the pinhole in Airy units of the emission, 1.22 λ/NA; None means 1.
    sheet_fwhm_um
        Required for light sheet: thickness of the sheet, full width at half maximum, in µm.
    sample_index
        Refractive index of the specimen, if it differs from the immersion's; requires `depth_um`.
    depth_um
        Depth of the focus below the cover glass in µm; requires `sample_index`.
    psf_size
        Size of the PSF in voxels along (Z, Y, X) or (Y, X), odd numbers; None for one that contains nearly
        all of its light. A size along Z that is not given is chosen.

    Raises
    ------
    ValueError
        If a number is invalid, missing for this modality, or given for a modality that does not use it.

    Examples
    --------
    >>> import napari_lucyd as nl
    >>> microscope = nl.Microscope("widefield", numerical_aperture=1.4, refractive_index=1.515,
    ...                            emission_um=0.525)
    >>> microscope.psf((0.2, 0.1, 0.1), shape=(15, 31, 31)).shape
    (15, 31, 31)
    >>> [round(unit, 3) for unit in microscope.optical_units]
    [0.561, 0.375, 0.375]
    """

    modality: Modality
    _: KW_ONLY
    numerical_aperture: float
    refractive_index: float
    emission_um: float
    excitation_um: float | None = None
    pinhole_airy: float | None = None
    sheet_fwhm_um: float | None = None
    sample_index: float | None = None
    depth_um: float | None = None
    psf_size: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.modality not in _KINDS:
            raise ValueError(f"modality is {self.modality!r}; give one of {', '.join(get_args(Modality))}.")
        object.__setattr__(self, "modality", self.modality.replace("_", "-"))
        check_optics(self.numerical_aperture, self.refractive_index, self.emission_um)
        check_kind(
            self._kind,
            excitation_um=self.excitation_um,
            pinhole_airy=self.pinhole_airy,
            sheet_fwhm_um=self.sheet_fwhm_um,
        )
        checked_aberration(self.refractive_index, self.sample_index, self.depth_um)
        if self.psf_size is not None:
            object.__setattr__(self, "psf_size", checked_sizes("psf_size", self.psf_size))
            check_voxels(self.psf_size, "Give a smaller psf_size.")

    @property
    def parameters(self) -> dict[str, Any]:
        """Plain JSON data to make it again: ``Microscope(**parameters)``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.psf_size is not None:
            values["psf_size"] = list(self.psf_size)
        return {name: value for name, value in values.items() if value is not None}

    @property
    def optical_units(self) -> tuple[float, float, float]:
        """Optical units along (Z, Y, X) in µm: λ/(n − sqrt(n² − NA²)) along Z, and λ/NA along Y and X.

        With voxels of the same size in these units, the PSF hardly depends on NA, index and wavelength.
        """
        lateral = self.emission_um / self.numerical_aperture
        return (self.emission_um / (self.refractive_index - self._optics.cosine), lateral, lateral)

    def in_optical_units(self, voxel_size: float | Sequence[float]) -> tuple[float, ...]:
        """Convert a voxel size to optical units.

        Parameters
        ----------
        voxel_size
            Voxel size along (Z, Y, X) or (Y, X) in µm; one number means three equal axes.

        Returns
        -------
        tuple of float
            The same number of values, without a unit. The sampling is fine enough if Y and X are below 0.25
            and Z is below 0.5.
        """
        voxel = _voxels(voxel_size)
        return tuple(size / unit for size, unit in zip(voxel, self.optical_units[-len(voxel) :], strict=True))

    def psf_shape(
        self, voxel_size: float | Sequence[float], volume: Sequence[int] | None = None
    ) -> tuple[int, ...]:
        """Choose the shape of a PSF that contains nearly all of its light, or return `psf_size`.

        Along Z the PSF ends where the light on the axis falls to 1/400 of that in focus (widefield) or to
        1/8,000 (confocal), or at three standard deviations of a light sheet. All planes of a widefield PSF
        hold the same total light, at any distance; farther out it is so even that a background describes it.
        Along Y and X the PSF contains the cone of light and three dark rings of the Airy disc around it.

        Parameters
        ----------
        voxel_size
            Voxel size along (Z, Y, X), or (Y, X) for the plane in focus alone, in µm; one number means
            three equal ones.
        volume
            Shape of the volume that is deconvolved. A PSF of a chosen size ends at 1.5 times its sizes,
            because light from farther away is even.

        Returns
        -------
        tuple of int
            Odd numbers, one per axis.
        """
        voxel = _voxels(voxel_size)
        chosen = self._chosen_shape(voxel)
        if volume is not None:
            ends = [math.ceil(_REACH * n) // 2 * 2 + 1 for n in volume]
            chosen = tuple(min(sizes) for sizes in zip(chosen, ends, strict=True))
        given = tuple(self.psf_size or ())[-len(voxel) :]
        return (*chosen[: len(voxel) - len(given)], *given)

    def _chosen_shape(self, voxel: tuple[float, ...]) -> tuple[int, ...]:
        axial, lateral, _ = self.optical_units
        if self.modality == "confocal":
            open_pinhole = max(1.0, self.pinhole_airy or PINHOLE_AIRY)
            reach = min(_WIDEFIELD_REACH, _CONFOCAL_REACH * open_pinhole) * axial
        elif self.sheet_fwhm_um is not None:
            reach = min(_WIDEFIELD_REACH * axial, _SHEET_REACH * self.sheet_fwhm_um / FWHM_PER_SIGMA)
        else:
            reach = _WIDEFIELD_REACH * axial
        reach += self._focal_spread()
        cone = reach * self.numerical_aperture / self._optics.cosine if len(voxel) == 3 else 0.0
        around = cone + _RINGS * lateral
        return tuple(
            2 * math.ceil(length / size) + 1
            for length, size in zip((reach, around, around)[-len(voxel) :], voxel, strict=True)
        )

    def psf(
        self,
        voxel_size: float | Sequence[float],
        shape: Sequence[int] | None = None,
        *,
        progress: Callable[[int, int], object] | None = None,
    ) -> FloatImage:
        """Compute the point-spread function on an image's voxels.

        Parameters
        ----------
        voxel_size
            Voxel size along (Z, Y, X), or (Y, X) for the plane in focus alone, in µm; one number means
            three equal ones.
        shape
            One odd number per axis; None for `psf_shape`.
        progress
            Function for progress; see `make_psf`.

        Returns
        -------
        numpy.ndarray
            (Z, Y, X) or (Y, X), float32, not negative, sum 1; see `make_psf`.

        Raises
        ------
        ValueError
            If the voxel size or the shape is invalid.
        """
        voxel = _voxels(voxel_size)
        optics = {name: value for name, value in self.parameters.items() if name not in _NOT_OPTICS}
        sizes = self.psf_shape(voxel) if shape is None else shape
        if len(sizes) != len(voxel):
            raise ValueError(
                f"The shape is {tuple(sizes)} and the voxel size is {voxel} µm; give the same number of "
                f"values for both."
            )
        return make_psf(self._kind, sizes, voxel_size=voxel, progress=progress, **optics)

    def _focal_spread(self) -> float:
        """Return the distance in µm between the foci of rays from a specimen with another index."""
        if self.sample_index is None or self.depth_um is None:
            return 0.0
        # For four fifths of the light, since the focus of the steepest rays may be infinitely far away.
        steep = 0.9 * min(self.numerical_aperture, self.sample_index)
        ratios = [
            math.sqrt((self.refractive_index**2 - r**2) / (self.sample_index**2 - r**2)) for r in (0.0, steep)
        ]
        return self.depth_um * abs(ratios[1] - ratios[0])

    @property
    def _kind(self) -> PsfKind:
        return _KINDS[self.modality]

    @property
    def _optics(self) -> Optics:
        return Optics(self.numerical_aperture, self.refractive_index)


def _voxels(voxel_size: float | Sequence[float]) -> tuple[float, ...]:
    """Return two or three sizes in µm, three for a single number."""
    given = np.size(voxel_size)
    return voxel_sizes(voxel_size, 2 if given == 2 else 3)
