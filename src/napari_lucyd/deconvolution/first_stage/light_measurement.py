"""Measurement of an image for its first estimate: dark level, noise, brightness, and the blur if not told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd.compute.device import Device
from napari_lucyd.deconvolution.blocks import middle_of, read_filled
from napari_lucyd.deconvolution.classical.automatic import decide, photons_of, sample_of
from napari_lucyd.deconvolution.classical.dark_level import DarkLevel, find_dark_level
from napari_lucyd.deconvolution.classical.semi_blind import USUAL_BLUR, SemiBlind
from napari_lucyd.deconvolution.findings import BLUR_FOUND, Finding
from napari_lucyd.deconvolution.first_stage.estimate import SIGNIFICANT, scale_of
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.statistics.light import Light
from napari_lucyd.deconvolution.statistics.noise import noise_of
from napari_lucyd.deconvolution.statistics.scaling import Group, Statistics
from napari_lucyd.deconvolution.statistics.spectrum import SAFE, assumed_blur
from napari_lucyd.errors import Cancelled
from napari_lucyd.photons import without_empty_ends
from napari_lucyd.text import blur_text

# Voxels that are read to find the numbers, and the volumes of a series that share them.
_KNOWN_VOXELS, _VOLUMES = 2**26, 3
# Number of voxels in which a blur is looked for; dozens of blurs are tried.
SEARCH_VOXELS = 2**17


def measure_light(
    source: Source,
    original: Source,
    statistics: Statistics,
    pedestal: float,
    told: bool,
    device: Device,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[Statistics, list[Finding]]:
    """Complete the statistics of an image with its light, by which a first estimate is scaled.

    Parameters
    ----------
    source
        The prepared image.
    original
        The image before its preparation, in which the blur is searched: a prefilter mixes the noise of
        neighbouring voxels, and then held-out photons show nothing.
    statistics
        The prepared image's extremes and missing voxels.
    pedestal
        Value of the dark level in the input of the network, as a share of the scale.
    told
        True if the blur is known; otherwise it is found in the image.
    device
        Device for trials of the blur.
    should_stop
        Called again and again; True stops.

    Returns
    -------
    tuple
        The statistics with ``light`` and the scaling that follows from it, and sentences for the user.

    Raises
    ------
    Cancelled
        When ``should_stop`` returns True.
    """

    def ask() -> None:
        if should_stop is not None and should_stop():
            raise Cancelled("Stopped while the image was measured.")

    groups, lights, notes = [], [], []
    for group in statistics.groups:
        light = _group_light(source, group, ask)
        if not told and not group.constant:
            sigmas, note = _find_blur(without_empty_ends(_middle_volume(original, group)), device, ask)
            light = replace(light, blur_sigma=sigmas)
            where = f"{group.label}: " if group.index else ""
            notes.append(Finding(where + note, note.kind, where + note.brief))
        elif not told:
            light = replace(light, blur_sigma=(USUAL_BLUR,) * source.axes.dimension)
        lights.append(light)
        s = float(np.float32(light.scale))
        groups.append(replace(group, lo=float(np.float32(light.level - pedestal * s)), s=s))
    return replace(statistics, groups=tuple(groups), light=tuple(lights)), notes


def _group_light(source: Source, group: Group, ask: Callable[[], None]) -> Light:
    if group.constant:
        return Light(group.minimum, 0.0, 1.0, 0.0, 0.0, 0.0)
    leads = _members(source, group)
    chosen = sorted({leads[0], leads[len(leads) // 2], leads[-1]})[:_VOLUMES]
    darks, noises, values = [], [], []
    for lead in chosen:
        ask()
        part = _known(source, lead, group, _KNOWN_VOXELS // len(chosen))
        if part.min() == part.max() and len(chosen) > 1:  # a blank frame of a series
            continue
        darks.append(find_dark_level(part))
        noises.append(noise_of(part))
        values.append(part)
    if not values:
        return Light(group.minimum, 0.0, 1.0, 0.0, 0.0, 0.0)
    level, dark_noise = (
        float(np.median([getattr(dark, name) for dark in darks])) for name in ("level", "noise")
    )
    dark, noise = DarkLevel(level, dark_noise), float(np.median(noises))
    light = np.concatenate([part[part > level + SIGNIFICANT * noise] for part in values])
    scale = scale_of(light.astype(np.float64) - level, noise)
    floor = np.float32(dark.floor)
    peak = max(float(part.max()) for part in values) - float(floor)
    mean = float(np.mean([np.maximum(part - floor, 0).mean(dtype=np.float64) for part in values]))
    return Light(level, dark.pedestal, scale, noise / scale, max(peak, 0.0), mean)


def _find_blur(
    values: npt.NDArray[np.float32], device: Device, ask: Callable[[], None]
) -> tuple[tuple[float, ...], Finding]:
    """Find the standard deviations of a Gaussian blur by held-out photons, and say what was found."""
    flat = values.ndim == 2 or values.shape[0] == 1
    stack = values if values.ndim == 3 else values[None]
    noise = photons_of(stack[0] if flat else stack)

    def along_axes(sigmas: Sequence[float]) -> tuple[float, ...]:
        complete = (0.0, sigmas[0], sigmas[0]) if flat else (sigmas[0], sigmas[1], sigmas[1])
        return complete[3 - values.ndim :]

    if isinstance(noise, str):
        assumed, sentence = assumed_blur(stack[sample_of(stack)], USUAL_BLUR)
        sigmas, found = list(assumed), f"The photons do not show how wide the blur is: {noise} {sentence}"
        how = "assumed"
    else:
        part = stack[sample_of(stack, SEARCH_VOXELS)]
        method, _ = SemiBlind().prepared(None, part.shape)
        search = decide(method, part, device, ask)
        while True:
            try:
                next(search)
            except StopIteration as end:
                sigmas = [
                    SAFE * sigma
                    for sigma in end.value.record.get("sigma_found", [USUAL_BLUR] * (1 if flat else 2))
                ]
                break
        text, how = blur_text(along_axes(sigmas)), "found"
        found = (
            f"No blur was given: the run used a Gaussian blur with a standard deviation of {text} voxels. "
            "Held-out photons found it, and it was taken a tenth narrower to be safe. The examination "
            "measures the blur in another way and may name another one."
        )
    brief = f"blur of {blur_text(along_axes(sigmas))} voxels {how}"
    text = f"{found} If you know the microscope or the PSF, give it."
    return along_axes(sigmas), Finding(text, BLUR_FOUND, brief)


def _members(source: Source, group: Group) -> list[tuple[int, ...]]:
    index = dict(group.index)
    return [
        lead
        for lead in source.volumes()
        if all(source.axes.lead_index(lead).get(name) == number for name, number in index.items())
    ]


def _middle_volume(source: Source, group: Group) -> npt.NDArray[np.float32]:
    leads = _members(source, group)
    return _known(source, leads[len(leads) // 2], group, _KNOWN_VOXELS)


def _known(source: Source, lead: Sequence[int], group: Group, most: int) -> npt.NDArray[Any]:
    """Read the middle of a volume."""
    return read_filled(source, lead, middle_of(source.axes.volume_shape, most), group).values
