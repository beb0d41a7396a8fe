"""Reading of numpy, dask, zarr and xarray arrays, part by part."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd import checks
from napari_lucyd.deconvolution.image.axes import Axes, name_axes
from napari_lucyd.deconvolution.tiling.tiles import Tile, cut, mirrored
from napari_lucyd.spans import Span

# Number of voxels read at once in a pass over a whole volume: 17 MB of float32.
_PART_VOXELS = 2**22


class Source:
    """An array that is read volume by volume and part by part, never as a whole.

    Parameters
    ----------
    volume
        Array with ``shape``, ``dtype`` and basic indexing; anything else is converted to a numpy array.
    dimension
        Number of spatial axes of the model: 2 or 3.
    axes
        See `name_axes`.

    Raises
    ------
    TypeError
        If the values are not real numbers.
    ValueError
        If the array is empty, or its axes do not fit.
    """

    def __init__(self, volume: Any, dimension: int, axes: str | None = None) -> None:
        self.dtype, self._array = as_array(volume)
        if any(n != n for n in self._array.shape):  # NaN: dask does not know the size
            raise ValueError(
                f"The shape of the image is unknown: {tuple(self._array.shape)}. For a dask array, call "
                "compute_chunk_sizes() first."
            )
        shape = tuple(int(n) for n in self._array.shape)
        if any(n == 0 for n in shape):
            raise ValueError(f"The image is empty: its shape is {shape}.")
        dims = getattr(volume, "dims", None)
        self.axes: Axes = name_axes(shape, self.dtype, dimension, axes, dims)

    def refuse_mask(self) -> None:
        """Refuse an array of True and False, which is no image of light.

        Raises
        ------
        TypeError
            If it is one.
        """
        if self.dtype.kind == "b":
            raise TypeError(
                "The image is a mask (dtype bool): its voxels are only True or False. Choose the image that "
                "it was made from, or convert it to numbers first: image.astype('uint8')."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""
        return self.axes.shape

    @property
    def in_memory(self) -> bool:
        """True for a numpy array, which several threads can read at the same time."""
        return isinstance(self._array, np.ndarray)

    @property
    def on_disk(self) -> bool:
        """True for a numpy array whose voxels are read from a file when they are needed."""
        return any(isinstance(each, np.memmap) for each in (self._array, getattr(self._array, "base", None)))

    def read(self, lead: Sequence[int], spans: Sequence[Span]) -> npt.NDArray[Any]:
        """Read a part of one volume, in its own dtype, with ``dimension`` axes."""
        part = self.axes.in_order_of_volume(np.asarray(self._array[self.axes.index(lead, spans)]))
        return part.reshape(tuple(span.size for span in spans))

    def preparing(self, lead: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Do the work that reading a volume needs first; yield the number of steps done, and of all."""
        yield from ()

    def steps_before(self, lead: Sequence[int]) -> int:
        """Return the number of steps of `preparing` for a volume."""
        return 0

    def volumes(self) -> Iterator[tuple[int, ...]]:
        """Yield the leading indices of every volume, in reading order."""
        yield from np.ndindex(*self.axes.leading_shape)

    def parts(self) -> list[Tile]:
        """List parts that cover a volume once, made of whole chunks if the array has chunks."""
        shape = self.axes.volume_shape
        size = [min(c, n) for c, n in zip(self._chunks(), shape, strict=True)]
        for axis in range(len(size)):  # cut large chunks
            others = math.prod(size) // size[axis]
            size[axis] = max(1, min(size[axis], _PART_VOXELS // others if others <= _PART_VOXELS else 1))
        for axis in reversed(range(len(size))):  # join small chunks
            times = max(1, _PART_VOXELS // math.prod(size))
            size[axis] = min(shape[axis], size[axis] * times)
        return list(cut([Span(0, n) for n in shape], size))

    def _chunks(self) -> tuple[int, ...]:
        chunks = getattr(self._array, "shards", None) or getattr(self._array, "chunks", None)
        if not chunks:
            return (1,) * (len(self.axes.volume_shape) - 1) + (self.axes.volume_shape[-1],)
        sizes = [c if isinstance(c, int) else max(c) for c in chunks]  # dask lists the size of every chunk
        names = dict(zip(self.axes.names, sizes, strict=True))
        return tuple(int(names.get(name, 1)) for name in self.axes.letters)


def to_float32(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Convert values to native float32; values that are too large become infinite and are refused later."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


def _masked_as_nan(part: Any) -> npt.NDArray[np.float32]:
    # Some chunks of a dask array may have no mask.
    filled: npt.NDArray[np.float32] = np.ma.filled(np.ma.asarray(part).astype(np.float32), np.nan)
    return filled


def _as_numpy(volume: Any) -> npt.NDArray[Any]:
    try:
        return np.asarray(volume)
    except Exception as error:  # whatever a class raises when it is converted
        raise TypeError(f"The image is {checks.shown(volume)}; give an array of real numbers.") from error


def as_array(volume: Any) -> tuple[np.dtype[Any], Any]:
    """Return the dtype of an image, and the image as something with a shape that can be indexed.

    If there are several resolutions, as in a multiscale layer of napari, the highest is taken.

    Raises
    ------
    TypeError
        If it is a path, a layer or another object with an array in it, or its values are not real numbers.
    """
    if isinstance(volume, (str, bytes, os.PathLike)):
        raise TypeError(
            f"The image is the path {checks.shown(volume)}; read the file first: image = "
            "napari_lucyd.io.read_image(path), then give image.data, axes=image.axes and "
            "voxel_size=image.voxel_size."
        )
    volume = _highest_resolution(volume)
    if not hasattr(volume, "shape") and hasattr(volume, "data"):
        kind = type(volume).__name__
        raise TypeError(
            f"The image is an object of type {kind}; give the array in it, .data, with voxel_size and axes."
        )
    if isinstance(volume, np.ma.MaskedArray):
        volume = _masked_as_nan(volume)
    elif isinstance(getattr(volume, "_meta", None), np.ma.MaskedArray):  # dask's chunks
        volume = volume.map_blocks(_masked_as_nan, dtype=np.float32, meta=np.empty(0, np.float32))
    try:
        dtype = np.dtype(volume.dtype)
        tuple(volume.shape)
    except (AttributeError, TypeError):
        volume = _as_numpy(volume)
        dtype = volume.dtype
    if dtype.kind == "c":
        raise TypeError(f"The image has complex values ({dtype}). Use its real part or its magnitude.")
    if dtype.kind not in "biuf":
        raise TypeError(f"The image has dtype {dtype}; it needs integers, floating-point numbers or bool.")
    return dtype, volume


def _highest_resolution(volume: Any) -> Any:
    """Return the first of several resolutions; any other image as it is."""
    levels: Any = volume if isinstance(volume, (list, tuple)) or hasattr(volume, "shapes") else ()
    shapes = [tuple(getattr(level, "shape", ())) for level in levels]
    smaller = len(shapes) > 1 and all(
        len(b) == len(a) > 1 and a != b and all(n <= m for n, m in zip(b, a, strict=True))
        for a, b in pairwise(shapes)
    )
    return levels[0] if smaller else volume


class MirroredSource(Source):
    """A source mirrored along some of its spatial axes.

    Parameters
    ----------
    source
        The image.
    axes
        Numbers of the mirrored axes among (Z, Y, X) or (Y, X).
    """

    def __init__(self, source: Source, axes: Sequence[int]) -> None:
        self.axes, self.dtype = source.axes, source.dtype
        self._source, self._mirrored = source, tuple(axes)

    @property
    def in_memory(self) -> bool:
        """See `Source.in_memory`."""
        return self._source.in_memory

    @property
    def on_disk(self) -> bool:
        """See `Source.on_disk`."""
        return self._source.on_disk

    def read(self, lead: Sequence[int], spans: Sequence[Span]) -> npt.NDArray[Any]:
        """See `Source.read`."""
        there = mirror(spans, self.axes.volume_shape, self._mirrored)
        return np.flip(self._source.read(lead, there), self._mirrored)


def mirror(spans: Sequence[Span], shape: Sequence[int], axes: Sequence[int]) -> tuple[Span, ...]:
    """Mirror the spans along some axes of a volume."""
    return tuple(
        mirrored(span, size) if axis in axes else span
        for axis, (span, size) in enumerate(zip(spans, shape, strict=True))
    )
