"""CARE, the U-Net for content-aware restoration that LUCYD is compared with, in 3D.

The layers follow the defaults of CSBDeep, the published implementation of Weigert et al., "Content-aware
image restoration: pushing the limits of fluorescence microscopy", Nature Methods 15, 1090 (2018),
doi:10.1038/s41592-018-0216-7. The layer names are our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from napari_lucyd.networks.network import Network, NetworkConfig


@dataclass(frozen=True)
class CareConfig(NetworkConfig):
    """The settings of a CARE network, which rebuild it together with its weights.

    Parameters
    ----------
    dimension
        3, for volumes (Z, Y, X).
    """

    def __post_init__(self) -> None:
        if self.dimension != 3:
            raise ValueError(f"dimension is {self.dimension}; give 3 for CARE.")


class CareOutput(NamedTuple):
    """The two results of CARE, each of the input's shape (N, 1, Z, Y, X).

    ``output`` is the restored image, of any sign; ``residual`` is the image that was added to the input.
    """

    output: Tensor
    residual: Tensor


def _pair(inputs: int, middle: int, outputs: int) -> nn.Sequential:
    """Build two convolutions, each with a ReLU."""
    return nn.Sequential(
        nn.Conv3d(inputs, middle, 3, padding=1),
        nn.ReLU(),
        nn.Conv3d(middle, outputs, 3, padding=1),
        nn.ReLU(),
    )


class CARE(Network):
    """CARE: a U-Net with two halvings. Its result is added to the input.

    The input is a float tensor (N, 1, Z, Y, X), scaled so that its percentiles 2 and 99.8 are 0 and 1; every
    spatial size is a multiple of 4. There are 996,769 parameters. The receptive field is 23 voxels to each
    side.

    Parameters
    ----------
    config
        The dimension.

    Examples
    --------
    >>> import torch
    >>> from napari_lucyd.networks import CARE
    >>> network = CARE().eval()
    >>> network(torch.rand(1, 1, 8, 16, 16)).output.shape
    torch.Size([1, 1, 8, 16, 16])
    """

    name = "care"
    title = "CARE"
    parts = ("output",)
    receptive_field = 23
    multiple = 4

    def __init__(self, config: CareConfig | None = None) -> None:
        super().__init__()
        self.config = config or CareConfig()
        self.encode_full = _pair(1, 32, 32)
        self.encode_half = _pair(32, 64, 64)
        self.bottleneck = _pair(64, 128, 64)
        self.decode_half = _pair(128, 64, 32)
        self.decode_full = _pair(64, 32, 32)
        self.project = nn.Conv3d(32, 1, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                # Keras's initial values.
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> CareOutput:
        if x.ndim != 5 or x.shape[1] != 1 or any(n % self.multiple for n in x.shape[2:]):
            raise ValueError(
                f"The network received a tensor of shape {tuple(x.shape)}; give (N, 1, Z, Y, X) with "
                "sizes that are multiples of 4."
            )
        full = self.encode_full(x)  # (N, 32, full size)
        half = self.encode_half(nn.functional.max_pool3d(full, 2))  # (N, 64, …/2)
        quarter = self.bottleneck(nn.functional.max_pool3d(half, 2))  # (N, 64, …/4)
        half = self.decode_half(torch.cat((_double(quarter), half), dim=1))  # (N, 32, …/2)
        full = self.decode_full(torch.cat((_double(half), full), dim=1))  # (N, 32, full size)
        residual = self.project(full)
        return CareOutput(x + residual, residual)


def _double(x: Tensor) -> Tensor:
    """Up-sample by two along every spatial axis, by nearest neighbour."""
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
