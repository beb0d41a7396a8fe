"""Gain of adaptation on pairs of widefield and SIM, which no training has seen.

For each pair, the default model of planes is adapted to a Gaussian blur and to the noise of the widefield
image. Both models then restore the image, told the same blur. FOLDER holds pairs biosr_NAME_wf.tif and
biosr_NAME_sim.tif (BioSR, Qiao et al. 2021). Models are saved in a temporary folder.

python benchmarks/adaptation.py FOLDER [--patches 2880] [--structures filaments]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
import tifffile

import napari_lucyd as nl
from napari_lucyd.evaluation import PAIR_SIGMA, psnr_affine
from napari_lucyd.models.user_models import FOLDER_VARIABLE


def measure(folder: Path, patches: int, structures: str) -> None:
    """Print a Markdown table: PSNR of the image, gains in dB before and after, and what was decided."""
    print("| pair | image | before | after | validation | decision |\n|---|---|---|---|---|---|")
    for path in sorted(folder.glob("biosr_*_wf.tif")):
        name = path.name.removeprefix("biosr_").removesuffix("_wf.tif")
        image = tifffile.imread(path).astype(np.float32)
        truth = tifffile.imread(path.with_name(path.name.replace("_wf", "_sim"))).astype(np.float32)
        found = nl.adapt(
            image, name, blur_sigma=PAIR_SIGMA, patches=patches, structures=structures, minutes=600
        )
        psnr = psnr_affine(image, truth)
        gains = [
            psnr_affine(nl.deconvolve(image, model, blur_sigma=PAIR_SIGMA).output, truth) - psnr
            for model in ("lucyd-planes", found.model)
        ]
        decision = "saved" if found.path else "not saved: " + (" ".join(found.worse) or "no better")
        row = [name, f"{psnr:.2f}", *(f"{gain:+.2f}" for gain in (*gains, found.gain)), decision]
        print(f"| {' | '.join(row)} |", flush=True)


def main() -> None:
    """Adapt to each pair."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patches", type=int, default=2880)
    parser.add_argument("--structures", default="mixture")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        os.environ[FOLDER_VARIABLE] = own
        measure(options.folder, options.patches, options.structures)


if __name__ == "__main__":
    main()
