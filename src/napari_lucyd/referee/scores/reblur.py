"""The image that a result predicts: the result, blurred by the PSF and fitted to the measured image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import fft

from napari_lucyd.psf.cleaning import cropped

Values = npt.NDArray[np.float32]

# Margin of mirrored voxels around the part, and width of the border that is not judged, in voxels.
_PADDING, _BORDER = 16, 8
# The border takes at most this share of an axis on each side.
_BORDER_SHARE = 6
# Share of the light from around the part above which it is fitted. Widefield stacks of 40 to 96 planes with a
# share of 0.04 to 0.08 have a residual correlation of 0.4 to 0.8 without that, and one with 0.013 has 0.04.
# Gaussian, confocal and light-sheet PSFs have up to 0.015 in stacks of 24 planes, widefield ones up to 0.9.
_FITTED_SHARE = 0.03
STEPS_AROUND = 4
"""Steps of the fit of the light from around.

In simulated widefield stacks of 24 and 48 planes, the truth has a residual correlation of 0.6 to 0.9 without
them and 0.03 to 0.21 after them, and of 0.49 to 0.76 with the PSF of another NA or with an aberration. Later
steps also hide that the PSF is wrong.
"""
# Squared transfer of the PSF at which half of an error of the object is visible in the image. Measured by
# scripts/referee_score.py: from 0.003 to 0.1 the ranking of methods is nearly the same.
_VISIBLE = 0.01


class Reblur:
    """Convolutions with the PSF of an image, for parts of one shape.

    Parameters
    ----------
    kernel
        PSF on the image's voxels with as many axes as the part, its origin at ``size // 2``, sum 1.
    shape
        Shape of the part, (Z, Y, X) or (Y, X).
    visible
        Squared transfer of the PSF at which half of an error of the object counts as visible.

    Attributes
    ----------
    light_from_around
        Share of an even light that the PSF brings to the inner part from around the part.
    """

    def __init__(self, kernel: Values, shape: Sequence[int], visible: float = _VISIBLE) -> None:
        self._shape = tuple(shape)
        self._pads = [min(n - 1, _PADDING) for n in self._shape]
        self._grid = tuple(
            fft.next_fast_len(n + 2 * pad, real=True) for n, pad in zip(self._shape, self._pads, strict=True)
        )
        self._part = tuple(slice(pad, pad + n) for pad, n in zip(self._pads, self._shape, strict=True))
        self.light_from_around = _light_from_around(kernel, self._shape, self.inner)
        kernel = cropped(kernel, self._grid)
        placed = np.zeros(self._grid, np.float32)
        placed[tuple(slice(0, n) for n in kernel.shape)] = kernel
        placed = np.roll(placed, [-(n // 2) for n in kernel.shape], range(kernel.ndim))
        self._transfer = self._forward(placed)
        squared = np.square(np.abs(self._transfer))
        self._sharpening = 1 / np.sqrt(squared + visible)
        self._hidden = np.sqrt(visible / (squared + visible))

    @property
    def inner(self) -> tuple[slice, ...]:
        """The part without the border, where mirrored voxels have an effect."""
        borders = [min(_BORDER, n // _BORDER_SHARE) for n in self._shape]
        return tuple(slice(border, n - border) for border, n in zip(borders, self._shape, strict=True))

    def blurred(self, values: Values) -> Values:
        """Return an object as the microscope shows it."""
        return self._filtered(values, self._transfer)

    def sharpened(self, values: Values) -> Values:
        """Return an image with its errors weighted as errors of the object, as far as the blur shows them."""
        return self._filtered(values, self._sharpening)

    def hidden(self, values: Values) -> Values:
        """Return the share of an object that the blur hides; the rest is ``sharpened(blurred(values))``."""
        return self._filtered(values, self._hidden)

    def predicted(self, output: Values, image: Values) -> tuple[Values, float]:
        """Return the image that an output predicts, and the factor by which the output was multiplied.

        Factor and constant are fitted by least squares: some methods change the scale of intensities. The
        light from around the part is that of the mirrored output.
        """
        blurred = self.blurred(output)
        factor, constant = fit_line(blurred[self.inner], image[self.inner])
        return np.float32(factor) * blurred + np.float32(constant), factor

    def explained(self, output: Values, image: Values, steps: int = STEPS_AROUND) -> tuple[Values, float]:
        """Return the image that an output can explain, and the factor by which the output was multiplied.

        It is `predicted`, but if the PSF brings light from around the part, that light is fitted as well: the
        image knows more of it than the mirrored output. More ``steps`` fit it more closely.
        """
        if self.light_from_around < _FITTED_SHARE:
            return self.predicted(output, image)
        inside = self._shown(np.pad(output, self._margins))
        around = self._light_around(output, image, inside, steps)
        factor, constant = fit_line(inside[self.inner], (image - around)[self.inner])
        return np.float32(factor) * inside + around + np.float32(constant), factor

    def _light_around(self, output: Values, image: Values, inside: Values, steps: int) -> Values:
        """Fit the light from around the part, by conjugate gradients that start from the mirrored output.

        Factor and constant of the light from inside are free, so each step leaves out what they explain.
        """

        def unexplained(values: Values) -> Values:
            factor, constant = fit_line(inside, values)
            return values - np.float32(factor) * inside - np.float32(constant)

        blurred = self.blurred(output)
        factor, _ = fit_line(blurred, image)
        light = np.float32(factor) * (blurred - inside)
        residual = unexplained(image - light)
        gradient = direction = self._source_around(residual)
        power = _power(gradient)
        for _ in range(steps):
            shown = self._shown(direction)
            change = unexplained(shown)
            if not (size := _power(change)) > 0:
                break
            step = np.float32(power / size)
            light += step * shown
            residual -= step * change
            gradient = self._source_around(residual)
            before, power = power, _power(gradient)
            direction = gradient + np.float32(power / before) * direction
        return light

    def _source_around(self, image: Values) -> Values:
        """Return the adjoint of `_shown`, on the grid around the part; 0 in the part."""
        spectrum = self._forward(np.pad(image, self._margins))
        source: Values = fft.irfftn(spectrum * self._transfer.conj(), self._grid, workers=-1)
        source[self._part] = 0
        return source

    @property
    def _margins(self) -> list[tuple[int, int]]:
        return [
            (pad, size - n - pad) for pad, size, n in zip(self._pads, self._grid, self._shape, strict=True)
        ]

    def _forward(self, values: Values) -> npt.NDArray[np.complex64]:
        spectrum: npt.NDArray[np.complex64] = fft.rfftn(values, workers=-1)
        return spectrum

    def _filtered(self, values: Values, transfer: npt.NDArray[np.inexact]) -> Values:
        # Mirroring needs at least as many voxels as it adds; small parts are mirrored again and again.
        padded = np.pad(np.asarray(values, np.float32), self._margins, mode="symmetric")
        return self._shown(padded, transfer)

    def _shown(self, grid: Values, transfer: npt.NDArray[np.inexact] | None = None) -> Values:
        """Filter the grid, by the blur unless another transfer is given, and return the part."""
        chosen = self._transfer if transfer is None else transfer
        result = fft.irfftn(self._forward(grid) * chosen, self._grid, workers=-1)
        shown: Values = np.ascontiguousarray(result[self._part], np.float32)
        return shown


def _light_from_around(kernel: Values, shape: Sequence[int], inner: Sequence[slice]) -> float:
    """Return the share of an even light that comes to the inner part from outside of a shape."""
    left = kernel.astype(np.float64)
    total = left.sum()
    for axis, (size, kept) in enumerate(zip(shape, inner, strict=True)):
        # Mean share of the inner voxels whose light from this distance comes from inside.
        sources = np.arange(size)[kept][:, None] - (np.arange(kernel.shape[axis]) - kernel.shape[axis] // 2)
        weights = ((sources >= 0) & (sources < size)).mean(axis=0)
        left = np.moveaxis(np.moveaxis(left, axis, -1) * weights, -1, axis)
    return float(1 - left.sum() / total)


def _power(values: Values) -> float:
    return float(np.vdot(values, values))


def fit_line(values: npt.ArrayLike, target: npt.ArrayLike) -> tuple[float, float]:
    """Return factor and constant with which values come closest to a target, by least squares.

    The factor of constant values is 0.
    """
    x, y = np.asarray(values, np.float64).ravel(), np.asarray(target, np.float64).ravel()
    spread = x - x.mean()
    total = float(spread @ spread)
    factor = float(spread @ y) / total if total > 0 and math.isfinite(total) else 0.0
    return factor, float(y.mean() - factor * x.mean())
