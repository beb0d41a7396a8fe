"""Score of an estimate by photons that it has not seen: the held-out log likelihood, with its standard error.

An estimate made from one part of an image predicts the other part's mean μ. For photons b the score is the
mean of b·log μ − μ; for normal noise it is the mean of −(b − μ)² / 2σ². Terms without μ are left out: they
are the same for all estimates. The unit is the natural logarithm of a likelihood, for a voxel. The score is
blind to what the blur removes, because μ is an image after the blur.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_lucyd.photons.thinning import SplitImage

# Smallest number of photons to expect: an estimate of 0 would make a single photon impossible.
_FEWEST_PHOTONS = 1e-3
# Blocks of the image that the standard error is taken from, about; fewer in tiny images.
_BLOCKS = 100

_Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Score:
    """A mean over voxels with its standard error, from the means of blocks of the image.

    Attributes
    ----------
    sums
        Sum of the voxels' scores in each block.
    voxels
        Number of voxels in each block.
    """

    sums: _Doubles
    voxels: _Doubles

    @property
    def mean(self) -> float:
        """Mean score of a voxel."""
        return float(self.sums.sum() / self.voxels.sum())

    @property
    def standard_error(self) -> float:
        """Standard error of `mean`, from the spread between blocks; infinite for a single block."""
        count = len(self.sums)
        if count < 2:
            return math.inf
        spread = float(np.sum((self.sums - self.mean * self.voxels) ** 2)) * count / (count - 1)
        return math.sqrt(spread) / abs(float(self.voxels.sum()))

    def minus(self, other: Score) -> Score:
        """Return the difference from another score of the same part of the same image.

        Both estimates are judged by the same photons, so this difference has a far smaller standard error
        than either score. It decides which estimate is better.

        Raises
        ------
        ValueError
            If the other score is of other blocks.
        """
        if not np.array_equal(self.voxels, other.voxels):
            raise ValueError("These scores come from images of different shapes; score both on the same one.")
        return Score(self.sums - other.sums, self.voxels)


def score_held_out(predicted: npt.ArrayLike, split: SplitImage) -> Score:
    """Return the held-out log likelihood of an estimate.

    Parameters
    ----------
    predicted
        Mean of `SplitImage.fitted` according to the estimate, in its units and of its shape: the estimate,
        blurred, with its background added.
    split
        The image's two parts; the estimate has seen the fitted one only.

    Returns
    -------
    Score
        Larger is better.

    Raises
    ------
    ValueError
        If the shapes differ, or a prediction is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_lucyd.photons import NoiseModel, score_held_out, thin
    >>> truth = np.full((64, 64), 20.0)
    >>> image = np.random.default_rng(0).poisson(truth)
    >>> noise = NoiseModel(gain=1, offset=0, read_noise=0, bright=20, poisson=True, reason="simulated")
    >>> split = thin(image, noise)
    >>> better = score_held_out(truth / 2, split).minus(score_held_out(truth / 3, split))
    >>> better.mean > 10 * better.standard_error
    True
    """
    means = split.of_held_out(predicted)
    if means.shape != split.held_out.shape:
        raise ValueError(
            f"The prediction has shape {means.shape}; it must have that of the image, {split.held_out.shape}."
        )
    if not np.isfinite(means).all():
        raise ValueError("The prediction has voxels that are not finite, so it has no likelihood.")
    observed = split.held_out.astype(np.float64)
    if split.variance is None:
        means = np.maximum(means, _FEWEST_PHOTONS)
        values = observed * np.log(means) - means
    else:
        values = -((observed - means) ** 2) / (2 * (1 - split.share) * split.variance)
    return Score(block_sums(values), block_sums(np.ones_like(values)))


def block_sums(values: _Doubles) -> _Doubles:
    """Return sums over about `_BLOCKS` blocks of nearly cubic shape."""
    side = max(1, round((values.size / _BLOCKS) ** (1 / values.ndim)))
    for axis, size in enumerate(values.shape):
        starts = np.linspace(0, size, max(1, round(size / side)), endpoint=False).astype(int)
        values = np.add.reduceat(values, starts, axis=axis)
    return values.ravel()
