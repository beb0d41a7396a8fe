"""Gain of the first estimate on a real texture, and of a network on the estimate.

The truth is a real stack that is sharp for its voxels. It is blurred, and noise is added. See
docs/decisions/0014-a-living-network.md.

python benchmarks/first_estimate.py nuclei_cells3d.tif
python benchmarks/first_estimate.py nuclei_cells3d.tif --run runs/lucyd
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
import torch
from scipy.ndimage import gaussian_filter

from napari_lucyd.deconvolution import FirstEstimate, first_estimate
from napari_lucyd.networks import LUCYD, LucydConfig, measure_health
from napari_lucyd.training.estimates import gaussian_psf
from napari_lucyd.training.initialization import start_from

Image = npt.NDArray[np.float32]
# Standard deviations of the blur along (Z, Y, X), photons that make the range, read noise as a share of it.
CASES = (
    ((1.5, 1.5, 1.5), 1000, 0.015),
    ((1.5, 1.5, 1.5), 100, 0.02),
    ((2.0, 1.4, 1.4), 400, 0.01),
    ((2.9, 2.1, 2.1), 200, 0.01),
)
FIELD = np.s_[8:48, 20:148, 20:148]
PEDESTAL = 0.25
MARGIN = 12


def psnr(output: Image, truth: Image) -> float:
    """Compute the PSNR over the truth's range, after the best affine map of the output."""
    o, t = output.ravel().astype(np.float64), truth.ravel().astype(np.float64)
    slope = np.cov(o, t)[0, 1] / max(o.var(), 1e-12)
    error = np.mean((slope * (o - o.mean()) + t.mean() - t) ** 2)
    return float(10 * np.log10(np.ptp(t) ** 2 / error))


def network_input(found: FirstEstimate) -> torch.Tensor:
    """Scale the estimate for a network, and extend it by its edge values to even sizes."""
    y = torch.from_numpy((found.estimate - found.level) / found.scale + PEDESTAL).float()[None, None]
    pad = [n for size in reversed(found.estimate.shape) for n in (MARGIN, MARGIN + size % 2)]
    return torch.nn.functional.pad(y, pad, mode="replicate")


@torch.no_grad()
def refine(network: LUCYD, found: FirstEstimate) -> Image:
    """Return the network's output in the image's units."""
    inner = tuple(slice(MARGIN, MARGIN + n) for n in found.estimate.shape)
    output = network(network_input(found)).output[0, 0][inner].numpy()
    return np.asarray((output - PEDESTAL) * found.scale + found.level, np.float32)


def cases(path: Path) -> list[tuple[tuple[float, ...], Image, Image]]:
    """Make blur, image and truth of each case."""
    stack = tifffile.imread(path).astype(np.float32)[FIELD]
    low, high = np.percentile(stack, (1, 99.9))
    truth = np.clip((stack - low) / (high - low), 0, None).astype(np.float32)
    found: list[tuple[tuple[float, ...], Image, Image]] = []
    for sigma, photons, read_noise in CASES:
        generator = np.random.default_rng(11)
        light = generator.poisson((gaussian_filter(truth, sigma) + 0.05) * photons) / photons
        image = light + generator.normal(0, read_noise, truth.shape)
        found.append((sigma, image.astype(np.float32), truth))
    return found


def table(path: Path, network: LUCYD | None, efforts: list[float]) -> None:
    """Print a Markdown table of gains over the image, in dB."""
    columns = [f"effort {effort:g}" for effort in efforts]
    columns += [f"{column}, then the network" for column in columns] if network else []
    print(f"| blur | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    rows: list[list[float]] = []
    for sigma, image, truth in cases(path):
        before, row, counts = psnr(image, truth), [], []
        estimates = [first_estimate(image, gaussian_psf(list(sigma)), effort=effort) for effort in efforts]
        row += [psnr(found.estimate, truth) - before for found in estimates]
        counts += [f" ({found.num_iter})" for found in estimates]
        if network:
            row += [psnr(refine(network, found), truth) - before for found in estimates]
            counts += [""] * len(efforts)
            health = measure_health(network, [network_input(estimates[0])])
            print(f"<!-- mask: share {health.mask_share:.3f}, spread {health.mask_spread:.4f} -->")
        cells = " | ".join(f"{gain:+.2f}{count}" for gain, count in zip(row, counts, strict=True))
        print(f"| {', '.join(f'{s:g}' for s in sigma)} | {cells} |", flush=True)
        rows.append(row)
    print(f"| mean | {' | '.join(f'{gain:+.2f}' for gain in np.mean(rows, 0))} |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stack", type=Path)
    parser.add_argument("--run", type=Path, help="folder of a run of training, or a model's file")
    parser.add_argument("--efforts", default="1", help="factors of the number of iterations, with commas")
    options: Any = parser.parse_args()
    network = None
    if options.run:
        network = LUCYD(LucydConfig(dimension=3, epsilon=0.01))
        start_from(network, options.run)
        network.eval()
    efforts = [float(effort) for effort in options.efforts.split(",")]
    if not all(effort > 0 and math.isfinite(effort) for effort in efforts):
        parser.error("efforts have to be above 0")
    table(options.stack, network, efforts)


if __name__ == "__main__":
    main()
