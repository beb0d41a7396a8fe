"""Scores of results without a truth, computed in a worker thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_lucyd._napari.workers import torch_loading

if TYPE_CHECKING:
    from napari_lucyd.referee import ResultScore


@dataclass(frozen=True)
class ScoreRequest:
    """A result to score.

    Parameters
    ----------
    name
        Name of the image.
    image
        The image that was deconvolved: numpy, dask or zarr.
    result
        The result of the run, or its recipe.
    """

    name: str
    image: Any
    result: Any

    @property
    def key(self) -> Any:
        """See `LatestOnly`."""
        return id(self.image), id(self.result)


@dataclass(frozen=True)
class Scored:
    """A score, and the line that shows it."""

    score: ResultScore
    text: str


def score_result(request: ScoreRequest, should_stop: Callable[[], bool]) -> Scored:
    """Score a result by photons that it has not seen.

    Raises
    ------
    ValueError
        If the run cannot be repeated, for example because its PSF is not in the recipe.
    """
    torch_loading.load()
    from napari_lucyd.referee import score

    found = score(request.image, request.result)
    return Scored(found, found.summary)
