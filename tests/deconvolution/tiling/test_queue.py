"""The order of work."""

from __future__ import annotations

from napari_lucyd.deconvolution.tiling.queue import TileQueue
from napari_lucyd.deconvolution.tiling.tiles import Tile
from napari_lucyd.spans import Span


def voxels(tile):
    return tile.shape[0] * tile.shape[1]


def test_volumes_come_one_after_another_and_every_tile_once():
    tiles = [Tile((Span(0, 4), Span(0, 4))), Tile((Span(0, 4), Span(4, 6)))]
    queue = TileQueue([(0,), (1,)], tiles, voxels)
    assert (queue.total, queue.cost_left) == (4, 48)
    seen, ends, announced, later = [], [], [queue.first], []
    while queue:
        seen.append(queue.first)
        announced.append(queue.ahead(1))
        later.append(queue.ahead(2))
        ends.append(queue.finish())
    assert seen == [((0,), tiles[0]), ((0,), tiles[1]), ((1,), tiles[0]), ((1,), tiles[1])]
    assert announced == [*seen, None]
    assert later == [*seen[2:], None, None]
    assert ends == [False, True, False, True]
    assert (queue.done, queue.cost_left) == (4, 0)


def test_halves_take_the_place_of_the_first_tile():
    tile = Tile((Span(0, 10), Span(0, 20)))
    queue = TileQueue([()], [tile], voxels)
    low, high = queue.halve()
    assert (low.shape, high.shape, queue.total, queue.cost_left) == ((10, 10), (10, 10), 2, 200)
    assert queue.first == ((), low)
    queue.finish()
    assert queue.first == ((), high)


def test_a_small_tile_is_not_halved():
    queue = TileQueue([()], [Tile((Span(0, 8), Span(0, 3)))], voxels)
    assert queue.halve() is None
    assert queue.total == 1
