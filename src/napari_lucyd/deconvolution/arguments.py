"""Checks of a run's arguments; each error states the value, what is expected and what to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from napari_lucyd import checks
from napari_lucyd.deconvolution.image.axes import Axes
from napari_lucyd.deconvolution.preprocessing.preparation import NOTHING, Preparation
from napari_lucyd.deconvolution.result import OUTPUTS
from napari_lucyd.deconvolution.statistics.scaling import Statistics
from napari_lucyd.deconvolution.tiling.geometry import Geometry
from napari_lucyd.deconvolution.tiling.resampling import TOLERANCE
from napari_lucyd.deconvolution.tiling.tiles import Tile, fit_tile_shape
from napari_lucyd.errors import OutOfMemory
from napari_lucyd.models.normalization import Normalization
from napari_lucyd.networks.network import Network
from napari_lucyd.spans import Span, ceil_to, spatial_axes
from napari_lucyd.text import count_text

# Ratio of the steps of a voxel that no microscope exceeds: more means different units.
_LARGEST_RATIO = 1000
_SMALLEST_STEP = 1e-12
# In voxels; far beyond any receptive field.
_LARGEST_HALO = 1000


def check_tile_shape(
    tile_shape: Any, spans: Sequence[Span], resampled: bool, multiple: int
) -> tuple[int, ...]:
    """Return a valid tile shape: multiples of what the network needs, no larger than the region."""
    expected = f"{len(spans)} integers of at least 1, for {', '.join(spatial_axes(len(spans)))}"
    sizes = [
        checks.integer("tile_shape", size, least=1)
        for size in checks.items("tile_shape", tile_shape, expected)
    ]
    if len(sizes) == 2 and len(spans) == 3 and spans[0].size == 1:
        sizes = [1, *sizes]
    if len(sizes) != len(spans):
        raise ValueError(f"tile_shape is {checks.shown(tile_shape)}; give {expected}.")
    fitted = fit_tile_shape(sizes, [span.size for span in spans], multiple)
    # With resampling, only the planes of the network's grid must be multiples.
    return (min(sizes[0], spans[0].size), *fitted[1:]) if resampled else fitted


def check_outputs(outputs: Any, parts: Sequence[str] = OUTPUTS, of: str = "") -> tuple[str, ...]:
    """Return the requested parts in their standard order.

    Parameters
    ----------
    outputs
        Value of the argument.
    parts
        Available parts.
    of
        Owner of the parts, for the error: ``" of RLN"``.
    """
    expected = f"at least one of {', '.join(map(repr, parts))}"
    names = (outputs,) if isinstance(outputs, str) else checks.items("outputs", outputs, expected)
    if not names or any(not isinstance(name, str) or name not in parts for name in names):
        raise ValueError(f"outputs{of} is {checks.shown(outputs)}; give {expected}.")
    return tuple(name for name in OUTPUTS if name in names)


def check_flips(flips: Any, outputs: Any) -> bool:
    """Return ``flips`` as a bool; refuse it together with parts other than the output."""
    wanted = checks.flag("flips", flips)
    others = [] if outputs is None else [name for name in check_outputs(outputs) if name != "output"]
    if wanted and others:
        raise ValueError(
            f"flips=True averages the output only, so {', '.join(others)} cannot be returned. Remove them "
            "from outputs, or set flips=False."
        )
    return wanted


def check_voxel_size(voxel_size: Any, axes: Axes) -> tuple[float, ...] | None:
    """Return the steps along the spatial axes of the model."""
    if voxel_size is None:
        return None
    letters = ", ".join(axes.letters)
    expected = f"{axes.dimension} positive numbers, the steps along {letters} in one unit"
    given = checks.items("voxel_size", voxel_size, expected)
    # Given with or without Z. A wrong step is named, as each has a field of its own in a window.
    places = (
        [f" along {letter}" for letter in "ZYX"[-len(given) :]] if len(given) in (2, 3) else [""] * len(given)
    )
    steps = tuple(
        checks.number(f"voxel_size{place}", step, "a positive number", lambda size: size > 0)
        for place, step in zip(places, given, strict=True)
    )
    if len(steps) == 2 and axes.dimension == 3 and axes.size("Z") == 1:
        steps = (steps[0], *steps)  # the step of a single plane has no effect
    if len(steps) < axes.dimension:
        raise ValueError(f"voxel_size is {checks.shown(voxel_size)}; give {expected}.")
    steps = steps[-axes.dimension :]
    if max(steps) > _LARGEST_RATIO * min(steps):
        raise ValueError(
            f"voxel_size is {checks.shown(voxel_size)}: one step is over {_LARGEST_RATIO} times another. "
            "Give all steps in one unit."
        )
    if not all(_SMALLEST_STEP <= step <= 1 / _SMALLEST_STEP for step in steps):
        raise ValueError(f"voxel_size is {checks.shown(voxel_size)}; give steps in µm or nm, for instance.")
    return steps


def check_isotropic(isotropic: Any) -> bool | None:
    """Return ``isotropic`` as a bool or None."""
    return None if isotropic is None else checks.flag("isotropic", isotropic)


def check_halo(halo: Any, network: Network, warnings: list[str]) -> int:
    """Return the margin, a multiple of what the network needs; warn if it is too small."""
    field = network.receptive_field
    if halo is None:
        return ceil_to(field, network.multiple)
    wanted = checks.integer("halo", halo, least=0)
    if wanted > _LARGEST_HALO:
        raise ValueError(
            f"halo is {wanted}; give at most {_LARGEST_HALO} voxels. More than the receptive field, "
            f"{field}, has no effect."
        )
    if wanted < field:
        warnings.append(
            f"The halo of {count_text(wanted, 'voxel')} is smaller than the network's receptive field of "
            f"{field}. Seams may show."
        )
    return ceil_to(wanted, network.multiple)


def check_region(region: Any, axes: Axes) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Return the spans of the region along the leading axes, and along (Z, Y, X) or (Y, X)."""
    spans = {name: Span(0, axes.size(name)) for name in (*axes.leading, *axes.letters)}
    if region is not None:
        own = "".join(name for name in axes.names if name in axes.spatial)
        expected = f"a tuple with one slice for each axis ({axes.names}), or for each spatial axis ({own})"
        slices = checks.items("region", region, expected)
        named = next((names for names in (axes.names, own, axes.letters) if len(names) == len(slices)), None)
        if named is None:
            raise ValueError(f"region has {len(slices)} entries; give {expected}.")
        for name, part in zip(named, slices, strict=True):
            spans[name] = _check_slice(part, name, axes.size(name))
    return tuple(spans[name] for name in axes.leading), tuple(spans[name] for name in axes.letters)


def _check_slice(part: Any, name: str, size: int) -> Span:
    if not isinstance(part, slice):
        number = checks.integer(f"region along {name}", part)
        if not -size <= number < size:
            raise ValueError(f"region along {name} is {number}; give an index from {-size} to {size - 1}.")
        return Span(number % size, number % size + 1)
    try:
        start, stop, step = part.indices(size)
    except (TypeError, ValueError):
        raise TypeError(f"region along {name} is {checks.shown(part)}; give a slice of integers.") from None
    if step != 1 or start >= stop:
        raise ValueError(
            f"region along {name} is {checks.shown(part)}; give a slice of one or more of the {size} "
            "voxels, without a step."
        )
    return Span(start, stop)


def check_statistics(statistics: Any, choices: RunArguments) -> None:
    """Refuse statistics that were measured with other settings than the run's."""
    if not isinstance(statistics, Statistics):
        raise TypeError(f"statistics is {checks.shown(statistics)}; give the result of Job.measure().")
    if statistics.normalization != choices.normalization:
        raise ValueError(
            f"The statistics were measured for {statistics.normalization}, but this run uses "
            f"{choices.normalization}. Measure them again."
        )
    if statistics.prepared.wish != choices.preparation:
        raise ValueError(
            f"The statistics were measured for {statistics.prepared.wish}, but this run uses "
            f"{choices.preparation}. Measure them again."
        )
    axes = choices.axes
    for lead in product(*(range(*span) for span in choices.lead_spans)):
        try:
            statistics.group(axes.lead_index(lead))
        except KeyError:
            raise ValueError(
                f"The statistics were measured separately along {statistics.separate!r}, but not for the "
                f"volume {lead} along {axes.leading!r}. Pass the whole input, and select a part with region."
            ) from None
    if statistics.separate != choices.separate:
        raise ValueError(
            f"The statistics were measured with separate={statistics.separate!r}, but this run uses "
            f"{choices.separate!r}. Measure them again."
        )


def voxel_warnings(steps: tuple[float, ...] | None, resampled: bool, axes: Axes) -> list[str]:
    """Warn where the voxel shape differs from that of the training data."""
    if steps is None:
        return []
    found = []
    y, x = steps[-2:]
    if not 1 / TOLERANCE <= y / x <= TOLERANCE:
        found.append(f"The voxel size differs along Y ({y:g}) and X ({x:g}); the models need equal sizes.")
    if len(steps) == 3 and axes.size("Z") > 1 and not resampled:
        factor = steps[0] / (y * x) ** 0.5
        if not 1 / TOLERANCE <= factor <= TOLERANCE:
            found.append(
                f"The Z step is {factor:.3g} times the lateral one and resampling is off. The models were "
                "trained on isotropic voxels."
            )
    return found


@dataclass(frozen=True)
class RunArguments:
    """The checked arguments of a run.

    Attributes
    ----------
    axes
        Axes of the input.
    geometry
        Rule that turns tiles into blocks.
    outputs
        Names of the requested parts.
    normalization, separate
        Scaling of intensities, and the leading axes along which it is separate.
    voxel_size
        Steps along (Z, Y, X) or (Y, X), or None.
    lead_spans, spans
        Region along the leading axes, and along (Z, Y, X) or (Y, X).
    region_given
        True if the user gave a region.
    tile_shape_given, halo_given
        True if the user gave a tile shape, and a halo.
    flips
        True if the output is the mean over all mirror images.
    precision
        ``"float32"``, or ``"float16"`` where the model allows it.
    preparation
        Steps applied to the image before the method.
    allocate
        Function that makes the result arrays; None for numpy arrays.
    """

    axes: Axes
    geometry: Geometry
    outputs: tuple[str, ...]
    normalization: Normalization
    separate: str
    voxel_size: tuple[float, ...] | None
    lead_spans: tuple[Span, ...]
    spans: tuple[Span, ...]
    region_given: bool
    tile_shape_given: bool
    halo_given: bool
    flips: bool = False
    precision: str = "float32"
    preparation: Preparation = NOTHING
    allocate: Callable[[str, tuple[int, ...]], Any] | None = None

    @property
    def letters(self) -> str:
        """Names of the axes of one volume: ``"ZYX"`` or ``"YX"``."""
        return self.axes.letters

    @property
    def region(self) -> tuple[slice, ...]:
        """The region along all axes of the input."""
        spans = dict(zip(self.axes.leading + self.letters, self.lead_spans + self.spans, strict=True))
        return tuple(spans[name].slice for name in self.axes.names)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the result arrays: the region's, with the axes of the input."""
        return tuple(part.stop - part.start for part in self.region)

    @property
    def result_bytes(self) -> int:
        """Bytes of memory for the results."""
        return 0 if self.allocate else 4 * math.prod(self.output_shape) * len(self.outputs)

    @property
    def volumes(self) -> int:
        """Number of volumes to deconvolve."""
        return math.prod(span.size for span in self.lead_spans)

    def make_arrays(self) -> dict[str, Any]:
        """Make one result array for each part; numpy arrays are not initialised."""
        make = self.allocate or (lambda _, shape: np.empty(shape, dtype=np.float32))
        try:
            arrays = {name: make(name, self.output_shape) for name in self.outputs}
        except MemoryError as error:
            raise OutOfMemory(f"The results do not fit in memory: {error}") from None
        for array in arrays.values():
            shape = getattr(array, "shape", None)
            if shape != self.output_shape:
                raise ValueError(
                    f"allocate returned {checks.shown(array)} of shape {shape}; return an array of shape "
                    f"{self.output_shape}."
                )
        return arrays

    def where(self, lead: tuple[int, ...], tile: Tile) -> tuple[slice, ...]:
        """Return the slices of a tile of a volume in the result arrays."""
        at = {}
        for name, number, span in zip(self.axes.leading, lead, self.lead_spans, strict=True):
            at[name] = slice(number - span.start, number - span.start + 1)
        for name, kept, span in zip(self.letters, tile.spans, self.spans, strict=True):
            at[name] = slice(kept.start - span.start, kept.stop - span.start)
        return tuple(at[name] for name in self.axes.names)

    def label(self, lead: tuple[int, ...]) -> str:
        """Name a volume: ``"T 3, C 0"``."""
        return self.axes.label(lead)
