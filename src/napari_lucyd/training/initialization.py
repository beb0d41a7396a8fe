"""Where training starts: a network that copies its input and whose division works, or another model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from napari_lucyd.models.model import load_model
from napari_lucyd.networks import LUCYD, Network
from napari_lucyd.training.config import parse_config


@torch.no_grad()
def start_near_identity(network: LUCYD) -> None:
    """Set scales and shifts of four batch norms so that x' begins near y; convolutions stay random.

    The mask begins near 0 and the update term near 1, as in a Richardson-Lucy iteration that has converged.
    The forward projection begins near 1. From its usual start it is exactly 0 in one voxel of sixteen, and
    there the quotient is y / epsilon: these few make the variance by which all quotients are divided so
    large that the network learns to do without (docs/decisions/0002-training.md).

    Parameters
    ----------
    network
        A fresh one; changed in place.
    """
    _set(_last_norm(network.correction_decode), weight=0.1, bias=0.0)
    _set(_last_norm(network.backward_project), weight=0.25, bias=1.0)
    _set(_last_norm(network.division.project), weight=0.3, bias=1.0)
    # About the spread and the mean of a normalised image.
    _set(network.rescale, weight=0.25, bias=0.3)


def start_from(network: Network, model: str | Path) -> dict[str, Any]:
    """Give a network the weights of a model, or those that a run has come to.

    Parameters
    ----------
    network
        Changed in place.
    model
        A shipped name, a path, or the folder of a run that was stopped: its averaged weights.

    Returns
    -------
    dict
        What was given, and the model's name, SHA-256 and, from its card, how it was trained.

    Raises
    ------
    ValueError
        If the model's network is another, or of another configuration; or the run's checkpoint is damaged.
    """
    if (Path(model) / "checkpoint.pt").is_file():
        return _start_from_run(network, Path(model))
    origin = load_model(model)
    if origin.network.config != network.config:
        raise ValueError(
            f"{model} is a network of {origin.network.config}, the run wants {network.config}; start from "
            "another model, or change [network]."
        )
    network.load_state_dict(origin.network.state_dict())
    return {
        "given": str(model),
        "name": origin.name,
        "sha256": origin.sha256,
        "training": origin.card.get("training"),
    }


def _start_from_run(network: Network, folder: Path) -> dict[str, Any]:
    path = folder / "checkpoint.pt"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        config = parse_config(state["config"])
        prefix = "module."
        weights = {
            name.removeprefix(prefix): value
            for name, value in state["averaged"].items()
            if name.startswith(prefix)
        }
        same = config.network == network.config
        if same:
            network.load_state_dict(weights)
    # A damaged file makes torch raise nearly anything; all of it means one thing.
    except Exception as error:
        raise ValueError(
            f"{path} is damaged, or no checkpoint of this version; start from another."
        ) from error
    if not same:
        raise ValueError(
            f"{folder} trains a network of {config.network}, the run wants {network.config}; start from "
            "another, or change [network]."
        )
    return {
        "given": str(folder),
        "name": config.name,
        "training": {
            "track": config.data.track,
            "history": config.history,
            "patches": state["step"] * config.schedule.batch_size,
            "steps": state["step"],
            "seed": config.schedule.seed,
            "seconds": round(state["seconds"]),
            "config": config.as_dict(),
        },
    }


def _last_norm(layers: nn.Module) -> nn.Module:
    return [layer for layer in layers.modules() if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d)][-1]


def _set(norm: nn.Module, *, weight: float, bias: float) -> None:
    assert isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d)
    nn.init.constant_(norm.weight, weight)
    nn.init.constant_(norm.bias, bias)
