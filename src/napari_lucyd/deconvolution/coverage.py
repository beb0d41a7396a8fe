"""Whether an image is of the kind that a model was trained for, as its card says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd.deconvolution.normalization import Statistics
from napari_lucyd.deconvolution.source import Source, to_float32
from napari_lucyd.deconvolution.tiling import Span

# Side of the patch that noise is estimated on, at the centre of a volume.
_SIDE = 256

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
        The input; a patch of the middle volume of each group is read.
    statistics
        Of the input.
    card
        Of the model: ``noise_sigma`` is the range trained for, as a share of the image's range.
    """
    limits = card.get("noise_sigma")
    if not isinstance(limits, Sequence) or len(limits) != 2:
        return []
    spans = [_middle(size, 1) for size in source.axes.volume_shape[:-2]]
    spans += [_middle(size, _SIDE) for size in source.axes.volume_shape[-2:]]
    found = []
    for group in statistics.groups:
        fixed = dict(group.index)
        sizes = zip(source.axes.leading, source.axes.leading_shape, strict=True)
        lead = tuple(fixed.get(name, size // 2) for name, size in sizes)
        patch = source.read(lead, spans)
        share = estimate_noise(patch.reshape(patch.shape[-2:])) / group.s
        if share > _MARGIN * float(limits[1]):
            where = f" of {group.label}" if group.index else ""
            found.append(
                f"The noise{where} is about {share:.2g} of the intensity range; this model was trained for "
                f"up to {float(limits[1]):.2g}."
            )
    return found


def _middle(size: int, length: int) -> Span:
    start = max(0, (size - length) // 2)
    return Span(start, min(size, start + length))
