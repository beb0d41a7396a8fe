"""The two ways to convolve with a PSF: by FFT, and along one axis after another."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
import torch

from napari_lucyd.compute.device import Device, cpu
from napari_lucyd.deconvolution.classical import line_kernels
from napari_lucyd.deconvolution.classical.convolution import (
    CompiledLineConvolution,
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


@pytest.fixture(params=["compiled", "products"])
def way(request, monkeypatch):
    """Convolve by compiled kernels, or by products of matrices as without llvmlite."""
    if request.param == "products":
        monkeypatch.setattr(line_kernels, "usable", lambda width: False)
    return request.param


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((20, 37, 83), (5, 8, 9)),
        ((9, 30, 64), (1, 6, 70)),
        ((4, 20, 130), (4, 1, 1)),
        ((6, 5, 1100), (9, 3, 2)),
        ((3, 9, 40), (11, 2, 91)),  # larger than the image
        ((20, 37, 51), (5, 8, 9)),
        ((20, 37, 51), (1, 1, 7)),
        ((20, 37, 51), (7, 1, 1)),
        ((1, 40, 33), (1, 5, 4)),
        ((3, 9, 8), (11, 2, 31)),  # larger than the image
        ((70, 65), (15, 40)),
        ((5, 4), (1, 1)),
    ],
)
def test_all_ways_give_the_same(shape, sizes, way):
    psf = product(*sizes)
    lines = make_convolution(psf, shape, cpu())
    compiled = way == "compiled" and line_kernels.usable(shape[-1])
    assert type(lines) is (CompiledLineConvolution if compiled else LineConvolution)
    grid = fast_shape(shape, [size - 1 for size in sizes])
    fourier = FourierConvolution(psf, grid, cpu(), shape)
    image = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    spread = fourier.adjoint(image)
    # The image lies at the origin of the one grid and within the other.
    shifts = [part.start for part in lines.inside]
    moved = spread.roll(shifts, tuple(range(len(shape))))[tuple(slice(0, n) for n in lines.shape)]
    torch.testing.assert_close(lines.adjoint(image), moved, atol=2e-6, rtol=0)
    torch.testing.assert_close(lines.forward(moved.contiguous()), fourier.forward(spread), atol=2e-6, rtol=0)


def test_the_adjoint_is_the_adjoint(way):
    convolution = make_convolution(product(4, 7, 6), (12, 20, 60), cpu())
    image = torch.rand((12, 20, 60), dtype=torch.float32)
    estimate = torch.rand(convolution.shape, dtype=torch.float32)
    left = float((convolution.forward(estimate) * image).double().sum())
    right = float((estimate * convolution.adjoint(image)).double().sum())
    assert left == pytest.approx(right, rel=1e-5)
    # Later results do not change earlier ones, although memory is used again.
    first = convolution.forward(estimate)
    kept = first.clone()
    convolution.forward(estimate + 1)
    assert torch.equal(first, kept)


def test_threads_and_neighbours_do_not_change_compiled_results(monkeypatch):
    monkeypatch.setattr(line_kernels, "_FEW_PRODUCTS", 0)
    lines = product_of_lines(product(5, 7, 9))
    image = torch.rand((10, 30, 200), generator=torch.Generator().manual_seed(2))
    results, before = [], torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            results.append(CompiledLineConvolution(lines, image.shape).adjoint(image))
        finally:
            torch.set_num_threads(before)
    assert torch.equal(*results)
    part = CompiledLineConvolution(lines, (10, 30, 70)).adjoint(image[:, :, 40:110])
    assert torch.equal(part[:, :, 8:70], results[0][:, :, 48:110])


def test_a_small_image_wakes_no_other_threads(monkeypatch):
    lines = product_of_lines(product(5, 7, 9))
    small = CompiledLineConvolution(lines, (8, 16, 16))
    image = torch.rand(small.shape, generator=torch.Generator().manual_seed(3))
    alone = small.forward(image)
    monkeypatch.setattr(line_kernels, "_FEW_PRODUCTS", 0)
    together = small.forward(image)
    assert torch.equal(alone, together)

    calls = []
    monkeypatch.setattr(line_kernels, "run_on_all", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(line_kernels, "_FEW_PRODUCTS", 2**19)
    small.forward(image)
    small.adjoint(alone)
    assert not calls
    large = CompiledLineConvolution(lines, (32, 128, 128))
    large.forward(torch.zeros(large.shape))
    assert len(calls) == 2


def test_only_products_of_lines_on_the_cpu_in_full_precision_go_without_fft():
    image = (8, 8)
    ring = np.ones((5, 5), np.float32)
    ring[2, 2] = 0
    assert product_of_lines(ring) is None
    assert product_of_lines(np.zeros((3, 3), np.float32)) is None
    assert isinstance(make_convolution(ring, image, cpu()), FourierConvolution)
    psf = product(5, 5)
    assert isinstance(make_convolution(psf, image, cpu()), LineConvolution | CompiledLineConvolution)
    other = Device("meta", "a device without a processor's matrix products")
    assert isinstance(make_convolution(psf, image, other), FourierConvolution)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert isinstance(make_convolution(psf, image, cpu()), FourierConvolution)
    finally:
        torch.set_float32_matmul_precision(before)
