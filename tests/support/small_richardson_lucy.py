"""A small accelerated Richardson-Lucy for this room's tests, which know no method of the package."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import fft

from napari_lucyd.photons import SplitImage


def gaussian_transfer(shape, sigma) -> np.ndarray:
    lines = []
    for size, width in zip(shape, sigma, strict=True):
        distance = np.minimum(np.arange(size), size - np.arange(size))
        line = np.exp(-0.5 * (distance / width) ** 2)
        lines.append(line / line.sum())
    kernel = lines[0]
    for line in lines[1:]:
        kernel = kernel[..., None] * line
    return fft.rfftn(kernel)


def diffraction_transfer(shape, limit) -> np.ndarray:
    """Transfer function of a lens in focus that ends at one cycle in `limit` pixels."""
    frequencies = [fft.fftfreq(size) for size in shape[:-1]] + [fft.rfftfreq(shape[-1])]
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*frequencies, indexing="ij")))
    radius = np.minimum(radius * limit, 1)
    return (2 / np.pi) * (np.arccos(radius) - radius * np.sqrt(1 - radius**2))


class RichardsonLucy:
    """Biggs and Andrews' acceleration, with a margin that is not observed."""

    def __init__(self, image, transfer, margin, background=0.0) -> None:
        grid = [fft.next_fast_len(size + 2 * margin, real=True) for size in image.shape]
        self._inside = tuple(slice(0, size) for size in image.shape)
        self._transfer, self._grid = transfer(grid), grid
        self._image, self._background = np.asarray(image, float), background
        seen = self._blur(self._padded(np.ones(image.shape)))
        self._weight = np.where(seen > 1e-3, 1 / np.maximum(seen, 1e-3), 0)
        start = max(float(image.mean()) - background, 1e-3 * float(image.max()))
        self._estimate = self._before = np.where(seen > 1e-3, start, 0)
        self._step = self._step_before = None
        self.num_iter = 0

    def _blur(self, values) -> np.ndarray:
        return fft.irfftn(fft.rfftn(values) * self._transfer, self._grid)

    def _padded(self, values) -> np.ndarray:
        result = np.zeros(self._grid)
        result[self._inside] = values
        return result

    def advance(self) -> None:
        momentum = 0.0
        if self._step_before is not None:
            momentum = (self._step * self._step_before).sum() / (self._step_before**2).sum()
        start = np.maximum(self._estimate + np.clip(momentum, 0, 0.999) * (self._estimate - self._before), 0)
        mean = np.maximum(self._blur(start)[self._inside] + self._background, 1e-6 * self._image.max())
        update = np.maximum(self._blur(self._padded(self._image / mean)) * self._weight, 0)
        self._before, self._estimate = self._estimate, start * update
        self._step_before, self._step = self._step, self._estimate - start
        self.num_iter += 1

    def restored(self) -> np.ndarray:
        return self._estimate[self._inside]

    def predicted(self) -> np.ndarray:
        return self._blur(self._estimate)[self._inside] + self._background


def gaussian_trajectory(parameters, split: SplitImage, steps) -> Iterator[np.ndarray]:
    """See `napari_lucyd.photons.search.Trajectory`; one sigma for all axes, or one for each."""
    sigma = parameters if len(parameters) > 1 else parameters * split.fitted.ndim
    return _follow(split, lambda shape: gaussian_transfer(shape, sigma), math.ceil(4 * max(sigma)), steps)


def diffraction_trajectory(parameters, split: SplitImage, steps) -> Iterator[np.ndarray]:
    """See `napari_lucyd.photons.search.Trajectory`; the parameter is the limit of `diffraction_transfer`."""
    limit = parameters[0]
    return _follow(split, lambda shape: diffraction_transfer(shape, limit), math.ceil(4 * limit), steps)


def _follow(split, transfer, margin, steps) -> Iterator[np.ndarray]:
    run = RichardsonLucy(split.fitted, transfer, margin, split.share * split.background)
    for num_iter in steps:
        while run.num_iter < num_iter:
            run.advance()
        yield run.predicted()
