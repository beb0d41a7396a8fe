"""What a comparison takes from a layer, and from the line that was drawn, on the window's thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lucyd._napari.layers.coordinates import factor, to_data, to_world, unit_scale
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.layers.viewer import METADATA_KEY, is_result
from napari_lucyd.io import unit_label

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

# Results that are no images: how close they are to a truth is no question.
_FACTOR = "update_term"
_NO_IMAGES = ("correction_mask", _FACTOR)
_LEVELS = 256


@dataclass(frozen=True, eq=False)
class LayerSnapshot:
    """One layer as it was when it was asked for.

    Parameters
    ----------
    source
        The layer; nothing of it is copied.
    axes
        What each of its axes is.
    lead
        The current position along axes other than Z, Y and X.
    place
        Where its first voxel and the steps from there lie in the world: of two with equal places, voxels
        with one index are at one point.
    quantity
        Of a result: output, correction_mask, update_term, intermediate. Otherwise empty.
    lut
        (256, 4) uint8: colours from the lower to the upper contrast limit.
    version
        Goes up when the layer is given other data.
    """

    source: SourceLayer
    axes: str
    lead: tuple[int, ...]
    place: tuple[float, ...]
    quantity: str
    lut: np.ndarray
    version: int = 0

    @property
    def name(self) -> str:
        """Of the layer."""
        return self.source.name

    @property
    def is_image(self) -> bool:
        """Whether it is something that a truth can be compared with."""
        return self.quantity not in _NO_IMAGES

    @property
    def is_factor(self) -> bool:
        """Whether its values are factors about 1, not intensities."""
        return self.quantity == _FACTOR

    @property
    def values_key(self) -> Any:
        """Of two with one key, the values are the same."""
        return id(self.source.data), self.version, self.axes, self.lead, self.name

    @property
    def look_key(self) -> Any:
        """Of two with one key, pictures are the same."""
        limits = tuple(self.source.display["contrast_limits"])
        return self.values_key, limits, self.source.steps, self.lut.tobytes()

    @property
    def position(self) -> str:
        """The volume that is compared, in words; empty where there is one alone."""
        leading = (name for name in self.axes if name not in "ZYX")
        return ", ".join(f"{name} {index}" for name, index in zip(leading, self.lead, strict=True))


@dataclass(frozen=True, eq=False)
class Line:
    """A drawn line in the current slice.

    Parameters
    ----------
    unit
        Of lengths, as one writes it.
    axes, start, stop
        The names of the spatial axes, and the ends along them in the world, in that unit.
    ends
        For each layer the two ends in its voxels, (2, ndim).
    """

    unit: str
    axes: str
    start: tuple[float, ...]
    stop: tuple[float, ...]
    ends: tuple[np.ndarray, ...]

    @property
    def length(self) -> float:
        """Distance of the ends."""
        return float(np.linalg.norm(np.subtract(self.stop, self.start)))

    @property
    def key(self) -> Any:
        """To be compared."""
        return self.unit, self.axes, self.start, self.stop, tuple(ends.tobytes() for ends in self.ends)


def known_axes(layers: Sequence[Image]) -> dict[tuple[int, ...], str]:
    """Axes that results say, by the shape: what a person has corrected for a run holds for its image too."""
    known = {}
    for layer in layers:
        axes = layer.metadata[METADATA_KEY].get("axes") if is_result(layer) else None
        if axes:
            known[_shape(layer)] = str(axes)
    return known


def pick(
    layer: Image, viewer: Viewer, known: Mapping[tuple[int, ...], str], version: int = 0
) -> LayerSnapshot:
    """Take a layer at the current position.

    Parameters
    ----------
    layer
        Of images.
    viewer
        Says the position.
    known
        See `known_axes`.
    version
        See `LayerSnapshot`.

    Raises
    ------
    ValueError
        If it is RGB, or has nothing at the current position.
    """
    if layer.rgb:
        raise ValueError(
            f"“{layer.name}” is a colour (RGB) image; one intensity a voxel is needed. Right-click the "
            "layer, choose “Split RGB”, and pick the channels."
        )
    source = SourceLayer.from_layer(layer)
    axes = known.get(source.shape) or source.likely_axes()
    if len(axes) != len(source.shape):
        raise ValueError(
            f"“{layer.name}” has {len(source.shape)} axes; at most T, C, Z, Y and X can be told."
        )
    point = np.asarray(viewer.dims.point, float)[-layer.ndim :]
    (here,) = to_data(layer, [point], viewer)
    lead = []
    for name, index, size in zip(axes, np.rint(here).astype(int), source.shape, strict=True):
        if name in "ZYX":
            continue
        if not 0 <= index < size:
            raise ValueError(
                f"“{layer.name}” has nothing at the current position: {name} ends at {size - 1}."
            )
        lead.append(int(index))
    colours = np.asarray(layer.colormap.map(np.linspace(0, 1, _LEVELS) ** layer.gamma))
    entry = layer.metadata.get(METADATA_KEY) if is_result(layer) else {}
    return LayerSnapshot(
        source,
        axes,
        tuple(lead),
        _place(layer, axes, viewer),
        str(entry.get("quantity", "")),
        np.clip(np.rint(255 * colours), 0, 255).astype(np.uint8),
        version,
    )


def line_through(ends: np.ndarray, layers: Sequence[Image], axes: Sequence[str], viewer: Viewer) -> Line:
    """A line in the world, as it passes through layers.

    Parameters
    ----------
    ends
        (2, ndim) in the world, see `view.drawn_line`.
    layers, axes
        What it passes, and the names of their axes; the first has its unit.
    viewer
        Says which axes are on display: along the others, napari shows the nearest voxel, and so does the
        profile.
    """
    first = layers[0]
    factors = [factor(unit, first.units[-1]) for unit in first.units]
    own = np.asarray(ends)[:, -first.ndim :] / unit_scale(first, viewer.dims.units) * factors
    spatial = [index for index, name in enumerate(axes[0]) if name in "ZYX"]
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
        "".join(axes[0][index] for index in spatial),
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
