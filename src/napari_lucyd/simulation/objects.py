"""Classes of objects in specimens, each drawn on a grid from sparse to crowded.

Each function takes a grid, a density between 0 and 1 and a random generator, and returns light that is not
negative. Its scale is set later, from the brightness of its blurred image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import MappingProxyType

import numpy as np

from napari_lucyd.simulation.phantoms import BACKGROUND, MARGIN, FloatImage, make_phantom
from napari_lucyd.simulation.rasterization import (
    FloatArray,
    Grid,
    around,
    draw_points,
    draw_spots,
    random_paths,
    rotation,
    window,
)
from napari_lucyd.simulation.smooth_noise import SmoothNoise, lognormal

# Standard deviation of the logarithm of brightness: most puncta lie within a factor of 1,000.
PUNCTA_SPREAD = 1.2
PATH_SPREAD = 0.6
BODY_SPREAD = 0.6
# A Gaussian profile of this standard deviation has twice its radius as full width at half maximum.
SIGMA_PER_RADIUS = 1 / math.sqrt(2 * math.log(2))

Draw = Callable[[Grid, float, np.random.Generator], FloatImage]


def draw_puncta(grid: Grid, density: float, generator: np.random.Generator) -> FloatImage:
    """Draw spots smaller than a voxel or little larger, alone and in clusters, of log-normal brightness."""
    count = max(3, round(grid.volume * _between(1e-5, 4e-3, density)))
    places = grid.places(count, generator)
    if generator.random() < 0.5:
        clusters = grid.places(max(1, count // int(generator.integers(4, 40))), generator)
        clustered = generator.random(count) < generator.uniform(0.3, 0.9)
        chosen = clusters[generator.integers(len(clusters), size=count)]
        spread = generator.normal(0, generator.uniform(3, 12), (count, 3))
        places = np.where(clustered[:, None], chosen + spread, places)
    widths = generator.uniform(0.3, 1.0) * generator.uniform(0.8, 1.25, count)
    light = np.exp(PUNCTA_SPREAD * generator.standard_normal(count))
    return draw_spots(grid, places, widths, light)


def draw_filaments(grid: Grid, density: float, generator: np.random.Generator) -> FloatImage:
    """Draw thin fibres with a radius of 0.5 to 1.3 pixels along smooth random walks."""
    radius = generator.uniform(0.5, 1.3)
    length = generator.uniform(40, 240)
    count = max(2, round(grid.volume * _between(1e-5, 4e-4, density) * 100 / length))
    places, _ = _paths(grid, count, length, _between(15, 200, generator.random()), generator)
    light = np.exp(PATH_SPREAD * generator.standard_normal(count))[:, None] * _along(
        places.shape[:2], generator
    )
    return draw_points(grid, places.reshape(-1, 3), light.ravel(), radius * SIGMA_PER_RADIUS)


def draw_tubules(grid: Grid, density: float, generator: np.random.Generator) -> FloatImage:
    """Draw hollow tubes with a radius of 1.5 to 4 pixels and thin walls along smooth random walks."""
    radius = generator.uniform(1.5, 4)
    length = generator.uniform(20, 100)
    count = max(1, round(grid.volume * _between(5e-6, 1.2e-4, density) * 50 / length))
    places, directions = _paths(grid, count, length, _between(20, 120, generator.random()), generator)
    wall = places[:, :, None] + around(directions, radius)
    light = np.exp(PATH_SPREAD * generator.standard_normal(count))[:, None] * _along(
        places.shape[:2], generator
    )
    light = np.broadcast_to(light[:, :, None], wall.shape[:3])
    return draw_points(grid, wall.reshape(-1, 3), light.ravel(), generator.uniform(0.45, 0.9))


def draw_sheets(grid: Grid, density: float, generator: np.random.Generator) -> FloatImage:
    """Draw curved membranes, Gaussian across with a standard deviation of 0.6 to 1.2 pixels.

    They are level sets of a smooth field. A low density leaves only patches of them.
    """
    spacing = _between(40, 7, density)
    noise = SmoothNoise(grid.shape, grid.voxels(spacing), generator)
    # The field divided by its slope is the distance from the level set; extrema have no slope.
    distance = noise.values()
    # A level of an existing voxel, so that the set is not empty.
    voxel = tuple(generator.integers(grid.shape).tolist())
    distance -= distance[voxel]
    distance /= np.maximum(noise.steepness(grid.steps), np.float32(0.2 / spacing))
    distance *= np.float32(1 / generator.uniform(0.6, 1.2))
    distance *= distance
    distance *= np.float32(-0.5)
    light = np.exp(distance, out=distance)
    brightness = SmoothNoise(grid.shape, grid.voxels(generator.uniform(10, 30)), generator).values()
    light *= lognormal(brightness, generator.uniform(0, 0.6))
    if density < 0.5:
        kept = SmoothNoise(grid.shape, grid.voxels(min(spacing, 12.0)), generator).values()
        threshold = min(1 - 2 * density, float(kept[voxel]) - 0.5)
        light *= np.clip(2 * (kept - np.float32(threshold)), 0, 1)
    return light


def draw_bodies(grid: Grid, density: float, generator: np.random.Generator) -> FloatImage:
    """Draw cells or nuclei: deformed ellipsoids of 5 to 25 pixels radius with texture, holes or a rim."""
    typical = _between(6, 18, generator.random())
    count = max(1, round(grid.volume * _between(0.02, 0.7, density) / (4 / 3 * math.pi * typical**3)))
    places = grid.places(count, generator, beyond=typical / 2)
    shapes = SmoothNoise(grid.shape, grid.voxels(0.6 * typical), generator).values()
    texture = lognormal(
        SmoothNoise(grid.shape, grid.voxels(generator.uniform(1.5, 3)), generator).values(),
        generator.uniform(0.1, 0.8),
    )
    texture *= lognormal(
        SmoothNoise(grid.shape, grid.voxels(generator.uniform(4, 8)), generator).values(),
        generator.uniform(0.1, 0.6),
    )
    rim, deformation = generator.choice([0.0, 0.0, 0.5, 1.0]), np.float32(generator.uniform(0.05, 0.25))
    volume = np.zeros(grid.shape, np.float32)
    for place in places:
        radii = typical * np.exp(0.25 * generator.standard_normal(3))
        axes = rotation(generator) / radii[:, None]
        brightness = math.exp(BODY_SPREAD * generator.standard_normal())
        where, offsets = window(grid, place, 1.3 * float(radii.max()))
        if 0 in volume[where].shape:
            continue
        depth = 1 - _length(axes, offsets) + deformation * shapes[where]
        depth *= np.float32(radii.mean())  # now in pixels below the surface
        inside = np.clip(depth + np.float32(0.5), 0, 1)
        if rim:
            inside *= 1 - np.float32(rim) * np.clip(depth / np.float32(2) - 1, 0, 1)
        inside *= texture[where]
        inside *= np.float32(brightness)
        np.maximum(volume[where], inside, out=volume[where])
    return volume


def draw_phantom(grid: Grid, density: float, generator: np.random.Generator) -> FloatImage:
    """Draw the spheres, shells, bars and blocks of `make_phantom`, without its background."""
    least = 2 * MARGIN + 2
    share = _between(0.05, 1.5, density)
    phantom = make_phantom(
        tuple(max(size, least) for size in grid.shape),
        spheres=round(150 * share),
        ellipsoids=round(150 * share),
        boxes=round(400 * share),
        rng=int(generator.integers(2**31)),
    )
    # Smoothing uses zeros beyond the border.
    light = np.maximum(phantom.image - np.float32(BACKGROUND), 0)
    middle = tuple(
        slice((have - n) // 2, (have - n) // 2 + n) for have, n in zip(light.shape, grid.shape, strict=True)
    )
    return np.ascontiguousarray(light[middle])


DRAW: MappingProxyType[str, Draw] = MappingProxyType(
    {
        "puncta": draw_puncta,
        "filaments": draw_filaments,
        "sheets": draw_sheets,
        "bodies": draw_bodies,
        "tubules": draw_tubules,
        "phantom": draw_phantom,
    }
)


def _between(low: float, high: float, share: float) -> float:
    """Interpolate between two numbers by their logarithms."""
    return float(low * (high / low) ** share)


def _paths(
    grid: Grid, count: int, length: float, persistence: float, generator: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    # Cells on a coverslip are flat, and so are the fibres in them.
    flatness = 1.0 if generator.random() < 0.5 else 0.2
    return random_paths(grid, count, length, persistence, flatness, generator)


def _along(shape: tuple[int, ...], generator: np.random.Generator) -> FloatArray:
    """Return the brightness along paths: even, or rising and falling smoothly."""
    if generator.random() < 0.5:
        return np.ones(shape)
    phase = generator.uniform(0, 2 * math.pi, (shape[0], 1))
    period = generator.uniform(20, 120, (shape[0], 1))
    return 1 + generator.uniform(0.2, 0.8) * np.sin(phase + 2 * math.pi * np.arange(shape[1]) / period)


def _length(axes: FloatArray, offsets: list[FloatArray]) -> FloatImage:
    """Return |A x| over a window, from the offsets along its axes."""
    z, y, x = (offset.astype(np.float32) for offset in offsets)
    form = (axes.T @ axes).astype(np.float32)
    plane = form[1, 1] * y[:, None] ** 2 + 2 * form[1, 2] * y[:, None] * x + form[2, 2] * x**2
    cross = 2 * (form[0, 1] * y[:, None] + form[0, 2] * x)
    squared = plane + z[:, None, None] * cross + form[0, 0] * (z**2)[:, None, None]
    return np.asarray(np.sqrt(np.maximum(squared, 0)), np.float32)
