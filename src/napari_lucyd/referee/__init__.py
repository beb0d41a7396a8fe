"""Examination of images before a run, the choice of the method, and scores of results without a truth."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_lucyd.referee.examination import Examination, Recommendation
    from napari_lucyd.referee.examiner import examine
    from napari_lucyd.referee.scores.correlation import Correlation, shell_correlation
    from napari_lucyd.referee.scores.residual import ReblurError, Residual, measure_residual, reblur_error
    from napari_lucyd.referee.scores.score import ResultScore, score

# Imported on first use, so that the window starts without torch.
_HOMES = {
    "Examination": "examination",
    "Recommendation": "examination",
    "examine": "examiner",
    "Correlation": "scores.correlation",
    "ReblurError": "scores.residual",
    "Residual": "scores.residual",
    "ResultScore": "scores.score",
    "measure_residual": "scores.residual",
    "reblur_error": "scores.residual",
    "score": "scores.score",
    "shell_correlation": "scores.correlation",
}

__all__ = [
    "Examination",
    "Recommendation",
    "examine",
    "Correlation",
    "ReblurError",
    "Residual",
    "ResultScore",
    "measure_residual",
    "reblur_error",
    "score",
    "shell_correlation",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"napari_lucyd.referee.{_HOMES[name]}"), name)
