"""RLN, the Richardson-Lucy network that LUCYD is compared with, in 3D.

The layers follow the published implementation of Li et al., "Incorporating the image formation process into
deep learning improves network performance", Nature Methods 19, 1427 (2022), doi:10.1038/s41592-022-01652-7.
The layer names are our own. The authors' code replaces the gradients of quotients and products; ours uses
the true gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from napari_lucyd.networks.network import Network, NetworkConfig

# TensorFlow's defaults, which the authors used; its momentum of 0.99 is 0.01 in PyTorch's convention.
_BATCH_NORM_EPSILON = 1e-3
_BATCH_NORM_MOMENTUM = 0.01
# Constant added to divisors.
_EPSILON = 1e-3


@dataclass(frozen=True)
class RlnConfig(NetworkConfig):
    """The settings of an RLN network, which rebuild it together with its weights.

    Parameters
    ----------
    dimension
        3, for volumes (Z, Y, X).
    affine
        True for the authors' code: batch norms have a scale and a shift, convolutions have no bias, and there
        are 15,968 parameters. False for the 15,900 parameters of Table 1 of the LUCYD paper: convolutions
        have a bias, batch norms have no scale or shift.

    Notes
    -----
    A batch norm directly after a bias cancels it. In that order the 15,900 parameters could learn little: the
    mean of a softplus over features of mean 0 is never below ln 2, so no output could be darker than that on
    average. With ``affine=False`` the bias is therefore added after the batch norm.
    """

    affine: bool = True

    def __post_init__(self) -> None:
        if self.dimension != 3:
            raise ValueError(f"dimension is {self.dimension}; give 3 for RLN.")


class RlnOutput(NamedTuple):
    """The two results of RLN, each of the input's shape (N, 1, Z, Y, X).

    ``output`` is > 0. ``intermediate`` is T, the input times the update found at half resolution; the
    authors' loss compares it with 0.8 truth + 0.2 input.
    """

    output: Tensor
    intermediate: Tensor


class _Layers:
    """The layers of one configuration."""

    def __init__(self, affine: bool) -> None:
        self.affine = affine

    def block(self, inputs: int, outputs: int) -> nn.Sequential:
        """Build a convolution, batch norm and softplus."""
        convolution = nn.Conv3d(inputs, outputs, 3, padding=1, bias=False)
        return nn.Sequential(convolution, self._batch_norm(outputs), nn.Softplus())

    def plain_block(self, inputs: int, outputs: int) -> nn.Sequential:
        """Build a convolution and softplus."""
        convolution = nn.Conv3d(inputs, outputs, 3, padding=1, bias=not self.affine)
        return nn.Sequential(convolution, nn.Softplus())

    def doubling_block(self, inputs: int, outputs: int) -> nn.Sequential:
        """Build a transposed convolution that doubles the size, batch norm and softplus."""
        convolution = nn.ConvTranspose3d(inputs, outputs, kernel_size=2, stride=2, bias=False)
        return nn.Sequential(convolution, self._batch_norm(outputs), nn.Softplus())

    def norm(self) -> nn.BatchNorm3d:
        """Build a separate batch norm of one channel."""
        return nn.BatchNorm3d(1, _BATCH_NORM_EPSILON, _BATCH_NORM_MOMENTUM, affine=self.affine)

    def _batch_norm(self, channels: int) -> nn.BatchNorm3d:
        norm = nn.BatchNorm3d(channels, _BATCH_NORM_EPSILON, _BATCH_NORM_MOMENTUM)
        if not self.affine:
            # Only the shift is learnt; it takes the role of the convolution's bias, see RlnConfig.
            del norm.weight
            norm.register_buffer("weight", torch.ones(channels))
        return norm


class Division(nn.Module):
    """The division of the image by its forward projection, with features of the quotient."""

    def __init__(self, layers: _Layers) -> None:
        super().__init__()
        self.norm = layers.norm()
        self.embed = layers.block(1, 8)
        self.refine = layers.block(8, 8)

    def forward(self, x: Tensor, projection: Tensor) -> tuple[Tensor, Tensor]:
        quotient = self.norm(x / (projection.mean(dim=1, keepdim=True) + _EPSILON))
        embedded = self.embed(quotient)
        return embedded, self.refine(embedded)


class RLN(Network):
    """RLN: a learnt Richardson-Lucy step at half resolution, a second one at full, and a merge.

    The input is a float tensor (N, 1, Z, Y, X), normalised to about [0, 1]; every spatial size is even. There
    are 15,968 or 15,900 parameters. The receptive field is 17 voxels to each side.

    Parameters
    ----------
    config
        The settings, which decide the number of parameters.

    Examples
    --------
    >>> import torch
    >>> from napari_lucyd.networks import RLN, RlnConfig
    >>> network = RLN(RlnConfig(affine=False)).eval()
    >>> sum(parameter.numel() for parameter in network.parameters())
    15900
    >>> network(torch.rand(1, 1, 8, 16, 16)).output.shape
    torch.Size([1, 1, 8, 16, 16])
    """

    name = "rln"
    title = "RLN"
    parts = RlnOutput._fields
    non_negative = ("output",)
    receptive_field = 17
    multiple = 2

    def __init__(self, config: RlnConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or RlnConfig()
        layers = _Layers(config.affine)

        self.half_first = layers.block(1, 4)
        self.half_second = layers.block(4, 4)
        self.half_project = layers.block(8, 4)
        self.half_division = Division(layers)
        self.half_mix = layers.block(16, 8)
        self.half_enlarge = layers.doubling_block(8, 4)
        self.half_update = layers.block(4, 4)
        self.half_norm = layers.norm()

        self.full_first = layers.block(1, 4)
        self.full_project = layers.block(4, 4)
        self.full_division = Division(layers)
        self.full_norm = layers.norm()

        self.merge_first = layers.plain_block(1, 8)
        self.merge_second = layers.plain_block(10, 8)
        self.merge = layers.block(16, 8)
        self._start()

    @torch.no_grad()
    def _start(self) -> None:
        """Initialise the kernels as the authors do."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.trunc_normal_(module.weight, std=1, a=-2, b=2)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # The kernels before the divisions are blurs, so that the divisor resembles the image.
        for block in (
            self.half_first,
            self.half_second,
            self.half_project,
            self.full_first,
            self.full_project,
        ):
            convolution = block[0]
            assert isinstance(convolution, nn.Conv3d)
            convolution.weight.copy_(_gaussians(convolution.in_channels))

    def forward(self, x: Tensor) -> RlnOutput:
        if x.ndim != 5 or x.shape[1] != 1 or any(n % 2 for n in x.shape[2:]):
            raise ValueError(
                f"The network received a tensor of shape {tuple(x.shape)}; give (N, 1, Z, Y, X) with "
                "even sizes."
            )
        softplus = nn.functional.softplus

        half = nn.functional.avg_pool3d(x, 2)
        a = self.half_first(half)
        b = self.half_second(a)
        # The softplus of the image is the same for all channels; the sum broadcasts it.
        c = self.half_project(torch.cat((a, b), dim=1)) + softplus(half)
        d, e = self.half_division(half, c)
        f = self.half_mix(torch.cat((e, d), dim=1))  # (N, 8, …/2)
        update = self.half_update(self.half_enlarge(f)).mean(dim=1, keepdim=True)
        intermediate = x * update  # T
        first_estimate = softplus(self.half_norm(intermediate))  # E1

        projection = self.full_project(self.full_first(x)) + softplus(x)
        _, correction = self.full_division(x, projection)
        update = correction.mean(dim=1, keepdim=True) + 1
        second_estimate = softplus(self.full_norm(first_estimate * update))  # E2

        m1 = self.merge_first(second_estimate)
        m2 = self.merge_second(torch.cat((m1, second_estimate, first_estimate), dim=1))
        output = self.merge(torch.cat((m1, m2), dim=1)).mean(dim=1, keepdim=True)
        return RlnOutput(output, intermediate)


def _gaussians(inputs: int) -> Tensor:
    """Build Gaussian kernels (4, inputs, 3, 3, 3): sigma 1 to 4 by output, times a random gain by input."""
    squares = torch.arange(-1, 2).square().float()
    distance = squares[:, None, None] + squares[:, None] + squares
    sigma = torch.arange(1, 5).reshape(4, 1, 1, 1, 1)
    gain = torch.empty(1, inputs, 1, 1, 1).uniform_(0.7, 1)
    return gain * torch.exp(-distance / (2 * sigma**2))
