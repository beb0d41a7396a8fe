"""Results that are opened from a file while their image is in the viewer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_lucyd._napari.layers.axis_order import axes_in_layer, reordered
from napari_lucyd._napari.layers.results import place_region
from napari_lucyd._napari.layers.source_layer import SPATIAL, SourceLayer, noted_axes
from napari_lucyd._napari.layers.viewer import METADATA_KEY, VOXEL_SIZE_KEY, image_of, is_result
from napari_lucyd.text import steps_text

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_lucyd._napari.layers.to_file import LayerData

_NO_SIZE = (
    # A notification shows only its first words until it is opened.
    "The result lies on “{0}”, a layer without a voxel size. Set on layer, in the Deconvolve panel, gives "
    "both the voxel size of the result: {1} µm."
)


def on_its_image(layer: LayerData, viewer: Viewer) -> tuple[LayerData, str]:
    """Place a result on its image: its axes in the same order, also if only one of both has a voxel size.

    The result's own voxel size stays in its metadata. Any other layer stays as it is.

    Returns
    -------
    tuple
        The layer, and what the user should know; empty if there is nothing.
    """
    data, keywords, kind = layer
    # It has the metadata and the place of the layer without its voxels.
    kept = {key: keywords[key] for key in ("metadata", *SPATIAL) if key in keywords}
    ndim = (data[0] if keywords.get("multiscale") else data).ndim
    result = Image(np.zeros((2,) * ndim), **kept)
    image = image_of(viewer, result) if is_result(result) else None
    if image is None:
        return layer, ""
    entry = result.metadata[METADATA_KEY]
    source = SourceLayer.from_layer(image)
    axes = axes_in_layer(entry, source.shape)
    if axes is not None and axes != entry["axes"] and len(axes) == ndim:
        moved = reordered(data, keywords, entry, axes)
        if moved is None:
            return layer, ""
        data, keywords, entry = moved
        layer = data, {**keywords, "metadata": {**result.metadata, METADATA_KEY: entry}}, kind
        result = Image(np.zeros((2,) * ndim), **{key: layer[1][key] for key in kept if key in layer[1]})
    shape = tuple((data[0] if keywords.get("multiscale") else data).shape)
    own = SourceLayer.from_layer(result)
    start = _start(entry, shape, source.shape)
    if start is None or (own.unit_um is None) is (source.unit_um is None):
        return layer, ""
    axes = noted_axes(result.metadata, ndim) or own.likely_axes()
    steps = own.voxel_size_um(axes)
    if own.unit_um is not None and steps is None:
        return layer, ""
    noted, text = entry, ""
    if steps is not None:
        letters = [name for name in "ZYX" if name in axes]
        noted = {**entry, VOXEL_SIZE_KEY: dict(zip(letters, steps, strict=True))}
        # The first part of a result that is opened says it for all.
        text = "" if results_from_files(viewer, image) else _NO_SIZE.format(image.name, steps_text(steps))
    metadata = {**result.metadata, METADATA_KEY: noted}
    return (data, {**keywords, **place_region(source.spatial, start), "metadata": metadata}, kind), text


def results_from_files(viewer: Viewer, image: Image) -> list[Image]:
    """Return the results of an image that were opened from files."""
    return [
        layer
        for layer in viewer.layers
        if is_result(layer) and layer.source.path is not None and image_of(viewer, layer) is image
    ]


def _start(entry: dict[str, Any], shape: Sequence[int], whole: Sequence[int]) -> tuple[int, ...] | None:
    """Return the voxel of the image at which a result begins; None if the result does not fit the image."""
    bounds = entry.get("region") or [(0, size) for size in whole]
    stated = (entry.get("input") or {}).get("shape", whole)
    if tuple(stated) != tuple(whole) or tuple(end - start for start, end in bounds) != tuple(shape):
        return None
    return tuple(start for start, _ in bounds)
