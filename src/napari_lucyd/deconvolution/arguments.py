"""Checks of a run's arguments; each error states the value, what is expected and what to do."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

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
from napari_lucyd.spans import Span, ceil_to


def check_tile_shape(
    tile_shape: Sequence[int], spans: Sequence[Span], resampled: bool, multiple: int
) -> tuple[int, ...]:
    """Return a valid tile shape: multiples of what the network needs, no larger than the region."""
    try:
        sizes = tuple(operator.index(size) for size in tile_shape)
    except TypeError:
        raise TypeError(f"tile_shape is {tile_shape!r}; whole numbers are needed, one an axis.") from None
    if len(sizes) == 2 and len(spans) == 3 and spans[0].size == 1:
        sizes = (1, *sizes)
    fitted = fit_tile_shape(sizes, [span.size for span in spans], multiple)
    # With resampling, only the planes of the network's grid must be multiples.
    return (min(int(sizes[0]), spans[0].size), *fitted[1:]) if resampled else fitted


def check_outputs(outputs: Sequence[str], parts: Sequence[str] = OUTPUTS, of: str = "") -> tuple[str, ...]:
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
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    if not names or any(name not in parts for name in names):
        raise ValueError(
            f"outputs{of} is {outputs!r:.200}; give at least one of {', '.join(map(repr, parts))}."
        )
    return tuple(name for name in OUTPUTS if name in names)


def check_flips(flips: Any, outputs: Sequence[str] | None) -> bool:
    """Return ``flips`` as a bool; refuse it together with parts other than the output."""
    if not isinstance(flips, bool | np.bool_):
        raise TypeError(f"flips is {flips!r:.80}; give True or False.")
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs or ("output",))
    others = [name for name in names if name != "output"]
    if flips and others:
        raise ValueError(
            f"flips=True averages the output only, so {', '.join(others)} cannot be returned. Remove them "
            "from outputs, or set flips=False."
        )
    return bool(flips)


def check_precision(precision: Any) -> str:
    """Return a valid precision."""
    if precision not in ("float32", "float16"):
        raise ValueError(f"precision is {precision!r:.80}; give 'float32' or 'float16'.")
    return str(precision)


def check_voxel_size(voxel_size: Sequence[float] | None, axes: Axes) -> tuple[float, ...] | None:
    """Return the steps along the spatial axes of the model."""
    if voxel_size is None:
        return None
    try:
        steps = tuple(float(step) for step in voxel_size)
    except TypeError:
        raise TypeError(f"voxel_size is {voxel_size!r}; numbers are needed, one an axis.") from None
    if not all(0 < step < float("inf") for step in steps):
        raise ValueError(f"voxel_size is {tuple(voxel_size)}; every step has to be a positive number.")
    count = axes.dimension
    if len(steps) == 2 and count == 3 and axes.size("Z") == 1:
        return (steps[0], *steps)  # the step of a single plane has no effect
    if len(steps) < count:
        raise ValueError(
            f"voxel_size is {steps}; {count} steps are needed, one for each of {', '.join('ZYX'[-count:])}."
        )
    return steps[-count:]


def check_halo(halo: int | None, network: Network, warnings: list[str]) -> int:
    """Return the margin, a multiple of what the network needs; warn if it is too small."""
    field = network.receptive_field
    if halo is None:
        return ceil_to(field, network.multiple)
    try:
        wanted = operator.index(halo)
    except TypeError:
        raise TypeError(f"halo is {halo!r:.80}; give an integer number of voxels.") from None
    if wanted < 0:
        raise ValueError(f"halo is {wanted}; give 0 or more.")
    if wanted < field:
        warnings.append(
            f"The halo of {wanted} voxels is smaller than the network's receptive field of {field}. Seams "
            "may show."
        )
    return ceil_to(wanted, network.multiple)


def check_region(region: Any, axes: Axes) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Return the spans of the region along the leading axes, and along (Z, Y, X) or (Y, X)."""
    letters = "ZYX"[-axes.dimension :]
    spans = {name: Span(0, axes.size(name)) for name in (*axes.leading, *letters)}
    if region is not None:
        if isinstance(region, slice) or not isinstance(region, Iterable):
            raise TypeError(f"region is {region!r:.80}; give a tuple with one slice for each axis.")
        slices = tuple(region)
        if len(slices) == len(axes.names):
            named = axes.names
        elif len(slices) == len(axes.spatial):
            named = axes.spatial
        elif len(slices) == len(letters):
            named = letters
        else:
            raise ValueError(
                f"region has {len(slices)} entries; it needs one slice for each spatial axis "
                f"({axes.spatial}) or for "
                f"each axis ({axes.names})."
            )
        for name, part in zip(named, slices, strict=True):
            spans[name] = _check_slice(part, name, axes.size(name))
    return tuple(spans[name] for name in axes.leading), tuple(spans[name] for name in letters)


def _check_slice(part: slice | int, name: str, size: int) -> Span:
    if not isinstance(part, slice):
        number = operator.index(part)
        number += size if number < 0 else 0
        part = slice(number, number + 1)
    start, stop, step = part.indices(size)
    if step != 1 or start >= stop:
        raise ValueError(
            f"The region along {name} is {part}; of {size} voxels it takes none, or it skips some."
        )
    return Span(start, stop)


def check_statistics(statistics: Statistics, choices: RunArguments) -> None:
    """Refuse statistics that were measured with other settings than the run's."""
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
            statistics.group(dict(zip(axes.leading, lead, strict=True)))
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
    tile_shape_given
        True if the user gave a tile shape.
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
    flips: bool = False
    precision: str = "float32"
    preparation: Preparation = NOTHING
    allocate: Callable[[str, tuple[int, ...]], Any] | None = None

    @property
    def letters(self) -> str:
        """Names of the axes of one volume: ``"ZYX"`` or ``"YX"``."""
        return "ZYX"[-self.axes.dimension :]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the result arrays: the region's, with the axes of the input."""
        sizes = {name: span.size for name, span in zip(self.axes.leading, self.lead_spans, strict=True)}
        sizes |= {name: span.size for name, span in zip(self.letters, self.spans, strict=True)}
        return tuple(sizes[name] for name in self.axes.names)

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
            return {name: make(name, self.output_shape) for name in self.outputs}
        except MemoryError as error:
            raise OutOfMemory(f"The results do not fit in memory: {error}") from None

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
        numbers = zip(self.axes.leading, lead, strict=True)
        return ", ".join(f"{name} {number}" for name, number in numbers) or "the image"
