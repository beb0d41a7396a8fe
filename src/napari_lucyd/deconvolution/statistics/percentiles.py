"""Exact minimum, maximum and percentiles of a stream of values, in bounded memory.

The bits of a float, read as an integer, sort in the order of positive values and in the reverse order of
negative ones. A first pass counts the values by their upper 16 bits. A second pass counts by the lower 16
bits, within the few bins that hold the requested ranks. Two tables of 65,536 counts thus yield any order
statistic exactly, for any number of values in any parts. Integers of up to 16 bits need the first pass only.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd.deconvolution.image.source import to_float32
from napari_lucyd.deconvolution.statistics.histogram import NUMBERS, count_lower, count_numbers, count_upper
from napari_lucyd.spans import Span

_SIGN = 2**15  # sign bit of a float, in its upper half
# Number of values counted at once, few enough to stay in a core's cache between steps.
_PIECE = 2**19


def from_sort_key(key: int) -> float:
    """Return the float32 of a sort key.

    The key has the 32 bits of the float, with the sign bit flipped if it is positive, and every bit flipped
    if it is negative.
    """
    bits = key & 0x7FFFFFFF if key >> 31 else ~key & 0xFFFFFFFF
    return float(np.array(bits, dtype=np.uint32).view(np.float32))


class StreamingPercentiles:
    """Exact percentiles of a stream of parts.

    Parameters
    ----------
    dtype
        Data type of the parts.
    percentages
        Requested percentiles, 0 to 100; none for the extremes only.
    moments
        True to find the mean and the standard deviation as well.

    Examples
    --------
    >>> import numpy as np
    >>> selection = StreamingPercentiles(np.dtype("float32"), (50.0,))
    >>> part = np.array([3, 1, 2, 5], dtype=np.float32)
    >>> selection.add(part)
    >>> if selection.needs_second_pass:
    ...     selection.begin_second_pass()
    ...     selection.add(part)
    >>> selection.percentile(50.0)
    2.5
    """

    def __init__(
        self, dtype: np.dtype[Any], percentages: tuple[float, ...] = (), moments: bool = False
    ) -> None:
        self.dtype, self.percentages, self.moments = dtype, percentages, moments
        self._mean, self._squares = 0.0, 0.0  # of the finite values: mean, and sum of squares around it
        self._small = dtype.kind in "biu" and dtype.itemsize <= 2
        self._offset = -_SIGN if self._small and dtype.kind == "i" else 0
        self._upper = np.zeros(NUMBERS, dtype=np.int64)
        self._lower: dict[int, npt.NDArray[np.int64]] | None = None  # in the second pass
        self.finite = 0
        self.nans = 0
        self.infinities = 0
        self.minimum = np.inf
        self.maximum = -np.inf
        self.at_maximum = 0
        # Extremes in the original type, if float32 cannot represent all of its values.
        self._wide = dtype.kind in "iuf" and dtype.itemsize > (4 if dtype.kind == "f" else 2)
        self._lowest, self._highest = np.inf, -np.inf

    @property
    def merged(self) -> bool:
        """True if different values become equal as float32."""
        return self.minimum == self.maximum and self._lowest < self._highest

    @property
    def needs_second_pass(self) -> bool:
        """True if the percentiles need a second pass over the parts."""
        return bool(self.percentages) and not self._small and self.minimum < self.maximum

    def add(self, values: npt.NDArray[Any], spans: Sequence[Span] = ()) -> None:
        """Count a part in the current pass; its position has no effect."""
        flat = values.ravel()
        if self._small:
            self._count_integers(flat)
            return
        count = self._count if self._lower is None else self._count_again
        for start in range(0, flat.size, _PIECE):
            count(flat[start : start + _PIECE])

    def _count_integers(self, values: npt.NDArray[Any]) -> None:
        if self._offset:
            numbers = values.astype(np.int16).view(np.uint16) ^ np.uint16(_SIGN)
        else:
            numbers = np.ascontiguousarray(values, dtype=np.uint16)
        counts = np.zeros(NUMBERS, dtype=np.int64)
        count_numbers(counts, numbers)
        self._upper += counts
        self.finite += int(values.size)
        there = np.flatnonzero(counts)
        if there.size:
            low, high = (float(number + self._offset) for number in there[[0, -1]])
            self._reaches(low, high, int(counts[there[-1]]))

    def _count(self, piece: npt.NDArray[Any]) -> None:
        if self._wide:
            # In the original type, because a float holds only 53 bits of an integer. NaNs are ignored.
            low, high = np.fmin.reduce(piece), np.fmax.reduce(piece)
            self._lowest, self._highest = min(self._lowest, low), max(self._highest, high)
        values = to_float32(piece)
        low, high = values.min(), values.max()
        # NaNs and infinities show in the extremes, so an image without them needs no search.
        if not (math.isfinite(low) and math.isfinite(high)):
            finite, nans = np.isfinite(values), int(np.count_nonzero(np.isnan(values)))
            self.nans += nans
            self.infinities += values.size - int(np.count_nonzero(finite)) - nans
            values = values[finite]
            if not values.size:
                return
            low, high = values.min(), values.max()
        if self.moments:
            mean = float(values.mean(dtype=np.float64))
            squares = float(np.square(values.astype(np.float64) - mean).sum())
            self._add_moments(int(values.size), mean, squares)
        self.finite += int(values.size)
        at_high = int(np.count_nonzero(values == high)) if high >= self.maximum else 0
        self._reaches(float(low), float(high), at_high)
        if self.percentages:
            self._keep(values)

    def _add_moments(self, count: int, mean: float, squares: float) -> None:
        """Combine the moments so far, of `finite` values, with those of ``count`` others."""
        total = self.finite + count
        if not total:
            return
        apart = mean - self._mean
        self._mean += apart * count / total
        self._squares += squares + apart**2 * self.finite * count / total

    def mean_and_deviation(self) -> tuple[float, float]:
        """Return the mean and the standard deviation of the finite values, if ``moments`` is True."""
        if not self._small:
            return self._mean, math.sqrt(self._squares / self.finite)
        numbers = np.arange(NUMBERS, dtype=np.float64) + self._offset
        mean = float(numbers @ self._upper) / self.finite
        return mean, math.sqrt(float(np.square(numbers - mean) @ self._upper) / self.finite)

    def _keep(self, values: npt.NDArray[np.float32]) -> None:
        """Keep finite values, in the first pass."""
        count_upper(self._upper, values)

    def _reaches(self, low: float, high: float, at_high: int) -> None:
        """Extend the extremes to ``low`` and ``high``; ``at_high`` values equal ``high``."""
        self.minimum = min(self.minimum, low)
        if high >= self.maximum:
            kept = self.at_maximum if high == self.maximum else 0
            self.maximum, self.at_maximum = high, kept + at_high

    def _in_order(self) -> npt.NDArray[np.int64]:
        """Return the counts of the first pass in the order of the values."""
        if self._small:
            return self._upper
        return np.concatenate([self._upper[: _SIGN - 1 : -1], self._upper[:_SIGN]])

    def begin_second_pass(self) -> None:
        """Select the bins for the second pass, in which all parts must be added again."""
        ranks = {rank for percentage in self.percentages for rank in self._ranks(percentage)[:2]}
        self._lower = {self._bin(rank)[0]: np.zeros(NUMBERS, dtype=np.int64) for rank in ranks}

    def _count_again(self, piece: npt.NDArray[Any]) -> None:
        assert self._lower is not None
        values = to_float32(piece)
        for number, counts in self._lower.items():
            count_lower(counts, values, number - _SIGN if number >= _SIGN else NUMBERS - 1 - number)

    def fresh(self) -> StreamingPercentiles:
        """Return an empty copy for the current pass, which can be merged later."""
        other = copy.copy(self)
        other._upper = np.zeros_like(self._upper)
        if self._lower is not None:
            other._lower = {number: np.zeros_like(counts) for number, counts in self._lower.items()}
        other.finite = other.nans = other.infinities = other.at_maximum = 0
        other.minimum, other.maximum = np.inf, -np.inf
        other._mean = other._squares = 0.0
        other._lowest, other._highest = np.inf, -np.inf
        return other

    def merge(self, other: StreamingPercentiles) -> None:
        """Add the counts of another accumulator, made by `fresh`, of the same pass."""
        self._upper += other._upper
        for number, counts in (other._lower or {}).items():
            assert self._lower is not None
            self._lower[number] += counts
        self._add_facts(other)

    def _add_facts(self, other: StreamingPercentiles) -> None:
        self._add_moments(other.finite, other._mean, other._squares)
        self.finite += other.finite
        self.nans += other.nans
        self.infinities += other.infinities
        self._reaches(other.minimum, other.maximum, other.at_maximum)
        self._lowest = min(self._lowest, other._lowest)
        self._highest = max(self._highest, other._highest)

    def percentile(self, percentage: float) -> float:
        """Return a percentile, interpolated linearly between ranks like ``numpy.percentile``."""
        if self.minimum == self.maximum:
            return self.minimum
        low, high, fraction = self._ranks(percentage)
        below, above = self._value(low), self._value(high)
        return below + (above - below) * fraction

    def _ranks(self, percentage: float) -> tuple[int, int, float]:
        position = percentage / 100 * (self.finite - 1)
        low = min(int(position), self.finite - 1)
        return low, min(low + 1, self.finite - 1), position - low

    def _bin(self, rank: int) -> tuple[int, int]:
        """Return the bin of a rank, and the rank within it."""
        counts = self._in_order()
        cumulated = np.cumsum(counts)
        number = int(np.searchsorted(cumulated, rank, side="right"))
        return number, rank - int(cumulated[number] - counts[number])

    def _value(self, rank: int) -> float:
        number, within = self._bin(rank)
        if self._small:
            return float(number + self._offset)
        assert self._lower is not None
        counts = self._lower[number]
        # Among negative values, the larger one has the smaller bits.
        in_order = counts if number >= _SIGN else counts[::-1]
        lower = int(np.searchsorted(np.cumsum(in_order), within, side="right"))
        return from_sort_key(number << 16 | lower)


class SortedPercentiles(StreamingPercentiles):
    """The same for few values, which are kept and sorted: filling the tables would take longer.

    Parameters
    ----------
    dtype, percentages, moments
        See `StreamingPercentiles`.
    """

    def __init__(
        self, dtype: np.dtype[Any], percentages: tuple[float, ...] = (), moments: bool = False
    ) -> None:
        super().__init__(dtype, percentages, moments)
        self._small = False
        self._kept: list[npt.NDArray[np.float32]] = []

    @property
    def needs_second_pass(self) -> bool:
        """False."""
        return False

    def fresh(self) -> SortedPercentiles:
        """Return an empty copy, which can be merged later."""
        return SortedPercentiles(self.dtype, self.percentages, self.moments)

    def merge(self, other: StreamingPercentiles) -> None:
        """Add the values of another accumulator, made by `fresh`."""
        assert isinstance(other, SortedPercentiles)
        self._kept += other._kept
        self._add_facts(other)

    def _keep(self, values: npt.NDArray[np.float32]) -> None:
        self._kept.append(values.copy())

    def _value(self, rank: int) -> float:
        if len(self._kept) != 1:
            self._kept = [np.concatenate(self._kept)]
        self._kept[0].sort()
        return float(self._kept[0][rank])
