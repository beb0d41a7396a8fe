"""Examination of images before a run, the choice of the method, and scores of results without a truth."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_lucyd.referee.contest import choose_method
    from napari_lucyd.referee.examination import Examination, Recommendation
    from napari_lucyd.referee.examiner import examine
    from napari_lucyd.referee.maps.interval import Interval, interval
    from napari_lucyd.referee.maps.trust_map import TrustMap, relative_to_brightness, trust_map
    from napari_lucyd.referee.plant import PlantedBeads, plant_beads
    from napari_lucyd.referee.reports.paragraph import methods_paragraph
    from napari_lucyd.referee.reports.report import Report, report
    from napari_lucyd.referee.scores.compared import ComparedScores, HeldOut, compare_held_out
    from napari_lucyd.referee.scores.correlation import Correlation, shell_correlation
    from napari_lucyd.referee.scores.residual import ReblurError, Residual, measure_residual, reblur_error
    from napari_lucyd.referee.scores.score import ResultScore, score

# Imported on first use, so that the window starts without torch.
_HOMES = {
    "ComparedScores": "scores.compared",
    "Correlation": "scores.correlation",
    "Examination": "examination",
    "HeldOut": "scores.compared",
    "Interval": "maps.interval",
    "PlantedBeads": "plant",
    "ReblurError": "scores.residual",
    "Recommendation": "examination",
    "Report": "reports.report",
    "Residual": "scores.residual",
    "ResultScore": "scores.score",
    "TrustMap": "maps.trust_map",
    "choose_method": "contest",
    "compare_held_out": "scores.compared",
    "examine": "examiner",
    "interval": "maps.interval",
    "measure_residual": "scores.residual",
    "methods_paragraph": "reports.paragraph",
    "plant_beads": "plant",
    "reblur_error": "scores.residual",
    "relative_to_brightness": "maps.trust_map",
    "report": "reports.report",
    "score": "scores.score",
    "shell_correlation": "scores.correlation",
    "trust_map": "maps.trust_map",
}

__all__ = [
    "ComparedScores",
    "Correlation",
    "Examination",
    "HeldOut",
    "Interval",
    "PlantedBeads",
    "ReblurError",
    "Recommendation",
    "Report",
    "Residual",
    "ResultScore",
    "TrustMap",
    "choose_method",
    "compare_held_out",
    "examine",
    "interval",
    "measure_residual",
    "methods_paragraph",
    "plant_beads",
    "reblur_error",
    "relative_to_brightness",
    "report",
    "score",
    "shell_correlation",
    "trust_map",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"napari_lucyd.referee.{_HOMES[name]}"), name)
