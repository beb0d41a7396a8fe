"""Exported modules against `deconvolve`: the same picture from the image alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from scipy import ndimage

import napari_lucyd as nl
from napari_lucyd.deconvolution import first_estimate
from napari_lucyd.export.first_estimate import dark_level, noise_of
from napari_lucyd.export.graph import quantile, reflection, scaling
from napari_lucyd.export.onnx_file import description_of, graph_from_description, graph_of
from napari_lucyd.models import Normalization, load_model
from napari_lucyd.psf.gaussian import gaussian_psf

# Rounding differs: convolutions here, Fourier transforms and compiled kernels there.
TOLERANCE = 3e-5


def specks(shape, seed=0):
    rng = np.random.default_rng(seed)
    blurred = ndimage.gaussian_filter((rng.random(shape) > 0.99) * 3000.0, 1.5) * 8 + 50
    return rng.poisson(blurred).astype(np.float32)


def run(graph, *inputs):
    with torch.inference_mode():
        parts = graph(*(torch.from_numpy(values) for values in inputs))
    return {name: part[0, 0].numpy() for name, part in zip(graph.outputs, parts, strict=True)}


def assert_same_picture(parts, expected):
    for name, part in parts.items():
        wanted = getattr(expected, name)
        assert np.abs(part - wanted).max() <= TOLERANCE * np.ptp(wanted), name


@pytest.mark.parametrize(
    ("name", "shape"), [("general", (9, 22, 31)), ("planes", (25, 31)), ("nuclei-rln", (7, 20, 17))]
)
def test_a_direct_network_restores_as_deconvolve_does(name, shape):
    image = specks(shape)
    graph = graph_of(load_model(name))
    expected = nl.deconvolve(image, name, device="cpu", outputs=graph.outputs)
    assert_same_picture(run(graph, image[None, None]), expected)


@pytest.mark.parametrize(("name", "shape"), [("lucyd", (11, 26, 31)), ("lucyd-planes", (40, 51))])
def test_a_network_on_first_estimates_restores_as_deconvolve_does(name, shape):
    image, sigmas = specks(shape), (2.0, 1.4, 1.3)[-len(shape) :]
    graph = graph_of(load_model(name), first_estimate(image, gaussian_psf(sigmas)).num_iter)
    expected = nl.deconvolve(image, name, device="cpu", blur_sigma=sigmas, outputs=graph.outputs)
    assert_same_picture(run(graph, image[None, None], np.asarray(sigmas, np.float32)), expected)


def test_a_constant_image_stays_what_it_is():
    image = np.full((1, 1, 20, 24), 7, np.float32)
    assert_array_equal(run(graph_of(load_model("planes")), image)["output"].shape, (20, 24))
    for name, inputs in (("planes", (image,)), ("lucyd-planes", (image, np.float32([1.5, 1.5])))):
        output = run(graph_of(load_model(name)), *inputs)["output"]
        assert np.isfinite(output).all()


@pytest.mark.parametrize("planes", [1, 2, 4, 7, 9, 30])
def test_dark_level_and_noise_are_those_of_the_first_stage(planes):
    image = specks((planes, 24, 33), seed=planes)
    found = first_estimate(image, np.ones((1, 3, 3)), num_iter=1)
    values = torch.from_numpy(image)[None, None]
    assert dark_level(values)[0].item() == pytest.approx(found.level, rel=1e-6)
    assert noise_of(values).item() == pytest.approx(found.noise * found.scale, rel=1e-5)


def test_quantiles_and_reflection_are_numpys():
    values = np.sort(np.random.default_rng(0).normal(size=1000).astype(np.float32))
    # NumPy 2.0 rounds the place of a quantile to the type of the values.
    exact = values.astype(np.float64)
    for share in (0.0, 0.001, 0.0517, 0.5, 0.999, 1.0):
        assert quantile(torch.from_numpy(values), share).item() == pytest.approx(
            np.quantile(exact, share), rel=1e-6
        )
    assert reflection(3, -2, 7).tolist() == [2, 1, 0, 1, 2, 1, 0]
    assert reflection(1, -2, 5).tolist() == [0] * 5


def test_a_description_builds_the_same_graph():
    model = load_model("lucyd-planes")
    graph = graph_of(model, 3)
    again = graph_from_description(**description_of(graph, model))
    again.load_state_dict(graph.state_dict())
    image, sigmas = specks((20, 24))[None, None], np.float32([1.2, 1.2])
    for name, part in run(again, image, sigmas).items():
        assert_array_equal(part, run(graph, image, sigmas)[name])


def test_a_blur_that_is_part_of_the_module_gives_the_same_picture():
    model, sigmas = load_model("lucyd-planes"), (1.3, 2.1)
    image = specks((24, 30))[None, None]
    expected = run(graph_of(model, 3), image, np.float32(sigmas))
    graph = graph_of(model, 3, sigmas)
    again = graph_from_description(**description_of(graph, model))
    again.load_state_dict(graph.state_dict())
    for name, part in expected.items():
        assert_array_equal(run(graph, image)[name], part)
        assert_array_equal(run(again, image)[name], part)


def test_iterations_belong_to_models_on_first_estimates():
    with pytest.raises(ValueError, match="general has no iterations"):
        graph_of(load_model("general"), 5)
    with pytest.raises(ValueError, match="num_iter is 0"):
        graph_of(load_model("lucyd"), 0)


def test_a_blur_belongs_to_models_on_first_estimates_and_has_limits():
    with pytest.raises(ValueError, match=r"blur_sigma is 1\.5, but general works on the image itself"):
        graph_of(load_model("general"), None, 1.5)
    with pytest.raises(ValueError, match="one number from 0 to 3, or 3 of them"):
        graph_of(load_model("lucyd"), None, (4, 1, 1))
    with pytest.raises(ValueError, match="or 3 of them"):
        graph_of(load_model("lucyd"), None, (1, 1))
    assert graph_of(load_model("lucyd"), None, 1.5).blur_sigma == (1.5, 1.5, 1.5)


def test_scaling_by_mean_and_deviation():
    image = specks((20, 24))
    low, scale = scaling(torch.from_numpy(image)[None, None], Normalization("standard"))
    assert (low.item(), scale.item()) == pytest.approx((image.mean(), image.std()), rel=1e-5)
