"""Whether the Richardson-Lucy division inside a network does anything."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_lucyd.networks.lucyd import LUCYD


@torch.no_grad()
def division_share(network: LUCYD, y: Tensor) -> float:
    """How much of the output's structure goes when the quotient y / (FP + epsilon) is replaced by its mean.

    Parameters
    ----------
    network
        In evaluation mode.
    y
        Normalised input (N, 1, [Z,] Y, X), float32, even sizes.

    Returns
    -------
    float
        The root mean square change of x', over the standard deviation of x'. 0 for a dead division.
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
