"""How fast a device is, measured once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from napari_lucyd.compute.device import Device, release_memory
from napari_lucyd.errors import BlockTooLarge
from napari_lucyd.inference.forward import prepare, run_network
from napari_lucyd.networks.network import Network

# The block that is timed: half a second on two cores. A smaller one would be slower for each of its voxels.
_SHAPES = {
    ("lucyd", 3): (64, 96, 96),
    ("lucyd", 2): (1024, 1024),
    ("rln", 3): (64, 96, 96),
    ("care", 3): (32, 48, 48),
}
# A GPU computes more at once: times as many voxels along each axis, and not the first block of that size, for
# which it is asked for memory.
_LARGER = 2

_known: dict[tuple[Device, str, int, int], float] = {}


def seconds_per_voxel(network: Network, device: Device) -> float:
    """Seconds for one voxel of a block on a device; measured at the first call, then remembered.

    The time does not depend on the weights, so any network of this name and dimension answers for all.
    """
    key = (device, network.name, network.config.dimension, torch.get_num_threads())
    if key not in _known:
        _known[key] = _measure(network, device)
    return _known[key]


def _measure(network: Network, device: Device) -> float:
    dimension = network.config.dimension
    ready = prepare(network, device)
    target = torch.device(device.torch)
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
    """Seconds for each voxel of a block, after another: what the first call sets up does not count."""
    run_network(ready, torch.rand((1, 1, *first), device=target))
    block = torch.rand((1, 1, *shape), device=target)
    start = time.perf_counter()
    float(run_network(ready, block).output.sum())  # waits for the device
    return (time.perf_counter() - start) / block.numel()
