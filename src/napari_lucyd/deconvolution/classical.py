"""The classical methods, which are told the PSF: Richardson-Lucy and Wiener."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_lucyd.deconvolution.device import Device, choose_device, release_memory
from napari_lucyd.deconvolution.errors import Cancelled, DeconvolutionError, OutOfMemory
from napari_lucyd.deconvolution.fourier import Optics, fast_shape, laplacian, mirrored
from napari_lucyd.deconvolution.inference import is_out_of_memory

# Of the image's maximum: some ten times the rounding of a float32 FFT, which a quotient must not magnify.
_SMALLEST_PROJECTION = 1e-6
# Where the image holds less than this share of a voxel's light, it says nothing about it. Bertero and
# Boccacci (2005) take 1e-2, with which a constant loses 2 % at its border; with this 0.05 %.
_SMALLEST_SENSITIVITY = 1e-3
# Of the image's maximum, where the background is all that there is: from 0 the estimate could not rise.
_DARKEST_START = 1e-3
# The divergence of unit gradients in 3D stays below 3 + sqrt(3), so that the divisor 1 - 0.2 div is positive.
_LARGEST_TOTAL_VARIATION = 0.2


def richardson_lucy(
    image: Any,
    psf: Any,
    *,
    num_iter: int = 10,
    background: float = 0.0,
    total_variation: float = 0.0,
    tolerance: float | None = None,
    device: Any = "auto",
    progress: Callable[[int, int], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> npt.NDArray[np.float32]:
    """Richardson-Lucy deconvolution with a known PSF.

    Assumes image = object * PSF + background with Poisson noise, object >= 0, one PSF for the whole image.
    The object is estimated on the image and a margin of the PSF's size around it, as the light that came in
    from there is part of the image; the margin is cut off at the end. So nothing wraps around, borders
    neither darken nor brighten, and no voxel is made up outside the image [3]_.

    Parameters
    ----------
    image
        ([Z,] Y, X), any real dtype, no negative voxels: subtracting a camera offset leaves some, and the
        Poisson likelihood knows none. Keep the offset and name it as ``background``, or set them to 0.
    psf
        As many axes as the image, on its voxels, no larger than it, no negative voxels; scaled to a sum of 1.
        Need not be symmetric. Its centre is the voxel ``size // 2`` along each axis, for even sizes too.
    num_iter
        Iterations; more sharpen, and amplify noise.
    background
        Constant, in units of the image, which is not part of the object, nor of the result.
    total_variation
        Weight of the total variation [4]_, 0 to 0.2: it suppresses noise and keeps edges. 0.002 is usual.
    tolerance
        Stop early when an iteration changes the object by less than this share (Euclidean norms).
    device
        As in `choose_device`.
    progress
        Called with (done, total) after each iteration; may end short of the total if ``tolerance`` is given.
    should_stop
        Asked before each iteration.

    Returns
    -------
    numpy.ndarray
        float32, of the image's shape, in its units, >= 0. Without total variation and background, image and
        margin together, each voxel weighted with the share of its light that falls onto the image, sum up to
        the image's sum.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used; the message says what to do.
    Cancelled
        If ``should_stop`` says so.
    OutOfMemory, DeconvolutionError
        If the device cannot do it.

    Notes
    -----
    In the interior equal to scikit-image's function of this name with ``clip=False`` and an odd-sized PSF of
    sum 1 (its constant start of 0.5 cancels in the first iteration).

    References
    ----------
    .. [1] W. H. Richardson, J. Opt. Soc. Am. 62, 55 (1972), doi:10.1364/JOSA.62.000055
    .. [2] L. B. Lucy, The Astronomical Journal 79, 745 (1974), doi:10.1086/111605
    .. [3] M. Bertero and P. Boccacci, Astronomy & Astrophysics 437, 369 (2005),
       doi:10.1051/0004-6361:20052717
    .. [4] N. Dey et al., Microscopy Research and Technique 69, 260 (2006), doi:10.1002/jemt.20294

    Examples
    --------
    >>> import numpy as np
    >>> from napari_lucyd.deconvolution import richardson_lucy
    >>> image = np.zeros((16, 16))
    >>> image[7:10, 7:10] = 100  # a point of 900, seen through a square PSF of 3 x 3
    >>> restored = richardson_lucy(image, np.ones((3, 3)), num_iter=50, device="cpu")
    >>> np.unravel_index(restored.argmax(), restored.shape) == (8, 8)
    True
    """
    observed, kernel = _check_arrays(image, psf)
    if observed.min() < 0 or kernel.min() < 0:
        name = "image" if observed.min() < 0 else "psf"
        raise ValueError(
            f"The {name} has negative voxels; Richardson-Lucy needs numbers >= 0. Pass "
            f"np.maximum({name}, 0), or leave in the offset that was subtracted."
        )
    total = operator.index(num_iter)
    if total < 1:
        raise ValueError(f"num_iter is {total}; at least one iteration is needed.")
    if not 0 <= total_variation <= _LARGEST_TOTAL_VARIATION:
        raise ValueError(
            f"total_variation is {total_variation}; it can be 0 to {_LARGEST_TOTAL_VARIATION}, usually 0.002."
        )
    if not 0 <= background < float("inf"):
        raise ValueError(f"background is {background}; it has to be a number >= 0.")
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"tolerance is {tolerance}; it has to be a positive number, or None.")
    peak = float(observed.max())
    if peak == 0:
        return observed

    chosen = choose_device(device)
    inside = tuple(slice(0, size) for size in observed.shape)
    with _torch_errors(chosen, observed.shape):
        y = torch.from_numpy(observed).to(chosen.torch) / peak
        optics = Optics(kernel, fast_shape(observed.shape, [size - 1 for size in kernel.shape]), chosen)
        sensitivity = optics.adjoint(torch.ones_like(y))
        seen = sensitivity > _SMALLEST_SENSITIVITY
        weight = torch.where(seen, 1 / sensitivity.clamp(min=_SMALLEST_SENSITIVITY), 0)
        offset = background / peak
        # Without background any constant will do: the first iteration divides by it.
        estimate = seen * (y.mean() - offset).clamp(min=_DARKEST_START)
        del sensitivity, seen
    for done in range(1, total + 1):
        if should_stop is not None and should_stop():
            raise Cancelled("Stopped.")
        with _torch_errors(chosen, observed.shape):
            projection = optics.forward(estimate)[inside].add_(offset)
            quotient = torch.div(y, projection.clamp_(min=_SMALLEST_PROJECTION), out=projection)
            update = optics.adjoint(quotient).mul_(weight).clamp_(min=0)
            if total_variation:
                update /= 1 - total_variation * _divergence_of_direction(estimate)
            updated = update.mul_(estimate)
            settled = tolerance is not None and bool(
                torch.linalg.vector_norm((updated - estimate)[inside])
                <= tolerance * torch.linalg.vector_norm(updated[inside])
            )
            estimate = updated
        if progress is not None:
            progress(done, total)
        if settled:
            break
    return _returned(estimate[inside], chosen) * peak


def wiener(image: Any, psf: Any, *, balance: float = 0.1, device: Any = "auto") -> npt.NDArray[np.float32]:
    """Wiener deconvolution with a known PSF and a Laplacian as regularisation.

    Assumes image = object * PSF + white noise, one PSF for the whole image, and a smooth object. The image is
    continued beyond its borders by its mirror image, in which opposite sides fade into each other.

    Parameters
    ----------
    image
        ([Z,] Y, X), any real dtype.
    psf
        As many axes as the image, on its voxels, no larger than it; scaled to a sum of 1. Need not be
        symmetric. Its centre is the voxel ``size // 2`` along each axis, for even sizes too.
    balance
        Positive; more gives smoother results. It does not depend on the image's units.
    device
        As in `choose_device`.

    Returns
    -------
    numpy.ndarray
        float32, of the image's shape, in its units; may be negative beside bright objects.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used; the message says what to do.
    OutOfMemory, DeconvolutionError
        If the device cannot do it.

    Notes
    -----
    In the interior equal to scikit-image's function of this name with ``clip=False`` and a PSF of sum 1 [1]_.

    References
    ----------
    .. [1] F. Orieux, J.-F. Giovannelli and T. Rodet, J. Opt. Soc. Am. A 27, 1593 (2010),
       doi:10.1364/JOSAA.27.001593

    Examples
    --------
    >>> import numpy as np
    >>> from napari_lucyd.deconvolution import wiener
    >>> image = np.zeros((16, 16))
    >>> image[7:10, 7:10] = 100
    >>> restored = wiener(image, np.ones((3, 3)), balance=0.01, device="cpu")
    >>> np.unravel_index(restored.argmax(), restored.shape) == (8, 8)
    True
    """
    observed, kernel = _check_arrays(image, psf)
    if not 0 < balance < float("inf"):
        raise ValueError(f"balance is {balance}; it has to be a positive number.")
    chosen = choose_device(device)
    inside = tuple(slice(0, size) for size in observed.shape)
    with _torch_errors(chosen, observed.shape):
        y = torch.from_numpy(observed).to(chosen.torch)
        # The inverse of a PSF reaches further than the PSF: a margin of its whole size on either side.
        shape = fast_shape(observed.shape, [2 * size for size in kernel.shape])
        optics = Optics(kernel, shape, chosen)
        spectrum = torch.fft.rfftn(mirrored(y, shape))
        response = optics.transfer.abs().square() + balance * laplacian(shape, chosen).square()
        restored = torch.fft.irfftn(spectrum * optics.transfer.conj() / response, s=shape)
    return _returned(restored[inside], chosen)


def _divergence_of_direction(z: Tensor) -> Tensor:
    """div(grad z / |grad z|), on the periodic grid; 0 where z is flat to rounding."""
    steps = [z.roll(-1, axis).sub_(z) for axis in range(z.ndim)]
    length = torch.stack(steps).square_().sum(dim=0).add_(1e-12).sqrt_()
    result = torch.zeros_like(z)
    for axis, step in enumerate(steps):
        step /= length
        result += step - step.roll(1, axis)
    return result


def _check_arrays(image: Any, psf: Any) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    observed, kernel = _real("image", image), _real("psf", psf)
    if observed.ndim not in (2, 3):
        raise ValueError(f"The image has shape {observed.shape}; (Y, X) or (Z, Y, X) is needed.")
    if kernel.ndim != observed.ndim:
        raise ValueError(f"The psf has {kernel.ndim} axes, the image {observed.ndim}; they have to agree.")
    if any(k > n for k, n in zip(kernel.shape, observed.shape, strict=True)):
        raise ValueError(
            f"The psf of shape {kernel.shape} is larger than the image of shape {observed.shape}; crop the "
            "psf around its centre."
        )
    total = kernel.sum(dtype=np.float64)
    if not total > 0:
        raise ValueError(f"The psf sums to {total:.3g}; a sum > 0 is needed.")
    return observed, (kernel / total).astype(np.float32)


def _real(name: str, array: Any) -> npt.NDArray[np.float32]:
    given = np.asarray(array)
    if given.dtype.kind not in "buif":
        raise TypeError(f"The {name} has dtype {given.dtype}; real numbers are needed.")
    with np.errstate(over="ignore"):
        result = np.array(given, dtype=np.float32, order="C")
    if not np.isfinite(result).all():
        raise ValueError(f"The {name} holds NaN, infinity or numbers too large for float32; replace them.")
    return result


@contextmanager
def _torch_errors(device: Device, shape: Sequence[int]) -> Iterator[None]:
    """Errors of torch inside become ours."""
    try:
        with torch.inference_mode():
            yield
    except (RuntimeError, MemoryError, NotImplementedError) as error:
        release_memory(device)
        if is_out_of_memory(error):
            raise OutOfMemory(
                f"An image of shape {tuple(shape)} does not fit into the memory of {device.name}; crop the "
                "image or the psf, or choose another device."
            ) from None
        raise DeconvolutionError(f"torch could not deconvolve the image: {error}") from error


def _returned(result: Tensor, device: Device) -> npt.NDArray[np.float32]:
    with _torch_errors(device, result.shape):
        array: npt.NDArray[np.float32] = result.cpu().contiguous().numpy()
    release_memory(device)
    return array
