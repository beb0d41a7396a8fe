"""Reading of OME-Zarr 0.1 to 0.5, as folders and zip files."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import zarr

from napari_lucyd.text import count_text, shape_text

from . import ome_xml
from .image import (
    Channel,
    Image,
    ImageFileError,
    Optics,
    Stored,
    as_json_dict,
    channel_of,
    check_voxel_size,
    order_axes,
)
from .suffixes import ZARR_MARKERS
from .units import common_unit, not_understood, unit_note

NAMESPACE = "napari-lucyd"
"""Key of our metadata among the group's attributes."""

AXIS_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
"""The type of each axis, as OME-Zarr names it."""

_VERSIONS = ("0.1", "0.2", "0.3", "0.4", "0.5")
# A petavoxel: more than any microscope has taken, and far less than what a damaged file may state.
_MOST_VOXELS = 10**15

# A string, because zarr.Array takes no type parameter in the oldest allowed zarr.
_Node: TypeAlias = "zarr.Group | zarr.Array[Any]"


def read_zarr(
    path: Path,
    *,
    name: str,
    eager_bytes: int | None,
    axes: str | None = None,
    voxel_size: Sequence[float] | None = None,
) -> Image:
    """Read the highest resolution of an OME-Zarr image; see :func:`napari_lucyd.io.read_image`.

    Parameters
    ----------
    path
        A folder, or a zip file of one: an OME-Zarr group, a group of series as bioformats2raw writes it (the
        first is read), or a bare Zarr array.
    name
        Name of the image.
    eager_bytes
        Larger images become dask arrays; None: none does, -1: all do.
    axes, voxel_size
        Values that replace those of the file; the voxel size in micrometres.
    """
    root = _open(path)
    node, notes = _first_image(root)
    levels: list[zarr.Array[Any]]
    entries: list[dict[str, Any]]
    scale: np.ndarray | None
    if isinstance(node, zarr.Array):
        levels, letters, entries, scale = [node], _bare_axes(node), [], None
    else:
        levels, letters, entries, scale, told = _multiscale(node)
        notes += told
    array = levels[0]
    _refuse_shape(array)
    order, named, guesses = order_axes(letters, array.shape, axes)
    size, unit, sized = _voxel_size(letters, entries, scale, order, named)
    if voxel_size is not None:
        size, unit, sized = check_voxel_size(voxel_size, named), "micrometer", ()
    close = getattr(root.store, "close", None) if path.is_file() else None
    lower = tuple(Stored(level, path).as_dask().transpose(order) for level in levels[1:])
    data: Any
    if eager_bytes is not None and array.nbytes > eager_bytes:
        data = Stored(array, path, close).as_dask()
    else:
        # Native byte order, as `Stored` has it, since computing and resuming a run expect that.
        data = np.asarray(array[...], dtype=np.dtype(array.dtype).newbyteorder("="))
        if close is not None:
            close()
            lower = ()
    return Image(
        data=data.transpose(order),
        axes=named,
        voxel_size=size,
        unit=unit,
        name=name,
        metadata=as_json_dict(node.attrs.get(NAMESPACE)),
        warnings=(*notes, *guesses, *sized),
        channels=_channels(ome_attributes(node)),
        optics=_optics(path, root, node),
        lower=lower,
    )


def holds_one_image(path: Path) -> bool:
    """Tell whether a folder is a Zarr of exactly one image.

    Parameters
    ----------
    path
        A folder that exists.
    """
    try:
        node = _open(path)
    # zarr may raise any error for a damaged store.
    except Exception:
        return False
    return isinstance(node, zarr.Array) or "multiscales" in ome_attributes(node)


def ome_attributes(node: _Node) -> dict[str, Any]:
    """Return the OME attributes, which have a key of their own since 0.5."""
    attributes = dict(node.attrs)
    return as_json_dict(attributes.get("ome", attributes))


def scale_of(level: dict[str, Any], ndim: int) -> np.ndarray | None:
    """Return the scale of a level or an image along each axis.

    Returns
    -------
    numpy.ndarray or None
        None if it states none; NaN if it states one that is not understood.
    """
    stated = level.get("coordinateTransformations") or ()
    kinds = [as_json_dict(each) for each in stated] if isinstance(stated, (list, tuple)) else [{}]
    for transformation in kinds:
        if transformation.get("type") == "scale":
            try:
                scale = np.asarray(transformation.get("scale"), dtype=float)
            except (TypeError, ValueError):
                break
            if scale.shape == (ndim,):
                return scale
    others = any(each.get("type") not in ("identity", "translation") for each in kinds)
    return np.full(ndim, np.nan) if others else None


def _open(path: Path) -> _Node:
    if path.is_file():
        return _open_zip(path)
    held = {name for name in ZARR_MARKERS if (path / name).is_file()}
    if not held:
        raise ImageFileError(f"not Zarr (it holds none of {', '.join(ZARR_MARKERS)})")
    return _open_in(path, "", held)


def _open_zip(path: Path) -> _Node:
    if not zipfile.is_zipfile(path):
        raise ImageFileError("neither a folder of Zarr nor a zip file of one")
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
    # Some pack what the folder holds, others the folder.
    for inner in ("", *sorted({name.partition("/")[0] for name in names if "/" in name})):
        held = {name for name in ZARR_MARKERS if f"{inner}/{name}".lstrip("/") in names}
        if held:
            return _open_in(zarr.storage.ZipStore(path, mode="r"), inner, held)
    raise ImageFileError(f"a zip file without Zarr (it holds none of {', '.join(ZARR_MARKERS)})")


def _open_in(store: Any, inner: str, held: set[str]) -> _Node:
    """Open a node; if there are files of both Zarr formats, the one with an image."""
    newer: _Node | None = None
    if "zarr.json" in held:
        try:
            newer = zarr.open(store, mode="r", path=inner, zarr_format=3)
        # A stray file of this name, beside an image of the older format.
        except Exception:
            if len(held) == 1:
                raise
        if newer is not None and (len(held) == 1 or isinstance(newer, zarr.Array) or _tells(newer)):
            return newer
    return zarr.open(store, mode="r", path=inner, zarr_format=2)


def _tells(group: zarr.Group) -> bool:
    return any(
        key in ome_attributes(group) for key in ("multiscales", "plate", "well", "bioformats2raw.layout")
    )


def _first_image(root: _Node) -> tuple[_Node, tuple[str, ...]]:
    """Return the node of the image to read, and a warning if there are others."""
    ome = ome_attributes(root)
    if isinstance(root, zarr.Array) or "multiscales" in ome:
        return root, ()
    if "plate" in ome or "well" in ome:
        raise ImageFileError("a plate of many images; name one of them (for instance …/A/1/0)")
    names = _series(root)
    for name in names or ["0"]:
        inner = root.get(name)
        if isinstance(inner, zarr.Group) and "multiscales" in ome_attributes(inner):
            if len(names) == 1:
                return inner, ()
            count = f"{len(names)} images" if names else "several images"
            return inner, (f"the folder holds {count}; the first, {name!r}, was read",)
    raise ImageFileError("a Zarr group without an OME-Zarr image (no 'multiscales' in its attributes)")


def _series(root: zarr.Group) -> list[str]:
    """Return the paths of the images that the group OME lists (bioformats2raw)."""
    described = root.get("OME")
    listed = ome_attributes(described).get("series") if isinstance(described, zarr.Group) else None
    return [str(name) for name in listed] if isinstance(listed, list) else []


def _refuse_shape(array: zarr.Array[Any]) -> None:
    if np.dtype(array.dtype).kind not in "buif":
        raise ImageFileError(f"values of type {array.dtype}; expected real numbers")
    if 0 in array.shape:
        raise ImageFileError(f"an image of shape {array.shape}, without voxels")
    if math.prod(array.shape) > _MOST_VOXELS:
        sizes = shape_text(array.shape)
        raise ImageFileError(f"it states {sizes} voxels, more than any image has: its metadata are damaged")


def _bare_axes(array: zarr.Array[Any]) -> str:
    names = getattr(array.metadata, "dimension_names", None)
    if names and all(name and name.upper() in AXIS_TYPES for name in names):
        return "".join(name.upper() for name in names)
    if array.ndim < 2:
        raise ImageFileError(f"an array of shape {array.shape}; expected at least two axes")
    return "Q" * (array.ndim - 2) + "YX"


def _multiscale(
    group: zarr.Group,
) -> tuple[list[zarr.Array[Any]], str, list[dict[str, Any]], np.ndarray | None, tuple[str, ...]]:
    """Return the resolutions, the highest first, the axes and their entries, the scale, and warnings."""
    ome = ome_attributes(group)
    multiscale = ome["multiscales"][0]
    nodes = {str(level["path"]): group.get(str(level["path"])) for level in multiscale["datasets"]}
    absent = [path for path, node in nodes.items() if not isinstance(node, zarr.Array)]
    found = {path: node for path, node in nodes.items() if isinstance(node, zarr.Array)}
    if not found:
        raise ImageFileError(f"{absent[0]!r} is named as an image but is none")
    notes: tuple[str, ...] = ()
    if absent:
        missing = ", ".join(map(repr, absent))
        notes += (f"resolutions named {missing} cannot be found; the highest that can was read",)
    version = str(multiscale.get("version", ome.get("version", _VERSIONS[0])))
    if version not in _VERSIONS:
        notes += (
            f"its OME-Zarr is version {version}; 0.1 to 0.5 are known: check the axes and the voxel size",
        )
    # The standard puts the highest resolution first, and not all writers do.
    paths = sorted(found, key=lambda path: -math.prod(found[path].shape))
    array = found[paths[0]]
    level = next(level for level in multiscale["datasets"] if str(level["path"]) == paths[0])
    named = multiscale.get("axes") or ["t", "c", "z", "y", "x"][-array.ndim :]  # 0.1 and 0.2 name none
    entries: list[dict[str, Any]] = [{"name": entry} if isinstance(entry, str) else entry for entry in named]
    if len(entries) != array.ndim:
        raise ImageFileError(
            f"its array of shape {array.shape} has names for {count_text(len(entries), 'axis', 'axes')}"
        )
    scales = [scale for each in (level, multiscale) if (scale := scale_of(each, array.ndim)) is not None]
    scale = np.prod(scales, axis=0) if scales else None
    levels = [found[path] for path in paths if found[path].ndim == array.ndim]
    return levels, "".join(map(_letter, entries)), entries, scale, notes


def _letter(entry: dict[str, Any]) -> str:
    name = str(entry.get("name", "")).upper()
    if name in AXIS_TYPES and len(name) == 1:
        return name
    return {"time": "T", "channel": "C"}.get(str(entry.get("type")), "Q")


def _voxel_size(
    letters: str,
    entries: list[dict[str, Any]],
    scale: np.ndarray | None,
    order: Sequence[int],
    named: str,
) -> tuple[tuple[float, ...] | None, str | None, tuple[str, ...]]:
    if scale is None:
        return None, None, ()
    indices = [index for index, letter in zip(order, named, strict=True) if letter in "ZYX"]
    # The file calls this axis time, so its step is no step along Z.
    steps = [None if letters[index] in "TC" else float(scale[index]) for index in indices]
    units = [entries[index].get("unit") for index in indices]
    voxel_size, unit = common_unit(steps, units)
    if unit is None and voxel_size is not None and all(size == 1.0 for size in voxel_size):
        return None, None, ()  # written by programs that do not know the size
    if unit is None and voxel_size is not None and (word := not_understood(units)) is not None:
        return voxel_size, unit, (unit_note(word),)
    lost = voxel_size is None and not np.allclose(scale[indices], 1.0)
    return voxel_size, unit, ("the voxel size in the file is incomplete and was left out",) if lost else ()


def _channels(ome: dict[str, Any]) -> tuple[Channel, ...]:
    stated = as_json_dict(ome.get("omero")).get("channels")
    found = tuple(_channel(as_json_dict(each)) for each in stated) if isinstance(stated, list) else ()
    return found if any(each != Channel() for each in found) else ()


def _channel(stated: dict[str, Any]) -> Channel:
    window = as_json_dict(stated.get("window"))
    limits = (window.get("start"), window.get("end"))
    return channel_of(stated.get("label") or None, f"#{stated.get('color', '')}".lower(), limits)


def _optics(path: Path, root: _Node, node: _Node) -> Optics | None:
    """Return the optics from bioformats2raw's OME-XML."""
    described = path / "OME" / "METADATA.ome.xml"
    if not isinstance(root, zarr.Group) or root is node or not described.is_file():
        return None
    names, parsed = _series(root), ome_xml.parse(described.read_text("utf-8", "replace"))
    if parsed is None:
        return None
    images = list(ome_xml.elements(parsed, "Image"))
    index = names.index(node.path) if node.path in names else 0
    return ome_xml.optics(parsed, images[index]) if index < len(images) else None
