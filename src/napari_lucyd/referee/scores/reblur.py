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
    """

    def __init__(self, kernel: Values, shape: Sequence[int], visible: float = _VISIBLE) -> None:
        self._shape = tuple(shape)
        self._pads = [min(n - 1, _PADDING) for n in self._shape]
        self._grid = tuple(
            fft.next_fast_len(n + 2 * pad, real=True) for n, pad in zip(self._shape, self._pads, strict=True)
        )
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

        Factor and constant are fitted by least squares: some methods change the scale of intensities.
        """
        blurred = self.blurred(output)
        factor, constant = fit_line(blurred[self.inner], image[self.inner])
        return np.float32(factor) * blurred + np.float32(constant), factor

    def _forward(self, values: Values) -> npt.NDArray[np.complex64]:
        spectrum: npt.NDArray[np.complex64] = fft.rfftn(values, workers=-1)
        return spectrum

    def _filtered(self, values: Values, transfer: npt.NDArray[np.inexact]) -> Values:
        margins = [
            (pad, size - n - pad) for pad, size, n in zip(self._pads, self._grid, self._shape, strict=True)
        ]
        # Mirroring needs at least as many voxels as it adds; small parts are mirrored again and again.
        padded = np.pad(np.asarray(values, np.float32), margins, mode="symmetric")
        result = fft.irfftn(self._forward(padded) * transfer, self._grid, workers=-1)
        part = tuple(slice(pad, pad + n) for pad, n in zip(self._pads, self._shape, strict=True))
        filtered: Values = np.ascontiguousarray(result[part], np.float32)
        return filtered


def fit_line(values: npt.ArrayLike, target: npt.ArrayLike) -> tuple[float, float]:
    """Return factor and constant with which values come closest to a target, by least squares.

    The factor of constant values is 0.
    """
    x, y = np.asarray(values, np.float64).ravel(), np.asarray(target, np.float64).ravel()
    spread = x - x.mean()
    total = float(spread @ spread)
    factor = float(spread @ y) / total if total > 0 and math.isfinite(total) else 0.0
    return factor, float(y.mean() - factor * x.mean())
