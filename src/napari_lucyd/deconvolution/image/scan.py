"""One pass over an image that accumulates numbers, in this process or in others."""

from __future__ import annotations

import math
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
"""A part of one volume: its leading indices and a tile."""


class Accumulator(Protocol):
    """Numbers accumulated over an image; the result does not depend on how parts are shared out."""

    def add(self, values: npt.NDArray[Any], spans: Sequence[Span]) -> None:
        """Add a part, which lies at ``spans`` in its volume."""

    def fresh(self) -> Self:
        """Return an empty copy, which can be merged later."""

    def merge(self, other: Self) -> None:
        """Add the numbers of another accumulator, made by `fresh`, for other parts."""


# Voxels that are counted in one go: some milliseconds of work.
_SHARE_VOXELS = 2**20


Count = Callable[[Any, Sequence[Part]], None]
"""Function that adds parts to an accumulator."""


def count_parts(
    source: Source,
    accumulator: Accumulator,
    parts: Sequence[Part],
    should_stop: Callable[[], bool] | None = None,
) -> None:
    """Add parts to an accumulator in this process, by several threads if the image is in memory.

    Parameters
    ----------
    source
        The image.
    accumulator
        Accumulator for the parts.
    parts
        Parts to add, each once.
    should_stop
        Called between parts; True stops.

    Raises
    ------
    Cancelled
        When ``should_stop`` returns True.
    """
    shares = _shares(parts)
    threads = max(1, min(torch.get_num_threads(), len(shares))) if source.in_memory else 1
    team = ThreadTeam(threads) if threads > 1 else None
    counted: list[Accumulator] = []

    def count(share: Sequence[Part]) -> None:
        own = accumulator.fresh()
        for lead, part in share:
            own.add(source.read(lead, part.spans), part.spans)
        counted.append(own)

    for first in range(0, len(shares), threads):
        if should_stop is not None and should_stop():
            raise Cancelled("Stopped while the image was measured.")
        if team is None:
            count(shares[first])
        else:
            team.run(count, [(share,) for share in shares[first : first + threads]])
        while counted:
            accumulator.merge(counted.pop())


def _shares(parts: Sequence[Part]) -> list[list[Part]]:
    """Put small parts together, because an accumulator for each would take longer than counting."""
    shares: list[list[Part]] = []
    voxels = _SHARE_VOXELS
    for part in parts:
        size = math.prod(part[1].shape)
        if voxels + size > _SHARE_VOXELS:
            shares.append([])
            voxels = 0
        shares[-1].append(part)
        voxels += size
    return shares
