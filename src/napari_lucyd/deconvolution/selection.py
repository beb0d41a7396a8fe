"""Exact minimum, maximum and percentiles of a stream of values, in a bounded amount of memory.

Values are brought to an unsigned 32-bit key that sorts as they do. A first pass counts the keys by their
upper 16 bits; a second one counts, within the few bins that hold the wanted ranks, by the lower 16 bits: two
tables of 65,536 counts give any order statistic exactly, whatever the number of values and however they are
cut into parts. Integers of up to 16 bits need the first pass only.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd.deconvolution.source import to_float32
from napari_lucyd.deconvolution.tiling import Span

_BINS = 2**16


def sort_key(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """Unsigned integers that are ordered as the (finite) values are.

    The bit pattern of a positive float grows with it, that of a negative one against it: so the sign bit is
    flipped for the former and every bit for the latter.
    """
    bits = np.ascontiguousarray(values).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(0x80000000))


def from_sort_key(key: int) -> float:
    """The float32 that has this key."""
    bits = key & 0x7FFFFFFF if key >> 31 else ~key & 0xFFFFFFFF
    return float(np.array(bits, dtype=np.uint32).view(np.float32))


class Selection:
    """Counts that a stream of parts leaves behind.

    Parameters
    ----------
    dtype
        Of the parts.
    percentages
        The percentiles wanted, 0 to 100; none for just the extremes.

    Examples
    --------
    >>> import numpy as np
    >>> selection = Selection(np.dtype("float32"), (50.0,))
    >>> part = np.array([3, 1, 2, 5], dtype=np.float32)
    >>> selection.add(part)
    >>> if selection.needs_second_pass:
    ...     selection.begin_second_pass()
    ...     selection.add(part)
    >>> selection.percentile(50.0)
    2.5
    """

    def __init__(self, dtype: np.dtype[Any], percentages: tuple[float, ...] = ()) -> None:
        self.percentages = percentages
        self._small = dtype.kind in "biu" and dtype.itemsize <= 2
        self._offset = int(np.iinfo(dtype).min) if self._small and dtype.kind in "iu" else 0
        self._upper = np.zeros(_BINS, dtype=np.int64)
        self._lower: dict[int, npt.NDArray[np.int64]] | None = None  # in the second pass
        self.finite = 0
        self.nans = 0
        self.infinities = 0
        self.minimum = np.inf
        self.maximum = -np.inf
        self.at_maximum = 0
        # Of the values as they came, where float32 cannot tell all of them apart.
        self._wide = dtype.kind in "iuf" and dtype.itemsize > (4 if dtype.kind == "f" else 2)
        self._lowest, self._highest = np.inf, -np.inf

    @property
    def merged(self) -> bool:
        """Whether the values differ, but are one as float32."""
        return self.minimum == self.maximum and self._lowest < self._highest

    @property
    def needs_second_pass(self) -> bool:
        """Whether the parts have to be gone through again for the percentiles."""
        return bool(self.percentages) and not self._small and self.minimum < self.maximum

    def add(self, values: npt.NDArray[Any], spans: Sequence[Span] = ()) -> None:
        """Count one part of the pass that is under way; where it lies makes no difference."""
        if self._lower is not None:
            self._add_again(values, self._lower)
            return
        if self._wide and values.size:
            # In their own type: a float holds no more of an integer than 53 bits. NaN are passed over.
            low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
            self._lowest, self._highest = min(self._lowest, low), max(self._highest, high)
        values = self._finite_values(values, count=True)
        if not values.size:
            return
        self.finite += int(values.size)
        self.minimum = min(self.minimum, float(values.min()))
        maximum = float(values.max())
        if maximum >= self.maximum:
            kept = self.at_maximum if maximum == self.maximum else 0
            self.maximum, self.at_maximum = (
                maximum,
                kept + int(np.count_nonzero(values == values.dtype.type(maximum))),
            )
        if self.percentages:
            index = values.astype(np.int64) - self._offset if self._small else sort_key(values) >> 16
            self._upper += np.bincount(index, minlength=_BINS)

    def begin_second_pass(self) -> None:
        """Say which bins of the first pass have to be looked into; all parts are to be added once more."""
        ranks = {rank for percentage in self.percentages for rank in self._ranks(percentage)[:2]}
        self._lower = {self._bin(rank)[0]: np.zeros(_BINS, dtype=np.int64) for rank in ranks}

    def _add_again(self, values: npt.NDArray[Any], lower: dict[int, npt.NDArray[np.int64]]) -> None:
        keys = sort_key(self._finite_values(values, count=False))
        upper = keys >> 16
        for number, counts in lower.items():
            counts += np.bincount(keys[upper == number] & np.uint32(0xFFFF), minlength=_BINS)

    def emptied(self) -> Selection:
        """A copy that has counted nothing, for the pass that comes next: what it counts can be merged."""
        other = copy.copy(self)
        other._upper = np.zeros_like(self._upper)
        if self._lower is not None:
            other._lower = {number: np.zeros_like(counts) for number, counts in self._lower.items()}
        other.finite = other.nans = other.infinities = other.at_maximum = 0
        other.minimum, other.maximum = np.inf, -np.inf
        other._lowest, other._highest = np.inf, -np.inf
        return other

    def merge(self, other: Selection) -> None:
        """Add what another, begun as a copy of this one, has counted in one pass."""
        self._upper += other._upper
        for number, counts in (other._lower or {}).items():
            assert self._lower is not None
            self._lower[number] += counts
        self.finite += other.finite
        self.nans += other.nans
        self.infinities += other.infinities
        self.minimum = min(self.minimum, other.minimum)
        self._lowest = min(self._lowest, other._lowest)
        self._highest = max(self._highest, other._highest)
        if other.maximum > self.maximum:
            self.maximum, self.at_maximum = other.maximum, other.at_maximum
        elif other.maximum == self.maximum:
            self.at_maximum += other.at_maximum

    def percentile(self, percentage: float) -> float:
        """The percentile, interpolated linearly between ranks as ``numpy.percentile`` has it."""
        if self.minimum == self.maximum:
            return self.minimum
        low, high, fraction = self._ranks(percentage)
        below, above = self._value(low), self._value(high)
        return below + (above - below) * fraction

    def _finite_values(self, part: npt.NDArray[Any], *, count: bool) -> npt.NDArray[Any]:
        if self._small:
            return part.ravel()
        values = to_float32(part).ravel()
        finite = np.isfinite(values)
        if finite.all():
            return values
        if count:
            nans = int(np.count_nonzero(np.isnan(values)))
            self.nans += nans
            self.infinities += values.size - int(np.count_nonzero(finite)) - nans
        return values[finite]

    def _ranks(self, percentage: float) -> tuple[int, int, float]:
        position = percentage / 100 * (self.finite - 1)
        low = min(int(position), self.finite - 1)
        return low, min(low + 1, self.finite - 1), position - low

    def _bin(self, rank: int) -> tuple[int, int]:
        """The bin that holds a rank, and the rank within it."""
        cumulated = np.cumsum(self._upper)
        number = int(np.searchsorted(cumulated, rank, side="right"))
        return number, rank - int(cumulated[number] - self._upper[number])

    def _value(self, rank: int) -> float:
        number, within = self._bin(rank)
        if self._small:
            return float(number + self._offset)
        assert self._lower is not None
        lower = int(np.searchsorted(np.cumsum(self._lower[number]), within, side="right"))
        return from_sort_key(number << 16 | lower)
