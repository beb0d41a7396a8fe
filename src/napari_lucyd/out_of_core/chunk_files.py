"""Files in which a region of an unfinished result lies: flushed after writing, looked for before resuming."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from napari_lucyd.io.zarr import open_zarr

from .journal import flush_folder
from .regions import Region


def flush(folder: Path, region: Region) -> None:
    """Wait until a region that was written is on the disk, so that it survives a power failure."""
    folders: set[Path] = set()
    for file in _files(folder, region):
        if file.exists():  # zarr writes no file for voxels that are all NaN
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())
            folders.update(parent for parent in file.parents if parent.is_relative_to(folder))
    for parent in folders:
        flush_folder(parent)


def is_written(folder: Path, region: Region) -> bool:
    """Tell if all files of a region exist and are not empty."""
    try:
        return all(file.stat().st_size > 0 for file in _files(folder, region))
    except OSError:
        return False


def _files(folder: Path, region: Region) -> Iterator[Path]:
    array = open_zarr(folder)
    unit = array.shards or array.chunks
    numbers = [
        range(part.start // step, -(-part.stop // step)) for part, step in zip(region, unit, strict=True)
    ]
    for place in itertools.product(*numbers):
        yield folder / array.path / array.metadata.encode_chunk_key(place)
