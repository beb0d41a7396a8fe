"""The public function `examine`: noise, sampling, blur and resolution of an image, before a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_lucyd import checks
from napari_lucyd.deconvolution.arguments import check_voxel_size
from napari_lucyd.deconvolution.findings import FLASH_FRAME, Finding, kind_of
from napari_lucyd.deconvolution.image.source import Source, to_float32
from napari_lucyd.deconvolution.statistics.irregularities import flash_findings, flash_times
from napari_lucyd.deconvolution.statistics.noise import noise_of, noise_share
from napari_lucyd.errors import Cancelled
from napari_lucyd.models.catalogue import DEFAULT_MODEL, DEFAULT_PLANES, list_models
from napari_lucyd.photons import NoiseModel, estimate_noise, without_empty_ends
from napari_lucyd.psf.spectral_blur import (
    NOISE_ERROR,
    SMALLEST,
    UNKNOWN_NOISE_ERROR,
    find_blur,
    power_spectrum,
)
from napari_lucyd.psf.widths import widths_at_half_maximum
from napari_lucyd.referee.advice import Measured, recommend, warn
from napari_lucyd.referee.decorrelation import decorrelation_resolution
from napari_lucyd.referee.examination import Examination
from napari_lucyd.referee.sample import draw_volume_sample, middle_volume
from napari_lucyd.simulation import Microscope
from napari_lucyd.simulation.psf import FWHM_PER_SIGMA
from napari_lucyd.text import count_text, group_messages

# Voxels that noise, blur and resolution are measured on, at most, for all channels together.
_VOXELS, _SPECTRUM_VOXELS = 2**23, 2**20
_RESOLUTION_PLANES = 4
# Largest voxel that samples finely enough, in optical units along (Z, Y, X): half a period of the smallest
# detail that a widefield microscope passes on.
_NYQUIST = (0.5, 0.25, 0.25)
# Frequencies, in periods a voxel, where a widefield PSF passes nothing: along Z, and hardly any across it.
_ALONG, _HARDLY_ACROSS, _ACROSS = (0.05, 0.2), 0.026, (0.05, 0.12)
# Ratio of the power there to that beside it: 0.9 to 70 in confocal and light-sheet stacks (simulated, and
# four real ones), 0.04 to 5 in widefield stacks (of other specimens).
_HAZE = 0.75
_FEWEST_HAZE_PLANES = 20
# Planes on each side of a PSF whose length is measured, at most.
_MOST_PLANES = 100
# Standard deviations of the noise by which the mean of 5 × 5 voxels must exceed the dark level.
_SEEN = 6.0
# Voxels of an array in memory that is searched for infinite voxels as a whole, at most: half a second.
_SEARCHED_VOXELS = 2**28


def examine(
    volume: Any,
    *,
    voxel_size: Any = None,
    microscope: Any = None,
    axes: str | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Examination:
    """Examine an image before it is deconvolved.

    A sample of the image is read, so the time hardly grows with its size. In a time series, the frame in
    the middle is examined, and a small part of every other frame is compared with it. Infinite voxels,
    which a run refuses, are looked for in all of an array in memory, unless it is very large.

    Parameters
    ----------
    volume
        (…, Z, Y, X) or (…, Y, X): a numpy, dask, zarr or xarray array of real numbers.
    voxel_size
        Voxel size along (Z, Y, X) or (Y, X), in µm.
    microscope
        The `Microscope` that took the image, or a list with one for each channel.
    axes
        One letter for each axis, e.g. ``"CZYX"``. By default the array's own names or its shape decide.
    should_stop
        Called while infinite voxels are looked for and the frames are compared; True stops.

    Returns
    -------
    Examination
        The findings; ``print`` shows them as text.

    Raises
    ------
    TypeError, ValueError
        If the image or an argument is invalid, or smaller than 8 voxels along Y or X; the message says what
        to do.
    Cancelled
        When ``should_stop`` returns True.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> light = 50 * (1 + np.sin(np.arange(128) / 5))
    >>> image = np.random.default_rng(0).poisson(np.broadcast_to(light, (128, 128)))
    >>> found = nl.examine(image)
    >>> found.poisson, round(found.gain), round(100 * found.noise)
    (True, 1, 10)
    """
    source = Source(volume, 3, axes)
    source.refuse_mask()
    if source.axes.size("Z") == 1:
        source = Source(volume, 2, source.axes.names)
    steps = check_voxel_size(voxel_size, source.axes)
    channels = source.axes.size("C") if "C" in source.axes.leading else 1
    microscopes = _microscopes(microscope, channels)
    infinite = _infinite_voxels(source, should_stop)
    if channels == 1:
        return _of_channel(source, None, steps, microscopes[0], 1, infinite, should_stop)
    found = [
        _of_channel(source, number, steps, microscopes[number], channels, infinite, should_stop)
        for number in range(channels)
    ]
    # A channel without contrast has infinite noise, and says nothing about the others.
    worst = max(found, key=lambda one: (math.isfinite(one.noise), one.noise))
    restored = [one for one in (worst, *found) if not one.recommendation.leave_alone]
    wanted = (restored or [worst])[0].recommendation
    flashes = [text for one in found for text in one.warnings if kind_of(text) == FLASH_FRAME]
    joined = [Finding(text, FLASH_FRAME) for text in group_messages(flashes)]
    others = [text for text in worst.warnings if kind_of(text) != FLASH_FRAME]
    return replace(worst, recommendation=wanted, warnings=(*joined, *others), channels=tuple(found))


def _microscopes(microscope: Any, channels: int) -> list[Microscope | None]:
    given = list(microscope) if isinstance(microscope, (list, tuple)) else [microscope]
    for one in given:
        if not isinstance(one, Microscope | None):
            raise TypeError(
                f"microscope is {checks.shown(one)}; give a napari_lucyd.Microscope, or a list with one for "
                "each channel."
            )
    if len(given) not in (1, channels):
        raise ValueError(
            f"microscope is a list of {len(given)}, but the image has "
            f"{count_text(channels, 'channel')}; give one for all channels, or one for each."
        )
    return given * channels if len(given) == 1 else given


def _of_channel(
    source: Source,
    channel: int | None,
    steps: tuple[float, ...] | None,
    microscope: Microscope | None,
    channels: int,
    infinite: int,
    should_stop: Callable[[], bool] | None,
) -> Examination:
    axes = source.axes
    index = () if channel is None else (("C", channel),)
    flashes, times_as_bright = flash_times(source, index, should_stop)
    lead = middle_volume(axes, channel or 0, flashes)
    values, in_sample = _filled(draw_volume_sample(source, lead, _VOXELS // channels).values)
    noise = estimate_noise(values)
    part = values
    if values.size > _SPECTRUM_VOXELS:
        part, _ = _filled(draw_volume_sample(source, lead, _SPECTRUM_VOXELS).values)
    constant = bool(part.min() == part.max())
    flat = axes.dimension == 2
    blur, haze = None, False
    if not constant and noise.read_noise + noise.gain > 0:
        ratio = 1.0 if flat or steps is None else steps[-1] / steps[0]
        error = NOISE_ERROR if noise.poisson else UNKNOWN_NOISE_ERROR
        inner = without_empty_ends(part)
        variance = noise.variance(inner) if noise.poisson else noise_of(inner.astype(np.float32)) ** 2
        blur = find_blur(inner, variance, ratio, error)
        haze = not flat and blur is not None and _has_haze(inner, variance)
    empty = () if flat else _empty_planes(values, noise)
    shown = [z for z in range(len(part)) if z not in empty] if not flat else []
    resolution = _resolution(part, shown, noise)
    sampling = None
    if microscope is not None and steps is not None:
        units = microscope.in_optical_units(steps)
        sampling = tuple(unit / most for unit, most in zip(units, _NYQUIST[-len(units) :], strict=True))
    place = tuple(zip(axes.leading, lead, strict=True))
    measured = Measured(
        planes=None if flat else axes.size("Z"),
        voxel_size_known=steps is not None,
        poisson=noise.poisson,
        poisson_reason=noise.reason,
        noise=noise.noise,
        contrast_noise=0.0 if constant or in_sample else noise_share(source, place),
        saturated=noise.saturated,
        empty_planes=empty,
        sampling=sampling,
        blur_sigma=None if blur is None else blur.sigma,
        blur_sigma_error=None if blur is None else blur.error,
        resolution=resolution,
        haze=haze,
        constant=constant,
        infinite=max(infinite, in_sample),
        small=min(part.shape[-2:]) < SMALLEST,
        told_axial_sigma=None if flat or blur is None else _axial_sigma(microscope, steps),
        flashes=tuple(flash_findings(index, flashes, times_as_bright)),
    )
    name = DEFAULT_PLANES if flat else DEFAULT_MODEL
    card = next(card for card in list_models() if card["name"] == name)
    return Examination(
        axes=axes.names,
        shape=axes.shape,
        voxel_size=steps,
        poisson=noise.poisson,
        poisson_reason=noise.reason,
        gain=noise.gain if noise.poisson else None,
        offset=noise.offset,
        read_noise=noise.read_noise if noise.poisson else None,
        noise=noise.noise,
        saturated=noise.saturated,
        empty_planes=empty,
        sampling=sampling,
        blur_sigma=None if blur is None else blur.sigma,
        blur_sigma_error=None if blur is None else blur.error,
        resolution=resolution,
        recommendation=recommend(measured, card),
        warnings=tuple(warn(measured, card, microscope)),
        channel=channel,
    )


def _infinite_voxels(source: Source, should_stop: Callable[[], bool] | None) -> int:
    """Count infinite voxels of an image in memory; 0 for others, which are not read as a whole."""
    if source.dtype.kind != "f" or not source.in_memory or source.on_disk:
        return 0
    if math.prod(source.shape) > _SEARCHED_VOXELS:
        return 0
    found = 0
    for lead in source.volumes():
        for part in source.parts():
            if should_stop is not None and should_stop():
                raise Cancelled("Stopped while infinite voxels were looked for.")
            found += int(np.count_nonzero(np.isinf(to_float32(source.read(lead, part.spans)))))
    return found


def _axial_sigma(microscope: Microscope | None, steps: tuple[float, ...] | None) -> float | None:
    """Return the width along Z of a microscope's PSF in planes, as a standard deviation, or None."""
    if microscope is None or steps is None:
        return None
    # A widefield PSF, the longest one, is 0.88 optical units long at half of its maximum.
    reach = math.ceil(0.88 / microscope.in_optical_units(steps)[0])
    psf = microscope.psf(steps, (2 * min(reach, _MOST_PLANES) + 1, 5, 5))
    width = widths_at_half_maximum(psf)[0]
    return width / FWHM_PER_SIGMA if math.isfinite(width) else None


def _filled(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], int]:
    """Return finite values, where others take the median, and the number of infinite ones."""
    if values.dtype.kind != "f":
        return values, 0
    values = to_float32(values)
    wrong = ~np.isfinite(values)
    if wrong.all():
        raise ValueError("The image has no finite voxels; check the file.")
    if wrong.any():
        infinite = int(np.count_nonzero(np.isinf(values)))
        values[wrong] = np.median(values[~wrong])
        return values, infinite
    return values, 0


def _empty_planes(values: npt.NDArray[Any], noise: NoiseModel) -> tuple[int, ...]:
    """Return the planes along Z that are constant, or in which nothing stands out from the noise."""
    least = noise.offset + _SEEN * noise.read_noise / 5
    found = []
    for z, plane in enumerate(values):
        means = ndimage.uniform_filter(plane.astype(np.float32), 5)[2::5, 2::5]
        if plane.min() == plane.max() or (noise.gain and float(means.max()) < least):
            found.append(z)
    return tuple(found)


def _resolution(values: npt.NDArray[Any], shown: Sequence[int], noise: NoiseModel) -> float | None:
    """Return the resolution of some planes with the most contrast."""
    if min(values.shape[-2:]) < SMALLEST or not noise.read_noise + noise.gain:
        return None
    if values.ndim == 2:
        return decorrelation_resolution(values)
    planes = sorted(shown, key=lambda z: -float(values[z, ::4, ::4].std(dtype=float)))[:_RESOLUTION_PLANES]
    return decorrelation_resolution(values[sorted(planes)]) if planes else None


def _has_haze(part: npt.NDArray[Any], variance: npt.NDArray[np.float64] | float) -> bool:
    """Return True if the spectrum has the gap along Z that a widefield microscope leaves."""
    if len(part) < _FEWEST_HAZE_PLANES:
        return False
    spectrum = power_spectrum(part, variance)
    along = (spectrum.axial >= _ALONG[0]) & (spectrum.axial <= _ALONG[1])
    gap = along & (spectrum.lateral < _HARDLY_ACROSS)
    beside = along & (spectrum.lateral > _ACROSS[0]) & (spectrum.lateral < _ACROSS[1])

    def signal(rings: npt.NDArray[np.bool_]) -> float:
        return float(np.average(spectrum.power[rings], weights=spectrum.counts[rings])) - 1

    if not gap.any() or not beside.any() or signal(beside) <= 1:
        return False
    return signal(gap) < _HAZE * signal(beside)
