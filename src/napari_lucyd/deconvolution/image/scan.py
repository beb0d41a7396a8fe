"""Going through an image once to count something: here, or shared out to others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

import numpy.typing as npt
import torch

from napari_lucyd.compute.threads import ThreadTeam
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.tiling.tiles import Tile
from napari_lucyd.errors import Cancelled
from napari_lucyd.spans import Span

Part = tuple[tuple[int, ...], Tile]
"""A part of one volume: its leading indices, and what of it."""


class Accumulator(Protocol):
    """What is counted: it can be counted in shares, in any order, and is the same in the end."""

    def add(self, values: npt.NDArray[Any], spans: Sequence[Span]) -> None:
        """Count a part, which lies at ``spans`` in its volume."""

    def fresh(self) -> Self:
        """A copy that has counted nothing: what it counts can be merged."""

    def merge(self, other: Self) -> None:
        """Add what another, begun as `emptied`, has counted of other parts."""


Count = Callable[[Any, Sequence[Part]], None]
"""Has parts counted into a tally."""


def count_parts(
    source: Source,
    tally: Accumulator,
    parts: Sequence[Part],
    should_stop: Callable[[], bool] | None = None,
) -> None:
    """Count parts in this process: one after another, or by several threads where the image is in memory.

    Parameters
    ----------
    source
        What they are parts of.
    tally
        What they are counted into.
    parts
        Each once.
    should_stop
        Asked between parts.

    Raises
    ------
    Cancelled
        If ``should_stop`` says so.
    """
    threads = max(1, min(torch.get_num_threads(), len(parts))) if source.in_memory else 1
    team = ThreadTeam(threads) if threads > 1 else None
    counted: list[Accumulator] = []

    def count(lead: tuple[int, ...], part: Tile) -> None:
        own = tally.fresh()
        own.add(source.read(lead, part.spans), part.spans)
        counted.append(own)

    for first in range(0, len(parts), threads):
        if should_stop is not None and should_stop():
            raise Cancelled("Stopped while the image was being measured.")
        if team is None:
            count(*parts[first])
        else:
            team.run(count, parts[first : first + threads])
        while counted:
            tally.merge(counted.pop())
