"""Memory and time of the classical methods."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from napari_lucyd.compute.device import FIXED_BYTES, Device
from napari_lucyd.deconvolution.classical.convolution import products_of_line, usable_lines
from napari_lucyd.deconvolution.classical.methods import ClassicalMethod, RichardsonLucy
from napari_lucyd.deconvolution.classical.semi_blind import SemiBlind
from napari_lucyd.deconvolution.classical.solvers import grid_shape, start

# Shape of the volume that is timed, at most half a second on two cores. A smaller one takes less time for
# each voxel, because its buffers stay in the caches and are not allocated again and again.
_TIMED = {3: (94, 158, 158), 2: (1600, 1600)}

_known: dict[tuple[str, int, str, bool, bool, int], float] = {}

# Peak working memory of the classical methods for each voxel of their grid, in bytes.
# benchmarks/classical_memory.py measured with torch 2.13 on the CPU: 44 for Richardson-Lucy, 52 with
# acceleration, 68 with total variation, 32 for Wiener. The volume as read and as stored adds up to 8.
_BYTES_FOR_ITERATIONS, _BYTES_FOR_WIENER = 52, 40
_BYTES_FOR_TOTAL_VARIATION = 16
# Acceleration also holds the estimate before the last one, and the extrapolated point.
_BYTES_FOR_ACCELERATION = 8
# An iteration with local stopping convolves five times in place of two, and divides the photons.
_LOCAL_STOPPING_TIME = 4
# Local stopping also holds the difference of two halves, three products of it, and the thinned photons.
_BYTES_FOR_LOCAL_STOPPING = 40


def classical_bytes(method: ClassicalMethod, grid_voxels: int) -> int:
    """Return the bytes of memory that a classical method needs for a periodic grid of this size."""
    if not isinstance(method, RichardsonLucy | SemiBlind):
        return FIXED_BYTES + _BYTES_FOR_WIENER * grid_voxels
    each = _BYTES_FOR_ITERATIONS
    if method.total_variation:
        each += _BYTES_FOR_TOTAL_VARIATION
    if method.acceleration:
        each += _BYTES_FOR_ACCELERATION
    if isinstance(method, RichardsonLucy) and method.local_stopping:
        each += _BYTES_FOR_LOCAL_STOPPING
    return FIXED_BYTES + each * grid_voxels


def seconds_of_volume(
    method: ClassicalMethod, iterations: int, shape: Sequence[int], device: Device
) -> float:
    """Estimate the seconds that a method takes for a volume; the first call measures the device.

    Parameters
    ----------
    method
        Method with its PSF ready.
    iterations
        Number of its iterations.
    shape
        Shape of the volume.
    device
        Device of the run.
    """
    total_variation = isinstance(method, RichardsonLucy) and method.total_variation > 0
    if isinstance(method, RichardsonLucy) and method.local_stopping:
        iterations *= _LOCAL_STOPPING_TIME
    lines = _has_lines(method, device)
    key = (device.torch, method.dimension, method.name, total_variation, lines, torch.get_num_threads())
    if key not in _known:
        _known[key] = _measure_pace(method, lines, device)
    # Preparing several iterations takes as many convolutions as one iteration.
    return _known[key] * _work_of(method, shape, lines) * (iterations + (iterations > 1))


def _has_lines(method: ClassicalMethod, device: Device) -> bool:
    """Return True if the convolutions go along one axis after another, without FFTs."""
    iterates = isinstance(method, RichardsonLucy | SemiBlind)
    return iterates and all(usable_lines(psf, device) is not None for psf in method.psfs)


def _work_of(method: ClassicalMethod, shape: Sequence[int], lines: bool) -> float:
    """Return a number that is proportional to the time of one convolution."""
    if lines:
        sizes = method.psf_shape
        grid = math.prod(n + size - 1 for n, size in zip(shape, sizes, strict=True))
        return grid * sum(products_of_line(size) for size in sizes)
    grid = math.prod(grid_shape(method, shape))
    return grid * math.log2(grid)


def trial_method(method: ClassicalMethod, size: int) -> ClassicalMethod:
    """Return a method with a PSF of this size and without ``"auto"``, to try a device with it."""
    tried = method.with_psf(np.ones([size] * method.dimension))
    if not isinstance(tried, RichardsonLucy):
        return tried
    return replace(tried, background=0.0, num_iter=tried.iterations)


def _measure_pace(ready: ClassicalMethod, lines: bool, device: Device) -> float:
    """Measure the seconds of an iteration, divided by its work."""
    shape = _TIMED[ready.dimension]
    method = trial_method(ready, 15 if lines else 3)
    if not lines:
        (psf,) = method.psfs
        psf = psf.copy()
        psf.flat[0] = 0.5  # no product of lines
        method = method.with_psf(psf)
    volume = np.random.default_rng(0).random(shape, dtype=np.float32)
    start(method, volume[tuple(slice(0, 16) for _ in shape)].copy(), device).advance()  # set-up
    began = time.perf_counter()
    work = start(method, volume, device)
    work.advance()
    work.restored()  # waits for the device
    seconds = time.perf_counter() - began
    return seconds / (_work_of(method, shape, lines) * (1 + (method.iterations > 1)))
