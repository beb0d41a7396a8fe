"""The images of the trust suite: a few shapes on an even background, blurred and with noise, truth known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from napari_lucyd.evaluation.protocols import Sample, gaussian_psf
from napari_lucyd.simulation.degradation import REACH, blur
from napari_lucyd.simulation.phantoms import FloatImage

# Small, so that all methods are through in minutes; a plane is the last two.
SHAPE = (32, 64, 64)
# The upper end of what the strict models were trained on, and inside the range of the open track.
BLUR = 1.5
# Camera counts. The background is high enough for noise to stay above 0.
BACKGROUND = 200.0
SIGNAL = 1000.0
# Standard deviation as a share of the signal: a good image, so that what is measured is the method.
NOISE = 0.03
# Between the centres of the objects in a field.
CELL = 16
# Those of objects that are blurred but not points.
RADII = (2.0, 3.0)
# The faintest of a field, against the brightest.
FAINTEST = 0.2


def ball(shape: Sequence[int], centre: Sequence[float], radius: float) -> FloatImage:
    """A ball, in 2D a disc, of 1 in 0 with an edge one voxel wide.

    Parameters
    ----------
    shape
        ([Z,] Y, X).
    centre, radius
        In voxels.
    """
    offsets = np.meshgrid(
        *(np.arange(n) - c for n, c in zip(shape, centre, strict=True)), indexing="ij", sparse=True
    )
    distance = np.sqrt(sum(offset.astype(np.float32) ** 2 for offset in offsets))
    return np.asarray(np.clip(radius + 0.5 - distance, 0, 1), np.float32)


def brightened(light: FloatImage) -> FloatImage:
    """The same light, scaled so that its blurred image is `SIGNAL` at its brightest voxel."""
    return np.asarray(light * (SIGNAL / float(blurred(light).max())), np.float32)


def blurred(light: FloatImage) -> FloatImage:
    """What the microscope makes of the light, without background and noise."""
    return blur(light, (BLUR,) * light.ndim)


def exposed(light: FloatImage, seed: int) -> Sample:
    """The light through the microscope onto the camera.

    Parameters
    ----------
    light
        The truth above `BACKGROUND`.
    seed
        Of the noise, which is the same for equal seeds whatever the light.
    """
    noise = np.random.default_rng(seed).normal(0, NOISE * SIGNAL, light.shape).astype(np.float32)
    psf = gaussian_psf(BLUR, 2 * round(REACH * BLUR) + 1, light.ndim)
    return Sample(blurred(light) + np.float32(BACKGROUND) + noise, light + np.float32(BACKGROUND), psf)


def cells(dimension: int) -> list[tuple[int, ...]]:
    """The centres of a field's cells, `CELL` apart along each axis."""
    return list(product(*(range(CELL // 2, size, CELL) for size in SHAPE[-dimension:])))


def field_of_balls(dimension: int) -> tuple[list[FloatImage], list[float]]:
    """A ball in every cell, each in an image of its own so that one can be changed, and their radii.

    Sizes and brightness are mixed; brightness falls geometrically to `FAINTEST` of the largest.
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
