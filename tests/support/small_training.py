"""A training run of seconds, for tests."""

from __future__ import annotations

from napari_lucyd.models.normalization import Normalization
from napari_lucyd.networks import LucydConfig
from napari_lucyd.training import TrainingConfig
from napari_lucyd.training.config import DataConfig, ScheduleConfig

SMALL = TrainingConfig(
    name="small",
    network=LucydConfig(dimension=2, epsilon=1e-2),
    normalization=Normalization("percentile"),
    data=DataConfig(
        track="open", blur_sigma=(0.5, 1.5), noise_sigma=(0.0, 30.0), patch_shape=(32, 32),
        phantom_shape=(24, 40, 40), alive=2, patches_per_phantom=8, gain=(0.7, 1.4), offset=(0.0, 0.1),
        haze=0.5,
    ),
    schedule=ScheduleConfig(
        patches=48, batch_size=4, flux_weight=1.0, validate_every=6, validation_patches=4
    ),
)  # fmt: skip
