"""Room on disk for results that would crowd the memory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from napari_lucyd.deconvolution.device import cpu, free_memory
from napari_lucyd.io import ImageFileError

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
