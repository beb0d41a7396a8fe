"""Training specimens for first estimates, each with its own microscope and a PSF for the estimate.

A network trained on these learns to correct the remaining errors of such estimates, for any PSF.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from napari_lucyd.deconvolution import first_estimate
from napari_lucyd.models.normalization import Normalization
from napari_lucyd.psf.widths import widths_at_half_maximum
from napari_lucyd.simulation import acquire, make_psf, make_structures
from napari_lucyd.simulation.phantoms import FloatImage
from napari_lucyd.simulation.psf import FWHM_PER_SIGMA
from napari_lucyd.simulation.structures import CONTRAST, StructureKind
from napari_lucyd.training.config import DataConfig
from napari_lucyd.training.plain_specimens import make_beads, make_flat_fields

# Objectives: numerical aperture and refractive index of the immersion.
_OBJECTIVES = ((0.5, 1.0), (0.8, 1.0), (0.8, 1.33), (1.1, 1.33), (1.2, 1.33), (1.3, 1.405), (1.4, 1.515))
_EMISSION_UM, _EXCITATION_UM = 0.525, 0.488
# Limits of the voxel size, drawn log-uniformly: lateral in units of λ/NA, axial of λ/(n − sqrt(n² − NA²)).
_LATERAL_UNITS, _AXIAL_UNITS = (0.15, 0.45), (0.12, 0.5)
_PINHOLE_AIRY = (0.8, 2.0)
# Thickness of a light sheet in planes.
_SHEET_PLANES = (5.0, 14.0)
# Size of a PSF along each axis in sizes of the field, rounded to an odd number of voxels.
_REACH = 1.5
# Share of the PSFs that are aberrated, and largest aberration in wavelengths RMS.
_ABERRATED, _SPHERICAL = 0.25, 0.1
# Errors of a wrong PSF: limits of the relative error of the numerical aperture, and standard deviation of the
# relative error of a Gaussian's width.
_NA_ERROR, _SIGMA_ERROR = (-0.15, 0.1), 0.1
# Standard deviation in voxels of the Gaussian that the truth is smoothed with.
TRUTH_SIGMA = 0.5
# Limits of a factor of the number of iterations with a known microscope: the numbers that are used with it.
_KNOWN_JITTER = (0.9, 1.3)
# Standard deviation of the relative error of a known PSF's width.
_WIDTH_ERROR = 0.05
# Number of planes of a volume for which 2D estimates are made.
_PLANES = 4
# Standard deviation along Z in pixels of the slab that a thin specimen fills, drawn uniformly. The light of a
# slab is seen in one plane, so fibres in it stay long.
_SLAB = (0.5, 3.0)
# The brightest voxel of a specimen counts as this at most in the loss; that of a point may be 200.
_BRIGHTEST = 16.0
# Root mean square error of a typical estimate. Estimates with smaller errors count more in the loss.
_TYPICAL_ERROR = 0.1


class _Optics(NamedTuple):
    """The PSF of the image, the PSF for the estimate, and the widths of the first as standard deviations."""

    true: FloatImage
    assumed: FloatImage
    sigmas: list[float]
    anisotropy: float


@dataclass(frozen=True, eq=False)
class KnownMicroscope:
    """A microscope whose PSF is known, for specimens that are all taken with it.

    Attributes
    ----------
    psf
        PSF on the image's voxels, with odd sizes and its centre in the middle.
    structures
        Kind of the specimens; see `make_structures`.
    background
        Lower and upper limit of the background, in units of `make_structures`, drawn log-uniformly.
    anisotropy
        Distance between planes in pixels.
    """

    psf: FloatImage
    structures: StructureKind = "mixture"
    background: tuple[float, float] = (10.0, 400.0)
    anisotropy: float = 1.0


class EstimateSpecimen:
    """A specimen of random structures, its image, and the first estimate made from the image.

    Estimate and truth have the same scale and the same dark level, which were found in the image.

    Parameters
    ----------
    data
        Data of the run. If patches have two axes and phantoms three, planes of a blurred volume are estimated
        as separate images, with the PSF's plane in focus.
    normalization
        Scaling whose pedestal is the value of the dark level.
    seed
        Seed of all random numbers.
    known
        The microscope; None to draw another one for each specimen.
    """

    def __init__(
        self,
        data: DataConfig,
        normalization: Normalization,
        seed: int,
        known: KnownMicroscope | None = None,
    ) -> None:
        generator = np.random.default_rng([data.seed, seed])
        self._seed, self._normalization, self._planar = seed, normalization, _is_planar(data)
        self._effort = data.effort if known is None else _KNOWN_JITTER
        # Drawn only where it is asked for, so that other runs get the specimens that they had before.
        slab = generator.uniform(*_SLAB) if data.thin and generator.random() < data.thin else 0.0
        optics = (
            _draw_optics(data, generator, thin=slab > 0)
            if known is None
            else _known_optics(known, data, generator)
        )
        if slab:
            optics = _in_focus(optics, slab)
        self._psf = optics.assumed[len(optics.assumed) // 2] if self._planar else optics.assumed
        field = data.phantom_shape
        # The specimen exceeds the field by the PSF's size, because light from there reaches the field.
        around = tuple(n + k - 1 for n, k in zip(field, optics.true.shape, strict=True))
        kinds = data.structures if known is None else (known.structures,)
        background = _background(known, generator)
        specimen = _specimen(kinds, around, data, optics, background, seed, generator)
        along = max(TRUTH_SIGMA, slab / optics.anisotropy)
        smoothing = (along, TRUTH_SIGMA, TRUTH_SIGMA)[-specimen.ndim :]
        sharp = ndimage.gaussian_filter(specimen, smoothing, mode="nearest")
        low, high = np.log(data.photons)
        photons = math.exp(generator.uniform(low, high))
        low, high = np.log([max(value, 1e-2) for value in data.noise_sigma])
        noise = math.exp(generator.uniform(low, high)) / 255 * photons
        hot = int(generator.poisson(2)) if generator.random() < data.bright else 0
        sample = acquire(
            sharp,
            optics.true,
            photons_per_unit=photons / CONTRAST,
            read_noise=noise,
            rng=seed,
            field_shape=field,
            hot_pixels=hot,
        )
        self._image, self._truth = sample.image, sample.truth
        self._made: dict[int, tuple[FloatImage, FloatImage, float]] = {}

    def patch(
        self, window: tuple[int | slice, ...], generator: np.random.Generator
    ) -> tuple[FloatImage, FloatImage, float]:
        """Cut a window out of estimate and truth; the third value divides their loss."""
        plane = -1
        if self._planar:
            count = len(self._image)
            assert isinstance(window[0], int)
            plane = window[0] * _PLANES // count * count // _PLANES
            window = window[1:]
        if plane not in self._made:
            self._made[plane] = self._estimated(plane)
        estimate, truth, peak = self._made[plane]
        return estimate[window], truth[window], peak

    def _estimated(self, plane: int) -> tuple[FloatImage, FloatImage, float]:
        image, truth = (self._image, self._truth) if plane < 0 else (self._image[plane], self._truth[plane])
        # The result does not depend on the planes that were requested before.
        generator = np.random.default_rng([self._seed, plane + 1])
        effort = math.exp(generator.uniform(*np.log(self._effort)))
        found = first_estimate(image, self._psf, effort=effort)
        pedestal = np.float32(self._normalization.pedestal)
        estimate, truth = (
            ((values - found.level) / found.scale + pedestal).astype(np.float32)
            for values in (found.estimate, truth)
        )
        bright = float(np.percentile(truth, 99.9)) - self._normalization.pedestal
        peak = max(1.0, bright, float(truth.max()) / _BRIGHTEST)
        error = float(np.sqrt(np.mean((estimate - truth) ** 2))) / peak
        return estimate, truth, peak * float(np.clip(error / _TYPICAL_ERROR, 0.25, 1.0))


def _in_focus(optics: _Optics, slab: float) -> _Optics:
    """Keep the plane in focus of each PSF: a slab so thin that none of its light is out of focus."""
    true, assumed = (
        np.asarray(plane / plane.sum(), np.float32)
        for plane in (psf[len(psf) // 2][None] for psf in (optics.true, optics.assumed))
    )
    return _Optics(true, assumed, [slab / optics.anisotropy, *optics.sigmas[1:]], optics.anisotropy)


def _specimen(
    kinds: Sequence[str],
    shape: tuple[int, ...],
    data: DataConfig,
    optics: _Optics,
    background: float,
    seed: int,
    generator: np.random.Generator,
) -> FloatImage:
    """Draw structures, or where mixtures are among them for a share beads alone or flat fields."""
    drawn = generator.random() if data.beads or data.flat else 1.0
    if "mixture" in kinds and drawn < data.beads + data.flat:
        planar = _is_planar(data)
        if drawn < data.beads:
            planes = [n * data.phantom_shape[0] // _PLANES for n in range(_PLANES)] if planar else []
            light = make_beads(shape, data.phantom_shape, optics.sigmas, optics.anisotropy, generator, planes)
        else:
            light = make_flat_fields(shape, optics.anisotropy, generator, planar)
        return light + np.float32(background)
    kind = str(generator.choice(kinds)) if len(kinds) > 1 else kinds[0]
    return make_structures(
        kind,  # type: ignore[arg-type]
        shape,
        rng=seed,
        blur_sigma=optics.sigmas,
        background=background,
        anisotropy=optics.anisotropy,
    ).image


def _background(known: KnownMicroscope | None, generator: np.random.Generator) -> float:
    """Draw the level of the background."""
    if known is None:
        return float(10 ** generator.uniform(1, 2.6))
    low, high = np.log(known.background)
    return math.exp(generator.uniform(low, high))


def _known_optics(known: KnownMicroscope, data: DataConfig, generator: np.random.Generator) -> _Optics:
    """Return the known PSF for the estimate; the true one may be a little wider or narrower."""
    misled = generator.random() < data.misled
    true = _stretched(known.psf, 1 + generator.normal(0, _WIDTH_ERROR)) if misled else known.psf
    widths = [width / FWHM_PER_SIGMA for width in widths_at_half_maximum(known.psf)]
    # A PSF of one plane has no width along Z.
    sigmas = [width if math.isfinite(width) else 0.0 for width in widths]
    return _Optics(true, known.psf, sigmas, known.anisotropy)


def _stretched(psf: FloatImage, factor: float) -> FloatImage:
    """Make a PSF wider by a factor; its shape stays."""
    centre = np.array([n // 2 for n in psf.shape])
    # A whole matrix: older versions of SciPy warn of its diagonal alone.
    matrix = np.diag(np.full(psf.ndim, 1 / factor))
    wide = ndimage.affine_transform(psf, matrix, offset=centre - centre / factor, order=1)
    return np.asarray(wide / wide.sum(), np.float32)


def _is_planar(data: DataConfig) -> bool:
    return len(data.patch_shape) < len(data.phantom_shape)


def _draw_optics(data: DataConfig, generator: np.random.Generator, thin: bool = False) -> _Optics:
    """Draw a microscope, and the PSF for the estimate; for a thin specimen only their planes in focus."""
    kind = str(generator.choice(data.modalities))
    misled = generator.random() < data.misled
    ndim = len(data.phantom_shape)
    if kind == "gaussian":
        lateral = math.exp(generator.uniform(*np.log(data.blur_sigma)))
        axial = min(lateral * generator.uniform(*data.axial_ratio), 2 * data.blur_sigma[1])
        sigmas = [axial, lateral, lateral][-ndim:]
        wrong = 1 + (generator.normal(0, _SIGMA_ERROR) if misled else 0.0)
        return _Optics(gaussian_psf(sigmas), gaussian_psf([wrong * s for s in sigmas]), sigmas, 1.0)
    aperture, index = _OBJECTIVES[generator.integers(len(_OBJECTIVES))]
    across = math.exp(generator.uniform(*np.log(_LATERAL_UNITS)))
    along = math.exp(generator.uniform(*np.log(_AXIAL_UNITS)))
    lateral_um = across * _EMISSION_UM / aperture
    axial_um = along * _EMISSION_UM / (index - math.sqrt(index**2 - aperture**2))
    optics: dict[str, Any] = {"refractive_index": index, "emission_um": _EMISSION_UM}
    if kind == "confocal":
        optics |= {"excitation_um": _EXCITATION_UM, "pinhole_airy": float(generator.uniform(*_PINHOLE_AIRY))}
    if kind == "light_sheet":
        optics["sheet_fwhm_um"] = float(generator.uniform(*_SHEET_PLANES)) * axial_um
    voxel = (axial_um, lateral_um, lateral_um)[-ndim:]
    shape = [round(_REACH * n) // 2 * 2 + 1 for n in data.phantom_shape]
    if thin:
        shape[0] = 1
    spherical = float(generator.uniform(-_SPHERICAL, _SPHERICAL)) if generator.random() < _ABERRATED else 0.0
    assumed_aperture = min(aperture * (1 + (generator.uniform(*_NA_ERROR) if misled else 0)), 0.98 * index)
    true = make_psf(
        kind,  # type: ignore[arg-type]
        shape,
        numerical_aperture=aperture,
        voxel_size=voxel,
        spherical_aberration=spherical,
        **optics,
    )
    assumed = make_psf(
        kind,  # type: ignore[arg-type]
        shape,
        numerical_aperture=assumed_aperture,
        voxel_size=voxel,
        **optics,
    )
    # The full widths at half maximum are about 0.51 λ/NA and 0.88 of the axial unit.
    widths = [0.88 / along, 0.51 / across, 0.51 / across][-ndim:]
    return _Optics(true, assumed, [w / 2.355 for w in widths], axial_um / lateral_um if ndim == 3 else 1.0)


def gaussian_psf(sigmas: list[float]) -> FloatImage:
    """Make a Gaussian PSF of sum 1 that reaches 3.5 standard deviations along each axis."""
    psf = np.ones((), np.float64)
    for sigma in sigmas:
        reach = math.ceil(3.5 * sigma)
        psf = psf[..., None] * np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(psf / psf.sum(), np.float32)
