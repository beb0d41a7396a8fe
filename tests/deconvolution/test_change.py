"""The change of a result: its parts add up, and it can be made weaker."""

from __future__ import annotations

import json
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

import napari_lucyd as nl
from napari_lucyd.deconvolution import options_from_recipe
from told_models import blobs, told_model

PARTS = ("first_estimate", "correction_mask", "update_term", "remainder")
ALL = ("output", "correction_mask", "update_term", "first_estimate")


def relu_rest(first, result):
    """The remainder by its definition, from scaling and last batch norm in the recipe."""
    recipe = result.recipe
    lo, s, o = recipe["normalization"]["lo"][0], recipe["normalization"]["s"][0], recipe["o"]
    product = (first - lo + result.correction_mask) * result.update_term
    return np.maximum(product + s * o, 0) - product


def test_the_parts_add_up_and_the_remainder_is_what_the_relu_cut():
    image = blobs(16, 30, 34)
    result = nl.deconvolve(image, told_model(3), blur_sigma=1.2, outputs=ALL, device="cpu")
    change = nl.explain_change(image, result)
    scale = np.abs(change.total).max()
    np.testing.assert_array_equal(change.total, result.output - image)
    np.testing.assert_allclose(
        sum(getattr(change, name) for name in PARTS), change.total, rtol=0, atol=1e-5 * scale
    )
    rest = relu_rest(result.first_estimate, result)
    assert np.abs(change.remainder - rest).max() < 1e-4 * max(scale, np.abs(change.update_term).max())
    # Mask and update term share what they do together: each has its mean effect before and after the other.
    y = result.first_estimate - result.recipe["normalization"]["lo"][0]
    mask, update = result.correction_mask, result.update_term
    np.testing.assert_allclose(change.correction_mask, (mask + mask * update) / 2, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(
        change.update_term, ((update - 1) * y + (update - 1) * (y + mask)) / 2, rtol=1e-5, atol=1e-3
    )


def test_a_network_on_the_image_itself_needs_no_first_estimate_unless_the_image_was_prepared(random_model_2d):
    image = blobs(40, 44)
    result = nl.deconvolve(image, random_model_2d, device="cpu")
    assert not nl.explain_change(image, result).first_estimate.any()
    prepared = nl.deconvolve(image, random_model_2d, prefilter=1.0, device="cpu")
    with pytest.raises(ValueError, match="no first estimate"):
        nl.explain_change(image, prepared)
    prepared = nl.deconvolve(
        image,
        random_model_2d,
        prefilter=1.0,
        device="cpu",
        outputs=("output", "correction_mask", "update_term", "intermediate"),
    )
    change = nl.explain_change(image, prepared)
    rest = relu_rest(image + change.first_estimate, prepared)
    assert np.abs(change.remainder - rest).max() < 1e-4 * np.abs(change.total).max()


def test_channels_have_their_own_dark_level_and_a_region_its_own_part_of_the_image(random_model_2d):
    image = np.stack([blobs(40, 44), 10 * blobs(40, 44, seed=1)])
    region = (slice(3, 33), slice(8, 40))
    whole = nl.deconvolve(image, random_model_2d, axes="CYX", device="cpu")
    part = nl.deconvolve(image, random_model_2d, axes="CYX", region=region, device="cpu")
    assert len(whole.recipe["normalization"]["lo"]) == 2
    expected = nl.explain_change(image, whole)
    for source in (image, image[:, *region], da.from_array(image, chunks=(1, 40, 44))):
        change = nl.explain_change(source, part)
        for name in ("total", *PARTS):
            np.testing.assert_allclose(
                getattr(change, name), getattr(expected, name)[:, *region], rtol=1e-4, atol=0.05
            )


def test_a_strength_lies_between_image_and_output_and_is_in_the_recipe(random_model_2d):
    image = blobs(40, 44).astype(np.uint16)
    result = nl.deconvolve(image, random_model_2d, device="cpu")
    np.testing.assert_array_equal(nl.adjust_strength(image, result, 1).output, result.output)
    np.testing.assert_array_equal(nl.adjust_strength(image, result, 0).output, image)
    weak = nl.adjust_strength(image, nl.adjust_strength(image, result, 0.5), 0.5)
    np.testing.assert_allclose(weak.output, image + 0.25 * (result.output - image), rtol=1e-5, atol=1e-2)
    recipe = json.loads(json.dumps(weak.recipe))
    assert recipe["strength"] == 0.25 and weak.correction_mask is None
    assert options_from_recipe(recipe) == options_from_recipe(result.recipe)


def test_what_cannot_be_done_is_said(random_model_2d):
    image = blobs(40, 44)
    result = nl.deconvolve(image, random_model_2d, device="cpu")
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="from 0 to 1"):
            nl.adjust_strength(image, result, wrong)
    with pytest.raises(ValueError, match=r"\(40, 40\).*\(40, 44\)"):
        nl.adjust_strength(image[:, :40], result, 0.5)
    with pytest.raises(ValueError, match="no correction_mask"):
        nl.explain_change(image, replace(result, correction_mask=None))
    psf = np.ones((3, 3), np.float32) / 9
    classical = nl.deconvolve(image, nl.RichardsonLucy(psf, num_iter=2), device="cpu")
    assert nl.adjust_strength(image, classical, 0.5).output.shape == image.shape
    with pytest.raises(ValueError, match="no correction_mask"):
        nl.explain_change(image, classical)
