"""Convolutions with a PSF by FFT, on a periodic grid with the image at its origin and a margin behind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from napari_lucyd.deconvolution.device import Device


class Optics:
    """The convolution with the PSF and its adjoint, on a periodic grid with the image at its origin.

    Parameters
    ----------
    kernel
        The PSF, its centre at ``size // 2`` along each axis.
    shape
        Of the grid. With a margin of the PSF's size less one, nothing that wraps around reaches the image.
    device
        Where the grid lies.
    """

    def __init__(self, kernel: npt.NDArray[np.float32], shape: tuple[int, ...], device: Device) -> None:
        self.shape = shape
        centred = torch.zeros(shape, device=device.torch)
        centred[tuple(slice(0, size) for size in kernel.shape)] = torch.from_numpy(kernel).to(device.torch)
        axes = tuple(range(kernel.ndim))
        self.transfer = torch.fft.rfftn(centred.roll([-(size // 2) for size in kernel.shape], axes))

    def forward(self, estimate: Tensor) -> Tensor:
        """The convolution of a whole grid with the PSF."""
        blurred: Tensor = torch.fft.irfftn(torch.fft.rfftn(estimate) * self.transfer, s=self.shape)
        return blurred

    def adjoint(self, image: Tensor) -> Tensor:
        """Of the image, with zeros around it: the convolution with the flipped PSF."""
        spectrum = torch.fft.rfftn(image, s=self.shape) * self.transfer.conj()
        spread: Tensor = torch.fft.irfftn(spectrum, s=self.shape)
        return spread


def fast_shape(shape: Sequence[int], margin: Sequence[int]) -> tuple[int, ...]:
    """The next larger shape that an FFT is fast for."""
    return tuple(next_fast_len(n + m, real=True) for n, m in zip(shape, margin, strict=True))


def mirrored(image: Tensor, shape: Sequence[int]) -> Tensor:
    """The image at the origin of a larger periodic grid without a step anywhere."""
    for axis, total in enumerate(shape):
        size = image.shape[axis]
        margin = torch.arange(total - size, device=image.device)
        beyond, before = (
            image.index_select(axis, torch.minimum(at, 2 * size - 1 - at))
            for at in ((margin + size) % (2 * size), (margin + size - total) % (2 * size))
        )
        fade = (margin + 0.5) / (total - size)
        fade = fade.reshape([-1 if k == axis else 1 for k in range(image.ndim)])
        image = torch.cat((image, torch.lerp(beyond, before, fade.expand_as(before))), dim=axis)
    return image


def laplacian(shape: Sequence[int], device: Device) -> Tensor:
    """Transfer function of the kernel with 2 * ndim in the middle and -1 at its neighbours."""
    result = torch.zeros((), device=device.torch)
    for axis, size in enumerate(shape):
        last = axis == len(shape) - 1
        frequency = (torch.fft.rfftfreq if last else torch.fft.fftfreq)(size, device=device.torch)
        term = 2 - 2 * torch.cos(2 * torch.pi * frequency)
        result = result + term.reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return result
