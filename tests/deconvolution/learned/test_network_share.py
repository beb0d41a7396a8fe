"""Mask and update term of the default model count only in part in images with little noise."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

import napari_lucyd as nl
from napari_lucyd.deconvolution import plan
from napari_lucyd.evaluation.metrics import psnr
from napari_lucyd.export.first_estimate import EstimateGraph
from napari_lucyd.networks import LUCYD, LucydConfig
from napari_lucyd.out_of_core.fingerprint import statistics_as_json, statistics_from_json
from napari_lucyd.simulation import make_structures

SIGMA = (1.3, 1.3, 1.3)
PARTS = ("output", "correction_mask", "update_term", "intermediate", "first_estimate")


def structures(photons, kind="mixture", seed=4):
    truth = ndimage.gaussian_filter(make_structures(kind, (24, 64, 64), rng=seed).image, 0.5)
    truth = truth / truth.max() * photons
    light = ndimage.gaussian_filter(truth, SIGMA) + 100
    return np.random.default_rng(0).poisson(light).astype(np.float32), truth.astype(np.float32)


def full_strength(model):
    """The model without the reduction."""
    model.network.config = replace(model.network.config, full_noise=None)
    return model


def restore(image, model="lucyd", **options):
    return nl.deconvolve(image, model, blur_sigma=SIGMA, device="cpu", **options)


@pytest.mark.parametrize(
    ("noise", "share"), [(0.0, 0.3), (0.01, 0.3), (0.025, 0.5), (0.05, 1.0), (0.2, 1.0)], ids=str
)
def test_the_share_rises_with_the_noise(noise, share):
    assert LUCYD(LucydConfig(full_noise=0.05)).share(noise) == pytest.approx(share)
    assert LUCYD(LucydConfig()).share(noise) == 1


def test_a_config_refuses_a_full_noise_of_nothing():
    with pytest.raises(ValueError, match="full_noise is 0; give a number above 0, or None"):
        LucydConfig(full_noise=0)


def test_mask_and_update_term_count_in_part_and_the_formula_holds():
    image, _ = structures(20_000)
    found, full = (
        restore(image, outputs=PARTS),
        restore(image, full_strength(nl.load_model("lucyd")), outputs=PARTS),
    )
    share = found.recipe["first_stage"]["network_share"][0]
    assert share == 0.3
    reach = float(np.ptp(image))
    np.testing.assert_allclose(found.first_estimate, full.first_estimate, atol=1e-6 * reach)
    np.testing.assert_allclose(found.correction_mask, share * full.correction_mask, atol=1e-6 * reach)
    np.testing.assert_allclose(found.update_term, 1 + share * (full.update_term - 1), atol=1e-6)
    np.testing.assert_allclose(
        found.intermediate, found.first_estimate + found.correction_mask, atol=1e-6 * reach
    )
    lo, s = (found.recipe["normalization"][name][0] for name in ("lo", "s"))
    product = np.maximum((found.intermediate - lo) / s * found.update_term, 0)
    np.testing.assert_allclose((found.output - lo) / s, product, atol=1e-5 * reach / s)


def test_flips_tiles_and_a_repeated_run_take_the_same_share():
    image, _ = structures(20_000)
    whole = restore(image)
    reach = float(np.ptp(whole.output))
    assert np.abs(restore(image, tile_shape=(16, 32, 32)).output - whole.output).max() <= 1e-3 * reach
    # The mean over mirror images is as near to the first estimate.
    estimate = restore(image, outputs=("first_estimate",)).first_estimate
    change = np.abs(whole.output - estimate).mean()
    assert np.abs(restore(image, flips=True).output - estimate).mean() < 1.2 * change
    job = plan(image, nl.load_model("lucyd"), blur_sigma=SIGMA, device="cpu")
    measured = job.measure()
    assert measured.groups[0].network_share == 0.3
    again = statistics_from_json(json.loads(json.dumps(statistics_as_json(measured))))
    assert again is not None and again.groups == measured.groups


@pytest.mark.parametrize(("kind", "seed"), [("filaments", 1), ("tubules", 1), ("sheets", 1)], ids=str)
def test_detail_in_good_light_is_kept(kind, seed):
    """The network at full strength loses 1 to 3 dB that the first estimate has restored."""
    image, truth = structures(2_000, kind, seed)
    found = restore(image, outputs=("output", "first_estimate"))
    gain = psnr(found.output - 100, truth) - psnr(found.first_estimate - 100, truth)
    assert gain > -0.3


def test_an_exported_model_takes_the_same_share():
    image, _ = structures(20_000)
    model = nl.load_model("lucyd")
    expected = restore(image, outputs=("output", "correction_mask", "update_term"))
    graph = EstimateGraph(model, expected.recipe["first_stage"]["num_iter"][0], SIGMA).eval()
    with torch.inference_mode():
        parts = graph(torch.from_numpy(image)[None, None])
    for name, part in zip(graph.outputs, parts, strict=True):
        if name != "first_estimate":
            wanted = getattr(expected, name)
            assert np.abs(part[0, 0].numpy() - wanted).max() <= 1e-3 * np.ptp(wanted), name
