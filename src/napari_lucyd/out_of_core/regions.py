"""Regions of the results, one for each task, in whole numbers.

A task has a whole number of chunks (or shards, if there are any) along every axis, so two tasks never write
to the same file.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

Region = tuple[slice, ...]


def task_shape(unit: Sequence[int], tile: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Return the number of voxels of a task along each axis: as many whole units as fit into ``tile``.

    A task has at least one unit. The units are shared evenly among the tasks.

    Parameters
    ----------
    unit
        The unit of writing: a chunk or a shard.
    tile
        The wanted size.
    shape
        Shape of the array; the last task along an axis may be smaller.

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
    """Cut an array of ``shape`` into regions in reading order, which cover it once.

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
    """Return a region of the results as a region of the image, in which they begin at ``origin``."""
    return tuple(slice(part.start + o, part.stop + o) for part, o in zip(region, origin, strict=True))
