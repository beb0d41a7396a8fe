"""Images of known noise for this room's tests."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def texture(shape, blur, seed=0) -> np.ndarray:
    """Blobs and thin branched structure after a blur, float64: 0 is dark, 1 its 99.9th percentile."""
    random = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(random.normal(size=shape), 6)
    fine = ndimage.gaussian_filter(random.normal(size=shape), 2.0)
    bodies = np.clip(field / field.std() - 0.3, 0, 1)
    ridges = np.exp(-((fine / fine.std()) ** 2) / 0.02) * (field > 0)
    # A part without any light, as beside a cell.
    bodies[..., : shape[-1] // 4] = ridges[..., : shape[-1] // 4] = 0
    image = ndimage.gaussian_filter(bodies + ridges, blur)
    return image / np.percentile(image, 99.9)


def photograph(light, gain=1.0, offset=0.0, read_noise=0.0, seed=1) -> np.ndarray:
    """Grey levels of a camera for expected photons, float64."""
    random = np.random.default_rng(seed)
    return gain * random.poisson(light) + offset + random.normal(0, read_noise, np.shape(light))
