"""Saving of layers as OME-TIFF, with voxel size, unit and recipe."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lucyd._napari.layers.coordinates import voxel_steps
from napari_lucyd._napari.layers.viewer import METADATA_KEY

if TYPE_CHECKING:
    from napari.layers import Image

SUFFIX = ".ome.tif"


@dataclass(frozen=True)
class File:
    """One file to write; everything is read from the layer on the window's thread."""

    name: str
    data: Any
    axes: str
    voxel_size: tuple[float, ...] | None
    unit: str | None
    metadata: dict[str, Any]

    @classmethod
    def from_layer(cls, layer: Image) -> File:
        """Read the content of a file from an image layer; a result has its recipe."""
        state = layer.as_layer_data_tuple()[1]
        recipe = dict(layer.metadata.get(METADATA_KEY) or {})
        data = layer.data[0] if layer.multiscale else layer.data
        axes = str(recipe.get("axes") or "TCZYX"[-data.ndim :])
        steps = dict(zip(axes, voxel_steps(state), strict=True))
        voxel_size = tuple(steps[name] for name in "ZYX" if name in axes)
        unit = str(layer.units[-1])
        known = unit != "pixel" and bool(np.all(np.isfinite(voxel_size)))
        quantity, source = recipe.get("quantity"), recipe.get("source")
        name = f"{source}_{quantity}" if quantity and source else layer.name
        return cls(
            file_name(name), data, axes, voxel_size if known else None, unit if known else None, recipe
        )


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

    return write_image(
        path,
        file.data,
        axes=file.axes,
        voxel_size=file.voxel_size,
        unit=file.unit,
        metadata=file.metadata,
        overwrite=overwrite,
        dtype=dtype,
    )


def _free(path: Path) -> Path:
    stem, number = path.name.removesuffix(SUFFIX), 1
    while path.exists():
        number += 1
        path = path.with_name(f"{stem}_{number}{SUFFIX}")
    return path
