"""Spatial axes, and half-open ranges of indices along them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SPATIAL = "ZYX"
"""Names of the spatial axes, in order."""


class Span(NamedTuple):
    """The indices from ``start`` to ``stop`` along one axis; ``stop`` itself is not included."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of indices."""
        return self.stop - self.start

    @property
    def slice(self) -> slice:
        """The span as a slice."""
        return slice(self.start, self.stop)


def floor_to(index: int, multiple: int) -> int:
    """Round ``index`` down to a multiple."""
    return index - index % multiple


def ceil_to(index: int, multiple: int) -> int:
    """Round ``index`` up to a multiple."""
    return index + -index % multiple


def spatial_axes(dimension: int) -> str:
    """Return the names of the last spatial axes: ``"ZYX"`` for 3, ``"YX"`` for 2."""
    return SPATIAL[-dimension:]


def within(spans: Sequence[Span], outer: Sequence[Span]) -> tuple[slice, ...]:
    """Return the slices of a part in an array that begins where ``outer`` does."""
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(spans, outer, strict=True))
