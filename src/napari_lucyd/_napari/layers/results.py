"""Result layers: their names, places, colours and metadata."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils import Colormap

from napari_lucyd._napari.layers.coordinates import linear_matrix
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.layers.viewer import METADATA_KEY, RANGE_KEY, SOURCE_ID, VOXEL_SIZE_KEY

if TYPE_CHECKING:
    from napari_lucyd.deconvolution import Result

# Limits come from at most this many voxels: enough for the percentiles below, and quick on any volume.
_SAMPLE = 1_000_000
_PLANES = 64
# The share of voxels beyond the limits of a diverging map; a single hot voxel must not flatten it.
_BEYOND = 0.1
# Percent of an output's voxels above its upper limit: fewer than the voxels of a few small bright spots.
_ABOVE = 0.01
# The parts that look like the image; the others are maps with a neutral value in the middle.
LIKE_THE_IMAGE = ("output", "intermediate", "first_estimate")
# Black in the middle: what the network left alone stays dark on napari's black canvas. The last number is the
# opacity, which counts in 3D only.
_COLD_TO_WARM = [
    [0.62, 0.93, 1.00, 1.00],
    [0.16, 0.56, 0.95, 0.35],
    [0.05, 0.20, 0.50, 0.02],
    [0.02, 0.02, 0.03, 0.00],
    [0.50, 0.12, 0.05, 0.02],
    [0.93, 0.42, 0.13, 0.35],
    [1.00, 0.91, 0.56, 1.00],
]
DIVERGING = Colormap(_COLD_TO_WARM, name="lucyd diverging", display_name="LUCYD diverging")

# The look of a map with a neutral value. In 3D both signs are seen; a projection of maxima would show the
# warm ones alone. Without blending, the neutral colour is black in 2D although it is transparent in 3D.
MAP_LOOK = {"colormap": DIVERGING, "gamma": 1.0, "blending": "opaque", "rendering": "translucent"}

# The parts that become layers, with their names in the window.
PART_NAMES = {
    "output": "output",
    "correction_mask": "correction mask",
    "update_term": "update term",
    "intermediate": "intermediate",
    "first_estimate": "first estimate",
}
# Shorter in the names of layers.
_LAYER_NAMES = {"correction_mask": "mask"}


def place_region(spatial: dict[str, Any], start: Sequence[int]) -> dict[str, Any]:
    """Return the spatial keywords of a part of a layer that begins at voxel `start`.

    Parameters
    ----------
    spatial
        Keywords of the whole layer that place it in space.
    start
        First voxel of the part, one an axis.
    """
    offset = linear_matrix(spatial) @ np.asarray(start, float)
    return {**spatial, "translate": np.asarray(spatial["translate"], float) + offset}


def starts(axes: str, region: tuple[slice, ...] | None) -> tuple[int, ...]:
    """Return the first voxel of a spatial region along every axis of the image."""
    if region is None:
        return (0,) * len(axes)
    spatial = [name for name in axes if name in "ZYX"]
    first = dict(zip(spatial, (part.start or 0 for part in region), strict=True))
    return tuple(first.get(name, 0) for name in axes)


def result_layers(
    source: SourceLayer,
    result: Result,
    method: str,
    *,
    axes: str,
    region: tuple[slice, ...] | None,
    additive: bool = False,
    psf_origin: dict[str, Any] | None = None,
) -> list[tuple[np.ndarray, dict[str, Any], str]]:
    """Make the layers of one result, the lowest first.

    Parameters
    ----------
    source
        The layer that was deconvolved.
    result
        The result of the run.
    method
        Name of the model or method, for the names of the layers.
    axes
        Axes of the source.
    region
        The computed part, over the spatial axes.
    additive
        True for the second and further channels of a run: the output is added to the layers below.
    psf_origin
        Source of the PSF, for the recipe.

    Returns
    -------
    list of LayerData
        (data, keywords, "image"). The output is visible. The others are hidden above it, so that one of them
        covers the output when it is shown.
    """
    recipe = with_psf_origin(result.recipe, psf_origin)
    layers = []
    for quantity in PART_NAMES:
        data = getattr(result, quantity)
        if data is None:
            continue
        keywords = layer_keywords(source, quantity, method, axes=axes, region=region, additive=additive)
        appearance = _appearance(quantity, data, source)
        layers.append(
            (data, {**keywords, **appearance, "metadata": layer_metadata(recipe, quantity, source)}, "image")
        )
    if layers and not any(keywords["visible"] for _, keywords, _ in layers):
        layers[0][1]["visible"] = True
    return layers


def layer_keywords(
    source: SourceLayer,
    quantity: str,
    method: str,
    *,
    axes: str,
    region: tuple[slice, ...] | None,
    additive: bool,
) -> dict[str, Any]:
    """Make name and position of a result layer; see `result_layers` for the parameters."""
    return {
        # The word that matters comes first: long names are cut in the layer list and in the grid.
        "name": f"{_LAYER_NAMES.get(quantity) or PART_NAMES[quantity]} · {source.name} ({method})",
        # On the image, also if its scale is not the voxel size: the user would not find the result elsewhere.
        **place_region(source.spatial, starts(axes, region)),
        "blending": "additive" if additive and quantity == "output" else "translucent_no_depth",
        "visible": quantity == "output",
    }


def layer_metadata(recipe: dict[str, Any], quantity: str, source: SourceLayer) -> dict[str, Any]:
    """Make the metadata of a result layer, with the voxel size if it is not the layer's scale."""
    sizes = {VOXEL_SIZE_KEY: dict(source.sizes_um)} if source.sizes_um else {}
    image = {"source": source.name, **({SOURCE_ID: source.layer_id} if source.layer_id else {})}
    return {METADATA_KEY: {**recipe, "quantity": quantity, **image, **sizes}}


def with_psf_origin(recipe: dict[str, Any], origin: dict[str, Any] | None) -> dict[str, Any]:
    """Add the source of the PSF to a recipe."""
    if origin is None:
        return recipe
    psf = recipe["psf"]
    named = (
        [{**each, "origin": origin} for each in psf] if isinstance(psf, list) else {**psf, "origin": origin}
    )
    return {**recipe, "psf": named}


def _appearance(quantity: str, data: np.ndarray, source: SourceLayer) -> dict[str, Any]:
    if quantity in LIKE_THE_IMAGE:
        # The contrast slider must also reach the new values of the result.
        limits = source.display["contrast_limits"]
        values = finite(sampled(data))
        reach = [min(limits[0], values.min()), max(limits[1], values.max())] if values.size else limits
        return {
            **source.display,
            "contrast_limits": list(own_limits(values, limits)),
            RANGE_KEY: [float(limit) for limit in reach],
        }
    centre = 1.0 if quantity == "update_term" else 0.0
    reach = deviation(data, centre)
    return {"contrast_limits": [centre - reach, centre + reach], **MAP_LOOK}


def own_limits(values: np.ndarray, limits: Sequence[float]) -> tuple[float, float]:
    """Return the contrast limits of an output: its own upper limit, and the lower limit of the image.

    Peaks of an output are brighter than anything in the image, so the image's upper limit would cut them.

    Parameters
    ----------
    values
        Finite values of the output.
    limits
        Contrast limits of the image.
    """
    low, high = (float(limit) for limit in limits)
    own = float(np.percentile(values, 100 - _ABOVE)) if values.size else high
    return (low, own) if own > low else (low, high)


def finite(values: np.ndarray) -> np.ndarray:
    """Return the finite values in one row."""
    return values[np.isfinite(values)]


def deviation(data: np.ndarray, centre: float) -> float:
    """Return the largest distance from a centre, without the most extreme voxels; never 0."""
    sample = finite(np.abs(sampled(data) - centre))
    reach = float(np.percentile(sample, 100 - _BEYOND)) if sample.size else 0.0
    return reach or (float(sample.max()) if sample.size else 0.0) or 1.0


def sampled(data: Any) -> np.ndarray:
    """Return about a million values; of large data from some planes only, because files are read in pages."""
    if data.size <= _SAMPLE:
        return np.asarray(data)
    planes = data.reshape(-1, *data.shape[-2:])
    count = min(len(planes), _PLANES)
    # The middle plane of equal parts.
    chosen = ((np.arange(count) + 0.5) * len(planes) / count).astype(int)
    step = max(1, math.isqrt(count * planes.shape[1] * planes.shape[2] // _SAMPLE))
    return np.asarray(planes[chosen, ::step, ::step])
