"""Result arrays on disk, for results that are too large for memory."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lucyd.errors import Cancelled, OutOfMemory
from napari_lucyd.text import bytes_text

if TYPE_CHECKING:
    from napari_lucyd.deconvolution import Job

SHARE = 0.25
"""Results go to disk if they need more than this share of the free memory. The network needs the rest."""

ADVICE = "Keep in ▸ OME-Zarr files writes them to your own folder, where a stopped run can be resumed."

# Number of values that are written between two calls of `should_stop`.
_PIECE = 2**24

Allocate = Callable[[str, tuple[int, ...]], Any]
"""Function from the name and shape of a part to its array, as `deconvolve` takes it."""


def result_bytes(job: Job, parts: int) -> int:
    """Return the bytes that a run's results need, as float32."""
    return 4 * math.prod(job.output_shape) * parts


def fills_memory(size: int) -> bool:
    """Return True if results of this size should not be kept in memory."""
    from napari_lucyd.compute.device import cpu, free_memory  # imports torch

    return size > SHARE * free_memory(cpu())


def belongs_on_disk(size: int) -> bool:
    """Return True if results of this size should not be kept in memory, and the disk has space for them."""
    return fills_memory(size) and size < shutil.disk_usage(tempfile.gettempdir()).free


def arrays_beside(folder: Path, size: int) -> Allocate | None:
    """Return a function that makes result arrays in temporary files, or None if memory can hold them.

    Parameters
    ----------
    folder
        Folder of the final results; it is made if it is missing.
    size
        Bytes of all results.

    Raises
    ------
    OutOfMemory
        If the disk cannot hold both the temporary files and the final results.
    """
    if not fills_memory(size):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < 2 * size:
        raise OutOfMemory(
            f"{folder}: the results and their temporary files need {bytes_text(2 * size)}, but only "
            f"{bytes_text(free)} of disk are free. Free some space, or choose fewer parts."
        )
    return lambda name, shape: _map_file(shape, folder)


def on_disk(should_stop: Callable[[], bool] | None = None) -> Allocate:
    """Return a function that makes result arrays in temporary files, filled with NaN.

    Parameters
    ----------
    should_stop
        Called while a file is filled; True raises `Cancelled`.

    Returns
    -------
    callable
        Function for the argument ``allocate`` of `deconvolve`. It raises OSError if the disk is full.
    """

    def allocate(name: str, shape: tuple[int, ...]) -> np.memmap:
        array = _map_file(shape)
        flat = array.reshape(-1)
        for start in range(0, flat.size, _PIECE):
            if should_stop is not None and should_stop():
                raise Cancelled("Stopped while the files for the results were made.")
            flat[start : start + _PIECE] = np.nan
        return array

    return allocate


def _map_file(shape: tuple[int, ...], folder: Path | None = None) -> np.memmap:
    # The file has no name, or loses it when it is closed, so nothing is left behind even after a crash.
    with tempfile.TemporaryFile(prefix=".lucyd-", dir=folder) as file:
        if hasattr(os, "posix_fallocate"):
            # A full disk must raise an error here: during the run it would end the process.
            os.posix_fallocate(file.fileno(), 0, 4 * math.prod(shape))
        return np.memmap(file, np.float32, "w+", shape=shape)
