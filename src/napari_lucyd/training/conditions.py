"""Conditions that a model is adapted to: the PSF of a microscope, and the noise of an image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd import checks
from napari_lucyd.deconvolution import check_blur, name_axes, plan
from napari_lucyd.models import Model
from napari_lucyd.photons import estimate_noise
from napari_lucyd.psf.widths import widths_at_half_maximum
from napari_lucyd.simulation import Microscope
from napari_lucyd.simulation.phantoms import FloatImage
from napari_lucyd.simulation.psf import FWHM_PER_SIGMA
from napari_lucyd.simulation.structures import StructureKind
from napari_lucyd.text import blur_text, count_text, percent_text
from napari_lucyd.training.config import DataConfig
from napari_lucyd.training.estimates import KnownMicroscope, gaussian_psf

# Size of a PSF along each axis in sizes of the field, as in the training of the shipped models.
_REACH = 1.5
# Limits of the noise in training are the measured noise divided and multiplied by this: other parts of the
# specimen, and other images of the same microscope, differ as much.
_NOISE_RANGE = 1.5
# Scale of an image divided by the contrast of its specimen, typically; the brightest light sets the scale.
_SCALE_PER_CONTRAST = 2.0
# Limits of the photons at the contrast, and of the read noise in 1/255 of the contrast.
_PHOTONS, _READ_NOISE = (4.0, 1e6), (0.05, 60.0)
# Number of photons if the noise is not photon noise: so large that their own noise can be ignored.
_MANY_PHOTONS = 2e4
# Limits of the background if the noise was measured. The shot noise of the image's background is part of the
# measured read noise.
_DARK = (5.0, 50.0)
# Distance of the planes around a single plane in optical units.
_PLANE_UNITS = 0.3
# Share of the specimens with a PSF of a slightly different width.
_MISLED = 0.3
# Most voxels in which noise is measured.
_MOST_VOXELS = 2**25


@dataclass(frozen=True, eq=False)
class Conditions:
    """The specimens and the noise of an adaptation.

    Attributes
    ----------
    known
        The microscope.
    data
        Data of the training.
    record
        Entries of the card on the given and the measured facts: plain JSON data.
    notes
        The same as sentences for the user.
    """

    known: KnownMicroscope
    data: DataConfig
    record: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_conditions(
    image: npt.NDArray[Any] | None,
    start: Model,
    data: DataConfig,
    told: dict[str, Any],
    voxel_size: Sequence[float] | None,
    structures: StructureKind,
    should_stop: Callable[[], bool] = lambda: False,
) -> Conditions:
    """Take the given PSF, or find the blur of the image, and measure the image's noise.

    Parameters
    ----------
    image
        ([Z,] Y, X), or None if there is none; then the range of noise stays that of the start.
    start
        Model that is told the blur.
    data
        Data of its training.
    told
        ``microscope``, ``psf``, ``psf_voxel_size`` and ``blur_sigma`` of `deconvolve`; any may be None.
    voxel_size
        Voxel size along (Z,) Y, X; in µm for a microscope.
    structures
        Kind of the specimens.
    should_stop
        Function that is asked often; True ends the search for the blur.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid, or neither blur nor image is given.
    Cancelled
        If ``should_stop`` returns True.
    """
    voxel_size = None if voxel_size is None else tuple(voxel_size)[-start.dimension :]
    notes: list[str] = []
    record: dict[str, Any] = {}
    light = None
    given = {name: value for name, value in told.items() if value is not None}
    if image is not None:
        job = plan(image, start, voxel_size=voxel_size, **given)
        (light,) = job.measure(should_stop).light
        if light.noise == 0 and light.peak == 0:
            raise ValueError("The image is constant, so it has no noise to measure; give another image.")
    elif not given:
        raise ValueError(
            "Neither an image nor a blur is given; give the image, or a microscope with voxel_size, a psf or "
            "blur_sigma."
        )
    if given:
        psf, record = _told_psf(told, start.dimension, voxel_size, data)
    else:
        assert light is not None
        psf = gaussian_psf(list(light.blur_sigma))
        record = {"blur_sigma_found": [round(sigma, 3) for sigma in light.blur_sigma]}
        found = blur_text(light.blur_sigma)
        notes.append(f"No blur was given: a Gaussian of σ {found} voxels was found in the image.")
    field_shape = data.phantom_shape[-psf.ndim :]
    psf = _cropped(psf, field_shape)
    widths = [width / FWHM_PER_SIGMA for width in widths_at_half_maximum(psf)]
    lateral = float(np.mean(widths[-2:]))
    ratio = widths[0] / lateral if len(widths) == 3 and math.isfinite(widths[0]) else 1.0
    ready = replace(
        data,
        phantom_shape=field_shape,
        blur_sigma=(round(lateral, 3), round(lateral, 3)),
        axial_ratio=(round(ratio, 3), round(ratio, 3)),
        modalities=_modalities(record) or data.modalities,
        misled=_MISLED,
        # Planes under a PSF of one plane have no light out of focus, so all of them are thin.
        thin=data.thin if len(field_shape) > len(data.patch_shape) else 0.0,
    )
    background = (10.0, 400.0)
    if image is not None and light is not None:
        photons, read_noise, text = _noise(image, light.scale, light.noise)
        ready = replace(
            ready, photons=_around(photons, _PHOTONS), noise_sigma=_around(read_noise, _READ_NOISE)
        )
        record |= {"photons": round(photons, 1), "read_noise_255": round(read_noise, 3)}
        notes.append(text)
        background = _DARK
    anisotropy = 1.0
    if psf.ndim == 3 and voxel_size is not None and len(voxel_size) == 3:
        anisotropy = float(voxel_size[0] / voxel_size[2])
    record["structures"] = structures
    known = KnownMicroscope(psf, structures, background, anisotropy)
    return Conditions(known, ready, record, tuple(notes))


def single_volume(image: Any, dimension: int, axes: str | None, channel: int) -> npt.NDArray[Any]:
    """Return one volume or plane of an image: a channel, and the middle of all other leading axes.

    Raises
    ------
    ValueError
        If there is no such channel.
    """
    array = image if hasattr(image, "shape") and hasattr(image, "dtype") else np.asarray(image)
    named = name_axes(array.shape, np.dtype(array.dtype), dimension, axes, getattr(image, "dims", None))
    channel = checks.integer("channel", channel, least=0)
    if channel >= named.size("C"):
        raise ValueError(f"channel is {channel}, but the image has {named.size('C')}; they count from 0.")
    lead = tuple(channel if name == "C" else named.size(name) // 2 for name in named.leading)
    index = tuple(
        lead[named.leading.index(name)] if name in named.leading else slice(None) for name in named.names
    )
    volume = np.asarray(array[index])
    order = [name for name in named.names if name in named.spatial]
    volume = volume.transpose([order.index(name) for name in named.spatial])
    shape = list(volume.shape)
    while math.prod(shape) > _MOST_VOXELS:  # the middle is enough
        shape[int(np.argmax(shape))] //= 2
    return volume[
        tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(volume.shape, shape, strict=True))
    ]


def _told_psf(
    told: dict[str, Any], dimension: int, voxel_size: Sequence[float] | None, data: DataConfig
) -> tuple[FloatImage, dict[str, Any]]:
    """Return the given PSF, with odd sizes, and its entries for the card.

    For planes, a microscope and a PSF with three axes give a PSF of a volume, so that training has
    out-of-focus light.
    """
    psf, microscope = told["psf"], told["microscope"]
    steps = None if voxel_size is None else tuple(float(step) for step in voxel_size)
    axes = 3 if dimension == 3 or np.ndim(psf) == 3 else dimension
    if dimension == 2 and psf is None and isinstance(microscope, Microscope) and steps is not None:
        axes, steps = 3, (_PLANE_UNITS * microscope.optical_units[0], *steps[-2:])
    if dimension == 2 and axes == 3 and psf is not None and steps is not None and len(steps) == 2:
        own = told["psf_voxel_size"]
        steps = None if own is None else (float(own[0]), *steps)
    shape = data.phantom_shape[-axes:]
    named = name_axes(shape, np.dtype(np.float32), axes, "ZYX"[-axes:])
    blur = check_blur(microscope, psf, told["psf_voxel_size"], told["blur_sigma"], named, steps)
    kernel = blur.kernel(0)
    # The origin of an even size lies behind the middle; an empty plane at the end makes it the middle.
    return np.pad(kernel, [(0, 1 - n % 2) for n in kernel.shape]), dict(blur.record)


def _modalities(record: dict[str, Any]) -> tuple[str, ...]:
    """Return the kind of the microscope as `make_psf` names it; empty for a measured PSF."""
    if "microscope" in record:
        return (str(record["microscope"]["modality"]).replace("-", "_"),)
    return () if "psf" in record else ("gaussian",)


def _cropped(psf: FloatImage, field_shape: Sequence[int]) -> FloatImage:
    """Cut the middle out of a PSF that is larger than the training needs, and scale it to a sum of 1."""
    sizes = [min(n, round(_REACH * m) // 2 * 2 + 1) for n, m in zip(psf.shape, field_shape, strict=True)]
    starts = [(n - size) // 2 for n, size in zip(psf.shape, sizes, strict=True)]
    part = psf[tuple(slice(a, a + n) for a, n in zip(starts, sizes, strict=True))]
    return np.asarray(part / part.sum(), np.float32)


def _noise(image: npt.NDArray[Any], scale: float, share: float) -> tuple[float, float, str]:
    """Measure the photons at the contrast, the read noise in 1/255 of it, and say what was found."""
    try:
        model = estimate_noise(image)
    except ValueError:  # too small an image
        model = None
    if model is not None and model.poisson and model.gain > 0:
        photons, read = scale / model.gain, model.read_noise / scale
        text = f"Noise of the image: {count_text(round(photons), 'photon')} in bright parts"
        text += f", and {percent_text(read, '.1f')} of the range in the dark."
        return photons / _SCALE_PER_CONTRAST, 255 * read * _SCALE_PER_CONTRAST, text
    text = f"Noise of the image: {percent_text(share, '.1f')} of the range."
    return _MANY_PHOTONS, 255 * share * _SCALE_PER_CONTRAST, text


def _around(value: float, limits: tuple[float, float]) -> tuple[float, float]:
    low, high = (min(max(end, limits[0]), limits[1]) for end in (value / _NOISE_RANGE, value * _NOISE_RANGE))
    return low, high
