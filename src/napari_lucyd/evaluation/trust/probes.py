"""Probes of the trust suite: each makes images, lets a method restore them, and returns numbers.

A probe needs only a function that restores a `Sample`, in the sample's units. The suite passes one that calls
`deconvolve` with its defaults, as a user would.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_lucyd.evaluation.protocols import Sample
from napari_lucyd.evaluation.trust.images import (
    BACKGROUND,
    BLUR,
    CELL,
    NOISE,
    SHAPE,
    SIGNAL,
    ball,
    blurred,
    brightened,
    cells,
    exposed,
    field_of_balls,
)
from napari_lucyd.psf.widths import full_width
from napari_lucyd.simulation.phantoms import FloatImage

Restore = Callable[[Sample], FloatImage]
# None if there is no such number: a peak that never falls to half its height has no width.
Numbers = dict[str, float | None]
Volume = npt.NDArray[np.float64]

# A voxel this many standard deviations of the image's noise above the background counts as seen.
OBJECT_SIGMAS = 3.0
DISTANCES = (2, 3, 4, 5, 6)
# Rayleigh: between two points that are just resolved, the light falls to 73.5 %.
RAYLEIGH_DIP = 0.265
# A point with less than this share of its height in the image is lost.
LOST = 0.2
BEAD_RADIUS = 1.25
# Width of the ball as `images.ball` draws it.
BEAD_WIDTH = 8 / 3
# Distances from the centre of a bead in voxels. The bead with its blur and any rings ends at the first; its
# surroundings end at the second.
BEAD_REACH, BEAD_SURROUNDINGS = 10, 15
# Number of flat fields side by side, and the reach of the blur at their edges.
STEPS = 4
STEP_MARGIN = 5
# Ball beside an empty field, and the start of the field along X: 20 voxels from the edge of the ball. The
# blur of the ball ends after 6.
NEIGHBOUR_RADIUS = 6
NEIGHBOUR_CENTRE = (16, 14, 14)
FIELD_START = 40
OFFSET = 1000.0


def measure_empty(restore: Restore, dimension: int) -> Numbers:
    """Measure an image of background and noise alone, in which only noise sets the normalization."""
    sample = exposed(np.zeros(SHAPE[-dimension:], np.float32), seed=1)
    return _emptiness(restore(sample), sample.image)


def measure_beside(restore: Restore, dimension: int) -> Numbers:
    """Measure the empty part of an image with a bright ball elsewhere."""
    shape = SHAPE[-dimension:]
    light = brightened(ball(shape, NEIGHBOUR_CENTRE[-dimension:], NEIGHBOUR_RADIUS))
    sample = exposed(light, seed=2)
    return _emptiness(restore(sample)[..., FIELD_START:], sample.image[..., FIELD_START:])


def measure_flat(restore: Restore, dimension: int) -> Numbers:
    """Measure a constant image without noise, and four noisy flat fields side by side."""
    shape = SHAPE[-dimension:]
    constant = exposed(np.zeros(shape, np.float32), seed=0)
    level = np.full(shape, BACKGROUND, np.float32)
    deviation = float(np.abs(restore(Sample(level, level, constant.psf)) - level).max()) / BACKGROUND

    width = shape[-1] // STEPS
    light = np.broadcast_to(np.repeat(np.linspace(0, SIGNAL, STEPS), width), shape).astype(np.float32)
    sample = exposed(light, seed=3)
    output = restore(sample)
    errors, spreads = [], []
    for step in range(STEPS):
        inside = (..., slice(step * width + STEP_MARGIN, (step + 1) * width - STEP_MARGIN))
        errors.append(float(output[inside].mean(dtype=np.float64) - sample.truth[inside].mean()) / SIGNAL)
        spreads.append(float(output[inside].std(dtype=np.float64)) / (NOISE * SIGNAL))
    worst = max(errors, key=abs)
    return {"constant": 100 * deviation, "level": 100 * worst, "grain": max(spreads)}


def measure_bead(restore: Restore, dimension: int) -> Numbers:
    """Measure the light, width and surroundings of a small ball alone in the field, three times."""
    shape = SHAPE[-dimension:]
    fluxes, widths, profiles = [], [], []
    # Odd and even positions: networks that halve their resolution treat them differently.
    for number, shift in enumerate((0, 1, 2)):
        centre = tuple(n // 2 + shift for n in shape)
        sample = exposed(brightened(ball(shape, centre, BEAD_RADIUS)), seed=10 + number)
        output = np.asarray(restore(sample), np.float64)
        distance = _distance(shape, centre)
        inside, outside = distance <= BEAD_REACH, (distance > BEAD_REACH) & (distance <= BEAD_SURROUNDINGS)
        background = float(output[outside].mean())
        light = float((output[inside] - background).sum())
        fluxes.append(light / float((sample.truth[inside] - BACKGROUND).sum()))
        widths.append(_width(output, centre, background))
        shells = np.bincount(distance[inside].round().astype(int), output[inside] - background)
        profiles.append(shells / np.bincount(distance[inside].round().astype(int)))
    width = float(np.mean(widths))
    return {
        "flux": float(np.mean(fluxes)),
        "fwhm": width if np.isfinite(width) else None,
        "ring": _ring(np.mean(profiles, axis=0)),
    }


def measure_pairs(restore: Restore, dimension: int) -> Numbers:
    """Measure whether pairs of equal points at falling distance along X are resolved, each four times."""
    shape = SHAPE[-dimension:]
    dips: dict[int, list[float]] = {distance: [] for distance in DISTANCES}
    for number in range(2):
        light = np.zeros(shape, np.float32)
        starts = pair_positions(dimension, number)
        for distance, point in starts:
            light[point] += 1
            light[(*point[:-1], point[-1] + distance)] += 1
        light = brightened(light)
        seen = blurred(light)
        output = np.asarray(restore(exposed(light, seed=20 + number)), np.float64) - BACKGROUND
        for distance, point in starts:
            line, height = output[point[:-1]], seen[point]
            dips[distance].append(_dip(line, point[-1], distance, float(height)))
    middle: dict[int, float] = {distance: float(np.median(found)) for distance, found in dips.items()}
    resolved = [distance for distance in DISTANCES if middle[distance] >= RAYLEIGH_DIP]
    merged = [distance for distance in DISTANCES if distance not in resolved]
    # All larger distances must be resolved too; a resolved one below a merged one is chance.
    smallest = min((distance for distance in resolved if distance > max(merged, default=0)), default=None)
    numbers: Numbers = {f"dip_{distance}": 100 * middle[distance] for distance in DISTANCES}
    return numbers | {"resolved": smallest}


def pair_positions(dimension: int, number: int) -> list[tuple[int, tuple[int, ...]]]:
    """Return the distance and the first point of each pair, for one of two images."""
    height = SHAPE[-2] // len(DISTANCES)
    middle = (SHAPE[0] // 2 + number,) if dimension == 3 else ()
    return [
        (distance, (*middle, height // 2 + row * height + number, column + number))
        for row, distance in enumerate(DISTANCES)
        for column in (12, 45)
    ]


def measure_linearity(restore: Restore, dimension: int) -> Numbers:
    """Measure a field of balls: doubled, with a constant added, and with one ball twice as bright."""
    balls, radii = field_of_balls(dimension)
    # A ball of medium brightness, which stays below the brightest when doubled.
    peaks = [float(light.max()) for light in balls]
    chosen = int(np.argsort(peaks)[len(peaks) // 4])
    plain = exposed(np.sum(balls, axis=0), seed=30)
    doubled = exposed(np.sum([*balls, balls[chosen]], axis=0), seed=30)
    output = np.asarray(restore(plain), np.float64)
    span = float(np.ptp(output)) or 1.0
    twice = restore(Sample(2 * plain.image, 2 * plain.truth, plain.psf))
    lifted = restore(Sample(plain.image + np.float32(OFFSET), plain.truth + np.float32(OFFSET), plain.psf))
    before = object_fluxes(output, radii)
    after = object_fluxes(restore(doubled), radii)
    others = np.arange(len(balls)) != chosen
    change = np.abs(after - before)[others].sum() / np.abs(before[others]).sum() if before.any() else 0.0
    return {
        "twice": 100 * float(np.abs(twice - 2 * output).max()) / span,
        "lifted": 100 * float(np.abs(lifted - output - OFFSET).max()) / span,
        "one": float(after[chosen] / before[chosen]) if before[chosen] > 0 else None,
        "others": 100 * float(change),
    }


def measure_flux(restore: Restore, dimension: int) -> Numbers:
    """Measure the light of each ball of a field, before and after."""
    balls, radii = field_of_balls(dimension)
    sample = exposed(np.sum(balls, axis=0), seed=40)
    output = restore(sample)
    given, found = object_fluxes(sample.truth, radii), object_fluxes(output, radii)
    ratios = found / given
    order = np.argsort([float(light.max()) for light in balls])
    quarter = len(order) // 4
    whole = (output - BACKGROUND).sum(dtype=np.float64) / (sample.truth - BACKGROUND).sum(dtype=np.float64)
    return {
        "whole": float(whole),
        "total": float(found.sum() / given.sum()),
        "bright": float(ratios[order[-quarter:]].mean()),
        "faint": float(ratios[order[:quarter]].mean()),
        "spread": float(ratios.std()),
    }


def object_fluxes(image: npt.NDArray[np.floating], radii: list[float]) -> Volume:
    """Measure the light of each ball of a field above the mean of its surroundings in its cell.

    Parameters
    ----------
    image
        Image of `field_of_balls`, ([Z,] Y, X).
    radii
        Radii of the balls in voxels.
    """
    found = []
    for centre, radius in zip(cells(image.ndim), radii, strict=True):
        window = tuple(slice(c - CELL // 2, c + CELL // 2) for c in centre)
        cell = np.asarray(image[window], np.float64)
        distance = _distance(cell.shape, (CELL // 2,) * image.ndim)
        # A sphere that contains the blurred ball and fits into the cell.
        inside = distance <= radius + 3 * BLUR
        found.append((cell[inside] - cell[~inside].mean()).sum())
    return np.array(found)


def _emptiness(output: FloatImage, image: FloatImage) -> Numbers:
    """Measure an empty field, in standard deviations of the added noise."""
    sigma = NOISE * SIGNAL
    above = (np.asarray(output, np.float64) - BACKGROUND) / sigma
    # Voxels that touch by a corner are one object.
    labels, _ = ndimage.label(above > OBJECT_SIGMAS, np.ones((3,) * above.ndim))
    sizes = np.bincount(labels.ravel())[1:]
    return {
        "noise": float(above.std() * sigma / image.std(dtype=np.float64)),
        "peak": float(above.max()),
        "largest": float(sizes.max(initial=0)),
        "shift": float(above.mean()),
    }


def _distance(shape: tuple[int, ...], centre: tuple[int, ...]) -> Volume:
    offsets = np.indices(shape) - np.reshape(centre, (-1, *[1] * len(shape)))
    return np.asarray(np.sqrt((offsets**2).sum(axis=0)))


def _width(output: Volume, centre: tuple[int, ...], background: float) -> float:
    """Return the mean full width over the axes, through the brightest voxel within the bead."""
    near = np.where(_distance(output.shape, centre) <= 2 * BEAD_RADIUS, output, -np.inf)
    peak = np.unravel_index(int(np.argmax(near)), output.shape)
    widths = []
    for axis in range(output.ndim):
        # Only around the bead: elsewhere another voxel may be higher.
        reach = slice(max(int(peak[axis]) - BEAD_REACH, 0), int(peak[axis]) + BEAD_REACH + 1)
        line = tuple(reach if a == axis else int(peak[a]) for a in range(output.ndim))
        widths.append(full_width(output[line], background))
    return float(np.mean(widths))


def _ring(profile: Volume) -> float | None:
    """Return the largest rise of the light on the way out, in % of the highest shell."""
    if not profile.max() > 0:
        return None
    return 100 * float((profile - np.minimum.accumulate(profile)).max() / profile.max())


def _dip(line: Volume, start: int, distance: int, height: float) -> float:
    """Return the fall of the light between two points as a share of the fainter; 0 if one is lost."""
    # A maximum may be one voxel off, but not on the voxels between two close points.
    inward = 1 if distance > 3 else 0
    left = line[start - 1 : start + 1 + inward].max()
    right = line[start + distance - inward : start + distance + 2].max()
    fainter = float(min(left, right))
    if fainter < LOST * height:
        return 0.0
    valley = float(line[start + 1 : start + distance].min())
    return max(0.0, 1 - valley / fainter)
