"""Recommendation and warnings that follow from what was measured in an image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_lucyd.deconvolution.findings import Finding
from napari_lucyd.deconvolution.statistics.noise import is_too_noisy, too_noisy
from napari_lucyd.models.catalogue import DEFAULT_MODEL, DEFAULT_PLANES
from napari_lucyd.referee.examination import Recommendation
from napari_lucyd.simulation import Microscope
from napari_lucyd.text import count_text, percent_text

# Below this blur, in voxels, a deconvolution changes hardly anything but the noise.
_SHARP = 0.6
# Smallest standard error, as a share of the blur, with which a blur counts as unknown.
_UNCERTAIN = 0.5
# A PSF that is longer along Z than the blur of the image, with its error, by this factor does not fit the
# image. If the numerical aperture is told too small by a third, results have ghosts above and below objects
# (docs/decisions/0014-a-living-network.md).
_TOO_LONG = 1.5
# Stacks of fewer planes are no volumes for a network or a PSF.
_FEWEST_PLANES = 5
_MUCH_SATURATED = 0.01
UNKNOWN_VOXEL_SIZE = (
    "The voxel size is unknown. Give it in µm: without it no PSF can be computed from a microscope, and "
    "voxels are assumed to be cubes."
)


@dataclass(frozen=True)
class Measured:
    """Numbers of one channel that decide on the advice; see `Examination`.

    Attributes
    ----------
    planes
        Number of planes of a volume; None for an image without an axis Z.
    voxel_size_known
        True if the voxel size was given.
    poisson, poisson_reason, noise, saturated, empty_planes, sampling
        See `Examination`.
    blur_sigma, blur_sigma_error, resolution
        See `Examination`.
    contrast_noise
        Noise as a run measures it: as a share of the contrast; see `noise_share`. 0 if it is unknown.
    haze
        True if light spreads along Z as in a widefield microscope.
    constant
        True if all voxels are equal.
    infinite
        Number of infinite voxels that were found.
    told_axial_sigma
        Width along Z of the given microscope's PSF, in planes, as a standard deviation; None if unknown.
    flashes
        Findings about time points that are far brighter than the others.
    """

    planes: int | None
    voxel_size_known: bool
    poisson: bool
    poisson_reason: str
    noise: float
    saturated: float
    empty_planes: tuple[int, ...]
    sampling: tuple[float, ...] | None
    blur_sigma: tuple[float, ...] | None
    blur_sigma_error: tuple[float, ...] | None
    resolution: float | None
    haze: bool
    constant: bool
    contrast_noise: float = 0.0
    infinite: int = 0
    small: bool = False
    told_axial_sigma: float | None = None
    flashes: tuple[Finding, ...] = ()


def recommend(found: Measured, card: Mapping[str, Any]) -> Recommendation:
    """Return method and model for an image, with the reasons.

    Parameters
    ----------
    found
        Numbers of the channel.
    card
        Card of the default model for the image.
    """
    reason = _reason_to_leave(found)
    if reason:
        return Recommendation(None, None, reasons=(reason,))
    flat = found.planes is None
    model = DEFAULT_PLANES if flat else DEFAULT_MODEL
    kind = "a plane" if flat else "a volume"
    reasons = [f"The image is {kind}, and {model} is the model of {'planes' if flat else 'volumes'}."]
    if found.small:
        reasons.append("The image is too small to find its blur; give the microscope.")
    elif found.blur_sigma is None or found.blur_sigma_error is None:
        reasons.append("No blur was found in the image; give the microscope.")
    elif found.blur_sigma_error[-1] > _UNCERTAIN * found.blur_sigma[-1]:
        reasons.append("The noise hides how wide the blur is; give the microscope.")
    else:
        reasons.append(
            f"A blur of {count_text(f'{found.blur_sigma[-1]:.2g}', 'voxel')} was found (standard deviation). "
            "If the microscope "
            "is not given, the run measures it again and takes it a tenth narrower, because too wide a blur "
            "invents structure."
        )
    how = ""
    if _is_too_noisy(found, card):
        limit = f"The image has more noise than {model} was trained for."
        if found.poisson:
            again = f"{limit} Held-out photons show if it helps, or another method: choose Automatic"
            return Recommendation("auto", None, reasons=(f"{again} (--method auto).", *reasons[1:]))
        how = "with a prefilter"
        reasons.append(limit)
    return Recommendation(
        DEFAULT_MODEL,
        model,
        "Nothing is resampled: the model works on the image's own voxels.",
        tuple(reasons),
        how,
    )


def _is_too_noisy(found: Measured, card: Mapping[str, Any]) -> bool:
    return is_too_noisy(found.noise, _noise_limit(card)) and found.noise < math.inf


def _noise_limit(card: Mapping[str, Any]) -> float:
    """Return the largest noise in a model's training, as a share of the range."""
    return float((card.get("noise_sigma") or (0.0, math.inf))[1])


def warn(found: Measured, card: Mapping[str, Any], microscope: Microscope | None) -> Iterator[str]:
    """Yield sentences on what may go wrong in a run.

    Parameters
    ----------
    found
        Numbers of the channel.
    card
        Card of the recommended model.
    microscope
        The microscope, if it is known.
    """
    # The gravest ones come first: a window shows few of them.
    if found.infinite:
        yield (
            f"Replace the voxels that are infinite, or too large for float32, for example by NaN: a run "
            f"refuses them. There are at least {found.infinite:,}."
        )
    yield from found.flashes
    yield from _length_warnings(found)
    # A run measures and says the first one; the other one is that of the bright end, where photons count.
    if is_too_noisy(found.contrast_noise, _noise_limit(card)):
        noise = f"The noise is about {percent_text(found.contrast_noise)}"
        yield too_noisy(f"{noise} of the image's contrast", f"the model {card['name']}", _noise_limit(card))
    elif _is_too_noisy(found, card):
        noise = f"The noise is {percent_text(found.noise)} of the range"
        yield too_noisy(noise, f"the model {card['name']}", _noise_limit(card))
    if not found.poisson and not found.constant:
        yield (
            f"{found.poisson_reason} The noise is given as measured; gain, read noise and scores by held-out "
            "photons are not available."
        )
    if found.planes is not None and found.planes < _FEWEST_PLANES:
        yield (
            f"The stack has only {count_text(found.planes, 'plane')}, too few for a model of "
            f"volumes. If they are no volume, name the axes (TYX or CYX) and use the model {DEFAULT_PLANES}."
        )
    if not found.voxel_size_known:
        yield UNKNOWN_VOXEL_SIZE
    if found.saturated > _MUCH_SATURATED:
        yield (
            f"{percent_text(found.saturated, '.1f')} of the voxels are saturated. Around them the result "
            "is wrong; record "
            "with less light or a shorter exposure."
        )
    # Cropping helps where some planes are left.
    if found.empty_planes and found.planes and len(found.empty_planes) < found.planes:
        count = len(found.empty_planes)
        yield (
            f"{count} of {found.planes} planes {'is' if count == 1 else 'are'} empty. Crop the stack: empty "
            "planes cost time and can leave a bright or dark edge."
        )
    yield from _optics_warnings(found, microscope)


def _optics_warnings(found: Measured, microscope: Microscope | None) -> Iterator[str]:
    if found.haze and microscope is None:
        yield (
            "Light spreads along Z as in a widefield microscope. A Gaussian blur does not describe this "
            "haze; give the microscope."
        )
    elif found.haze and microscope is not None and microscope.modality != "widefield":
        yield (
            f"Light spreads along Z as in a widefield microscope, but the microscope is given as "
            f"{microscope.modality}. Its PSF does not remove the haze; check the modality."
        )
    if found.sampling is not None:
        coarse: dict[str, list[str]] = {}
        for letter, ratio in zip("ZYX"[-len(found.sampling) :], found.sampling, strict=True):
            if ratio > 1:
                coarse.setdefault(f"{ratio:.1f} times", []).append(letter)
        if coarse:
            along = ", ".join(f"{' and '.join(letters)} ({times})" for times, letters in coarse.items())
            if any(len(letters) == len(found.sampling) for letters in coarse.values()):
                along = f"all axes ({next(iter(coarse))})"
            yield (
                f"The voxels are larger than the optics need along {along}: finer detail is lost and cannot "
                "be restored. Record with smaller voxels if you can."
            )


def _length_warnings(found: Measured) -> Iterator[str]:
    told, blur, error = found.told_axial_sigma, found.blur_sigma, found.blur_sigma_error
    if told is None or blur is None or error is None or told <= _TOO_LONG * (blur[0] + error[0]):
        return
    yield (
        f"The PSF is {told / blur[0]:.1f} times as long along Z as the blur: check NA, refractive index and "
        f"Z step. The standard deviation of the microscope's PSF is {told:.2g} planes, that of the blur in "
        f"the image {blur[0]:.2g}. A result would have ghosts above and below bright objects."
    )


def _reason_to_leave(found: Measured) -> str:
    if found.infinite:
        return "Some voxels are infinite, so a run is refused."
    if found.constant:
        return "The image is constant: there is nothing to restore."
    shows_nothing = found.blur_sigma is None and found.resolution is None
    if not found.small and (shows_nothing or not math.isfinite(found.noise)):
        return "Nothing stands out from the noise: there is nothing to restore."
    if found.blur_sigma is None or found.blur_sigma_error is None:
        return ""
    if is_sharp(found.blur_sigma, found.blur_sigma_error):
        width = count_text(f"{max(found.blur_sigma):.2g}", "voxel")
        return (
            f"The blur is only {width} wide: the image is as sharp as its voxels allow, and a deconvolution "
            "would change little but the noise."
        )
    return ""


def is_sharp(sigma: Sequence[float], error: Sequence[float]) -> bool:
    """Return True if a blur is so narrow, along all axes, that a deconvolution changes little but the noise.

    Parameters
    ----------
    sigma, error
        Standard deviations of the blur along the axes in voxels, and their standard errors.
    """
    return max(map(sum, zip(sigma, error, strict=True))) < _SHARP
