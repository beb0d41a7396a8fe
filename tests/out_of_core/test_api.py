"""Runs into OME-Zarr: exact, resumed, on a cluster, and refused with clear reasons."""

from __future__ import annotations

import copy
import errno
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import napari_lucyd as nl
from napari_lucyd.cli import app
from napari_lucyd.deconvolution import Cancelled
from napari_lucyd.io import ImageFileError, read_image, write_image
from napari_lucyd.io import zarr as zarr_io
from napari_lucyd.out_of_core import StoreError, deconvolve_to_zarr, partial_path, plan_to_zarr
from napari_lucyd.out_of_core import executors as store_workers
from napari_lucyd.out_of_core import job as store_job
from napari_lucyd.out_of_core import region_task as store_task
from napari_lucyd.out_of_core.journal import Journal, remove_traces
from napari_lucyd.out_of_core.regions import regions, task_shape


@pytest.fixture
def series() -> np.ndarray:
    """Six time points: six tasks, because a chunk holds one."""
    return np.random.default_rng(0).random((6, 4, 12, 10), dtype=np.float32)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(zarr_io, "_CHUNK", {"T": 1, "C": 1, "Z": 8, "Y": 16, "X": 16})


@pytest.fixture
def to_zarr(random_model):
    return partial(deconvolve_to_zarr, model=random_model, device="cpu")


def stored(path) -> np.ndarray:
    return zarr.open_group(path, mode="r")["0"][...]


def run_until(job, tasks: int) -> None:
    """Cancel after this number of tasks."""
    done: list[object] = []
    steps = job.steps(lambda: len(done) >= tasks)
    with pytest.raises(Cancelled):
        done.extend(steps)
    assert len(done) == tasks


sizes = st.integers(1, 100)


@given(st.lists(st.tuples(sizes, sizes, sizes), min_size=1, max_size=3))
def test_tasks_cover_the_store_once_in_whole_units(axes):
    shape, unit, tile = zip(*axes, strict=True)
    task = task_shape(unit, tile, shape)
    seen = np.zeros(shape, dtype=int) if math.prod(shape) < 10**6 else None
    for region in regions(shape, task):
        for part, step, whole in zip(region, unit, shape, strict=True):
            assert part.start % step == 0 and (part.stop % step == 0 or part.stop == whole)
        if seen is not None:
            seen[region] += 1
    assert seen is None or (seen == 1).all()
    for size, step, wanted, whole in zip(task, unit, tile, shape, strict=True):
        assert size <= max(step, wanted, min(step, whole)) or size == whole


@pytest.mark.parametrize(
    ("shape", "axes", "outputs"),
    [
        ((20, 40, 35), "ZYX", ("output", "correction_mask", "update_term")),
        ((2, 3, 9, 17, 21), "TCZYX", ("update_term",)),
        ((33, 18), "YX", ("output",)),
    ],
)
def test_store_holds_what_the_engine_gives(
    shape, axes, outputs, random_model, to_zarr, small_chunks, tmp_path
):
    image = np.random.default_rng(1).random(shape, dtype=np.float32)
    out = {part: tmp_path / f"{part}.ome.zarr" for part in outputs}
    options = {"tile_shape": (8, 16, 16)[-3:], "axes": axes}
    paths = to_zarr(image, out=out, **options)
    result = nl.deconvolve(image, random_model, device="cpu", outputs=outputs, **options)
    assert list(paths) == list(outputs) and sorted(tmp_path.iterdir()) == sorted(paths.values())
    span = np.ptp(result.output) if result.output is not None else 1
    for part, path in paths.items():
        np.testing.assert_allclose(stored(path), getattr(result, part), rtol=0, atol=1e-5 * span)
        found = read_image(path).metadata
        assert found["shows"] == part and found["recipe"]["complete"]
        assert found["recipe"]["normalization"] == result.recipe["normalization"]


def test_planes_of_a_stack_for_a_model_of_planes(random_model_2d, small_chunks, tmp_path):
    image = np.random.default_rng(1).random((11, 20, 18), dtype=np.float32)
    out = tmp_path / "a.ome.zarr"
    deconvolve_to_zarr(image, random_model_2d, out, device="cpu", axes="ZYX")
    expected = nl.deconvolve(image, random_model_2d, device="cpu", axes="ZYX").output
    np.testing.assert_allclose(stored(out), expected, rtol=0, atol=1e-5 * np.ptp(expected))


def test_a_region_is_just_what_the_whole_has_there(random_model, to_zarr, small_chunks, tmp_path):
    image = np.random.default_rng(1).random((20, 40, 35), dtype=np.float32)
    region = (slice(3, 18), slice(5, 38), slice(1, 34))
    to_zarr(image, out=tmp_path / "a.ome.zarr", region=region, tile_shape=(8, 16, 16))
    expected = nl.deconvolve(image, random_model, device="cpu").output
    np.testing.assert_allclose(
        stored(tmp_path / "a.ome.zarr"), expected[region], rtol=0, atol=1e-5 * np.ptp(expected)
    )


def test_a_classical_method_goes_volume_by_volume(series, tmp_path):
    psf = np.ones((3, 3, 3), np.float32) / 27
    method = nl.RichardsonLucy(psf, num_iter=3)
    deconvolve_to_zarr(series, method, tmp_path / "a.ome.zarr", device="cpu", axes="TZYX")
    expected = nl.deconvolve(series, method, device="cpu", axes="TZYX")
    np.testing.assert_array_equal(stored(tmp_path / "a.ome.zarr"), expected.output)
    assert read_image(tmp_path / "a.ome.zarr").metadata["recipe"]["method"]["name"] == "richardson-lucy"


def test_many_chunks_are_kept_in_shards(random_model, to_zarr, small_chunks, monkeypatch, tmp_path):
    monkeypatch.setattr(zarr_io, "_FILES", 4)
    image = np.random.default_rng(1).random((30, 50, 35), dtype=np.float32)
    to_zarr(image, out=tmp_path / "a.ome.zarr", tile_shape=(8, 16, 16))
    array = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")["0"]
    assert array.shards == tuple(2 * chunk for chunk in array.chunks)
    expected = nl.deconvolve(image, random_model, device="cpu").output
    np.testing.assert_allclose(array[...], expected, rtol=0, atol=1e-5 * np.ptp(expected))
    np.testing.assert_array_equal(read_image(tmp_path / "a.ome.zarr").data, array[...])


def test_what_was_stopped_goes_on_and_ends_as_if_it_had_not_been(series, to_zarr, random_model, tmp_path):
    plain, out = tmp_path / "plain.ome.zarr", tmp_path / "out.ome.zarr"
    to_zarr(series, out=plain, axes="TZYX")
    plan = partial(plan_to_zarr, series, random_model, out, axes="TZYX", device="cpu")
    run_until(plan(), 2)
    assert not out.exists()
    unfinished = stored(partial_path(out))
    np.testing.assert_array_equal(unfinished[:2], stored(plain)[:2])
    assert np.isnan(unfinished[2:]).all()
    run_until(plan(), 1)
    job = plan()
    steps = list(job.steps())
    assert job.resumed == 3 and [step.done for step in steps][:3] == [4, 5, 6]
    np.testing.assert_array_equal(stored(out), stored(plain))
    assert not partial_path(out).exists()
    assert read_image(out).metadata["recipe"] == read_image(plain).metadata["recipe"]
    assert not [name for name in os.listdir(out) if name.startswith("lucyd")]


def test_a_run_tells_on_request_how_much_of_a_task_is_done(series, tmp_path):
    method = nl.RichardsonLucy(np.ones((1, 3, 3)), num_iter=5)

    def plan(name):
        return plan_to_zarr(series[0], method, tmp_path / name, axes="ZYX", device="cpu")

    assert [(step.done, step.share) for step in plan("a.zarr").steps()] == [(1, None), (1, None)]
    *told, done, lower = plan("b.zarr").steps(within=True)
    assert [step.share for step in told] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert {(step.done, step.total) for step in told} == {(0, 1)}
    assert all(step.seconds_left is not None for step in told)
    assert (done.done, done.share, lower.share) == (1, None, None)


@pytest.mark.parametrize("region", [None, (slice(1, 4), slice(2, 12), slice(0, 9))])
def test_several_parts_are_finished_together(series, random_model, region, tmp_path):
    outputs = ("output", "correction_mask")
    plan = partial(plan_to_zarr, series, random_model, tmp_path / "a.zarr", axes="TZYX", region=region)
    run_until(plan(outputs=outputs, device="cpu"), 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.zarr.partial",
        "a_correction_mask.zarr.partial",
    ]
    for _ in plan(outputs=outputs, device="cpu").steps():
        pass
    expected = nl.deconvolve(series, random_model, device="cpu", axes="TZYX", region=region, outputs=outputs)
    np.testing.assert_array_equal(stored(tmp_path / "a_correction_mask.zarr"), expected.correction_mask)
    np.testing.assert_array_equal(stored(tmp_path / "a.zarr"), expected.output)


SLOW_RUN = """
import sys, time
import numpy as np
import napari_lucyd as nl
from napari_lucyd.out_of_core import plan_to_zarr

model, out = sys.argv[1:]
series = np.random.default_rng(0).random((30, 4, 12, 10), dtype=np.float32)
for step in plan_to_zarr(series, nl.load_model(model), out, axes="TZYX", device="cpu").steps():
    time.sleep(0.1)
"""


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(random_model, tmp_path):
    """This holds even if the last line of the journal is cut in half."""
    weights = nl.save_model(
        tmp_path / "model.safetensors", random_model.network, normalization={"method": "minmax"}
    )
    out, ledger = tmp_path / "out.ome.zarr", tmp_path / "out.ome.zarr.partial" / "lucyd-finished.jsonl"
    process = subprocess.Popen([sys.executable, "-c", SLOW_RUN, str(weights), str(out)])
    try:
        deadline = time.monotonic() + 120
        while not (ledger.exists() and ledger.read_text().count("\n") >= 3):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    with ledger.open("r+") as file:
        file.truncate(ledger.stat().st_size - 5)
    series = np.random.default_rng(0).random((30, 4, 12, 10), dtype=np.float32)
    model = nl.load_model(weights)
    job = plan_to_zarr(series, model, out, axes="TZYX", device="cpu")
    for _ in job.steps():
        pass
    assert 2 <= job.resumed < 30
    plain = tmp_path / "plain.ome.zarr"
    deconvolve_to_zarr(series, model, plain, axes="TZYX", device="cpu")
    np.testing.assert_array_equal(stored(out), stored(plain))


def test_an_unfinished_store_of_another_run_is_not_gone_on_with(series, random_model, tmp_path):
    out = tmp_path / "out.ome.zarr"
    run_until(plan_to_zarr(series, random_model, out, axes="TZYX", device="cpu"), 2)
    kept = stored(partial_path(out))
    brighter = series + 1
    for volume, options, word in (
        (series, {"halo": 4}, "halo"),
        (series, {"normalization": "percentile"}, "normalization"),
        (brighter, {}, "the image's voxels"),
    ):
        job = plan_to_zarr(volume, random_model, out, axes="TZYX", device="cpu", **options)
        with pytest.raises(StoreError, match=f"other settings.*{word}"):
            next(job.steps())
    np.testing.assert_array_equal(stored(partial_path(out)), kept)
    deconvolve_to_zarr(brighter, random_model, out, axes="TZYX", device="cpu", overwrite=True)
    np.testing.assert_array_equal(
        stored(out), nl.deconvolve(brighter, random_model, device="cpu", axes="TZYX").output
    )


def test_an_unfinished_store_is_not_lost_to_a_run_of_more_parts(series, random_model, tmp_path):
    out = tmp_path / "out.ome.zarr"
    plan = partial(plan_to_zarr, series, random_model, out, axes="TZYX", device="cpu")
    run_until(plan(), 3)
    kept = stored(partial_path(out))
    more = plan(outputs=("output", "update_term"))
    with pytest.raises(StoreError, match="other settings: outputs"):
        next(more.steps())
    np.testing.assert_array_equal(stored(partial_path(out)), kept)
    assert len(list(plan().steps())) > 0 and out.exists()


def test_a_folder_of_the_users_is_left_alone(series, to_zarr, tmp_path):
    folder = tmp_path / "out.ome.zarr.partial"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="not an unfinished result of napari-lucyd"):
        to_zarr(series, out=tmp_path / "out.ome.zarr", axes="TZYX", overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"


def test_results_are_replaced_only_when_allowed_and_only_at_the_end(series, to_zarr, random_model, tmp_path):
    out = tmp_path / "out.ome.zarr"
    to_zarr(series, out=out, axes="TZYX")
    before = stored(out)
    with pytest.raises(StoreError, match="exists already"):
        to_zarr(series, out=out, axes="TZYX")
    brighter = series**2
    run_until(plan_to_zarr(brighter, random_model, out, axes="TZYX", device="cpu", overwrite=True), 3)
    np.testing.assert_array_equal(stored(out), before)
    to_zarr(brighter, out=out, axes="TZYX", overwrite=True)
    assert not np.array_equal(stored(out), before)
    assert [path.name for path in tmp_path.iterdir()] == ["out.ome.zarr"]
    folder = tmp_path / "folder.zarr"
    folder.mkdir()
    with pytest.raises(StoreError, match="not a Zarr folder with one image"):
        to_zarr(series, out=folder, axes="TZYX", overwrite=True)


def test_folders_beside_a_result_are_left_alone(series, to_zarr, tmp_path):
    out, copy = tmp_path / "out.ome.zarr", tmp_path / "out.ome.zarr.old"
    to_zarr(series, out=out, axes="TZYX")
    out.rename(copy)
    to_zarr(series, out=out, axes="TZYX")
    to_zarr(series, out=out, axes="TZYX", overwrite=True)
    assert sorted(tmp_path.iterdir()) == [out, copy]
    np.testing.assert_array_equal(stored(copy), stored(out))


def test_what_holds_other_images_or_the_image_itself_is_not_replaced(series, to_zarr, tmp_path):
    group = tmp_path / "several.zarr"
    zarr.create_group(group)
    source = group / "one.ome.zarr"
    write_image(source, series, axes="TZYX", voxel_size=None, unit=None)
    with pytest.raises(StoreError, match="not a Zarr folder with one image"):
        to_zarr(series, out=group, axes="TZYX", overwrite=True)
    inner = source / "labels.zarr"
    write_image(inner, series, axes="TZYX", voxel_size=None, unit=None)
    for out in (source, inner):
        with pytest.raises(StoreError, match="holds the image itself"):
            to_zarr(inner, out=out, overwrite=True)
    np.testing.assert_array_equal(read_image(inner).data, series)
    assert sorted(path.name for path in tmp_path.iterdir()) == [group.name]


def test_a_link_stays_and_what_it_points_to_is_replaced(series, to_zarr, tmp_path):
    disk, link = tmp_path / "disk", tmp_path / "out.ome.zarr"
    disk.mkdir()
    to_zarr(series, out=disk / "a.ome.zarr", axes="TZYX")
    before = stored(disk / "a.ome.zarr")
    link.symlink_to(disk / "a.ome.zarr")
    to_zarr(series**2, out=link, axes="TZYX", overwrite=True)
    assert link.is_symlink() and not np.array_equal(stored(link), before)
    assert [path.name for path in disk.iterdir()] == ["a.ome.zarr"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "out.ome.zarr"]


def test_every_part_of_a_run_is_held_against_others(series, random_model, tmp_path):
    plan = partial(plan_to_zarr, series, random_model, tmp_path / "a.zarr", axes="TZYX", device="cpu")
    both = ("output", "update_term")
    first = plan(outputs=both).steps()
    next(first)
    one = plan(outputs=("update_term",))
    for other in (one, plan(outputs=("output", "correction_mask"), overwrite=True)):
        with pytest.raises(StoreError, match="another run is writing"):
            next(other.steps())
    first.close()
    kept = stored(tmp_path / "a_update_term.zarr.partial")
    with pytest.raises(StoreError, match="other settings: outputs"):
        next(one.steps())
    np.testing.assert_array_equal(stored(tmp_path / "a_update_term.zarr.partial"), kept)
    assert not (tmp_path / "a_correction_mask.zarr.partial").exists()
    again = plan(outputs=both)
    assert len(list(again.steps())) > 0 and again.resumed == 1


@pytest.mark.parametrize("where", [np.s_[5:14, 60:180, :], np.s_[:, :, 90:120], np.s_[3:7, :, :]])
def test_a_part_of_an_image_that_has_changed_is_noticed(random_model, small_chunks, tmp_path, where):
    image = np.random.default_rng(0).random((20, 240, 240), dtype=np.float32)
    plan = partial(plan_to_zarr, model=random_model, out=tmp_path / "a.zarr", device="cpu")
    run_until(plan(image, tile_shape=(16, 64, 64)), 1)
    changed = image.copy()
    changed[where] *= 0.5
    with pytest.raises(StoreError, match="the image's voxels"):
        next(plan(changed, tile_shape=(16, 64, 64)).steps())


def test_what_tasks_found_is_added_up(series, tmp_path):
    series = series - np.float32(0.25)
    method = nl.RichardsonLucy(np.ones((3, 3, 3), np.float32) / 27, num_iter=3, background=0)
    plan = partial(plan_to_zarr, series, method, tmp_path / "a.ome.zarr", device="cpu", axes="TZYX")
    run_until(plan(), 2)
    job = plan()
    assert len(list(job.steps())) > 0
    expected = nl.deconvolve(series, method, device="cpu", axes="TZYX")
    recipe = read_image(tmp_path / "a.ome.zarr").metadata["recipe"]
    assert expected.recipe["method"]["negative_voxels"] == (series < 0).sum()
    assert recipe["method"] == expected.recipe["method"]
    assert recipe["warnings"] == list(expected.warnings) == job.job.warnings


def test_what_was_said_of_the_image_is_said_again(tmp_path):
    noise = np.random.default_rng(0).random((3, 6, 48, 48), dtype=np.float32)
    plan = partial(plan_to_zarr, noise, nl.load_model("general"), axes="TZYX", device="cpu")
    whole, stopped = tmp_path / "whole.zarr", tmp_path / "stopped.zarr"
    for _ in plan(whole).steps():
        pass
    run_until(plan(stopped), 1)
    for _ in plan(stopped).steps():
        pass
    recipes = [read_image(path).metadata["recipe"] for path in (whole, stopped)]
    assert any("noise" in text for text in recipes[0]["warnings"])
    assert recipes[0]["warnings"] == recipes[1]["warnings"]


def test_two_runs_do_not_write_to_one_store(series, random_model, tmp_path):
    plan = partial(plan_to_zarr, series, random_model, tmp_path / "a.zarr", axes="TZYX", device="cpu")
    first = plan().steps()
    next(first)
    with pytest.raises(StoreError, match="another run is writing"):
        next(plan().steps())
    first.close()
    assert len(list(plan().steps())) > 0


def test_a_disk_too_small_is_told_of_before_the_work(series, random_model, monkeypatch, tmp_path):
    monkeypatch.setattr(store_job.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    monkeypatch.setattr(store_workers, "compute_steps", None)
    job = plan_to_zarr(series, random_model, tmp_path / "a.zarr", axes="TZYX", device="cpu")
    with pytest.raises(StoreError, match="disk are free"):
        next(job.steps())
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_leaves_no_hole(series, to_zarr, random_model, monkeypatch, tmp_path):
    out, whole = tmp_path / "a.zarr", store_task.open_zarr
    writes = []

    class Full:
        def __init__(self, path):
            self.array = whole(path)

        def __setitem__(self, region, values):
            writes.append(region)
            if len(writes) == 3:
                self.array[region[0], slice(0, 2)] = values[:, :2]  # half of it
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.array[region] = values

    monkeypatch.setattr(store_task, "open_zarr", Full)
    with pytest.raises(StoreError, match=r"disk is full.*kept"):
        to_zarr(series, out=out, axes="TZYX")
    monkeypatch.undo()
    assert not out.exists()
    job = plan_to_zarr(series, random_model, out, axes="TZYX", device="cpu")
    assert len(list(job.steps())) > 0 and job.resumed == 2
    np.testing.assert_array_equal(
        stored(out), nl.deconvolve(series, random_model, device="cpu", axes="TZYX").output
    )


@pytest.mark.parametrize(
    ("out", "options", "words"),
    [
        ("missing/a.zarr", {}, "does not exist; create it first"),
        ("a.tif", {}, "ends in .ome.zarr or .zarr"),
        ("a.zarr", {"axes": "ZTYX"}, "needs the order TCZYX"),
        ("a.zarr", {"outputs": ()}, "give at least one of 'output'"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(series, to_zarr, tmp_path, out, options, words):
    with pytest.raises(ValueError, match=words):
        to_zarr(series, out=tmp_path / out, **{"axes": "TZYX", **options})


def test_all_zeros_are_told_of_once(series, random_model, tmp_path):
    network = copy.deepcopy(random_model.network)
    last = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm3d)][-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, -1.0)
    dead = nl.Model.from_network(network, name="dead", normalization={"method": "minmax"})
    job = plan_to_zarr(series, dead, tmp_path / "a.zarr", axes="TZYX", device="cpu")
    for _ in job.steps():
        pass
    assert sum("only zeros" in text for text in job.job.warnings) == 1


def test_lower_resolutions_are_means_in_place(small_chunks, tmp_path):
    image = np.random.default_rng(0).random((2, 9, 70, 45), dtype=np.float32)
    image[0, 0, 0, 0] = np.nan
    image[1, :2, :2, :2] = np.nan
    path = tmp_path / "a.ome.zarr"
    write_image(path, image, axes="CZYX", voxel_size=(0.1, 0.1, 0.1), unit="µm", metadata={"a": 1})
    group = zarr.open_group(path, mode="r")
    (multiscale,) = group.attrs["ome"]["multiscales"]
    shapes = [group[level["path"]].shape for level in multiscale["datasets"]]
    assert shapes == [(2, 9, 70, 45), (2, 4, 35, 22), (2, 2, 17, 11), (2, 1, 8, 5)]
    blocks = image[:, :8, :70, :44].reshape(2, 4, 2, 35, 2, 22, 2)
    lower = group["1"][...]
    assert np.isnan(lower[1, 0, 0, 0]) and np.isnan(lower).sum() == 1
    means = np.nanmean(np.nan_to_num(blocks, nan=0.5), axis=(2, 4, 6))
    means[0, 0, 0, 0] = np.nanmean(blocks[0, 0, :, 0, :, 0, :])
    means[1, 0, 0, 0] = np.nan
    np.testing.assert_allclose(lower, means, rtol=1e-6)
    scale, shift = multiscale["datasets"][2]["coordinateTransformations"]
    np.testing.assert_allclose(scale["scale"], [1, 0.4, 0.4, 0.4])
    np.testing.assert_allclose(shift["translation"], [0, 0.15, 0.15, 0.15])


def test_coarse_planes_are_not_made_coarser_along_z(small_chunks, tmp_path):
    path = tmp_path / "a.ome.zarr"
    image = np.random.default_rng(0).integers(0, 9, (9, 40, 33), dtype=np.uint8)
    write_image(path, image, axes="ZYX", voxel_size=(0.35, 0.1, 0.1), unit="µm")
    group = zarr.open_group(path, mode="r")
    assert [array.shape for _, array in sorted(group.arrays())] == [(9, 40, 33), (9, 20, 16), (9, 10, 8)]
    assert group["1"].dtype == np.uint8


@contextmanager
def cluster(workers: int):
    """Real processes, as on other machines."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=":0",
            memory_limit=None,
            silence_logs=50,
        ) as local,
        distributed.Client(local) as client,
    ):
        yield client


def test_a_cluster_gives_the_same_and_survives_the_loss_of_a_worker(random_model, tmp_path):
    series = np.random.default_rng(0).random((40, 4, 12, 10), dtype=np.float32)
    source, plain, out = (tmp_path / f"{name}.ome.zarr" for name in ("source", "plain", "out"))
    write_image(source, series, axes="TZYX", voxel_size=(0.2, 0.1, 0.1), unit="µm")
    options = {"device": "cpu", "normalization": "percentile", "prefilter": 0.7, "subtract_background": 16}
    deconvolve_to_zarr(source, random_model, plain, **options)
    lost = []

    def lose_one(step):
        if step.done >= 3 and not lost:
            pids = client.run(os.getpid)
            lost.append(next(iter(pids.values())))
            os.kill(lost[0], signal.SIGKILL)

    with cluster(2) as client:
        deconvolve_to_zarr(source, random_model, out, client=client, progress=lose_one, **options)
    assert lost
    np.testing.assert_array_equal(stored(out), stored(plain))
    recipes = [read_image(path).metadata["recipe"] for path in (out, plain)]
    assert recipes[0]["normalization"] == recipes[1]["normalization"]
    assert read_image(out).voxel_size == (0.2, 0.1, 0.1)


def test_tasks_go_to_the_workers_with_a_gpu_alone(series, random_model, tmp_path):
    distributed = pytest.importorskip("distributed")
    usual = {"nthreads": 2, "memory_limit": None, "dashboard_address": ":0"}
    workers = {
        name: {"cls": distributed.Worker, "options": {**usual, "resources": resources}}
        for name, resources in [("plain", {}), ("with-gpu", {"GPU": 1})]
    }
    scheduler = {"cls": distributed.Scheduler, "options": {"dashboard_address": ":0"}}
    with (
        distributed.SpecCluster(workers=workers, scheduler=scheduler, silence_logs=50) as local,
        distributed.Client(local) as client,
    ):
        client.wait_for_workers(2)
        (able,) = [
            address
            for address, worker in client.scheduler_info()["workers"].items()
            if worker["name"] == "with-gpu"
        ]
        with distributed.get_task_stream(client) as stream:
            deconvolve_to_zarr(
                series, random_model, tmp_path / "a.ome.zarr", device="cpu", axes="TZYX", client=client
            )
    tasks = [entry for entry in stream.data if entry["key"].startswith("_call")]
    assert len(tasks) > len(series) and {entry["worker"] for entry in tasks} == {able}
    expected = nl.deconvolve(series, random_model, device="cpu", axes="TZYX").output
    np.testing.assert_allclose(stored(tmp_path / "a.ome.zarr"), expected, atol=1e-5)


def test_statistics_can_be_counted_in_shares(series):
    from napari_lucyd.deconvolution.image.scan import count_parts
    from napari_lucyd.deconvolution.image.source import Source
    from napari_lucyd.deconvolution.statistics.scaling import measure
    from napari_lucyd.models.normalization import Normalization

    series[0, 0, 0, :3] = np.nan
    series[3, 1] = series.max()
    source = Source(series, 3, "TZYX")

    def in_shares(selection, parts):
        for part in parts:
            share = selection.fresh()
            count_parts(source, share, [part])
            selection.merge(share)

    scaling = Normalization("percentile", 3.0, 99.0)
    assert measure(source, scaling, "", None, in_shares) == measure(source, scaling, "")


@pytest.mark.parametrize(
    "wish", [{}, {"subtract_background": 16.0}, {"prefilter": "auto", "subtract_background": 16.0}]
)
def test_a_prepared_image_is_counted_by_the_workers(series, random_model, monkeypatch, wish):
    from functools import partial

    from napari_lucyd.deconvolution.preprocessing.preparation import Preparation
    from napari_lucyd.deconvolution.statistics.measurement import measure_prepared
    from napari_lucyd.deconvolution.statistics.scaling import Normalization
    from napari_lucyd.out_of_core.region_task import TaskContext, count

    setting = TaskContext(series, random_model, {"axes": "TZYX"}, {}, (0, 0, 0, 0))
    counted = []

    def elsewhere(prepared, tally, parts):
        # As workers return it: sent there and back, in any order.
        for part in reversed(parts):
            sent = pickle.loads(pickle.dumps((prepared, tally.fresh(), [part])))
            tally.merge(pickle.loads(pickle.dumps(count(setting, *sent))))
        counted.append(type(tally).__name__)

    take = partial(measure_prepared, setting.source(), Preparation(**wish), Normalization("percentile"), "")
    here, there = take(), take(count=elsewhere)
    assert ("BlockMeans" in counted) == ("subtract_background" in wish) and "StreamingPercentiles" in counted
    assert there.groups == here.groups and there.warnings == here.warnings
    assert there.prepared.sigma == here.prepared.sigma
    for lead, background in here.prepared.backgrounds.items():
        np.testing.assert_array_equal(there.prepared.backgrounds[lead].grid, background.grid)


def lucyd(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_processes_share_the_work_of_the_command(series, random_model, tmp_path):
    pytest.importorskip("distributed")
    weights = nl.save_model(
        tmp_path / "model.safetensors", random_model.network, normalization={"method": "minmax"}
    )
    write_image(tmp_path / "a.tif", series, axes="TZYX", voxel_size=(0.1, 0.1, 0.1), unit="µm")
    command = ("deconvolve", tmp_path / "a.tif", "--model", weights, "--device", "cpu")
    result = lucyd(*command, "-o", tmp_path / "b.ome.zarr", "--jobs", 2, "--intermediates")
    assert result.exit_code == 0, result.output
    expected = nl.deconvolve(series, nl.load_model(weights), device="cpu", axes="TZYX")
    np.testing.assert_allclose(stored(tmp_path / "b.ome.zarr"), expected.output, atol=1e-5)
    np.testing.assert_allclose(
        stored(tmp_path / "b_update_term.ome.zarr"), expected.update_term, rtol=0, atol=1e-5
    )
    result = lucyd(*command, "-o", tmp_path / "b.tif", "--jobs", 2)
    assert result.exit_code == 2 and "OME-Zarr" in result.output
    result = lucyd(*command, "-o", tmp_path / "c.ome.zarr", "--scheduler", "tcp://127.0.0.1:9")
    assert result.exit_code == 1 and "scheduler at tcp://127.0.0.1:9 does not answer" in result.output


@pytest.mark.parametrize(("device", "expected"), [("auto", {"3", "5"}), ("cuda:1", {None})])
def test_each_process_sees_one_gpu_unless_the_run_names_one(device, expected, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(store_workers, "visible_gpus", lambda: ("3", "5"))
    with store_workers.workers_for(2, None, device) as workers:
        found = workers._client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
    assert set(found.values()) == expected


def test_the_command_goes_on_with_what_was_stopped(series, random_model, tmp_path, monkeypatch):
    weights = nl.save_model(
        tmp_path / "model.safetensors", random_model.network, normalization={"method": "minmax"}
    )
    write_image(tmp_path / "a.ome.zarr", series, axes="TZYX", voxel_size=(0.1, 0.1, 0.1), unit="µm")
    command = ("deconvolve", tmp_path / "a.ome.zarr", "--model", weights, "--device", "cpu")
    done = Counter()
    compute = store_workers.compute_steps

    def interrupted(*arguments):
        done["tasks"] += 1
        if done["tasks"] == 3:
            raise KeyboardInterrupt
        return compute(*arguments)

    monkeypatch.setattr(store_workers, "compute_steps", interrupted)
    result = lucyd(*command, "-o", tmp_path / "b.ome.zarr")
    assert result.exit_code == 130 and ".partial" in result.output
    result = lucyd(*command, "-o", tmp_path / "b.ome.zarr")
    assert result.exit_code == 0 and "2 of 6 parts finished earlier" in result.output
    assert done["tasks"] == 3 + 4
    assert not np.isnan(stored(tmp_path / "b.ome.zarr")).any()


def test_no_zarr_of_ours_is_not_written_to(tmp_path):
    zarr.open_group(tmp_path / "a.zarr", mode="w").create_group("0")
    with pytest.raises(ImageFileError, match="not an OME-Zarr image of ours"):
        zarr_io.open_zarr(tmp_path / "a.zarr")


def test_a_plan_that_cannot_be_read_counts_as_none(tmp_path):
    journal = Journal([tmp_path])
    journal.begin({"what": {}})
    journal.close()
    (tmp_path / "lucyd-plan.json").write_text("{")
    journal = Journal([tmp_path])
    assert journal.plans() == [None]
    journal.close()
    remove_traces(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_store_has_the_voxel_size_along_the_axes_of_the_image(random_model_2d, tmp_path):
    plane, stack = np.eye(12, dtype=np.float32), np.ones((3, 12, 12), np.float32)
    run = partial(nl.deconvolve_to_zarr, device="cpu", unit="micrometer")
    run(plane, random_model_2d, tmp_path / "plane.zarr", voxel_size=(3, 2, 1))
    assert read_image(tmp_path / "plane.zarr").voxel_size == (2, 1)
    run(stack, random_model_2d, tmp_path / "planes.zarr", voxel_size=(3, 2, 1), axes="ZYX")
    assert read_image(tmp_path / "planes.zarr").voxel_size == (3, 2, 1)
    with pytest.raises(ValueError, match=r"voxel_size is .2, 1.; give 3 numbers, the steps along Z, Y, X"):
        run(stack, random_model_2d, tmp_path / "no.zarr", voxel_size=(2, 1), axes="ZYX")
