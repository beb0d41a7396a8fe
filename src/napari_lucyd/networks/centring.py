"""The update term's scale, which the network leaves open, set so that 1 is its middle."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_lucyd.networks.lucyd import LUCYD


@torch.no_grad()
def centre_update_term(network: LUCYD, y: Tensor) -> float:
    """Divide the update term by its median where it is positive, and multiply the gain behind by the same.

    The output stays what it was, up to rounding: x' = max(0, g z u + o) does not tell g and u apart. What
    is shown does: with u around 1, the correction mask g (y + M) - y holds what was added, and no factor.

    Parameters
    ----------
    network
        In evaluation mode; changed in place.
    y
        Typical normalised input (N, 1, [Z,] Y, X), float32, even sizes.

    Returns
    -------
    float
        The median that was divided by; 1 where the update term is 0 everywhere, and nothing was changed.
    """
    update_term = network(y).update_term
    positive = update_term[update_term > 0]
    if not positive.numel():
        return 1.0
    median = float(positive.median())
    last = network.backward_project[1][1]  # type: ignore[index]
    assert isinstance(last, nn.BatchNorm2d | nn.BatchNorm3d)
    # A ReLU and a mean lie between this batch norm and u: both pass a positive factor on.
    last.weight.div_(median)
    last.bias.div_(median)
    network.rescale.weight.mul_(median)
    assert network.rescale.running_mean is not None
    network.rescale.running_mean.div_(median)
    return median
