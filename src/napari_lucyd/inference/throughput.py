"""The speed of a device, measured once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from napari_lucyd.compute.device import Device, release_memory
from napari_lucyd.errors import BlockTooLarge
from napari_lucyd.inference.forward import prepare, run_network
from napari_lucyd.networks.network import Network
from napari_lucyd.networks.onnx.network import OnnxNetwork

# Shape of the timed block: half a second on two cores. Smaller blocks take longer for each voxel.
_SHAPES = {
    ("lucyd", 3): (64, 96, 96),
    ("lucyd", 2): (1024, 1024),
    ("rln", 3): (64, 96, 96),
    ("care", 3): (32, 48, 48),
}
# A GPU gets a block larger by this factor along each axis. A first block of that size is not timed, because
# memory is allocated for it.
_LARGER = 2

_known: dict[tuple[Device, str, int, int], float] = {}


def seconds_per_voxel(network: Network, device: Device) -> float:
    """Measure the seconds for one voxel of a block on a device; later calls return the first result.

    The time does not depend on the weights, so one measurement holds for all networks of a name and
    dimension; graphs of other makers are measured one by one.
    """
    name = f"onnx {hash(network.graph)}" if isinstance(network, OnnxNetwork) else network.name
    key = (device, name, network.config.dimension, torch.get_num_threads())
    if key not in _known:
        _known[key] = _measure(network, device)
    return _known[key]


def _measure(network: Network, device: Device) -> float:
    dimension = network.config.dimension
    ready = prepare(network, device)
    target = torch.device(device.torch)
    if isinstance(network, OnnxNetwork):
        return _timed(ready, network.timed_shape, network.timed_shape, target)
    shape = _SHAPES[network.name, dimension]
    if device.kind == "cpu":
        return _timed(ready, [16] * dimension, shape, target)
    larger = [_LARGER * size for size in shape]
    try:
        return _timed(ready, larger, larger, target)
    except BlockTooLarge:
        release_memory(device)
        return _timed(ready, shape, shape, target)


def _timed(ready: Any, first: Sequence[int], shape: Sequence[int], target: torch.device) -> float:
    """Time one voxel of a block, after a first block that triggers all set-up."""
    run_network(ready, torch.rand((1, 1, *first), dtype=torch.float32, device=target))
    block = torch.rand((1, 1, *shape), dtype=torch.float32, device=target)
    start = time.perf_counter()
    float(run_network(ready, block).output.sum())  # waits for the device
    return (time.perf_counter() - start) / block.numel()
