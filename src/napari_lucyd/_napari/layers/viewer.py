"""Layers in the viewer: added to it, and recognised as ours."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from napari.layers import Image

if TYPE_CHECKING:
    from napari.layers import Image

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer


METADATA_KEY = "napari-lucyd"


# Not a keyword of napari's add_image: set on the layer once it is there.
RANGE_KEY = "contrast_limits_range"


def unique_names(names: Sequence[str], taken: Collection[str]) -> list[str]:
    """Names that nobody has, with one number for all layers of a run.

    Examples
    --------
    >>> unique_names(["a – output", "a – update term"], ["a – output"])
    ['a – output 2', 'a – update term 2']
    """
    number = 1
    while True:
        candidates = [name if number == 1 else f"{name} {number}" for name in names]
        if not set(candidates) & set(taken):
            return candidates
        number += 1


def is_result(layer: Any) -> bool:
    """Whether a layer was made by this plugin's Run."""
    entry = layer.metadata.get(METADATA_KEY)
    return isinstance(entry, dict) and "quantity" in entry


def is_psf(layer: Any) -> bool:
    """Whether a layer shows a PSF that was made, or read, in the panel."""
    entry = layer.metadata.get(METADATA_KEY)
    return isinstance(entry, dict) and entry.get("shows") == "psf"


def unwrapped(viewer: Viewer) -> Viewer:
    """The viewer itself: plugins are handed a proxy, whose layers are not those in the layer list."""
    return getattr(viewer, "__wrapped__", viewer)


def add_image(viewer: Viewer, data: Any, keywords: dict[str, Any]) -> Image:
    """Add an image on top and leave the selection as the user has it."""
    # napari would take three or four voxels along X for colours.
    keywords = {"rgb": False, **keywords}
    limits = keywords.pop(RANGE_KEY, None)
    selection = viewer.layers.selection
    chosen, active = set(selection), selection.active
    layer = viewer.add_image(data, **keywords)
    if limits is not None:
        layer.contrast_limits_range = limits
    # On an empty selection (the only layer was removed meanwhile) the new one may stay selected.
    if chosen:
        viewer.layers.selection = chosen
        viewer.layers.selection.active = active
    return layer


def is_preview(layer: Any) -> bool:
    """Whether a layer is a live preview: not an image to deconvolve, nor one to keep."""
    entry = layer.metadata.get(METADATA_KEY)
    return isinstance(entry, dict) and entry.get("preview") is True
