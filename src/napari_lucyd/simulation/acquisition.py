"""Image of a specimen through a PSF on a camera, with light from outside the field."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from napari_lucyd.simulation.degradation import Degraded, add_hot_pixels, checked_hot_pixels
from napari_lucyd.simulation.phantoms import FloatImage


def acquire(
    truth: npt.ArrayLike,
    psf: npt.ArrayLike,
    *,
    background: float = 0.0,
    photons_per_unit: float | None = None,
    read_noise: float = 0.0,
    rng: int = 0,
    field_shape: Sequence[int] | None = None,
    hot_pixels: int = 0,
    psf_parameters: Mapping[str, Any] | None = None,
) -> Degraded:
    """Image a sharp specimen through a PSF onto a camera, in the specimen's units.

    Parameters
    ----------
    truth
        Specimen, (Z, Y, X) or (Y, X), not negative, including the background.
    psf
        PSF with as many axes, odd sizes, its centre in the middle, not negative. It is scaled to sum 1.
    background
        Intensity that continues beyond the borders, in the truth's units. Nothing wraps around.
    photons_per_unit
        Expected photons for an intensity of 1; adds Poisson noise. None adds none.
    read_noise
        Standard deviation of the camera's normal noise, in photons, or without photons in the truth's units.
        1 to 2 photoelectrons are usual for sCMOS cameras, 5 to 10 for CCDs.
    rng
        Seed of the noise.
    field_shape
        Shape of the camera's field in the middle of a larger truth. Light from outside the field reaches it,
        as in a microscope. Image and truth have this shape. (Y, X) of a truth with three axes is its middle
        plane. None is the whole truth.
    hot_pixels
        Number of camera pixels that are too bright, in all planes of a volume, by 0.2 to 2 times the range
        of the blurred image.
    psf_parameters
        Origin of the PSF as plain JSON data, for the parameters. With keywords of `make_psf`,
        `repeat_simulation` can repeat the sample.

    Returns
    -------
    Degraded
        Image and truth, float32, in the truth's units; noise is not clipped.

    Raises
    ------
    ValueError
        If an image or a number is invalid.

    Examples
    --------
    >>> import napari_lucyd as nl
    >>> from napari_lucyd.simulation import acquire
    >>> psf = nl.make_psf("gaussian", (9, 9), numerical_aperture=0.8, refractive_index=1.33,
    ...                   emission_um=0.525, voxel_size=0.1625)
    >>> sample = acquire(nl.make_phantom((32, 32)), psf, background=30, photons_per_unit=5, read_noise=0.5)
    >>> sample.image.shape
    (32, 32)
    """
    sharp, kernel = np.asarray(truth, np.float32), np.asarray(psf, np.float32)
    for name, array in (("truth", sharp), ("psf", kernel)):
        # NaN fails the comparison too.
        if not (array.size and array.min() >= 0 and np.isfinite(array.max())):
            raise ValueError(f"The {name} holds numbers that are negative or not finite; replace them.")
    if sharp.ndim not in (2, 3) or kernel.ndim != sharp.ndim or any(n % 2 == 0 for n in kernel.shape):
        raise ValueError(
            f"The truth has shape {sharp.shape} and the psf has shape {kernel.shape}; give both as (Z, Y, X) "
            "or both as (Y, X), and the psf with odd sizes, because its middle voxel is its centre."
        )
    if kernel.max() == 0:
        raise ValueError("The psf is 0 everywhere; give one with a sum above 0.")
    photons_fit = photons_per_unit is None or 0 < photons_per_unit < math.inf
    if not (0 <= background < math.inf and 0 <= read_noise < math.inf and photons_fit):
        raise ValueError(
            f"background is {background}, photons_per_unit {photons_per_unit} and read_noise {read_noise}; "
            "give numbers of at least 0, and photons_per_unit above 0 or None."
        )
    field = _field(sharp.shape, field_shape)
    parameters: dict[str, Any] = {
        "background": float(background),
        "photons_per_unit": None if photons_per_unit is None else float(photons_per_unit),
        "read_noise": float(read_noise),
        "rng": int(rng),
    }
    made_by = getattr(truth, "parameters", None)
    if made_by:
        parameters["phantom"] = dict(made_by)
    if psf_parameters is not None:
        parameters["psf"] = dict(psf_parameters)

    if field_shape is not None:
        parameters["field_shape"] = [int(n) for n in field_shape]
    if checked_hot_pixels(hot_pixels, parameters.get("field_shape", sharp.shape)):
        parameters["hot_pixels"] = operator.index(hot_pixels)

    level = np.float32(background)
    blurred = _convolve(sharp - level, kernel / kernel.sum(dtype=np.float64), field)
    sharp = sharp[field]
    if field_shape is not None:
        sharp = np.ascontiguousarray(sharp.reshape(tuple(field_shape)))
        blurred = blurred.reshape(sharp.shape)
    # Rounding may make a zero negative; an expectation cannot be.
    expected = np.maximum(blurred + level, 0)
    brightness_range = float(expected.max() - expected.min())
    generator = np.random.default_rng(rng)
    gain = photons_per_unit or 1.0
    if photons_per_unit is not None:
        expected = generator.poisson(expected * gain).astype(np.float32)
    if read_noise > 0:
        expected = expected + generator.normal(0, read_noise, sharp.shape).astype(np.float32)
    image = add_hot_pixels(expected / np.float32(gain), hot_pixels, brightness_range, rng)
    return Degraded(image, sharp, parameters)


def padded_shape(
    shape: Sequence[int], psf_shape: Sequence[int], field_shape: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Return the shape of the FFT that convolves an image with a PSF, for an estimate of memory.

    Parameters
    ----------
    shape, psf_shape
        Shapes of the image and of the PSF.
    field_shape
        Field as in `acquire`.

    Examples
    --------
    >>> padded_shape((64, 128, 128), (63, 63, 63))
    (96, 160, 160)
    >>> padded_shape((64, 128, 128), (63, 63, 63), (32, 64, 64))
    (80, 128, 128)
    """
    margins = _margins(shape, _field(shape, field_shape))
    reach = _reach(shape, psf_shape, margins)
    # Long enough that the FFT wraps around beyond the field.
    return tuple(
        fft.next_fast_len(n + max(r - margin, 0), real=True)
        for n, r, margin in zip(shape, reach, margins, strict=True)
    )


def _field(shape: Sequence[int], field_shape: Sequence[int] | None) -> tuple[slice, ...]:
    """Return the part of the truth that the camera sees."""
    given = tuple(shape if field_shape is None else map(operator.index, field_shape))
    sizes = (1, *given) if len(given) == 2 and len(shape) == 3 else given
    if len(sizes) != len(shape) or not all(1 <= n <= have for n, have in zip(sizes, shape, strict=True)):
        raise ValueError(
            f"field_shape is {field_shape} and the truth has shape {tuple(shape)}; give a field that fits in "
            f"the truth."
        )
    starts = [(have - n) // 2 for n, have in zip(sizes, shape, strict=True)]
    return tuple(slice(start, start + n) for start, n in zip(starts, sizes, strict=True))


def _margins(shape: Sequence[int], field: Sequence[slice]) -> list[int]:
    """Return the smaller margin of the truth around the field along each axis."""
    return [min(cut.start, n - cut.stop) for cut, n in zip(field, shape, strict=True)]


def _reach(shape: Sequence[int], psf_shape: Sequence[int], margins: Sequence[int]) -> list[int]:
    # The PSF beyond the distance of the field from the truth's border has no effect.
    return [min(k // 2, n - 1 - margin) for k, n, margin in zip(psf_shape, shape, margins, strict=True)]


def _convolve(image: FloatImage, kernel: npt.NDArray[Any], field: tuple[slice, ...]) -> FloatImage:
    """Convolve with zeros beyond the border, and keep the field."""
    reach = _reach(image.shape, kernel.shape, _margins(image.shape, field))
    window = tuple(slice(k // 2 - r, k // 2 + r + 1) for k, r in zip(kernel.shape, reach, strict=True))
    padded = padded_shape(image.shape, kernel.shape, [cut.stop - cut.start for cut in field])
    corner = np.zeros(padded, np.float32)
    corner[tuple(slice(0, 2 * r + 1) for r in reach)] = kernel[window]
    corner = np.roll(corner, [-r for r in reach], axis=tuple(range(image.ndim)))
    product = fft.rfftn(image, padded) * fft.rfftn(corner)
    # Axis by axis, since only the field is needed.
    for axis in range(image.ndim - 1):
        product = fft.ifft(product, axis=axis, norm="forward")[(slice(None),) * axis + (field[axis],)]
    lines = fft.irfft(product, padded[-1], norm="forward")[..., field[-1]]
    return np.asarray(lines * np.float32(1 / math.prod(padded)), np.float32)
