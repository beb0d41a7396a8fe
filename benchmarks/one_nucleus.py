"""Light beside a single nucleus under widefield PSFs, and its correlation with the sharp stack.

A widefield image shows light beside a nucleus that a confocal image of the same nucleus does not have. A pair
of such images is not at hand. Here a nucleus is cut out of a sharp stack, set alone in a dark volume, and
imaged by whole widefield PSFs with noise. DATA is a folder with nuclei_cells3d.tif and
nuclei_cells3d_labels.tif (scikit-image's cells3d). See docs/decisions/0014-a-living-network.md.

python benchmarks/one_nucleus.py DATA
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
from real_images import EMISSION_UM, OBJECTIVES, Case, Image, noisy
from scipy.ndimage import binary_dilation, find_objects, gaussian_filter
from scipy.signal import fftconvolve

import napari_lucyd as nl

# Whole nuclei in the middle of the field, and dark voxels around each along (Z, Y, X).
NUCLEI, MARGIN = (7, 14), (10, 24, 24)
# Factors of the numerical aperture that is told.
TOLD = (1.0, 2 / 3, 4 / 3)
# So many voxels around the nucleus belong to neither side: its edge is blurred in the sharp stack, too.
EDGE = 3


def alone(stack: Image, labels: npt.NDArray[np.integer], number: int) -> tuple[Image, npt.NDArray[np.bool_]]:
    """Return a nucleus alone in the dark, its 99.9th percentile 1, and the voxels that it fills."""
    field = find_objects(labels)[number - 1]
    inside = np.pad(labels[field] == number, [(m, m) for m in MARGIN])
    nucleus = np.pad(stack[field], [(m, m) for m in MARGIN]) * gaussian_filter(inside.astype(np.float32), 0.7)
    return np.asarray(nucleus / np.percentile(nucleus[inside], 99.9), np.float32), inside


def stray_light(volume: Image, inside: npt.NDArray[np.bool_]) -> float:
    """Compute the mean light beside the nucleus as a share of that within; the darkest 0.5 % are dark."""
    beside = ~binary_dilation(inside, iterations=EDGE)
    dark = np.percentile(volume, 0.5)
    return float((volume[beside].mean() - dark) / (volume[inside].mean() - dark))


def cases(data: Path) -> Iterator[tuple[Case, npt.NDArray[np.bool_]]]:
    """Yield each nucleus under each objective, and the voxels that it fills."""
    stack = tifffile.imread(data / "nuclei_cells3d.tif").astype(np.float32)
    stack -= np.percentile(stack, 1)
    labels = tifffile.imread(data / "nuclei_cells3d_labels.tif")
    for number in NUCLEI:
        truth, inside = alone(stack, labels, number)
        for aperture, index in OBJECTIVES:
            lateral = 0.25 * EMISSION_UM / aperture
            axial = 0.17 * EMISSION_UM / (index - math.sqrt(index**2 - aperture**2))
            microscope = nl.Microscope(
                "widefield", numerical_aperture=aperture, refractive_index=index, emission_um=EMISSION_UM
            )
            told = {"microscope": microscope, "voxel_size": (axial, lateral, lateral)}
            psf = microscope.psf(told["voxel_size"], (63, 101, 101))
            light = fftconvolve(truth, psf / psf.sum(), "same")
            image = noisy(light / light.max(), 600, 0.01, number)
            yield Case(f"nucleus {number}, NA {aperture:g}", image, truth, psf, told), inside


def main() -> None:
    """Print the means over nuclei and objectives."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    found: dict[str, list[tuple[float, float]]] = {}

    def add(name: str, volume: Image, case: Case, inside: npt.NDArray[np.bool_]) -> None:
        correlation = float(np.corrcoef(volume.ravel(), case.truth.ravel())[0, 1])
        found.setdefault(name, []).append((stray_light(volume, inside), correlation))

    for case, inside in cases(options.data):
        add("sharp", case.truth, case, inside)
        add("image", case.image, case, inside)
        microscope = case.told["microscope"]
        for factor in TOLD:
            believed = microscope.numerical_aperture * factor
            if believed >= microscope.refractive_index:
                continue
            told = case.told | {"microscope": replace(microscope, numerical_aperture=believed)}
            name = "NA told" if factor == 1 else f"NA told {factor:.2f} times"
            result = nl.deconvolve(case.image, "lucyd", outputs=("output", "first_estimate"), **told)
            add(f"first estimate, {name}", np.asarray(result.first_estimate), case, inside)
            add(f"lucyd, {name}", np.asarray(result.output), case, inside)
        untold = nl.deconvolve(case.image, "lucyd").output
        add("lucyd, nothing told", np.asarray(untold), case, inside)
    print("| volume | cases | light beside the nucleus | worst | correlation | worst |")
    print(f"|{'---|' * 6}")
    for name, rows in found.items():
        stray, correlation = np.transpose(rows)
        print(
            f"| {name} | {len(rows)} | {stray.mean():.3f} | {stray.max():.3f} "
            f"| {correlation.mean():.3f} | {correlation.min():.3f} |"
        )


if __name__ == "__main__":
    main()
