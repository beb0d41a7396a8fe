"""File formats by suffix and name."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

WRITTEN_SUFFIXES = (".ome.tiff", ".ome.tif", ".tiff", ".tif", ".ome.zarr", ".zarr")
"""The suffixes of image files that are written, the longer ones first."""

ZIP_SUFFIXES = (".ome.zarr.zip", ".zarr.zip", ".ozx")
"""The suffixes of zip files that hold a Zarr folder."""

# BigTIFF's further suffixes, Zeiss' LSM and MetaMorph's STK.
_READ_ONLY = (".ome.btf", ".ome.tf2", ".ome.tf8", ".btf", ".tf2", ".tf8", ".lsm", ".stk")

URL_REFUSED = (
    "is a URL; images are read and written on this computer or a mounted drive only: copy it here first, or "
    "copy the result there afterwards (rclone, aws s3 sync)"
)
"""Reason for which a URL is refused."""

PIPE_REFUSED = "is a pipe or a device, not a file; save the image to a file first"
"""Reason for which a file of a special kind is refused."""

VENDOR_SUFFIXES = (".czi", ".lif", ".nd2")
"""The suffixes of the files of microscope vendors, which the extra ``microscopes`` reads."""

SUFFIXES = (*ZIP_SUFFIXES, *WRITTEN_SUFFIXES, *_READ_ONLY, *VENDOR_SUFFIXES)
"""The suffixes of image files that are read."""

ZARR_MARKERS = ("zarr.json", ".zgroup", ".zarray")
"""The files that make a folder one of Zarr."""


def known_suffix(path: Path) -> str | None:
    """Return the suffix of a name, if it is one of `SUFFIXES` (case ignored), else None."""
    name = path.name.lower()
    fitting = [suffix for suffix in SUFFIXES if name.endswith(suffix) and name != suffix]
    return max(fitting, key=len, default=None)


def is_url(path: str | os.PathLike[str]) -> bool:
    """Tell whether a text is a URL; a path made from it has one slash fewer.

    Examples
    --------
    >>> is_url("s3://bucket/a.zarr"), is_url(Path("https://a.b/c.tif")), is_url("C:/a.tif")
    (True, True, False)
    """
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", os.fspath(path)) is not None


def holds_zarr(suffix: str) -> bool:
    """Tell whether a suffix stands for Zarr, as a folder or zipped."""
    return suffix.endswith("zarr") or suffix in ZIP_SUFFIXES


def is_image_path(path: str | os.PathLike[str]) -> bool:
    """Tell by the suffix whether :func:`read_image` reads `path`."""
    return known_suffix(Path(path)) is not None


def is_writable_path(path: str | os.PathLike[str]) -> bool:
    """Tell by the suffix whether :func:`write_image` writes `path`.

    Examples
    --------
    >>> is_writable_path("a.ome.tif"), is_writable_path("a.lsm")
    (True, False)
    """
    return known_suffix(Path(path)) in WRITTEN_SUFFIXES


def is_zarr_folder(path: str | os.PathLike[str]) -> bool:
    """Tell whether `path` is a Zarr folder of images, whatever its name, such as a well of a plate.

    A stray ``zarr.json`` in a folder of other files does not make it one.

    Examples
    --------
    >>> is_zarr_folder("plate.ome.zarr/A/1/0")
    False
    """
    folder = Path(path)
    node = _json(folder / "zarr.json")
    if node.get("node_type") == "array" or (folder / ".zarray").is_file():
        return True
    grouped = [node.get("attributes")] if node.get("node_type") == "group" else []
    if (folder / ".zgroup").is_file():
        grouped.append(_json(folder / ".zattrs"))
    return any(_tells_of_images(attributes) for attributes in grouped)


def _tells_of_images(attributes: Any) -> bool:
    if not isinstance(attributes, dict):
        return False
    told = attributes.get("ome", attributes)
    return isinstance(told, dict) and any(
        key in told for key in ("multiscales", "plate", "well", "bioformats2raw.layout")
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def stem(path: str | os.PathLike[str]) -> str:
    """Return the file's name without folder and suffix; inside a Zarr folder, with the path from there.

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
        if holds_zarr(known_suffix(parent) or ""):
            return "_".join((stem(parent), *path.relative_to(parent).parts))
    return path.name if is_zarr_folder(path) else path.stem


def default_suffix(path: str | os.PathLike[str]) -> str:
    """Return the suffix for a result made from `path`: OME-Zarr for Zarr, OME-TIFF for all else."""
    suffix = known_suffix(Path(path))
    zarr = is_zarr_folder(path) if suffix is None else holds_zarr(suffix)
    return ".ome.zarr" if zarr else ".ome.tif"
