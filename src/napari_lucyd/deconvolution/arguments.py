"""The arguments of a run, checked one by one; errors say what came, what was expected and what to do."""

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
    """The tile shape that fits a wish: multiples where the network wants them, no larger than the region."""
    try:
        sizes = tuple(operator.index(size) for size in tile_shape)
    except TypeError:
        raise TypeError(f"tile_shape is {tile_shape!r}; whole numbers are needed, one an axis.") from None
    if len(sizes) == 2 and len(spans) == 3 and spans[0].size == 1:
        sizes = (1, *sizes)
    fitted = fit_tile_shape(sizes, [span.size for span in spans], multiple)
    # Resampled planes need not be multiples: what counts are those of the network's grid.
    return (min(int(sizes[0]), spans[0].size), *fitted[1:]) if resampled else fitted


def check_outputs(outputs: Sequence[str], parts: Sequence[str] = OUTPUTS, of: str = "") -> tuple[str, ...]:
    """The parts wanted, in the order in which they are listed.

    Parameters
    ----------
    outputs
        As the user gave them.
    parts
        What there is.
    of
        Whose they are, for the error: ``" of RLN"``.
    """
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    if not names or any(name not in parts for name in names):
        raise ValueError(
            f"outputs{of} is {outputs!r}; it can hold {', '.join(map(repr, parts))}, at least one of them."
        )
    return tuple(name for name in OUTPUTS if name in names)


def check_flips(flips: Any, outputs: Sequence[str] | None) -> bool:
    """Whether the output is a mean over mirror images; an error where other parts are asked for with it."""
    if not isinstance(flips, bool | np.bool_):
        raise TypeError(f"flips is {flips!r}; it can be True or False.")
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs or ("output",))
    others = [name for name in names if name != "output"]
    if flips and others:
        raise ValueError(
            f"With flips there is an output only, for it is a mean of which {', '.join(others)} are no part. "
            "Leave that out of outputs, or do without flips."
        )
    return bool(flips)


def check_precision(precision: Any) -> str:
    """The type that a network is computed in, if it can be."""
    if precision not in ("float32", "float16"):
        raise ValueError(f"precision is {precision!r}; it can be 'float32' or 'float16'.")
    return str(precision)


def check_voxel_size(voxel_size: Sequence[float] | None, axes: Axes) -> tuple[float, ...] | None:
    """The steps along the axes that the model takes at once."""
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
        return (steps[0], *steps)  # the step along an axis of one plane plays no part
    if len(steps) < count:
        raise ValueError(
            f"voxel_size is {steps}; {count} steps are needed, one for each of {', '.join('ZYX'[-count:])}."
        )
    return steps[-count:]


def check_halo(halo: int | None, network: Network, warnings: list[str]) -> int:
    """The margin in voxels, a multiple of what the network needs; a warning where it is too small."""
    field = network.receptive_field
    if halo is None:
        return ceil_to(field, network.multiple)
    try:
        wanted = operator.index(halo)
    except TypeError:
        raise TypeError(f"halo is {halo!r}; a whole number of voxels is needed.") from None
    if wanted < 0:
        raise ValueError(f"halo is {wanted}; it cannot be negative.")
    if wanted < field:
        warnings.append(
            f"A halo of {wanted} voxels is smaller than the network's receptive field of {field}: seams and "
            "frames may "
            "show."
        )
    return ceil_to(wanted, network.multiple)


def check_region(region: Any, axes: Axes) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The spans along the leading axes and along (Z, Y, X) or (Y, X)."""
    letters = "ZYX"[-axes.dimension :]
    spans = {name: Span(0, axes.size(name)) for name in (*axes.leading, *letters)}
    if region is not None:
        if isinstance(region, slice) or not isinstance(region, Iterable):
            raise TypeError(f"region is {region!r}; slices are needed, one an axis, in a tuple.")
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
    """Refuse statistics that were taken otherwise than the run asks for."""
    if statistics.normalization != choices.normalization:
        raise ValueError(
            f"The statistics were taken for {statistics.normalization}, but this run asks for "
            f"{choices.normalization}; measure again."
        )
    if statistics.prepared.wish != choices.preparation:
        raise ValueError(
            f"The statistics were taken for {statistics.prepared.wish}, but this run asks for "
            f"{choices.preparation}; measure again."
        )
    axes = choices.axes
    for lead in product(*(range(*span) for span in choices.lead_spans)):
        try:
            statistics.group(dict(zip(axes.leading, lead, strict=True)))
        except KeyError:
            raise ValueError(
                f"The statistics hold one set of numbers for each index along {statistics.separate!r}, but "
                f"not for the volume {lead} along {axes.leading!r}; pass the whole input, and what is wanted "
                "of it as region with a slice for each axis."
            ) from None
    if statistics.separate != choices.separate:
        raise ValueError(
            f"The statistics were taken with separate={statistics.separate!r}, but this run asks for "
            f"{choices.separate!r}; measure again."
        )


def voxel_warnings(steps: tuple[float, ...] | None, resampled: bool, axes: Axes) -> list[str]:
    """Say where the voxels are not such as the models are trained on."""
    if steps is None:
        return []
    found = []
    y, x = steps[-2:]
    if not 1 / TOLERANCE <= y / x <= TOLERANCE:
        found.append(f"The steps along Y ({y:g}) and X ({x:g}) differ; the models are trained on equal ones.")
    if len(steps) == 3 and axes.size("Z") > 1 and not resampled:
        factor = steps[0] / (y * x) ** 0.5
        if not 1 / TOLERANCE <= factor <= TOLERANCE:
            found.append(
                f"The Z step is {factor:.3g} times the lateral one and resampling is off; the models are "
                "trained on isotropic voxels."
            )
    return found


@dataclass(frozen=True)
class RunArguments:
    """The arguments of a run after they were checked.

    Attributes
    ----------
    axes
        Of the input.
    geometry
        How tiles become blocks.
    outputs
        Names of the parts wanted.
    normalization, separate
        How intensities are scaled, and along which leading axes by themselves.
    voxel_size
        (Z, Y, X) or (Y, X), or None.
    lead_spans, spans
        The region along the leading axes, and along (Z, Y, X) or (Y, X).
    region_given
        Whether it was asked for, or is everything.
    tile_shape_given
        Whether it was asked for, or chosen.
    flips
        Whether the output is the mean over all mirror images.
    precision
        ``"float32"``, or ``"float16"`` where that does no harm.
    preparation
        What is done to the image before the method.
    allocate
        Makes the arrays that results are written into; None for numpy arrays.
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
        """Of the result arrays: the region's, with the axes of the input."""
        sizes = {name: span.size for name, span in zip(self.axes.leading, self.lead_spans, strict=True)}
        sizes |= {name: span.size for name, span in zip(self.letters, self.spans, strict=True)}
        return tuple(sizes[name] for name in self.axes.names)

    @property
    def result_bytes(self) -> int:
        """What the results take in memory."""
        return 0 if self.allocate else 4 * math.prod(self.output_shape) * len(self.outputs)

    @property
    def volumes(self) -> int:
        """How many volumes are deconvolved."""
        return math.prod(span.size for span in self.lead_spans)

    def make_arrays(self) -> dict[str, Any]:
        """What the results are written into, one array a part; numpy's hold whatever was in memory."""
        make = self.allocate or (lambda _, shape: np.empty(shape, dtype=np.float32))
        try:
            return {name: make(name, self.output_shape) for name in self.outputs}
        except MemoryError as error:
            raise OutOfMemory(f"The results do not fit into memory: {error}") from None

    def where(self, lead: tuple[int, ...], tile: Tile) -> tuple[slice, ...]:
        """Where a tile of a volume lies in the result arrays."""
        at = {}
        for name, number, span in zip(self.axes.leading, lead, self.lead_spans, strict=True):
            at[name] = slice(number - span.start, number - span.start + 1)
        for name, kept, span in zip(self.letters, tile.spans, self.spans, strict=True):
            at[name] = slice(kept.start - span.start, kept.stop - span.start)
        return tuple(at[name] for name in self.axes.names)

    def label(self, lead: tuple[int, ...]) -> str:
        """A volume in words: ``"T 3, C 0"``."""
        numbers = zip(self.axes.leading, lead, strict=True)
        return ", ".join(f"{name} {number}" for name, number in numbers) or "the image"
