"""Layers of this plugin in the viewer: how they are added and recognised."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from napari.layers import Image

if TYPE_CHECKING:
    from napari.viewer import Viewer


METADATA_KEY = "napari-lucyd"


# Not a keyword of napari's add_image; it is set on the new layer.
RANGE_KEY = "contrast_limits_range"


def unique_names(names: Sequence[str], taken: Collection[str]) -> list[str]:
    """Make names that are not taken, with one number for all layers of a run.

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
    """Return True for a result of a run."""
    entry = layer.metadata.get(METADATA_KEY)
    return isinstance(entry, dict) and "quantity" in entry


def is_psf(layer: Any) -> bool:
    """Return True for a PSF that was made or read in the panel."""
    entry = layer.metadata.get(METADATA_KEY)
    return isinstance(entry, dict) and entry.get("shows") == "psf"


def unwrapped(viewer: Viewer) -> Viewer:
    """Return the viewer itself: plugins get a proxy, whose layers are not those in the layer list."""
    return getattr(viewer, "__wrapped__", viewer)


def add_image(viewer: Viewer, data: Any, keywords: dict[str, Any]) -> Image:
    """Add an image on top without changing the user's selection."""
    # napari would interpret three or four voxels along X as colours.
    keywords = {"rgb": False, **keywords}
    limits = keywords.pop(RANGE_KEY, None)
    selection = viewer.layers.selection
    chosen, active = set(selection), selection.active
    layer = viewer.add_image(data, **keywords)
    if limits is not None:
        layer.contrast_limits_range = limits
    # If nothing was selected, the new layer may stay selected.
    if chosen:
        viewer.layers.selection = chosen
        viewer.layers.selection.active = active
    return layer


def is_preview(layer: Any) -> bool:
    """Return True for a live preview, which is neither an input nor a result."""
    entry = layer.metadata.get(METADATA_KEY)
    return isinstance(entry, dict) and entry.get("preview") is True
