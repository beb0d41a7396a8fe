"""Snapshots of layers and of the drawn line, taken on the window's thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lucyd._napari.layers.axis_order import axes_in_layer
from napari_lucyd._napari.layers.coordinates import factor, to_data, to_world, unit_scale
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.layers.viewer import METADATA_KEY, is_result, origin_of
from napari_lucyd.io import unit_label

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

# Results that cannot be compared with a ground truth.
_FACTOR = "update_term"
_NO_IMAGES = ("correction_mask", _FACTOR, "trust_map")
_LEVELS = 256


@dataclass(frozen=True, eq=False)
class LayerSnapshot:
    """One layer at the time of the request.

    Parameters
    ----------
    source
        The layer; its data are not copied.
    axes
        Its axes.
    lead
        The current position along axes other than Z, Y and X.
    place
        World coordinates of its first voxel and of one step along each axis. In layers with equal places,
        voxels with the same index are at the same point.
    quantity
        Kind of a result: output, correction_mask, update_term, intermediate. Empty for other layers.
    lut
        (256, 4) uint8: colours from the lower to the upper contrast limit.
    version
        A number that increases when the layer gets other data.
    recipe
        Recipe of an output, with the present name of its image as ``source``; None for other layers.
    """

    source: SourceLayer
    axes: str
    lead: tuple[int, ...]
    place: tuple[float, ...]
    quantity: str
    lut: np.ndarray
    version: int = 0
    recipe: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.source.name

    @property
    def is_image(self) -> bool:
        """True for an image that can be compared with a ground truth."""
        return self.quantity not in _NO_IMAGES and not self.quantity.startswith("change")

    @property
    def is_factor(self) -> bool:
        """True if the values are factors around 1, not intensities."""
        return self.quantity == _FACTOR

    @property
    def values_key(self) -> Any:
        """Value that identifies the voxels."""
        return id(self.source.data), self.version, self.axes, self.lead, self.name

    @property
    def look_key(self) -> Any:
        """Value that identifies the pictures."""
        limits = tuple(self.source.display["contrast_limits"])
        return self.values_key, limits, self.source.steps, self.lut.tobytes()

    @property
    def position(self) -> str:
        """Name of the compared volume; empty if the layer has only one."""
        leading = (name for name in self.axes if name not in "ZYX")
        return ", ".join(f"{name} {index}" for name, index in zip(leading, self.lead, strict=True))


@dataclass(frozen=True, eq=False)
class Line:
    """A drawn line in the current slice.

    Parameters
    ----------
    unit
        Symbol of the unit of length.
    axes, start, stop
        Names of the spatial axes, and the world coordinates of both ends along them, in this unit.
    ends
        Both ends for each layer, in its voxels, (2, ndim).
    """

    unit: str
    axes: str
    start: tuple[float, ...]
    stop: tuple[float, ...]
    ends: tuple[np.ndarray, ...]

    @property
    def length(self) -> float:
        """Distance between the ends."""
        return float(np.linalg.norm(np.subtract(self.stop, self.start)))

    @property
    def key(self) -> Any:
        """Value that identifies the line."""
        return self.unit, self.axes, self.start, self.stop, tuple(ends.tobytes() for ends in self.ends)


def known_axes(layers: Sequence[Image]) -> dict[tuple[int, ...], str]:
    """Return the axes of results and of their images by shape, as the runs took them."""
    known: dict[tuple[int, ...], str] = {}
    for result in filter(is_result, layers):
        recipe = result.metadata[METADATA_KEY]
        if axes := recipe.get("axes"):
            known[_shape(result)] = str(axes)
        image = origin_of(layers, result)
        in_image = axes_in_layer(recipe, _shape(image)) if image in layers else None
        if in_image is not None:
            known.setdefault(_shape(image), in_image)
    return known


def pick(
    layer: Image, viewer: Viewer, known: Mapping[tuple[int, ...], str], version: int = 0
) -> LayerSnapshot:
    """Take a layer at the current position.

    Parameters
    ----------
    layer
        An image layer.
    viewer
        Its sliders give the position.
    known
        See `known_axes`.
    version
        See `LayerSnapshot`.

    Raises
    ------
    ValueError
        If it is RGB, or the current position is outside.
    """
    if layer.rgb:
        raise ValueError(
            f"“{layer.name}” is a colour (RGB) image. Right-click the layer, choose “Split RGB”, and tick "
            "the channels."
        )
    source = SourceLayer.from_layer(layer)
    axes = known.get(source.shape) or source.likely_axes()
    if len(axes) != len(source.shape):
        raise ValueError(
            f"“{layer.name}” has {len(source.shape)} axes; at most T, C, Z, Y and X are supported."
        )
    point = np.asarray(viewer.dims.point, float)[-layer.ndim :]
    (here,) = to_data(layer, [point], viewer)
    lead = []
    for name, index, size in zip(axes, np.rint(here).astype(int), source.shape, strict=True):
        if name in "ZYX":
            continue
        if not 0 <= index < size:
            raise ValueError(
                f"“{layer.name}” does not reach the current position: its last {name} is {size - 1}."
            )
        lead.append(int(index))
    colours = np.asarray(layer.colormap.map(np.linspace(0, 1, _LEVELS) ** layer.gamma))
    if layer.blending == "opaque":  # napari then ignores how transparent a colour is
        colours[:, 3] = 1
    entry: Mapping[str, Any] = {}
    if is_result(layer):
        origin = origin_of(viewer.layers, layer)
        entry = {**layer.metadata[METADATA_KEY], "source": getattr(origin, "name", origin)}
    return LayerSnapshot(
        source,
        axes,
        tuple(lead),
        _place(layer, axes, viewer),
        str(entry.get("quantity", "")),
        np.clip(np.rint(255 * colours), 0, 255).astype(np.uint8),
        version,
        entry if entry.get("quantity") == "output" else None,
    )


def line_through(ends: np.ndarray, layers: Sequence[Image], axes: Sequence[str], viewer: Viewer) -> Line:
    """Find the ends of a line in each layer.

    Parameters
    ----------
    ends
        (2, ndim) in the world, see `drawn_line`.
    layers, axes
        The layers and their axes; the unit of the first one that has a unit of length is that of the line.
    viewer
        Its displayed axes: along the others, napari shows the nearest voxel, and so does the profile.
    """
    number = next((at for at, layer in enumerate(layers) if (1 * layer.units[-1]).check("[length]")), 0)
    first = layers[number]
    factors = [factor(unit, first.units[-1]) for unit in first.units]
    own = np.asarray(ends)[:, -first.ndim :] / unit_scale(first, viewer.dims.units) * factors
    spatial = [index for index, name in enumerate(axes[number]) if name in "ZYX"]
    through = []
    for layer in layers:
        points = to_data(layer, ends[:, -layer.ndim :], viewer)
        displayed = [axis - viewer.dims.ndim + layer.ndim for axis in viewer.dims.displayed]
        for axis in range(layer.ndim):
            if axis not in displayed and np.ptp(points[:, axis]) < 1e-9:
                points[:, axis] = np.rint(points[:, axis])
        through.append(points)
    return Line(
        unit_label(f"{first.units[-1]:~P}"),
        "".join(axes[number][index] for index in spatial),
        tuple(float(value) for value in own[0, spatial]),
        tuple(float(value) for value in own[1, spatial]),
        tuple(through),
    )


def _shape(layer: Image) -> tuple[int, ...]:
    return tuple(int(n) for n in (layer.data[0] if layer.multiscale else layer.data).shape)


def _place(layer: Image, axes: str, viewer: Viewer) -> tuple[float, ...]:
    spatial = [index for index, name in enumerate(axes) if name in "ZYX"]
    corners = np.vstack([np.zeros(layer.ndim), np.eye(layer.ndim)[spatial]])
    world = to_world(layer, corners, viewer)[:, spatial]
    return tuple(float(f"{value:.6g}") for value in world.ravel())
