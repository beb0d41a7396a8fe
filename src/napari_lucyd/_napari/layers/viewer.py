"""Layers of this plugin in the viewer: how they are added and recognised."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Shapes
from napari.utils.notifications import notification_manager

from napari_lucyd.deconvolution.recipe_entries import wrong_entry

if TYPE_CHECKING:
    from napari.viewer import Viewer


METADATA_KEY = "napari-lucyd"
# Entry of a result on a layer that is not scaled by the voxel size: the voxel size of the run, in µm by axis.
VOXEL_SIZE_KEY = "voxel_size_um"
# Entry of a result: the id of its image's layer, which napari keeps when the layer is renamed.
SOURCE_ID = "source_id"
# Entry of a result that is still being computed: the path that its files get in the end.
UNFINISHED = "unfinished"
# Entry of a PSF that was made with a simulated image: the parameters of the simulation.
PSF_OF = "psf_of"


# Not a keyword of napari's add_image; it is set on the new layer.
RANGE_KEY = "contrast_limits_range"
# Layers that are being added: napari selects each of them for a moment.
_adding: list[str] = []


def unnumbered(name: str) -> str:
    """Return the name of a result without the number that `unique_names` put behind it.

    Examples
    --------
    >>> unnumbered("output · a 7 (LUCYD) 2")
    'output · a 7 (LUCYD)'
    """
    return re.sub(r"(?<=\)) \d+$", "", name)


def unique_names(names: Sequence[str], taken: Collection[str]) -> list[str]:
    """Make names that are not taken, with one number for all layers of a run.

    Examples
    --------
    >>> unique_names(["output · a", "mask · a"], ["output · a"])
    ['output · a 2', 'mask · a 2']
    """
    number = 1
    while True:
        candidates = [name if number == 1 else f"{name} {number}" for name in names]
        if not set(candidates) & set(taken):
            return candidates
        number += 1


def is_result(layer: Any) -> bool:
    """Return True for a result of a run; what a file claims to be one must have a usable recipe."""
    entry = layer.metadata.get(METADATA_KEY)
    if not isinstance(entry, dict):
        return False
    named = isinstance(entry.get("quantity"), str) and isinstance(entry.get("source"), str)
    return named and wrong_entry(entry) is None


def unfinished_folder(layers: Iterable[Any]) -> Path | None:
    """Return the folder of an unfinished result among the layers; None if there is none."""
    for layer in layers:
        entry = layer.metadata.get(METADATA_KEY)
        path = entry.get(UNFINISHED) if isinstance(entry, dict) else None
        if isinstance(path, str) and path and Path(path).parent.is_dir():
            return Path(path).parent
    return None


# Entries of a recipe that may differ between runs that give the same result.
_CHANCE = ("complete", "device", "threads", "versions", "tile_shape", "warnings", "run", UNFINISHED)
_IMAGE = ("source", SOURCE_ID)


def same_settings(layers: Collection[Any], one: Any, other: Any) -> bool:
    """Return True if two results show the same part of the same image, made with the same settings."""
    if not (is_result(one) and is_result(other)) or origin_of(layers, one) != origin_of(layers, other):
        return False
    recipes = [
        {key: value for key, value in layer.metadata[METADATA_KEY].items() if key not in (*_CHANCE, *_IMAGE)}
        for layer in (one, other)
    ]
    return bool(recipes[0] == recipes[1])


def is_psf(layer: Any) -> bool:
    """Return True for a PSF that was made or read in the panel."""
    entry = layer.metadata.get(METADATA_KEY)
    return isinstance(entry, dict) and entry.get("shows") == "psf"


def psf_of(image: Any, layers: Iterable[Any]) -> Any:
    """Return the layer with the PSF of a simulated image: the one made with it, else the only one of others.

    None for other images, and where there is no such layer.
    """
    entry = {} if image is None else image.metadata.get(METADATA_KEY)
    if not (isinstance(entry, dict) and "simulation" in entry):
        return None
    psfs = [(layer, layer.metadata[METADATA_KEY].get(PSF_OF)) for layer in layers if is_psf(layer)]
    own = [layer for layer, simulation in psfs if simulation == entry["simulation"]]
    others = [layer for layer, simulation in psfs if simulation is None]
    return own[-1] if own else others[0] if len(others) == 1 else None


def images(viewer: Viewer) -> list[Image]:
    """Return the images among the layers that may have been deconvolved."""
    return [layer for layer in viewer.layers if _is_image(layer)]


def _is_image(layer: Any) -> bool:
    known = isinstance(layer, Image) and not layer.rgb
    return known and not (is_result(layer) or is_preview(layer) or is_psf(layer))


def origin_of(layers: Collection[Any], result: Any) -> Any:
    """Return the layer that a result was made from, however it is named now; else the name that it had.

    An image that was removed and opened again is known by its name.
    """
    entry = result.metadata[METADATA_KEY]
    own = [layer for layer in layers if str(layer.unique_id) == entry.get(SOURCE_ID)]
    named = [layer for layer in layers if layer.name == entry["source"] and _is_image(layer)]
    return (own or named or [entry["source"]])[0]


def image_of(viewer: Viewer, result: Image) -> Image | None:
    """Return the image of a result; None if it is not among the layers."""
    origin = origin_of(viewer.layers, result)
    return origin if origin in images(viewer) else None


def unwrapped(viewer: Viewer) -> Viewer:
    """Return the viewer itself: plugins get a proxy, and its layers are not those in the layer list."""
    return getattr(viewer, "__wrapped__", viewer)


def add_image(viewer: Viewer, data: Any, keywords: dict[str, Any]) -> Image:
    """Add an image without changing the user's selection; shapes that lie on top stay there."""
    # napari would interpret three or four voxels along X as colours.
    keywords = {"rgb": False, **keywords}
    limits = keywords.pop(RANGE_KEY, None)
    selection = viewer.layers.selection
    chosen, active = set(selection), selection.active
    _adding.append(keywords["name"])
    try:
        with warned_once(viewer):
            layer = viewer.add_image(data, **keywords)
        if limits is not None:
            layer.contrast_limits_range = limits
        place = len(viewer.layers) - 1
        above = takewhile(lambda each: isinstance(each, Shapes), list(viewer.layers)[-2::-1])
        viewer.layers.move(place, place - len(list(above)))
        # If nothing was selected, the new layer may stay selected.
        if chosen:
            viewer.layers.selection = chosen
            viewer.layers.selection.active = active
    finally:
        _adding.pop()
    return layer


@contextmanager
def warned_once(viewer: Viewer) -> Iterator[None]:
    """Add or remove layers without napari's warning that the layers have no common unit, if that is old.

    napari warns at each layer that comes or goes, and has warned already when the user's own layers came.
    """
    silent = len(viewer.layers) > 0 and viewer.layers.units is None
    with notification_manager.notification_ready.blocker() if silent else nullcontext():
        yield


def is_adding() -> bool:
    """Return True while `add_image` adds a layer: a selection that changes now is not the user's."""
    return bool(_adding)


def show_plane_of(viewer: Viewer, layer: Any) -> None:
    """Move the sliders into a layer where the shown plane lies outside of it, and shows nothing of it."""
    low, high = of_axes(viewer.layers.get_extent([layer]).world, viewer.dims.ndim)
    for axis in viewer.dims.not_displayed:
        if np.isfinite(low[axis]) and not low[axis] <= viewer.dims.point[axis] <= high[axis]:
            viewer.dims.set_point(axis, (low[axis] + high[axis]) / 2)


def of_axes(extent: Any, ndim: int) -> Any:
    """Extend the (2, n) corners of a layer to all axes of the viewer; NaN along those it does not have."""
    # A layer with fewer axes than the viewer has its last ones.
    extent = np.asarray(extent, float)
    return np.hstack([np.full((2, ndim - extent.shape[1]), np.nan), extent])


def is_preview(layer: Any) -> bool:
    """Return True for a live preview, which is neither an input nor a result."""
    entry = layer.metadata.get(METADATA_KEY)
    return isinstance(entry, dict) and entry.get("preview") is True
