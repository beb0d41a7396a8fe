"""Half precision: its difference from float32, and the models that use it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_lucyd.compute.device import Device, cpu
from napari_lucyd.deconvolution import RichardsonLucy, deconvolve, options_from_recipe, plan
from napari_lucyd.inference import half_precision
from napari_lucyd.inference.half_precision import HARMLESS, half_precision_error, in_half_precision
from napari_lucyd.models import list_models, load_model
from napari_lucyd.models.catalogue import is_told
from napari_lucyd.out_of_core.fingerprint import identity

GPU = Device("cuda:0", "a GPU")


@pytest.fixture
def spheres():
    """Two bright balls on a background with some noise, in units of a camera."""
    z, y, x = np.mgrid[:12, :24, :24]
    image = np.random.default_rng(0).normal(100, 2, (12, 24, 24))
    for centre in ((4, 8, 9), (7, 16, 14)):
        distance = sum((a - c) ** 2 for a, c in zip((z, y, x), centre, strict=True))
        image += 200 * np.exp(-distance / 12)
    return image.astype(np.float32)


def scaled(image):
    return torch.from_numpy((image - 50) / 250)[None, None]


def test_a_network_in_half_precision_takes_and_gives_float32_and_is_near_to_it(spheres):
    network, y = load_model("general").network, scaled(spheres)
    ready = in_half_precision(network)
    assert {parameter.dtype for parameter in ready.parameters()} == {torch.float16, torch.float32}
    with torch.inference_mode():
        parts, exact = ready(y), network(y)
    assert all(part.dtype == torch.float32 for part in parts)
    difference = float((parts.output - exact.output).abs().max() / np.ptp(exact.output.numpy()))
    assert 0 < difference <= half_precision_error(network, y) <= HARMLESS
    # The network that it was made from is unchanged.
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


def test_every_shipped_model_of_lucyd_says_what_half_precision_does_to_it(spheres):
    for card in list_models():
        model = load_model(card["name"])
        told = card["metrics"].get("half_precision")
        # Models on first estimates are not measured; a run says so and uses float32.
        measured = model.network.name == "lucyd" and not is_told(card)
        assert (told is not None) == measured, model.name
    # The error of an image that was not used to measure it is about as large.
    general = load_model("general")
    measured = half_precision_error(general.network, scaled(spheres))
    assert measured <= 2 * general.card["metrics"]["half_precision"]["error"]


@pytest.mark.parametrize(
    ("name", "error", "device", "says"),
    [
        ("general", 1e-3, GPU, ""),
        ("general", 3e-3, GPU, "3.0e-03 of the range"),
        ("general", None, GPU, "was not measured"),
        ("general", 1e-3, cpu(), "CUDA"),
        ("mixture-rln", 1e-3, GPU, "RLN"),
    ],
)
def test_half_precision_is_used_only_where_it_pays_and_does_no_harm(name, error, device, says):
    metrics = {} if error is None else {"half_precision": {"error": error}}
    model = SimpleNamespace(network=load_model(name).network, card={"metrics": metrics}, name=name)
    reason = half_precision.unsupported_reason(model, device)
    assert says in reason and bool(reason) == bool(says)


def test_where_it_is_not_used_float32_is_and_the_run_says_so(spheres):
    result = deconvolve(spheres, load_model("general"), device="cpu", precision="float16")
    assert result.recipe["precision"] == "float32"
    assert any(text.startswith("float32 is used instead") for text in result.recipe["warnings"])
    plain = deconvolve(spheres, load_model("general"), device="cpu")
    np.testing.assert_array_equal(result.output, plain.output)


def test_a_run_in_half_precision_is_near_one_in_float32_and_can_be_repeated(spheres, monkeypatch):
    # The processor can do it too, but gains nothing.
    monkeypatch.setattr(half_precision, "unsupported_reason", lambda model, device: "")
    model = load_model("general")
    result = deconvolve(spheres, model, device="cpu", precision="float16", tile_shape=(12, 16, 24))
    exact = deconvolve(spheres, model, device="cpu")
    assert result.recipe["precision"] == "float16"
    assert result.recipe["device"]["name"].endswith("(half precision)")
    for part in ("output", "correction_mask"):
        difference = np.abs(getattr(result, part) - getattr(exact, part)).max()
        assert 0 < difference <= HARMLESS * np.ptp(exact.output), part
    again = deconvolve(spheres, model, **options_from_recipe(result.recipe))
    np.testing.assert_array_equal(again.output, result.output)


def test_a_run_into_a_store_goes_on_only_in_the_precision_that_it_was_begun_in(spheres, monkeypatch):
    monkeypatch.setattr(half_precision, "unsupported_reason", lambda model, device: "")
    model = load_model("general")
    found = []
    for precision in ("float32", "float16"):
        job = plan(spheres, model, device="cpu", precision=precision)
        found.append(identity(job.result().recipe, job._source)["precision"])
    assert found == ["float32", "float16"]


def test_other_precisions_are_refused(spheres):
    with pytest.raises(ValueError, match="'float32' or 'float16'"):
        plan(spheres, load_model("general"), precision="double")
    with pytest.raises(ValueError, match="precision has no effect"):
        plan(spheres, RichardsonLucy(np.ones((3, 3, 3))), precision="float16")
