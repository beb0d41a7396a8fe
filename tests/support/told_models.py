"""Models that are told the blur, with random weights, and an image for them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from random_networks import randomised


def told_model(dimension: int):
    """A model on first estimates whose network has random weights."""
    from napari_lucyd.models import Model

    scaling = {"method": "first_estimate", "pedestal": 0.25}
    return Model.from_network(randomised(dimension), name="told", normalization=scaling)


def blobs(*shape: int, seed: int = 0, level: float = 100.0) -> np.ndarray:
    """Blurred bright spots above a dark level, with photon noise: float32, in counts."""
    generator = np.random.default_rng(seed)
    truth = np.zeros(shape)
    for _ in range(max(3, truth.size // 400)):
        truth[tuple(generator.integers(n) for n in shape)] += 4000
    light = ndimage.gaussian_filter(truth, 1.2)
    return generator.poisson(light + level).astype(np.float32)
