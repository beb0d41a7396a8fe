"""The live preview's thread: its pieces equal those of a run, and it stops on request."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from dataclasses import replace

import numpy as np
import pytest

from napari_lucyd._napari.preview.rectangles import Rectangle
from napari_lucyd._napari.preview.restorer import ViewRequest, ViewRestorer
from napari_lucyd._napari.preview.worker import Piece, PreviewWorker, Status
from napari_lucyd.compute import device
from napari_lucyd.deconvolution import deconvolve


@pytest.fixture
def worker():
    made = PreviewWorker()
    yield made
    made.close()
    assert not made.running


def image(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return (1000 * np.random.default_rng(seed).random(shape)).astype(np.uint16)


def view(volume, model, visible: Rectangle, **changes) -> ViewRequest:
    made = ViewRequest(
        volume=volume,
        model=model,
        options={"axes": None, "device": "cpu"},
        image="image",
        plane=(volume.ndim - 2, volume.ndim - 1),
        index=(0,) * volume.ndim,
        visible=visible,
        covered=np.zeros((visible.height, visible.width), dtype=bool),
    )
    return replace(made, **changes)


def updates(worker: PreviewWorker, seconds: float = 120) -> list[Piece | Status]:
    """All updates up to the one that says that no more follow."""
    found: list[Piece | Status] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found += worker.fetch()
        if found and isinstance(found[-1], Status) and found[-1].settled:
            return found
        time.sleep(0.005)
    raise AssertionError(f"not settled: {found}")


def settled(worker: PreviewWorker, visible: Rectangle) -> tuple[np.ndarray, np.ndarray]:
    """The exact pixels of a view, and how often each was computed."""
    values = np.full((visible.height, visible.width), np.nan, dtype=np.float32)
    times = np.zeros(values.shape, dtype=int)
    for update in updates(worker):
        if isinstance(update, Piece) and update.exact:
            where = update.rectangle.slices_in(visible)
            values[where] = update.values
            times[where] += 1
    return values, times


def assert_as_run(values: np.ndarray, run: np.ndarray, volume: np.ndarray) -> None:
    # The acceptance is 1e-5 of the range. A random network stretches that range tenfold, and the rounding
    # of float32 with it: so it is the larger of the ranges before and after.
    np.testing.assert_allclose(values, run, rtol=0, atol=1e-5 * max(np.ptp(volume), np.ptp(run)))


def test_settled_pixels_equal_a_runs_over_the_whole_volume(worker, random_model):
    volume, visible = image((5, 17, 22)), Rectangle(4, 10, 17, 22)
    worker.submit(view(volume, random_model, visible, index=(3, 0, 0)), (8, 12))

    values, times = settled(worker, visible)

    run = deconvolve(volume, random_model, device="cpu", outputs=("output",)).output
    assert_as_run(values, run[3, 4:17, 10:22], volume)
    assert (times == 1).all()


def test_a_view_larger_than_the_budget_gets_a_first_look_and_then_grows_from_the_focus(
    worker, random_model_2d, monkeypatch
):
    # This device is so slow that its first patch has the smallest size.
    monkeypatch.setattr("napari_lucyd._napari.preview.worker.FIRST_SECONDS", 1e-9)
    monkeypatch.setattr("napari_lucyd._napari.preview.worker.GROWTH_SECONDS", 1e-9)
    volume, visible = image((150, 200)), Rectangle(0, 0, 150, 200)
    worker.submit(view(volume, random_model_2d, visible), (120, 170))

    pieces = [u for u in updates(worker) if isinstance(u, Piece)]

    assert [p.exact for p in pieces] == [False, *[True] * (len(pieces) - 1)]
    assert len(pieces) > 4
    times = np.zeros((150, 200), dtype=int)
    for piece in pieces[1:]:
        times[piece.rectangle.slices_in(visible)] += 1
    assert (times == 1).all()
    distances = [np.hypot(p.rectangle.centre[0] - 120, p.rectangle.centre[1] - 170) for p in pieces[1:]]
    assert distances[0] == min(distances)
    run = deconvolve(volume, random_model_2d, device="cpu", outputs=("output",)).output
    for piece in pieces[1:]:
        assert_as_run(piece.values, run[piece.rectangle.slices_in(visible)], volume)
    # The first pieces are approximate, and marked as such.
    look = pieces[0]
    assert not np.array_equal(look.values, run[look.rectangle.slices_in(visible)])


def test_pixels_that_are_there_already_are_left_alone(worker, random_model_2d):
    volume, visible = image((20, 60)), Rectangle(0, 0, 20, 60)
    covered = np.zeros((20, 60), dtype=bool)
    covered[:, :40] = True
    worker.submit(view(volume, random_model_2d, visible, covered=covered), (10, 10))

    values, times = settled(worker, visible)

    assert not times[:, :40].any()
    run = deconvolve(volume, random_model_2d, device="cpu", outputs=("output",)).output
    assert_as_run(values[:, 40:], run[:, 40:], volume)


@pytest.mark.parametrize("separate", ["C", "", "TC"])
def test_channels_and_time_points_are_scaled_as_run_scales_them(worker, random_model_2d, separate):
    volume = image((2, 3, 20, 26)) * np.array([1, 5, 11], dtype=np.uint16)[:, None, None]
    volume[1] //= 3
    visible = Rectangle(2, 4, 18, 26)
    options = {"axes": "TCYX", "device": "cpu", "separate": separate}
    worker.submit(view(volume, random_model_2d, visible, options=options, index=(1, 2, 0, 0)), (9, 9))

    values, _ = settled(worker, visible)

    run = deconvolve(volume, random_model_2d, outputs=("output",), **options).output
    assert_as_run(values, run[1, 2, 2:18, 4:26], volume)


def test_a_plane_across_z_equals_the_runs(worker, random_model):
    volume, visible = image((9, 8, 14)), Rectangle(0, 6, 9, 14)
    worker.submit(view(volume, random_model, visible, plane=(0, 2), index=(0, 5, 0)), (3, 12))
    values, _ = settled(worker, visible)
    run = deconvolve(volume, random_model, device="cpu", outputs=("output",)).output
    assert_as_run(values, run[:, 5, 6:14], volume)


def test_a_2d_model_shows_a_plane_across_its_slices(worker, random_model_2d):
    volume, visible = image((6, 14, 30)), Rectangle(0, 6, 6, 30)
    options = {"axes": "ZYX", "device": "cpu"}
    made = view(volume, random_model_2d, visible, plane=(0, 2), index=(0, 5, 0), options=options)
    worker.submit(made, (3, 12))
    values, _ = settled(worker, visible)
    run = deconvolve(volume, random_model_2d, outputs=("output",), **options).output
    assert_as_run(values, run[:, 5, 6:30], volume)


def test_a_resampled_stack_is_previewed_as_it_is_run(worker, random_model):
    volume, visible = image((4, 8, 10)), Rectangle(0, 0, 8, 10)
    options = {"axes": "ZYX", "device": "cpu", "voxel_size": (0.3, 0.1, 0.1)}
    worker.submit(view(volume, random_model, visible, options=options, index=(2, 0, 0)), (4, 4))
    values, _ = settled(worker, visible)
    run = deconvolve(volume, random_model, outputs=("output",), **options).output
    assert_as_run(values, run[2], volume)


def test_optional_steps_are_previewed_as_they_are_run(worker, random_model_2d):
    volume, visible = image((2, 40, 44)), Rectangle(4, 0, 30, 44)
    volume[1] += 3000
    steps = {"prefilter": 0.8, "subtract_background": 16, "flips": True}
    for options in (steps, {**steps, "prefilter": "auto"}):
        options = {"axes": "TYX", "device": "cpu", **options}
        worker.submit(view(volume, random_model_2d, visible, options=options, index=(1, 0, 0)), (9, 9))
        values, _ = settled(worker, visible)
        run = deconvolve(volume, random_model_2d, outputs=("output",), **options).output
        assert_as_run(values, run[1, 4:30], volume)


class Counting:
    """An array that counts the voxels read from it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.read = array, 0
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, key):
        part = self.array[key]
        self.read += np.size(part)
        return part


def test_statistics_are_measured_once_for_all_views_of_an_image(worker, random_model_2d):
    volume = Counting(image((4, 300, 300)))
    visible = Rectangle(0, 0, 16, 16)
    options = {"axes": "TYX", "device": "cpu"}
    worker.submit(view(volume, random_model_2d, visible, options=options), (8, 8))
    settled(worker, visible)
    assert volume.read >= volume.array.size

    volume.read = 0
    worker.submit(view(volume, random_model_2d, visible, options=options, index=(2, 0, 0)), (8, 8))
    settled(worker, visible)
    assert volume.read < 0.1 * volume.array.size

    volume.read = 0
    worker.submit(
        view(volume, random_model_2d, visible, options={**options, "normalization": "percentile"}), (8, 8)
    )
    settled(worker, visible)
    assert volume.read >= volume.array.size


class Gate:
    """A gate that lets a test see and delay the thread within a pass."""

    def __init__(self, monkeypatch) -> None:
        self.passes: list[ViewRequest] = []
        self.dropped = 0
        original = ViewRestorer.restore

        def restore(passes, rectangle, statistics, halo):
            self.passes.append(passes.view)
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                if passes._dropped():
                    self.dropped += 1
                    break
                time.sleep(0.002)
            return original(passes, rectangle, statistics, halo)

        monkeypatch.setattr(ViewRestorer, "restore", restore)

    def wait(self) -> None:
        end = time.monotonic() + 20
        while not self.passes and time.monotonic() < end:
            time.sleep(0.002)
        assert self.passes

    def wait_for_drop(self) -> None:
        end = time.monotonic() + 20
        while not self.dropped and time.monotonic() < end:
            time.sleep(0.002)
        assert self.dropped == 1


def test_a_new_view_takes_the_place_of_the_old_one_at_once(worker, random_model_2d, monkeypatch):
    gate = Gate(monkeypatch)
    volume, visible = image((64, 64)), Rectangle(0, 0, 64, 64)
    worker.submit(view(image((64, 64), seed=1), random_model_2d, visible, image="old"), (8, 8))
    gate.wait()
    worker.submit(view(volume, random_model_2d, visible), (8, 8))

    values, times = settled(worker, visible)

    assert gate.dropped == 1
    assert (times == 1).all()
    run = deconvolve(volume, random_model_2d, device="cpu", outputs=("output",)).output
    assert_as_run(values, run, volume)


def test_a_cancelled_view_leaves_nothing_behind(worker, random_model_2d, monkeypatch):
    gate = Gate(monkeypatch)
    visible = Rectangle(0, 0, 64, 64)
    worker.submit(view(image((64, 64)), random_model_2d, visible), (8, 8))
    gate.wait()
    # Its report on the image's range waits to be fetched.
    assert not worker._updates.empty()
    worker.cancel()
    assert not worker.busy
    gate.wait_for_drop()
    assert worker.fetch() == []
    assert not worker.busy


def test_a_pass_that_ends_as_its_view_is_dropped_is_not_told(worker, random_model_2d, monkeypatch):
    ended = threading.Event()
    original = ViewRestorer.restore

    def restore(passes, rectangle, statistics, halo):
        values = original(passes, rectangle, statistics, halo)
        worker.cancel()
        ended.set()
        return values

    monkeypatch.setattr(ViewRestorer, "restore", restore)
    worker.submit(view(image((16, 16)), random_model_2d, Rectangle(0, 0, 16, 16)), (8, 8))
    assert ended.wait(20)
    time.sleep(0.1)
    assert not worker.busy
    assert worker.fetch() == []


def test_closing_ends_the_thread_within_a_pass(random_model_2d, monkeypatch):
    gate = Gate(monkeypatch)
    worker = PreviewWorker()
    worker.submit(view(image((64, 64)), random_model_2d, Rectangle(0, 0, 64, 64)), (8, 8))
    gate.wait()
    worker.close()
    assert not worker.running
    assert gate.dropped == 1


def test_an_idle_thread_ends_by_itself_and_starts_again(random_model_2d):
    worker = PreviewWorker(idle_seconds=0.05)
    visible = Rectangle(0, 0, 16, 16)
    for _ in range(2):
        worker.submit(view(image((16, 16)), random_model_2d, visible), (8, 8))
        settled(worker, visible)
        end = time.monotonic() + 5
        while worker.running and time.monotonic() < end:
            time.sleep(0.01)
        assert not worker.running


def test_what_goes_wrong_is_told_in_a_line_and_the_thread_lives_on(worker, random_model_2d):
    visible = Rectangle(0, 0, 16, 16)
    worker.submit(view(np.full((16, 16), np.inf), random_model_2d, visible, image="bad"), (8, 8))
    found = updates(worker)
    assert isinstance(found[-1], Status)
    assert found[-1].text.startswith("Preview: ")
    assert "infinite" in found[-1].text
    assert "\n" not in found[-1].text
    assert not any(isinstance(u, Piece) for u in found)

    worker.submit(view(image((16, 16)), random_model_2d, visible), (8, 8))
    assert np.isfinite(settled(worker, visible)[0]).all()


def test_pixels_that_are_nan_stay_so_and_end_the_preview_all_the_same(worker, random_model_2d):
    volume = image((20, 20)).astype(np.float32)
    volume[3:6, 7] = np.nan
    visible = Rectangle(0, 0, 20, 20)
    worker.submit(view(volume, random_model_2d, visible), (8, 8))
    values, times = settled(worker, visible)
    np.testing.assert_array_equal(np.isnan(values), np.isnan(volume))
    assert (times == 1).all()


def test_the_thread_does_not_keep_its_images_alive(worker, random_model_2d):
    volume = image((16, 16))
    gone = weakref.ref(volume)
    worker.submit(view(volume, random_model_2d, Rectangle(0, 0, 16, 16)), (8, 8))
    settled(worker, Rectangle(0, 0, 16, 16))
    del volume
    end = time.monotonic() + 7
    while gone() is not None and time.monotonic() < end:
        gc.collect()
        time.sleep(0.05)
    assert gone() is None


def test_memory_is_kept_from_view_to_view_and_given_back_when_nothing_is_asked_for(random_model):
    worker, volume, visible = PreviewWorker(idle_seconds=0.5), image((8, 20, 24)), Rectangle(0, 0, 20, 24)
    try:
        worker.submit(view(volume, random_model, visible), (10, 10))
        updates(worker)
        assert device._keepers
        end = time.monotonic() + 30
        while device._keepers and time.monotonic() < end:
            time.sleep(0.01)
        assert not device._keepers and not worker.running
    finally:
        worker.close()
