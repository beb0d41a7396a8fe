"""Where results live that would fill the memory: in temporary files, which go when their layers go."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari_lucyd.deconvolution import Job

# Results may take this share of the memory that is free; the rest is for the network and for napari.
SHARE = 0.5
ADVICE = "Keep in ▸ OME-Zarr files writes them to a folder of yours; a run that was stopped then goes on."
# A piece that is filled between two looks at whether to stop.
_PIECE = 2**24


def result_bytes(job: Job, parts: int) -> int:
    """What the results of a run take, float32."""
    return 4 * math.prod(job.output_shape) * parts


def fills_memory(size: int) -> bool:
    """Whether results of so many bytes should not be kept in memory."""
    from napari_lucyd.deconvolution.device import cpu, free_memory

    return size > SHARE * free_memory(cpu())


def belongs_on_disk(size: int) -> bool:
    """Whether results of so many bytes should not be kept in memory, and the disk has room for them."""
    return fills_memory(size) and size < shutil.disk_usage(tempfile.gettempdir()).free


def on_disk(should_stop: Callable[[], bool] | None = None) -> Callable[[str, tuple[int, ...]], Any]:
    """Make the engine's `allocate`: arrays in temporary files, NaN until they are written.

    Parameters
    ----------
    should_stop
        Asked while a file is filled.

    Returns
    -------
    callable
        (name, shape) to a float32 memory map. It raises `Cancelled` when asked to stop, and OSError where
        the disk is full.
    """

    def allocate(name: str, shape: tuple[int, ...]) -> np.memmap:
        from napari_lucyd.deconvolution import Cancelled

        size = 4 * math.prod(shape)
        # Has no name, or loses it when it is closed: nothing is left behind, whatever happens.
        with tempfile.TemporaryFile(prefix="lucyd-") as file:
            if hasattr(os, "posix_fallocate"):
                # A full disk has to show here: in the middle of the run it would end the process.
                os.posix_fallocate(file.fileno(), 0, size)
            array = np.memmap(file, np.float32, "w+", shape=shape)
        flat = array.reshape(-1)
        for start in range(0, flat.size, _PIECE):
            if should_stop is not None and should_stop():
                raise Cancelled("Stopped while the files for the results were made.")
            flat[start : start + _PIECE] = np.nan
        return array

    return allocate
