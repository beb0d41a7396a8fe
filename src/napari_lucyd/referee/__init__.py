"""Examination of images before a run, the choice of the method, and scores of results without a truth."""

from napari_lucyd.referee.examination import Examination, Recommendation
from napari_lucyd.referee.examiner import examine

__all__ = ["Examination", "Recommendation", "examine"]
