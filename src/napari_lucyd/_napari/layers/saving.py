"""Saving of layers as image files, with voxel size, unit and recipe."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.layers.to_file import arguments_of, own_metadata
from napari_lucyd.io import ImageFileError, is_writable_path, is_zarr_folder, stem

if TYPE_CHECKING:
    from napari.layers import Image

SUFFIX = ".ome.tif"
FILTERS = {
    "OME-TIFF (*.ome.tif)": ".ome.tif",
    "ImageJ TIFF (*.tif)": ".tif",
    "OME-Zarr (*.ome.zarr)": ".ome.zarr",
}
"""Kinds of file as a dialog names them, and their suffixes."""


@dataclass(frozen=True)
class File:
    """One file to write; everything is read from the layer on the window's thread."""

    name: str
    content: dict[str, Any]
    """Arguments of `napari_lucyd.io.write_image`, but for the path and how it is written."""

    @classmethod
    def from_layer(cls, layer: Image, source: SourceLayer | None = None) -> File:
        """Read the content of a file from an image layer; a result has its recipe.

        Parameters
        ----------
        layer
            The layer.
        source
            The same layer with the axes and the voxel size that are in use, if they are not its own.
        """
        data, state, kind = layer.as_layer_data_tuple()
        state = dict(state)
        if source is not None:
            axes = own_metadata(state).get("axes") or source.axes
            state |= source.place(source.likely_axes(axes))
            if axes is not None:
                state["axis_labels"] = tuple(str(axes).lower())
        return cls(name_of(layer), arguments_of([(data, state, str(kind))]))


def name_of(layer: Image) -> str:
    """Return a file name for a layer, without suffix; that of a result has its source and its part."""
    own = own_metadata({"metadata": layer.metadata})
    quantity, source = own.get("quantity"), own.get("source")
    return file_name(f"{source}_{quantity}" if quantity and source else layer.name)


def file_name(name: str) -> str:
    """Turn a layer's name into a file name without suffix.

    Examples
    --------
    >>> file_name("nuclei [1]: a/b")
    'nuclei_1_a_b'
    """
    return re.sub(r"[^\w.()+-]+", "_", name).strip("_.") or "image"


def with_suffix(path: Path, suffix: str) -> Path:
    """Add a suffix to a name that has none of those that are written.

    Examples
    --------
    >>> with_suffix(Path("cells.v2"), ".ome.tif").name, with_suffix(Path("a.tif"), ".ome.tif").name
    ('cells.v2.ome.tif', 'a.tif')
    """
    return path if is_writable_path(path) else path.with_name(path.name + suffix)


def paths_for(path: Path, layers: Sequence[Image]) -> dict[Path, Image]:
    """Return the path of each layer: the given one, or one made from it for each of several layers.

    Parameters
    ----------
    path
        Path with the suffix of a format that can be written.
    layers
        Layers to write, one or more.
    """
    if len(layers) == 1:
        return {path: layers[0]}
    beginning = stem(path)
    suffix = path.name.removeprefix(beginning)
    parts = [str(own_metadata({"metadata": layer.metadata}).get("quantity") or "") for layer in layers]
    if "" in parts or len(set(parts)) < len(parts):
        parts = [name_of(layer) for layer in layers]
    found: dict[Path, Image] = {}
    for part, layer in zip(parts, layers, strict=True):
        number, wanted = 1, path.with_name(f"{beginning}_{part}{suffix}")
        while wanted in found:
            number += 1
            wanted = path.with_name(f"{beginning}_{part}_{number}{suffix}")
        found[wanted] = layer
    return found


def write(files: Mapping[Path, File], dtype: str, replace: Collection[Path] = ()) -> list[Path]:
    """Write files; call it off the window's thread.

    Parameters
    ----------
    files
        The files by path.
    dtype
        ``"float32"`` keeps values as they are. ``"uint16"`` stores true counts where the values fit,
        otherwise scaled values with scale and offset stated in the file.
    replace
        Paths that may be replaced; everything else that exists is left alone.

    Raises
    ------
    ImageFileError
        A file cannot be written; the message says which ones were.
    """
    done: list[Path] = []
    for path, file in files.items():
        try:
            whole = np.dtype(file.content["array"].dtype).kind in "bui"
            # Whole numbers are kept exactly in their own dtype, and not in float32.
            chosen = None if dtype == "float32" and whole else dtype
            done.append(write_one(file, path, chosen, overwrite=path in replace))
        except ImageFileError as error:
            saved = f" Saved before: {', '.join(each.name for each in done)}." if done else ""
            raise ImageFileError(f"{error}.{saved}") from error
    return done


def write_one(file: File, path: Path, dtype: str | None, *, overwrite: bool = False) -> Path:
    """Write one file under a chosen name."""
    from napari_lucyd.io import write_image

    content = dict(file.content)
    return write_image(path, content.pop("array"), **content, overwrite=overwrite, dtype=dtype)


def same_file(path: Path, other: str) -> bool:
    """Return True if two paths are the same file or folder, links resolved.

    A layer that was opened with a folder of results may show any file in it.
    """
    real = os.path.realpath(other)
    folder = os.path.isdir(real) and not is_zarr_folder(real)
    return os.path.realpath(path.parent if folder else path) == real
