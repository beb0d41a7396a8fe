"""Layers as a file keeps them: voxels, place, colours, limits and recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_lucyd._napari.layers.coordinates import voxel_steps
from napari_lucyd._napari.layers.source_layer import SourceLayer, axes_from_labels, noted_sizes
from napari_lucyd._napari.layers.viewer import METADATA_KEY, SOURCE_ID
from napari_lucyd.io import Channel, ImageFileError, micrometers

LayerData = tuple[Any, dict[str, Any], str]
"""A layer as napari hands it over: data, keywords, type."""

LAYERS_KEY = "layers"
"""Key of a file's metadata: how each of the layers in it looked."""

APPEARANCE = ("name", "gamma", "opacity", "blending", "rendering", "visible")
"""Keywords of a layer that are kept as they are."""

PLACE = ("scale", "translate", "rotate", "shear", "affine")
"""Keywords of a layer that place it in the world, as numbers."""


def arguments_of(layers: Sequence[LayerData]) -> dict[str, Any]:
    """Return the arguments of :func:`napari_lucyd.io.write_image` that keep layers as they are.

    Parameters
    ----------
    layers
        One image layer; or several of one shape and place, which become the channels of one file.

    Returns
    -------
    dict
        ``array``, ``axes``, ``voxel_size``, ``unit``, ``metadata`` and ``channels``.

    Raises
    ------
    ImageFileError
        A layer is no image of one intensity a voxel, or the layers do not fit together.
    """
    arrays = [_voxels(layer) for layer in layers]
    states = [
        _with_noted_size(array.ndim, state) for array, (_, state, _) in zip(arrays, layers, strict=True)
    ]
    first, axes = states[0], _axes(arrays[0].ndim, states[0])
    steps = dict(zip(axes, voxel_steps(first), strict=True))
    voxel_size, unit = tuple(steps[letter] for letter in axes if letter in "ZYX"), str(first["units"][-1])
    default = micrometers(unit) is None and set(voxel_size) == {1.0}  # napari's, which says nothing
    if default or not np.all(np.isfinite(voxel_size)):
        voxel_size, unit = (), ""
    array, own = arrays[0], own_metadata(first)
    if len(layers) > 1:
        _refuse_unlike(arrays, states, axes)
        where = axes.index("Z") if "Z" in axes else len(axes) - 2
        array, axes, own = _stacked(arrays, where), f"{axes[:where]}C{axes[where:]}", {}
    count = array.shape[axes.index("C")] if "C" in axes else 1
    channels = [_channel(state) for state in states]
    return {
        "array": array,
        "axes": axes,
        "voxel_size": voxel_size or None,
        "unit": unit or None,
        "metadata": {**own, LAYERS_KEY: [_description(state, voxel_size) for state in states]},
        # A layer whose channels are on a slider shows all of them alike.
        "channels": channels if len(channels) == count else channels * count,
    }


def own_metadata(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what this plugin keeps in a layer's metadata and in files, such as the recipe."""
    own = (state.get("metadata") or {}).get(METADATA_KEY)
    return {key: value for key, value in own.items() if key != SOURCE_ID} if isinstance(own, Mapping) else {}


def _with_noted_size(ndim: int, state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a result's keywords with the voxel size that its run knew, if the layer states none."""
    return {**state, **SourceLayer.place_by_note(state, _axes(ndim, state))} if noted_sizes(state) else state


def _voxels(layer: LayerData) -> Any:
    data, state, kind = layer
    if kind != "image" or state.get("rgb"):
        what = "a colour picture" if kind == "image" else f"a layer of {kind}"
        raise ImageFileError(f"{state['name']} is {what}; expected an image of one intensity a voxel")
    return data[0] if state.get("multiscale") else data


def _axes(ndim: int, state: Mapping[str, Any]) -> str:
    axes = str(axes_from_labels(state["axis_labels"]) or own_metadata(state).get("axes") or "")
    if len(axes) == ndim:
        return axes
    if not 2 <= ndim <= 5:
        raise ImageFileError(
            f"{state['name']} has {ndim} axes; expected 2 to 5: time, channel, Z, Y, X. Split the layer first"
        )
    return "TCZYX"[-ndim:]


def _channel(state: Mapping[str, Any]) -> Channel:
    top = np.asarray(state["colormap"]["colors"], float)[-1, :3]
    color = "#" + "".join(f"{round(255 * float(part)):02x}" for part in top)
    low, high = (float(limit) for limit in state["contrast_limits"])
    return Channel(str(state["name"]), color, (low, high))


def _description(state: Mapping[str, Any], voxel_size: Sequence[float]) -> dict[str, Any]:
    """Return as plain JSON the properties that the file's format cannot express."""
    colormap, own = state["colormap"], own_metadata(state)
    return {
        **{key: _plain(state[key]) for key in APPEARANCE if key in state},
        "colormap": {
            "colors": np.asarray(colormap["colors"], float).round(6).tolist(),
            "controls": np.asarray(colormap["controls"], float).tolist(),
            "name": str(colormap["name"]),
        },
        "place": {key: np.asarray(state[key], float).tolist() for key in PLACE},
        "units": [str(unit) for unit in state["units"]],
        "axis_labels": [str(label) for label in state["axis_labels"]],
        # Shows whether another program has changed it since.
        "voxel_size": list(voxel_size),
        **({"metadata": own} if own else {}),
    }


def _plain(value: Any) -> Any:
    return value if type(value) in (str, bool, int, float) else str(value)


def _refuse_unlike(arrays: Sequence[Any], states: Sequence[Mapping[str, Any]], axes: str) -> None:
    names = " and ".join(str(state["name"]) for state in states)
    if "C" in axes:
        raise ImageFileError(f"{names} have channels of their own; save them one by one")
    for array, state in zip(arrays, states, strict=True):
        alike = (array.shape, array.dtype) == (arrays[0].shape, arrays[0].dtype) and (
            [str(unit) for unit in state["units"]] == [str(unit) for unit in states[0]["units"]]
        )
        if not alike or not all(np.allclose(state[key], states[0][key]) for key in PLACE):
            raise ImageFileError(
                f"{names} differ in shape, dtype, scale or place and cannot be channels of one file; save "
                "them one by one"
            )


def _stacked(arrays: Sequence[Any], where: int) -> Any:
    if all(isinstance(array, np.ndarray) for array in arrays):
        return np.stack(arrays, where)
    import dask.array

    return dask.array.stack([dask.array.asarray(each) for each in arrays], where)  # type: ignore[no-untyped-call]
