"""How fast a device is, measured once."""

from __future__ import annotations

import time

import torch
from torch import nn

from napari_lucyd.deconvolution.device import Device
from napari_lucyd.deconvolution.inference import prepare, run_network

# The block that is timed: half a second on two cores. A smaller one would be slower for each of its voxels.
_SHAPES = {3: (64, 96, 96), 2: (1024, 1024)}

_known: dict[tuple[str, int, int], float] = {}


def seconds_per_voxel(network: nn.Module, dimension: int, device: Device) -> float:
    """Seconds for one voxel of a block on a device; measured at the first call, then remembered.

    The time does not depend on the weights, so any network of this dimension answers for all.
    """
    key = (device.torch, dimension, torch.get_num_threads())
    if key not in _known:
        _known[key] = _measure(network, dimension, device)
    return _known[key]


def _measure(network: nn.Module, dimension: int, device: Device) -> float:
    ready = prepare(network, device)
    target = torch.device(device.torch)
    small = torch.rand((1, 1, *[16] * dimension), device=target)
    run_network(ready, small)  # what is set up at the first call does not count
    block = torch.rand((1, 1, *_SHAPES[dimension]), device=target)
    start = time.perf_counter()
    float(run_network(ready, block).output.sum())  # waits for the device
    return (time.perf_counter() - start) / block.numel()
