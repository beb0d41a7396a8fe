"""Networks that repeat the outermost voxels themselves: blocks end with the volume, and tiles do not show."""

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
def test_the_result_is_that_of_the_volume_alone(models, shape):
    model, volume = models[len(shape)], image(*shape) / 200
    found = deconvolve(volume, model, normalization="none", outputs=("output", "update_term"), device="cpu")
    even = np.pad(volume, [(0, size % 2) for size in shape], mode="edge")
    with torch.inference_mode():
        expected = model.network(torch.from_numpy(even)[None, None])
    inside = (0, 0, *(slice(size) for size in shape))
    for name in ("output", "update_term"):
        wanted = getattr(expected, name)[inside].numpy()
        np.testing.assert_allclose(getattr(found, name), wanted, rtol=0, atol=TOLERANCE * wanted.max())


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


def test_a_volume_is_not_extended(models):
    geometry = Geometry((63, 256, 255), halo=24, ends=True)
    whole = Tile((Span(0, 63), Span(0, 256), Span(0, 255)))
    assert geometry.block(whole) == ((0, 64), (0, 256), (0, 256))
    assert geometry.block(Tile((Span(0, 20), Span(60, 100), Span(250, 255)))) == (
        (0, 44),
        (36, 124),
        (226, 256),
    )
    assert plan(np.zeros((64, 128, 128), np.float32), models[3], device="cpu").tile_shape == (64, 128, 128)


@pytest.mark.parametrize("resampling", [None, Resampling(2.46), Resampling(0.4)])
def test_blocks_of_mirrored_tiles_are_as_large(resampling):
    for size in (24, 61):
        geometry = Geometry((size, 8), 24, resampling, flips=True, ends=True)
        extent = geometry.extent_along(0)
        for start in range(0, size, 7):
            kept = Span(start, min(size, start + 7))
            block, other = (
                geometry.block_along(0, s) for s in (kept, Span(size - kept.stop, size - kept.start))
            )
            assert block.size == other.size
            assert extent.start <= block.start < block.stop <= extent.stop


def test_tiles_are_chosen_by_blocks_that_end_with_the_volume():
    shape = (16, 1024, 1024)
    assert choose_tile_shape(shape, 24, 2**25, extents=shape) == shape
    assert choose_tile_shape(shape, 24, 2**25) != shape
    # A region inside a volume has a halo as before.
    assert choose_tile_shape((16, 64, 64), 24, 2**20, extents=(256,) * 3) == choose_tile_shape(
        (16, 64, 64), 24, 2**20
    )
