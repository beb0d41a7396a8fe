"""Layers of a file: as they were saved, or one for each channel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lucyd._napari.layers.source_file import result_in
from napari_lucyd._napari.layers.source_layer import axes_from_labels
from napari_lucyd._napari.layers.to_file import LAYERS_KEY, LayerData
from napari_lucyd._napari.layers.viewer import METADATA_KEY, UNFINISHED
from napari_lucyd.io import Channel
from napari_lucyd.text import printable

if TYPE_CHECKING:
    from napari_lucyd.io import Image

# Entries that hold in this window only: those of a preview, and of an unfinished run.
_NOT_OF_FILES = (LAYERS_KEY, "preview", UNFINISHED)
# More channels than this stay on a slider.
_MOST_LAYERS = 16
# For channels of files that name no colours.
_COLOURS = ("cyan", "magenta", "yellow", "red", "green", "blue")
_BLENDING = ("translucent", "translucent_no_depth", "additive", "minimum", "opaque", "multiplicative")
_RENDERING = ("mip", "translucent", "minip", "attenuated_mip", "additive", "average", "iso")


def layers_of(image: Image) -> list[LayerData]:
    """Return the layers of a file, to be added to a viewer.

    Parameters
    ----------
    image
        Image from :func:`napari_lucyd.io.read_image`.
    """
    count = image.data.shape[image.axes.index("C")] if "C" in image.axes else 1
    stated = image.metadata.get(LAYERS_KEY)
    saved = [each for each in stated if isinstance(each, Mapping)] if isinstance(stated, list) else []
    if len(saved) == 1:
        return [_layer(image, None, count, saved[0])]
    result = _result(image)
    if result:
        # A recipe is that of all channels.
        return [_layer(replace(image, metadata=result), None, count, {})]
    if len(saved) == count or 1 < count <= _MOST_LAYERS:
        saved = saved if len(saved) == count else [{}] * count
        return [_layer(image, index, count, each) for index, each in enumerate(saved)]
    return [_layer(image, None, count, {})]


def _result(image: Image) -> dict[str, Any]:
    """Return the metadata of a result that a batch or the command line wrote; empty for other files."""
    recipe, result = image.metadata.get("recipe"), result_in(image)
    if not isinstance(recipe, Mapping) or result is None:
        return {}
    return {**recipe, "quantity": result.part, "source": result.source}


def _layer(image: Image, index: int | None, count: int, saved: Mapping[str, Any]) -> LayerData:
    """Return the layer of one channel, or of the whole image where `index` is None."""
    noted = saved.get("metadata")
    known = {**image.metadata, **(noted if isinstance(noted, Mapping) else {})}
    own = {key: value for key, value in known.items() if key not in _NOT_OF_FILES}
    stored = image.axes if index is None else image.axes.replace("C", "")
    axes = _order_when_saved(stored, saved, own)
    keywords = {
        "name": image.name,
        "axis_labels": tuple(axes.lower()),
        "metadata": {METADATA_KEY: own} if own else {},
        **_scale(image, axes),
        **_look_of_channel(image, index, count),
        **_saved_look(saved),
        **_saved_place(image, axes, saved),
    }
    order = [stored.index(letter) for letter in axes]
    levels = [_of_channel(level, image.axes, index).transpose(order) for level in (image.data, *image.lower)]
    # napari needs no lower resolutions of data in memory.
    if len(levels) == 1 or isinstance(image.data, np.ndarray):
        return levels[0], keywords, "image"
    return levels, {**keywords, "multiscale": True}, "image"


def _order_when_saved(stored: str, saved: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """Return the axes of a layer in the order that it had in the viewer, or in its run; files have TCZYX."""
    labels = saved.get("axis_labels")
    stated = (axes_from_labels(labels) if isinstance(labels, list) else None) or known.get("axes")
    return stated if isinstance(stated, str) and sorted(stated) == sorted(stored) else stored


def _of_channel(data: Any, axes: str, index: int | None) -> Any:
    if index is None or "C" not in axes:
        return data
    return data[(slice(None),) * axes.index("C") + (index,)]


def _scale(image: Image, axes: str) -> dict[str, Any]:
    if image.voxel_size is None:
        return {}
    steps = dict(zip([letter for letter in image.axes if letter in "ZYX"], image.voxel_size, strict=True))
    unit = image.unit or "pixel"
    return {
        "scale": tuple(steps.get(letter, 1.0) for letter in axes),
        "units": tuple(unit if letter in steps else "pixel" for letter in axes),
    }


def _look_of_channel(image: Image, index: int | None, count: int) -> dict[str, Any]:
    """Return the name, colour and limits that the file's format gives to a channel."""
    look: dict[str, Any] = {}
    stated = image.channels if len(image.channels) == count else (Channel(),) * count
    # A saved layer with its channels on a slider shows all of them alike.
    alike = len(set(stated)) == 1
    channel = stated[index or 0] if index is not None or alike else Channel()
    if index is not None and count > 1:
        look["name"] = f"{image.name} – {printable(channel.name or f'C {index}')}"
        look["colormap"] = _COLOURS[index % len(_COLOURS)]
        look["blending"] = "additive"
    if channel.color is not None and channel.color != "#000000":
        look["colormap"] = channel.color
    if channel.limits is not None and channel.limits[0] < channel.limits[1]:
        look["contrast_limits"] = channel.limits
    return look


def _saved_look(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return the look of a layer when it was saved, without entries that napari would refuse."""
    look: dict[str, Any] = {
        key: saved[key]
        for key, allowed in (("blending", _BLENDING), ("rendering", _RENDERING), ("visible", (True, False)))
        if saved.get(key) in allowed
    }
    if isinstance(saved.get("name"), str):
        look["name"] = printable(saved["name"])
    for key, highest in (("gamma", 10.0), ("opacity", 1.0)):
        value = saved.get(key)
        if isinstance(value, float) and 0 < value <= highest:
            look[key] = value
    colormap = _colormap(saved.get("colormap"))
    return {**look, "colormap": colormap} if colormap else look


def _colormap(saved: Any) -> dict[str, Any] | None:
    if not isinstance(saved, Mapping):
        return None
    colors, controls = _numbers(saved.get("colors")), _numbers(saved.get("controls"))
    if colors is None or controls is None or controls.ndim != 1 or len(controls) < 2:
        return None
    if colors.shape != (len(controls), 4) or (np.diff(controls) <= 0).any():
        return None
    return {"colors": colors, "controls": controls, "name": printable(saved.get("name", "saved"))}


def _saved_place(image: Image, axes: str, saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return the place of a layer when it was saved; empty if the voxel size was changed since."""
    place = saved.get("place")
    if not isinstance(place, Mapping):
        return {}
    size, stated, ndim = _numbers(saved.get("voxel_size")), np.asarray(image.voxel_size or ()), len(axes)
    if size is None or size.shape != stated.shape or not np.allclose(size, stated, rtol=1e-4):
        return {}
    shapes = {
        "scale": (ndim,),
        "translate": (ndim,),
        "rotate": (ndim, ndim),
        "shear": (ndim * (ndim - 1) // 2,),
        "affine": (ndim + 1, ndim + 1),
    }
    numbers = {key: value for key in shapes if (value := _numbers(place.get(key))) is not None}
    if {key: value.shape for key, value in numbers.items()} != shapes or not numbers["scale"].all():
        return {}
    told: dict[str, Any] = dict(numbers)
    units, labels = saved.get("units"), saved.get("axis_labels")
    if isinstance(units, list) and len(units) == ndim and all(map(_is_unit, units)):
        told["units"] = tuple(units)
    if isinstance(labels, list) and len(labels) == ndim:
        told["axis_labels"] = tuple(map(printable, labels))
    return told


def _is_unit(text: Any) -> bool:
    return isinstance(text, str) and re.fullmatch(r"[a-zµ_]+", text) is not None


def _numbers(value: Any) -> np.ndarray | None:
    try:
        numbers = np.asarray(value, float)
    except (TypeError, ValueError):
        return None
    return numbers if numbers.dtype == float and np.isfinite(numbers).all() and value is not None else None
