"""Arrays that show a store while it is being filled.

napari reads the visible voxels in the window's thread, again at each refresh, and the chunks of a plane are
many planes deep. So the planes that were shown stay in memory, and the thread that fills the store updates
them. A refresh then reads no file.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Memory for the voxels that were shown last.
_KEPT_BYTES = 2**28
# Planes up to this size are kept whole, so that panning reads nothing.
_WHOLE_BYTES = 2**26
# A refresh of a lower resolution reads for this time; the next refresh continues.
_READ_SECONDS = 0.1

Axes = tuple[range, ...]
Chunk = tuple[int, ...]


@dataclass(eq=False)
class _Box:
    """Voxels that are kept in memory, and the finished chunks that must be read into them."""

    axes: Axes
    values: np.ndarray
    todo: dict[Chunk, None]

    def covers(self, axes: Axes) -> bool:
        """Return True if all of these voxels are in the box."""
        return all(
            len(wanted) == 0
            or (wanted[0] in own and wanted[-1] in own and (len(wanted) == 1 or wanted.step == own.step))
            for wanted, own in zip(axes, self.axes, strict=True)
        )

    def part(self, axes: Axes) -> np.ndarray:
        """Copy some of the voxels."""
        starts = [own.index(wanted[0]) if wanted else 0 for wanted, own in zip(axes, self.axes, strict=True)]
        where = tuple(slice(start, start + len(wanted)) for start, wanted in zip(starts, axes, strict=True))
        return self.values[where].copy()


class GrowingArray:
    """The highest resolution of an unfinished store; several threads may use it.

    Parameters
    ----------
    path
        The store's folder.
    finished
        The regions that are already written.
    final
        The store's folder when it is finished. Whoever finishes it, perhaps another process, renames it.
    """

    def __init__(self, path: Path, finished: Sequence[tuple[slice, ...]], final: Path | None = None) -> None:
        self._path, self._final = path, final
        self._array = _opened(path)
        self.shape: tuple[int, ...] = tuple(self._array.shape)
        self._finished: set[Chunk] = set()
        for region in finished:
            self._finished.update(self._chunks(region))
        self._boxes: list[_Box] = []
        self._lock = threading.Lock()

    def add(self, region: tuple[slice, ...]) -> bool:
        """Note a region as written; return True if this changes voxels that were shown lately."""
        chunks = list(self._chunks(region))
        changed = False
        with self._lock:
            self._finished.update(chunks)
            boxes = list(self._boxes)
            for box in boxes:
                box.todo.update(dict.fromkeys(chunks))
        for box in boxes:
            changed |= self._fill(box, None)
        return changed

    @property
    def behind(self) -> bool:
        """True if voxels that were shown lately are written and not yet read."""
        with self._lock:
            return any(box.todo for box in self._boxes)

    def read(self, axes: Axes, whole: Axes, exact: bool) -> np.ndarray:
        """Read voxels; those that are not written yet are NaN.

        Parameters
        ----------
        axes
            Indices along each axis.
        whole
            All indices of this resolution.
        exact
            True to wait for all written voxels, however long it takes.
        """
        with self._lock:
            box = next((box for box in self._boxes if box.covers(axes)), None)
            if box is None:
                box = self._new(_widened(axes, whole))
            self._boxes = [kept for kept in self._boxes if kept is not box]
            if box.values.nbytes <= _KEPT_BYTES:
                self._boxes.append(box)
            while sum(kept.values.nbytes for kept in self._boxes) > _KEPT_BYTES:
                self._boxes.pop(0)
        self._fill(box, None if exact else _READ_SECONDS)
        with self._lock:
            return box.part(axes)

    def sample(self, region: tuple[slice, ...], most: int = 4) -> np.ndarray:
        """Return some of the values of a written region."""
        chunks = list(self._chunks(region))
        step = max(1, len(chunks) // most)
        parts = [np.asarray(self._array[self._slices(chunk)]) for chunk in chunks[step // 2 :: step][:most]]
        return np.concatenate([part.reshape(-1)[:: max(1, part.size // 50_000)] for part in parts])

    def _new(self, axes: Axes) -> _Box:
        values = np.full([len(axis) for axis in axes], np.nan, np.float32)
        touched = [
            sorted({index // size for index in _ends(axis, size)})
            for axis, size in zip(axes, self._array.chunks, strict=True)
        ]
        every = itertools.product(*touched) if values.size else ()
        return _Box(axes, values, dict.fromkeys(chunk for chunk in every if chunk in self._finished))

    def _fill(self, box: _Box, seconds: float | None) -> bool:
        """Read the missing voxels of a box; return True if there were any."""
        end = None if seconds is None else time.monotonic() + seconds
        changed = False
        while True:
            with self._lock:
                chunk = next(iter(box.todo), None)
                if chunk is None:
                    return changed
                del box.todo[chunk]
            parts = self._common(box.axes, chunk)
            if parts is not None:
                here, there = parts
                self._follow()
                values = np.asarray(self._array[there])
                with self._lock:
                    box.values[here] = values
                changed = True
                if end is not None and time.monotonic() > end:
                    return changed

    def _follow(self) -> None:
        """Read from the final folder once the store has been renamed; the old one would give NaN."""
        if self._final is not None and not self._path.exists() and self._final.exists():
            self._array, self._path = _opened(self._final), self._final

    def _common(self, axes: Axes, chunk: Chunk) -> tuple[tuple[slice, ...], tuple[slice, ...]] | None:
        """Return the common part of a chunk and a box, in the box and in the store; None if there is none."""
        here, there = [], []
        for axis, part in zip(axes, self._slices(chunk), strict=True):
            first = max(0, -(-(part.start - axis.start) // axis.step))
            stop = min(len(axis), -(-(part.stop - axis.start) // axis.step))
            if first >= stop:
                return None
            here.append(slice(first, stop))
            there.append(slice(axis[first], axis[stop - 1] + 1, axis.step))
        return tuple(here), tuple(there)

    def _slices(self, chunk: Chunk) -> tuple[slice, ...]:
        return tuple(
            slice(index * size, min((index + 1) * size, whole))
            for index, size, whole in zip(chunk, self._array.chunks, self.shape, strict=True)
        )

    def _chunks(self, region: tuple[slice, ...]) -> Iterator[Chunk]:
        """List the chunks of a region, which consists of whole chunks."""
        return itertools.product(
            *(
                range(part.start // size, -(-part.stop // size))
                for part, size in zip(region, self._array.chunks, strict=True)
            )
        )


class GrowingLevel:
    """One resolution of a growing store, or a part of it: an array that is read when it is shown.

    A lower resolution has every n-th voxel of the highest.

    Parameters
    ----------
    store
        The store.
    factors
        The n of each axis.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, store: GrowingArray, factors: Sequence[int]) -> None:
        self._store = store
        self._whole = tuple(
            range(0, size // factor * factor, factor)
            for size, factor in zip(store.shape, factors, strict=True)
        )
        self._exact = all(factor == 1 for factor in factors)
        self._axes: tuple[range | int, ...] = self._whole

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(len(axis) for axis in self._axes if isinstance(axis, range))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def behind(self) -> bool:
        """True if voxels that were shown lately are written and not yet read."""
        return self._store.behind

    @property
    def size(self) -> int:
        """Number of voxels."""
        return int(np.prod(self.shape, dtype=int))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        entries = list(index) if isinstance(index, tuple) else [index]
        if not all(entry is Ellipsis or isinstance(entry, int | np.integer | slice) for entry in entries):
            return np.asarray(self)[index]
        given = sum(entry is not Ellipsis for entry in entries)
        if given > self.ndim:
            raise IndexError(f"{given} indices for an array of {self.ndim} axes")
        if Ellipsis not in entries:
            entries.append(Ellipsis)
        at = entries.index(Ellipsis)
        entries[at : at + 1] = [slice(None)] * (self.ndim - given)
        remaining = iter(entries)
        part = object.__new__(GrowingLevel)
        part._store, part._whole, part._exact = self._store, self._whole, self._exact
        part._axes = tuple(axis[next(remaining)] if isinstance(axis, range) else axis for axis in self._axes)
        return part

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        # The store is read forwards; a reversed axis is turned here.
        turned = [axis.step < 0 if isinstance(axis, range) else False for axis in self._axes]
        axes = tuple(
            range(axis, axis + 1) if isinstance(axis, int) else axis[::-1] if back else axis
            for axis, back in zip(self._axes, turned, strict=True)
        )
        values = self._store.read(axes, self._whole, self._exact)
        picked = tuple(
            0 if isinstance(axis, int) else slice(None, None, -1) if back else slice(None)
            for axis, back in zip(self._axes, turned, strict=True)
        )
        return np.asarray(values[picked], dtype)


def _widened(axes: Axes, whole: Axes) -> Axes:
    """Widen the indices to whole planes or volumes, if these are not too large."""
    wide = tuple(
        every if len(axis) > 1 and axis.step == every.step else axis
        for axis, every in zip(axes, whole, strict=True)
    )
    return wide if 4 * int(np.prod([len(axis) for axis in wide], dtype=float)) <= _WHOLE_BYTES else axes


def _ends(axis: range, size: int) -> range:
    """Return indices with at least one in each chunk that an axis touches."""
    if not axis:
        return axis
    if axis.step >= size:
        return axis
    return range(axis[0] // size * size, axis[-1] + 1, size)


def _opened(path: Path) -> Any:
    # Loading zarr takes a second; the panel loads this module when it opens.
    from napari_lucyd.io.zarr import open_zarr

    return open_zarr(path)
