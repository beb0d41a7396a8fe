"""Drawing of light on a grid: points with sub-voxel positions, smooth random paths, tubes around them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, special

from napari_lucyd.simulation.phantoms import FloatImage

FloatArray = npt.NDArray[np.float64]

# Points farther apart than this would make a path look like beads.
PATH_STEP = 0.6
_RING_STEP = 1.0
# Sharing light among the eight voxels around a point adds this variance along each axis, the mean of f (1 -
# f) over a voxel.
_SHARED_VARIANCE = 1 / 6
# A narrower Gaussian has no visible effect.
_NARROWEST = 0.15
_REACH = 3.5
# Voxels of the windows that are drawn together; more would not fit into the CPU's cache.
_CHUNK = 2**21


@dataclass(frozen=True)
class Grid:
    """Grid of voxels to draw on.

    Parameters
    ----------
    shape
        (Z, Y, X).
    anisotropy
        Distance between planes in pixels; lengths and radii are in pixels too.
    """

    shape: tuple[int, int, int]
    anisotropy: float = 1.0

    @property
    def steps(self) -> tuple[float, float, float]:
        """Voxel size along (Z, Y, X), in pixels."""
        return (self.anisotropy, 1.0, 1.0)

    @property
    def size(self) -> FloatArray:
        """Extent along (Z, Y, X), in pixels."""
        return np.multiply(self.shape, self.steps)

    @property
    def volume(self) -> float:
        """Volume in cubic pixels."""
        return float(self.size.prod())

    def voxels(self, pixels: float) -> tuple[float, float, float]:
        """Convert a length in pixels to voxels along (Z, Y, X)."""
        return (pixels / self.anisotropy, pixels, pixels)

    def places(self, count: int, generator: np.random.Generator, beyond: float = 0.0) -> FloatArray:
        """Draw positions (count, 3) in pixels, uniform over the volume and `beyond` pixels around it."""
        return generator.uniform(-beyond, self.size + beyond, (count, 3))


def draw_spots(grid: Grid, places: FloatArray, widths: FloatArray, light: FloatArray) -> FloatImage:
    """Draw Gaussian spots, each integrated over the voxels that it falls on.

    Parameters
    ----------
    grid
        The voxels.
    places
        (spot, 3), in pixels from the volume's corner.
    widths
        (spot,) standard deviations in pixels.
    light
        (spot,) the sum over the voxels of a spot.
    """
    volume = np.zeros(math.prod(grid.shape))
    if len(places) == 0:
        return volume.astype(np.float32).reshape(grid.shape)
    reach = [max(1, math.ceil(_REACH * float(widths.max()) / step)) for step in grid.steps]
    chunk = max(1, _CHUNK // math.prod(2 * r + 1 for r in reach))
    for start in range(0, len(places), chunk):
        part = slice(start, start + chunk)
        indices, profiles = [], []
        for axis, (size, step) in enumerate(zip(grid.shape, grid.steps, strict=True)):
            centre = places[part, axis] / step
            index = np.floor(centre).astype(np.intp)[:, None] + np.arange(-reach[axis], reach[axis] + 1)
            sigma = (widths[part] / step)[:, None]
            edges = np.concatenate([index, index[:, -1:] + 1], axis=1) - centre[:, None]
            profile = np.diff(special.ndtr(edges / sigma), axis=1)
            inside = (index >= 0) & (index < size)
            profiles.append(np.where(inside, profile, 0).astype(np.float32))
            indices.append(np.where(inside, index, 0))
        z, y, x = profiles
        values = (
            (z * light[part, None].astype(np.float32))[:, :, None, None]
            * y[:, None, :, None]
            * x[:, None, None]
        )
        rows = indices[0][:, :, None] * grid.shape[1] + indices[1][:, None]
        flat = rows[..., None] * grid.shape[2] + indices[2][:, None, None]
        volume += np.bincount(flat.ravel(), values.ravel(), minlength=volume.size)
    return volume.astype(np.float32).reshape(grid.shape)


def draw_points(grid: Grid, places: FloatArray, light: FloatArray, width: float) -> FloatImage:
    """Draw many points of one width: shared among the voxels around each, then smoothed together.

    Parameters
    ----------
    grid
        The voxels.
    places
        (point, 3), in pixels from the volume's corner.
    light
        (point,) the sum over the voxels of a point.
    width
        Standard deviation in pixels.
    """
    position = (
        places / grid.steps + 0.5
    )  # voxel 1 of a volume with a border; its centre is at the corner + 0.5
    base = np.floor(position).astype(np.intp)
    near = np.all((base >= 0) & (base <= grid.shape), axis=1)
    base, light = base[near], light[near]
    high = (position[near] - base).T
    low = 1 - high
    bordered = tuple(n + 2 for n in grid.shape)
    corner = np.ravel_multi_index(tuple(base.T), bordered)
    volume = np.zeros(math.prod(bordered))
    for z, y, x in np.ndindex(2, 2, 2):
        share = (high if z else low)[0] * (high if y else low)[1] * (high if x else low)[2] * light
        flat = corner + int(np.ravel_multi_index((z, y, x), bordered))
        volume += np.bincount(flat, share, minlength=volume.size)
    inner = volume.reshape(bordered)[1:-1, 1:-1, 1:-1]
    return smooth(grid, inner.astype(np.float32), width)


def smooth(grid: Grid, volume: FloatImage, width: float) -> FloatImage:
    """Smooth shared points to a width, minus the width that sharing gave them."""
    sigmas = [math.sqrt(max(0.0, s * s - _SHARED_VARIANCE)) for s in grid.voxels(width)]
    sigmas = [sigma if sigma > _NARROWEST else 0.0 for sigma in sigmas]
    return np.asarray(ndimage.gaussian_filter(volume, sigmas, mode="constant", truncate=_REACH), np.float32)


def random_paths(
    grid: Grid, count: int, length: float, persistence: float, flatness: float, generator: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Draw smooth random walks that enter and leave the volume.

    Parameters
    ----------
    grid
        The voxels.
    count
        Number of paths.
    length
        Length of each path in pixels.
    persistence
        Distance in pixels over which a path keeps its direction.
    flatness
        Factor on the component along Z: 1 for no preferred direction, less for flat paths.
    generator
        Generator of starts and turns.

    Returns
    -------
    places, directions : numpy.ndarray
        (path, point, 3) in pixels from the volume's corner, and unit vectors.
    """
    points = max(2, math.ceil(length / PATH_STEP))
    stretch = np.array([flatness, 1.0, 1.0])
    direction = generator.standard_normal((count, 3)) * stretch
    turn = np.zeros((count, 3))
    directions = np.empty((count, points, 3))
    # Slowly changing turns make the path smooth; they persist for a fifth of the persistence.
    memory = math.exp(-5 * PATH_STEP / persistence)
    # Sums of such turns spread like independent turns of this size.
    size = math.sqrt(2 * PATH_STEP / persistence) * (1 - memory)
    kicks = generator.standard_normal((points, count, 3)) * (size * stretch)
    for point in range(points):
        direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-12
        directions[:, point] = direction
        turn = memory * turn + kicks[point]
        direction = direction + turn
    middle = grid.places(count, generator, beyond=0.1 * min(length, float(grid.size.max())))
    places = np.cumsum(directions, axis=1) * PATH_STEP
    return places + (middle - places[:, points // 2])[:, None], directions


def around(directions: FloatArray, radius: float) -> FloatArray:
    """Return offsets (path, point, angle, 3) to a ring around each point of a path, at right angles to it."""
    angles = max(6, math.ceil(2 * math.pi * radius / _RING_STEP))
    # Any vector that is not along the path works; the axis of the smallest component is farthest from it.
    axis = np.eye(3)[np.argmin(np.abs(directions).mean(axis=1), axis=1)][:, None]
    first = np.cross(directions, axis)
    first /= np.linalg.norm(first, axis=-1, keepdims=True) + 1e-12
    second = np.cross(directions, first)
    turn = np.arange(angles) * (2 * math.pi / angles)
    ring = first[:, :, None] * np.cos(turn)[:, None] + second[:, :, None] * np.sin(turn)[:, None]
    return np.asarray(radius * ring)


def rotation(generator: np.random.Generator) -> FloatArray:
    """Draw a uniform random rotation."""
    q, r = np.linalg.qr(generator.standard_normal((3, 3)))
    return np.asarray(q * np.sign(np.diag(r)))


def window(grid: Grid, centre: Sequence[float], reach: float) -> tuple[tuple[slice, ...], list[FloatArray]]:
    """Return the voxels within `reach` pixels along each axis, and their offsets in pixels."""
    slices: list[slice] = []
    offsets: list[FloatArray] = []
    for size, step, middle in zip(grid.shape, grid.steps, centre, strict=True):
        low = min(size, max(0, math.floor((middle - reach) / step)))
        high = max(low, min(size, math.ceil((middle + reach) / step) + 1))
        slices.append(slice(low, high))
        offsets.append(np.asarray((np.arange(low, high) + 0.5) * step - middle, np.float64))
    return tuple(slices), offsets
