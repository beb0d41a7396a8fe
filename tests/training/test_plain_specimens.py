"""Beads alone and flat fields: their places, their brightness after the blur, and their use in training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_lucyd.models.normalization import Normalization
from napari_lucyd.simulation.structures import CONTRAST
from napari_lucyd.training import estimates, plain_specimens
from napari_lucyd.training.config import DataConfig
from napari_lucyd.training.estimates import EstimateSpecimen
from napari_lucyd.training.loss import local_flux_error, local_light_error
from napari_lucyd.training.plain_specimens import make_beads, make_flat_fields

SHAPE, FIELD = (24, 60, 60), (16, 40, 40)
DATA = DataConfig(
    track="estimates", blur_sigma=(1.0, 1.6), noise_sigma=(0.5, 1.0), photons=(1e4, 2e4),
    modalities=("gaussian",), patch_shape=(8, 16, 16), phantom_shape=(16, 32, 32), alive=2,
)  # fmt: skip
SCALE = Normalization("first_estimate", pedestal=0.25)


@pytest.mark.parametrize(("size", "is_ball", "limits"), [(1.0, False, (0.9, 1.1)), (3.0, True, (1.0, 3.0))])
def test_blurred_image_of_a_bead_has_its_level(size, is_ball, limits):
    light = np.zeros((24, 32, 32), np.float32)
    plain_specimens._add_bead(light, (12, 16, 16), size, is_ball, 0.5, (1.5, 1.5, 1.5), 1.0)
    seen = ndimage.gaussian_filter(light, 1.5)
    low, high = limits
    assert low * 0.5 * CONTRAST < seen[12, 16, 16] < high * 0.5 * CONTRAST
    assert seen[12, 16, 16] == seen.max()


@pytest.mark.parametrize("seed", range(6))
def test_at_least_one_bead_is_in_the_field(seed):
    light = make_beads(SHAPE, FIELD, (1.5, 1.5, 1.5), 1.0, np.random.default_rng(seed))
    assert light.min() == 0 and light.dtype == np.float32
    assert light[4:-4, 10:-10, 10:-10].max() > 0.05 * CONTRAST


def test_beads_are_in_the_dark_and_some_fields_have_one_some_have_many():
    counts = []
    for seed in range(30):
        light = make_beads(SHAPE, FIELD, (1.5, 1.5, 1.5), 1.0, np.random.default_rng(seed))
        counts.append(ndimage.label(light > 1)[1])
        assert (light < 1e-3 * CONTRAST).mean() > 0.5
    assert min(counts) <= 6 and max(counts) >= 30


def test_planes_with_beads_are_used():
    lights = [
        make_beads(SHAPE, FIELD, (1.5, 1.5, 1.5), 1.0, np.random.default_rng(seed), planes=[3])
        for seed in range(20)
    ]
    through = np.sum([light.sum((1, 2)) for light in lights], axis=0)
    assert np.argmax(through) == 4 + 3


def test_flat_fields_are_even_inside_and_some_are_empty():
    lights = [make_flat_fields(SHAPE, 1.0, np.random.default_rng(seed)) for seed in range(40)]
    empty = sum(not light.any() for light in lights)
    assert 2 <= empty <= 25
    for light in lights:
        assert len(np.unique(light)) <= 6 and light.max() <= CONTRAST
        assert (np.abs(np.diff(light, axis=-1)) > 0).mean() < 0.2


def test_flat_fields_of_planes_reach_through_all_of_them():
    light = make_flat_fields(SHAPE, 1.0, np.random.default_rng(1), through_planes=True)
    assert light.any() and (light == light[:1]).all()


@pytest.mark.parametrize(("share", "name"), [("beads", "make_beads"), ("flat", "make_flat_fields")])
def test_their_share_of_the_specimens_is_drawn(share, name, monkeypatch):
    drawn = []

    def light(shape, *_):
        drawn.append(shape)
        return np.zeros(shape, np.float32)

    monkeypatch.setattr(estimates, name, light)
    EstimateSpecimen(DATA, SCALE, 5)
    assert not drawn
    EstimateSpecimen(replace(DATA, **{share: 1.0}), SCALE, 5)
    assert len(drawn) == 1


def test_faint_ring_beside_a_bright_bead_counts_more_in_the_absolute_error():
    truth = torch.zeros(1, 1, 16, 32, 32)
    truth[..., 8, 16, 16] = 100
    missed, ring = truth.clone(), truth.clone()
    missed[..., 8, 16, 16] -= 80
    ring[..., 4:12, 8:24, 8:24] -= 0.02
    absolute, squared = (
        float(error(ring, truth) / error(missed, truth)) for error in (local_light_error, local_flux_error)
    )
    assert absolute > 5 * squared
    assert local_light_error(truth, truth) == pytest.approx(0, abs=1e-8)
