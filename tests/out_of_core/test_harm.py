"""Runs into OME-Zarr harm nothing: neither the user's files nor finished work, at whichever step they end."""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import zarr

from napari_lucyd.io import ImageFileError, write_image
from napari_lucyd.io import zarr as zarr_io
from napari_lucyd.out_of_core import (
    StoreError,
    chunk_files,
    deconvolve_to_zarr,
    journal,
    partial_path,
    plan_to_zarr,
    publication,
)
from napari_lucyd.out_of_core import job as store_job
from napari_lucyd.out_of_core.journal import Journal

PARTS = ("output", "update_term")


class Death(BaseException):
    """The end of the process, as nothing in the code catches it."""


@pytest.fixture
def series() -> np.ndarray:
    """Four time points: four tasks, because a chunk holds one."""
    return np.random.default_rng(0).random((4, 4, 12, 10), dtype=np.float32)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(zarr_io, "_CHUNK", {"T": 1, "C": 1, "Z": 8, "Y": 16, "X": 16})


@pytest.fixture
def to_zarr(random_model):
    return partial(deconvolve_to_zarr, model=random_model, device="cpu", outputs=PARTS)


def stored(path: Path) -> np.ndarray:
    return zarr.open_group(path, mode="r")["0"][...]


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


RESULTS = {"a.ome.zarr", "a_update_term.ome.zarr"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("step", range(10))
def test_a_death_at_any_step_of_the_publication_loses_nothing(
    step, overwrite, tmp_path, to_zarr, series, monkeypatch
):
    (tmp_path / "whole").mkdir()
    expected = {
        part: stored(path) for part, path in to_zarr(series, out=tmp_path / "whole/a.ome.zarr").items()
    }
    folder = tmp_path / "killed"
    folder.mkdir()
    out = folder / "a.ome.zarr"
    if overwrite:
        to_zarr(series + 1, out=out)
    calls = 0

    def deadly(function, *arguments, **keywords):
        nonlocal calls
        if calls == step:
            raise Death
        calls += 1
        return function(*arguments, **keywords)

    with monkeypatch.context() as patch:
        for owner, name in (
            (Journal, "complete"),
            (publication, "_put"),
            (publication, "remove"),
            (publication, "remove_traces"),
            (publication, "flush_folder"),
        ):
            patch.setattr(owner, name, partial_method(deadly, getattr(owner, name)))
        with suppress(Death):
            to_zarr(series, out=out, overwrite=overwrite)
    again = plan_to_zarr(
        series, to_zarr.keywords["model"], out, outputs=PARTS, device="cpu", overwrite=overwrite
    )
    # If all was published, nothing is left to do, and an existing result is refused as always.
    with suppress(StoreError):
        list(again.steps())
        assert overwrite or again.resumed == 4
    for part, path in again.destinations.items():
        np.testing.assert_array_equal(stored(path), expected[part])
    assert names(folder) == RESULTS


@pytest.mark.parametrize("step", range(6))
def test_a_death_at_any_step_of_the_beginning_is_no_obstacle(step, tmp_path, to_zarr, series, monkeypatch):
    out, calls = tmp_path / "a.ome.zarr", 0

    def deadly(function, *arguments, **keywords):
        nonlocal calls
        if calls == step:
            raise Death
        calls += 1
        return function(*arguments, **keywords)

    with monkeypatch.context() as patch:
        # Two plans, two folders, two plans once more.
        patch.setattr(journal, "_write", partial_method(deadly, journal._write))
        patch.setattr(store_job, "create_zarr", partial_method(deadly, store_job.create_zarr))
        with pytest.raises(Death):
            to_zarr(series, out=out)
    to_zarr(series, out=out)
    assert names(tmp_path) == RESULTS and not np.isnan(stored(out)).any()


def partial_method(wrapper, function):
    """Wrap a function or method so that each call goes through `wrapper`."""

    def called(*arguments, **keywords):
        return wrapper(function, *arguments, **keywords)

    return called


@pytest.mark.parametrize("name", ["thesis.txt", "..", "../thesis.txt", ".a.ome.zarr.0.old", None, 3])
def test_a_mark_cannot_have_anything_else_removed(name, tmp_path, to_zarr, series, monkeypatch):
    out, mine = tmp_path / "a.ome.zarr", tmp_path / "thesis.txt"
    mine.write_text("years of work")
    with monkeypatch.context() as patch, suppress(Death):
        patch.setattr(publication, "_rename", partial_method(die, publication._rename))
        to_zarr(series, out=out)
    for folder in tmp_path.glob("*.partial"):
        for file in folder.glob("lucyd-*.json"):
            mark = json.loads(file.read_text())
            if "replaced" in mark:
                file.write_text(json.dumps({**mark, "replaced": dict.fromkeys(PARTS, name)}))
    to_zarr(series, out=out)
    assert mine.read_text() == "years of work"
    assert names(tmp_path) == {*RESULTS, "thesis.txt"}


def die(function, *arguments):
    raise Death


def test_a_folder_or_link_with_the_name_of_an_unfinished_result_is_left_alone(tmp_path, to_zarr, series):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    out = tmp_path / "a.ome.zarr"
    partial_path(out).symlink_to(mine)
    with pytest.raises(StoreError, match="not an unfinished result of napari-lucyd"):
        to_zarr(series, out=out, overwrite=True)
    partial_path(out).unlink()
    shutil.copytree(mine, partial_path(out))
    with pytest.raises(StoreError, match="left as it is"):
        to_zarr(series, out=out, overwrite=True)
    assert (
        (mine / "thesis.txt").read_text() == (partial_path(out) / "thesis.txt").read_text() == "years of work"
    )


def test_a_result_that_appears_during_the_run_is_not_replaced(tmp_path, random_model, series):
    out = tmp_path / "a.ome.zarr"
    job = plan_to_zarr(series, random_model, out, device="cpu")
    steps = job.steps()
    next(steps)
    write_image(out, series, axes="TZYX", voxel_size=None, unit=None)
    with pytest.raises(StoreError, match="exists already"):
        list(steps)
    np.testing.assert_array_equal(stored(out), series)
    shutil.rmtree(out)
    resumed = plan_to_zarr(series, random_model, out, device="cpu")
    list(resumed.steps())
    assert resumed.resumed == 4 and not np.isnan(stored(out)).any()


def test_a_second_run_cannot_take_a_result_that_is_being_published(
    tmp_path, random_model, series, monkeypatch
):
    out, seen = tmp_path / "a.ome.zarr", []
    put = publication._put

    def meanwhile(*given):
        with pytest.raises(StoreError) as refused:
            list(plan_to_zarr(series + 1, random_model, out, device="cpu", overwrite=True).steps())
        seen.append(str(refused.value))
        put(*given)

    monkeypatch.setattr(publication, "_put", meanwhile)
    deconvolve_to_zarr(series, random_model, out, device="cpu")
    assert len(seen) == 1 and "another run is writing" in seen[0]


@pytest.mark.parametrize("loss", ["missing", "empty"])
def test_voxels_that_did_not_reach_the_disk_are_computed_again(loss, tmp_path, random_model, series):
    out = tmp_path / "a.ome.zarr"
    job = plan_to_zarr(series, random_model, out, device="cpu")
    steps = job.steps()
    for _ in range(3):
        next(steps)
    steps.close()
    chunk = next(
        iter(chunk_files._files(partial_path(out), (slice(1, 2), slice(0, 4), slice(0, 12), slice(0, 10))))
    )
    chunk.unlink() if loss == "missing" else chunk.write_bytes(b"")
    again = plan_to_zarr(series, random_model, out, device="cpu")
    list(again.steps())
    assert again.resumed == 2 and not np.isnan(stored(out)).any()


def test_findings_that_cannot_be_read_are_found_again(tmp_path, random_model, series):
    out = tmp_path / "a.ome.zarr"
    job = plan_to_zarr(series, random_model, out, device="cpu")
    steps = job.steps()
    for _ in range(2):
        next(steps)
    steps.close()
    finished = partial_path(out) / "lucyd-finished.jsonl"
    finished.write_text('{"task": 0, "iterations": 5}\n{"task": 99}\n{"task": 1, "unknown": 1}\nnonsense\n')
    again = plan_to_zarr(series, random_model, out, device="cpu")
    list(again.steps())
    assert again.resumed == 0 and not np.isnan(stored(out)).any()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("lucyd-plan.json", '"task": [\n  1,', '"task": [\n  -1,'),
        ("lucyd-plan.json", '"tile": [', '"tile": [[],'),
        ("lucyd-plan.json", '"lo": ', '"lo": 7'),
        ("lucyd-plan.json", '"separate": ', '"separate": 5, "was": '),
        ("lucyd-finished.jsonl", '"deviation": ', '"deviation": [], "was": '),
        ("lucyd-finished.jsonl", '{"task": 1', "[" * 100_000 + '\n{"task": 1'),
    ],
)
def test_a_plan_or_journal_with_other_entries_than_were_written_is_not_believed(
    tmp_path, random_model, series, name, old, new
):
    whole, out = tmp_path / "whole.ome.zarr", tmp_path / "a.ome.zarr"
    deconvolve_to_zarr(series, random_model, whole, device="cpu")
    steps = plan_to_zarr(series, random_model, out, device="cpu").steps()
    for _ in range(3):
        next(steps)
    steps.close()
    file = partial_path(out) / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    deconvolve_to_zarr(series, random_model, out, device="cpu")
    np.testing.assert_array_equal(stored(out), stored(whole))


def test_a_journal_of_an_earlier_version_is_believed(tmp_path, random_model, series):
    out = tmp_path / "a.ome.zarr"
    steps = plan_to_zarr(series, random_model, out, device="cpu").steps()
    for _ in range(2):
        next(steps)
    steps.close()
    for file in (partial_path(out) / "lucyd-plan.json", partial_path(out) / "lucyd-finished.jsonl"):
        text, count = re.subn(r',\s*"checksum": "[0-9a-f]{16}"', "", file.read_text())
        assert count > 0
        file.write_text(text)
    again = plan_to_zarr(series, random_model, out, device="cpu")
    list(again.steps())
    assert again.resumed > 0


def test_voxels_are_on_the_disk_before_the_journal_says_so(tmp_path, random_model, series, monkeypatch):
    order = []
    flush, add = chunk_files.os.fsync, Journal.add
    monkeypatch.setattr(chunk_files.os, "fsync", lambda file: (order.append("fsync"), flush(file))[1])
    monkeypatch.setattr(Journal, "add", lambda *given: (order.append("journal"), add(*given))[1])
    deconvolve_to_zarr(series, random_model, tmp_path / "a.ome.zarr", device="cpu")
    for number, event in enumerate(order):
        if event == "journal":
            assert order[number - 1] == "fsync" and order[number + 1] == "fsync"


def test_an_image_that_was_overwritten_is_read_again(tmp_path, random_model, series):
    path = tmp_path / "s.ome.tif"
    results = []
    for image in (series, series[::-1].copy()):
        write_image(path, image, axes="TZYX", voxel_size=None, unit=None, overwrite=True)
        out = tmp_path / f"{len(results)}.ome.zarr"
        deconvolve_to_zarr(path, random_model, out, device="cpu")
        results.append(stored(out))
    np.testing.assert_array_equal(results[1], results[0][::-1])


def test_an_unfinished_result_of_other_arithmetic_is_refused_in_words(
    tmp_path, random_model, series, monkeypatch
):
    out = tmp_path / "a.ome.zarr"
    job = plan_to_zarr(series, random_model, out, device="cpu")
    steps = job.steps()
    next(steps)
    steps.close()
    monkeypatch.setattr("napari_lucyd.out_of_core.fingerprint._ARITHMETIC", 1)
    with pytest.raises(StoreError, match="the version of napari-lucyd"):
        list(plan_to_zarr(series, random_model, out, device="cpu").steps())


def test_workers_of_this_machine_listen_to_this_machine_alone():
    pytest.importorskip("distributed")
    from napari_lucyd.out_of_core import workers_for

    with workers_for(2, None):
        me = psutil.Process()
        open_to = {
            connection.laddr.ip
            for process in (me, *me.children(recursive=True))
            for connection in connections_of(process)
            if connection.status == psutil.CONN_LISTEN
        }
    assert open_to == {"127.0.0.1"}


def connections_of(process: psutil.Process) -> list:
    if psutil.version_info < (6,):
        return process.connections("inet")
    return process.net_connections("inet")


def test_workers_that_do_not_end_in_time_do_not_spoil_what_they_did(monkeypatch):
    distributed = pytest.importorskip("distributed")
    from napari_lucyd.out_of_core import workers_for

    closed = []

    class Slow(distributed.LocalCluster):
        def close(self, timeout=None):
            super().close(timeout)
            closed.append(True)
            if len(closed) == 1:
                raise TimeoutError

    monkeypatch.setattr(distributed, "LocalCluster", Slow)
    with workers_for(2, None):
        assert not closed
    assert closed


@pytest.mark.parametrize(
    ("error", "words"), [(TimeoutError(), "TimeoutError"), (RuntimeError("no room"), "no room")]
)
def test_workers_that_do_not_start_are_told_of_in_words(monkeypatch, error, words):
    distributed = pytest.importorskip("distributed")
    from napari_lucyd.out_of_core import workers_for

    def cluster(**_):
        raise error

    monkeypatch.setattr(distributed, "LocalCluster", cluster)
    expected = rf"2 processes could not be started on this computer \({words}\); give a smaller --jobs"
    with pytest.raises(StoreError, match=expected), workers_for(2, None):
        pass


def test_no_lock_is_left_behind(tmp_path, random_model, series):
    deconvolve_to_zarr(series, random_model, tmp_path / "a.ome.zarr", device="cpu")
    assert os.listdir(tmp_path) == ["a.ome.zarr"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_that_leads_in_a_circle_is_told_of(tmp_path, random_model, series, overwrite):
    (tmp_path / "a.ome.zarr").symlink_to(tmp_path / "a.ome.zarr")
    with pytest.raises(ImageFileError, match="leads in a circle"):
        plan_to_zarr(series, random_model, tmp_path / "a.ome.zarr", overwrite=overwrite, device="cpu")
