"""Noise of an image, compared with that of the model's training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd.deconvolution.findings import TOO_NOISY, Finding
from napari_lucyd.deconvolution.image.source import Source, to_float32
from napari_lucyd.deconvolution.statistics.scaling import Statistics
from napari_lucyd.spans import Span
from napari_lucyd.text import percent_text

Index = Sequence[tuple[str, int]]
"""Indices along leading axes as pairs, such as ``("C", 0)``; see `Group.index`."""

# Side of the central patch used to estimate noise.
_SIDE = 256

# Number of planes for the estimate; side of the blocks for the contrast; its lower percentile (the upper one
# is opposite), and the distance of both from the mean of a normal variable, in standard deviations.
_PLANES, _BLOCK, _TAIL, _TAIL_SIGMAS = 9, 3, 0.1, 3.09

# The estimate has an error of about ten per cent, so only clearly larger noise causes a warning.
_MARGIN = 1.25

# Voxels of planes that are estimated at once: calls of numpy take longer than its work on small planes.
_AT_ONCE = 2**18


def plane_noise(plane: npt.NDArray[Any]) -> float:
    """Estimate the standard deviation of the noise of a (Y, X) image, in its units; 0 if that is impossible.

    The method is Immerkær's difference of Laplacians, which ignores gradients and edges along the axes. The
    median of its magnitude replaces the mean, so that fine structure in less than half of the image has
    little effect.

    References
    ----------
    J. Immerkær, "Fast noise variance estimation", Computer Vision and Image Understanding 64 (1996) 300-302.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(100, 5, (200, 200))
    >>> round(plane_noise(noise))
    5
    """
    values = to_float32(plane).astype(np.float64)
    if min(values.shape) < 8:
        return 0.0
    along = values[:, :-2] - 2 * values[:, 1:-1] + values[:, 2:]
    both = along[:-2] - 2 * along[1:-1] + along[2:]
    both = both[np.isfinite(both)]
    # The kernel's weights have a norm of 6; the median magnitude of a normal variable is 0.6745 sigma.
    return float(np.median(np.abs(both)) / (6 * 0.6745)) if both.size else 0.0


def plane_noises(planes: Sequence[npt.NDArray[Any]]) -> list[float]:
    """Estimate the noise of several planes of equal shape, as `plane_noise` does; small ones at once."""
    voxels = sum(plane.size for plane in planes)
    if voxels > _AT_ONCE or min(planes[0].shape) < 8:
        return [plane_noise(plane) for plane in planes]
    values = np.stack([to_float32(plane) for plane in planes]).astype(np.float64)
    along = values[:, :, :-2] - 2 * values[:, :, 1:-1] + values[:, :, 2:]
    both = along[:, :-2] - 2 * along[:, 1:-1] + along[:, 2:]
    if not np.isfinite(both).all():
        return [plane_noise(plane) for plane in planes]
    magnitudes = np.median(np.abs(both).reshape(len(planes), -1), axis=1)
    return [float(magnitude / (6 * 0.6745)) for magnitude in magnitudes]


def noise_of(values: npt.NDArray[np.float32]) -> float:
    """Estimate the standard deviation of the noise of a volume, in its units, on some planes."""
    planes = values.reshape(-1, *values.shape[-2:])
    chosen = np.unique(np.linspace(0, len(planes) - 1, _PLANES).round().astype(int))
    return median(plane_noises([planes[number] for number in chosen]))


def noise_warnings(source: Source, statistics: Statistics, card: Mapping[str, Any]) -> list[Finding]:
    """Warn in one sentence where an image has more noise than the model's training data.

    Parameters
    ----------
    source
        The input, of which some planes of the middle volume of each group are read.
    statistics
        Statistics of the input.
    card
        Card of the model: ``noise_sigma`` is the noise in training, as a share of the range without noise.
    """
    limits = card.get("noise_sigma")
    if not isinstance(limits, Sequence) or len(limits) != 2:
        return []
    limit = float(limits[1])
    shares = [(group, noise_share(source, group.index)) for group in statistics.groups]
    noisy = [(group.label, share) for group, share in shares if is_too_noisy(share, limit)]
    if not noisy:
        return []
    # One warning for all: a file of many channels must not fill the screen.
    where = "" if len(statistics.groups) == 1 else f" of {noisy[0][0]}"
    if len(noisy) > 1:
        where += f" to {noisy[-1][0]} ({len(noisy)} of {len(shares)})"
    ends = dict.fromkeys(percent_text(end(share for _, share in noisy)) for end in (min, max))
    return [
        too_noisy(
            f"The noise{where} is about {' to '.join(ends)} of the image's contrast", "this model", limit
        )
    ]


def is_too_noisy(share: float, limit: float) -> bool:
    """Return True if a `noise_share` is clearly above the largest one in a model's training."""
    return share > _MARGIN * limit


def too_noisy(noise: str, model: str, limit: float) -> Finding:
    """Return the warning about an image with more noise than a model's training data.

    Parameters
    ----------
    noise
        Beginning of the sentence: how large the noise is.
    model
        The model, as a phrase.
    limit
        Largest noise in its training.
    """
    text = (
        f"{noise}; {model} was trained for up to {percent_text(limit)}. Average frames or use a prefilter; "
        "trust fine detail less."
    )
    return Finding(text, TOO_NOISY)


def noise_share(source: Source, index: Index) -> float:
    """Estimate the noise of a middle volume as a share of its contrast, at most 1; 0 without noise.

    Both are measured on the centres of some planes. The noise is the median of their estimates. The contrast
    is the range of means over 3 x 3 voxels, minus the contribution of the third of the noise left in them.
    """
    planes = planes_of(source, index, _PLANES)
    noise = median(plane_noises(planes))
    means = _block_means(np.stack(planes))
    means = means[np.isfinite(means)]
    if not noise or not means.size:
        return 0.0
    # The same as np.percentile, which takes longer than all else here in a small volume.
    places = np.array((_TAIL, 100 - _TAIL)) / 100 * (means.size - 1)
    low, high = np.interp(places, np.arange(means.size), np.sort(means))
    # Independent widths add in quadrature.
    contrast = float(max(0.0, (high - low) ** 2 - (2 * _TAIL_SIGMAS * noise / _BLOCK) ** 2) ** 0.5)
    return noise / max(contrast, noise)


def _block_means(planes: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    count, height, width = len(planes), planes.shape[1] // _BLOCK, planes.shape[2] // _BLOCK
    blocks = planes[:, : height * _BLOCK, : width * _BLOCK].reshape(count, height, _BLOCK, width, _BLOCK)
    means: npt.NDArray[np.float64] = blocks.mean(axis=(2, 4), dtype=np.float64).ravel()
    return means


def planes_of(source: Source, index: Index, most: int) -> list[npt.NDArray[np.float32]]:
    """Read the centres of some planes of the middle volume at some indices, evenly spaced along Z."""
    fixed = dict(index)
    sizes = zip(source.axes.leading, source.axes.leading_shape, strict=True)
    lead = tuple(fixed.get(name, size // 2) for name, size in sizes)
    *depth, height, width = source.axes.volume_shape
    middle = [_middle(height, _SIDE), _middle(width, _SIDE)]
    if not depth:
        return [to_float32(source.read(lead, middle))]
    count = min(most, depth[0])
    heights = [((2 * number + 1) * depth[0] - 1) // (2 * count) for number in range(count)]
    if type(source) is Source and source.in_memory:  # reading copies nothing
        volume = source.read(lead, [Span(0, depth[0]), *middle])
        return [to_float32(volume[z]) for z in heights]
    return [to_float32(source.read(lead, [Span(z, z + 1), *middle])[0]) for z in heights]


def _middle(size: int, length: int) -> Span:
    start = max(0, (size - length) // 2)
    return Span(start, min(size, start + length))
