"""Short trainings that differ in what keeps a network alive: see docs/decisions/0014-a-living-network.md.

python benchmarks/living.py
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from napari_lucyd.models import load_model
from napari_lucyd.models.normalization import Normalization
from napari_lucyd.networks import LUCYD, LucydConfig
from napari_lucyd.text import percent_text
from napari_lucyd.training import TrainingConfig, train
from napari_lucyd.training.config import DataConfig, ScheduleConfig
from napari_lucyd.training.data import VALIDATION_PHANTOMS, Patches

# Planes of phantoms as the open track has them, with less noise, so that there is something to sharpen.
BASE = TrainingConfig(
    name="living",
    network=LucydConfig(dimension=2, epsilon=0.01),
    normalization=Normalization("percentile", low=5.0, high=99.9, pedestal=0.25),
    data=DataConfig(
        track="open", blur_sigma=(0.7, 2.0), noise_sigma=(1.0, 20.0), patch_shape=(64, 64),
        phantom_shape=(96, 96), gain=(0.7, 1.4), offset=(-0.1, 0.1), alive=24, patches_per_phantom=16, seed=8,
    ),
    schedule=ScheduleConfig(flux_weight=5.0, near_identity=True, stop_dead=False),
)  # fmt: skip
_HELD = {"free_norms": 0.0, "measured_norms": True, "identity_output": True}
VARIANTS: Mapping[str, dict[str, Any]] = {
    "statistics kept after a fifth": {"free_norms": 0.2, "learning_rate": 4e-3},
    "batch statistics, output held": {"identity_output": True, "learning_rate": 4e-3},
    "measured and held, rate 1e-3": {**_HELD, "learning_rate": 1e-3},
    "measured and held, rate 2e-3": {**_HELD, "learning_rate": 2e-3},
    "measured and held, rate 4e-3": {**_HELD, "learning_rate": 4e-3},
    "2e-3, mask first": {**_HELD, "learning_rate": 2e-3, "mask_first": 0.3},
    "2e-3, loss on the intermediate": {**_HELD, "learning_rate": 2e-3, "intermediate_weight": 0.5},
    "2e-3, both": {**_HELD, "learning_rate": 2e-3, "mask_first": 0.3, "intermediate_weight": 0.3},
}


@torch.no_grad()
def update_spread(network: LUCYD, config: TrainingConfig) -> float:
    """Return the median over validation patches of the update term's standard deviation over its mean."""
    patches = Patches(config, VALIDATION_PHANTOMS)
    terms = [network(patches[i].image[None]).update_term for i in range(9)]
    return float(torch.stack([term.std() / term.mean().clamp(min=1e-6) for term in terms]).median())


def main() -> None:
    """Train once a variant and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=int, default=2400)
    parser.add_argument("--only", help="part of a variant's name")
    options = parser.parse_args()
    print("| recipe | validation PSNR | dead channels | mask: share, spread | spread of the update term |")
    print("|---|---|---|---|---|")
    for name, changes in VARIANTS.items():
        if options.only and options.only not in name:
            continue
        schedule = replace(
            BASE.schedule, patches=options.patches, validate_every=options.patches // 8, **changes
        )
        config = replace(BASE, schedule=schedule)
        with tempfile.TemporaryDirectory() as folder:
            path = train(config, folder, device="cpu")
            assert path is not None
            network = load_model(path).network
            with (Path(folder) / "log.csv").open(newline="") as file:
                last = list(csv.DictReader(file))[-1]
        assert isinstance(network, LUCYD)
        print(
            f"| {name} | {float(last['validation_psnr']):.2f} | "
            f"{percent_text(float(last['dead_channels']), '.1f')} | "
            f"{float(last['mask_share']):.2f}, {float(last['mask_spread']):.4f} | "
            f"{update_spread(network, config):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
