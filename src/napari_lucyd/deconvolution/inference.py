"""One block through the network: where torch is called, its errors are understood, and Cancel is heard."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from napari_lucyd.deconvolution.device import Device
from napari_lucyd.deconvolution.errors import Cancelled, DeconvolutionError
from napari_lucyd.deconvolution.folding import fold
from napari_lucyd.networks.network import Network


class BlockTooLarge(Exception):
    """The device has not the memory for this block; a smaller one may do."""


def prepare(network: Network, device: Device, should_stop: Callable[[], bool] | None = None) -> Network:
    """A folded copy of the network on a device, that asks ``should_stop`` before each of its layers.

    Raises
    ------
    Cancelled
        From its forward pass, when ``should_stop`` says so.
    """
    ready = fold(network).to(torch.device(device.torch))

    def ask(*_: Any) -> None:
        if should_stop is not None and should_stop():
            raise Cancelled("Stopped.")

    for layer in ready.modules():
        if not list(layer.children()):
            layer.register_forward_pre_hook(ask)
    return ready


def run_network(network: Network, y: Tensor) -> Any:
    """The one place where the network is called for a block.

    Parameters
    ----------
    network
        From `prepare`.
    y
        (1, 1, [Z,] Y, X), float32, sizes that the network can take, on its device.

    Raises
    ------
    BlockTooLarge
        If memory runs out.
    DeconvolutionError
        If torch reports any other error.
    """
    try:
        with torch.inference_mode(), _full_precision(y):
            return network(y)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise BlockTooLarge(str(error)) from None
        raise DeconvolutionError(f"torch could not run the network: {error}") from error


class FlipMean(NamedTuple):
    """What `run_flipped` gives: (1, 1, [Z,] Y, X)."""

    output: Tensor


def run_flipped(network: Network, y: Tensor) -> FlipMean:
    """The mean of the outputs for all 2ⁿ mirror images along the n spatial axes, each mirrored back.

    Only of the outputs: their mean is no product of a mean mask and a mean update term. Parameters and errors
    are those of `run_network`.
    """
    total = torch.zeros_like(y)
    choices = list(product((False, True), repeat=y.ndim - 2))
    with torch.inference_mode():
        for chosen in choices:
            axes = [2 + axis for axis, flipped in enumerate(chosen) if flipped]
            total += run_network(network, y.flip(axes)).output.flip(axes)
        return FlipMean(total / len(choices))


def _full_precision(y: Tensor) -> AbstractContextManager[Any]:
    # TensorFloat-32 keeps ten bits: results would differ between devices by a thousandth of the range.
    if y.is_cuda:
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    return nullcontext()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or numpy means that memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text or "alloc_failed" in text
