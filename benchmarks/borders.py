"""Gain of `lucyd` on real images, in dB: padded with zeros, or with repeated voxels.

Zeros need 24 reflected voxels around the volume, repeated voxels need 2.

DATA is the folder of real_images.py. See docs/borders.md.

python benchmarks/borders.py DATA [--only widefield]
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import real_images

import napari_lucyd as nl
from napari_lucyd.models import Model
from napari_lucyd.networks import LUCYD


def padded(name: str, padding: Any) -> Model:
    """Return a shipped model with a padding."""
    model = nl.load_model(name)
    assert isinstance(model.network, LUCYD)
    network = LUCYD(replace(model.network.config, padding=padding)).eval()
    network.load_state_dict(model.network.state_dict())
    return replace(model, network=network)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", choices=list(real_images.PARTS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| image | zeros | repeated |\n|---|---|---|")
    gains = []
    for part in [options.only] if options.only else list(real_images.PARTS):
        name = "lucyd-planes" if part == "pairs" else "lucyd"
        models = [padded(name, padding) for padding in ("zeros", "replicate")]
        for case in real_images.PARTS[part](options.data):
            before = real_images.psnr(case.image, case.truth)
            outputs = [np.asarray(nl.deconvolve(case.image, model, **case.told).output) for model in models]
            gains.append([real_images.psnr(output, case.truth) - before for output in outputs])
            print(f"| {case.name} | {' | '.join(f'{gain:+.3f}' for gain in gains[-1])} |", flush=True)
    print(f"| **mean** | {' | '.join(f'**{gain:+.3f}**' for gain in np.mean(gains, 0))} |")


if __name__ == "__main__":
    main()
