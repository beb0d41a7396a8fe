"""A run as a generator of events: no window, no thread."""

import os
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image

from napari_lucyd._napari.deconvolve import worker
from napari_lucyd._napari.deconvolve.parameters import Parameters
from napari_lucyd._napari.deconvolve.planning import (
    COMPARES,
    COMPARES_NOW,
    LEAVES_ALONE,
    choice_text,
    estimate,
    estimate_lines,
)
from napari_lucyd._napari.deconvolve.task import Estimate, Failed, Finished, ImageTask, Stopped, method_text
from napari_lucyd._napari.deconvolve.worker import run
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.psf.optics import OpticsPsf
from napari_lucyd._napari.workers import torch_loading
from napari_lucyd._napari.workers.events import Advanced, RunError, Stop
from napari_lucyd.deconvolution import RichardsonLucy, SemiBlind, Wiener
from napari_lucyd.deconvolution.classical.methods import MOST_ITERATIONS
from napari_lucyd.deconvolution.method_choice import MethodChoice
from napari_lucyd.models.catalogue import DEFAULT_MODEL


def never() -> bool:
    return False


def image(shape=(24, 26), seed=0, **keywords):
    data = np.random.default_rng(seed).random(shape).astype(np.float32) * 100
    return Image(data, **{"name": f"image {seed}", **keywords})


def task(layer, file, view=None, **choices):
    return ImageTask(
        SourceLayer.from_layer(layer),
        Parameters(**{"method": "lucyd", "model": str(file), "device": "cpu", **choices}),
        view,
    )


def only(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_a_run_equals_the_engine(model_files, random_model_2d):
    from napari_lucyd.deconvolution import deconvolve

    layer = image()
    (finished,) = only(run([task(layer, model_files[2])], never), Finished)
    expected = deconvolve(layer.data, random_model_2d, device="cpu")
    np.testing.assert_array_equal(finished.result.output, expected.output)
    assert finished.complete
    assert [keywords["name"] for _, keywords, _ in finished.layers] == [
        "output · image 0 (random-2d)",
        "mask · image 0 (random-2d)",
        "update term · image 0 (random-2d)",
    ]


def test_the_time_counts_from_the_click_and_the_method_is_named(model_files, monkeypatch):
    choose = worker.choose_method

    def slowly(*arguments):
        time.sleep(1.2)
        return choose(*arguments)

    monkeypatch.setattr(worker, "choose_method", slowly)
    (finished,) = only(run([task(image(), model_files[2])], never), Finished)
    assert finished.seconds > 1.2 and " by LUCYD (random-2d) on " in finished.text


def test_iterations_that_the_run_has_found_are_told_with_their_limit():
    found = RichardsonLucy(np.ones((3, 3)), num_iter="auto")
    many = {"method": {"iterations": [12, MOST_ITERATIONS]}}
    assert method_text(found, many) == (
        f"Richardson-Lucy with 12 to {MOST_ITERATIONS} iterations (the most that are tried)"
    )
    one = {"method": {"iterations": [1]}}
    assert method_text(found, one) == "Richardson-Lucy with 1 iteration"
    assert method_text(SemiBlind(), one) == "Semi-blind Richardson-Lucy with 1 iteration"
    assert method_text(RichardsonLucy(np.ones((3, 3)), num_iter=60), many) == "Richardson-Lucy"
    assert method_text(Wiener(np.ones((3, 3))), one) == "Wiener"


def test_layers_that_a_network_has_nothing_for_are_left_out(random_rln, tmp_path):
    from napari_lucyd.models import save_model

    file = save_model(tmp_path / "rln.safetensors", random_rln.network, normalization={"method": "minmax"})
    (finished,) = only(run([task(image((6, 9, 8)), file)], never), Finished)
    assert [keywords["name"] for _, keywords, _ in finished.layers] == ["output · image 0 (rln)"]
    (failed,) = only(run([task(image((6, 9, 8)), file, outputs=("update_term",))], never), Failed)
    assert "RLN" in failed.text and "'output', 'intermediate'" in failed.text


@pytest.mark.parametrize("method", ["lucyd", "auto"])
def test_the_size_of_a_computed_psf_is_used_by_lucyd(method):
    optics = OpticsPsf(numerical_aperture=0.8, emission_um=0.525, shape=(9, 11, 11))
    layer = image((12, 26, 24), scale=(0.3, 0.2, 0.2), units=("um",) * 3)
    (entry,) = estimate([task(layer, DEFAULT_MODEL, method=method, microscope=optics)])
    assert not entry.error and "with a PSF of 9 × 11 × 11" in entry.job.description
    assert entry.job.result().recipe["first_stage"]["microscope"]["psf_size"] == [9, 11, 11]


@pytest.mark.parametrize("method", ["lucyd", "auto", "semi-blind", "richardson-lucy"])
def test_a_wrong_size_of_the_psf_is_refused_by_its_label(method):
    optics = OpticsPsf(numerical_aperture=0.8, emission_um=0.525, shape=(4,))
    layer = image((12, 26, 24), scale=(0.3, 0.2, 0.2), units=("um",) * 3)
    (entry,) = estimate([task(layer, DEFAULT_MODEL, method=method, microscope=optics)])
    assert entry.error.startswith("PSF size is (4, 4, 4);")


def test_a_step_that_cannot_be_is_refused_by_its_name_in_the_panel(model_files):
    (failed,) = only(run([task(image(), model_files[2], subtract_background=3)], never), Failed)
    assert (
        "Background size is 3; leave it empty, or enter auto or a number of pixels of at least 16"
        in failed.text
    )


def test_progress_counts_the_tiles_of_all_images(model_files):
    tasks = [task(image(seed=n), model_files[2], tile_shape=(12, 26)) for n in range(2)]
    steps = only(run(tasks, never), Advanced)
    assert [(step.done, step.total) for step in steps] == [
        (n, steps[-1].total) for n in range(1, len(steps) + 1)
    ]
    assert len(steps) == steps[-1].total >= 4
    assert steps[-1].seconds_left == 0


def test_one_bad_image_does_not_stop_the_others(model_files):
    nothing = Image(np.full((24, 24), np.nan, np.float32), name="empty", contrast_limits=(0, 1))
    events = list(run([task(nothing, model_files[2]), task(image(), model_files[2])], never))
    (failed,) = only(events, Failed)
    assert failed.task.source.name == "empty"
    assert "NaN" in failed.text
    assert len(only(events, Finished)) == 1


def test_a_model_that_cannot_be_loaded_is_told_of(tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    (failed,) = only(run([task(image(), broken)], never), Failed)
    assert "broken" in failed.text


def test_a_cancel_keeps_what_is_finished(model_files):
    stop = Stop()
    events = []
    for event in run([task(image((48, 26)), model_files[2], tile_shape=(12, 26))], stop):
        events.append(event)
        if isinstance(event, Advanced):
            stop.set()
    (finished,) = only(events, Finished)
    assert not finished.complete
    assert 0 < finished.share < 1
    known = np.isfinite(finished.result.output)
    assert known.any()
    assert not known.all()


def test_a_cancel_at_once_leaves_nothing(model_files):
    stop = Stop()
    stop.set()
    events = list(run([task(image(), model_files[2]), task(image(seed=1), model_files[2])], stop))
    assert not only(events, Finished)
    assert only(events, Stopped) == [Stopped("Cancelled; nothing was finished.")]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Finished, "Cancelled. Not done: “image 1”, “image 2”."),
        (Advanced, "Stopped after 50 % of “image 1”. Not done: “image 2”."),
    ],
)
def test_a_cancel_in_a_run_of_several_names_what_was_not_done(model_files, kind, told):
    stop = Stop()
    events, tiles = [], 0
    tasks = [task(image(seed=n), model_files[2], tile_shape=(12, 26)) for n in range(3)]
    for event in run(tasks, stop):
        events.append(event)
        tiles += isinstance(event, Advanced)
        # Two tiles an image: the first of the second image is the third.
        if isinstance(event, kind) and tiles in (2, 3) and len(only(events, Finished)) == 1:
            stop.set()
    assert [event.text for event in only(events, Stopped)] == [told]


def test_closing_napari_stops_a_run_too():
    stop = Stop(worker=SimpleNamespace(abort_requested=False))
    assert not stop()
    stop.worker.abort_requested = True
    assert stop()


def test_no_runtime_error_leaves_the_generator(monkeypatch):
    def fail():
        raise RuntimeError("CUDA error: out of luck")

    monkeypatch.setattr(worker.torch_loading, "load", fail)
    with pytest.raises(RunError, match="out of luck"):
        list(run([], never))
    assert not issubclass(RunError, RuntimeError)


def test_a_runtime_error_within_an_image_becomes_an_event(model_files, monkeypatch):
    from napari_lucyd.deconvolution import Job

    def fail(self, should_stop=None):
        raise RuntimeError("the driver is gone")
        yield

    monkeypatch.setattr(Job, "steps", fail)
    (failed,) = only(run([task(image(), model_files[2])], never), Failed)
    assert failed.text == "Not deconvolved: “image 0”. RuntimeError: the driver is gone"


def test_a_region_is_what_the_whole_run_gives_there(model_files):
    layer = image((40, 44))
    view = (slice(5, 30), slice(8, 33))
    (whole,) = only(run([task(layer, model_files[2])], never), Finished)
    (part,) = only(run([task(layer, model_files[2], view)], never), Finished)
    np.testing.assert_allclose(part.result.output, whole.result.output[view], atol=1e-3)  # 1e-5 of 100
    np.testing.assert_array_equal(part.layers[0][1]["translate"], (5, 8))


def test_axes_labels_of_the_layer_are_used(model_files):
    layer = image((2, 3, 20, 22), axis_labels=("t", "z", "y", "x"))
    (entry,) = estimate([task(layer, model_files[2])])
    assert entry.job.axes == "TZYX"


def test_the_users_axes_win(model_files):
    layer = image((3, 20, 22), axis_labels=("t", "y", "x"))
    (entry,) = estimate([task(layer, model_files[2], axes="ZYX")])
    assert entry.job.axes == "ZYX"


def test_estimate_gives_memory_and_time(model_files):
    (entry,) = estimate([task(image(), model_files[2])])
    assert entry.seconds > 0
    assert entry.job.memory_bytes > 3 * 4 * 24 * 26
    assert not entry.error


def test_estimate_of_what_cannot_be_done_says_why(model_files):
    (entry,) = estimate([task(image(), model_files[2], axes="ZYX")])
    assert entry.job is None
    assert entry.error


def test_a_run_uses_all_processors_that_torch_uses(monkeypatch):
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        monkeypatch.setattr(torch_loading, "_processors", lambda: 4)
        torch_loading.load()
        assert torch.get_num_threads() == 4
        monkeypatch.setattr(torch_loading, "_processors", lambda: 1)
        torch_loading.load()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_missing_torch_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(torch_loading, "_preload_libraries", lambda: None)
    with pytest.raises(torch_loading.TorchLoadingError, match="pip install torch"):
        torch_loading.load()


def test_the_dll_clash_on_windows_is_explained(monkeypatch):
    monkeypatch.setattr(torch_loading.os, "name", "nt")
    text = torch_loading._explain(OSError("[WinError 1114] c10.dll"))
    assert "c10.dll" in text
    assert "Redistributable" in text


def test_a_model_is_loaded_once_and_again_when_its_file_changes(model_files, tmp_path, random_model):
    from napari_lucyd.models import save_model

    path = tmp_path / "changing.safetensors"
    path.write_bytes(model_files[2].read_bytes())
    first = torch_loading.get_model(str(path))
    assert torch_loading.get_model(str(path)) is first
    assert torch_loading.loaded_model(str(path)) is first
    save_model(path, random_model.network, overwrite=True)
    path.with_suffix(".json").unlink()
    os.utime(path, (1, 1))
    second = torch_loading.get_model(str(path))
    assert second is not first
    assert torch_loading.loaded_model(str(path)) is second


def test_models_can_be_loaded_from_several_threads(model_files):
    models = []
    threads = [
        threading.Thread(target=lambda: models.append(torch_loading.get_model(str(model_files[2]))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, models))) == 1


def test_results_that_would_fill_the_memory_go_to_disk(model_files, monkeypatch):
    from napari_lucyd.deconvolution import scratch

    layer = image((48, 26))
    (expected,) = only(run([task(layer, model_files[2])], never), Finished)
    monkeypatch.setattr(scratch, "SHARE", 0)
    (finished,) = only(run([task(layer, model_files[2])], never), Finished)
    assert isinstance(finished.result.output, np.memmap)
    np.testing.assert_array_equal(finished.result.output, expected.result.output)
    assert "temporary files" in "".join(finished.warnings)


def test_files_for_results_are_empty_at_first_and_leave_nothing_behind(monkeypatch, tmp_path):
    from napari_lucyd.deconvolution import Cancelled, scratch

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    array = scratch.on_disk()("output", (3, 4, 5))
    assert np.isnan(array).all()
    array[1] = 7
    assert (array[1] == 7).all()
    assert not list(tmp_path.iterdir())
    with pytest.raises(Cancelled):
        scratch.on_disk(lambda: True)("output", (3, 4, 5))


def test_what_fits_into_memory_stays_there():
    from napari_lucyd.deconvolution import scratch

    assert not scratch.belongs_on_disk(1000)
    # More than any disk holds, so that the run ends with an error and not with a full disk.
    assert not scratch.belongs_on_disk(10**18)


@pytest.mark.parametrize(
    ("seconds", "begin"), [(0.4, "Under a second and 5.0 MB of"), (42.0, "About 42 s and")]
)
def test_an_estimate_in_words(seconds, begin):
    job = SimpleNamespace(work="1 tile", memory_bytes=5e6, device=SimpleNamespace(name="CPU"), warnings=[])
    task = SimpleNamespace(parameters=Parameters(method="lucyd"))
    assert estimate_lines([Estimate(task, job, seconds=seconds)])[0].startswith(begin)


def test_the_examination_tells_whether_automatic_compares_methods():
    def channel(poisson, model="lucyd"):
        wanted = SimpleNamespace(leave_alone=model is None, model=model)
        return SimpleNamespace(poisson=poisson, recommendation=wanted, channels=())

    task = SimpleNamespace(parameters=Parameters(method="auto"))
    job = SimpleNamespace()
    entries = [Estimate(task, job)]
    sharp, averaged, photons = channel(False, None), channel(False), channel(True)
    assert choice_text(entries, None) == choice_text(entries, photons) == COMPARES
    assert choice_text(entries, photons, running=True) == COMPARES_NOW
    assert "takes lucyd without a comparison" in choice_text(entries, averaged)
    assert choice_text(entries, sharp, running=True) == LEAVES_ALONE
    # One channel with photon noise is enough, and of several images only one is examined.
    assert choice_text(entries, SimpleNamespace(channels=(averaged, photons))) == COMPARES
    assert choice_text(entries * 2, averaged) == COMPARES
    assert choice_text([Estimate(task, job, choice=MethodChoice(SemiBlind()))], averaged).endswith("before.")
    assert choice_text([Estimate(task, None, error="No image.")], averaged) == ""
    assert choice_text([Estimate(SimpleNamespace(parameters=Parameters(method="lucyd")), job)], None) == ""
