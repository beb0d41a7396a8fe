"""Test on simulated structures under kinds of microscope, samplings and levels of light."""

from __future__ import annotations

import math
from functools import lru_cache, partial
from itertools import product
from typing import get_args

import numpy as np
from scipy import ndimage

from napari_lucyd.evaluation.protocols import TUNING_SEED, Protocol, Sample
from napari_lucyd.simulation import acquire, make_psf, make_structures
from napari_lucyd.simulation.phantoms import FloatImage
from napari_lucyd.simulation.psf import FWHM_PER_SIGMA, PsfKind
from napari_lucyd.simulation.structures import CONTRAST, StructureKind

MODALITIES: tuple[PsfKind, ...] = ("gaussian", "widefield", "confocal", "light_sheet")
# Voxel sizes in optical units, λ/NA laterally and λ/(n − sqrt(n² − NA²)) axially.
SAMPLINGS = {"fine": 0.18, "coarse": 0.36}
# Photons at the contrast of the blurred specimen.
LIGHT = {"good light": 2000.0, "low light": 100.0}
CELLS = tuple(product(MODALITIES, SAMPLINGS, LIGHT))
# A phantom shows the class of its number. "mixture" is left out, because the models were trained on mixtures.
CLASSES: tuple[StructureKind, ...] = tuple(
    kind for kind in get_args(StructureKind) if kind not in ("mixture", "phantom")
)
FIELD = (32, 64, 64)
# An objective and a wavelength that no model was trained with.
_APERTURE, _INDEX, _EMISSION_UM, _EXCITATION_UM = 1.0, 1.33, 0.6, 0.56
_SHEET_PLANES = 8.0
_READ_NOISE_PHOTONS = 2.0
_BACKGROUND = 50.0
# Size of the PSF in sizes of the field.
_REACH = 1.5
# Standard deviation in voxels of the Gaussian that the truth is smoothed with: no method restores less than a
# voxel.
_TRUTH_SIGMA = 0.5


def structures_protocol(dimension: int = 3) -> Protocol:
    """Return the test on structures: volumes, or their planes with most structure and out-of-focus light.

    Parameters
    ----------
    dimension
        2 or 3.
    """
    return Protocol(
        "structures" if dimension == 3 else "structures2d",
        "structures under microscopes that no model was trained with, with fine and coarse voxels",
        tuple(", ".join(cell).replace("_", " ") for cell in CELLS),
        dimension=dimension,
        bare=False,
        photometric=True,
        # A plane does not tell how much of its light is from other planes.
        affine=dimension == 2,
        samples=partial(_samples, dimension),
    )


@lru_cache(maxsize=4)
def _psf(modality: PsfKind, step: float) -> FloatImage:
    lateral = step * _EMISSION_UM / _APERTURE
    axial = step * _EMISSION_UM / (_INDEX - math.sqrt(_INDEX**2 - _APERTURE**2))
    return make_psf(
        modality,
        [round(_REACH * n) // 2 * 2 + 1 for n in FIELD],
        numerical_aperture=_APERTURE,
        refractive_index=_INDEX,
        emission_um=_EMISSION_UM,
        voxel_size=(axial, lateral, lateral),
        excitation_um=_EXCITATION_UM if modality == "confocal" else None,
        sheet_fwhm_um=_SHEET_PLANES * axial if modality == "light_sheet" else None,
    )


def _samples(dimension: int, column: int, seed: int) -> list[Sample]:
    # The best number of iterations for puncta is not that for tubules, so it is chosen on all classes.
    classes = len(CLASSES) if seed == TUNING_SEED else 1
    return [_with_structure(dimension, column, seed + number) for number in range(classes)]


def _with_structure(dimension: int, column: int, seed: int) -> Sample:
    """Return the first field of a class, from a seed on, that holds structure.

    In a field without structure, restoring nothing is best, and its error would outweigh those of all others.
    """
    while np.ptp((sample := _sample(dimension, column, seed)).truth) < CONTRAST:
        seed += len(CLASSES)
    return sample


def _sample(dimension: int, column: int, seed: int) -> Sample:
    modality, sampling, light = CELLS[column]
    step, photons = SAMPLINGS[sampling], LIGHT[light]
    psf = _psf(modality, step)
    specimen = make_structures(
        CLASSES[seed % len(CLASSES)],
        tuple(n + k - 1 for n, k in zip(FIELD, psf.shape, strict=True)),
        rng=seed,
        # Full widths at half maximum are about 0.88 and 0.51 optical units.
        blur_sigma=[width / step / FWHM_PER_SIGMA for width in (0.88, 0.51, 0.51)],
        background=_BACKGROUND,
    )
    taken = acquire(
        ndimage.gaussian_filter(specimen.image, _TRUTH_SIGMA, mode="nearest"),
        psf,
        photons_per_unit=photons / CONTRAST,
        read_noise=_READ_NOISE_PHOTONS,
        rng=seed,
        field_shape=FIELD,
    )
    if dimension == 3:
        return Sample(taken.image, taken.truth, np.asarray(psf, np.float32))
    # The plane with most structure: the one in the middle may have none, and then restoring nothing is best.
    best = int(taken.truth.std(axis=(1, 2)).argmax())
    plane = psf[len(psf) // 2]
    in_focus = np.asarray(plane / plane.sum(), np.float32)
    return Sample(taken.image[best], taken.truth[best], in_focus)
