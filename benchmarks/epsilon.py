"""Short trainings that differ in epsilon alone: the evidence behind docs/decisions/0001-epsilon.md.

python benchmarks/epsilon.py configs/mixture.toml
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from napari_lucyd.models import load_model
from napari_lucyd.networks import division_share
from napari_lucyd.training import TrainingConfig, load_config, train
from napari_lucyd.training.data import VALIDATION_PHANTOMS, Patches


def short(config: TrainingConfig, epsilon: float, patches: int) -> TrainingConfig:
    """Return the same run with another epsilon and fewer, smaller patches."""
    schedule = replace(
        config.schedule, patches=patches, average_decay=0.95, validate_every=10_000, compile=False
    )
    return replace(
        config,
        network=replace(config.network, epsilon=epsilon),
        data=replace(config.data, patch_shape=(16, 48, 48)),
        schedule=schedule,
    )


def extremes() -> dict[str, torch.Tensor]:
    """Make inputs of 32³ that no training patch resembles."""
    generator = np.random.default_rng(0)
    bright = np.zeros((32, 32, 32))
    bright[16, 16, 16] = 20
    images = {
        "noise": generator.normal(0, 0.5, bright.shape),
        "zeros": np.zeros(bright.shape),
        "constant": np.full(bright.shape, 0.5),
        "bright voxel": bright,
    }
    return {name: torch.from_numpy(image.astype(np.float32))[None, None] for name, image in images.items()}


def main() -> None:
    """Train once per epsilon and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--patches", type=int, default=640)
    parser.add_argument("--epsilons", type=float, nargs="+", default=[1e-12, 1e-3, 1e-2, 5e-2])
    options = parser.parse_args()
    config = load_config(options.config)
    columns = (
        "epsilon",
        "validation PSNR",
        "global SSIM",
        "running variance behind the division",
        "the division's share of x'",
        "largest x' on " + ", ".join(extremes()),
    )
    print("| " + " | ".join(columns) + " |")
    print("|---|---|---|---|---|---|")
    for epsilon in options.epsilons:
        run = short(config, epsilon, options.patches)
        with tempfile.TemporaryDirectory() as folder:
            path = train(run, folder)
            assert path is not None
            model = load_model(path)
        images = torch.stack([Patches(run, VALIDATION_PHANTOMS)[i].image for i in range(8)])
        variance = model.network.division.embed[1].running_var.max().item()
        with torch.no_grad():
            largest = [f"{model.network(image).output.max().item():.3g}" for image in extremes().values()]
        validation = model.card["metrics"]["validation"]
        print(
            f"| {epsilon:g} | {validation['psnr']:.2f} | {validation['ssim_global']:.4f} | {variance:.2g} | "
            f"{division_share(model.network, images):.3f} | {', '.join(largest)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
