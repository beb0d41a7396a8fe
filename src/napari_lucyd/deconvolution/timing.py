"""How fast a device is, measured once."""

from __future__ import annotations

import time

import torch

from napari_lucyd.deconvolution.device import Device
from napari_lucyd.deconvolution.inference import prepare, run_network
from napari_lucyd.networks.network import Network

# The block that is timed: half a second on two cores. A smaller one would be slower for each of its voxels.
_SHAPES = {
    ("lucyd", 3): (64, 96, 96),
    ("lucyd", 2): (1024, 1024),
    ("rln", 3): (64, 96, 96),
    ("care", 3): (32, 48, 48),
}

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
    small = torch.rand((1, 1, *[16] * dimension), device=target)
    run_network(ready, small)  # what is set up at the first call does not count
    block = torch.rand((1, 1, *_SHAPES[network.name, dimension]), device=target)
    start = time.perf_counter()
    float(run_network(ready, block).output.sum())  # waits for the device
    return (time.perf_counter() - start) / block.numel()
