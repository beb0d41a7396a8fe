"""LUCYD, the feature-driven Richardson-Lucy deconvolution network, in 2D and 3D.

The layers follow the published implementation of Chobola et al., "LUCYD: A Feature-Driven
Richardson-Lucy Deconvolution Network", MICCAI 2023 (doi:10.1007/978-3-031-43993-3_63). The layer names are
our own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_lucyd.networks.network import Network, NetworkConfig

Padding = Literal["zeros", "replicate"]
# Reflected voxels around a volume for a network that repeats the outermost voxels. Without them, results are
# worse at the borders; more have no effect (docs/borders.md).
_REPLICATED_BORDER = 2

LEAST_SHARE = 0.3
"""Share with which mask and update term count at least, so that both can be looked at in any image."""


@dataclass(frozen=True)
class LucydConfig(NetworkConfig):
    """The settings of a LUCYD network, which rebuild it together with its weights.

    Parameters
    ----------
    dimension
        2 for planes (Y, X), 3 for volumes (Z, Y, X).
    epsilon
        Constant added to the forward projection before the Richardson-Lucy division, in units of the
        normalised image. The authors' files need 1e-12; ``docs/decisions/0001-epsilon.md`` gives the value
        of our own.
    padding
        Continuation of each convolution's input beyond the borders of the block: ``"zeros"`` as in the
        paper, or ``"replicate"`` to repeat the outermost voxels. With zeros, volumes are extended by 24
        reflected voxels before the network runs, so that no zeros reach the result. With replication, by 2.
    ceiling
        Highest value that the layers see, in units of the normalised image, or None. A brighter voxel is
        shown to them as if it had this value, and y + M there grows with its true value. So an object far
        brighter than all in training keeps its light.
    full_noise
        Noise, as a share of the brightness of the light, above which mask and update term count in full, or
        None. In images with less noise they count in proportion, at least with 0.3: the first estimate of
        such an image has little to correct, and the network would take detail away. A run knows the noise and
        applies this; the network itself does not.
    """

    epsilon: float = 1e-12
    padding: Padding = "zeros"
    ceiling: float | None = None
    full_noise: float | None = None

    def __post_init__(self) -> None:
        if self.dimension not in (2, 3):
            raise ValueError(f"dimension is {self.dimension}; give 2 or 3 for LUCYD.")
        if not self.epsilon > 0:
            raise ValueError(f"epsilon is {self.epsilon}; give a number above 0.")
        if self.padding not in get_args(Padding):
            raise ValueError(
                f"padding is {self.padding!r}; give {' or '.join(map(repr, get_args(Padding)))}."
            )
        if self.ceiling is not None and not self.ceiling > 0:
            raise ValueError(f"ceiling is {self.ceiling}; give a number above 0, or None.")
        if self.full_noise is not None and not self.full_noise > 0:
            raise ValueError(f"full_noise is {self.full_noise}; give a number above 0, or None.")


class LucydOutput(NamedTuple):
    """The four results of LUCYD, each of the input's shape (N, 1, …).

    ``output`` is x' >= 0; ``correction_mask`` is M (any sign); ``update_term`` is u >= 0;
    ``intermediate`` is z = y + M (Eq. 3). With the last batch norm's gain g and offset o,
    output = max(0, g * intermediate * update_term + o).
    """

    output: Tensor
    correction_mask: Tensor
    update_term: Tensor
    intermediate: Tensor


class _ReplicatingTranspose3d(nn.ConvTranspose3d):
    """A transposed convolution that doubles the size and repeats the outermost voxels of its input."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Double the size."""
        repeated = functional.pad(x, (1,) * 6, mode="replicate")
        return super().forward(repeated, output_size)[:, :, 2:-2, 2:-2, 2:-2]


class _ReplicatingTranspose2d(nn.ConvTranspose2d):
    """The counterpart of `_ReplicatingTranspose3d` for planes."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Double the size."""
        repeated = functional.pad(x, (1,) * 4, mode="replicate")
        return super().forward(repeated, output_size)[:, :, 2:-2, 2:-2]


class _Layers:
    """The layers for one dimension: every 3D operation has a 2D counterpart."""

    def __init__(self, config: LucydConfig) -> None:
        three, self.padding = config.dimension == 3, config.padding
        self.convolution = nn.Conv3d if three else nn.Conv2d
        self.transposed = nn.ConvTranspose3d if three else nn.ConvTranspose2d
        if config.padding == "replicate":
            self.transposed = _ReplicatingTranspose3d if three else _ReplicatingTranspose2d
        self.batch_norm = nn.BatchNorm3d if three else nn.BatchNorm2d

    def block(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
        """Build a convolution, batch norm and ReLU."""
        return nn.Sequential(*self.linear_block(inputs, outputs, kernel, stride), nn.ReLU())

    def linear_block(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
        """Build a convolution and batch norm."""
        reach = kernel // 2
        mode = self.padding if reach else "zeros"
        convolution = self.convolution(
            inputs, outputs, kernel, stride, padding=reach, bias=False, padding_mode=mode
        )
        return nn.Sequential(convolution, self.batch_norm(outputs))

    def doubling_block(self, inputs: int, outputs: int) -> nn.Sequential:
        """Build a transposed convolution that doubles the size, batch norm and ReLU."""
        convolution = self.transposed(inputs, outputs, kernel_size=4, stride=2, padding=1, bias=False)
        return nn.Sequential(convolution, self.batch_norm(outputs), nn.ReLU())


class ResidualBlock(nn.Module):
    """Two convolutions, added to their input, with no ReLU after the sum."""

    def __init__(self, layers: _Layers, channels: int) -> None:
        super().__init__()
        self.first = layers.block(channels, channels)
        self.second = layers.linear_block(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        refined: Tensor = self.second(self.first(x))
        return x + refined


class FusionBlock(nn.Module):
    """A 1x1 and a 3x3 convolution that mix features of two scales, already of equal size (Eq. 6, 7)."""

    def __init__(self, layers: _Layers, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mix = layers.block(inputs, outputs, kernel=1)
        self.refine = layers.block(outputs, outputs)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        refined: Tensor = self.refine(self.mix(torch.cat((fine, coarse), dim=1)))
        return refined


class RichardsonLucyDivision(nn.Module):
    """Steps (a) and (b) of Eq. 4: the forward projection FP, then features of y / (FP + epsilon)."""

    def __init__(self, layers: _Layers, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.project = layers.block(4, 4)
        self.embed = layers.block(1, 4)

    def quotient(self, y: Tensor, features: Tensor) -> Tensor:
        forward_projection: Tensor = self.project(features).mean(dim=1, keepdim=True)
        return y / (forward_projection + self.epsilon)

    def forward(self, y: Tensor, features: Tensor) -> Tensor:
        embedded: Tensor = self.embed(self.quotient(y, features))
        return embedded


class LUCYD(Network):
    """LUCYD: a correction branch, an update branch, and a bottleneck that they share.

    The input is a float tensor (N, 1, Z, Y, X), or (N, 1, Y, X) in 2D, normalised to about [0, 1]; every
    spatial size is even. There are 24,964 parameters in 3D and 8,452 in 2D. The receptive field is 24 voxels
    to each side.

    Parameters
    ----------
    config
        Dimension, epsilon and padding.

    Examples
    --------
    >>> import torch
    >>> from napari_lucyd.networks import LUCYD, LucydConfig
    >>> network = LUCYD(LucydConfig(dimension=3, epsilon=1e-2)).eval()
    >>> network(torch.rand(1, 1, 8, 16, 16)).output.shape
    torch.Size([1, 1, 8, 16, 16])
    """

    name = "lucyd"
    title = "LUCYD"
    parts = LucydOutput._fields
    non_negative = ("output", "update_term")
    receptive_field = 24
    multiple = 2
    config: LucydConfig

    def __init__(self, config: LucydConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or LucydConfig()
        layers = _Layers(config)

        self.correction_encode = nn.Sequential(layers.block(1, 4), ResidualBlock(layers, 4))
        self.correction_halve = layers.block(4, 8, stride=2)

        self.update_encode = nn.Sequential(layers.block(1, 4), ResidualBlock(layers, 4))
        self.update_halve = layers.block(4, 8, stride=2)

        self.bottleneck_encode = nn.Sequential(layers.block(16, 8), ResidualBlock(layers, 8))
        self.fuse_fine = FusionBlock(layers, 12, 4)
        self.fuse_coarse = FusionBlock(layers, 12, 8)
        self.bottleneck_decode = nn.Sequential(
            layers.block(8, 8), ResidualBlock(layers, 8), layers.doubling_block(8, 4)
        )

        self.correction_decode = nn.Sequential(
            layers.block(8, 4), ResidualBlock(layers, 4), layers.linear_block(4, 1)
        )

        self.division = RichardsonLucyDivision(layers, config.epsilon)
        self.backward_mix = layers.block(8, 4)
        self.backward_project = nn.Sequential(ResidualBlock(layers, 4), layers.block(4, 4))

        self.rescale = layers.batch_norm(1)

    def forward(self, y: Tensor) -> LucydOutput:
        if y.ndim != self.config.dimension + 2 or y.shape[1] != 1 or any(n % 2 for n in y.shape[2:]):
            raise ValueError(
                f"The network received a tensor of shape {tuple(y.shape)}; give (N, 1, "
                f"{'Z, ' if self.config.dimension == 3 else ''}Y, X) with even sizes."
            )
        ceiling = self.config.ceiling
        seen = y if ceiling is None else y.clamp(max=ceiling)
        # Full size has 4 channels, half size 8.
        a = self.correction_encode(seen)
        b = self.update_encode(seen)
        half = torch.cat((self.correction_halve(a), self.update_halve(b)), dim=1)  # (N, 16, …/2)
        z = self.bottleneck_encode(half)

        fine = self.fuse_fine(a, _double(z))
        coarse = self.fuse_coarse(z, _halve(a))
        shared = self.bottleneck_decode(coarse)  # (N, 4, full size)

        correction_mask = self.correction_decode(torch.cat((fine, shared), dim=1))
        intermediate = seen + correction_mask  # Eq. 3
        if ceiling is not None:
            intermediate = intermediate * excess(y, ceiling)
            correction_mask = intermediate - y

        divided = self.division(seen, b)
        mixed = self.backward_mix(torch.cat((divided, shared), dim=1)) + divided
        update_term = self.backward_project(mixed).mean(dim=1, keepdim=True)  # Eq. 4 (c)

        output = torch.relu(self.rescale(intermediate * update_term))
        return LucydOutput(output, correction_mask, update_term, intermediate)

    @property
    def border(self) -> int | None:
        """See `Network.border`."""
        return None if self.config.padding == "zeros" else _REPLICATED_BORDER

    def share(self, noise: float) -> float:
        """See `Network.share`."""
        full = self.config.full_noise
        return 1.0 if full is None else max(LEAST_SHARE, min(1.0, noise / full))

    @torch.no_grad()
    def output_gain(self) -> tuple[float, float]:
        """Return gain g and offset o of the last batch norm in evaluation mode: x' = max(0, g z u + o)."""
        norm = self.rescale
        assert norm.running_mean is not None and norm.running_var is not None
        # Four numbers: torch would take longer to start than to compute.
        gain = norm.weight.item() / math.sqrt(norm.running_var.item() + norm.eps)
        return gain, norm.bias.item() - norm.running_mean.item() * gain


def excess(y: Tensor, ceiling: float) -> Tensor:
    """Return by how many times each voxel is above a ceiling, at least 1."""
    return (y / ceiling).clamp(min=1)


def _double(x: Tensor) -> Tensor:
    """Up-sample by two along every spatial axis, by nearest neighbour."""
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


def _halve(x: Tensor) -> Tensor:
    """Down-sample by two: keep the even indices."""
    even = slice(None, None, 2)
    return x[:, :, even, even, even] if x.ndim == 5 else x[:, :, even, even]
