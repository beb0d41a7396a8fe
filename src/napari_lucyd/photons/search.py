"""Search for the blur and the number of iterations that best explain photons the estimate has not seen.

The search knows no method. It asks for a trajectory: for given parameters of the blur, the predictions after
more and more iterations. All iterations of one blur cost one trajectory.

The likelihood alone prefers a blur that is too narrow. Few iterations smooth as well, so a narrow blur with
few iterations predicts the photons about as well as the true blur with many. Therefore the search takes the
widest blur that is nearly as likely as the likeliest one, and for it the fewest iterations that are nearly as
likely. It may lose a twentieth of the likeliest one's gain over a smoothed image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_lucyd.photons.likelihood import Score, score_held_out
from napari_lucyd.photons.thinning import SplitImage

# Each about a third more than the one before: the likelihood is flat around its best number of iterations.
DEFAULT_STEPS = (1, 2, 3, 4, 6, 8, 11, 15, 20, 27, 36, 48, 64)
# Ratio of neighbouring parameters in the first scan, and the ratio at which the search ends.
_COARSE, _FINE = 1.5, 1.12
# Share of the likeliest candidate's gain over a smoothed image that a wider blur may lose.
_TOLERANCE = 0.05
# Gaussians of the smoothed images to compare with, in voxels.
_SMOOTHING = (0.0, 0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2)
# Checkpoints in a row, each worse than the best one, after which a trajectory ends.
_PATIENCE = 2

Parameters = tuple[float, ...]
Trajectory = Callable[[Parameters, SplitImage, Sequence[int]], Iterable[npt.ArrayLike]]
"""Function of the parameters, one image's two parts and the numbers of iterations, in rising order.

It restores `SplitImage.fitted` and yields its prediction at each of these numbers of iterations: the
estimate so far, blurred, with its background added, in the units and shape of `SplitImage.fitted`. The
background is `SplitImage.share` times `SplitImage.background`. It must be lazy, since the search stops asking
once the score has fallen.
"""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One blur with one number of iterations, and its score.

    Attributes
    ----------
    parameters
        Parameters of the blur.
    num_iter
        Number of iterations.
    score
        Held-out log likelihood; larger is better.
    """

    parameters: Parameters
    num_iter: int
    score: Score


@dataclass(frozen=True, eq=False)
class Choice:
    """The chosen blur and number of iterations, and how the others did.

    Attributes
    ----------
    best
        The chosen one: the widest blur that is nearly as likely as the likeliest, with the fewest iterations.
    likeliest
        The candidate with the largest held-out likelihood.
    smoothed
        Score of the image after the Gaussian that predicts its photons best: what there is to gain without
        knowing a blur. `best.score.minus(smoothed)` tells whether restoring the image pays.
    curve
        The chosen blur at each number of iterations that was tried.
    blurs
        Each blur that was tried, at its best number of iterations, in rising order of the parameters.
    at_limit
        True if a chosen parameter or number of iterations is the largest of its range, or a parameter the
        smallest: a better one may lie beyond it.
    """

    best: Candidate
    likeliest: Candidate
    smoothed: Score
    curve: tuple[Candidate, ...]
    blurs: tuple[Candidate, ...]
    at_limit: bool


def search_held_out(
    trajectory: Trajectory,
    splits: Sequence[SplitImage],
    ranges: Sequence[tuple[float, float]],
    *,
    steps: Sequence[int] = DEFAULT_STEPS,
    on_candidate: Callable[[Candidate], object] = lambda candidate: None,
) -> Choice:
    """Choose the parameters of a blur and the number of iterations by the held-out likelihood.

    A coarse scan moves all parameters through their ranges together. From its best point, one parameter after
    the other is changed by ever smaller factors for as long as that helps. Then all of them grow together for
    as long as the likelihood hardly falls. The same splits always give the same choice.

    Parameters
    ----------
    trajectory
        See `Trajectory`; what it raises ends the search.
    splits
        Split images from `thin`, one for each part of the volume that serves as a sample. With a share of
        0.8, estimates have nearly as many photons as the whole image, so that their number of iterations
        suits it.
    ranges
        Smallest and largest value of each parameter, above 0; equal ones hold a parameter fixed.
    steps
        Numbers of iterations to score, in rising order.
    on_candidate
        Called with each candidate when it is scored, for progress. An exception from it ends the search.

    Raises
    ------
    ValueError
        If there is no split, range or step, or one of them is not as described.
    """
    _check(splits, ranges, steps)
    tried: dict[Parameters, list[Candidate]] = {}

    def best_of(parameters: Parameters) -> Candidate:
        if parameters not in tried:
            tried[parameters] = _follow(trajectory, parameters, splits, steps, on_candidate)
        return max(tried[parameters], key=lambda candidate: candidate.score.mean)

    best = max((best_of(point) for point in _diagonal(ranges)), key=lambda candidate: candidate.score.mean)
    factor = math.sqrt(_COARSE)
    while factor > math.sqrt(_FINE):
        moved = False
        for axis in range(len(ranges)):
            for ratio in (factor, 1 / factor):
                neighbour = best_of(_changed(best.parameters, axis, ratio, ranges))
                if neighbour.score.mean > best.score.mean:
                    best, moved = neighbour, True
        if not moved:
            factor = math.sqrt(factor)
    likeliest, smoothed = best, _best_smoothed(splits)
    allowed = best.score.mean - _TOLERANCE * max(0.0, best.score.minus(smoothed).mean)
    while (wider := _scaled(best.parameters, _FINE, ranges)) != best.parameters:
        if best_of(wider).score.mean < allowed:
            break
        best = best_of(wider)
    best = next(candidate for candidate in tried[best.parameters] if candidate.score.mean >= allowed)
    blurs = tuple(best_of(parameters) for parameters in sorted(tried))
    at_limit = best.num_iter == max(steps) or any(
        low < high and value in (_rounded(low), _rounded(high))
        for value, (low, high) in zip(best.parameters, ranges, strict=True)
    )
    return Choice(best, likeliest, smoothed, tuple(tried[best.parameters]), blurs, at_limit)


def _check(splits: Sequence[SplitImage], ranges: Sequence[tuple[float, float]], steps: Sequence[int]) -> None:
    if not splits:
        raise ValueError("There is no split to score; pass at least one, from `thin`.")
    if not ranges or any(not 0 < low <= high < math.inf for low, high in ranges):
        raise ValueError(f"ranges is {ranges}; give pairs (smallest, largest) with 0 < smallest <= largest.")
    if not steps or steps[0] < 1 or any(b <= a for a, b in pairwise(steps)):
        raise ValueError(f"steps is {steps}; numbers of iterations in rising order are expected, from 1 on.")


def _follow(
    trajectory: Trajectory,
    parameters: Parameters,
    splits: Sequence[SplitImage],
    steps: Sequence[int],
    on_candidate: Callable[[Candidate], object],
) -> list[Candidate]:
    """Score one blur at more and more iterations, until the score has fallen for a while."""
    candidates: list[Candidate] = []
    best, worse = -math.inf, 0
    runs = [iter(trajectory(parameters, split, steps)) for split in splits]
    for num_iter, predictions in zip(steps, zip(*runs, strict=True), strict=False):
        score = _joint_score(predictions, splits)
        candidates.append(Candidate(parameters, num_iter, score))
        on_candidate(candidates[-1])
        worse = 0 if score.mean > best else worse + 1
        best = max(best, score.mean)
        if worse >= _PATIENCE:
            break
    if not candidates:
        raise ValueError(f"The trajectory for {parameters} gave no prediction.")
    return candidates


def _joint_score(predictions: Iterable[npt.ArrayLike], splits: Sequence[SplitImage]) -> Score:
    scores = [score_held_out(mean, split) for mean, split in zip(predictions, splits, strict=True)]
    return Score(
        np.concatenate([score.sums for score in scores]), np.concatenate([score.voxels for score in scores])
    )


def _best_smoothed(splits: Sequence[SplitImage]) -> Score:
    scores = [
        _joint_score([ndimage.gaussian_filter(split.fitted, sigma) for split in splits], splits)
        for sigma in _SMOOTHING
    ]
    return max(scores, key=lambda score: score.mean)


def _scaled(parameters: Parameters, ratio: float, ranges: Sequence[tuple[float, float]]) -> Parameters:
    for axis in range(len(parameters)):
        parameters = _changed(parameters, axis, ratio, ranges)
    return parameters


def _diagonal(ranges: Sequence[tuple[float, float]]) -> list[Parameters]:
    """Return points from all smallest to all largest values, in equal ratios."""
    widest = max(high / low for low, high in ranges)
    count = math.ceil(math.log(widest) / math.log(_COARSE)) + 1
    places = np.linspace(0, 1, count) if count > 1 else np.zeros(1)
    return [tuple(_rounded(low * (high / low) ** place) for low, high in ranges) for place in places]


def _changed(
    parameters: Parameters, axis: int, ratio: float, ranges: Sequence[tuple[float, float]]
) -> Parameters:
    low, high = ranges[axis]
    value = _rounded(min(max(parameters[axis] * ratio, low), high))
    return (*parameters[:axis], value, *parameters[axis + 1 :])


def _rounded(value: float) -> float:
    """Return four significant digits: the same value on every way to it, and short in a recipe."""
    return float(f"{value:.4g}")
