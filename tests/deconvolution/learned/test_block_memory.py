"""Tiles from free memory: a pure function."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lucyd.deconvolution import plan
from napari_lucyd.deconvolution.learned.block_memory import automatic_tile_shape, largest_block, working_bytes
from napari_lucyd.deconvolution.tiling.geometry import Geometry
from napari_lucyd.deconvolution.tiling.resampling import Resampling
from napari_lucyd.deconvolution.tiling.tiles import cut
from napari_lucyd.spans import Span

GIB = 2**30


def tile_for(shape, free, kind="cpu", resampling=None, network="lucyd"):
    geometry = Geometry(shape, 24, resampling, multiple=4 if network == "care" else 2)
    return geometry, automatic_tile_shape(geometry, [Span(0, n) for n in shape], free, kind, network)


@pytest.mark.parametrize("free", [GIB // 2, GIB, 2 * GIB, 8 * GIB])
@pytest.mark.parametrize("shape", [(64, 256, 256), (1, 2048, 2048), (300, 1000, 1001), (2000, 2001)])
@pytest.mark.parametrize(
    ("kind", "network"),
    [
        *((kind, network) for kind in ("cpu", "cuda") for network in ("lucyd", "rln", "care")),
        ("cpu", "lucyd, compiled"),
        ("cpu", "lucyd, compiled, planes"),
    ],
)
def test_the_block_fits_into_the_memory_that_is_free(shape, free, kind, network):
    geometry, tile = tile_for(shape, free, kind, network=network)
    assert all(size % geometry.multiple == 0 for size in tile)
    for part in cut([Span(0, n) for n in shape], tile, geometry.multiple):
        assert working_bytes(geometry.block_voxels(part), network, kind) <= 0.6 * free


def test_more_memory_gives_fewer_tiles_up_to_a_moderate_block_on_the_cpu():
    def count(free, kind):
        geometry, tile = tile_for((300, 600, 600), free, kind)
        return len(list(cut([Span(0, n) for n in geometry.shape], tile)))

    assert count(GIB, "cpu") > count(4 * GIB, "cpu") == count(64 * GIB, "cpu")
    assert count(64 * GIB, "cuda") < count(64 * GIB, "cpu")


def test_without_memory_the_smallest_tile_is_left():
    assert largest_block(0, "cpu", "lucyd") == 0
    assert tile_for((64, 256, 256), 0)[1] == (2, 2, 2)
    assert tile_for((64, 256, 256), 0, network="care")[1] == (4, 4, 4)


@pytest.mark.parametrize("factor", [0.4, 2.46, 6.0])
def test_resampled_blocks_keep_to_the_limit(factor):
    geometry, tile = tile_for((80, 400, 400), 2 * GIB, resampling=Resampling(factor))
    assert tile[0] >= 1
    for part in cut([Span(0, n) for n in geometry.shape], tile):
        # Interpolation takes up to four planes more of the network's grid.
        assert geometry.block_voxels(part) <= 1.15 * largest_block(2 * GIB, "cpu", "lucyd")


def test_a_small_stack_is_one_tile():
    assert tile_for((40, 101, 201), 4 * GIB)[1] == (40, 102, 202)
    assert tile_for((13, 101, 99), 4 * GIB, resampling=Resampling(3.0))[1] == (13, 102, 100)


@pytest.mark.parametrize("voxel_size", [None, (3, 1, 1)])
def test_a_region_that_fits_is_one_tile_wherever_it_starts(voxel_size, random_model):
    image = np.zeros((12, 40, 50), np.float32)
    region = (slice(5, 11), slice(3, 22), slice(15, 49))
    job = plan(image, random_model, region=region, voxel_size=voxel_size, device="cpu")
    assert job.tiles == 1 and job.work == "1 tile of 6 × 19 × 34"
