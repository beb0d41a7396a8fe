"""Surrogates of the LUCYD paper's nuclei, membrane (actin) and light-sheet images: phantoms through optics.

The paper shows such images, but not the optics and the noise of its simulations. The images here are
therefore surrogates, and must be called so: a widefield objective of NA 0.8 in water, with the haze and the
low noise that the batch statistics of the authors' weights suggest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy.typing as npt

from napari_lucyd import checks
from napari_lucyd.simulation.acquisition import acquire
from napari_lucyd.simulation.degradation import Degraded
from napari_lucyd.simulation.phantoms import BACKGROUND
from napari_lucyd.simulation.psf import make_psf, voxel_sizes

SpecimenKind = Literal["nuclei", "membranes", "light_sheet"]

# Ours, since none are published.
NUMERICAL_APERTURE = 0.8
REFRACTIVE_INDEX = 1.33
VOXEL_UM = 0.1625
READ_NOISE = 0.5
SHEET_FWHM_UM = 3.5
# Haze matters: 127 voxels of 0.1625 µm hold the whole cone of light, which is 7.7 µm wide at the ends.
PSF_REACH_UM = 63 * VOXEL_UM


@dataclass(frozen=True)
class _Preset:
    emission_um: float
    photons_per_unit: float


_PRESETS: dict[SpecimenKind, _Preset] = {
    "nuclei": _Preset(emission_um=0.525, photons_per_unit=5.0),
    "membranes": _Preset(emission_um=0.607, photons_per_unit=1.0),
    "light_sheet": _Preset(emission_um=0.525, photons_per_unit=5.0),
}


def make_surrogate(
    truth: npt.ArrayLike,
    specimen: SpecimenKind = "nuclei",
    *,
    voxel_size: float | Sequence[float] = VOXEL_UM,
    sheet_fwhm_um: float | None = None,
    field_shape: Sequence[int] | None = None,
    rng: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Degraded:
    """Image a phantom as a surrogate of the paper's nuclei, membranes or light-sheet stacks.

    The optics and noise of the paper's images are not published; these numbers are ours. A widefield
    objective has NA 0.8 in water (n = 1.33). The background is 30, while phantoms reach 850. There is Poisson
    noise, and read noise of 0.5 photons. The PSF extends 10.2 µm to each side (127 voxels of 0.1625 µm).

    Parameters
    ----------
    truth
        (Z, Y, X): a `Phantom` or an array in its units (background 30, objects up to 850), not negative.
    specimen
        ``"nuclei"``: emission 525 nm, 5 photons per unit of intensity. ``"membranes"``: 607 nm, 1 photon per
        unit. ``"light_sheet"``: nuclei in a Gaussian sheet that moves with the focus.
    voxel_size
        Voxel size of the truth along (Z, Y, X) in µm; one number for all axes.
    sheet_fwhm_um
        Thickness of the light sheet, full width at half maximum, in µm. None means 3.5; the paper's other
        sheet is assumed to be 2.
    field_shape
        Shape of the camera's field in the middle of a larger truth, whose haze reaches it: (Z, Y, X), or (Y,
        X) for a plane. None is the whole truth.
    rng
        Seed of the noise.
    progress
        Called after each plane of the PSF with the number of finished planes and the total. An exception from
        it stops the computation.

    Returns
    -------
    Degraded
        Image and truth in the truth's units, so that flux can be compared, with the parameters.

    Raises
    ------
    ValueError
        If the truth is not a volume, or a number is invalid.

    Examples
    --------
    >>> import napari_lucyd as nl
    >>> phantom = nl.make_phantom((20, 32, 32), rng=1)
    >>> sample = nl.make_surrogate(phantom, "membranes", voxel_size=(0.6, 0.3, 0.3), rng=1)
    >>> sample.image.shape, sample.parameters["psf"]["emission_um"]
    ((20, 32, 32), 0.607)
    """
    checks.choice("specimen", specimen, get_args(SpecimenKind))
    shape = checks.array("truth", truth).shape
    rng = checks.integer("rng", rng, least=0)
    checks.function("progress", progress)
    if field_shape is not None:
        given = checks.items("field_shape", field_shape, "(Z, Y, X), integers, or None")
        field_shape = [checks.integer("field_shape", size, least=1) for size in given]
    if len(shape) != 3:
        raise ValueError(
            f"The truth has shape {shape}; give a volume (Z, Y, X), because the haze of a surrogate comes "
            "from other planes."
        )
    if sheet_fwhm_um is not None and specimen != "light_sheet":
        raise ValueError(
            f"sheet_fwhm_um is {checks.shown(sheet_fwhm_um)}, but {specimen} have no light sheet; leave it "
            f"out."
        )
    sheet = (SHEET_FWHM_UM if sheet_fwhm_um is None else sheet_fwhm_um) if specimen == "light_sheet" else None
    voxel = voxel_sizes(voxel_size, 3)
    preset = _PRESETS[specimen]
    optics: dict[str, Any] = {
        "kind": "light_sheet" if specimen == "light_sheet" else "widefield",
        "shape": list(psf_shape(voxel)),
        "numerical_aperture": NUMERICAL_APERTURE,
        "refractive_index": REFRACTIVE_INDEX,
        "emission_um": preset.emission_um,
        "voxel_size": list(voxel),
        "sheet_fwhm_um": None if sheet is None else float(sheet),
    }
    sample = acquire(
        truth,
        make_psf(**optics, progress=progress),
        psf_parameters=optics,
        background=BACKGROUND,
        photons_per_unit=preset.photons_per_unit,
        read_noise=READ_NOISE,
        field_shape=field_shape,
        rng=rng,
    )
    return Degraded(sample.image, sample.truth, {"surrogate": specimen, **sample.parameters})


def psf_shape(voxel_size: Sequence[float]) -> tuple[int, ...]:
    """Return the shape of a surrogate's PSF in voxels.

    Examples
    --------
    >>> psf_shape((0.325, 0.1625, 0.1625))
    (65, 127, 127)
    """
    return tuple(2 * round(PSF_REACH_UM / step) + 1 for step in voxel_size)
