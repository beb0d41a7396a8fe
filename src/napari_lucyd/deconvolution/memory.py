"""How much of a device's memory a block takes, and so how large tiles may be."""

from __future__ import annotations

from collections.abc import Sequence

from napari_lucyd.deconvolution.device import Device
from napari_lucyd.deconvolution.tiling import choose_tile_shape

# Peak working memory for each voxel of a block, in bytes. Measured by benchmarks/block_memory.py.
BYTES_PER_BLOCK_VOXEL = {3: 160, 2: 160}

# torch itself and its code on a device.
_FIXED_BYTES = 64 * 2**20

# Of the memory that is free, what a run may take: the rest is for whatever else starts meanwhile.
_SHARE = 0.6

# On the CPU larger blocks save little halo and cost memory and patience (a Cancel is heard between layers).
_MAX_CPU_VOXELS = 2**23

# On a GPU: 12 channels of a block must be indexed with 31 bits.
_MAX_GPU_VOXELS = 2**27


def working_bytes(block_voxels: int, dimension: int) -> int:
    """Memory that the network takes for one block."""
    return _FIXED_BYTES + BYTES_PER_BLOCK_VOXEL[dimension] * block_voxels


def largest_block(free_bytes: int, kind: str, dimension: int) -> int:
    """Voxels of the largest block for a device of ``kind`` with ``free_bytes`` of memory free."""
    fits = int((_SHARE * free_bytes - _FIXED_BYTES) / BYTES_PER_BLOCK_VOXEL[dimension])
    return max(0, min(fits, _MAX_CPU_VOXELS if kind == "cpu" else _MAX_GPU_VOXELS))


def automatic_tile_shape(
    shape: Sequence[int], halo: int, device: Device, free_bytes: int, dimension: int
) -> tuple[int, ...]:
    """The tile shape for a region of ``shape``: a pure function of its arguments.

    Parameters
    ----------
    shape
        In voxels of the network's grid.
    halo
        In voxels.
    device
        Where it will run.
    free_bytes
        Free on the device, less what the results will take there.
    dimension
        2 or 3.
    """
    return choose_tile_shape(shape, halo, largest_block(free_bytes, device.kind, dimension))
