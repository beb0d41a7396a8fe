"""Start of a training: a network that copies its input and whose division works, or another model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_lucyd.models.model import Model, load_model
from napari_lucyd.networks import LUCYD, LucydConfig, Network, NetworkConfig
from napari_lucyd.training.config import parse_config

# Smallest measured variance; that of a layer which is constant on most patches would be 0.
_LEAST = 1e-6


@torch.no_grad()
def start_near_identity(network: LUCYD) -> None:
    """Set scales and shifts of four batch norms so that x' starts near y; convolutions stay random.

    The mask starts near 0 and the update term near 1, as in a Richardson-Lucy iteration that has converged.
    The forward projection starts near 1. With PyTorch's start it is exactly 0 in one voxel of sixteen, and
    the quotient there is y / epsilon. These few voxels increase the variance, by which all quotients are
    divided, so much that the network learns to work without them (docs/decisions/0002-training.md).

    Parameters
    ----------
    network
        Untrained network; changed in place.
    """
    _set(_last_norm(network.correction_decode), weight=0.1, bias=0.0)
    _set(_last_norm(network.backward_project), weight=0.25, bias=1.0)
    _set(_last_norm(network.division.project), weight=0.3, bias=1.0)
    if not _is_held(network.rescale):
        # These are about the spread and the mean of a normalised image.
        _set(network.rescale, weight=0.25, bias=0.3)


@torch.no_grad()
def hold_output(network: LUCYD) -> None:
    """Make the last batch norm the identity permanently: x' = max(0, (y + M) u).

    Parameters
    ----------
    network
        Network; changed in place. The norm must stay in evaluation mode while the others are trained.
    """
    norm = network.rescale
    _set(norm, weight=1.0, bias=0.0)
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    norm.requires_grad_(False)


@torch.no_grad()
def measure_norms(network: Network, images: Tensor) -> None:
    """Set the statistics of all batch norms, layer after layer, to medians over images of their input.

    If these are held, they scale each layer as batch statistics would, but do not depend on the batch: a few
    bright patches do not determine the divisor of all others (docs/decisions/0014-a-living-network.md).

    Parameters
    ----------
    network
        Untrained network; changed in place, and left in evaluation mode. A last norm that is held as the
        identity stays so.
    images
        Normalised patches (N, 1, [Z,] Y, X).
    """

    def measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d)
        assert norm.running_mean is not None and norm.running_var is not None
        values = inputs[0].flatten(2)  # (N, channels, voxels)
        mean = values.mean(2).median(0).values
        norm.running_mean.copy_(mean)
        norm.running_var.copy_((values - mean[:, None]).square().mean(2).median(0).values.clamp(min=_LEAST))

    norms = [norm for norm in network.modules() if isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d)]
    held = (
        network.rescale if isinstance(network, LUCYD) and not network.rescale.weight.requires_grad else None
    )
    handles = [norm.register_forward_pre_hook(measure) for norm in norms if norm is not held]
    try:
        network.eval()(images)
    finally:
        for handle in handles:
            handle.remove()


def start_from(network: Network, model: str | Path | Model) -> dict[str, Any]:
    """Load the weights of a model, or of an unfinished run, into a network.

    Parameters
    ----------
    network
        Network; changed in place.
    model
        A model, its name or path, or the folder of a stopped run: its averaged weights are used.

    Returns
    -------
    dict
        ``model`` as given, and the model's name, SHA-256 and the training entry of its card.

    Raises
    ------
    ValueError
        If the model has another network or another configuration of it, apart from LUCYD's padding,
        ceiling and full noise, or the run's checkpoint is damaged.
    """
    if not isinstance(model, Model) and (Path(model) / "checkpoint.pt").is_file():
        return _start_from_run(network, Path(model))
    origin = model if isinstance(model, Model) else load_model(model)
    if _with_weights(origin.network.config) != _with_weights(network.config):
        raise ValueError(
            f"{origin.name} is a network of {origin.network.config}, but the run trains {network.config}; "
            "start from another model, or change [network] in the configuration."
        )
    network.load_state_dict(origin.network.state_dict())
    return {
        "given": origin.name if isinstance(model, Model) else str(model),
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
        same = _with_weights(config.network) == _with_weights(network.config)
        if same:
            network.load_state_dict(weights)
    # torch may raise any error for a damaged file; they all mean the same.
    except Exception as error:
        raise ValueError(
            f"{path} is damaged, or not a checkpoint of this version; start from another run or model."
        ) from error
    if not same:
        raise ValueError(
            f"{folder} is a run with a network of {config.network}, but this run trains {network.config}; "
            "start from another run or model, or change [network] in the configuration."
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


def _with_weights(config: NetworkConfig) -> NetworkConfig:
    """Return the settings that decide which weights fit: not those of LUCYD without parameters."""
    if not isinstance(config, LucydConfig):
        return config
    return replace(config, padding="zeros", ceiling=None, full_noise=None)


def _is_held(norm: nn.Module) -> bool:
    """Return True if `hold_output` was applied."""
    return isinstance(norm.weight, nn.Parameter) and not norm.weight.requires_grad


def _last_norm(layers: nn.Module) -> nn.Module:
    return [layer for layer in layers.modules() if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d)][-1]


def _set(norm: nn.Module, *, weight: float, bias: float) -> None:
    assert isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d)
    nn.init.constant_(norm.weight, weight)
    nn.init.constant_(norm.bias, bias)
