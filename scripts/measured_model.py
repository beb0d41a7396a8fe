"""Save a LUCYD whose weights or settings were changed after its training; used by two scripts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from napari_lucyd.models import Model, save_model
from napari_lucyd.networks import LUCYD
from napari_lucyd.training.config import parse_config
from napari_lucyd.training.model_card import finish
from napari_lucyd.training.trainer import Trainer


def save_measured(network: LUCYD, model: Model, note: str, folder: Path) -> None:
    """Save a network under a model's name, with its card: a new validation, and a longer history.

    The validation patches are those of the model's training, whose configuration is in the card.
    """
    config = parse_config(model.card["training"]["config"])
    config = replace(config, network=network.config)
    run = Trainer(config, torch.device("cpu"), model)
    run.averaged.module.load_state_dict(network.state_dict())
    checked = run.validate()
    patches = torch.stack([patch.image for patch in run.validation])
    metrics = dict(model.card["metrics"])
    metrics["validation"] = {
        **metrics["validation"],
        "psnr": round(checked.psnr, 4),
        "ssim_global": round(checked.ssim_global, 4),
    }
    metrics |= finish(network, patches, centre=False)
    training = dict(model.card["training"])
    training["history"] += note
    card = {**model.card, "metrics": metrics, "training": training}
    path = folder / f"{model.name}.safetensors"
    save_model(path, network, normalization=card["normalization"], card=card, overwrite=True)
    print(path, metrics)
