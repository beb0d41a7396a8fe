"""Half-open ranges of indices along one axis."""

from __future__ import annotations

from typing import NamedTuple


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
