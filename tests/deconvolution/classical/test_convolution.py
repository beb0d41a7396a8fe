"""The two ways to convolve with a PSF: by FFT, and along one axis after another."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
import torch

from napari_lucyd.compute.device import Device, cpu
from napari_lucyd.deconvolution.classical.convolution import (
    FourierConvolution,
    LineConvolution,
    fast_shape,
    make_convolution,
    product_of_lines,
)

RANDOM = np.random.default_rng(0)


def product(*sizes: int) -> np.ndarray:
    """Return a PSF that is the product of random lines."""
    lines = [RANDOM.random(size) + 0.1 for size in sizes]
    psf = reduce(np.multiply.outer, lines)
    return (psf / psf.sum()).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((20, 37, 51), (5, 8, 9)),
        ((20, 37, 51), (1, 1, 7)),
        ((20, 37, 51), (7, 1, 1)),
        ((1, 40, 33), (1, 5, 4)),
        ((3, 9, 8), (11, 2, 31)),  # larger than the image
        ((70, 65), (15, 40)),
        ((5, 4), (1, 1)),
    ],
)
def test_both_ways_give_the_same(shape, sizes):
    psf = product(*sizes)
    lines = make_convolution(psf, shape, cpu())
    assert isinstance(lines, LineConvolution)
    grid = fast_shape(shape, [size - 1 for size in sizes])
    fourier = FourierConvolution(psf, grid, cpu(), shape)
    image = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    spread = fourier.adjoint(image)
    # The image lies at the origin of the one grid and within the other.
    shifts = [part.start for part in lines.inside]
    moved = spread.roll(shifts, tuple(range(len(shape))))[tuple(slice(0, n) for n in lines.shape)]
    torch.testing.assert_close(lines.adjoint(image), moved, atol=2e-6, rtol=0)
    torch.testing.assert_close(lines.forward(moved.contiguous()), fourier.forward(spread), atol=2e-6, rtol=0)


def test_the_adjoint_is_the_adjoint():
    convolution = make_convolution(product(4, 7, 6), (12, 20, 30), cpu())
    image = torch.rand((12, 20, 30), dtype=torch.float32)
    estimate = torch.rand(convolution.shape, dtype=torch.float32)
    left = float((convolution.forward(estimate) * image).double().sum())
    right = float((estimate * convolution.adjoint(image)).double().sum())
    assert left == pytest.approx(right, rel=1e-5)
    # Later results do not change earlier ones, although memory is used again.
    first = convolution.forward(estimate)
    kept = first.clone()
    convolution.forward(estimate + 1)
    assert torch.equal(first, kept)


def test_only_products_of_lines_on_the_cpu_in_full_precision_go_without_fft():
    image = (8, 8)
    ring = np.ones((5, 5), np.float32)
    ring[2, 2] = 0
    assert product_of_lines(ring) is None
    assert product_of_lines(np.zeros((3, 3), np.float32)) is None
    assert isinstance(make_convolution(ring, image, cpu()), FourierConvolution)
    psf = product(5, 5)
    assert isinstance(make_convolution(psf, image, cpu()), LineConvolution)
    other = Device("meta", "a device without a processor's matrix products")
    assert isinstance(make_convolution(psf, image, other), FourierConvolution)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert isinstance(make_convolution(psf, image, cpu()), FourierConvolution)
    finally:
        torch.set_float32_matmul_precision(before)
