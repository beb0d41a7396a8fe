"""Unusual properties of an image are named before a run, with the remedy; usual images have none."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lucyd.deconvolution import RichardsonLucy, plan
from napari_lucyd.deconvolution.findings import EMPTY_PLANES, FLASH_FRAME, SPARSE_OBJECTS, kind_of
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.statistics.irregularities import find_flash_frames, find_irregularities
from napari_lucyd.deconvolution.statistics.scaling import measure
from napari_lucyd.errors import Cancelled
from napari_lucyd.models.normalization import Normalization

PERCENTILES = Normalization("percentile", low=1, high=99)
MINMAX = Normalization("minmax")


def noisy(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).poisson(100, shape).astype("uint16")


def found(volume, axes, normalization=MINMAX, separate="C", scaled=True):
    source = Source(volume, 3, axes)
    statistics = measure(source, normalization, separate)
    return {kind_of(each): each for each in find_irregularities(source, statistics, scaled)}


@pytest.mark.parametrize("normalization", [PERCENTILES, MINMAX], ids=str)
def test_usual_images_raise_nothing(normalization):
    movie = noisy(6, 2, 5, 20, 20)
    movie[:, 1] *= 20  # channels may differ
    movie[3:] *= 3  # and time points change
    assert not found(movie, "TCZYX", normalization)


def test_a_flash_is_named_with_its_time_point():
    movie = noisy(12, 2, 5, 20, 20)
    movie[7, 1] = 60000
    text = found(movie, "TCZYX")[FLASH_FRAME]
    assert text.startswith("C 1, T 7 is ") and "--separate TC" in text
    assert FLASH_FRAME not in found(movie, "TCZYX", separate="TC")
    assert FLASH_FRAME not in found(movie, "TCZYX", scaled=False)


def test_flashes_are_found_before_a_measurement_in_a_small_part_of_each_frame():
    movie, read = noisy(40, 300, 400), []
    movie[[3, 9]] = 60000

    class Lazy:
        shape, dtype = movie.shape, movie.dtype

        def __getitem__(self, index):
            part = movie[index]
            read.append(part.size)
            return part

    source = Source(Lazy(), 2, "TYX")
    (text,) = find_flash_frames(source)
    assert text.startswith("T 3, T 9 are up to ")
    assert len(read) == 40 and max(read) == 256 * 256
    with pytest.raises(Cancelled):
        find_flash_frames(source, should_stop=lambda: True)


def test_empty_planes_are_counted_at_both_ends():
    stack = noisy(9, 300, 20)
    stack[:2] = 0
    stack[-1] = 7
    assert found(stack, "ZYX")[EMPTY_PLANES].startswith(
        "The first 2 planes and the last plane of 9 are empty: all their voxels"
    )
    stack[1, 0, 0] = 1  # outside of the patch that is read first
    assert found(stack, "ZYX", scaled=False)[EMPTY_PLANES].startswith(
        "The first plane and the last plane of 9 are"
    )
    stack[-1, 0, :2] = 1, 2
    assert found(stack, "ZYX", scaled=False)[EMPTY_PLANES].startswith(
        "The first plane of 9 is empty: all its voxels"
    )


def test_few_bright_objects_are_named_where_they_set_the_scale_or_lie_above_it():
    stack = noisy(9, 40, 40)
    stack[4, 20, 20:22] = 60000
    assert "normalization='percentile'" in found(stack, "ZYX")[SPARSE_OBJECTS]
    assert "normalization='minmax'" in found(stack, "ZYX", PERCENTILES)[SPARSE_OBJECTS]


def test_jobs_tell_it_before_their_first_step(random_model):
    movie = noisy(4, 5, 12, 12)
    movie[1], movie[:, -1] = 60000, 0
    kinds = []
    for method in (random_model, RichardsonLucy(np.ones((3, 3, 3)), num_iter=1)):
        job = plan(movie, method, axes="TZYX", device="cpu")
        assert not job.warnings or EMPTY_PLANES not in map(kind_of, job.warnings)
        job.measure()
        kinds.append({kind_of(each) for each in job.warnings})
    network, classical = kinds
    assert network >= {FLASH_FRAME, EMPTY_PLANES}
    assert FLASH_FRAME not in classical and EMPTY_PLANES in classical
