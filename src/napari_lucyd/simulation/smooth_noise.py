"""Smooth random fields: cubic B-splines with random coefficients on a coarse grid.

A field takes three small matrix products for any smoothness, and its gradient is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_lucyd.simulation.phantoms import FloatImage

# Mean over a cell of the sum of the squared weights of a cubic B-spline: the variance left of an axis.
_VARIANCE = 151 / 315


class SmoothNoise:
    """A smooth random field of mean 0 and variance 1, neighbours `spacing` apart being independent.

    Parameters
    ----------
    shape
        (Z, Y, X) of the grid on which the field is evaluated.
    spacing
        Distance between the spline's knots in voxels, one number per axis; structures are about twice as
        wide.
    generator
        Generator of the coefficients and of the position of the knots.
    """

    def __init__(
        self, shape: Sequence[int], spacing: Sequence[float], generator: np.random.Generator
    ) -> None:
        self._weights: list[FloatImage] = []
        self._slopes: list[FloatImage] = []
        for size, step in zip(shape, spacing, strict=True):
            weights, slopes = _spline(size, step, generator.uniform())
            self._weights.append(weights)
            self._slopes.append(slopes)
        knots = [weights.shape[1] for weights in self._weights]
        scale = _VARIANCE ** (-len(knots) / 2)
        self._coefficients = np.asarray(scale * generator.standard_normal(knots), np.float32)

    def values(self) -> FloatImage:
        """Evaluate the field at the voxels' centres."""
        return self._product(self._weights)

    def steepness(self, steps: Sequence[float]) -> FloatImage:
        """Evaluate the length of the field's gradient.

        Parameters
        ----------
        steps
            Voxel size along each axis, in the unit of length of the gradient.
        """
        squared: FloatImage | None = None
        for axis, step in enumerate(steps):
            matrices = list(self._weights)
            matrices[axis] = self._slopes[axis] / np.float32(step)
            slope = self._product(matrices)
            slope *= slope
            squared = slope if squared is None else np.add(squared, slope, out=squared)
        assert squared is not None
        return np.sqrt(squared, out=squared)

    def _product(self, matrices: Sequence[FloatImage]) -> FloatImage:
        z, y, x = matrices
        planes = z @ self._coefficients.reshape(z.shape[1], -1)  # the longest axes last: most work
        planes = y @ planes.reshape(len(z), y.shape[1], x.shape[1])
        return np.asarray(planes @ x.T, np.float32)


def _spline(size: int, spacing: float, offset: float) -> tuple[FloatImage, FloatImage]:
    """Return the weights (voxel, knot) of a uniform cubic B-spline, and their slopes per voxel."""
    position = np.arange(size) / spacing + offset
    first = np.floor(position).astype(np.intp)
    t = position - first
    values = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    slopes = np.stack([-((1 - t) ** 2), 3 * t**2 - 4 * t, -3 * t**2 + 2 * t + 1, t**2]) / (2 * spacing)
    matrices = np.zeros((2, size, int(first[-1]) + 4), np.float32)
    rows = np.arange(size)
    for knot in range(4):
        matrices[0, rows, first + knot] = values[knot]
        matrices[1, rows, first + knot] = slopes[knot]
    return matrices[0], matrices[1]


def lognormal(noise: npt.NDArray[np.float32], spread: float) -> FloatImage:
    """Turn normal values into positive ones of mean 1; `spread` is the deviation of their logarithm."""
    return np.asarray(np.exp(np.float32(spread) * noise - np.float32(spread * spread / 2)))
