"""Reading and launching ahead: in order, one at a time, with errors in their place; runs give the same
results.
"""

import threading

import numpy as np
import pytest

from napari_lucyd.deconvolution import Cancelled, deconvolve, plan
from napari_lucyd.deconvolution.first_stage.estimated_source import EstimatedSource
from napari_lucyd.deconvolution.learned import pipeline, run
from napari_lucyd.deconvolution.learned.pipeline import Reader
from napari_lucyd.inference import forward
from told_models import blobs, told_model


@pytest.fixture
def reader():
    made = []

    def make(read, ahead=True):
        made.append(Reader(read, ahead))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_the_next_is_read_in_another_thread_before_it_is_asked_for(reader):
    threads, begun = {}, threading.Event()

    def read(key):
        threads[key] = threading.current_thread()
        if key == "b":
            begun.set()
        return key.upper()

    chain = reader(read)
    assert chain.take("a", "b") == "A"
    assert begun.wait(5)
    assert chain.take("b", None) == "B"
    assert threads["a"] is threading.current_thread() is not threads["b"]


def test_nothing_is_read_ahead_where_that_was_not_asked_for(reader):
    seen = []
    chain = reader(lambda key: seen.append(key) or key, ahead=False)
    assert chain.take("a", "b") == "a" and seen == ["a"]


def test_what_turns_out_not_to_be_wanted_is_waited_for_and_dropped_with_its_error(reader):
    inside, most = 0, 0
    lock = threading.Lock()

    def read(key):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        try:
            if key == "broken":
                raise OSError("the disk is gone")
            return key
        finally:
            with lock:
                inside -= 1

    chain = reader(read)
    chain.take("a", "broken")
    assert chain.take("half of it", "broken") == "half of it"
    with pytest.raises(OSError, match="gone"):
        chain.take("broken", None)
    # A second request reads it again.
    with pytest.raises(OSError, match="gone"):
        chain.take("broken", None)
    assert most == 1


@pytest.fixture
def ahead(monkeypatch):
    """The processor as a device that is given blocks as early as CUDA ones are."""
    monkeypatch.setattr(pipeline, "READS_AHEAD", ("cpu",))
    monkeypatch.setattr(pipeline, "LAUNCHES_AHEAD", ("cpu",))


@pytest.fixture
def series():
    values = np.random.default_rng(0).random((3, 30, 26), dtype=np.float32)
    values[1, 4, 5] = np.nan
    values[2] = 7
    return values


@pytest.fixture
def options(random_model_2d):
    return {"model": random_model_2d, "device": "cpu", "tile_shape": (16, 16), "axes": "TYX"}


@pytest.mark.parametrize("launching", [(), ("cpu",)])
def test_a_run_that_reads_ahead_gives_the_same(launching, series, options, monkeypatch):
    plain = deconvolve(series, **options)
    monkeypatch.setattr(pipeline, "READS_AHEAD", ("cpu",))
    monkeypatch.setattr(pipeline, "LAUNCHES_AHEAD", launching)
    there = deconvolve(series, **options)
    for part in ("output", "correction_mask", "update_term"):
        np.testing.assert_array_equal(getattr(there, part), getattr(plain, part))


@pytest.mark.parametrize("launching", [(), ("cpu",)])
def test_a_run_that_reads_ahead_estimates_each_volume_once(launching, monkeypatch):
    estimated = []
    real = EstimatedSource._estimates
    monkeypatch.setattr(
        EstimatedSource,
        "_estimates",
        lambda self, lead, spans: estimated.append(lead) or real(self, lead, spans),
    )
    image = np.stack([blobs(16, 40, 60, seed=seed) for seed in range(3)])
    options = {"model": told_model(3), "device": "cpu", "axes": "TZYX", "blur_sigma": 1.2}
    plain = deconvolve(image, **options)
    assert sorted(estimated) == [(0,), (1,), (2,)]

    monkeypatch.setattr(pipeline, "READS_AHEAD", ("cpu",))
    monkeypatch.setattr(pipeline, "LAUNCHES_AHEAD", launching)
    estimated.clear()
    there = deconvolve(image, **options)
    assert sorted(estimated) == [(0,), (1,), (2,)]
    np.testing.assert_array_equal(there.output, plain.output)


def test_a_run_that_has_to_cut_its_tiles_on_the_way_gives_the_same(series, options, ahead, monkeypatch):
    # Large enough to be computed with a halo, as the parts of a cut tile are.
    series = np.tile(series, (1, 3, 3))
    plain = deconvolve(series, **options)
    real = forward.run_network

    def small_device(network, y, *more):
        if y.numel() > 120 * 128:
            raise forward.BlockTooLarge("no")
        return real(network, y, *more)

    monkeypatch.setattr(forward, "run_network", small_device)
    cut = deconvolve(series, **{**options, "tile_shape": (90, 78)})
    assert any("ran out of memory" in text for text in cut.recipe["warnings"])
    np.testing.assert_allclose(cut.output, plain.output, rtol=0, atol=1e-4, equal_nan=True)


def test_a_run_that_is_stopped_leaves_no_thread(series, options, ahead):
    job = plan(series, **options)
    stop = threading.Event()
    steps = job.steps(stop.is_set)
    next(steps)
    stop.set()
    with pytest.raises(Cancelled):
        next(steps)
    assert not [each for each in threading.enumerate() if each.name.startswith("lucyd-reading")]


def test_a_block_is_launched_before_the_last_is_waited_for(series, options, ahead, monkeypatch):
    events = []
    launch, store = pipeline.Pipeline._launch, run.Run._store
    monkeypatch.setattr(
        pipeline.Pipeline,
        "_launch",
        lambda self, key, next: events.append("launch") or launch(self, key, next),
    )
    monkeypatch.setattr(run.Run, "_store", lambda self, block: events.append("store") or store(self, block))

    deconvolve(series, **options)

    assert events == ["launch", *["launch", "store"] * 11, "store"]


def test_what_fails_ahead_loses_nothing_and_counts_when_its_turn_comes(options, ahead):
    class Failing:
        """An array whose last row cannot be read while it is broken."""

        shape, dtype = (48, 32), np.dtype(np.float32)
        broken = False

        def __getitem__(self, index):
            part = np.random.default_rng(0).random(self.shape, dtype=np.float32)[index]
            if self.broken and index[0].stop == self.shape[0]:
                raise OSError("the disk is gone")
            return part

    source = Failing()
    job = plan(source, **{**options, "axes": "YX", "tile_shape": (8, 32), "halo": 4})
    steps = job.steps()
    next(steps)
    source.broken = True
    done = [*_until(steps, OSError, "gone")]
    # All but the last tile: only this tile reaches the last row.
    assert [progress.done for progress in done] == [2, 3, 4, 5]

    source.broken = False
    for _ in job.steps():
        pass
    np.testing.assert_array_equal(job.result().output, _plain(source, options))


def _plain(source, options):
    return deconvolve(source, **{**options, "axes": "YX", "tile_shape": (8, 32), "halo": 4}).output


def _until(steps, kind, text):
    with pytest.raises(kind, match=text):
        yield from steps
