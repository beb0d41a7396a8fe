"""Gaussian point-spread functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt

# Beyond four standard deviations a Gaussian holds 6e-5 of its weight.
_REACH = 4.0


def gaussian_psf(sigmas: Sequence[float]) -> npt.NDArray[np.float32]:
    """Return a Gaussian PSF with these standard deviations in voxels along its axes, sum 1.

    An axis with 0 has one voxel.

    Examples
    --------
    >>> gaussian_psf((0, 0.6, 1)).shape
    (1, 7, 9)
    """
    lines = []
    for sigma in sigmas:
        reach = math.ceil(_REACH * sigma)
        offsets = np.arange(-reach, reach + 1)
        line = np.exp(-0.5 * np.square(offsets / sigma)) if sigma else np.ones(1)
        lines.append(line / line.sum())
    return np.asarray(reduce(np.multiply.outer, lines), np.float32)
