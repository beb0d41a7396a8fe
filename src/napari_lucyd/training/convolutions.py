"""Convolutions of few channels for training on the CPU, by our kernels if these are faster.

They are registered as operations of torch, so autograd and the compiler know them. Their results equal
torch's except for rounding, and are the same for any number of threads.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv3d_weight

from napari_lucyd.compute.llvm import lanes
from napari_lucyd.compute.threads import run_on_all
from napari_lucyd.training import convolution_kernels

# Numbers of input channels and of output channels for which there are kernels.
_CHANNELS = (1, 4, 8)
_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


class FewChannels(nn.Module):
    """A convolution with three taps along each axis and no bias.

    Parameters
    ----------
    weight
        (outputs, inputs, [3,] 3, 3); becomes the module's parameter.
    replicate
        True to repeat the outermost voxels beyond the border, False for zeros there.
    """

    def __init__(self, weight: nn.Parameter, replicate: bool = False) -> None:
        super().__init__()
        self.weight = weight
        self.replicate = replicate

    def forward(self, x: Tensor) -> Tensor:
        """Convolve the input."""
        if not self.replicate:
            plain: Tensor = few_channels(x, self.weight)
            return plain
        axes, width = x.ndim - 2, x.shape[-1]
        outputs, inputs = self.weight.shape[:2]
        room = _room(width, inputs, outputs)
        repeated = functional.pad(x, (1, room, *[1] * (2 * axes - 2)), mode="replicate")
        result: Tensor = few_channels(repeated, self.weight)
        inner = [slice(None)] * 2 + [slice(1, 1 + n) for n in x.shape[2:]]
        # Batch norms are slow on a part of a larger tensor.
        return result[tuple(inner)].contiguous(memory_format=_LAYOUTS[x.ndim])


# The compiler cannot look into the kernels' compiler; to it the result is a constant.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _room(width: int, inputs: int, outputs: int) -> int:
    """Return the number of voxels to repeat at the end of a line, so that there are kernels for its width."""
    return _computable_width(width + 2, inputs, outputs) - width - 1


@functools.cache
def _computable_width(width: int, inputs: int, outputs: int) -> int:
    """Return the least width, from ``width`` on, for which there are kernels; if none is near, ``width``."""
    for wider in range(width, width + lanes() + 1):
        tiles = convolution_kernels.tile(wider, outputs), convolution_kernels.tile(wider, inputs)
        if None not in tiles and convolution_kernels.summable(wider, inputs):
            return wider
    return width


def use_few_channels(network: nn.Module) -> int:
    """Replace the convolutions that `FewChannels` can compute; the network's parameters stay the same.

    Parameters
    ----------
    network
        Network on the CPU, float32; changed in place.

    Returns
    -------
    int
        Number of replaced convolutions. A convolution is replaced only if the kernel agrees with torch;
        without llvmlite none is.
    """
    count = 0
    for parent in list(network.modules()):
        for name, module in list(parent.named_children()):
            if _is_one(module) and reliable(module.in_channels, module.out_channels):
                setattr(parent, name, FewChannels(module.weight, module.padding_mode == "replicate"))  # type: ignore[arg-type]
                count += 1
    return count


def _is_one(module: nn.Module) -> bool:
    if not isinstance(module, nn.Conv2d | nn.Conv3d) or module.bias is not None or module.groups != 1:
        return False
    ones = (1,) * len(module.kernel_size)
    return (
        all(taps == convolution_kernels.TAPS for taps in module.kernel_size)
        and module.stride == module.dilation == module.padding == ones
        and module.padding_mode in ("zeros", "replicate")
        and module.in_channels in _CHANNELS
        and module.out_channels in _CHANNELS
    )


@torch.library.custom_op("napari_lucyd::few_channels", mutates_args=())
def few_channels(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve with three taps along each axis, with zeros beyond the border.

    Parameters
    ----------
    x
        (N, inputs, [Z,] Y, X), on the CPU.
    weight
        (outputs, inputs, [3,] 3, 3).

    Returns
    -------
    Tensor
        (N, outputs, [Z,] Y, X), channels last.
    """
    outputs, inputs = weight.shape[:2]
    values, factors = _as_volume(x), weight
    if x.ndim == 4:  # a volume of one plane, for which only the middle taps count
        factors = functional.pad(weight.unsqueeze(2), (0, 0, 0, 0, 1, 1))
    vectors = convolution_kernels.tile(x.shape[-1], outputs) if x.dtype == torch.float32 else None
    if vectors is None:
        result = _as_volume(functional.conv3d(values, factors, padding=1))
    else:
        size = (len(x), outputs, *values.shape[2:])
        result = torch.empty(size, memory_format=torch.channels_last_3d)
        repeated = factors.permute(2, 3, 1, 4, 0).repeat(1, 1, 1, 1, lanes() // outputs).contiguous()
        _run(convolution_kernels.convolution(inputs, outputs, vectors), values, repeated, result)
    return result.squeeze(2) if x.ndim == 4 else result


@torch.library.custom_op("napari_lucyd::few_channels_gradient", mutates_args=())
def few_channels_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Compute the gradient of the loss with respect to the weight of `few_channels`.

    Parameters
    ----------
    x
        Input of `few_channels`.
    gradient
        Gradient of the loss with respect to the result of `few_channels`.

    Returns
    -------
    Tensor
        (outputs, inputs, [3,] 3, 3).
    """
    inputs, outputs = x.shape[1], gradient.shape[1]
    values, gradients = _as_volume(x), _as_volume(gradient)
    if x.dtype == torch.float32 and convolution_kernels.summable(x.shape[-1], inputs):
        planes = len(values) * values.shape[2]
        sums = torch.empty((planes, *[convolution_kernels.TAPS] * 3, outputs, lanes() // inputs, inputs))
        _run(convolution_kernels.weight_gradient(inputs, outputs), values, gradients, sums)
        result = sums.sum((0, 5)).permute(3, 4, 0, 1, 2)
    else:
        size = (outputs, inputs, *[convolution_kernels.TAPS] * 3)
        result = conv3d_weight(values, size, gradients, padding=1)  # type: ignore[no-untyped-call]
    return (result[:, :, 1] if x.ndim == 4 else result).contiguous()


def _run(function: Any, values: Tensor, others: Tensor, result: Tensor) -> None:
    """Call a kernel; the tensors have the layout that it needs."""
    taken = np.zeros(1, dtype=np.int64)
    depth, height, width = values.shape[2:]
    addresses = values.data_ptr(), others.data_ptr(), result.data_ptr(), taken.ctypes.data
    arguments = np.array([*addresses, len(values) * depth, depth, height, width], dtype=np.int64)
    run_on_all(function, arguments.ctypes.data)


def _as_volume(x: Tensor) -> Tensor:
    """Add an axis Z of one plane if there is none; return the tensor with channels last in memory."""
    volume = x.unsqueeze(2) if x.ndim == 4 else x
    return volume.contiguous(memory_format=torch.channels_last_3d)


@few_channels.register_fake
def _(x: Tensor, weight: Tensor) -> Tensor:
    layout = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    return x.new_empty((len(x), len(weight), *x.shape[2:])).to(memory_format=layout)


@few_channels_gradient.register_fake
def _(x: Tensor, gradient: Tensor) -> Tensor:
    return x.new_empty((gradient.shape[1], x.shape[1], *[convolution_kernels.TAPS] * (x.ndim - 2)))


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x, weight = ctx.saved_tensors
    wanted = ctx.needs_input_grad
    # The gradient with respect to x is a convolution too, with inputs and outputs swapped and the taps
    # flipped.
    turned = weight.transpose(0, 1).flip(tuple(range(2, x.ndim)))
    return (
        few_channels(gradient, turned) if wanted[0] else None,
        few_channels_gradient(x, gradient) if wanted[1] else None,
    )


few_channels.register_autograd(_backward, setup_context=_keep)


@functools.cache
def reliable(inputs: int, outputs: int) -> bool:
    """Return True if our kernels work for these channels and agree with torch; tried once, on little data."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        weight = torch.randn(outputs, inputs, 3, 3, 3, requires_grad=True)
    try:
        shape = (2, inputs, 3, 4, 8 * lanes())
        x = torch.linspace(-20, 20, math.prod(shape)).reshape(shape).sin().requires_grad_()
        results = []
        for convolve in (few_channels, functools.partial(functional.conv3d, padding=1)):
            result = convolve(x, weight)
            results.append((result, *torch.autograd.grad(result.square().sum(), (x, weight))))
    # llvmlite is not installed or fails in whatever way: torch computes instead.
    except Exception:
        return False
    # Rounding errors are a hundredth of this.
    return all((a - b).abs().max() <= 1e-4 * b.abs().max() for a, b in zip(*results, strict=True))
