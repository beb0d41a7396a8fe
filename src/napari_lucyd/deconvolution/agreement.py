"""Whether kernels that were compiled for this very machine are to be relied on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from napari_lucyd.networks.lucyd import LUCYD, LucydConfig, LucydOutput


def agrees_with_torch(run: Callable[[LUCYD, Tensor], LucydOutput]) -> bool:
    """Whether a way to compute LUCYD gives what torch gives, tried on a small block.

    Parameters
    ----------
    run
        Takes a network and a block on the processor.

    Raises
    ------
    Exception
        Whatever ``run`` raises.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = LUCYD(LucydConfig(dimension=3, epsilon=1.0)).eval()
        y = torch.rand((1, 1, 6, 10, 38))
    with torch.inference_mode():
        return all(_agree(a, b.cpu()) for a, b in zip(network(y), run(network, y), strict=True))


def _agree(a: Tensor, b: Tensor) -> bool:
    # Rounding is a hundredth of this.
    return bool((a - b).abs().max() <= 1e-4 * (a.max() - a.min()))
