"""Simulated images as layers, with their scale and their parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_lucyd._napari.layers.results import sampled
from napari_lucyd._napari.layers.viewer import METADATA_KEY
from napari_lucyd.simulation import Degraded

LayerData = tuple[np.ndarray, dict[str, Any], str]

# Intensities of the phantom are 50 to 880 on a background of 30, similar to counts of a camera.
COUNTS = 850.0


def image_layer(
    name: str,
    image: np.ndarray,
    parameters: dict[str, Any],
    steps: tuple[float, ...],
    *,
    visible: bool = True,
) -> LayerData:
    """Make the layer of one simulated image.

    Parameters
    ----------
    name
        Name of the layer.
    image
        (Z, Y, X) or (Y, X).
    parameters
        Parameters of the simulation, as JSON data.
    steps
        Its voxel size in µm.
    visible
        True to show the layer.
    """
    data = np.ascontiguousarray(image, np.float32)
    keywords = {
        "name": name,
        "scale": steps,
        "units": ("µm",) * data.ndim,
        "axis_labels": tuple("zyx"[-data.ndim :]),
        "visible": visible,
        "contrast_limits": _limits(data),
        "metadata": {METADATA_KEY: {"simulation": parameters}},
    }
    return data, keywords, "image"


def pair(name: str, sample: Degraded, steps: tuple[float, ...]) -> list[LayerData]:
    """Make two layers: the hidden ground truth, and above it the image of the microscope."""
    return [
        image_layer(f"{name} truth", sample.truth, sample.parameters, steps, visible=False),
        image_layer(name, sample.image, sample.parameters, steps),
    ]


def _limits(data: np.ndarray) -> list[float]:
    # Percentiles, because the extremes are noise.
    low, high = np.percentile(sampled(data), (1, 99.9))
    # napari needs two different limits, also for a constant image.
    return [float(low), float(high) if high > low else float(low) + 1]
