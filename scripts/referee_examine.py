"""Measure `examine` on images whose truth is known.

Usage: python scripts/referee_examine.py [--data FOLDER] [--out FILE]

Simulated structures, and the truths in FOLDER (TIFF files of sharp volumes or planes), are blurred by
Gaussians and given the photons of a camera. The script writes a table of the errors of noise, blur and
resolution. The automatic choice of the method is measured by scripts/referee_auto.py.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import tifffile
from scipy import fft, ndimage

import napari_lucyd as nl
from napari_lucyd.referee.decorrelation import decorrelation_resolution

HEAD = """# Examine, measured

`python scripts/referee_examine.py --data FOLDER --out docs/results/examine.md` makes this page.

Each specimen is blurred by Gaussians of 1, 1.7 and 2.5 voxels (1.4 times as wide along Z, at most 2.5) and
has noise of 2 and 10 % of the range. The numbers are absolute errors, as shares of the true values, averaged
over the six images. The true blur is that of the Gaussian alone, although structures are smooth themselves.
The resolution is that of a plane without any frequency above a cut-off.
"""
KINDS = ("puncta", "filaments", "sheets", "bodies", "tubules", "mixture")
BLURS, NOISES = (1.0, 1.7, 2.5), (0.02, 0.1)
CUT_OFFS = (0.15, 0.25, 0.35)
AXIAL = 1.4  # width along Z over that across it
GAIN, OFFSET, READ_NOISE = 2.0, 100.0, 2.0


def truths(folder: Path | None) -> Iterator[tuple[str, np.ndarray]]:
    """Yield names and images from 0 to about 1."""
    for kind in KINDS:
        yield kind, scaled(nl.make_structures(kind, (40, 112, 112), rng=3).image)
    for path in sorted(folder.glob("*.tif")) if folder else ():
        yield path.stem, scaled(tifffile.imread(path))


def scaled(image: np.ndarray) -> np.ndarray:
    """Return an image whose 1st and 99.9th percentiles are 0 and 1, without negative voxels."""
    low, high = np.percentile(image, (1, 99.9))
    return np.maximum((image.astype(np.float32) - low) / (high - low), 0)


def photographed(truth: np.ndarray, sigma: tuple[float, ...], noise: float) -> np.ndarray:
    """Return a camera image with this blur, and this noise at its bright end as a share of the range."""
    random = np.random.default_rng(0)
    blurred = ndimage.gaussian_filter(truth, sigma)
    photons = random.poisson((blurred / np.percentile(blurred, 99.9) + 0.1) / noise**2)
    return (GAIN * (photons + random.normal(0, READ_NOISE, photons.shape)) + OFFSET).astype(np.float32)


def true_noise(truth: np.ndarray, sigma: tuple[float, ...], noise: float) -> float:
    """Return the standard deviation at the bright end as a share of the range of the image without noise."""
    blurred = ndimage.gaussian_filter(truth, sigma)
    bright = np.percentile(blurred, 99.9)
    reach = (1 - blurred.min() / bright) / noise**2
    return float(np.sqrt(1.1 / noise**2 + READ_NOISE**2) / reach)


def widths(truth: np.ndarray, blur: float) -> tuple[float, ...]:
    """Return the standard deviations of a blur along (Z,) Y, X."""
    return (blur, blur) if truth.ndim == 2 else (min(2.5, AXIAL * blur), blur, blur)


def examined(folder: Path | None) -> list[str]:
    """Return the table of the errors of `examine`."""
    lines = [
        "| specimen | noise | blur across Z | blur along Z | resolution |",
        "|---|---|---|---|---|",
    ]
    every: list[list[float]] = []
    seconds = []
    for name, truth in truths(folder):
        rows = []
        for blur, noise in product(BLURS, NOISES):
            sigma = widths(truth, blur)
            image = photographed(truth, sigma, noise)
            began = time.process_time()
            found = nl.examine(image)
            seconds.append(time.process_time() - began)
            wrong = found.noise / true_noise(truth, sigma, noise) - 1
            across = np.nan if found.blur_sigma is None else found.blur_sigma[-1] / sigma[-1] - 1
            along = np.nan
            if truth.ndim == 3 and found.blur_sigma is not None:
                along = found.blur_sigma[0] / sigma[0] - 1
            rows.append([abs(wrong), abs(across), abs(along), np.nan])
        plane = truth if truth.ndim == 2 else truth[len(truth) // 2]
        for row, cut_off in zip(rows, CUT_OFFS, strict=False):
            row[3] = abs(resolution_of(plane, cut_off) * cut_off - 1)
        every += rows
        lines.append(
            f"| {name} | "
            + " | ".join(share(np.nanmean(column)) for column in zip(*rows, strict=True))
            + " |"
        )
    columns = list(zip(*every, strict=True))
    lines.append("| **mean** | " + " | ".join(share(np.nanmean(column)) for column in columns) + " |")
    lines.append(f"\nProcessor time of an examination: {np.mean(seconds):.2g} s on average.")
    return lines


def own_blur(folder: Path | None) -> list[str]:
    """Return a table of the blur along Z in real stacks, which are blurred along Z themselves."""
    lines = [
        "Real stacks have a blur of their own along Z. So `examine` finds more there than a Gaussian that is",
        "as wide as across Z. The table has what it finds along Z without such a Gaussian (*own*) and with",
        "it (*found*), in voxels, averaged over the two noises; *both* is √(σ² + own²).",
        "",
        "| stack | σ | own | both | found |",
        "|---|---|---|---|---|",
    ]
    for path in sorted(folder.glob("*.tif")) if folder else ():
        truth = scaled(tifffile.imread(path))
        if truth.ndim != 3:
            continue
        own = np.mean([_along(truth, 0.0, noise) for noise in NOISES])
        for blur in BLURS:
            found = np.mean([_along(truth, blur, noise) for noise in NOISES])
            lines.append(f"| {path.stem} | {blur:g} | {own:.2f} | {np.hypot(blur, own):.2f} | {found:.2f} |")
    return lines


def _along(truth: np.ndarray, blur: float, noise: float) -> float:
    found = nl.examine(photographed(truth, (blur,) * 3, noise)).blur_sigma
    return np.nan if found is None else found[0]


def resolution_of(plane: np.ndarray, cut_off: float) -> float:
    """Return the resolution found in a plane without any frequency above a cut-off, with little noise."""
    spectrum = fft.rfft2(plane)
    spectrum[np.hypot(fft.fftfreq(plane.shape[0])[:, None], fft.rfftfreq(plane.shape[1])) > cut_off] = 0
    cut = fft.irfft2(spectrum, plane.shape)
    found = decorrelation_resolution(cut + np.random.default_rng(0).normal(0, 0.003 * np.ptp(cut), cut.shape))
    return np.nan if found is None else found


def share(value: float) -> str:
    """Format a share."""
    return "–" if np.isnan(value) else f"{100 * value:.0f} %"


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of TIFF files with sharp images")
    parser.add_argument("--out", type=Path, help="file for the tables in Markdown")
    options = parser.parse_args()
    lines = [*examined(options.data), "", *own_blur(options.data)]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.write_text(f"{HEAD}\n{text}", "utf-8")


if __name__ == "__main__":
    main()
