"""What is taken from a source layer when Run is pressed, and the layers that come out."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils import Colormap
from napari.utils.transforms import Affine

from napari_lucyd._napari.parameters import QUANTITIES, QUANTITY_NAMES

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_lucyd.deconvolution import Result

METADATA_KEY = "napari-lucyd"
# Not a keyword of napari's add_image: set on the layer once it is there.
RANGE_KEY = "contrast_limits_range"
SPATIAL = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
# As the axis may be called in a layer's axis_labels, in OME metadata or by other plugins.
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
# Limits come from at most this many voxels: enough for the percentiles below, and quick on any volume.
_SAMPLE = 1_000_000
_PLANES = 64
# The share of voxels beyond the limits of a diverging map; a single hot voxel must not flatten it.
_BEYOND = 0.1
# Black in the middle: what the network left alone stays dark on napari's black canvas.
_COLD_TO_WARM = [
    [0.62, 0.93, 1.00],
    [0.16, 0.56, 0.95],
    [0.05, 0.20, 0.50],
    [0.02, 0.02, 0.03],
    [0.50, 0.12, 0.05],
    [0.93, 0.42, 0.13],
    [1.00, 0.91, 0.56],
]
DIVERGING = Colormap(_COLD_TO_WARM, name="lucyd diverging", display_name="LUCYD diverging")


@dataclass(frozen=True)
class Source:
    """A layer as it was when Run was pressed; renaming or removing it afterwards changes nothing.

    Parameters
    ----------
    name
        Of the layer.
    data
        Full resolution, not copied: numpy, dask, zarr or xarray.
    spatial
        Keywords that place the layer in the world: scale, translate, rotate, shear, affine, units,
        axis_labels.
    display
        Keywords that say how it looks: contrast_limits, colormap, gamma.
    axes
        What the layer's own axis labels say, or None.
    steps
        Length of a voxel along each axis in the world, in the unit of the last axis; NaN where an
        axis has a unit of another kind.
    unit
        That of the last axis, as one writes it.
    unit_um
        How many micrometres that is; None where it is no length.
    blending
        Of the layer.
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

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the data at full resolution."""
        return tuple(int(n) for n in self.data.shape)

    @classmethod
    def from_layer(cls, layer: Image) -> Source:
        """Take what a run needs from an image layer.

        Raises
        ------
        ValueError
            If the layer is RGB.
        """
        if layer.rgb:
            raise ValueError(
                f"“{layer.name}” is a colour (RGB) image; deconvolution works on one intensity a voxel. "
                "Right-click the layer, choose “Split RGB”, and deconvolve the channels."
            )
        state = layer.as_layer_data_tuple()[1]
        return cls(
            name=layer.name,
            data=layer.data[0] if layer.multiscale else layer.data,
            spatial={key: state[key] for key in SPATIAL},
            display={
                "contrast_limits": [float(limit) for limit in layer.contrast_limits],
                "colormap": state["colormap"],
                "gamma": float(layer.gamma),
            },
            axes=axes_from_labels(layer.axis_labels),
            steps=voxel_steps(state),
            unit=f"{layer.units[-1]:~P}",
            unit_um=_micrometres(layer.units[-1]),
            blending=str(layer.blending),
            metadata=dict(layer.metadata),
        )

    def likely_axes(self, given: str | None = None) -> str:
        """What a person or the layer says the axes are; otherwise the last of TCZYX."""
        return given or self.axes or "TCZYX"[-len(self.shape) :]

    def voxel_size(self, axes: str) -> tuple[float, ...] | None:
        """Voxel lengths along the spatial axes, (Z, Y, X) or (Y, X); None where they cannot be compared."""
        steps = tuple(self.steps[axes.index(name)] for name in "ZYX" if name in axes)
        return steps if np.all(np.isfinite(steps)) and min(steps) > 0 else None

    def voxel_size_um(self, axes: str) -> tuple[float, ...] | None:
        """The same in micrometres; None where the layer's unit is no length."""
        steps = self.voxel_size(axes)
        if steps is None or self.unit_um is None:
            return None
        return tuple(float(f"{step * self.unit_um:.9g}") for step in steps)  # 0.1, not 0.10000000000000002


def axes_from_labels(labels: Sequence[str]) -> str | None:
    """Axes from a layer's axis labels, where every label is a known one.

    Examples
    --------
    >>> axes_from_labels(("time", "z", "y", "x"))
    'TZYX'
    >>> axes_from_labels(("axis -2", "axis -1")) is None
    True
    """
    axes = "".join(_AXIS_NAMES.get(str(name).strip().lower(), "?") for name in labels)
    return axes if "?" not in axes and len(set(axes)) == len(axes) and axes.endswith("YX") else None


def voxel_steps(state: dict[str, Any]) -> tuple[float, ...]:
    """Length of one voxel along each axis, in the unit of the last axis.

    The whole transform counts, also a scale inside `affine`. An axis with a unit of another kind, such as
    time, gets NaN.
    """
    linear = linear_matrix(state)
    affine = np.asarray(state["affine"], float)
    ndim = linear.shape[0]
    matrix = affine[:ndim, :ndim] @ linear
    units = [np.asarray(1.0) * unit for unit in state["units"]]
    # NaN marks an axis whose unit is of another kind than X, a time axis for one.
    factors = [
        float(unit.to(units[-1].units).magnitude)
        if unit.dimensionality == units[-1].dimensionality
        else np.nan
        for unit in units
    ]
    # Columns mix axes only through rotations, and those mix axes of one unit.
    rows = np.nan_to_num(factors, nan=1.0)
    lengths = np.linalg.norm(rows[:, None] * matrix, axis=0)
    return tuple(float(length) for length in np.where(np.isnan(factors), np.nan, lengths))


def _micrometres(unit: Any) -> float | None:
    one = 1 * unit
    return float(one.to("micrometer").magnitude) if one.check("[length]") else None


def linear_matrix(state: dict[str, Any]) -> np.ndarray:
    """The linear part of a layer's own transform (scale, rotate, shear), without its `affine`."""
    ndim = len(state["scale"])
    transform = Affine(
        scale=state["scale"],
        translate=state["translate"],
        rotate=state["rotate"],
        shear=state["shear"],
        ndim=ndim,
    )
    return np.asarray(transform.linear_matrix, float)


def place_region(spatial: dict[str, Any], start: Sequence[int]) -> dict[str, Any]:
    """The spatial keywords of a part of a layer that begins at voxel `start`.

    Parameters
    ----------
    spatial
        Of the whole layer.
    start
        First voxel of the part, one an axis.
    """
    offset = linear_matrix(spatial) @ np.asarray(start, float)
    return {**spatial, "translate": np.asarray(spatial["translate"], float) + offset}


def starts(axes: str, region: tuple[slice, ...] | None) -> tuple[int, ...]:
    """First voxel of a spatial region along every axis of the image."""
    if region is None:
        return (0,) * len(axes)
    spatial = [name for name in "ZYX" if name in axes]
    first = dict(zip(spatial, (part.start or 0 for part in region), strict=True))
    return tuple(first.get(name, 0) for name in axes)


def result_layers(
    source: Source,
    result: Result,
    method: str,
    *,
    axes: str,
    region: tuple[slice, ...] | None,
    additive: bool = False,
    psf_origin: dict[str, Any] | None = None,
) -> list[tuple[np.ndarray, dict[str, Any], str]]:
    """The layers of one result, lowest first.

    Parameters
    ----------
    source
        The layer that was deconvolved.
    result
        What the engine returned.
    method
        Name of the model, or of the classical method, for the layers' names.
    axes
        What each axis of the source is.
    region
        The part that was computed, over the spatial axes.
    additive
        Whether the output is added to what is shown below it (the second and further channels of a run).
    psf_origin
        Where a classical method's PSF came from; goes into the recipe.

    Returns
    -------
    list of LayerData
        (data, keywords, "image"). The output is visible; the others lie hidden above it, so that showing
        one of them covers the output without hiding it.
    """
    recipe = with_psf_origin(result.recipe, psf_origin)
    layers = []
    for quantity in QUANTITIES:
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
    source: Source,
    quantity: str,
    method: str,
    *,
    axes: str,
    region: tuple[slice, ...] | None,
    additive: bool,
) -> dict[str, Any]:
    """What a result's layer is called and where it lies; parameters as of `result_layers`."""
    return {
        "name": f"{source.name} – {QUANTITY_NAMES[quantity]} ({method})",
        **place_region(source.spatial, starts(axes, region)),
        "blending": "additive" if additive and quantity == "output" else "translucent_no_depth",
        "visible": quantity == "output",
    }


def layer_metadata(recipe: dict[str, Any], quantity: str, source: Source) -> dict[str, Any]:
    """The metadata of a result's layer."""
    return {METADATA_KEY: {**recipe, "quantity": quantity, "source": source.name}}


def with_psf_origin(recipe: dict[str, Any], origin: dict[str, Any] | None) -> dict[str, Any]:
    """A recipe that says where the PSF of a classical method came from."""
    return recipe if origin is None else {**recipe, "psf": {**recipe["psf"], "origin": origin}}


def _appearance(quantity: str, data: np.ndarray, source: Source) -> dict[str, Any]:
    if quantity in ("output", "intermediate"):
        # The slider has to reach what is new in the result as well.
        limits = source.display["contrast_limits"]
        values = sampled(data)
        values = values[np.isfinite(values)]
        reach = [min(limits[0], values.min()), max(limits[1], values.max())] if values.size else limits
        return {**source.display, RANGE_KEY: [float(limit) for limit in reach]}
    centre = 1.0 if quantity == "update_term" else 0.0
    reach = deviation(data, centre)
    return {"contrast_limits": [centre - reach, centre + reach], "colormap": DIVERGING}


def deviation(data: np.ndarray, centre: float) -> float:
    """How far a quantity strays from its centre, but for the most extreme voxels; never 0."""
    sample = np.abs(sampled(data) - centre)
    sample = sample[np.isfinite(sample)]
    reach = float(np.percentile(sample, 100 - _BEYOND)) if sample.size else 0.0
    return reach or (float(sample.max()) if sample.size else 0.0) or 1.0


def sampled(data: np.ndarray) -> np.ndarray:
    """About a million values; of large data from some planes alone, for a file is read in pages."""
    if data.size <= _SAMPLE:
        return np.asarray(data)
    planes = data.reshape(-1, *data.shape[-2:])
    count = min(len(planes), _PLANES)
    # The middle of each of as many stretches.
    chosen = ((np.arange(count) + 0.5) * len(planes) / count).astype(int)
    step = max(1, math.isqrt(count * planes.shape[1] * planes.shape[2] // _SAMPLE))
    return np.asarray(planes[chosen, ::step, ::step])


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
