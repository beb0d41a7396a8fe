"""The noise of an image, its photons split in two, and scores by photons that an estimate has not seen.

Nothing here knows a method that restores images.
"""

from napari_lucyd.photons.likelihood import Score, score_held_out
from napari_lucyd.photons.noise_model import NoiseModel, estimate_noise
from napari_lucyd.photons.sampling import without_empty_ends
from napari_lucyd.photons.search import Candidate, Choice, search_held_out
from napari_lucyd.photons.thinning import SplitImage, thin

__all__ = [
    "Candidate",
    "Choice",
    "NoiseModel",
    "Score",
    "SplitImage",
    "estimate_noise",
    "score_held_out",
    "search_held_out",
    "thin",
    "without_empty_ends",
]
