"""Images of the trust suite: simple shapes on an even background, blurred and noisy, with their truth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from napari_lucyd.evaluation.protocols import Sample, gaussian_psf
from napari_lucyd.simulation.degradation import REACH, blur
from napari_lucyd.simulation.phantoms import FloatImage

# Small, so that all methods finish in minutes. A plane has the last two.
SHAPE = (32, 64, 64)
# The widest blur of the strict models' training, inside the range of the open track.
BLUR = 1.5
# Camera counts. The background is high enough for noise to stay above 0.
BACKGROUND = 200.0
SIGNAL = 1000.0
# Standard deviation as a share of the signal. The image is good, so the test measures the method.
NOISE = 0.03
# Between the centres of the objects in a field.
CELL = 16
# Radii of objects that are blurred but not points.
RADII = (2.0, 3.0)
# Brightness of the faintest object of a field, relative to the brightest.
FAINTEST = 0.2


def ball(shape: Sequence[int], centre: Sequence[float], radius: float) -> FloatImage:
    """Draw a ball (a disc in 2D) with value 1 in 0 and an edge one voxel wide.

    Parameters
    ----------
    shape
        Shape of the image, ([Z,] Y, X).
    centre, radius
        Position and size in voxels.
    """
    offsets = np.meshgrid(
        *(np.arange(n) - c for n, c in zip(shape, centre, strict=True)), indexing="ij", sparse=True
    )
    distance = np.sqrt(sum(offset.astype(np.float32) ** 2 for offset in offsets))
    return np.asarray(np.clip(radius + 0.5 - distance, 0, 1), np.float32)


def brightened(light: FloatImage) -> FloatImage:
    """Scale light so that the brightest voxel of its blurred image is `SIGNAL`."""
    return np.asarray(light * (SIGNAL / float(blurred(light).max())), np.float32)


def blurred(light: FloatImage) -> FloatImage:
    """Blur light as the microscope does, without background and noise."""
    return blur(light, (BLUR,) * light.ndim)


def exposed(light: FloatImage, seed: int) -> Sample:
    """Image light through the microscope onto the camera.

    Parameters
    ----------
    light
        Truth above `BACKGROUND`.
    seed
        Seed of the noise. Equal seeds give equal noise, whatever the light.
    """
    noise = np.random.default_rng(seed).normal(0, NOISE * SIGNAL, light.shape).astype(np.float32)
    psf = gaussian_psf(BLUR, 2 * round(REACH * BLUR) + 1, light.ndim)
    return Sample(blurred(light) + np.float32(BACKGROUND) + noise, light + np.float32(BACKGROUND), psf)


def cells(dimension: int) -> list[tuple[int, ...]]:
    """Return the centres of the cells of a field, `CELL` apart along each axis."""
    return list(product(*(range(CELL // 2, size, CELL) for size in SHAPE[-dimension:])))


def field_of_balls(dimension: int) -> tuple[list[FloatImage], list[float]]:
    """Draw a ball in every cell, each in its own image so that it can be changed; return images and radii.

    Sizes and brightness are shuffled. The brightness falls geometrically to `FAINTEST` of the largest.
    """
    centres = cells(dimension)
    generator = np.random.default_rng(0)
    brightness = generator.permutation(np.geomspace(1, FAINTEST, len(centres)))
    radii = generator.permutation(np.linspace(*RADII, len(centres)))
    balls = [
        np.float32(level) * ball(SHAPE[-dimension:], centre, radius)
        for level, centre, radius in zip(brightness, centres, radii, strict=True)
    ]
    scale = np.float32(SIGNAL / float(blurred(np.sum(balls, axis=0)).max()))
    return [scale * light for light in balls], radii.tolist()
