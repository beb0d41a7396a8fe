"""Blur of a run: a PSF, a microscope or the width of a Gaussian, as the user told it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd import checks
from napari_lucyd.deconvolution.image.axes import Axes
from napari_lucyd.psf.cleaning import (
    check_psf,
    check_psf_voxel_size,
    cut_dark_ends,
    prepare_psf,
    psf_sha256,
    scaled_to_one,
)
from napari_lucyd.psf.gaussian import gaussian_psf
from napari_lucyd.simulation import Microscope
from napari_lucyd.text import count_text, shape_text

Kernel = npt.NDArray[np.float32]

NARROWEST, WIDEST = 0.3, 20.0
"""Smallest and largest standard deviation of a Gaussian blur that can be told, in voxels."""

# Share of its light that the ends of a computed PSF may lose together.
_NEGLIGIBLE_LIGHT = 5e-3
# Standard deviation in voxels by which memory and time are planned while the blur is not found yet.
_PLANNED_SIGMA = 2.5


@dataclass(frozen=True, eq=False)
class Blur:
    """The blur of an image.

    Attributes
    ----------
    dimension
        Number of axes of its PSF: 2 or 3.
    kernels
        PSFs with a sum of 1 and the origin at ``size // 2`` along each axis: one for all channels, or one for
        each; empty if the blur is to be found in the image.
    record
        Entries of the recipe, plain JSON data; empty if the blur is to be found in the image.
    notes
        Sentences for the user on what was changed or not used.
    """

    dimension: int
    kernels: tuple[Kernel, ...] = ()
    record: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def told(self) -> bool:
        """True if the user told the blur."""
        return bool(self.kernels)

    def kernel(self, channel: int, sigmas: Sequence[float] = ()) -> Kernel:
        """Return the PSF of a channel; ``sigmas`` are those found in the image, if the blur was not told."""
        if sigmas:
            return gaussian_psf(sigmas)
        return self.kernels[channel if len(self.kernels) > 1 else 0]

    @property
    def text(self) -> str:
        """The blur in a few words, with the size of the PSF as it was given."""
        if not self.told:
            return "a blur found in the image"
        if any("psf_size" not in one for one in _listed(self.record.get("microscope", []))):
            # A PSF of automatic size is cut more than that of the classical methods.
            return f"the bright part of the PSF, {shape_text(self.planned.shape)}"
        given = _listed(self.record.get("psf", []))
        shapes = [one["shape"] for one in given] or [kernel.shape for kernel in self.kernels]
        size = shape_text([max(sizes) for sizes in zip(*shapes, strict=True)])
        return f"a PSF of {size}" if len(shapes) == 1 else f"{len(shapes)} PSFs of up to {size}"

    @property
    def planned(self) -> Kernel:
        """The largest PSF, by which memory is planned."""
        if not self.kernels:
            return gaussian_psf([_PLANNED_SIGMA] * self.dimension)
        return max(self.kernels, key=lambda kernel: kernel.size)


def check_blur(
    microscope: Any,
    psf: Any,
    psf_voxel_size: Any,
    blur_sigma: Any,
    axes: Axes,
    steps: Sequence[float] | None,
) -> Blur:
    """Check what the user told about the blur, and compute the PSFs.

    Parameters
    ----------
    microscope
        A `Microscope`, a list with one for each channel, or None.
    psf
        PSF array along (Z, Y, X) or (Y, X), a list with one for each channel, or None. For planes, the plane
        in focus of a three-dimensional PSF is used.
    psf_voxel_size
        Voxel size of the PSF along its axes, in the unit of the image's; None for the image's own.
    blur_sigma
        Standard deviation of a Gaussian in voxels: one number, one for each axis, or None.
    axes
        Axes of the image.
    steps
        Voxel size of the image along (Z,) Y, X; in µm for a microscope. None if unknown.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid, or two of them contradict each other.
    """
    if psf_voxel_size is not None and psf is None:
        raise ValueError("psf_voxel_size is given without a psf; give both, or neither.")
    if blur_sigma is not None and (psf is not None or microscope is not None):
        other = "psf" if psf is not None else "microscope"
        raise ValueError(f"blur_sigma and {other} are both given; give one of them.")
    if psf is not None:
        blur = _from_psf(psf, psf_voxel_size, axes, steps)
        if microscope is not None:
            note = "The PSF describes the blur, so the microscope is not used."
            blur = Blur(blur.dimension, blur.kernels, blur.record, (*blur.notes, note))
        return blur
    if microscope is not None:
        return _from_microscope(microscope, axes, steps)
    if blur_sigma is not None:
        return _from_sigma(blur_sigma, axes)
    return Blur(axes.dimension)


def _from_psf(psf: Any, psf_voxel_size: Any, axes: Axes, steps: Sequence[float] | None) -> Blur:
    several = isinstance(psf, (list, tuple)) and bool(psf) and all(np.ndim(one) >= 2 for one in psf)
    found, kernels = [], []
    notes: list[str] = []
    for one in _one_a_channel("psf", psf, axes) if several else (psf,):
        given = checks.float_array("The psf", one)
        check_psf(given)
        if given.min() < 0:
            raise ValueError(
                "The psf has negative voxels; numbers of at least 0 are needed. Set them to 0, or leave in "
                "the offset that was subtracted."
            )
        if given.ndim < axes.dimension:
            raise ValueError(
                f"The psf has shape {given.shape}, and the image is deconvolved along "
                f"{', '.join(axes.letters)}; give a psf with {axes.dimension} axes."
            )
        mine = None if psf_voxel_size is None else check_psf_voxel_size(psf_voxel_size, given.ndim)
        image_steps = None if steps is None or len(steps) != given.ndim else steps
        if image_steps is None and steps is not None and mine is not None and given.ndim == 3:
            image_steps = (mine[0], *steps)  # planes of the PSF are not resampled, only one is used
        ready = prepare_psf(given, steps=mine, image_steps=image_steps)
        kernel = ready.kernel
        if kernel.ndim > axes.dimension:
            kernel = scaled_to_one(kernel[len(kernel) // 2])
        kernels.append(kernel)
        notes += ready.notes
        found.append({"shape": list(given.shape), "sha256": psf_sha256(given)})
    record: dict[str, Any] = {"psf": found if several else found[0]}
    if psf_voxel_size is not None:
        record["psf_voxel_size"] = [float(step) for step in psf_voxel_size]
    return Blur(axes.dimension, tuple(kernels), record, tuple(dict.fromkeys(notes)))


def _from_microscope(microscope: Any, axes: Axes, steps: Sequence[float] | None) -> Blur:
    several = isinstance(microscope, (list, tuple))
    chosen = _one_a_channel("microscope", microscope, axes) if several else (microscope,)
    for one in chosen:
        if not isinstance(one, Microscope):
            raise TypeError(
                f"microscope is {checks.shown(one)}; give a napari_lucyd.Microscope, or a list with one for "
                "each channel."
            )
    if steps is None:
        raise ValueError(
            "microscope needs the voxel size of the image; give voxel_size along "
            f"{', '.join(axes.letters)} in µm, or tell the blur as blur_sigma in voxels."
        )
    kernels = tuple(_computed(one, tuple(steps), axes.volume_shape) for one in chosen)
    parameters = [one.parameters for one in chosen]
    return Blur(axes.dimension, kernels, {"microscope": parameters if several else parameters[0]})


@lru_cache(maxsize=8)
def _computed(microscope: Microscope, steps: tuple[float, ...], shape: tuple[int, ...]) -> Kernel:
    """Compute the PSF of a microscope for a volume; a plane of a volume has the plane in focus."""
    psf = microscope.psf(steps, microscope.psf_shape(steps, shape)).astype(np.float64)
    kernel = scaled_to_one(psf if microscope.psf_size else cut_dark_ends(psf, _NEGLIGIBLE_LIGHT))
    kernel.flags.writeable = False
    return kernel


def _from_sigma(blur_sigma: Any, axes: Axes) -> Blur:
    number = axes.dimension
    expected = (
        f"one number of voxels from {NARROWEST:g} to {WIDEST:g}, or one for each of {', '.join(axes.letters)}"
    )
    given = [blur_sigma] * number if np.ndim(blur_sigma) == 0 else list(blur_sigma)
    if len(given) == 3 and number == 2:  # a volume whose planes are deconvolved one by one
        given = given[1:]
    if len(given) != number:
        raise ValueError(f"blur_sigma is {checks.shown(blur_sigma)}; give {expected}.")
    sigmas = tuple(
        checks.number("blur_sigma", one, expected, lambda sigma: NARROWEST <= sigma <= WIDEST)
        for one in given
    )
    flat = tuple(0.0 if n == 1 else sigma for n, sigma in zip(axes.volume_shape, sigmas, strict=True))
    return Blur(number, (gaussian_psf(flat),), {"blur_sigma": list(sigmas)})


def _listed(entry: Any) -> list[Any]:
    return entry if isinstance(entry, list) else [entry]


def _one_a_channel(name: str, given: Sequence[Any], axes: Axes) -> Sequence[Any]:
    channels = axes.size("C")
    if len(given) not in (1, channels):
        raise ValueError(
            f"{name} is a list of {len(given)}, but the image has "
            f"{count_text(channels, 'channel')}; give one for all channels, or one for each."
        )
    return given
