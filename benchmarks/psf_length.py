"""Warnings of `examine` that a told PSF is too long for the image, for right and for wrong apertures.

Structures of five kinds are imaged by three types of microscope, with two objectives, fine and coarse voxels,
in good and in low light. The told numerical aperture is the true one, 0.8 times it, and 0.67 times it.
See docs/decisions/0014-a-living-network.md.

python benchmarks/psf_length.py
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

import napari_lucyd as nl
from napari_lucyd.simulation import acquire

MODALITIES: dict[str, dict[str, Any]] = {
    "widefield": {},
    "confocal": {"excitation_um": 0.488, "pinhole_airy": 1.0},
    "light_sheet": {},
}
OBJECTIVES = ((0.8, 1.33), (1.3, 1.515))
# Voxels in optical units along Z and across, and the thickness of the light sheet in planes.
VOXELS, SHEET_PLANES = ((0.17, 0.25), (0.4, 0.35)), 8
KINDS = ("puncta", "filaments", "sheets", "bodies", "tubules")
PHOTONS = (2000, 100)
TOLD = (1.0, 0.8, 2 / 3)
EMISSION_UM, FIELD, SEED = 0.525, (32, 96, 96), 700


def images(modality: str) -> Iterator[tuple[np.ndarray, tuple[float, ...], nl.Microscope]]:
    """Yield images with their voxel sizes and microscopes."""
    for (aperture, index), (along, across) in product(OBJECTIVES, VOXELS):
        axial = along * EMISSION_UM / (index - math.sqrt(index**2 - aperture**2))
        lateral = across * EMISSION_UM / aperture
        optics = dict(MODALITIES[modality])
        if modality == "light_sheet":
            optics["sheet_fwhm_um"] = SHEET_PLANES * axial
        microscope = nl.Microscope(
            modality, numerical_aperture=aperture, refractive_index=index, emission_um=EMISSION_UM, **optics
        )
        step = (axial, lateral, lateral)
        psf = microscope.psf(step, (33, 41, 41))
        around = tuple(n + k - 1 for n, k in zip(FIELD, psf.shape, strict=True))
        for kind in KINDS:
            sharp = nl.make_structures(kind, around, rng=SEED, anisotropy=axial / lateral).image
            for photons in PHOTONS:
                sample = acquire(
                    sharp,
                    psf,
                    photons_per_unit=photons / 1000,
                    read_noise=1.5,
                    background=100,
                    rng=1,
                    field_shape=FIELD,
                )
                yield sample.image, step, microscope


def main() -> None:
    """Print how many images of each type of microscope lead to the warning."""
    warnings.simplefilter("ignore")
    print(f"| microscope | images | {' | '.join(f'warned, NA told {factor:.2f} times' for factor in TOLD)} |")
    print(f"|{'---|' * (2 + len(TOLD))}")
    for modality in MODALITIES:
        count, warned = 0, Counter[float]()
        for image, step, microscope in images(modality):
            count += 1
            for factor in TOLD:
                told = replace(microscope, numerical_aperture=microscope.numerical_aperture * factor)
                found = nl.examine(image, voxel_size=step, microscope=told)
                warned[factor] += any("as long along Z" in text for text in found.warnings)
        print(f"| {modality} | {count} | {' | '.join(str(warned[factor]) for factor in TOLD)} |", flush=True)


if __name__ == "__main__":
    main()
