"""The order of work: one volume after another, one tile after another, and tiles that are cut on the way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from napari_lucyd.deconvolution.tiling.tiles import Tile, halve

# A tile no longer than this is not cut any further: it would be nearly all halo.
_SMALLEST_SIDE = 8


class TileQueue:
    """What is still to be done.

    Parameters
    ----------
    leads
        Leading indices of the volumes.
    tiles
        Of each volume.
    cost
        Voxels of a tile's block.
    multiple
        Tiles are cut at multiples of it.

    Attributes
    ----------
    done, total
        Tiles.
    cost_left
        Voxels of all blocks that are still to come.
    """

    def __init__(
        self,
        leads: Iterable[tuple[int, ...]],
        tiles: Sequence[Tile],
        cost: Callable[[Tile], int],
        multiple: int = 2,
    ) -> None:
        self._leads = deque(leads)
        self._tiles = tuple(tiles)
        self._current = deque(self._tiles)
        self._cost = cost
        self._multiple = multiple
        self.done = 0
        self.total = len(self._leads) * len(self._tiles)
        self.cost_left = len(self._leads) * sum(cost(tile) for tile in self._tiles)

    def __bool__(self) -> bool:
        return bool(self._leads)

    @property
    def first(self) -> tuple[tuple[int, ...], Tile]:
        """The volume and the tile that come next."""
        return self._leads[0], self._current[0]

    def ahead(self, steps: int) -> tuple[tuple[int, ...], Tile] | None:
        """What comes so many steps after the first, if nothing is cut on the way."""
        if steps < len(self._current):
            return self._leads[0], self._current[steps]
        volumes, tile = divmod(steps - len(self._current), len(self._tiles))
        return (self._leads[volumes + 1], self._tiles[tile]) if volumes + 1 < len(self._leads) else None

    def left(self) -> Iterator[tuple[tuple[int, ...], Tile]]:
        """All that is still to be done, in order."""
        for number, lead in enumerate(self._leads):
            for tile in self._tiles if number else self._current:
                yield lead, tile

    def finish(self) -> bool:
        """Strike off the first tile; says whether its volume is finished with it."""
        self.cost_left -= self._cost(self._current.popleft())
        self.done += 1
        if self._current:
            return False
        self._leads.popleft()
        self._current = deque(self._tiles)
        return True

    def halve(self) -> tuple[Tile, Tile] | None:
        """Put two halves in the place of the first tile; None, and nothing done, where it is too small."""
        tile = self._current[0]
        halves = halve(tile, self._multiple) if max(tile.shape) > _SMALLEST_SIDE else None
        if halves is not None:
            self._current.popleft()
            self._current.extendleft(reversed(halves))
            self.cost_left += sum(map(self._cost, halves)) - self._cost(tile)
            self.total += 1
        return halves
