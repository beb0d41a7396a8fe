"""Short trainings that differ in start and batch norms alone: see docs/decisions/0002-training.md.

python benchmarks/start.py configs/planes.toml
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch

from napari_lucyd.models import Model, load_model
from napari_lucyd.text import percent_text
from napari_lucyd.training import load_config, train

# Flat fields, such as backgrounds, on the normalized scale.
LEVELS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


def level_error(model: Model) -> float:
    """Return the largest difference between a flat input and the output, away from the border."""
    errors = []
    for level in LEVELS:
        with torch.no_grad():
            output = model.network(torch.full((1, 1, *[128] * model.dimension), level)).output
        errors.append((output[(..., *[slice(32, -32)] * model.dimension)] - level).abs().max().item())
    return max(errors)


def main() -> None:
    """Train once per variant and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--patches", type=int, default=6000)
    options = parser.parse_args()
    config = load_config(options.config)
    print(
        "| start | batch norms | validation PSNR | global SSIM | the division's share of x' | level error |"
    )
    print("|---|---|---|---|---|---|")
    for near_identity, free_norms in product((False, True), (1.0, 0.2)):
        schedule = replace(
            config.schedule, patches=options.patches, near_identity=near_identity, free_norms=free_norms
        )
        with tempfile.TemporaryDirectory() as folder:
            path = train(replace(config, schedule=schedule), folder)
            assert path is not None
            model = load_model(path)
        metrics = model.card["metrics"]
        print(
            f"| {'near identity' if near_identity else 'as PyTorch has it'} | "
            f"{'of the batch' if free_norms == 1 else f'kept from {percent_text(free_norms)} on'} | "
            f"{metrics['validation']['psnr']:.2f} | {metrics['validation']['ssim_global']:.4f} | "
            f"{metrics['division_share']:.3f} | {level_error(model):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
