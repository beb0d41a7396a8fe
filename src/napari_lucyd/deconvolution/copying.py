"""Copies in memory by several threads: a single core moves far less than the memory can."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

# Voxels that are worth a thread of their own: some milliseconds of copying.
_SHARE = 2**21


def copy_into(target: npt.NDArray[Any], values: npt.ArrayLike) -> None:
    """Do ``target[...] = values``.

    Parameters
    ----------
    target
        Where to.
    values
        Of a shape that can be broadcast to the target's.
    """
    threads = min(torch.get_num_threads(), target.size // _SHARE)
    if threads < 2:
        target[...] = values
        return
    # Along the longest axis, so that all threads get some.
    axis = int(np.argmax(target.shape))
    parts = zip(
        np.array_split(target, threads, axis=axis),
        np.array_split(np.broadcast_to(values, target.shape), threads, axis=axis),
        strict=True,
    )
    with ThreadPoolExecutor(threads, "lucyd-copying") as pool:
        for _ in pool.map(lambda pair: pair[0].__setitem__(..., pair[1]), parts):
            pass


def filled(shape: tuple[int, ...], value: float) -> npt.NDArray[np.float32]:
    """A float32 array that holds one value."""
    array = np.empty(shape, dtype=np.float32)
    copy_into(array, np.float32(value))
    return array
