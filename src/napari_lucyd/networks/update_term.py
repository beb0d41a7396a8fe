"""The update term of a trained LUCYD: its scale, and the effect of the division in it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_lucyd.networks.lucyd import LUCYD


@torch.no_grad()
def centre_update_term(network: LUCYD, y: Tensor) -> float:
    """Divide the update term by the median of its positive values, and multiply the next gain by it.

    Training leaves the scale of the update term open; after this it lies around 1.
    The output stays the same, up to rounding, because x' = max(0, g z u + o) depends on g u only. The
    displayed parts depend on both: with u around 1, the correction mask g (y + M) - y shows the added
    intensity without a factor.

    Parameters
    ----------
    network
        Network in evaluation mode; it is changed in place.
    y
        Typical normalised input (N, 1, [Z,] Y, X), float32, even sizes.

    Returns
    -------
    float
        The median; 1 if the update term is 0 everywhere and nothing was changed.
    """
    update_term = network(y).update_term
    positive = update_term[update_term > 0]
    if not positive.numel():
        return 1.0
    median = float(positive.median())
    last = network.backward_project[1][1]  # type: ignore[index]
    assert isinstance(last, nn.BatchNorm2d | nn.BatchNorm3d)
    # A ReLU and a mean lie between this batch norm and u. Both preserve a positive factor.
    last.weight.div_(median)
    last.bias.div_(median)
    network.rescale.weight.mul_(median)
    assert network.rescale.running_mean is not None
    network.rescale.running_mean.div_(median)
    return median


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
