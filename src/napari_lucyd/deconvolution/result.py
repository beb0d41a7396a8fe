"""What a run reports and returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Progress(NamedTuple):
    """One finished tile, or one iteration of a classical method.

    ``done`` of ``total`` steps (the total grows where tiles had to be cut for want of memory, and shrinks
    where a method settles before its last iteration); ``seconds_left`` to the end, None while unknown;
    ``message`` for a status line; ``region`` of the result arrays that is finished with this step, one slice
    for each of their axes: slices of no voxels until a volume's last iteration.
    """

    done: int
    total: int
    seconds_left: float | None
    message: str
    region: tuple[slice, ...]


@dataclass(frozen=True)
class Result:
    """What `deconvolve` returns: float32 arrays of the input's shape (or the region's).

    Attributes
    ----------
    output
        The deconvolved image x', in units of the input.
    correction_mask
        What a network added before the update, in units of the input; around 0.
    update_term
        The factor of the Richardson-Lucy update; around 1.
    intermediate
        Image plus correction mask, in units of the input.
    recipe
        Plain JSON: everything that is needed to repeat the run.
    warnings
        In words, what a person should know about this run.

    Notes
    -----
    What was not asked for, and what a method does not have, is None. For LUCYD, with lo, s and o of the
    recipe, output = lo + s · max(0, (image - lo + correction_mask) / s · update_term + o); resampling along
    Z, which interpolates each of the parts, makes this hold on the network's grid only. Where a background
    was subtracted, or noise filtered, all this is of the image after that.
    """

    output: npt.NDArray[np.float32] | None
    correction_mask: npt.NDArray[np.float32] | None
    update_term: npt.NDArray[np.float32] | None
    intermediate: npt.NDArray[np.float32] | None
    recipe: dict[str, Any]
    warnings: tuple[str, ...] = ()


# All that any method may give, in the order in which it is listed.
OUTPUTS = ("output", "correction_mask", "update_term", "intermediate")
