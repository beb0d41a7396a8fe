"""What the names of images tell."""

from __future__ import annotations

import os
from pathlib import Path

SUFFIXES = (".ome.tiff", ".ome.tif", ".tiff", ".tif", ".ome.zarr", ".zarr")
"""The suffixes of image files that are read and written, the longer ones first."""


def known_suffix(path: Path) -> str | None:
    """Which of `SUFFIXES` a name ends in, whatever its case."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix) and name != suffix), None)


def is_image_path(path: str | os.PathLike[str]) -> bool:
    """Tell by its name whether `path` is of a format that :func:`read_image` reads."""
    return known_suffix(Path(path)) is not None


def is_zarr_folder(path: str | os.PathLike[str]) -> bool:
    """Tell whether `path` is a folder of Zarr, whatever its name, such as one image of a plate.

    Examples
    --------
    >>> is_zarr_folder("plate.ome.zarr/A/1/0")
    False
    """
    return any((Path(path) / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))


def stem(path: str | os.PathLike[str]) -> str:
    """Return the file's name without folder and suffix; inside of a Zarr folder, with the way from there.

    Examples
    --------
    >>> stem("folder/cells.ome.tif"), stem("folder/plate.ome.zarr/A/1/0")
    ('cells', 'plate_A_1_0')
    """
    path = Path(path)
    suffix = known_suffix(path)
    if suffix:
        return path.name[: -len(suffix)]
    path = Path(os.path.abspath(path))  # also "." has a name
    for parent in path.parents:
        if (known_suffix(parent) or "").endswith("zarr"):
            return "_".join((stem(parent), *path.relative_to(parent).parts))
    return path.name if is_zarr_folder(path) else path.stem


def default_suffix(path: str | os.PathLike[str]) -> str:
    """Return the suffix for a result made from `path`: OME-Zarr for Zarr, OME-TIFF for all else."""
    suffix = known_suffix(Path(path))
    zarr = is_zarr_folder(path) if suffix is None else suffix.endswith("zarr")
    return ".ome.zarr" if zarr else ".ome.tif"
