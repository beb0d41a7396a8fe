"""Gain of methods on real images: a sharp stack, blurred and made noisy, and pairs of widefield and SIM.

DATA is a folder with nuclei_cells3d.tif (scikit-image's cells3d, nuclei) and, if there are any, pairs
biosr_NAME_wf.tif and biosr_NAME_sim.tif (BioSR, Qiao et al. 2021).
See docs/decisions/0014-a-living-network.md.

python benchmarks/real_images.py DATA
python benchmarks/real_images.py DATA --methods lucyd,untold:lucyd,estimate --only textures
python benchmarks/real_images.py DATA --methods estimate,lucyd --only planes
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tifffile
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

import napari_lucyd as nl
from napari_lucyd.psf.gaussian import gaussian_psf

Image = npt.NDArray[np.float32]
# Standard deviations of the blur along (Z, Y, X), photons of the brightest voxels, read noise as a share of
# the range.
TEXTURES = (
    ((1.5, 1.5, 1.5), 1000, 0.015),
    ((1.5, 1.5, 1.5), 100, 0.02),
    ((2.0, 1.4, 1.4), 400, 0.01),
    ((2.9, 2.1, 2.1), 200, 0.01),
)
# Numerical aperture and refractive index; voxels of equal size in optical units.
OBJECTIVES = ((0.5, 1.0), (1.1, 1.33), (1.4, 1.515))
EMISSION_UM = 0.525
PAIR_SIGMA = 1.35
# The same for planes without any light from out of focus: SIM images of filaments, and planes of the nuclei.
FILAMENT_LIGHT, FILAMENT_SIGMAS = ((1000, 0.01), (200, 0.015)), (1.2, 1.5, 2.0)
NUCLEI_PLANES = ((1.2, 1000, 0.01), (1.5, 1000, 0.015), (1.5, 100, 0.02), (2.0, 400, 0.01))
PLANE_SIZE, PLANE_NUMBERS = 256, (20, 30)
# Numbers of iterations. The best one for each image stands for Richardson-Lucy; a user does not know it.
ITERATIONS = (3, 5, 8, 12, 18, 27, 40, 60)
METHODS = ("semi-blind", "richardson-lucy", "estimate", "lucyd", "untold:lucyd")


class Case(NamedTuple):
    """An image, its truth, and what is known of its blur."""

    name: str
    image: Image
    truth: Image
    psf: Image
    told: dict[str, Any]


def psnr(output: Image, truth: Image) -> float:
    """Compute the PSNR over the truth's range, after the best affine map of the output."""
    o, t = output.ravel().astype(np.float64), truth.ravel().astype(np.float64)
    slope = np.cov(o, t)[0, 1] / max(o.var(), 1e-12)
    error = np.mean((slope * (o - o.mean()) + t.mean() - t) ** 2)
    return float(10 * np.log10(np.ptp(t) ** 2 / error))


def noisy(light: Image, photons: float, read_noise: float, seed: int) -> Image:
    """Draw photons and read noise; light and result are shares of the range."""
    generator = np.random.default_rng(seed)
    counted = generator.poisson(np.clip(light + 0.05, 0, None) * photons) / photons
    return np.asarray(counted + generator.normal(0, read_noise, light.shape), np.float32)


def sharp(data: Path, field: tuple[slice, ...]) -> Image:
    """Read a field of the sharp stack: background 0, the 99.9th percentile 1."""
    return unit(tifffile.imread(data / "nuclei_cells3d.tif").astype(np.float32)[field])


def textures(data: Path) -> Iterator[Case]:
    """Yield the sharp stack under Gaussian blurs."""
    truth = sharp(data, np.s_[8:48, 20:148, 20:148])
    for sigma, photons, read_noise in TEXTURES:
        image = noisy(gaussian_filter(truth, sigma), photons, read_noise, 11)
        name = f"nuclei, blur {', '.join(f'{s:g}' for s in sigma)}, {photons} photons"
        yield Case(name, image, truth, gaussian_psf(sigma), {"blur_sigma": sigma})


def widefield(data: Path, wrong: float = 1.0) -> Iterator[Case]:
    """Yield the sharp stack under whole widefield PSFs, with light from beyond its borders.

    `wrong` multiplies the numerical aperture that the methods are told. A case whose aperture would not be
    below the refractive index is left out.
    """
    truth = sharp(data, np.s_[6:54, 48:208, 48:208]) + np.float32(0.03)
    for aperture, index in OBJECTIVES:
        if aperture * wrong >= index:
            continue
        lateral = 0.25 * EMISSION_UM / aperture
        axial = 0.17 * EMISSION_UM / (index - math.sqrt(index**2 - aperture**2))
        microscope = nl.Microscope(
            "widefield", numerical_aperture=aperture, refractive_index=index, emission_um=EMISSION_UM
        )
        voxel_size = (axial, lateral, lateral)
        psf = microscope.psf(voxel_size, (63, 101, 101))
        around = np.pad(truth, [(31, 31), (50, 50), (50, 50)], mode="edge")
        light = fftconvolve(around, psf / psf.sum(), "valid")
        light = (light - light.min()) / (np.percentile(light, 99.9) - light.min())
        inner = np.s_[8:-8, 24:-24, 24:-24]
        believed = replace(microscope, numerical_aperture=aperture * wrong)
        told = {"microscope": believed, "voxel_size": voxel_size}
        name = f"nuclei, widefield, NA {aperture:g}"
        if wrong != 1:
            name += f" told as {aperture * wrong:.2g}"
        yield Case(name, noisy(light, 600, 0.01, 12)[inner], truth[inner], psf, told)


def misled(data: Path) -> Iterator[Case]:
    """Yield the widefield images with an aperture that is told wrongly by a third."""
    for wrong in (2 / 3, 4 / 3):
        yield from widefield(data, wrong)


def pairs(data: Path) -> Iterator[Case]:
    """Yield pairs of widefield and SIM."""
    for path in sorted(data.glob("biosr_*_wf.tif")):
        image = tifffile.imread(path).astype(np.float32)
        truth = tifffile.imread(path.with_name(path.name.replace("_wf", "_sim"))).astype(np.float32)
        name = path.name.removeprefix("biosr_").removesuffix("_wf.tif").replace("_", " ")
        sigma = (PAIR_SIGMA, PAIR_SIGMA)
        yield Case(f"{name}, widefield to SIM", image, truth, gaussian_psf(sigma), {"blur_sigma": sigma})


def unit(image: Image) -> Image:
    """Scale an image to a background of 0, and to 1 at the 99.9th percentile."""
    low, high = np.percentile(image, (1, 99.9))
    return np.asarray(np.clip((image - low) / (high - low), 0, None), np.float32)


def _plane(name: str, truth: Image, sigma: float, photons: float, read_noise: float) -> Case:
    sigmas = (sigma, sigma)
    image = noisy(gaussian_filter(truth, sigma), photons, read_noise, 11)
    name = f"{name}, blur {sigma:g}, {photons:g} photons"
    return Case(name, image, truth, gaussian_psf(sigmas), {"blur_sigma": sigmas})


def filaments(data: Path) -> Iterator[Case]:
    """Yield the middles of SIM images, blurred in the plane."""
    for path in sorted(data.glob("biosr_*_sim.tif")):
        truth = unit(tifffile.imread(path).astype(np.float32))
        y, x = ((n - PLANE_SIZE) // 2 for n in truth.shape)
        truth = truth[y : y + PLANE_SIZE, x : x + PLANE_SIZE]
        name = path.name.removeprefix("biosr_").removesuffix("_sim.tif").replace("_", " ")
        for sigma in FILAMENT_SIGMAS:
            for photons, read_noise in FILAMENT_LIGHT:
                yield _plane(name, truth, sigma, photons, read_noise)


def planes(data: Path) -> Iterator[Case]:
    """Yield planes of the sharp stack, blurred in the plane."""
    stack = unit(tifffile.imread(data / "nuclei_cells3d.tif").astype(np.float32))
    for number in PLANE_NUMBERS:
        truth = stack[number][:PLANE_SIZE, :PLANE_SIZE]
        for sigma, photons, read_noise in NUCLEI_PLANES:
            yield _plane(f"nuclei, plane {number}", truth, sigma, photons, read_noise)


PARTS: dict[str, Callable[[Path], Iterator[Case]]] = {
    "textures": textures,
    "widefield": widefield,
    "misled": misled,
    "pairs": pairs,
    "filaments": filaments,
    "planes": planes,
}


def restore(method: str, case: Case) -> Image:
    """Restore a case by a method; Richardson-Lucy with its best number of iterations."""
    if method == "richardson-lucy":
        image = case.image - min(0.0, float(case.image.min()))
        outputs = (
            nl.richardson_lucy(image, case.psf, num_iter=number, acceleration=True) for number in ITERATIONS
        )
        return max(outputs, key=lambda output: psnr(output, case.truth))
    if method == "semi-blind":
        return np.asarray(nl.deconvolve(case.image, nl.SemiBlind()).output)
    if method == "estimate":
        found = nl.deconvolve(case.image, "lucyd", outputs=("first_estimate",), **case.told)
        return np.asarray(found.first_estimate)
    name = method.removeprefix("untold:")
    told = case.told if name == method else {}
    try:
        return np.asarray(nl.deconvolve(case.image, name, **told).output)
    except ValueError:  # a model that does not use the blur
        return np.asarray(nl.deconvolve(case.image, name).output)


def table(data: Path, methods: list[str], parts: list[str]) -> None:
    """Print a Markdown table of gains over the image in dB, with the mean of each part."""
    print(f"| image | PSNR | {' | '.join(methods)} |\n|{'---|' * (len(methods) + 2)}")
    for part in parts:
        rows = []
        for case in PARTS[part](data):
            before = psnr(case.image, case.truth)
            rows.append([psnr(restore(method, case), case.truth) - before for method in methods])
            print(
                f"| {case.name} | {before:.2f} | {' | '.join(f'{gain:+.2f}' for gain in rows[-1])} |",
                flush=True,
            )
        if rows:
            print(
                f"| **mean** | | {' | '.join(f'**{gain:+.2f}**' for gain in np.mean(rows, 0))} |", flush=True
            )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--methods", default=",".join(METHODS), help="names with commas")
    parser.add_argument("--only", choices=list(PARTS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    table(options.data, options.methods.split(","), [options.only] if options.only else list(PARTS))


if __name__ == "__main__":
    main()
