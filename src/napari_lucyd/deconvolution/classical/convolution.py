"""The convolution with a PSF and its adjoint: by FFT, or along one axis after another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from napari_lucyd.compute.device import Device
from napari_lucyd.deconvolution.classical import line_kernels

# Largest difference, as a share of the peak, between a PSF and a product of lines that replaces it.
_PRODUCT_ERROR = 1e-6
# Voxels along the first, the middle and the last axis that one product of matrices computes. It reads as
# many, and the size of the PSF less one. Small blocks multiply fewer zeros; large ones need fewer products.
_FIRST_BLOCK, _MIDDLE_BLOCK, _LAST_BLOCK = 16, 64, 32


class Convolution(Protocol):
    """The convolution of an object with a PSF, seen in an image, and its adjoint.

    The object is larger than the image, because light from around the image reaches it.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the object's grid."""

    @property
    def inside(self) -> tuple[slice, ...]:
        """Part of the grid that the image shows."""

    def forward(self, estimate: Tensor) -> Tensor:
        """Convolve an object with the PSF; return a new tensor of the image's shape."""

    def adjoint(self, image: Tensor) -> Tensor:
        """Convolve an image, with zeros around it, with the flipped PSF; return a new tensor of the grid."""


def make_convolution(
    kernel: npt.NDArray[np.float32], image_shape: Sequence[int], device: Device
) -> Convolution:
    """Make the faster of the two convolutions.

    Parameters
    ----------
    kernel
        The PSF, its origin at ``size // 2`` along each axis.
    image_shape
        Shape of the image, with as many axes.
    device
        Device that computes it.
    """
    if (lines := usable_lines(kernel, device)) is not None:
        compiled = line_kernels.usable(image_shape[-1])
        return (CompiledLineConvolution if compiled else LineConvolution)(lines, image_shape)
    grid = fast_shape(image_shape, [size - 1 for size in kernel.shape])
    return FourierConvolution(kernel, grid, device, image_shape)


def usable_lines(kernel: npt.NDArray[np.float32], device: Device) -> list[npt.NDArray[np.float32]] | None:
    """Return the lines of a PSF that this device convolves along one axis after another; None for FFTs."""
    # Somebody may have allowed torch to round the factors of products.
    exact = torch.get_float32_matmul_precision() == "highest"
    return product_of_lines(kernel) if device.kind == "cpu" and exact else None


def product_of_lines(kernel: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]] | None:
    """Return one line for each axis whose product is the PSF, as for a Gaussian; None if there are none.

    Examples
    --------
    >>> lines = product_of_lines(np.outer([1, 2, 1], [3, 1]).astype(np.float32))
    >>> [line.tolist() for line in lines]
    [[0.5, 1.0, 0.5], [6.0, 2.0]]
    >>> product_of_lines(np.eye(3, dtype=np.float32)) is None
    True
    """
    peak = np.unravel_index(int(np.argmax(np.abs(kernel))), kernel.shape)
    height = float(kernel[peak])
    if height == 0:
        return None
    lines = []
    for axis in range(kernel.ndim):
        index: list[int | slice] = [int(at) for at in peak]
        index[axis] = slice(None)
        lines.append(kernel[tuple(index)].astype(np.float64) / height)
    lines[-1] *= height
    product = lines[0]
    for line in lines[1:]:
        product = np.multiply.outer(product, line)
    if np.abs(product - kernel).max() > _PRODUCT_ERROR * abs(height):
        return None
    return [line.astype(np.float32) for line in lines]


class FourierConvolution:
    """The convolution by FFT, on a periodic grid with the image at its origin; see `Convolution`.

    Parameters
    ----------
    kernel
        The PSF, its origin at ``size // 2`` along each axis.
    shape
        Shape of the grid. If it exceeds the image's by at least the PSF's size less one, no light that wraps
        around reaches the image.
    device
        Device that holds the grid.
    image_shape
        Shape of the image.
    """

    def __init__(
        self,
        kernel: npt.NDArray[np.float32],
        shape: tuple[int, ...],
        device: Device,
        image_shape: Sequence[int],
    ) -> None:
        self.shape = shape
        self.inside = tuple(slice(0, size) for size in image_shape)
        centred = torch.zeros(shape, dtype=torch.float32, device=device.torch)
        centred[tuple(slice(0, size) for size in kernel.shape)] = torch.from_numpy(kernel).to(device.torch)
        axes = tuple(range(kernel.ndim))
        self.transfer = torch.fft.rfftn(centred.roll([-(size // 2) for size in kernel.shape], axes))

    def forward(self, estimate: Tensor) -> Tensor:
        """See `Convolution`."""
        return self._inverse(torch.fft.rfftn(estimate).mul_(self.transfer))[self.inside]

    def adjoint(self, image: Tensor) -> Tensor:
        """See `Convolution`."""
        # In place, which spares the memory and the time of two more spectra.
        spectrum = torch.fft.rfftn(image, s=self.shape)
        torch.conj_physical_(torch.conj_physical_(spectrum).mul_(self.transfer))
        return self._inverse(spectrum)

    def _inverse(self, spectrum: Tensor) -> Tensor:
        """Transform back, along the last axis at the end; on the processor faster than irfftn by a fifth."""
        if len(self.shape) > 1:
            spectrum = torch.fft.ifftn(spectrum, dim=tuple(range(len(self.shape) - 1)))
        image: Tensor = torch.fft.irfft(spectrum, n=self.shape[-1])
        return image


class LineConvolution:
    """The convolution along one axis after another, for a PSF that is a product of lines; see `Convolution`.

    Each axis takes a few products with a banded matrix, which are faster on the CPU than an FFT unless the
    PSF is wide. The grid exceeds the image by exactly the PSF's size less one.

    Parameters
    ----------
    lines
        One line for each axis, its origin at ``size // 2``.
    image_shape
        Shape of the image.
    """

    def __init__(self, lines: Sequence[npt.NDArray[np.float32]], image_shape: Sequence[int]) -> None:
        self.shape, self.inside = _grid_of_lines(lines, image_shape)
        last = len(lines) - 1
        # A line of one voxel changes nothing; its factor goes into the line of the last axis.
        self._axes = [axis for axis, line in enumerate(lines) if len(line) > 1 or axis == last]
        scaled = _without_factors(lines)
        rows = [_FIRST_BLOCK, *[_MIDDLE_BLOCK] * (len(lines) - 2), _LAST_BLOCK]
        self._forward = [_band(line[::-1], n) for line, n in zip(scaled, rows, strict=True)]
        self._adjoint = [_band(line, n) for line, n in zip(scaled, rows, strict=True)]
        # The results of the first axes, kept because new memory takes longer than the arithmetic.
        self._kept: dict[tuple[int, ...], Tensor] = {}

    def forward(self, estimate: Tensor) -> Tensor:
        """See `Convolution`."""
        result = estimate
        for axis in self._axes:
            size = self.inside[axis].stop - self.inside[axis].start
            new = axis == self._axes[-1]
            result = self._along(axis, result, self._forward[axis], 0, size, new)
        return result

    def adjoint(self, image: Tensor) -> Tensor:
        """See `Convolution`."""
        result = image
        for axis in reversed(self._axes):
            margin = self.shape[axis] - image.shape[axis]
            new = axis == self._axes[0]
            result = self._along(axis, result, self._adjoint[axis], -margin, self.shape[axis], new)
        return result

    def _along(self, axis: int, x: Tensor, band: Tensor, first: int, size: int, new: bool) -> Tensor:
        """Convolve along one axis into new or kept memory; the first output needs inputs from ``first``."""
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        out = _empty(shape) if new or shape not in self._kept else self._kept[shape]
        if not new:
            self._kept[shape] = out
        last = axis == x.ndim - 1
        # (before, along, after), without copying; the last axis is multiplied from the right.
        before = math.prod(x.shape[:axis])
        flat_x = x.reshape(before, x.shape[axis], -1)
        flat_out = out.view(before, size, -1)
        rows, reach = band.shape
        for start in range(0, size, rows):
            count = min(rows, size - start)
            low, high = start + first, start + first + count + reach - rows
            part = slice(max(low, 0), min(high, x.shape[axis]))
            block = band[:count, part.start - low : part.stop - low]
            if last:
                torch.mm(flat_x[:, part, 0], block.T, out=flat_out[:, start : start + count, 0])
            elif before == 1:
                torch.mm(block, flat_x[0, part], out=flat_out[0, start : start + count])
            else:
                torch.matmul(block, flat_x[:, part], out=flat_out[:, start : start + count])
        return out


class CompiledLineConvolution:
    """The same as `LineConvolution`, by kernels compiled for this processor.

    Parameters
    ----------
    lines
        One line for each of two or three axes, its origin at ``size // 2``.
    image_shape
        Shape of the image, with rows for which the kernels are usable.
    """

    def __init__(self, lines: Sequence[npt.NDArray[np.float32]], image_shape: Sequence[int]) -> None:
        self.shape, self.inside = _grid_of_lines(lines, image_shape)
        # From here on the first axis is Z, of one plane for an image of two axes.
        one = np.ones(1, np.float32)
        lines = _without_factors([one, *lines][-3:])
        self._image_shape = (1, *image_shape)[-3:]
        self._grid_shape = (1, *self.shape)[-3:]
        self._forward = [torch.from_numpy(line[::-1].copy()) for line in lines]
        self._adjoint = [torch.from_numpy(line) for line in lines]
        self._first = [1 - len(line) for line in lines]
        self._kept: dict[tuple[int, ...], Tensor] = {}

    def forward(self, estimate: Tensor) -> Tensor:
        """See `Convolution`."""
        x = estimate.contiguous().view(self._grid_shape)
        if len(self._forward[0]) > 1:
            kept = self._memory((self._image_shape[0], *self._grid_shape[1:]))
            line_kernels.convolve_along(0, x, self._forward[0], 0, kept)
            x = kept
        result = _empty(self._image_shape)
        line_kernels.convolve_in_planes(x, self._forward[1:], (0, 0), result)
        return result.view([part.stop - part.start for part in self.inside])

    def adjoint(self, image: Tensor) -> Tensor:
        """See `Convolution`."""
        x, result = image.contiguous().view(self._image_shape), _empty(self._grid_shape)
        several = len(self._adjoint[0]) > 1
        planes = self._memory((self._image_shape[0], *self._grid_shape[1:])) if several else result
        line_kernels.convolve_in_planes(x, self._adjoint[1:], self._first[1:], planes)
        if several:
            line_kernels.convolve_along(0, planes, self._adjoint[0], self._first[0], result)
        return result.view(self.shape)

    def _memory(self, shape: tuple[int, ...]) -> Tensor:
        """Return kept memory for what lies between two axes; see `LineConvolution`."""
        if shape not in self._kept:
            self._kept[shape] = _empty(shape)
        return self._kept[shape]


def _grid_of_lines(
    lines: Sequence[npt.NDArray[np.float32]], image_shape: Sequence[int]
) -> tuple[tuple[int, ...], tuple[slice, ...]]:
    """Return the shape of the object's grid, and the part that the image shows; see `Convolution`."""
    before = [len(line) - 1 - len(line) // 2 for line in lines]
    shape = tuple(n + len(line) - 1 for n, line in zip(image_shape, lines, strict=True))
    return shape, tuple(slice(low, low + n) for low, n in zip(before, image_shape, strict=True))


def _without_factors(lines: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
    """Move the factors of lines of one voxel, which then change nothing, into the line of the last axis."""
    factor = math.prod(float(line[0]) for line in lines[:-1] if len(line) == 1)
    return [
        *(line if len(line) > 1 else np.ones_like(line) for line in lines[:-1]),
        lines[-1] * np.float32(factor),
    ]


def products_of_line(size: int) -> int:
    """Return the number of multiplications for each voxel along an axis on which the PSF has this size."""
    return _LAST_BLOCK + size - 1


def _band(line: npt.NDArray[np.float32], rows: int) -> Tensor:
    """Return the matrix whose row r holds the line from column r on."""
    matrix = np.zeros((rows, rows + len(line) - 1), np.float32)
    for row in range(rows):
        matrix[row, row : row + len(line)] = line
    return torch.from_numpy(matrix)


def _empty(shape: Sequence[int]) -> Tensor:
    """Return a new tensor on the CPU; numpy asks the system for large pages, which are ready sooner."""
    return torch.from_numpy(np.empty(shape, np.float32))


def fast_shape(shape: Sequence[int], margin: Sequence[int]) -> tuple[int, ...]:
    """Return the next larger shape with a fast FFT."""
    return tuple(next_fast_len(n + m, real=True) for n, m in zip(shape, margin, strict=True))
