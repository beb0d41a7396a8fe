"""Writing of OME-Zarr 0.5, whole or part by part."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from .image import Channel, ImageFileError, Stored, as_json_dict, spatial
from .zarr_reader import AXIS_TYPES, NAMESPACE, scale_of

_CHUNK = {"T": 1, "C": 1, "Z": 32, "Y": 256, "X": 256}  # 8 MB of float32: a screenful, quick to fetch
# More chunks than this would be too many files. They are then kept in shards, with this many chunks along
# each axis.
_FILES = 4096
_SHARD = {"T": 1, "C": 1, "Z": 2, "Y": 2, "X": 2}


def write_zarr(
    path: Path,
    array: Any,
    *,
    axes: str,
    voxel_size: tuple[float, ...] | None,
    unit: str | None,
    notes: dict[str, Any],
    name: str,
    channels: Sequence[Channel] = (),
) -> None:
    """Write an OME-Zarr 0.5 image as a pyramid; see :func:`napari_lucyd.io.write_image`.

    Parameters
    ----------
    path
        The folder to make.
    array
        Axes in the order TCZYX; read chunk by chunk.
    axes, voxel_size, unit
        Axes, voxel size and unit of the array; the unit in canonical spelling.
    notes
        Stored in the group's attributes.
    name
        Name of the image.
    channels
        Channels; see `napari_lucyd.io.write_image`.
    """
    stored = create_zarr(
        path, array.shape, array.dtype, axes=axes, voxel_size=voxel_size, unit=unit, name=name
    )
    for block in _pieces(array.shape, stored.shards or stored.chunks):
        stored[block] = np.asarray(array[block])
    if channels:
        group = zarr.open_group(path, mode="r+")
        ome = as_json_dict(group.attrs["ome"])
        group.attrs["ome"] = {**ome, "omero": {"channels": [_omero(each, stored.dtype) for each in channels]}}
    finish_zarr(path, notes)


def _omero(channel: Channel, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the ``omero`` entry of a channel."""
    told: dict[str, Any] = {"active": True}
    if channel.name is not None:
        told["label"] = channel.name
    if channel.color is not None:
        told["color"] = channel.color[1:].upper()
    if channel.limits is not None:
        low, high = channel.limits
        reach = np.iinfo(dtype) if dtype.kind in "ui" else None
        bounds = (
            {"min": low, "max": high} if reach is None else {"min": int(reach.min), "max": int(reach.max)}
        )
        told["window"] = {"start": low, "end": high, **bounds}
    return told


def create_zarr(
    path: Path,
    shape: Sequence[int],
    dtype: Any,
    *,
    axes: str,
    voxel_size: tuple[float, ...] | None,
    unit: str | None,
    name: str,
) -> zarr.Array[Any]:
    """Create an OME-Zarr 0.5 image without voxels; see `finish_zarr`.

    Parameters
    ----------
    path
        The folder to make.
    shape, dtype
        Shape and dtype of the image.
    axes, voxel_size, unit, name
        Description of the image; see `write_zarr`.

    Returns
    -------
    zarr.Array
        Write whole shards, or whole chunks if there are no shards, so that two writers never share a file.
        Voxels that are not written are NaN, or 0 for integers.
    """
    steps = dict(zip(spatial(axes), voxel_size, strict=True)) if voxel_size is not None else {}
    multiscale = {
        "name": name,
        "axes": [_axis(letter, unit if steps else None) for letter in axes],
        "datasets": [_dataset("0", [steps.get(letter, 1.0) for letter in axes], [1] * len(axes))],
    }
    group = zarr.create_group(
        path, zarr_format=3, attributes={"ome": {"version": "0.5", "multiscales": [multiscale]}}
    )
    return _create_level(group, "0", tuple(shape), np.dtype(dtype), axes)


def open_zarr(path: Path) -> zarr.Array[Any]:
    """Open the highest resolution of an image of `create_zarr` for writing."""
    array = zarr.open_group(path, mode="r+")["0"]
    if not isinstance(array, zarr.Array):
        raise ImageFileError(f"{path}: not an OME-Zarr image of ours")
    return array


def pyramid(shape: Sequence[int], axes: str, voxel_size: Sequence[float] | None) -> Iterator[tuple[int, ...]]:
    """Yield the downsampling factors of each resolution of a finished image, the highest resolution first.

    A level has ``size // factor`` voxels along each axis.

    Examples
    --------
    >>> list(pyramid((10, 600, 300), "ZYX", (1.0, 0.5, 0.5)))
    [(1, 1, 1), (1, 2, 2), (2, 4, 4)]
    """
    steps = dict(zip(spatial(axes), voxel_size, strict=True)) if voxel_size is not None else {}
    yield from _levels(shape, axes, np.asarray([steps.get(letter, 1.0) for letter in axes]))


def _levels(shape: Sequence[int], axes: str, scale: np.ndarray) -> Iterator[tuple[int, ...]]:
    total, sizes = np.ones(len(axes), dtype=int), tuple(shape)
    yield tuple(map(int, total))
    while factors := _halving(axes, sizes, scale * total):
        total = total * factors
        sizes = tuple(size // factor for size, factor in zip(sizes, factors, strict=True))
        yield tuple(map(int, total))


def open_levels(path: Path) -> list[Any]:
    """Open an image of `finish_zarr`: a dask array for each resolution, the highest first."""
    group = zarr.open_group(path, mode="r")
    datasets = as_json_dict(group.attrs["ome"])["multiscales"][0]["datasets"]
    return [Stored(group[dataset["path"]], path).as_dask() for dataset in datasets]


def finish_zarr(path: Path, notes: dict[str, Any], should_stop: Callable[[], bool] | None = None) -> bool:
    """Add lower resolutions and notes to an image of `create_zarr`.

    Each level halves Y and X, and also Z if its step is not longer, until a plane fits into one chunk. A
    voxel is the mean of the voxels it covers, NaN ignored.

    Parameters
    ----------
    path
        The folder.
    notes
        Stored in the group's attributes.
    should_stop
        Called between pieces.

    Returns
    -------
    bool
        True if finished. If False, the file is not marked as finished, and the call can be repeated.
    """
    group = zarr.open_group(path, mode="r+")
    ome = as_json_dict(group.attrs["ome"])
    multiscale = ome["multiscales"][0]
    axes = "".join(axis["name"].upper() for axis in multiscale["axes"])
    level = open_zarr(path)
    stated = scale_of(multiscale["datasets"][0], len(axes))
    scale = np.ones(len(axes)) if stated is None else stated
    datasets = multiscale["datasets"][:1]
    for before, total in itertools.pairwise(_levels(level.shape, axes, scale)):
        factors = [new // old for new, old in zip(total, before, strict=True)]
        shape = tuple(size // factor for size, factor in zip(level.shape, factors, strict=True))
        lower = _create_level(group, str(len(datasets)), shape, level.dtype, axes)
        for block in _pieces(shape, lower.shards or lower.chunks):
            if should_stop is not None and should_stop():
                return False
            fine = tuple(
                slice(part.start * factor, part.stop * factor)
                for part, factor in zip(block, factors, strict=True)
            )
            lower[block] = _block_means(np.asarray(level[fine]), factors)
        datasets.append(_dataset(str(len(datasets)), scale * np.asarray(total), total))
        level = lower
    multiscale["datasets"] = datasets
    group.attrs.update({"ome": ome, **({NAMESPACE: notes} if notes else {})})
    return True


def writing_unit(shape: Sequence[int], axes: str) -> tuple[int, ...]:
    """Return the shape of one file of an image: a shard, or a chunk if there are no shards."""
    chunks, shards = _layout(shape, axes)
    return shards or chunks


def _layout(shape: Sequence[int], axes: str) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    chunks = tuple(_chunk(size, letter) for size, letter in zip(shape, axes, strict=True))
    counts = [-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True)]
    if math.prod(counts) <= _FILES:
        return chunks, None
    factors = [_SHARD[letter] if count > 1 else 1 for count, letter in zip(counts, axes, strict=True)]
    return chunks, tuple(chunk * factor for chunk, factor in zip(chunks, factors, strict=True))


def _create_level(
    group: zarr.Group, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], axes: str
) -> zarr.Array[Any]:
    chunks, shards = _layout(shape, axes)
    return group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        shards=shards,
        dtype=dtype,
        fill_value=math.nan if dtype.kind == "f" else 0,
        dimension_names=[letter.lower() for letter in axes],
        overwrite=True,
    )


def _chunk(size: int, letter: str) -> int:
    """Return a chunk length near the usual one, without a thin last chunk: its halo would cost too much."""
    if letter in "TC":
        return 1
    parts = max(1, round(size / _CHUNK[letter]))
    # A multiple of what any network halves its input by.
    return min(size, -(-size // (4 * parts)) * 4)


def _dataset(
    path: str, scale: Sequence[float] | np.ndarray, total: Sequence[int] | np.ndarray
) -> dict[str, Any]:
    """Return the metadata of a level; its first voxel lies in the centre of the voxels it covers."""
    steps = [float(step) for step in scale]
    transformations: list[dict[str, Any]] = [{"type": "scale", "scale": steps}]
    if any(factor > 1 for factor in total):
        shift = [
            step / factor * (factor - 1) / 2 for step, factor in zip(steps, map(int, total), strict=True)
        ]
        transformations.append({"type": "translation", "translation": shift})
    return {"path": path, "coordinateTransformations": transformations}


def _halving(axes: str, shape: Sequence[int], steps: np.ndarray) -> tuple[int, ...] | None:
    """Return the downsampling factors of the next level; None if a plane is small enough."""
    if all(size <= _CHUNK[letter] for size, letter in zip(shape, axes, strict=True) if letter in "YX"):
        return None
    lateral = max(steps[axes.index("Y")], steps[axes.index("X")])
    factors = []
    for size, letter, step in zip(shape, axes, steps, strict=True):
        wanted = letter in "YX" or (letter == "Z" and step <= lateral * math.sqrt(2))
        factors.append(2 if wanted and size > 1 else 1)
    return tuple(factors)


def _block_means(values: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Return means over blocks of ``factors`` voxels, in the dtype of the values."""
    shape = [n for size, factor in zip(values.shape, factors, strict=True) for n in (size // factor, factor)]
    axes = tuple(range(1, 2 * values.ndim, 2))
    blocks = values.reshape(shape)
    if values.dtype.kind == "f":
        if not np.isnan(values).any():
            return np.asarray(blocks.mean(axis=axes, dtype=values.dtype))
        known = np.isfinite(blocks)
        count = known.sum(axis=axes)
        total = np.where(known, blocks, 0).sum(axis=axes, dtype=values.dtype)
        means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return np.asarray(means, values.dtype)
    means = blocks.mean(axis=axes)
    return np.asarray(means > 0.5 if values.dtype.kind == "b" else np.rint(means), values.dtype)


def _pieces(shape: Sequence[int], sizes: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Yield slices that cover an array once, none longer than ``sizes``."""
    starts = [range(0, whole, size) for whole, size in zip(shape, sizes, strict=True)]
    for corner in itertools.product(*starts):
        ends = (min(start + size, whole) for start, size, whole in zip(corner, sizes, shape, strict=True))
        yield tuple(map(slice, corner, ends))


def _axis(letter: str, unit: str | None) -> dict[str, str]:
    axis = {"name": letter.lower(), "type": AXIS_TYPES[letter]}
    return {**axis, "unit": unit} if unit and letter in "ZYX" else axis
