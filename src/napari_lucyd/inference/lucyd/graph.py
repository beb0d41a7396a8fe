"""LUCYD as a list of fused layers, one kernel each; see `cpu` and `cuda`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_lucyd.inference.fusion import folded_convolution
from napari_lucyd.networks.lucyd import LUCYD, LucydConfig, LucydOutput, Padding
from napari_lucyd.spans import Span

# Number of channels that are computed together.
BLOCK = 4


@dataclass(frozen=True)
class Kernel:
    """A kind of convolution.

    Attributes
    ----------
    taps
        Kernel size along Y and X, 3 or 1; along Z the table of planes decides.
    stride
        1, or 2 to compute every second voxel along Y and X, from index 0 on.
    transposed
        True for a transposed convolution with four taps, which doubles Y and X; it ignores ``taps`` and
        ``stride``.
    outputs
        Number of channels in a block.
    residual
        Another tensor to add: before the ReLU, before it after doubling along Y and X (nearest neighbour),
        or after the ReLU.
    relu
        True to replace negative values by 0.
    reduce
        Reduction of the channels of a block: none, their mean, or the residual divided by their mean plus
        ``bias[4]``.
    """

    taps: int = 3
    stride: int = 1
    transposed: bool = False
    outputs: int = BLOCK
    residual: Literal["", "before", "doubled", "after"] = ""
    relu: bool = True
    reduce: Literal["", "mean", "quotient"] = ""


@dataclass(frozen=True)
class Layer:
    """One convolution, with the operations fused into it.

    Attributes
    ----------
    name
        Name of its output tensor.
    source
        Name of the convolution in the network.
    kernel
        Kind of convolution.
    inputs
        Names of the input tensors. Their channels are concatenated.
    residual
        Name of the tensor to add or divide; see `Kernel`.
    channels
        Number of output channels.
    half
        True if the output has half the size.
    buffer
        Name of the tensor that the output overwrites, which is then its residual. By default the output has
        its own memory.
    part
        Inputs of the convolution that this layer computes, if two layers share it.
    bias
        False if the other layer adds the bias.
    """

    name: str
    source: str
    kernel: Kernel
    inputs: tuple[str, ...]
    residual: str = ""
    channels: int = BLOCK
    half: bool = False
    buffer: str = ""
    part: Span | None = None
    bias: bool = True

    @property
    def kept_in(self) -> str:
        """Name of the buffer."""
        return self.buffer or self.name


_RELU = Kernel()
_SUM = Kernel(residual="before", relu=False)
_HALVE = Kernel(stride=2)

# A 1×1 convolution commutes with nearest-neighbour doubling, so that of fuse_fine is computed at half size.
# Convolving concatenated tensors is the sum of convolving each.
LAYERS = (
    Layer("a0", "correction_encode.0.0", _RELU, ("y",)),
    Layer("a1", "correction_encode.1.first.0", _RELU, ("a0",)),
    Layer("a", "correction_encode.1.second.0", _SUM, ("a1",), "a0", buffer="a0"),
    Layer("b0", "update_encode.0.0", _RELU, ("y",)),
    Layer("b1", "update_encode.1.first.0", _RELU, ("b0",)),
    Layer("b", "update_encode.1.second.0", _SUM, ("b1",), "b0", buffer="b0"),
    Layer("half a", "correction_halve.0", _HALVE, ("a",), channels=8, half=True),
    Layer("half b", "update_halve.0", _HALVE, ("b",), channels=8, half=True),
    Layer("z0", "bottleneck_encode.0.0", _RELU, ("half a", "half b"), channels=8, half=True),
    Layer("z1", "bottleneck_encode.1.first.0", _RELU, ("z0",), channels=8, half=True),
    Layer("z", "bottleneck_encode.1.second.0", _SUM, ("z1",), "z0", channels=8, half=True, buffer="z0"),
    Layer("fine z", "fuse_fine.mix.0", Kernel(taps=1, relu=False), ("z",), half=True, part=Span(4, 12)),
    Layer(
        "fine mix",
        "fuse_fine.mix.0",
        Kernel(taps=1, residual="doubled"),
        ("a",),
        "fine z",
        part=Span(0, 4),
        bias=False,
    ),
    Layer("fine", "fuse_fine.refine.0", _RELU, ("fine mix",)),
    Layer(
        "coarse z",
        "fuse_coarse.mix.0",
        Kernel(taps=1, relu=False),
        ("z",),
        channels=8,
        half=True,
        part=Span(0, 8),
    ),
    Layer(
        "coarse mix",
        "fuse_coarse.mix.0",
        Kernel(taps=1, stride=2, residual="before"),
        ("a",),
        "coarse z",
        channels=8,
        half=True,
        buffer="coarse z",
        part=Span(8, 12),
        bias=False,
    ),
    Layer("coarse", "fuse_coarse.refine.0", _RELU, ("coarse mix",), channels=8, half=True),
    Layer("d0", "bottleneck_decode.0.0", _RELU, ("coarse",), channels=8, half=True),
    Layer("d1", "bottleneck_decode.1.first.0", _RELU, ("d0",), channels=8, half=True),
    Layer("d", "bottleneck_decode.1.second.0", _SUM, ("d1",), "d0", channels=8, half=True, buffer="d0"),
    Layer("shared", "bottleneck_decode.2.0", Kernel(transposed=True), ("d",)),
    Layer("m0", "correction_decode.0.0", _RELU, ("fine", "shared")),
    Layer("m1", "correction_decode.1.first.0", _RELU, ("m0",)),
    Layer("m", "correction_decode.1.second.0", _SUM, ("m1",), "m0", buffer="m0"),
    Layer("mask", "correction_decode.2.0", Kernel(outputs=1, relu=False), ("m",), channels=1),
    Layer(
        "quotient", "division.project.0", Kernel(residual="after", reduce="quotient"), ("b",), "y", channels=1
    ),
    Layer("divided", "division.embed.0", _RELU, ("quotient",)),
    Layer("w0", "backward_mix.0", Kernel(residual="after"), ("divided", "shared"), "divided"),
    Layer("w1", "backward_project.0.first.0", _RELU, ("w0",)),
    Layer("w", "backward_project.0.second.0", _SUM, ("w1",), "w0", buffer="w0"),
    Layer("update", "backward_project.1.0", Kernel(reduce="mean"), ("w",), channels=1),
)
RESULTS = ("mask", "update")
CHANNELS = {"y": 1, **{layer.name: layer.channels for layer in LAYERS}}


class Parameters(NamedTuple):
    """Weights of a layer, in the order its kernel reads, and biases."""

    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


def parameters(network: LUCYD, layer: Layer) -> Parameters:
    """Return weights and biases of a layer, with its batch norm folded in."""
    weight, bias = folded_convolution(network, layer.source)
    if weight.ndim == 4:
        weight = weight[:, :, None]
    if layer.kernel.transposed:
        weight = _by_phase(weight)
    else:
        # (outputs, inputs, Z, Y, X) to (blocks, inputs, Z, Y, X, outputs of a block)
        weight = weight if layer.part is None else weight[:, layer.part.slice]
        weight = weight.reshape(-1, layer.kernel.outputs, *weight.shape[1:]).movedim(1, -1)
    if layer.kernel.reduce == "quotient":
        bias = torch.cat((bias, bias.new_full((1,), network.division.epsilon)))
    bias = bias if layer.bias else torch.zeros_like(bias)
    return Parameters(weight.contiguous().numpy(), bias.contiguous().numpy())


def _by_phase(weight: Tensor) -> Tensor:
    """Sort the weights (inputs, outputs, Z, Y, X) of a transposed convolution by output index modulo two."""
    # Output 2i takes input i - 1 with tap 3 and i with 1; output 2i + 1 takes i with 2 and i + 1 with 0.
    taps = [torch.tensor(pair, device="cpu") for pair in ([3, 1], [2, 0])]
    flat = weight.shape[2] == 1
    phases = []
    for z, y, x in product((0, 1), repeat=3):
        part = weight if flat else weight[:, :, taps[z]]
        part = part[:, :, :, taps[y]][:, :, :, :, taps[x]]
        phases.append(part.movedim(1, -1))  # (inputs, Z, Y, X, outputs)
    return torch.stack(phases)


def requested_spans(
    dimension: int, shape: Sequence[int], inside: Sequence[slice] | None
) -> tuple[tuple[int, ...], list[Span]]:
    """Return a block's size along Z, Y, X and the requested span along each; planes have one Z.

    Parameters
    ----------
    dimension
        Dimension of the network.
    shape
        Shape of the tensor: (1, 1, [Z,] Y, X).
    inside
        Requested part along the spatial axes; None for all of it.

    Raises
    ------
    ValueError
        If the network does not accept a tensor of that shape.
    """
    if len(shape) != dimension + 2 or tuple(shape[:2]) != (1, 1) or any(n % 2 for n in shape[2:]):
        raise ValueError(
            f"The network received a tensor of shape {tuple(shape)}; it needs (1, 1, "
            f"{'Z, ' if dimension == 3 else ''}Y, X) with even sizes."
        )
    flat = 3 - dimension
    sizes = (*[1] * flat, *shape[2:])
    whole = [slice(0, n) for n in sizes]
    wanted = whole if inside is None else whole[:flat] + list(inside)
    return sizes, [Span(*part.indices(size)[:2]) for part, size in zip(wanted, sizes, strict=True)]


def agrees_with_torch(run: Callable[[LUCYD, Tensor], LucydOutput]) -> bool:
    """Test on a small block that an implementation of LUCYD agrees with torch.

    Parameters
    ----------
    run
        The implementation: takes a network and a block on the processor.

    Raises
    ------
    Exception
        Any error of ``run``.
    """
    with torch.random.fork_rng([]), torch.device("cpu"):
        torch.manual_seed(0)
        networks = [
            LUCYD(LucydConfig(dimension=3, epsilon=1.0, padding=padding)).float().eval()
            for padding in get_args(Padding)
        ]
        y = torch.rand((1, 1, 6, 10, 38), dtype=torch.float32)
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        return all(
            agree(a, b.cpu())
            for network in networks
            for a, b in zip(network(y), run(network, y), strict=True)
        )


def agree(a: Tensor, b: Tensor) -> bool:
    """Return True if two results differ by rounding at most."""
    # Rounding errors are a hundredth of this.
    return bool((a - b).abs().max() <= 1e-4 * (a.max() - a.min()))
