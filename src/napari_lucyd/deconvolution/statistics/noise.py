"""Whether an image is of the kind that a model was trained for, as its card says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd.deconvolution.image.source import Source, to_float32
from napari_lucyd.deconvolution.statistics.scaling import Group, Statistics
from napari_lucyd.spans import Span

# Side of the patch that noise is estimated on, at the centre of a volume.
_SIDE = 256

# Noise is estimated on so many planes, and the contrast over blocks of such a side, between
# this percentile and its opposite, which for a normal variable lie so many standard deviations from its mean.
_PLANES, _BLOCK, _TAIL, _TAIL_SIGMAS = 9, 3, 0.1, 3.09

# The estimate is good to some ten per cent; only what is clearly outside is worth a warning.
_MARGIN = 1.25


def estimate_noise(plane: npt.NDArray[Any]) -> float:
    """Standard deviation of the noise of a (Y, X) image, in its units; 0 where it cannot be told.

    The Laplacian difference of Immerkær, which is blind to planes and edges along the axes, with the median
    of its magnitude in place of the mean, so that fine structure in less than half of the image counts
    little.

    References
    ----------
    J. Immerkær, "Fast noise variance estimation", Computer Vision and Image Understanding 64 (1996) 300-302.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(100, 5, (200, 200))
    >>> round(estimate_noise(noise))
    5
    """
    values = to_float32(plane).astype(np.float64)
    if min(values.shape) < 8:
        return 0.0
    along = values[:, :-2] - 2 * values[:, 1:-1] + values[:, 2:]
    both = along[:-2] - 2 * along[1:-1] + along[2:]
    both = both[np.isfinite(both)]
    # The kernel's weights have the norm 6; a normal variable's median magnitude is 0.6745 sigma.
    return float(np.median(np.abs(both)) / (6 * 0.6745)) if both.size else 0.0


def noise_warnings(source: Source, statistics: Statistics, card: Mapping[str, Any]) -> list[str]:
    """Say where an image is noisier than what the model has seen.

    Parameters
    ----------
    source
        The input; some planes of the middle volume of each group are read.
    statistics
        Of the input.
    card
        Of the model: ``noise_sigma`` is the range trained for, as a share of the range without noise.
    """
    limits = card.get("noise_sigma")
    if not isinstance(limits, Sequence) or len(limits) != 2:
        return []
    found = []
    for group in statistics.groups:
        share = noise_share(source, group)
        if share > _MARGIN * float(limits[1]):
            where = f" of {group.label}" if group.index else ""
            found.append(
                f"The noise{where} is about {share:.2g} of the image's contrast; this model was trained for "
                f"up to {float(limits[1]):.2g}. Average frames or use a prefilter; trust fine detail less."
            )
    return found


def noise_share(source: Source, group: Group) -> float:
    """The noise of the middle volume of a group as a share of its contrast, at most 1; 0 for no noise.

    Both are of some planes' middles: the noise is the median of their estimates; the contrast is what means
    over 3 x 3 voxels reach over, less what a third of the noise, which is left in them, adds to that.
    """
    planes = _planes(source, group, _PLANES)
    noise = float(np.median([estimate_noise(plane) for plane in planes]))
    means = np.concatenate([_block_means(plane) for plane in planes])
    means = means[np.isfinite(means)]
    if not noise or not means.size:
        return 0.0
    low, high = np.percentile(means, (_TAIL, 100 - _TAIL))
    # Independent widths add in squares.
    contrast = float(max(0.0, (high - low) ** 2 - (2 * _TAIL_SIGMAS * noise / _BLOCK) ** 2) ** 0.5)
    return noise / max(contrast, noise)


def _block_means(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    height, width = (size // _BLOCK for size in plane.shape)
    blocks = plane[: height * _BLOCK, : width * _BLOCK].reshape(height, _BLOCK, width, _BLOCK)
    means: npt.NDArray[np.float64] = blocks.mean(axis=(1, 3), dtype=np.float64).ravel()
    return means


def _planes(source: Source, group: Group, most: int) -> list[npt.NDArray[np.float32]]:
    """The middles of planes of the middle volume of a group, spread evenly along Z."""
    fixed = dict(group.index)
    sizes = zip(source.axes.leading, source.axes.leading_shape, strict=True)
    lead = tuple(fixed.get(name, size // 2) for name, size in sizes)
    *depth, height, width = source.axes.volume_shape
    middle = [_middle(height, _SIDE), _middle(width, _SIDE)]
    if not depth:
        return [to_float32(source.read(lead, middle))]
    count = min(most, depth[0])
    heights = [((2 * number + 1) * depth[0] - 1) // (2 * count) for number in range(count)]
    return [to_float32(source.read(lead, [Span(z, z + 1), *middle])[0]) for z in heights]


def _middle(size: int, length: int) -> Span:
    start = max(0, (size - length) // 2)
    return Span(start, min(size, start + length))
