"""The forward pass of one block: calls torch, translates its errors, and obeys Cancel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from napari_lucyd.compute.device import Device, is_out_of_memory
from napari_lucyd.errors import BlockTooLarge, Cancelled, DeconvolutionError
from napari_lucyd.inference import care
from napari_lucyd.inference.care import CompiledCare
from napari_lucyd.inference.fusion import fold
from napari_lucyd.inference.half_precision import in_half_precision
from napari_lucyd.inference.lucyd import cuda
from napari_lucyd.inference.lucyd.cpu import FEW_VOXELS, CompiledLucyd, compiled_lucyd, unsupported_reason
from napari_lucyd.inference.lucyd.fused import FusedLucyd
from napari_lucyd.inference.lucyd.schedule import equivalent_voxels as equivalent_voxels_of_lucyd
from napari_lucyd.networks.care import CARE
from napari_lucyd.networks.lucyd import LUCYD
from napari_lucyd.networks.network import Network
from napari_lucyd.spans import Span


def compile_where_possible(network: Network, device: Device) -> Device:
    """Return the device with ``compiled`` set if compiled kernels can run the network on it."""
    if device.compiled or not _can_compile(network, device):
        return device
    return replace(device, name=f"{device.name} (compiled kernels)", compiled=True)


def _can_compile(network: Network, device: Device) -> bool:
    if isinstance(network, LUCYD) and device.kind == "cuda":
        return not cuda.unsupported_reason(device.torch)
    if device.kind != "cpu":
        return False
    if isinstance(network, CARE):
        return not care.unsupported_reason()
    return isinstance(network, LUCYD) and not unsupported_reason()


def prepare(network: Network, device: Device, should_stop: Callable[[], bool] | None = None) -> Any:
    """Prepare a network for `run_network`; it calls ``should_stop`` before each layer.

    Parameters
    ----------
    network
        Network in evaluation mode; a copy is used.
    device
        Device to run on, which also selects compiled kernels or half precision.

    Raises
    ------
    Cancelled
        During the run, when ``should_stop`` returns True.
    """
    if device.compiled and isinstance(network, CARE):
        return CompiledCare(network, torch.get_num_threads(), should_stop)
    if device.compiled:
        assert isinstance(network, LUCYD)
        if device.kind == "cuda":
            return cuda.CudaLucyd(network, torch.device(device.torch), should_stop)
        return compiled_lucyd(network, torch.get_num_threads(), should_stop)
    if device.half:
        assert isinstance(network, LUCYD)
        ready: Network = in_half_precision(network)
    else:
        ready = fold(network)
    ready = ready.to(torch.device(device.torch))

    def ask(*_: Any) -> None:
        if should_stop is not None and should_stop():
            raise Cancelled("Stopped.")

    for layer in ready.modules():
        if not list(layer.children()):
            layer.register_forward_pre_hook(ask)
    return ready


def repeats_volumes(network: Network, device: Device) -> bool:
    """Return True if `run_network` can continue a block as if it were repeated along an axis."""
    return device.compiled and device.kind == "cpu" and isinstance(network, LUCYD)


def is_for_one_thread(network: Network, device: Device, voxels: int) -> bool:
    """Return True if `run_network` computes a block of this number of voxels in the caller's thread alone."""
    return repeats_volumes(network, device) and voxels < FEW_VOXELS


def equivalent_voxels(network: Network, device: Device, axes: Sequence[Sequence[tuple[int, Span]]]) -> float:
    """Return the number of voxels of fully requested blocks that would take as much time as these blocks.

    Parameters
    ----------
    network
        The network.
    device
        Device; only compiled kernels leave out what the requested part does not need.
    axes
        Sizes and requested spans of the blocks along each axis of their grid.
    """
    if not device.compiled:
        return math.prod(sum(size for size, _ in blocks) for blocks in axes)
    if isinstance(network, CARE):
        return care.equivalent_voxels(network, axes)
    return equivalent_voxels_of_lucyd(axes)


def release(network: Any) -> None:
    """Keep what was made for a network and is small, for the next run with it; see `prepare`."""
    if isinstance(network, CompiledLucyd):
        network.release()


def run_network(
    network: Any, y: Tensor, inside: Sequence[slice] | None = None, periodic: Sequence[bool] = ()
) -> Any:
    """Run a prepared network on one block.

    Parameters
    ----------
    network
        Result of `prepare`.
    y
        (1, 1, [Z,] Y, X), float32, on the network's device, with sizes that the network accepts.
    inside
        Part of the block to return, along its spatial axes; by default all of it.
    periodic
        True for each spatial axis along which the block is repeated, where `repeats_volumes` is True; by
        default there are zeros around it.

    Returns
    -------
    NamedTuple
        The network's outputs for that part.

    Raises
    ------
    BlockTooLarge
        If memory runs out.
    DeconvolutionError
        If torch reports any other error.
    """
    try:
        with torch.inference_mode(), torch.autocast(y.device.type, enabled=False), _full_precision(y):
            if isinstance(network, FusedLucyd):
                return network(y, inside, periodic)
            if isinstance(network, CompiledCare):
                return network(y, inside)
            parts = network(y)
            crop = (0, 0) if inside is None else (0, 0, *inside)
            return type(parts)(*(part[crop][None, None] for part in parts))
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise BlockTooLarge(str(error)) from None
        raise DeconvolutionError(f"torch could not run the network: {error}") from error


def _full_precision(y: Tensor) -> AbstractContextManager[Any]:
    # TensorFloat-32 keeps ten bits, so results would differ between devices by a thousandth of the range.
    if y.is_cuda:
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    return nullcontext()
