"""Trust map: where a result does not explain its image, and where a network contradicts itself.

The image minus the result, blurred by the PSF, in standard deviations of the noise, is white noise of
variance 1 wherever the result explains the image. It is smoothed a little, because the rest of a structure is
as wide as the blur. Its mean square in each block is then compared with that of white noise. Among the marked
blocks, at most the false-discovery rate is marked by chance.

References
----------
Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate: a practical and powerful approach to
multiple testing", Journal of the Royal Statistical Society B 57 (1995) 289-300.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage, special

from napari_lucyd import checks
from napari_lucyd.referee.scores.judged import Judged, judge
from napari_lucyd.referee.scores.reblur import STEPS_AROUND, Reblur
from napari_lucyd.referee.scores.residual import standardised_residual
from napari_lucyd.referee.scores.samples import Values

# Smoothing of the residual in voxels, and the size of a block.
_SMOOTHING, _BLOCK = 1.0, 8
# Steps of the fit of the light from around, at most. In a thin widefield stack, 4 mark 99 % of the blocks of
# the truth, 12 mark 75 %, and 40 mark 7 %. Voxels times steps, at most: a few minutes.
_MOST_STEPS, _MOST_STEPPED = 40, 2**30
# Variance that an error of the noise model may explain, as a factor.
_TOLERATED = 1.15
# Classes of brightness, each with as many voxels, in which the spread over flips is compared.
_CLASSES = 40


@dataclass(frozen=True, eq=False)
class TrustMap:
    """Places where a result cannot be trusted, in the shape of one volume (or its computed region).

    Attributes
    ----------
    unexplained
        Mean square of the smoothed residual in each block, divided by that of the noise, float32. 1 is
        expected; more means that the result does not explain the image. NaN at the border and in empty planes
        at the ends of a volume, which are not tested.
    significant
        True in blocks where this is more than chance, bool.
    false_discovery_rate
        Share of the marked blocks that are marked by chance, at most.
    share
        Share of the tested voxels that are marked.
    flips
        Standard deviation of a network's results over all mirror images, divided by its median at the same
        brightness, float32. 1 is usual; NaN in empty planes at the ends of a volume. None for other methods,
        or if it was not asked for.
    blur
        Phrase that says which blur the result was judged with.
    """

    unexplained: npt.NDArray[np.float32]
    significant: npt.NDArray[np.bool_]
    false_discovery_rate: float
    share: float
    flips: npt.NDArray[np.float32] | None
    blur: str


def trust_map(
    image: Any,
    result: Any,
    *,
    false_discovery_rate: float = 0.05,
    flips: bool = False,
    voxel_size: Sequence[float] | None = None,
    microscope: Any = None,
    psf: Any = None,
    psf_voxel_size: Sequence[float] | None = None,
    blur_sigma: Any = None,
    axes: str | None = None,
    volume: Mapping[str, int] | None = None,
    device: Any = "auto",
) -> TrustMap:
    """Map where a result does not explain its image, for every method.

    The map sees errors that are visible in the image after the blur. It does not see detail that was invented
    or lost beyond what the blur shows, nor a PSF error that the result has adapted to.

    Parameters
    ----------
    image, result
        See `napari_lucyd.score`.
    false_discovery_rate
        Share of the marked blocks that may be marked by chance, above 0 and below 1.
    flips
        True to run a network on all mirror images of the volume as well, which takes 8 times as long as the
        run (4 times for planes).
    voxel_size, microscope, psf, psf_voxel_size, blur_sigma, axes, volume, device
        See `napari_lucyd.score`.

    Returns
    -------
    TrustMap
        Maps in the shape of the volume.

    Raises
    ------
    ValueError
        If the noise of the image is not photon noise, so that nothing is known about its variance, or an
        argument is invalid.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> from scipy.ndimage import uniform_filter
    >>> truth = nl.make_structures("bodies", (12, 48, 48), rng=3, background=60).image
    >>> photons = np.random.default_rng(0).poisson(uniform_filter(truth, 5))
    >>> psf = np.ones((5, 5, 5))
    >>> nl.trust_map(photons, lambda part: part, psf=psf, device="cpu").share > 0.1
    True
    >>> nl.trust_map(photons, lambda part: truth, psf=psf, device="cpu").share < 0.02
    True
    """
    rate = checks.number(
        "false_discovery_rate", false_discovery_rate, "a number above 0 and below 1", lambda q: 0 < q < 1
    )
    told = {
        "microscope": microscope,
        "psf": psf,
        "psf_voxel_size": psf_voxel_size,
        "blur_sigma": blur_sigma,
    }
    judged = judge(image, result, told, voxel_size, axes, volume, None, device, whole=True)
    if not judged.noise.poisson:
        raise ValueError(f"No trust map: the noise must be known for it. {judged.noise.reason}")
    reblur = Reblur(judged.kernel, judged.image.shape)
    steps = min(_MOST_STEPS, max(STEPS_AROUND, _MOST_STEPPED // judged.image.size))
    residual = standardised_residual(reblur, judged.image, judged.output, judged.noise, steps)
    unexplained, significant = _tested(residual, reblur.inner, rate)
    tested = np.isfinite(unexplained)
    spread = None
    if checks.flag("flips", flips):
        if not judged.is_network:
            raise ValueError("flips is for networks: mirroring does not change the result of this method.")
        spread = _in_volume(_over_flips(judged), judged, np.nan)
    share = float(significant.sum() / max(1, tested.sum()))
    unexplained, significant = (
        _in_volume(each, judged, empty) for each, empty in ((unexplained, np.nan), (significant, False))
    )
    return TrustMap(unexplained, significant, rate, share, spread, judged.blur)


def _in_volume(part: npt.NDArray[Any], judged: Judged, empty: float) -> npt.NDArray[Any]:
    """Return a map of the judged part in the shape of the volume, with `empty` where nothing was judged."""
    whole = np.full(judged.shape, empty, part.dtype)
    whole[judged.part] = part
    return whole


def _tested(
    residual: Values, inner: tuple[slice, ...], rate: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Test each block of a residual; return its statistic and the marked blocks, voxel by voxel."""
    sigmas = [_SMOOTHING if n > 1 else 0.0 for n in residual.shape]
    line = np.zeros(33)
    line[16] = 1
    kernel = ndimage.gaussian_filter1d(line, _SMOOTHING)
    correlation = np.correlate(kernel, kernel, "full")
    smoothed_axes = sum(sigma > 0 for sigma in sigmas)
    variance = float(np.square(kernel).sum()) ** smoothed_axes
    # Sum of the squared correlations of the smoothed noise: these many voxels count as one.
    shared = float(np.square(correlation / correlation.max()).sum()) ** smoothed_axes
    squares = np.square(ndimage.gaussian_filter(residual, sigmas, mode="reflect")) / np.float32(variance)
    part = squares[inner].astype(np.float64)
    starts = [np.arange(0, max(1, n - _BLOCK // 2), _BLOCK) for n in part.shape]
    sums, counts = part, np.ones(part.shape)
    for axis, start in enumerate(starts):
        sums = np.add.reduceat(sums, start, axis=axis)
        counts = np.add.reduceat(counts, start, axis=axis)
    mean = sums / counts
    freedom = np.maximum(counts / shared, 1)
    chances = special.gammaincc(freedom / 2, mean / _TOLERATED * freedom / 2)
    marked = chances <= _largest_accepted(chances.ravel(), rate)
    sizes = [np.diff(np.append(start, n)) for start, n in zip(starts, part.shape, strict=True)]
    unexplained = np.full(residual.shape, np.nan, np.float32)
    significant = np.zeros(residual.shape, bool)
    for axis, size in enumerate(sizes):
        mean, marked = np.repeat(mean, size, axis=axis), np.repeat(marked, size, axis=axis)
    unexplained[inner], significant[inner] = mean, marked
    return unexplained, significant


def _largest_accepted(chances: npt.NDArray[np.float64], rate: float) -> float:
    """Return the largest chance that counts as a discovery at a false-discovery rate; −1 for none."""
    order = np.sort(chances)
    limits = rate * np.arange(1, len(order) + 1) / len(order)
    accepted = np.flatnonzero(order <= limits)
    return float(order[accepted[-1]]) if accepted.size else -1.0


def _over_flips(judged: Judged) -> npt.NDArray[np.float32]:
    """Return the spread of a network over mirror images, relative to the usual one at each brightness."""
    total = np.zeros(judged.image.shape, np.float64)
    squares = np.zeros_like(total)
    axes = [axis for axis, n in enumerate(judged.image.shape) if n > 1]
    choices = list(product((False, True), repeat=len(axes)))
    for choice in choices:
        mirrored = tuple(axis for axis, flipped in zip(axes, choice, strict=True) if flipped)
        output = np.flip(judged.run.restore(np.ascontiguousarray(np.flip(judged.image, mirrored))), mirrored)
        total += output
        squares += np.square(output, dtype=np.float64)
    mean = total / len(choices)
    spread = np.sqrt(np.maximum(squares / len(choices) - np.square(mean), 0))
    return relative_to_brightness(spread, mean)


def relative_to_brightness(spread: npt.ArrayLike, brightness: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Divide a map of errors by its median at the same brightness, which alone predicts most of an error.

    Parameters
    ----------
    spread, brightness
        Arrays of one shape.
    """
    values, levels = np.asarray(spread, np.float64), np.asarray(brightness, np.float64)
    edges = np.quantile(levels, np.linspace(0, 1, _CLASSES + 1))
    numbers = np.clip(np.searchsorted(edges, levels, side="right") - 1, 0, _CLASSES - 1)
    medians = np.array(
        [np.median(values[numbers == k]) if (numbers == k).any() else math.nan for k in range(_CLASSES)]
    )
    known = np.isfinite(medians)
    middles = (edges[:-1] + edges[1:]) / 2
    usual = np.interp(levels, middles[known], medians[known])
    smallest = max(float(np.median(usual)) * 1e-3, 1e-30)
    relative: npt.NDArray[np.float32] = (values / np.maximum(usual, smallest)).astype(np.float32)
    return relative
