"""Which part of a store is one task: integers only.

A task is a whole number of chunks (of shards, where there are any) along every axis, so that no two tasks
ever write to one file.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

Region = tuple[slice, ...]


def task_shape(unit: Sequence[int], tile: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """How many voxels a task has along each axis: whole units, as many as ``tile`` holds, but at least one.

    Where fewer do for the same number of tasks, they are shared out evenly.

    Parameters
    ----------
    unit
        Of writing: a chunk or a shard.
    tile
        What is wanted.
    shape
        Of the array: what reaches its end is not cut.

    Examples
    --------
    >>> task_shape((32, 256, 256), (100, 300, 200), (200, 512, 180))
    (96, 256, 180)
    """
    found = []
    for step, wanted, whole in zip(unit, tile, shape, strict=True):
        units = -(-whole // step)
        tasks = 1 if wanted >= whole else -(-units // max(1, wanted // step))
        found.append(min(whole, -(-units // tasks) * step))
    return tuple(found)


def regions(shape: Sequence[int], task: Sequence[int]) -> list[Region]:
    """Slices along all axes, in reading order, that cover an array of ``shape`` once.

    Examples
    --------
    >>> len(regions((3, 100, 100), (1, 64, 128)))
    6
    """
    cuts = [
        [slice(start, min(start + size, whole)) for start in range(0, whole, size)]
        for whole, size in zip(shape, task, strict=True)
    ]
    return list(itertools.product(*cuts))


def shifted(region: Region, origin: Sequence[int]) -> Region:
    """A region of the results as a region of the input, where those begin at ``origin``."""
    return tuple(slice(part.start + o, part.stop + o) for part, o in zip(region, origin, strict=True))
