"""Half-open ranges of indices along one axis."""

from __future__ import annotations

from typing import NamedTuple


class Span(NamedTuple):
    """The indices from ``start`` up to, but without, ``stop`` along one axis."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many indices there are."""
        return self.stop - self.start

    @property
    def slice(self) -> slice:
        """The same as a slice."""
        return slice(self.start, self.stop)


def floor_to(index: int, multiple: int) -> int:
    """The largest multiple that is not above ``index``."""
    return index - index % multiple


def ceil_to(index: int, multiple: int) -> int:
    """The smallest multiple that is not below ``index``."""
    return index + -index % multiple
