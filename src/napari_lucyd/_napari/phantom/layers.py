"""Simulated images as layers: placed in the world, with the parameters that made them."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_lucyd._napari.layers.results import sampled
from napari_lucyd._napari.layers.viewer import METADATA_KEY
from napari_lucyd.simulation import Degraded

LayerData = tuple[np.ndarray, dict[str, Any], str]

# The phantom's intensities span 50 to 880 on a background of 30: about a camera's counts.
COUNTS = 850.0


def image_layer(
    name: str,
    image: np.ndarray,
    parameters: dict[str, Any],
    steps: tuple[float, ...],
    *,
    visible: bool = True,
) -> LayerData:
    """One simulated image.

    Parameters
    ----------
    name
        Of the layer.
    image
        (Z, Y, X) or (Y, X).
    parameters
        What made it, as plain JSON data.
    steps
        Its voxel size in µm.
    visible
        Whether the layer is shown.
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
    """The truth, hidden, and above it what a microscope made of it."""
    return [
        image_layer(f"{name} truth", sample.truth, sample.parameters, steps, visible=False),
        image_layer(name, sample.image, sample.parameters, steps),
    ]


def _limits(data: np.ndarray) -> list[float]:
    # Noise makes the extremes; the eye wants the objects.
    low, high = np.percentile(sampled(data), (1, 99.9))
    # napari wants them apart, also where an image has one value.
    return [float(low), float(high) if high > low else float(low) + 1]
