"""The part of a volume that is judged in place of the whole, and its division into two halves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_lucyd.photons import NoiseModel, SplitImage, thin

Values = npt.NDArray[np.float32]

# Smallest size of a part along each axis, in voxels, where the image has as many.
_SMALLEST_SIDE = 32
# Factor by which a part's longest sides become shorter until it has the number of voxels.
_NARROWED = 0.95
# The volume is looked at on about this number of voxels.
_LOOKED_AT = 2**22


def contrast_part(volume: Any, voxels: int) -> tuple[slice, ...]:
    """Return a part with about this number of voxels where the image has the most contrast.

    Parameters
    ----------
    volume
        (Y, X) or (Z, Y, X); only every nth voxel is read of a large one.
    voxels
        Number of voxels of the part.
    """
    shape = tuple(int(n) for n in volume.shape)
    side = max(shape)
    while side > _SMALLEST_SIDE and math.prod(min(n, side) for n in shape) > voxels:
        side = max(_SMALLEST_SIDE, int(side * _NARROWED))
    sizes = [min(n, side) for n in shape]
    stride = max(1, round((math.prod(shape) / _LOOKED_AT) ** (1 / len(shape))))
    coarse = np.asarray(volume[tuple(slice(None, None, stride) for _ in shape)], np.float32)
    coarse = np.nan_to_num(coarse, nan=0.0, posinf=0.0, neginf=0.0)
    boxes = [max(1, min(n // stride, 8)) for n in sizes]
    smooth = ndimage.uniform_filter(coarse, boxes)
    spread = np.square(smooth - np.median(smooth))
    light = ndimage.uniform_filter(spread, [max(1, n // stride) for n in sizes], mode="constant")
    centre = np.unravel_index(int(np.argmax(light)), light.shape)
    starts = [
        int(np.clip(int(at) * stride - size // 2, 0, n - size))
        for at, size, n in zip(centre, sizes, shape, strict=True)
    ]
    return tuple(slice(low, low + size) for low, size in zip(starts, sizes, strict=True))


def halves_of(image: Values, noise: NoiseModel, seed: int) -> tuple[Values, Values]:
    """Divide an image's photons into two independent images of its own mean, each with twice the variance.

    Parameters
    ----------
    image
        (Y, X) or (Z, Y, X), finite.
    noise
        Noise model with photon noise.
    seed
        Seed of the random division, 0 or more.
    """
    split: SplitImage = thin(image, noise, share=0.5, seed=seed)
    # The background of a split counts read noise as photons, as `NoiseModel.zero_level` does.
    first, second = (noise.from_photons(2 * half) for half in (split.fitted, split.held_out))
    return first, second
