"""Adaptation to the given PSF and the noise of the image; the model is saved only if it is better."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

import napari_lucyd as nl
from napari_lucyd.errors import Cancelled
from napari_lucyd.evaluation.trust.suite import Reading, TrustTable
from napari_lucyd.models.user_models import FOLDER_VARIABLE
from napari_lucyd.simulation import acquire, make_structures
from napari_lucyd.training import adaptation
from napari_lucyd.training.adaptation import compare_trust
from napari_lucyd.training.adaptation_run import AdaptationRun
from napari_lucyd.training.conditions import find_conditions, single_volume
from napari_lucyd.training.config import parse_config
from napari_lucyd.training.estimates import EstimateSpecimen, gaussian_psf

SIGMA = 1.4
NOTHING_TOLD = {"microscope": None, "psf": None, "psf_voxel_size": None, "blur_sigma": None}


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """A plane of filaments with 200 photons in its bright parts, in grey levels of a camera."""
    psf = gaussian_psf([SIGMA, SIGMA])
    specimen = make_structures("filaments", (160, 160), rng=3, blur_sigma=SIGMA, background=20)
    sample = acquire(specimen, psf, photons_per_unit=0.2, read_noise=2.0, rng=3, field_shape=(144, 144))
    return (2.5 * 0.2 * sample.image + 100).astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "models"))
    monkeypatch.setattr(adaptation, "_VALIDATION_PATCHES", 6)
    monkeypatch.setattr(adaptation, "_SMALLEST_GAIN", 1e-6)
    monkeypatch.setattr(adaptation, "parse_config", small)
    monkeypatch.setattr(adaptation, "compare_trust", lambda *_: [])
    monkeypatch.setattr(adaptation, "measure_trust", lambda *_, **__: table("lucyd-planes", "mine"))
    return tmp_path / "models"


def small(entries):
    """The configuration of a start with small patches, which take less time."""
    config = parse_config(entries)
    data = replace(config.data, patch_shape=(32, 32), phantom_shape=(8, 64, 64))
    return replace(config, data=data)


def adapt(image, name="mine", **options):
    return nl.adapt(image, name, **{"blur_sigma": SIGMA, "patches": 48, "device": "cpu"} | options)


def table(before, after, *values):
    found = TrustTable((32, 64, 64), 1.5, 0.03, {})
    for number, (old, new) in enumerate(values):
        for method, value in ((before, old), (after, new)):
            found.readings.append(Reading(method, "", "", f"q{number}", "number", "", 0.9, 1.1, value))
    return found


def conditions(image, told, voxel_size=None):
    start = nl.load_model("lucyd-planes")
    base = parse_config(start.card["training"]["config"])
    return find_conditions(image, start, base.data, NOTHING_TOLD | told, voxel_size, "mixture")


def test_noise_is_that_of_the_image_and_the_psf_is_the_told_one(image):
    found = conditions(image, {"blur_sigma": SIGMA})
    low, high = found.data.photons
    assert low < 300 and high > 200 and high < 4 * low
    assert found.data.noise_sigma[1] < 10
    assert found.data.blur_sigma == pytest.approx((SIGMA, SIGMA), rel=0.05)
    np.testing.assert_allclose(found.known.psf.sum(), 1, rtol=1e-5)
    assert found.record["blur_sigma"] == [SIGMA, SIGMA] and "photons" in found.notes[0]
    scale = parse_config(nl.load_model("lucyd-planes").card["training"]["config"]).normalization
    specimen = EstimateSpecimen(found.data, scale, 1, found.known)
    estimate, truth, _ = specimen.patch(np.s_[:, :], np.random.default_rng(0))
    assert estimate.shape == truth.shape == (128, 128)


def test_without_a_blur_that_of_the_image_is_found(image):
    found = conditions(image, {})
    assert 0.5 < found.record["blur_sigma_found"][0] < 1.2 * SIGMA
    assert "No blur was given" in found.notes[0]
    with pytest.raises(ValueError, match="Neither an image nor a blur"):
        conditions(None, {})


def test_planes_of_a_microscope_have_light_from_out_of_focus():
    scope = nl.Microscope("widefield", numerical_aperture=0.8, refractive_index=1.33, emission_um=0.525)
    found = conditions(None, {"microscope": scope}, (0.15, 0.15))
    assert found.known.psf.ndim == len(found.data.phantom_shape) == 3
    assert all(n % 2 for n in found.known.psf.shape)
    assert found.data.modalities == ("widefield",)
    sized = conditions(None, {"microscope": replace(scope, psf_size=(9, 11, 13))}, (0.15, 0.15))
    assert sized.known.psf.shape == (9, 11, 13)


def test_a_large_even_psf_is_cropped_around_its_centre():
    psf = np.zeros((300, 300), np.float32)
    psf[150, 150] = 1
    wide = ndimage.gaussian_filter(psf, 2.0)
    found = conditions(None, {"psf": wide}).known.psf
    assert max(found.shape) <= 193 and all(n % 2 for n in found.shape)
    assert np.unravel_index(found.argmax(), found.shape) == tuple(n // 2 for n in found.shape)


def test_one_volume_is_the_channel_in_the_middle_of_the_series():
    series = np.arange(5 * 2 * 4 * 8 * 8, dtype=np.float32).reshape(5, 2, 4, 8, 8)
    assert np.array_equal(single_volume(series, 3, "TCZYX", 1), series[2, 1])
    assert np.array_equal(single_volume(series[:, :, 0], 2, "TCYX", 0), series[2, 0, 0])
    with pytest.raises(ValueError, match="channel is 2, but the image has 2"):
        single_volume(series, 3, "TCZYX", 2)


def test_a_better_model_is_saved_and_used_by_its_name(folder, image):
    seen = []
    found = adapt(image, progress=seen.append, patches=96, structures="filaments")
    assert found.offered and found.gain > 0 and found.path == folder / "mine.safetensors"
    assert [card["name"] for card in nl.list_models()][-1] == "mine"
    card = nl.load_model("mine").card
    assert card["metrics"]["validation"]["psnr"] > card["metrics"]["validation"]["psnr_before"]
    assert card["adapted_to"]["blur_sigma"] == [SIGMA, SIGMA]
    assert card["training"]["started_from"]["name"] == "lucyd-planes"
    recipe = nl.deconvolve(image[:32, :32], "mine", blur_sigma=SIGMA, device="cpu").recipe
    assert (recipe["model"], recipe["sha256"]) == ("mine", found.model.sha256)
    # Padding and ceiling are those of the start, also if they were set after its training.
    assert found.model.network.config == nl.load_model("lucyd-planes").network.config
    stages = [progress.stage for progress in seen]
    assert list(dict.fromkeys(stages)) == ["measuring", "training"]
    pictures = seen[-1].pictures
    assert pictures is not None and not np.array_equal(pictures.before, pictures.after)
    with pytest.raises(FileExistsError, match="have a model 'mine' already"):
        adapt(image)
    with pytest.raises(ValueError, match="shipped model or method"):
        adapt(image, "lucyd")


@pytest.mark.parametrize("how", ["asked", "ctrl-c"])
def test_a_stopped_training_keeps_its_best(folder, image, how):
    steps = []

    def progress(state):
        steps.append(state.done)
        if how == "ctrl-c" and state.stage == "training" and state.done == 3:
            raise KeyboardInterrupt

    found = adapt(image, progress=progress, should_stop=(lambda: max(steps) >= 3) if how == "asked" else None)
    assert max(steps) <= 4
    assert found.gain > 0 and found.path is not None
    assert f"stopped after {max(steps)} steps" in found.summary
    assert found.model.card["training"]["steps"] > 0


@pytest.mark.parametrize("asked", [1, 4, 9, 15])
def test_a_training_that_is_stopped_before_its_first_step_ends_at_once(folder, image, asked):
    # The parts of the preparation ask six times each: making specimens, their validation, the first step.
    calls = []

    def stop():
        calls.append(None)
        return len(calls) >= asked

    with pytest.raises(Cancelled, match="stopped before its first step, so no model was saved"):
        adapt(image, should_stop=stop)
    assert len(calls) <= asked + 1 and not folder.exists()


def test_the_search_for_the_blur_is_stopped_too(folder, image, monkeypatch):
    monkeypatch.setattr(adaptation, "AdaptationRun", lambda *_: pytest.fail("the blur was found"))
    calls = []

    def stop():
        calls.append(None)
        return len(calls) >= 3

    with pytest.raises(Cancelled, match="stopped before its first step, so no model was saved"):
        adapt(image, blur_sigma=None, should_stop=stop)
    assert len(calls) == 3


def test_a_training_that_was_stopped_says_so_before_it_judges_the_model(folder, image, monkeypatch):
    monkeypatch.setattr(adaptation, "_SMALLEST_GAIN", 100.0)
    steps = []
    found = adapt(image, progress=lambda state: steps.append(state.done), should_stop=lambda: max(steps) >= 1)
    assert found.path is None and found.stopped_after == 1
    assert found.summary.startswith("The training was stopped after 1 step. It had not improved on")
    assert "Use" not in found.summary


def test_a_model_that_is_not_better_is_not_saved(folder, image, monkeypatch):
    monkeypatch.setattr(adaptation, "_SMALLEST_GAIN", 100.0)
    found = adapt(image)
    assert found.path is None and not found.offered and "did not improve" in found.summary
    monkeypatch.setattr(adaptation, "_SMALLEST_GAIN", 1e-6)
    monkeypatch.setattr(adaptation, "compare_trust", lambda *_: ["bead, flux: 1 became 0.5."])
    found = adapt(image)
    assert found.path is None and not found.offered and "bead, flux" in found.summary
    assert not folder.exists()


def test_an_answer_is_worse_if_it_leaves_its_limits_or_goes_farther_from_them():
    def worse(old, new):
        return bool(compare_trust(table("a", "b", (old, new)), "a", "b"))

    assert not worse(1.0, 0.91) and not worse(0.5, 1.0) and not worse(0.8, 0.78) and not worse(None, 0.0)
    assert worse(1.0, 0.89) and worse(0.8, 0.6) and worse(1.0, None) and worse(1.2, 0.6)


def test_the_steps_are_those_that_there_is_time_for():
    run = object.__new__(AdaptationRun)
    run.trainer, run.validations = SimpleNamespace(step=0), []
    run._began = time.monotonic() - 40
    run._until = run._began + 100
    assert run._state(160, None)[1:3] == (0, 160)
    run.trainer.step = 4
    state = run._state(160, None)
    assert state[1:3] == (4, 10) and state.seconds_left == pytest.approx(60, abs=1)
    # There is more time than steps.
    assert run._state(8, None)[1:3] == (4, 8)


def test_models_that_are_not_told_the_blur_cannot_be_adapted(folder, image):
    with pytest.raises(ValueError, match="planes cannot be adapted"):
        adapt(image, model="planes")


def test_no_step_is_taken_when_the_time_is_over(folder, image):
    found = adapt(image, patches=8000, minutes=1e-9)
    assert found.path is None and len(found.validation_psnr) == 1
