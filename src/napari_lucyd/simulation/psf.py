"""Point-spread functions of widefield, confocal and light-sheet microscopes, and their Gaussian stand-in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import special

from napari_lucyd import checks
from napari_lucyd.simulation.aberration import Aberration, FloatArray
from napari_lucyd.simulation.diffraction import Optics, centred, coarseness, diffracted_light, likely_mistake
from napari_lucyd.simulation.phantoms import FloatImage
from napari_lucyd.text import count_text, shape_text

Wavelength = float | list[float] | tuple[float, ...]
"""A wavelength in µm, or one for each channel."""

PsfKind = Literal["gaussian", "widefield", "confocal", "light_sheet"]

# Full widths at half maximum of the Airy disc in λ/NA, and of its axial profile in λ/(n − sqrt(n² − NA²)).
LATERAL_FWHM = 0.51
AXIAL_FWHM = 0.88
# Diameter of the Airy disc, from first zero to first zero, in λ/NA.
AIRY_DIAMETER = 1.22
# Default of a confocal's pinhole.
PINHOLE_AIRY = 1.0
# Largest aberration in wavelengths RMS. Below 0.07 an objective counts as free of aberrations; at this limit
# nothing is in focus any more.
MOST_SPHERICAL = 2.0
# Microscopes are within these limits; far beyond them no PSF can be computed.
LEAST_NA, MOST_INDEX = 0.01, 2.0
_RANGES = {
    "emission_um": (0.1, 10.0, "µm"),
    "excitation_um": (0.1, 10.0, "µm"),
    "pinhole_airy": (0.001, 1000.0, "Airy units"),
    "sheet_fwhm_um": (0.01, 10_000.0, "µm"),
}
_DEEPEST_UM = 10_000.0
# 2 GB as float32; the buffers of the computation are several times as large.
_MOST_VOXELS = 2**29
FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))


def make_psf(
    kind: PsfKind,
    shape: Sequence[int],
    *,
    numerical_aperture: float,
    refractive_index: float,
    emission_um: Wavelength,
    voxel_size: float | Sequence[float],
    excitation_um: Wavelength | None = None,
    pinhole_airy: float | None = None,
    sheet_fwhm_um: float | None = None,
    sample_index: float | None = None,
    depth_um: float | None = None,
    spherical_aberration: float = 0.0,
    progress: Callable[[int, int], object] | None = None,
) -> FloatImage:
    """Compute a point-spread function from the optics.

    Uses scalar theory. Values are taken at the centres of the voxels. For pixels coarser than λ/(4 NA), which
    would miss details, they are means over the area of each pixel.

    Parameters
    ----------
    kind
        ``"widefield"``; ``"confocal"``: the excitation spot times the emission spot through the pinhole;
        ``"light_sheet"``: widefield times a Gaussian sheet along Z; ``"gaussian"``: a Gaussian without haze
        that has the widefield's full widths at half maximum, 0.51 λ/NA and 0.88 λ/(n − sqrt(n² − NA²)).
    shape
        (Z, Y, X) in voxels, or (Y, X) for the plane in focus alone; odd, so that there is a centre.
    numerical_aperture
        NA of the objective, below the refractive index.
    refractive_index
        n of the immersion, and of the specimen unless `sample_index` is given: 1.0 air, 1.33 water, 1.515
        oil.
    emission_um
        Wavelength λ of the detected light in vacuum, in µm. A list: one wavelength for each channel.
    voxel_size
        Voxel size along (Z, Y, X) or (Y, X) in µm; one number for all axes.
    excitation_um
        Required for confocal: wavelength of the laser in vacuum, in µm. With several emissions, one number
        for all or a list of as many.
    pinhole_airy
        Confocal: diameter of the pinhole in Airy units of the emission, 1.22 λ/NA; None means 1.
    sheet_fwhm_um
        Required for light sheet: thickness of the sheet, full width at half maximum, in µm.
    sample_index
        Refractive index of the specimen, if it differs from the immersion's; requires `depth_um`. The light
        of a point then has spherical aberration (Gibson and Lanni's phase), and rays beyond total reflection
        are lost.
    depth_um
        Depth of the point below the cover glass in µm; requires `sample_index`.
    spherical_aberration
        Additional primary spherical aberration in wavelengths RMS (Noll's 11th Zernike polynomial).
    progress
        Called after each plane with the number of finished planes and the total; not for a Gaussian, which
        takes no time. An exception from it stops the computation.

    Returns
    -------
    numpy.ndarray
        PSF with `shape`, float32, not negative, sum 1, and its maximum in the middle. With an aberration it
        is not symmetric along Z: the centre of mass of its light above a tenth of its peak is in the middle,
        later planes are deeper in the specimen, and the shift of the focus is left out. Light beyond the
        shape is lost: a widefield PSF holds the same energy in every plane, at any distance from focus. With
        a list of emissions, such arrays along a first axis C; ``list(psf)`` is what `RichardsonLucy` and
        `Wiener` take.

    Raises
    ------
    ValueError
        If a number is invalid, missing for this kind, or given for a kind that does not use it.

    Examples
    --------
    >>> import napari_lucyd as nl
    >>> psf = nl.make_psf("widefield", (31, 31, 31), numerical_aperture=0.8, refractive_index=1.33,
    ...                   emission_um=0.525, voxel_size=0.1625)
    >>> psf.shape, round(float(psf.sum()), 4)
    ((31, 31, 31), 1.0)
    """
    if isinstance(emission_um, list | tuple):
        one = partial(
            make_psf,
            kind,
            shape,
            numerical_aperture=numerical_aperture,
            refractive_index=refractive_index,
            voxel_size=voxel_size,
            pinhole_airy=pinhole_airy,
            sheet_fwhm_um=sheet_fwhm_um,
            sample_index=sample_index,
            depth_um=depth_um,
            spherical_aberration=spherical_aberration,
            progress=progress,
        )
        excitations = _for_each(emission_um, excitation_um)
        pairs = zip(emission_um, excitations, strict=True)
        return np.stack([one(emission_um=each, excitation_um=laser) for each, laser in pairs])
    if isinstance(excitation_um, list | tuple):
        raise ValueError(
            "excitation_um is a list, but emission_um is not; give a list for both, or for neither."
        )
    checks.choice("kind", kind, get_args(PsfKind))
    sizes = checked_sizes("shape", shape)
    voxel = voxel_sizes(voxel_size, len(sizes))
    check_optics(numerical_aperture, refractive_index, emission_um)
    check_kind(kind, excitation_um=excitation_um, pinhole_airy=pinhole_airy, sheet_fwhm_um=sheet_fwhm_um)
    optics_told = (numerical_aperture, emission_um, excitation_um)
    check_voxels(sizes, likely_mistake(voxel, *optics_told, otherwise="Give a smaller shape."))
    aberration = checked_aberration(refractive_index, sample_index, depth_um, spherical_aberration)
    if kind == "gaussian" and aberration:
        raise ValueError(
            "A gaussian PSF has no aberration; choose another kind, or leave the aberration out."
        )

    # A plane is a volume with one Z, in focus, for any step.
    volume_shape, steps = (1, *sizes)[-3:], (1.0, *voxel)[-3:]
    optics = Optics(numerical_aperture, refractive_index, aberration)
    if kind == "gaussian":
        psf = _gaussian(volume_shape, steps, optics, emission_um)
    else:
        pinhole_um = 0.0
        if kind == "confocal":
            pinhole_um = (pinhole_airy or PINHOLE_AIRY) * AIRY_DIAMETER * emission_um / numerical_aperture
        psf = diffracted_light(volume_shape, steps, optics, emission_um, excitation_um, pinhole_um, progress)
    if sheet_fwhm_um is not None:
        z_um = centred(volume_shape[0]) * steps[0]
        psf *= np.exp(-0.5 * (z_um * FWHM_PER_SIGMA / sheet_fwhm_um) ** 2)[:, None, None]
    return np.asarray(psf / psf.sum(), np.float32).reshape(sizes)


def _for_each(emissions: Sequence[float], excitation: Wavelength | None) -> Sequence[float | None]:
    """Return the excitation of each channel."""
    if not emissions:
        raise ValueError("emission_um is an empty list; give a wavelength for each channel.")
    if not isinstance(excitation, list | tuple):
        return [excitation] * len(emissions)
    if len(excitation) != len(emissions):
        listed = count_text(len(emissions), "wavelength")
        raise ValueError(
            f"emission_um lists {listed} and excitation_um {len(excitation)}; give as many "
            "for both, or one excitation for all."
        )
    return excitation


def checked_sizes(name: str, shape: Any) -> tuple[int, ...]:
    """Return the sizes of a PSF along (Z, Y, X) or (Y, X).

    Parameters
    ----------
    name
        Name of the argument, for errors.
    shape
        The sizes as given.

    Raises
    ------
    TypeError, ValueError
        If they are not two or three odd numbers.
    """
    expected = "(Z, Y, X) or (Y, X), odd integers"
    sizes = tuple(checks.integer(name, size) for size in checks.items(name, shape, expected))
    if len(sizes) not in (2, 3) or any(n < 1 or n % 2 == 0 for n in sizes):
        raise ValueError(f"{name} is {sizes}; give two or three odd sizes, such as (31, 31, 31).")
    return sizes


def check_voxels(sizes: Sequence[int], advice: str) -> None:
    """Refuse a PSF that no memory can hold.

    Parameters
    ----------
    sizes
        The sizes along its axes.
    advice
        Last sentence of the error.
    """
    if math.prod(sizes) > _MOST_VOXELS:
        raise ValueError(
            f"The PSF would have {shape_text(sizes)} voxels, but at most {_MOST_VOXELS // 10**6} million are "
            f"possible. {advice}"
        )


def optics_record(kind: PsfKind, **optics: Wavelength | None) -> dict[str, Any]:
    """Return the optics of a PSF as plain JSON data, for a file or a layer.

    Parameters
    ----------
    kind, **optics
        Kind and optics; see `make_psf`. The shape and the voxel size are left out.

    Examples
    --------
    >>> optics_record("gaussian", numerical_aperture=0.8, emission_um=0.525, pinhole_airy=None)
    {'microscope': 'gaussian', 'numerical_aperture': 0.8, 'emission_um': 0.525}
    """
    given = {name: value for name, value in optics.items() if value is not None}
    record: dict[str, Any] = {"microscope": kind, **given}
    if kind == "confocal":
        record.setdefault("pinhole_airy", PINHOLE_AIRY)
    return record


def light_at_the_edge(psf: npt.ArrayLike) -> float | None:
    """Return the light of the brighter end plane as a share of the brightest one, or None for a single plane.

    If a PSF is cut off where there is still light, deconvolution leaves haze. The brightest plane is the one
    in focus, wherever that lies in a measured PSF, so the share is 1 at most.

    Parameters
    ----------
    psf
        (Z, Y, X) or (Y, X).
    """
    psf = np.asarray(psf)
    if psf.ndim < 3 or len(psf) == 1:
        return None
    light = psf.sum(axis=(1, 2), dtype=np.float64)
    focus = float(light.max())
    return max(0.0, float(light[0]), float(light[-1])) / focus if focus > 0 else None


def voxel_sizes(voxel_size: float | Sequence[float], ndim: int) -> tuple[float, ...]:
    """Return one size in µm per axis, from one number or one per axis."""
    return checks.per_axis("voxel_size", voxel_size, ndim, "above 0, in µm", lambda size: 0 < size < math.inf)


def _gaussian(
    shape: tuple[int, ...], steps: tuple[float, ...], optics: Optics, wavelength: float
) -> FloatArray:
    lateral = LATERAL_FWHM * wavelength / optics.numerical_aperture
    axial = AXIAL_FWHM * wavelength / (optics.refractive_index - optics.cosine)
    coarse = coarseness(steps, optics, wavelength)
    profiles = []
    for size, step, fwhm, over in zip(shape, steps, (axial, lateral, lateral), (1, *coarse), strict=True):
        offsets = centred(size) * step * FWHM_PER_SIGMA / fwhm
        if over > 1:
            half = step / 2 * FWHM_PER_SIGMA / fwhm
            profiles.append(special.ndtr(offsets + half) - special.ndtr(offsets - half))
        else:
            profiles.append(np.exp(-0.5 * offsets**2))
    z, y, x = profiles
    return np.asarray(z[:, None, None] * y[:, None] * x)


def checked_aberration(
    refractive_index: float,
    sample_index: float | None,
    depth_um: float | None,
    spherical_aberration: float = 0.0,
) -> Aberration:
    """Refuse invalid numbers; return the aberration that they describe."""
    for name, value in (("sample_index", sample_index), ("depth_um", depth_um)):
        if value is not None:
            checks.number(name, value)
    checks.number("spherical_aberration", spherical_aberration)
    if (sample_index is None) != (depth_um is None):
        missing, given = ("depth_um", "sample_index") if depth_um is None else ("sample_index", "depth_um")
        raise ValueError(f"{given} is given without {missing}; give both for an index mismatch, or neither.")
    if sample_index is not None and not 1 <= sample_index <= MOST_INDEX:
        raise ValueError(
            f"sample_index is {sample_index:g}; give a number from 1 to {MOST_INDEX:g} (1.33 water, 1.45 "
            "glycerol)."
        )
    if depth_um is not None and not 0 <= depth_um <= _DEEPEST_UM:
        raise ValueError(f"depth_um is {depth_um:g}; give a number from 0 to {_DEEPEST_UM:g}, in µm.")
    if not abs(spherical_aberration) <= MOST_SPHERICAL:
        raise ValueError(
            f"spherical_aberration is {spherical_aberration}; give a number from -{MOST_SPHERICAL:g} to "
            f"{MOST_SPHERICAL:g} wavelengths."
        )
    index = None if sample_index == refractive_index else sample_index
    return Aberration(index, depth_um or 0.0, float(spherical_aberration))


def check_optics(numerical_aperture: float, refractive_index: float, emission_um: float) -> None:
    """Refuse an invalid objective or wavelength."""
    checks.number("numerical_aperture", numerical_aperture)
    checks.number("refractive_index", refractive_index)
    if not 1 <= refractive_index <= MOST_INDEX:
        raise ValueError(
            f"refractive_index is {refractive_index:g}; give a number from 1 to {MOST_INDEX:g} (1.0 air, "
            "1.33 water, 1.515 oil)."
        )
    if not LEAST_NA <= numerical_aperture < refractive_index:
        raise ValueError(
            f"numerical_aperture is {numerical_aperture:g}; give a number of at least {LEAST_NA:g} "
            f"and below refractive_index, {refractive_index:g} (1.0 air, 1.33 water, 1.515 oil)."
        )
    _check_length("emission_um", emission_um)


def check_kind(kind: PsfKind, **given: float | None) -> None:
    """Refuse parameters that a kind of PSF lacks or does not use."""
    uses = {"confocal": ("excitation_um", "pinhole_airy"), "light_sheet": ("sheet_fwhm_um",)}
    for name, value in given.items():
        if name in uses.get(kind, ()):
            if value is None and name != "pinhole_airy":
                raise ValueError(f"{name} is missing; a {kind.replace('_', ' ')} PSF needs it.")
            if value is not None:
                _check_length(name, value)
        elif value is not None:
            raise ValueError(
                f"{name} is {checks.shown(value)}, but a {kind} PSF does not use it; leave it out."
            )


def _check_length(name: str, value: float) -> None:
    least, most, unit = _RANGES[name]
    expected = f"a number from {least:g} to {most:g}, in {unit}"
    checks.number(name, value, expected)
    # The usual mistake is a wavelength in nanometres.
    if name in ("emission_um", "excitation_um") and 100 <= value <= 10_000:
        raise ValueError(f"{name} is {value:g}; give it in µm: {value / 1000:g} for {value:g} nm.")
    if not least <= value <= most:
        raise ValueError(f"{name} is {value:g}; give {expected}.")
