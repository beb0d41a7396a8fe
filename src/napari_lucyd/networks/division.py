"""The effect of the Richardson-Lucy division inside a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_lucyd.networks.lucyd import LUCYD


@torch.no_grad()
def division_share(network: LUCYD, y: Tensor) -> float:
    """Measure how much the output changes if the quotient y / (FP + epsilon) is replaced by its mean.

    Parameters
    ----------
    network
        Network in evaluation mode.
    y
        Normalised input (N, 1, [Z,] Y, X), float32, even sizes.

    Returns
    -------
    float
        The root mean square change of x', divided by the standard deviation of x'. 0 for a division without
        effect.
    """
    whole = network(y).output

    def flatten(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (torch.full_like(inputs[0], inputs[0].mean().item()),)

    handle = network.division.embed.register_forward_pre_hook(flatten)
    try:
        without = network(y).output
    finally:
        handle.remove()
    return float((whole - without).square().mean().sqrt() / whole.std())
