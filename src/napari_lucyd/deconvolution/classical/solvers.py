"""The arithmetic of the classical methods: restore one volume, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_lucyd.compute.device import Device, release_memory, torch_errors, without_autocast
from napari_lucyd.deconvolution.classical.convolution import FourierConvolution, fast_shape, make_convolution
from napari_lucyd.deconvolution.classical.methods import ClassicalMethod, RichardsonLucy, Unchanged, Wiener
from napari_lucyd.errors import BlockTooLarge, DeconvolutionError, OutOfMemory

# Share of the image's maximum: about ten times the rounding error of a float32 FFT. Division by a smaller
# projection would magnify that error.
_SMALLEST_PROJECTION = 1e-6
# Smallest share of a voxel's light that must fall onto the image for the voxel to be estimated. Bertero and
# Boccacci (2005) use 1e-2; a constant image then loses 2 % at its border, and with this value 0.05 %.
_SMALLEST_SENSITIVITY = 1e-3
# Share of the image's maximum: the start if the image holds only background. From 0 an estimate cannot rise.
_DARKEST_START = 1e-3
# Share of the image's maximum, in place of 0 as a divisor; black voxels stay black.
_SMALLEST_DIVISOR = 1e-20
# Squared difference of neighbours, relative to the squared maximum, below which it is rounding and no edge.
_FLAT = 1e-12
# Largest factor by which an extrapolation changes a voxel.
_LARGEST_CHANGE = 1e3


Halves = Callable[[int], npt.NDArray[np.float32]]
"""Function that divides the photons of a volume at random into two halves, again for each iteration.

It takes the number of iterations done, and returns the first half less the second in units of the image."""


class Scale(NamedTuple):
    """Brightness of a whole volume, so that all its tiles are computed in the same way.

    Attributes
    ----------
    peak
        Value of the brightest voxel.
    mean
        Mean of all voxels.
    """

    peak: float
    mean: float


class Restoration(Protocol):
    """The restoration of one volume."""

    def advance(self) -> bool:
        """Do the next step; return True if it was the last one."""

    def restored(self) -> npt.NDArray[np.float32]:
        """Return the current result in units of the image."""


class PredictingRestoration(Restoration, Protocol):
    """A restoration that can also predict the image of its current estimate."""

    def predicted(self) -> npt.NDArray[np.float32]:
        """Return the image that the current estimate predicts, with background, in units of the image."""


def start(
    method: ClassicalMethod,
    observed: npt.NDArray[np.float32],
    device: Device,
    ask: Callable[[], object] = lambda: None,
    scale: Scale | None = None,
    halves: Halves | None = None,
) -> Restoration:
    """Start the restoration of a volume.

    Parameters
    ----------
    method
        Method whose PSF has as many axes as the volume.
    observed
        (Y, X) or (Z, Y, X), finite; no negative voxels for Richardson-Lucy.
    device
        Device that computes it.
    ask
        Function that is called between the parts of a step; an error that it raises ends the step.
    scale
        Brightness of the volume that contains ``observed``; None if ``observed`` is the whole volume.
    halves
        Function that returns the difference of two halves of the photons, for a method with
        ``local_stopping``; see `Halves`.

    Raises
    ------
    OutOfMemory, DeconvolutionError
        If the device cannot do it. The steps raise these errors too.
    """
    if isinstance(method, RichardsonLucy):
        return start_richardson_lucy(method, observed, device, ask, scale, halves)
    if isinstance(method, Wiener):
        return _Wiener(method, observed, device, ask)
    if isinstance(method, Unchanged):
        return _Unchanged(observed)
    raise TypeError(f"method is {method!r}; give a RichardsonLucy or a Wiener.")


def start_richardson_lucy(
    method: RichardsonLucy,
    observed: npt.NDArray[np.float32],
    device: Device,
    ask: Callable[[], object] = lambda: None,
    scale: Scale | None = None,
    halves: Halves | None = None,
) -> PredictingRestoration:
    """Start Richardson-Lucy as `start` does; the restoration can also predict the image."""
    return _RichardsonLucy(method, observed, device, ask, scale, halves)


def grid_shape(method: ClassicalMethod, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of the periodic grid for a volume of this shape."""
    if isinstance(method, Wiener):
        # The inverse of a PSF reaches farther than the PSF, so the margin is its whole size on either side.
        return fast_shape(shape, [2 * size for size in method.psf_shape])
    return fast_shape(shape, [size - 1 for size in method.psf_shape])


class _Unchanged:
    """See `Unchanged`."""

    def __init__(self, observed: npt.NDArray[np.float32]) -> None:
        self._observed = observed

    def advance(self) -> bool:
        """See `Restoration`."""
        return True

    def restored(self) -> npt.NDArray[np.float32]:
        """See `Restoration`."""
        return self._observed.copy()


class _RichardsonLucy:
    """See `richardson_lucy`."""

    def __init__(
        self,
        method: RichardsonLucy,
        observed: npt.NDArray[np.float32],
        device: Device,
        ask: Callable[[], object],
        scale: Scale | None,
        halves: Halves | None,
    ) -> None:
        self._method, self._device, self._ask = method, device, ask
        self._halves = halves if method.local_stopping else None
        self._shape = observed.shape
        self._done = 0
        if scale is None:
            scale = Scale(float(observed.max()), float(observed.mean(dtype=np.float64)))
        # A black image stays black with any divisor but 0.
        self._peak = scale.peak or 1.0
        with _computing(device, self._shape):
            self._y = torch.from_numpy(observed).to(device.torch) / self._peak
            self._optics = make_convolution(method.kernel, observed.shape, device)
            self._inside = self._optics.inside
            sensitivity = self._optics.adjoint(torch.ones_like(self._y))
            seen = sensitivity > _SMALLEST_SENSITIVITY
            self._weight = torch.where(seen, 1 / sensitivity.clamp(min=_SMALLEST_SENSITIVITY), 0)
            self._offset = float(method.background) / self._peak
            # Without background any constant serves, because the first iteration divides by it.
            self._estimate = seen.float() * max(scale.mean / self._peak - self._offset, _DARKEST_START)
            self._previous: Tensor | None = None

    def advance(self) -> bool:
        method = self._method
        with _computing(self._device, self._shape):
            estimate = self._extrapolated()
            self._ask()
            projection = self._optics.forward(estimate).add_(self._offset)
            self._ask()
            projection.clamp_(min=_SMALLEST_PROJECTION)
            disagreement = self._disagreement(projection)
            quotient = torch.div(self._y, projection, out=projection)
            update = self._optics.adjoint(quotient).mul_(self._weight).clamp_(min=0)
            self._ask()
            stopped = None if disagreement is None else self._stopped(update, disagreement)
            if method.total_variation:
                update /= 1 - method.total_variation * _divergence_of_direction(estimate)
                self._ask()
            updated = update.mul_(estimate)
            if stopped is not None:
                updated = torch.where(stopped, self._estimate, updated)
            settled = method.tolerance is not None and bool(
                torch.linalg.vector_norm(updated[self._inside] - self._estimate[self._inside])
                <= method.tolerance * torch.linalg.vector_norm(updated[self._inside])
            )
            self._previous = self._estimate if method.acceleration else None
            self._estimate = updated
        self._done += 1
        return settled or self._done == method.iterations

    def _disagreement(self, projection: Tensor) -> Tensor | None:
        """Return half the difference of the updates by two halves of the photons; None without them."""
        if self._halves is None:
            return None
        difference = torch.from_numpy(self._halves(self._done)).to(self._device.torch) / self._peak
        self._ask()
        return self._optics.adjoint(difference.div_(projection)).mul_(self._weight)

    def _stopped(self, update: Tensor, disagreement: Tensor) -> Tensor:
        """Mark the voxels for which two halves of the photons disagree: brighter or darker.

        The halves give the updates u + d and u - d, whose steps have the product (u - 1)² - d². It is blurred
        with the PSF forth and back, and negative where they disagree.
        """
        agreement = (update - 1).square_().sub_(disagreement.square_())
        agreement.mul_(self._weight > 0)
        self._ask()
        return self._optics.adjoint(self._optics.forward(agreement)) < 0

    def _extrapolated(self) -> Tensor:
        """Return the start of the next iteration: the estimate, or a point extrapolated beyond it.

        The last change is continued in the logarithm, so nothing becomes negative. Its weight depends only on
        the number of iterations, so that all tiles of an image take the same steps.
        """
        if self._previous is None:
            return self._estimate
        weight = (self._done + 1) / (self._done + 4)
        ratio = self._estimate / self._previous.clamp_(min=_SMALLEST_DIVISOR)
        factor = ratio.clamp_(1 / _LARGEST_CHANGE, _LARGEST_CHANGE).pow_(weight)
        return factor.mul_(self._estimate)

    def restored(self) -> npt.NDArray[np.float32]:
        return _returned(self._estimate[self._inside], self._device) * np.float32(self._peak)

    def predicted(self) -> npt.NDArray[np.float32]:
        with _computing(self._device, self._shape):
            projection = self._optics.forward(self._estimate).add_(self._offset).clamp_(min=0)
        return _returned(projection, self._device) * np.float32(self._peak)


class _Wiener:
    """See `wiener`."""

    def __init__(
        self,
        method: Wiener,
        observed: npt.NDArray[np.float32],
        device: Device,
        ask: Callable[[], object],
    ) -> None:
        self._method, self._device, self._ask = method, device, ask
        self._observed = observed
        self._restored: Tensor | None = None

    def advance(self) -> bool:
        method, shape = self._method, self._observed.shape
        with _computing(self._device, shape):
            y = torch.from_numpy(self._observed).to(self._device.torch)
            grid = grid_shape(method, shape)
            optics = FourierConvolution(method.kernel, grid, self._device, shape)
            self._ask()
            spectrum = torch.fft.rfftn(mirrored(y, grid))
            self._ask()
            response = optics.transfer.abs().square()
            response += method.balance * laplacian(grid, self._device).square()
            spectrum = spectrum * optics.transfer.conj() / response
            self._ask()
            restored = torch.fft.irfftn(spectrum, s=grid)
            self._restored = restored[tuple(slice(0, size) for size in shape)]
        return True

    def restored(self) -> npt.NDArray[np.float32]:
        if self._restored is None:
            return np.full(self._observed.shape, np.nan, dtype=np.float32)
        return _returned(self._restored, self._device)


def _divergence_of_direction(z: Tensor) -> Tensor:
    """Compute div(grad z / |grad z|) on the periodic grid; 0 where z is flat to rounding.

    The flux along an axis lies between two voxels. Its denominator takes the differences along the other axes
    on both sides of both voxels, so that the result mirrors with z.
    """
    slopes = [_squared_slope(z, axis) for axis in range(z.ndim)]
    result = torch.zeros_like(z)
    for axis in range(z.ndim):
        across = torch.zeros_like(z)
        for other, slope in enumerate(slopes):
            if other != axis:
                across += slope
        across += across.roll(-1, axis)
        flux = z.roll(-1, axis).sub_(z)
        flux /= across.mul_(0.5).addcmul_(flux, flux).add_(_FLAT).sqrt_()
        result += flux
        result -= flux.roll(1, axis)
    return result


def _squared_slope(z: Tensor, axis: int) -> Tensor:
    """Return the mean of the squared differences to the two neighbours along an axis."""
    squares = z.roll(-1, axis).sub_(z).square_()
    squares += squares.roll(1, axis)
    return squares.mul_(0.5)


@contextmanager
def _computing(device: Device, shape: Sequence[int]) -> Iterator[None]:
    """Compute without gradients, and translate errors of torch."""
    try:
        with torch_errors(), torch.inference_mode(), without_autocast(device):
            yield
    except BlockTooLarge:
        release_memory(device)
        raise OutOfMemory(
            f"An image of shape {tuple(shape)} does not fit in the memory of {device.name}. Crop the image "
            "or the psf, or choose another device."
        ) from None
    except DeconvolutionError:
        release_memory(device)
        raise


def _returned(result: Tensor, device: Device) -> npt.NDArray[np.float32]:
    with _computing(device, result.shape):
        array: npt.NDArray[np.float32] = result.cpu().contiguous().numpy()
    release_memory(device)
    return array


def mirrored(image: Tensor, shape: Sequence[int]) -> Tensor:
    """Extend the image to a larger periodic grid without steps; the image lies at the origin."""
    for axis, total in enumerate(shape):
        size = image.shape[axis]
        margin = torch.arange(total - size, device=image.device)
        beyond, before = (
            image.index_select(axis, torch.minimum(at, 2 * size - 1 - at))
            for at in ((margin + size) % (2 * size), (margin + size - total) % (2 * size))
        )
        fade = (margin.to(image.dtype) + 0.5) / (total - size)
        fade = fade.reshape([-1 if k == axis else 1 for k in range(image.ndim)])
        image = torch.cat((image, torch.lerp(beyond, before, fade.expand_as(before))), dim=axis)
    return image


def laplacian(shape: Sequence[int], device: Device) -> Tensor:
    """Transfer function of the kernel with 2 * ndim in the middle and -1 at its neighbours."""
    result = torch.zeros((), dtype=torch.float32, device=device.torch)
    for axis, size in enumerate(shape):
        last = axis == len(shape) - 1
        frequencies = torch.fft.rfftfreq if last else torch.fft.fftfreq
        frequency = frequencies(size, dtype=torch.float32, device=device.torch)
        term = 2 - 2 * torch.cos(2 * torch.pi * frequency)
        result = result + term.reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return result
