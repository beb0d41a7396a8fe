"""Findings about an image before it is deconvolved, as plain values with a summary."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from napari_lucyd.text import axes_text, count_text, percent_text, steps_text


@dataclass(frozen=True)
class Recommendation:
    """A proposal for the run, with its reasons.

    Attributes
    ----------
    method
        ``"lucyd"``; ``"auto"`` to compare methods on the image; or None to leave it as it is.
    model
        Name of the model; None without one.
    how
        Words on how to use it; empty if it is used as it is.
    resampling
        Sentence on how the image is resampled for the method; empty if it is not.
    reasons
        Sentences for the user: first the reason of the choice.
    """

    method: str | None
    model: str | None
    resampling: str = ""
    reasons: tuple[str, ...] = ()
    how: str = ""

    @property
    def leave_alone(self) -> bool:
        """True if the image should be left as it is."""
        return self.method is None

    @property
    def sentences(self) -> tuple[str, ...]:
        """The reasons, and how the image is resampled."""
        return (*self.reasons, self.resampling) if self.resampling else self.reasons

    @property
    def text(self) -> str:
        """The proposal in a few words."""
        if self.leave_alone:
            return "leave this image alone"
        if self.method == "auto":
            return "compare methods (Automatic)"
        return f"use {self.model or self.method}" + (f" {self.how}" if self.how else "")


@dataclass(frozen=True)
class Examination:
    """Findings about one channel of an image, measured on a sample of it.

    Attributes
    ----------
    axes, shape
        Names and sizes of all axes of the image.
    voxel_size
        Voxel size along (Z,) Y, X in µm; None if unknown.
    poisson
        True if the noise model holds: photon noise with read noise, independent from voxel to voxel.
    poisson_reason
        One sentence that explains `poisson`.
    gain
        Grey levels for one photon; None unless `poisson`.
    offset
        Grey level of the darkest part of the image.
    read_noise
        Standard deviation of the noise without light, in grey levels; None unless `poisson`.
    noise
        Standard deviation of the noise at the bright end, as a share of the range from `offset` to the bright
        end; infinite in an image without contrast.
    saturated
        Share of the voxels at the upper limit of the detector, from 0 to 1.
    empty_planes
        Indices of the planes along Z that show nothing but noise or a constant.
    sampling
        Voxel size along (Z,) Y, X over the largest one that still samples the optics finely enough
        (Nyquist); above 1 is too coarse. None unless microscope and voxel size are known.
    blur_sigma, blur_sigma_error
        Standard deviations of the Gaussian blur found in the image along (Z,) Y, X, in voxels, and their
        standard errors. None if no blur could be found.
    resolution
        Resolution along Y and X by decorrelation: the smallest period that is above the noise, in voxels.
        None if it could not be found.
    recommendation
        Proposed method and model, with reasons.
    warnings
        Sentences on what may go wrong in a run.
    channel
        Index of the channel; None if the image has one channel.
    channels
        Findings of each channel of an image with several. The other fields are then those of the channel
        with the most noise; `warnings` also names the flash frames of the other channels, and
        `recommendation` leaves the image alone only if all channels should be.
    """

    axes: str
    shape: tuple[int, ...]
    voxel_size: tuple[float, ...] | None
    poisson: bool
    poisson_reason: str
    gain: float | None
    offset: float
    read_noise: float | None
    noise: float
    saturated: float
    empty_planes: tuple[int, ...]
    sampling: tuple[float, ...] | None
    blur_sigma: tuple[float, ...] | None
    blur_sigma_error: tuple[float, ...] | None
    resolution: float | None
    recommendation: Recommendation
    warnings: tuple[str, ...] = ()
    channel: int | None = None
    channels: tuple[Examination, ...] = field(default=(), repr=False)

    @property
    def resolution_um(self) -> float | None:
        """`resolution` in µm; None if it or the voxel size is unknown."""
        if self.resolution is None or self.voxel_size is None:
            return None
        return self.resolution * math.sqrt(self.voxel_size[-1] * self.voxel_size[-2])

    @property
    def summary(self) -> str:
        """One line: noise, blur, resolution and the recommendation; or why there is nothing to measure."""
        if not math.isfinite(self.noise) and self.recommendation.reasons:
            reason, proposal = self.recommendation.reasons[0].rstrip("."), self.proposal
            return f"{reason[0].lower()}{reason[1:]}. {proposal[0].upper()}{proposal[1:]}"
        parts = [f"noise {percent_text(self.noise, '.2g')} of the range"]
        if self.blur_sigma is not None:
            parts.append(f"blur {steps_text(self.blur_sigma, 2)} voxels")
        if self.resolution is not None:
            parts.append(f"resolution {self._resolution_text()}")
        parts.append(self.proposal)
        return ", ".join(parts)

    @property
    def proposal(self) -> str:
        """The recommendation in a few words: for the image, or for one of its channels."""
        text = self.recommendation.text
        alone = [f"C {one.channel}" for one in self.channels if one.recommendation.leave_alone]
        if alone and not self.recommendation.leave_alone:
            return f"{text} (nothing to restore in {', '.join(alone)})"
        is_channel = self.channel is not None and not self.channels
        return text.replace("this image", "this channel") if is_channel else text

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield name and value of each finding as text with units."""
        yield "Image", axes_text(self.axes, self.shape)
        yield "Voxel size", "unknown" if self.voxel_size is None else f"{steps_text(self.voxel_size)} µm"
        if math.isfinite(self.noise):
            yield (
                "Noise",
                f"{percent_text(self.noise, '.2g')} of the range, at the bright end (standard deviation)",
            )
        yield "Noise model", self.poisson_reason
        if self.gain is not None and self.read_noise is not None:
            yield "Gain", count_text(f"{self.gain:.3g}", "grey level") + " for a photon"
            yield "Read noise", count_text(f"{self.read_noise / self.gain:.2g}", "photon")
        yield "Offset", count_text(f"{self.offset:.4g}", "grey level")
        yield "Saturated", f"{percent_text(self.saturated, '.2g')} of the voxels"
        yield "Empty planes", _planes_text(self.empty_planes)
        if self.sampling is not None:
            yield (
                "Sampling",
                f"{steps_text(self.sampling, 2)} of the largest fine enough voxel (above 1: too coarse)",
            )
        if self.blur_sigma is not None:
            error = f" ± {steps_text(self.blur_sigma_error, 1)}" if self.blur_sigma_error else ""
            yield "Blur", f"{steps_text(self.blur_sigma, 2)}{error} voxels (standard deviation)"
        yield "Resolution", "not found" if self.resolution is None else self._resolution_text()

    def as_dict(self) -> dict[str, Any]:
        """Return all findings as plain JSON data; a number that is not finite becomes None."""
        found: dict[str, Any] = _plain(asdict(self))
        found["resolution_um"] = self.resolution_um
        found["recommendation"]["leave_alone"] = self.recommendation.leave_alone
        return found

    def __str__(self) -> str:
        parts = self.channels or (self,)
        return "\n\n".join("\n".join(one._text_lines()) for one in parts)

    def _text_lines(self) -> Iterator[str]:
        if self.channel is not None:
            yield f"Channel {self.channel}"
        rows = list(self.lines())
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            yield f"{name:<{width}}  {value}"
        wanted = self.recommendation
        yield f"{'Recommended':<{width}}  {self.proposal}"
        for text in wanted.sentences:
            yield f"- {text}"
        for text in self.warnings:
            yield f"Warning: {text}"

    def _resolution_text(self) -> str:
        there = self.resolution_um
        return count_text(f"{self.resolution:.2g}", "voxel") + ("" if there is None else f" ({there:.2g} µm)")


def _planes_text(planes: tuple[int, ...]) -> str:
    if not planes:
        return "none"
    shown = ", ".join(map(str, planes[:8]))
    return shown + (f", … ({len(planes)} planes)" if len(planes) > 8 else "")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
