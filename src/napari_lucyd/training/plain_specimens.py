"""Plain training specimens: a few beads in the dark, and flat fields side by side.

Structures of cells seldom look like this, but users test a method on such images first, and measure in them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from napari_lucyd.simulation.phantoms import FloatImage
from napari_lucyd.simulation.structures import CONTRAST

# Limits of the number of beads in a field, drawn log-uniformly, and most beads of a specimen.
_COUNT, _MOST = (1.0, 60.0), 400
# Limits in pixels of the radius of balls, and of the standard deviation of Gaussian spots.
_BALL, _SPOT = (0.5, 4.0), (0.3, 1.6)
# Share of the beads that are balls with an edge; the others are Gaussian spots.
_BALLS = 0.6
# Largest range of the beads' brightness in one field.
_RANGE = 1000.0
# Limits of the number of boxes, of their sizes in pixels, and of their level as a share of the contrast.
_BOXES, _SIDE, _LEVEL = (1, 5), (10.0, 90.0), (0.08, 1.0)
# Probability that a box reaches through the whole specimen along an axis.
_THROUGH = 0.4


def make_beads(
    shape: Sequence[int],
    field: Sequence[int],
    sigmas: Sequence[float],
    anisotropy: float,
    generator: np.random.Generator,
    planes: Sequence[int] = (),
) -> FloatImage:
    """Draw balls and spots alone in the dark; blurred, the brightest spot has the contrast.

    A small ball has up to three times as much, a spot much narrower than a voxel less.

    Parameters
    ----------
    shape, field
        Size of the specimen (Z, Y, X), and of the field in its middle that the camera sees.
    sigmas
        Blur in voxels, for the brightness of the blurred beads.
    anisotropy
        Distance between planes in pixels.
    generator
        Source of all random numbers.
    planes
        Planes of the field in which half of the beads lie; empty for none.

    Returns
    -------
    ndarray
        Light, float32, not negative, without a background.
    """
    whole, inner = np.array(shape), np.array(field)
    corner = (whole - inner) // 2
    wanted = math.exp(generator.uniform(*np.log(_COUNT)))
    count = min(_MOST, max(1, round(wanted * math.prod(shape) / math.prod(field))))
    places = generator.uniform(0, whole - 1, (count, len(whole)))
    # One bead at least is in the field.
    places[0] = corner + generator.uniform(0.1, 0.9, len(whole)) * (inner - 1)
    if planes:
        chosen = np.flatnonzero(generator.random(count) < 0.5)
        places[chosen, 0] = corner[0] + generator.choice(planes, len(chosen))
    spread = generator.uniform(0, math.log(_RANGE))
    brightness = np.exp(-spread * generator.random(count))
    brightness[0] = 1.0
    # Beads of one size, or of many.
    mixed, is_ball = generator.random() < 0.5, generator.random() < _BALLS
    share = generator.random()
    light = np.zeros(shape, np.float32)
    for place, level in zip(places, brightness, strict=True):
        if mixed:
            is_ball, share = generator.random() < _BALLS, generator.random()
        low, high = _BALL if is_ball else _SPOT
        _add_bead(light, place, low + (high - low) * share, is_ball, level, sigmas, anisotropy)
    return light


def make_flat_fields(
    shape: Sequence[int], anisotropy: float, generator: np.random.Generator, through_planes: bool = False
) -> FloatImage:
    """Draw large boxes with even levels; one specimen in four is empty.

    Parameters
    ----------
    shape
        Size of the specimen (Z, Y, X).
    anisotropy
        Distance between planes in pixels.
    generator
        Source of all random numbers.
    through_planes
        True if all boxes reach through all planes.

    Returns
    -------
    ndarray
        Light, float32, not negative, without a background.
    """
    light = np.zeros(shape, np.float32)
    if generator.random() < 0.25:
        return light
    # They lie around the middle, where the camera's field is.
    for _ in range(generator.integers(*_BOXES, endpoint=True)):
        where = []
        for axis, n in enumerate(shape):
            side = generator.uniform(*_SIDE) / (anisotropy if axis == 0 and len(shape) == 3 else 1)
            middle = n / 2 + generator.uniform(-0.7, 0.7) * min(n / 2, _SIDE[1] / 2)
            through = generator.random() < _THROUGH or (axis == 0 and through_planes)
            start, stop = (0, n) if through else (round(middle - side / 2), round(middle + side / 2))
            where.append(slice(max(0, start), max(0, stop)))
        light[tuple(where)] = CONTRAST * math.exp(generator.uniform(*np.log(_LEVEL)))
    return light


def _add_bead(
    light: FloatImage,
    place: Sequence[float],
    size: float,
    is_ball: bool,
    level: float,
    sigmas: Sequence[float],
    anisotropy: float,
) -> None:
    """Add a ball of a radius, or a spot of a standard deviation, in pixels; blurred it has the level."""
    # Thinner than a plane it could fall between two planes.
    radii = np.array([max(size / anisotropy, 0.5), size, size])[-light.ndim :]
    reach = np.ceil(radii + 1 if is_ball else 4 * radii).astype(int)
    starts = [max(0, round(p) - r) for p, r in zip(place, reach, strict=True)]
    stops = [min(n, round(p) + r + 1) for n, p, r in zip(light.shape, place, reach, strict=True)]
    if any(stop <= start for start, stop in zip(starts, stops, strict=True)):
        return
    axes = [np.arange(a, b) - p for a, b, p in zip(starts, stops, place, strict=True)]
    offsets = np.meshgrid(*axes, indexing="ij", sparse=True)
    distance = np.sqrt(sum((d / r) ** 2 for d, r in zip(offsets, radii, strict=True)))
    bead = np.clip((1 - distance) * size + 0.5, 0, 1) if is_ball else np.exp(-0.5 * distance**2)
    # The blurred height of a Gaussian with the bead's spread; a ball's is its radius over the root of 5.
    spreads = radii / math.sqrt(5) if is_ball else radii
    shares = [s / math.hypot(s, sigma) for s, sigma in zip(spreads, sigmas, strict=True)]
    where = tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))
    light[where] += (CONTRAST * level / math.prod(shares) * bead).astype(np.float32)
