"""Networks that repeat the outermost voxels: blocks end soon after the volume, and tiles leave no seams."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_lucyd.deconvolution import deconvolve, plan
from napari_lucyd.deconvolution.tiling.geometry import Geometry
from napari_lucyd.deconvolution.tiling.resampling import Resampling
from napari_lucyd.deconvolution.tiling.tiles import Tile, choose_tile_shape
from napari_lucyd.models import Model
from napari_lucyd.spans import Span
from random_networks import repeating

ALL = ("output", "correction_mask", "update_term", "intermediate")
# As a share of the range.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def models(random_model, random_model_2d):
    made = {}
    for dimension, model in ((3, random_model), (2, random_model_2d)):
        network = repeating(model.network)
        network.division.epsilon = 1.0  # the division does not amplify rounding
        made[dimension] = Model.from_network(network, name="repeating", normalization={"method": "minmax"})
    return made


def image(*shape):
    return np.random.default_rng(0).random(shape).astype(np.float32) * 200 + 20


def assert_same(result, whole, where=...):
    for name in ALL:
        expected = getattr(whole, name)
        if expected is None:
            continue
        span = max(np.ptp(expected), 1 if name == "update_term" else 200)
        assert np.abs(getattr(result, name) - expected[where]).max() <= TOLERANCE * span, name


@pytest.mark.parametrize("shape", [(1, 6, 5), (13, 20, 7), (41, 52), (3, 2)])
def test_the_result_is_that_of_the_volume_with_two_reflected_voxels(models, shape):
    model, volume = models[len(shape)], image(*shape) / 200
    found = deconvolve(volume, model, normalization="none", outputs=("output", "update_term"), device="cpu")
    around = np.pad(volume, [(2, 2 + size % 2) for size in shape], mode="reflect")
    with torch.inference_mode():
        expected = model.network(torch.from_numpy(around)[None, None])
    inside = (0, 0, *(slice(2, 2 + size) for size in shape))
    for name in ("output", "update_term"):
        wanted = getattr(expected, name)[inside].numpy()
        atol = TOLERANCE * max(1, wanted.max())
        np.testing.assert_allclose(getattr(found, name), wanted, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("shape", "tile", "options"),
    [
        ((95, 70), (16, 22), {}),
        ((61, 45, 31), (20, 24, 16), {}),
        ((61, 14, 13), (19, 14, 14), {"voxel_size": (0.7, 1, 1), "isotropic": True}),
        ((31, 14, 13), (9, 14, 14), {"voxel_size": (2.46, 1, 1)}),
        ((61, 72), (14, 20), {"flips": True}),
    ],
)
def test_tiles_and_regions_equal_the_whole(models, shape, tile, options):
    model, volume = models[len(shape)], image(*shape)
    options |= {"outputs": "output" if "flips" in options else ALL, "device": "cpu"}
    whole = deconvolve(volume, model, **options)
    assert_same(deconvolve(volume, model, tile_shape=tile, **options), whole)
    region = (slice(shape[0] - 9, shape[0]), *(slice(3, 8) for _ in shape[1:]))
    assert_same(deconvolve(volume, model, region=region, **options), whole, region)


def test_blocks_end_soon_after_the_volume(models):
    geometry = Geometry((63, 256, 255), halo=24, border=2)
    whole = Tile((Span(0, 63), Span(0, 256), Span(0, 255)))
    assert geometry.block(whole) == ((-2, 66), (-2, 258), (-2, 258))
    inner = Tile((Span(0, 20), Span(60, 100), Span(250, 255)))
    assert geometry.block(inner) == ((-2, 44), (36, 124), (226, 258))
    assert Geometry((63,), halo=0, border=2).block_along(0, Span(0, 63)) == (0, 64)
    assert plan(np.zeros((64, 128, 128), np.float32), models[3], device="cpu").tile_shape == (64, 128, 128)


@pytest.mark.parametrize("resampling", [None, Resampling(2.46), Resampling(0.4)])
@pytest.mark.parametrize("size", [24, 61])
def test_blocks_of_mirrored_tiles_are_as_large(resampling, size):
    geometry = Geometry((size, 8), 24, resampling, flips=True, border=2)
    extent = geometry.extent_along(0)
    for start in range(0, size, 7):
        kept = Span(start, min(size, start + 7))
        there = Span(size - kept.stop, size - kept.start)
        block, other = (geometry.block_along(0, span) for span in (kept, there))
        assert block.size == other.size
        assert extent.start <= block.start < block.stop <= extent.stop


def test_tiles_are_chosen_by_blocks_that_end_soon_after_the_volume():
    shape, extents = (16, 1024, 1024), (20, 1028, 1028)
    assert choose_tile_shape(shape, 24, 2**25, extents=extents) == shape
    assert choose_tile_shape(shape, 24, 2**25) != shape
    # A region inside a volume has a halo as before.
    region = (16, 64, 64)
    inside = choose_tile_shape(region, 24, 2**20, extents=(256,) * 3)
    assert inside == choose_tile_shape(region, 24, 2**20)
