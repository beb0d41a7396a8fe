"""The input layer of a run, as it is when Run is pressed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pint

from napari_lucyd._napari.layers.coordinates import factor, voxel_steps
from napari_lucyd._napari.layers.source_file import SourceFile, look_into
from napari_lucyd._napari.layers.viewer import METADATA_KEY, VOXEL_SIZE_KEY
from napari_lucyd.deconvolution.image.axes import likely_letters
from napari_lucyd.io import unit_label

if TYPE_CHECKING:
    from napari.layers import Image

RGB = "“{}” is a colour (RGB) image. Right-click the layer, choose “Split RGB”, and deconvolve the channels."
SPATIAL = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
# Names of the axes in axis labels, in OME metadata and in other plugins.
_AXIS_NAMES = {
    "t": "T",
    "time": "T",
    "c": "C",
    "ch": "C",
    "channel": "C",
    "channels": "C",
    "z": "Z",
    "plane": "Z",
    "y": "Y",
    "x": "X",
}
# Rounding leaves this much shear.
_NO_SHEAR = 1e-6
# Letters for axes with other labels; S is for the samples of colours.
_OTHER_AXES = "PABDEFGHIJKLMNOQRUVW"


@dataclass(frozen=True)
class SourceLayer:
    """A layer at the time of Run; renaming or removing it afterwards changes nothing.

    Parameters
    ----------
    name
        Name of the layer.
    data
        Full resolution, not copied: numpy, dask, zarr or xarray.
    spatial
        Keywords that place the layer in the world: scale, translate, rotate, shear, affine, units,
        axis_labels.
    display
        Keywords of its look: contrast_limits, colormap, gamma.
    axes
        The axes according to the axis labels, or None.
    steps
        Length of a voxel along each axis in the unit of the last axis; NaN for an axis with another kind of
        unit.
    unit
        Symbol of the unit of the last axis.
    unit_um
        Size of `unit` in micrometres; None if it is not a length.
    blending
        Blending of the layer.
    sizes_um
        Voxel size in micrometres by axis, where the user or the file says another than the layer's scale;
        otherwise empty.
    path
        File that the layer was opened from and that was not read yet; see `informed`.
    layer_id
        The layer's id in napari, which it keeps when it is renamed; empty if there is no layer.
    """

    name: str
    data: Any
    spatial: dict[str, Any]
    display: dict[str, Any]
    axes: str | None = None
    steps: tuple[float, ...] = ()
    unit: str = "pixel"
    unit_um: float | None = None
    blending: str = "translucent_no_depth"
    metadata: dict[str, Any] = field(default_factory=dict)
    sizes_um: Mapping[str, float] = field(default_factory=dict)
    path: str | None = None
    layer_id: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the data at full resolution."""
        return tuple(int(n) for n in self.data.shape)

    @property
    def beyond_scale(self) -> str:
        """Words for what makes a voxel's steps differ from the layer's scale; empty if nothing does."""
        affine = np.asarray(self.spatial["affine"], float)
        if np.any(np.abs(self.spatial["shear"]) > _NO_SHEAR):
            return " with its shear"
        return "" if np.allclose(affine[:-1, :-1], np.eye(len(affine) - 1)) else " with its affine transform"

    @classmethod
    def from_layer(cls, layer: Image) -> SourceLayer:
        """Read everything that a run needs from an image layer.

        Raises
        ------
        ValueError
            If the layer is RGB.
        """
        if layer.rgb:
            raise ValueError(RGB.format(layer.name))
        state = layer.as_layer_data_tuple()[1]
        return cls(
            name=layer.name,
            data=layer.data[0] if layer.multiscale else layer.data,
            spatial={key: state[key] for key in SPATIAL},
            display={
                "contrast_limits": _finite_limits(layer),
                "colormap": state["colormap"],
                "gamma": float(layer.gamma),
            },
            axes=axes_from_labels(layer.axis_labels, layer.units),
            steps=voxel_steps(state),
            unit=unit_label(f"{layer.units[-1]:~P}"),
            unit_um=_micrometres(layer.units[-1]),
            blending=str(layer.blending),
            metadata=dict(layer.metadata),
            path=None if layer.source.path is None else str(layer.source.path),
            layer_id=str(layer.unique_id),
        )

    @classmethod
    def place_by_note(cls, state: Mapping[str, Any], axes: str) -> dict[str, Any]:
        """Return the keywords that place a result with the voxel size that its run noted; else its own."""
        spatial = {key: state[key] for key in SPATIAL}
        found = cls("", None, spatial, {}, steps=voxel_steps(state))
        sizes = noted_sizes(state)
        return found.with_voxel_size(sizes).place(axes) if sizes else spatial

    def with_file(self, facts: SourceFile | None) -> SourceLayer:
        """Return the layer with the axes and the voxel size of its file, where it has none itself.

        Those of a result are the ones that its run has noted.
        """
        known = replace(self, path=None, axes=self.axes or noted_axes(self.metadata, len(self.shape)))
        if noted := noted_sizes({"metadata": self.metadata, "units": self.spatial["units"]}):
            return known.with_voxel_size(noted)
        if facts is None:
            return known
        if known.axes is None:
            known = replace(known, axes=facts.axes_for(self.shape))
        sizes = facts.sizes_for(self.shape) if self.unit_um is None else {}
        return known.with_voxel_size(sizes) if sizes else known

    def informed(self) -> SourceLayer:
        """Return the layer with the facts of its file; call it off the window's thread."""
        return self if self.path is None else self.with_file(look_into(self.path))

    def with_voxel_size(self, sizes_um: Mapping[str, float]) -> SourceLayer:
        """Return the layer with another voxel size, in micrometres by axis."""
        return replace(self, sizes_um=dict(sizes_um), unit="µm", unit_um=1.0)

    def likely_axes(self, given: str | None = None) -> str:
        """Return the axes set by the user, or those of the layer, or the last of TCZYX."""
        return given or self.axes or likely_letters(len(self.shape))

    def voxel_size(self, axes: str) -> tuple[float, ...] | None:
        """Return the voxel size, (Z, Y, X) or (Y, X); None if the axes have different kinds of units."""
        letters = [name for name in "ZYX" if name in axes]
        if self.sizes_um:
            known = all(name in self.sizes_um for name in letters)
            return tuple(self.sizes_um[name] for name in letters) if known else None
        steps = tuple(self.steps[axes.index(name)] for name in letters)
        return steps if np.all(np.isfinite(steps)) and min(steps) > 0 else None

    def voxel_size_um(self, axes: str) -> tuple[float, ...] | None:
        """Return the voxel size in micrometres; None if the unit is not a length."""
        steps, unit = self.voxel_size(axes), self.unit_um
        if steps is None or unit is None:
            return None
        return tuple(float(f"{step * unit:.9g}") for step in steps)  # 0.1, not 0.10000000000000002

    def place(self, axes: str) -> dict[str, Any]:
        """Return the keywords that place a layer of these axes in the world, with the voxel size in use."""
        if not self.sizes_um or len(axes) != len(self.steps):
            return self.spatial
        scale, translate = (np.array(self.spatial[key], float) for key in ("scale", "translate"))
        units = list(self.spatial["units"])
        for axis, name in enumerate(axes):
            size, step = self.sizes_um.get(name), self.steps[axis]
            if size is not None and np.isfinite(step) and step > 0:
                # With a rotation or a further transform, a step is not the scale alone.
                change = size / step * factor(units[axis], self.spatial["units"][-1])
                scale[axis] *= change
                translate[axis] *= change
                units[axis] = pint.get_application_registry().Unit("micrometer")  # type: ignore[no-untyped-call]
        return {**self.spatial, "scale": scale, "translate": translate, "units": tuple(units)}


def noted_sizes(state: Mapping[str, Any]) -> dict[str, float]:
    """Return the voxel size that a run noted in a result, in µm by axis; {} if the layer states its own."""
    own = (state.get("metadata") or {}).get(METADATA_KEY)
    sizes = own.get(VOXEL_SIZE_KEY) if isinstance(own, Mapping) else None
    if (
        not isinstance(sizes, Mapping)
        or not all(map(_is_length, sizes.values()))
        or _micrometres(state["units"][-1]) is not None
    ):
        return {}
    return {str(name): float(size) for name, size in sizes.items()}


def noted_axes(metadata: Mapping[str, Any], ndim: int) -> str | None:
    """Return the axes that the run of a result noted; None for other layers, and for a part of a result."""
    entry = metadata.get(METADATA_KEY)
    axes = entry.get("axes") if isinstance(entry, dict) and "quantity" in entry else None
    return axes if isinstance(axes, str) and len(axes) == ndim else None


def _is_length(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 < value < float("inf")


def axes_from_labels(labels: Sequence[str], units: Sequence[Any] = ()) -> str | None:
    """Read the axes from axis labels and units; None if neither says anything, or they contradict themselves.

    An axis in a unit of time is T. Axes without a label are the last of TCZYX that are left; an axis with
    another label gets another letter.

    Parameters
    ----------
    labels
        Label of each axis; napari's own, such as ``"axis -1"``, count as none.
    units
        Unit of each axis, from pint.

    Examples
    --------
    >>> axes_from_labels(("time", "z", "y", "x"))
    'TZYX'
    >>> axes_from_labels(("axis -2", "axis -1")) is None
    True
    """
    words = [str(name).strip().lower() for name in labels]
    letters = [_AXIS_NAMES.get(word, "") for word in words]
    for number, unit in enumerate(units):
        if not letters[number] and (1 * unit).check("[time]"):
            letters[number] = "T"
    if not any(letters):
        return None
    left = [name for name in "TCZYX" if name not in letters]
    for number in reversed(range(len(letters))):
        if letters[number]:
            continue
        if re.fullmatch(r"(axis )?(-?\d+)?", words[number]) and left:
            letters[number] = left.pop()
        else:
            letters[number] = next(name for name in _OTHER_AXES if name not in letters)
    axes = "".join(letters)
    return axes if len(set(axes)) == len(axes) and {"Y", "X"} <= set(axes) else None


def _finite_limits(layer: Image) -> list[float]:
    """Return the contrast limits; the range of the middle plane replaces limits that are NaN or equal.

    Only one plane is read, because the image may be larger than memory.
    """
    limits = [float(limit) for limit in layer.contrast_limits]
    if np.all(np.isfinite(limits)) and limits[0] < limits[1]:
        return limits
    data = layer.data[0] if layer.multiscale else layer.data
    values = np.asarray(data[tuple(n // 2 for n in data.shape[:-2])], dtype=float)
    values = values[np.isfinite(values)]
    return [float(values.min()), float(values.max())] if values.size and np.ptp(values) > 0 else [0.0, 1.0]


def _micrometres(unit: Any) -> float | None:
    one = 1 * unit
    return float(one.to("micrometer").magnitude) if one.check("[length]") else None
