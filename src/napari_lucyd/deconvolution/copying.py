"""Copies in memory by several threads: a single core moves far less than the memory can."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_lucyd.deconvolution.team import Team

# Voxels that are worth a thread of their own: some milliseconds of copying.
_SHARE = 2**21


def copy_into(target: npt.NDArray[Any], values: npt.ArrayLike) -> None:
    """Do ``target[...] = values``; what the target's type cannot hold becomes infinite, as in `to_float32`.

    Parameters
    ----------
    target
        Where to.
    values
        Of a shape that can be broadcast to the target's.
    """
    threads = min(torch.get_num_threads(), target.size // _SHARE)
    if threads < 2:
        _copy(target, values)
        return
    # Along the longest axis, so that all threads get some.
    axis = int(np.argmax(target.shape))
    targets = np.array_split(target, threads, axis=axis)
    sources = np.array_split(np.broadcast_to(values, target.shape), threads, axis=axis)
    Team(threads).run(_copy, zip(targets, sources, strict=True))


def _copy(target: npt.NDArray[Any], values: npt.ArrayLike) -> None:
    with np.errstate(over="ignore", invalid="ignore"):  # each thread has its own
        target[...] = values
