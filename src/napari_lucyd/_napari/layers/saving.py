"""Saving of layers as OME-TIFF, with voxel size, unit and recipe."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lucyd._napari.layers.to_file import arguments_of, own_metadata

if TYPE_CHECKING:
    from napari.layers import Image

SUFFIX = ".ome.tif"


@dataclass(frozen=True)
class File:
    """One file to write; everything is read from the layer on the window's thread."""

    name: str
    content: dict[str, Any]
    """Arguments of `napari_lucyd.io.write_image`, but for the path and how it is written."""

    @classmethod
    def from_layer(cls, layer: Image) -> File:
        """Read the content of a file from an image layer; a result has its recipe."""
        data, state, kind = layer.as_layer_data_tuple()
        own = own_metadata(state)
        quantity, source = own.get("quantity"), own.get("source")
        name = f"{source}_{quantity}" if quantity and source else layer.name
        return cls(file_name(name), arguments_of([(data, dict(state), str(kind))]))


def file_name(name: str) -> str:
    """Turn a layer's name into a file name without suffix.

    Examples
    --------
    >>> file_name("nuclei [1]: a/b")
    'nuclei_1_a_b'
    """
    return re.sub(r"[^\w.()+-]+", "_", name).strip("_.") or "image"


def write(files: Sequence[File], folder: Path, dtype: str) -> list[Path]:
    """Write files into a folder. Existing files are never overwritten; the new ones get a number.

    Call it off the window's thread.

    Parameters
    ----------
    files
        The files.
    folder
        An existing folder.
    dtype
        ``"float32"``, or ``"uint16"`` with scale and offset stated in the file.
    """
    return [write_one(file, _free(folder / (file.name + SUFFIX)), dtype) for file in files]


def write_one(file: File, path: Path, dtype: str | None, *, overwrite: bool = False) -> Path:
    """Write one file under a chosen name."""
    from napari_lucyd.io import write_image

    content = dict(file.content)
    return write_image(path, content.pop("array"), **content, overwrite=overwrite, dtype=dtype)


def _free(path: Path) -> Path:
    stem, number = path.name.removesuffix(SUFFIX), 1
    while path.exists():
        number += 1
        path = path.with_name(f"{stem}_{number}{SUFFIX}")
    return path
