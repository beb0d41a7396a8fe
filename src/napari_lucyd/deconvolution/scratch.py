"""Result arrays on disk, for results that are too large for memory."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lucyd.compute.device import cpu, free_memory
from napari_lucyd.io import ImageFileError

if TYPE_CHECKING:
    from napari_lucyd.deconvolution import Job

SHARE = 0.25
"""Results beyond this share of the free memory go to disk: the network needs most of the rest."""

Allocate = Callable[[str, tuple[int, ...]], Any]


@contextmanager
def room_for(results: int, folder: Path) -> Iterator[Allocate | None]:
    """Give what makes the arrays for results: None for memory, else files in a hidden folder.

    Parameters
    ----------
    results
        Bytes of all results together.
    folder
        Where the results will be written, and until then the scratch files lie; it is made if it is missing.

    Raises
    ------
    ImageFileError
        The disk has no room for scratch files and results.
    """
    if results <= SHARE * free_memory(cpu()):
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < 2 * results:
        raise ImageFileError(
            f"{folder}: the results and their scratch files take {2 * results / 2**30:.3g} GiB, but only "
            f"{free / 2**30:.3g} GiB of disk are free: make room, or ask for fewer parts"
        )
    with TemporaryDirectory(prefix=".", suffix=".partial", dir=folder, ignore_cleanup_errors=True) as scratch:

        def allocate(name: str, shape: tuple[int, ...]) -> Any:
            path = Path(scratch) / name
            # A mapped file with holes kills the process where the disk is full; so its room is taken now.
            if hasattr(os, "posix_fallocate"):
                with path.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, 4 * int(np.prod(shape, dtype=np.int64)))
            return np.memmap(path, np.float32, "r+" if path.exists() else "w+", shape=shape)

        yield allocate


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
    from napari_lucyd.compute.device import cpu, free_memory

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
