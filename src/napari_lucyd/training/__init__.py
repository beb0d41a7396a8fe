"""Training: a configuration file in, a model with its card and log out. Needs neither napari nor Qt."""

from napari_lucyd.training.adaptation import Adaptation, adapt
from napari_lucyd.training.adaptation_run import AdaptationProgress
from napari_lucyd.training.config import TrainingConfig, load_config
from napari_lucyd.training.loop import TrainingProgress, train

__all__ = [
    "Adaptation",
    "AdaptationProgress",
    "TrainingConfig",
    "TrainingProgress",
    "adapt",
    "load_config",
    "train",
]
