"""The order of work: volume by volume, tile by tile; tiles may be halved during the run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from napari_lucyd.deconvolution.tiling.tiles import Tile, halve

# Smaller tiles are not halved: they would be nearly all halo.
_SMALLEST_SIDE = 8


class TileQueue:
    """The tiles that are still to be processed.

    Parameters
    ----------
    leads
        Leading indices of the volumes.
    tiles
        Tiles of each volume.
    cost
        Function that returns the voxels of a tile's block.
    multiple
        Tiles are halved at multiples of it.

    Attributes
    ----------
    done, total
        Number of tiles.
    cost_left
        Voxels of all remaining blocks.
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
        """The next volume and tile."""
        return self._leads[0], self._current[0]

    def ahead(self, steps: int) -> tuple[tuple[int, ...], Tile] | None:
        """Return the volume and tile some steps after the first, if no tile is halved before."""
        if steps < len(self._current):
            return self._leads[0], self._current[steps]
        volumes, tile = divmod(steps - len(self._current), len(self._tiles))
        return (self._leads[volumes + 1], self._tiles[tile]) if volumes + 1 < len(self._leads) else None

    def left(self) -> Iterator[tuple[tuple[int, ...], Tile]]:
        """Yield the remaining volumes and tiles, in order."""
        for number, lead in enumerate(self._leads):
            for tile in self._tiles if number else self._current:
                yield lead, tile

    def finish(self) -> bool:
        """Remove the first tile; return True if this finishes its volume."""
        self.cost_left -= self._cost(self._current.popleft())
        self.done += 1
        if self._current:
            return False
        self._leads.popleft()
        self._current = deque(self._tiles)
        return True

    def halve(self) -> tuple[Tile, Tile] | None:
        """Replace the first tile by two halves; return None if it is too small."""
        tile = self._current[0]
        halves = halve(tile, self._multiple) if max(tile.shape) > _SMALLEST_SIDE else None
        if halves is not None:
            self._current.popleft()
            self._current.extendleft(reversed(halves))
            self.cost_left += sum(map(self._cost, halves)) - self._cost(tile)
            self.total += 1
        return halves
