"""Slabs of a volume that are small enough to stay in the processor's cache."""

from __future__ import annotations

import torch

# Voxels of a slab: a few arrays of float32 then fit into the cache of one core.
_VOXELS = 2**16


def slabs(shape: torch.Size, device: torch.device) -> list[slice]:
    """Return slices along the first axis for arithmetic in several steps, one slab after another.

    Each step over a whole volume would read and write main memory, and new memory takes longer than the
    arithmetic. On a GPU there is one slab, because each step costs a launch.

    Parameters
    ----------
    shape
        Shape of the volume; no axis is empty.
    device
        Device of the volume.

    Examples
    --------
    >>> slabs(torch.Size((100, 256, 512)), torch.device("cpu"))[:2]
    [slice(0, 1, None), slice(1, 2, None)]
    >>> slabs(torch.Size((100, 256, 512)), torch.device("cuda"))
    [slice(0, 100, None)]
    """
    size = shape[0]
    step = size if device.type != "cpu" else max(1, _VOXELS * size // shape.numel())
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]
