"""The progress and the result of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Part(StrEnum):
    """A part of a result, in standard order."""

    output = "output"
    correction_mask = "correction_mask"
    update_term = "update_term"
    intermediate = "intermediate"
    first_estimate = "first_estimate"


OUTPUTS = tuple(part.value for part in Part)
"""The names of all parts that a method may return, in standard order."""


class Progress(NamedTuple):
    """The progress of a run after a tile, or after an iteration of a classical method.

    ``done`` of ``total`` steps are finished. The total grows if tiles are halved because memory ran out, and
    shrinks if a method stops before its last iteration. ``seconds_left`` is None while unknown. ``message``
    is for a status line. ``region`` holds a slice for each axis of the result arrays: the part finished with
    this step, which is empty until a volume's last iteration. Where the number of iterations is chosen,
    ``curve`` has pairs of such a number and its held-out log likelihood, as far as they are known. ``share``
    is the part of the next step that is done already; None if it is not counted.
    """

    done: int
    total: int
    seconds_left: float | None
    message: str
    region: tuple[slice, ...]
    curve: tuple[tuple[int, float], ...] = ()
    share: float | None = None


@dataclass(frozen=True, eq=False)
class Request:
    """The method and the options of a run, by which it can be repeated on another image.

    Attributes
    ----------
    model
        The model or the classical method.
    options
        Keywords of `deconvolve` as they were given, without those for the results' arrays.
    statistics
        Numbers of the whole image that the run was made with; None if they were not measured yet.
    """

    model: Any
    options: Mapping[str, Any]
    statistics: Any = None


@dataclass(frozen=True)
class Result:
    """The result of `deconvolve`: float32 arrays of the input's shape (or the region's).

    Attributes
    ----------
    output
        The deconvolved image x', in units of the input.
    correction_mask
        Intensity that the network added before the update, in units of the input; around 0.
    update_term
        Factor of the Richardson-Lucy update; around 1.
    intermediate
        Image plus correction mask, in units of the input.
    first_estimate
        Estimate of a few Richardson-Lucy iterations, which is the network's input, in units of the input.
    recipe
        Everything needed to repeat the run, as plain JSON data.
    warnings
        Messages for the user about this run.
    request
        Model and arguments of the run, so that `napari_lucyd.score` can repeat it on parts of the image. None
        for results that were not computed in this process.

    Notes
    -----
    Parts that were not requested, or that the method lacks, are None. For LUCYD, with lo, s and o of the
    recipe, output = lo + s · max(0, (image - lo + correction_mask) / s · update_term + o). Resampling along Z
    interpolates each part, so the formula then holds on the network's grid only. ``image`` is the input of
    the network: after background subtraction or a prefilter the prepared image, and the first estimate for a
    network that is told the blur.
    """

    output: npt.NDArray[np.float32] | None
    correction_mask: npt.NDArray[np.float32] | None
    update_term: npt.NDArray[np.float32] | None
    intermediate: npt.NDArray[np.float32] | None
    recipe: dict[str, Any]
    warnings: tuple[str, ...] = ()
    first_estimate: npt.NDArray[np.float32] | None = None
    request: Request | None = field(default=None, repr=False, compare=False)
