"""Fourier shell correlation of two independent halves: up to which detail a result can be reproduced.

References
----------
N. Banterle, K. H. Bui, E. A. Lemke, M. Beck, "Fourier ring correlation as a resolution criterion for
super-resolution microscopy", Journal of Structural Biology 183 (2013) 363-367.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.signal.windows import tukey

from napari_lucyd.text import count_text

THRESHOLD = 1 / 7
"""Correlation below which detail counts as not reproduced; usual for halves of the data."""

# Share of each side that fades to zero, so that opposite borders do not meet in a step.
_FADE = 0.25
# Number of Fourier voxels in the smallest shell, so that chance correlations stay below the threshold.
_FEWEST = 30
# Shells are averaged over this number before the threshold is looked for.
_SMOOTHED = 3


@dataclass(frozen=True)
class Correlation:
    """Fourier shell correlation of two halves along one direction.

    Attributes
    ----------
    direction
        ``"lateral"`` for detail in Y and X, or ``"axial"`` for detail along Z.
    frequencies
        Middle of each shell, in cycles a voxel, or in cycles a unit of length if the voxel size is known.
    before, after
        Correlation of the image's halves, and of the results of both, in each shell.
    resolution_before, resolution_after
        Smallest period that is reproduced, in voxels or in the unit of the voxel size; None if even the
        finest detail is reproduced, or none.
    voxel
        Voxel size along the direction, in the same unit.
    """

    direction: str
    frequencies: tuple[float, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    resolution_before: float | None
    resolution_after: float | None
    voxel: float = 1.0

    def in_voxels(self, period: float | None) -> str:
        """Write one of the periods; the unit of a voxel size is not known here."""
        return "no limit found" if period is None else count_text(f"{period / self.voxel:.3g}", "voxel")

    def as_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON data."""
        return asdict(self)


def shell_correlation(
    images: tuple[npt.ArrayLike, npt.ArrayLike],
    results: tuple[npt.ArrayLike, npt.ArrayLike],
    voxel_size: Sequence[float] | None = None,
) -> tuple[Correlation, ...]:
    """Correlate two independent halves of an image, and the results made from them, shell by shell.

    A filter that is the same for all images, such as Wiener's, does not change this correlation. It says
    what is reproduced, and not whether it is there: an error that both halves share is reproduced too.

    Parameters
    ----------
    images, results
        The two halves, and the two results, ([Z,] Y, X), all of one shape.
    voxel_size
        Voxel size along the axes; None for voxels that count as cubes with a side of 1.

    Returns
    -------
    tuple of Correlation
        Lateral, and axial if there are enough planes.
    """
    arrays = [np.asarray(values, np.float32) for values in (*images, *results)]
    shape = arrays[0].shape
    steps = [1.0] * len(shape) if voxel_size is None else [float(step) for step in voxel_size]
    window = np.ones(shape, np.float32)
    for axis, n in enumerate(shape):
        side = np.reshape(tukey(n, _FADE), [-1 if k == axis else 1 for k in range(len(shape))])
        window = window * side.astype(np.float32) if n > 1 else window
    spectra = [fft.rfftn((values - values.mean()) * window, workers=-1) for values in arrays]
    axes = [fft.fftfreq(n, step) for n, step in zip(shape[:-1], steps[:-1], strict=True)]
    axes.append(fft.rfftfreq(shape[-1], steps[-1]))
    squares = np.meshgrid(*(np.square(axis) for axis in axes), indexing="ij", sparse=True)
    across = squares[-2] + squares[-1]
    along = squares[0] if len(shape) == 3 else np.zeros((1, 1))
    radius = np.sqrt(across + along)
    found = []
    for direction, inside, most in (
        ("lateral", np.broadcast_to(along <= across, radius.shape), 0.5 / max(steps[-2:])),
        ("axial", np.broadcast_to(along > across, radius.shape), 0.5 / steps[0]),
    ):
        if direction == "axial" and (len(shape) < 3 or shape[0] < 8):
            continue
        width = 1 / min(n * step for n, step in zip(shape[-2:], steps[-2:], strict=True))
        if direction == "axial":
            width = 1 / (shape[0] * steps[0])
        numbers = np.where(inside, radius / width, -1).round().astype(int)
        shells = _merged(np.bincount(numbers[numbers >= 1].ravel(), minlength=2), int(most / width))
        if len(shells) < 3:
            continue
        before = _correlated(spectra[0], spectra[1], numbers, shells)
        after = _correlated(spectra[2], spectra[3], numbers, shells)
        middles = np.array([(low + high - 1) / 2 * width for low, high in shells])
        found.append(
            Correlation(
                direction,
                tuple(middles.tolist()),
                tuple(before.tolist()),
                tuple(after.tolist()),
                _resolution(middles, before),
                _resolution(middles, after),
                math.sqrt(steps[-1] * steps[-2]) if direction == "lateral" else steps[0],
            )
        )
    return tuple(found)


def _merged(counts: npt.NDArray[np.int_], last: int) -> list[tuple[int, int]]:
    """Return ranges of shells with enough Fourier voxels in each."""
    shells, low, held = [], 1, 0
    for number in range(1, min(last, len(counts) - 1) + 1):
        held += int(counts[number])
        if held >= _FEWEST:
            shells.append((low, number + 1))
            low, held = number + 1, 0
    return shells


def _correlated(
    first: npt.NDArray[Any],
    second: npt.NDArray[Any],
    numbers: npt.NDArray[np.int_],
    shells: Sequence[tuple[int, int]],
) -> npt.NDArray[np.float64]:
    kept = numbers >= 1
    index = numbers[kept]
    size = int(index.max()) + 1

    def sums(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        single = np.bincount(index, values[kept], minlength=size)
        return np.array([single[low:high].sum() for low, high in shells])

    cross = sums((first * second.conj()).real)
    power = sums(np.square(np.abs(first))) * sums(np.square(np.abs(second)))
    correlation: npt.NDArray[np.float64] = cross / np.sqrt(np.maximum(power, 1e-300))
    return correlation


def _resolution(frequencies: npt.NDArray[np.float64], correlation: npt.NDArray[np.float64]) -> float | None:
    """Return the period at which the correlation first falls below the threshold; None if it never does."""
    kernel = np.ones(_SMOOTHED) / _SMOOTHED
    smooth = np.convolve(np.pad(correlation, _SMOOTHED // 2, mode="edge"), kernel, "valid")
    below = np.flatnonzero(smooth < THRESHOLD)
    if not below.size or below[0] == 0:
        return None
    high, low = int(below[0]), int(below[0]) - 1
    share = (smooth[low] - THRESHOLD) / (smooth[low] - smooth[high])
    frequency = frequencies[low] + share * (frequencies[high] - frequencies[low])
    return float(1 / frequency) if math.isfinite(frequency) and frequency > 0 else None
