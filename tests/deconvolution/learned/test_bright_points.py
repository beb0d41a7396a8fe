"""Points and small beads far brighter than the training data keep their light."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import napari_lucyd as nl


def beads(shape, sigma, photons):
    """The image of beads of 1.6 voxels between voxels, and of their blurred light."""
    specimen = np.zeros(shape)
    middle = tuple(n // 2 for n in shape[:-2])
    for y in (18, 46):
        for x in (18, 46):
            specimen[(*middle, y, x)] = 1
    specimen = ndimage.shift(specimen, [0.3] * len(shape), order=1, prefilter=False)
    specimen = ndimage.uniform_filter(specimen, [1] * (len(shape) - 2) + [2, 2])
    light = ndimage.gaussian_filter(specimen, sigma)
    light *= photons / light.max()
    return np.random.default_rng(0).poisson(light + 50).astype(np.float32), light


@pytest.mark.parametrize("photons", [300, 3_000, 20_000])
@pytest.mark.parametrize("shape", [(24, 64, 64), (64, 64)], ids=str)
def test_small_bright_beads_keep_their_light(shape, photons):
    sigma = (1.5, 1.3, 1.3)[-len(shape) :]
    image, light = beads(shape, sigma, photons)
    output = nl.deconvolve(image, "lucyd", blur_sigma=sigma, device="cpu").output
    output = output - np.median(output)
    for y in (18, 46):
        for x in (18, 46):
            near = (..., slice(y - 8, y + 9), slice(x - 8, x + 9))
            # Light from the background's noise is within a tenth.
            assert output[near].sum() == pytest.approx(light[near].sum(), rel=0.2)


@pytest.mark.parametrize("shape", [(24, 64, 64), (64, 64)], ids=str)
def test_tiles_and_parts_agree_where_voxels_exceed_the_ceiling(shape):
    sigma = (1.5, 1.3, 1.3)[-len(shape) :]
    image, _ = beads(shape, sigma, 3_000)
    outputs = ("output", "correction_mask", "update_term", "first_estimate")
    whole = nl.deconvolve(image, "lucyd", blur_sigma=sigma, device="cpu", outputs=outputs)
    scale = whole.recipe["normalization"]
    y = (whole.first_estimate - scale["lo"][0]) / scale["s"][0]
    assert y.max() > nl.load_model("lucyd" if len(shape) == 3 else "lucyd-planes").network.config.ceiling
    product = np.maximum(0, (y + whole.correction_mask / scale["s"][0]) * whole.update_term)
    found = (whole.output - scale["lo"][0]) / scale["s"][0]
    np.testing.assert_allclose(found, product, atol=1e-5 * float(np.ptp(found)))
    tiled = nl.deconvolve(
        image, "lucyd", blur_sigma=sigma, device="cpu", outputs=outputs, tile_shape=(*shape[:-2], 32, 32)
    )
    for name in outputs:
        expected = getattr(whole, name)
        error = float(np.abs(getattr(tiled, name) - expected).max())
        assert error <= 1e-3 * float(np.ptp(expected)), name
