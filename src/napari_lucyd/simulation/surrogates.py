"""Surrogates of the LUCYD paper's nuclei, membrane (actin) and light-sheet images: phantoms through optics.

The paper shows such images, but the optics and the noise behind its simulations are not published. What is
here is therefore ours, a surrogate, to be called so wherever it is shown: a widefield objective of NA 0.8 in
water, with the haze and the low noise that the batch statistics of the authors' weights hint at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import fft

from napari_lucyd.simulation.degradation import Degraded
from napari_lucyd.simulation.phantoms import BACKGROUND, FloatImage
from napari_lucyd.simulation.psf import make_psf, voxel_sizes

SpecimenKind = Literal["nuclei", "membranes", "light_sheet"]

# Ours, for want of published ones.
NUMERICAL_APERTURE = 0.8
REFRACTIVE_INDEX = 1.33
VOXEL_UM = 0.1625
READ_NOISE = 0.5
SHEET_FWHM_UM = 3.5
# Haze matters: 127 voxels of 0.1625 µm hold the whole cone of light, 7.7 µm wide at the ends.
PSF_REACH_UM = 63 * VOXEL_UM


@dataclass(frozen=True)
class _Preset:
    emission_um: float
    photons_per_unit: float


_PRESETS: dict[SpecimenKind, _Preset] = {
    "nuclei": _Preset(emission_um=0.525, photons_per_unit=5.0),
    "membranes": _Preset(emission_um=0.607, photons_per_unit=1.0),
    "light_sheet": _Preset(emission_um=0.525, photons_per_unit=5.0),
}


def make_surrogate(
    truth: npt.ArrayLike,
    specimen: SpecimenKind = "nuclei",
    *,
    voxel_size: float | Sequence[float] = VOXEL_UM,
    sheet_fwhm_um: float | None = None,
    rng: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Degraded:
    """Image a phantom as a surrogate of the paper's nuclei, membranes or light-sheet stacks.

    The optics and noise of the paper's own images are not published; these numbers are ours: a widefield
    objective of NA 0.8 in water (n = 1.33), a background of 30 where phantoms reach 850, Poisson
    noise, and read noise of 0.5 photons. The PSF reaches 10.2 µm to each side (127 voxels of 0.1625 µm).

    Parameters
    ----------
    truth
        (Z, Y, X): a `Phantom` or an array in its units (background 30, objects up to 850), not negative.
    specimen
        ``"nuclei"``: emission 525 nm, 5 photons a unit of intensity. ``"membranes"``: 607 nm, 1 photon a
        unit. ``"light_sheet"``: nuclei lit by a Gaussian sheet that moves with the focus.
    voxel_size
        Of the truth along (Z, Y, X), in µm; one number for all.
    sheet_fwhm_um
        Light sheet: its thickness, full width at half maximum, in µm; 3.5 where None (the paper's other
        sheet is taken to be 2).
    rng
        Seed of the noise.
    progress
        Called after each plane of the PSF with the number done and that of all. What it raises ends the
        computation.

    Returns
    -------
    Degraded
        Image and truth in the truth's units, so that flux can be compared, and the parameters.

    Raises
    ------
    ValueError
        If the truth is not a volume, or a number is not possible.

    Examples
    --------
    >>> import napari_lucyd as nl
    >>> phantom = nl.make_phantom((20, 32, 32), rng=1)
    >>> sample = nl.make_surrogate(phantom, "membranes", voxel_size=(0.6, 0.3, 0.3), rng=1)
    >>> sample.image.shape, sample.parameters["psf"]["emission_um"]
    ((20, 32, 32), 0.607)
    """
    if specimen not in get_args(SpecimenKind):
        raise ValueError(
            f"The specimen is {specimen!r}; it has to be one of {', '.join(get_args(SpecimenKind))}."
        )
    if np.ndim(truth) != 3:
        raise ValueError(
            f"The truth has shape {np.shape(truth)}; a surrogate is a volume (Z, Y, X), for its haze comes "
            "from other planes."
        )
    if sheet_fwhm_um is not None and specimen != "light_sheet":
        raise ValueError(f"sheet_fwhm_um is {sheet_fwhm_um}, but {specimen} have no sheet: leave it out.")
    sheet = (SHEET_FWHM_UM if sheet_fwhm_um is None else sheet_fwhm_um) if specimen == "light_sheet" else None
    voxel = voxel_sizes(voxel_size, 3)
    preset = _PRESETS[specimen]
    optics: dict[str, Any] = {
        "kind": "light_sheet" if specimen == "light_sheet" else "widefield",
        "shape": list(psf_shape(voxel)),
        "numerical_aperture": NUMERICAL_APERTURE,
        "refractive_index": REFRACTIVE_INDEX,
        "emission_um": preset.emission_um,
        "voxel_size": list(voxel),
        "sheet_fwhm_um": None if sheet is None else float(sheet),
    }
    sample = acquire(
        truth,
        make_psf(**optics, progress=progress),
        psf_parameters=optics,
        background=BACKGROUND,
        photons_per_unit=preset.photons_per_unit,
        read_noise=READ_NOISE,
        rng=rng,
    )
    return Degraded(sample.image, sample.truth, {"surrogate": specimen, **sample.parameters})


def psf_shape(voxel_size: Sequence[float]) -> tuple[int, ...]:
    """Of a surrogate's PSF, in voxels.

    Examples
    --------
    >>> psf_shape((0.325, 0.1625, 0.1625))
    (65, 127, 127)
    """
    return tuple(2 * round(PSF_REACH_UM / step) + 1 for step in voxel_size)


def acquire(
    truth: npt.ArrayLike,
    psf: npt.ArrayLike,
    *,
    background: float = 0.0,
    photons_per_unit: float | None = None,
    read_noise: float = 0.0,
    rng: int = 0,
    psf_parameters: Mapping[str, Any] | None = None,
) -> Degraded:
    """Image a sharp specimen through a PSF onto a camera, in the specimen's units.

    Parameters
    ----------
    truth
        (Z, Y, X) or (Y, X), not negative, the background included.
    psf
        With as many axes, odd sizes, centre in the middle, not negative; scaled to sum 1.
    background
        Intensity that goes on evenly beyond the borders, in the truth's units: nothing wraps around.
    photons_per_unit
        Expected photons for an intensity of 1: adds Poisson noise. None adds none.
    read_noise
        Standard deviation of the camera's normal noise: in photons, or in the truth's units without them.
    rng
        Seed of the noise.
    psf_parameters
        What made the PSF, as plain JSON data, for the parameters: keywords of `make_psf` make the sample
        repeatable by `repeat_simulation`.

    Returns
    -------
    Degraded
        Image and truth, float32, in the truth's units; noise is not clipped.

    Raises
    ------
    ValueError
        If an image or a number is not possible.

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
        # Not a number fails the comparison, too.
        if not (array.size and array.min() >= 0 and np.isfinite(array.max())):
            raise ValueError(f"The {name} has to hold finite numbers that are not negative.")
    if sharp.ndim not in (2, 3) or kernel.ndim != sharp.ndim or any(n % 2 == 0 for n in kernel.shape):
        raise ValueError(
            f"The truth has shape {sharp.shape} and the psf {kernel.shape}; both have to have (Z, Y, X) or "
            "both (Y, X), and the psf odd sizes, for its middle voxel is its centre."
        )
    if kernel.max() == 0:
        raise ValueError("The psf is zero everywhere; it has to have a sum to be scaled by.")
    photons_fit = photons_per_unit is None or 0 < photons_per_unit < math.inf
    if not (0 <= background < math.inf and 0 <= read_noise < math.inf and photons_fit):
        raise ValueError(
            f"background is {background}, photons_per_unit {photons_per_unit} and read_noise {read_noise}; "
            "none can be negative, and photons have to be above 0 or None."
        )
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

    level = np.float32(background)
    # An expectation cannot be negative, which rounding may make of a zero.
    expected = np.maximum(_convolve(sharp - level, kernel / kernel.sum(dtype=np.float64)) + level, 0)
    generator = np.random.default_rng(rng)
    gain = photons_per_unit or 1.0
    if photons_per_unit is not None:
        expected = generator.poisson(expected * gain).astype(np.float32)
    if read_noise > 0:
        expected = expected + generator.normal(0, read_noise, sharp.shape).astype(np.float32)
    return Degraded(expected / np.float32(gain), sharp, parameters)


def padded_shape(shape: Sequence[int], psf_shape: Sequence[int]) -> tuple[int, ...]:
    """Of the FFT that convolves an image of this shape with a PSF of that one, for an estimate of memory.

    Examples
    --------
    >>> padded_shape((64, 128, 128), (63, 63, 63))
    (96, 160, 160)
    """
    # Long enough that what the FFT wraps around lands beyond the image.
    reach = _reach(shape, psf_shape)
    return tuple(fft.next_fast_len(n + r, real=True) for n, r in zip(shape, reach, strict=True))


def _reach(shape: Sequence[int], psf_shape: Sequence[int]) -> list[int]:
    # What lies further from the middle than the image is long never meets it.
    return [min(k // 2, n - 1) for k, n in zip(psf_shape, shape, strict=True)]


def _convolve(image: FloatImage, kernel: npt.NDArray[Any]) -> FloatImage:
    """Convolution with zeros beyond the border, of the image's shape."""
    reach = _reach(image.shape, kernel.shape)
    window = tuple(slice(k // 2 - r, k // 2 + r + 1) for k, r in zip(kernel.shape, reach, strict=True))
    padded = padded_shape(image.shape, kernel.shape)
    corner = np.zeros(padded, np.float32)
    corner[tuple(slice(0, 2 * r + 1) for r in reach)] = kernel[window]
    corner = np.roll(corner, [-r for r in reach], axis=tuple(range(image.ndim)))
    product = fft.irfftn(fft.rfftn(image, padded) * fft.rfftn(corner), padded)
    return np.asarray(product[tuple(slice(0, n) for n in image.shape)], np.float32)
