"""OME-Zarr: versions 0.1 to 0.5 read, 0.5 written."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ._image import (
    Image,
    ImageFileError,
    Stored,
    as_json_dict,
    canonical_order,
    common_unit,
    resolve_axes,
    spatial,
)

NAMESPACE = "napari-lucyd"
"""Key of our metadata among the group's attributes."""

_CHUNK = {"T": 1, "C": 1, "Z": 32, "Y": 256, "X": 256}  # 8 MiB of float32: a screenful, and quick to fetch
_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}


def read_zarr(path: Path, *, name: str, eager_bytes: int | None) -> Image:
    """Read the highest resolution of an OME-Zarr image; see :func:`napari_lucyd.io.read_image`.

    Parameters
    ----------
    path
        The folder: an OME-Zarr group, a group of series as bioformats2raw writes it (the first is read), or a
        bare Zarr array.
    name
        Name of the image.
    eager_bytes
        Larger images become dask arrays; None: none does, -1: all do.
    """
    if not any((path / file).exists() for file in ("zarr.json", ".zgroup", ".zarray")):
        raise ImageFileError("not Zarr (it holds none of zarr.json, .zgroup, .zarray)")
    node = zarr.open(path, mode="r")
    notes: tuple[str, ...] = ()
    ome = _ome(node)
    if isinstance(node, zarr.Group) and "multiscales" not in ome:
        if "plate" in ome or "well" in ome:
            raise ImageFileError("a plate of many images; name one of them (for instance …/A/1/0)")
        inner = node.get("0")
        node = node if inner is None else inner
        ome = _ome(node)
        if isinstance(node, zarr.Array) or "multiscales" not in ome:
            raise ImageFileError(
                "a Zarr group without an OME-Zarr image (no 'multiscales' in its attributes)"
            )
        notes = ("the folder holds several images; the first was read",)
    if isinstance(node, zarr.Array):
        axes, guesses = resolve_axes(_bare_axes(node), node.shape)
        array, voxel_size, unit, told = node, None, None, guesses
    else:
        array, axes, voxel_size, unit, told = _multiscale(node, ome)
    if np.dtype(array.dtype).kind not in "buif":
        raise ImageFileError(f"values of type {array.dtype}; expected real numbers")
    if 0 in array.shape:
        raise ImageFileError(f"an image of shape {array.shape}, without voxels")
    data: Any
    if eager_bytes is not None and array.nbytes > eager_bytes:
        data = Stored(array, path).as_dask()
    else:
        data = np.asarray(array[...])
    order = canonical_order(axes)
    return Image(
        data=data.transpose(order),
        axes="".join(axes[index] for index in order),
        voxel_size=voxel_size,
        unit=unit,
        name=name,
        metadata=as_json_dict(node.attrs.get(NAMESPACE)),
        warnings=(*notes, *told),
    )


def _ome(node: zarr.Group | zarr.Array[Any]) -> dict[str, Any]:
    """Return the OME attributes, which moved into a key of their own with 0.5."""
    attributes = dict(node.attrs)
    return as_json_dict(attributes.get("ome", attributes))


def _bare_axes(array: zarr.Array[Any]) -> str:
    names = getattr(array.metadata, "dimension_names", None)
    if names and all(name and name.upper() in "TCZYX" for name in names):
        return "".join(name.upper() for name in names)
    if array.ndim < 2:
        raise ImageFileError(f"an array of shape {array.shape}; expected at least two axes")
    return "Q" * (array.ndim - 2) + "YX"


def _multiscale(
    group: zarr.Group, ome: dict[str, Any]
) -> tuple[zarr.Array[Any], str, tuple[float, ...] | None, str | None, tuple[str, ...]]:
    multiscale = ome["multiscales"][0]
    level = multiscale["datasets"][0]  # the standard puts the highest resolution first
    array = group[level["path"]]
    if not isinstance(array, zarr.Array):
        raise ImageFileError(f"{level['path']!r} is named as an image but is none")
    named = multiscale.get("axes") or ["t", "c", "z", "y", "x"][-array.ndim :]  # 0.1 and 0.2 name none
    entries: list[dict[str, Any]] = [{"name": entry} if isinstance(entry, str) else entry for entry in named]
    if len(entries) != array.ndim:
        raise ImageFileError(f"{len(entries)} axes are named for an array of shape {array.shape}")
    axes, guesses = resolve_axes("".join(_letter(entry) for entry in entries), array.shape)
    scale = np.multiply(_scale(level, array.ndim), _scale(multiscale, array.ndim))
    stated = "coordinateTransformations" in level or "coordinateTransformations" in multiscale
    order = [axes.index(letter) for letter in spatial("".join(axes[i] for i in canonical_order(axes)))]
    steps = [float(scale[index]) if stated else None for index in order]
    voxel_size, unit = common_unit(steps, [entries[index].get("unit") for index in order])
    if unit is None and voxel_size is not None and all(size == 1.0 for size in voxel_size):
        voxel_size = None  # what writers put that know nothing about the size
    lost = stated and voxel_size is None and not np.allclose(scale[order], 1.0)
    told = ("the voxel size in the file is incomplete and was left out",) if lost else ()
    return array, axes, voxel_size, unit, (*guesses, *told)


def _letter(entry: dict[str, Any]) -> str:
    name = str(entry.get("name", "")).upper()
    if name in _TYPES and len(name) == 1:
        return name
    return {"time": "T", "channel": "C"}.get(str(entry.get("type")), "Q")


def _scale(level: dict[str, Any], ndim: int) -> np.ndarray:
    for transformation in level.get("coordinateTransformations", ()):
        if transformation.get("type") == "scale" and len(transformation.get("scale", ())) == ndim:
            return np.asarray(transformation["scale"], dtype=float)
    return np.ones(ndim)


def write_zarr(
    path: Path,
    array: Any,
    *,
    axes: str,
    voxel_size: tuple[float, ...] | None,
    unit: str | None,
    notes: dict[str, Any],
    name: str,
) -> None:
    """Write an OME-Zarr 0.5 image of one resolution; see :func:`napari_lucyd.io.write_image`.

    Parameters
    ----------
    path
        The folder to make.
    array
        Axes in the order TCZYX; read chunk by chunk.
    axes, voxel_size, unit
        Of the array; the unit in canonical spelling.
    notes
        Kept among the group's attributes.
    name
        Name of the image.
    """
    steps = dict(zip(spatial(axes), voxel_size, strict=True)) if voxel_size is not None else {}
    scale = {"type": "scale", "scale": [steps.get(letter, 1.0) for letter in axes]}
    multiscale = {
        "name": name,
        "axes": [_axis(letter, unit if steps else None) for letter in axes],
        "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
    }
    attributes: dict[str, Any] = {"ome": {"version": "0.5", "multiscales": [multiscale]}}
    if notes:
        attributes[NAMESPACE] = notes
    group = zarr.create_group(path, zarr_format=3, attributes=attributes)
    chunks = tuple(min(size, _CHUNK[letter]) for size, letter in zip(array.shape, axes, strict=True))
    names = [letter.lower() for letter in axes]
    stored = group.create_array(
        "0", shape=array.shape, chunks=chunks, dtype=array.dtype, dimension_names=names
    )
    starts = [range(0, size, chunk) for size, chunk in zip(array.shape, chunks, strict=True)]
    for corner in itertools.product(*starts):
        block = tuple(slice(start, start + chunk) for start, chunk in zip(corner, chunks, strict=True))
        stored[block] = np.asarray(array[block])


def _axis(letter: str, unit: str | None) -> dict[str, str]:
    axis = {"name": letter.lower(), "type": _TYPES[letter]}
    return {**axis, "unit": unit} if unit and letter in "ZYX" else axis
