"""The arguments of a run, checked one by one; errors say what came, what was expected and what to do."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np

from napari_lucyd.deconvolution.axes import Axes
from napari_lucyd.deconvolution.blocks import OUTPUTS
from napari_lucyd.deconvolution.choices import Choices
from napari_lucyd.deconvolution.methods import ClassicalMethod
from napari_lucyd.deconvolution.normalization import Statistics
from napari_lucyd.deconvolution.resampling import TOLERANCE
from napari_lucyd.deconvolution.tiling import Span, ceil_to, fit_tile_shape
from napari_lucyd.networks.network import Network


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


def check_classical_outputs(outputs: Sequence[str] | None, method: ClassicalMethod) -> tuple[str, ...]:
    """The one part that a classical method has; an error where others are asked for."""
    names = ("output",) if outputs is None else check_outputs(outputs)
    others = [name for name in names if name != "output"]
    if others:
        raise ValueError(
            f"{method.title} gives an output only; {', '.join(others)} can be had from a network alone. "
            "Leave that out of outputs."
        )
    return names


def check_precision(precision: Any) -> str:
    """The type that a network is computed in, if it can be."""
    if precision not in ("float32", "float16"):
        raise ValueError(f"precision is {precision!r}; it can be 'float32' or 'float16'.")
    return str(precision)


def check_whole_volumes(
    method: ClassicalMethod,
    tile_shape: Any,
    halo: Any,
    normalization: Any,
    isotropic: bool | None,
    precision: str,
) -> None:
    """Refuse what only networks take, rather than let it seem to have an effect."""
    reasons = {
        "tile_shape": "it works on whole volumes" if tile_shape is not None else "",
        "halo": "it works on whole volumes" if halo is not None else "",
        "normalization": "" if normalization in ("model", "none") else "it works in the image's own units",
        "isotropic": "it works on the image's own voxels, and the psf has to be sampled on those"
        if isotropic
        else "",
        "precision": "" if precision == "float32" else "it is computed in float32",
    }
    for name, reason in reasons.items():
        if reason:
            raise ValueError(f"{method.title} takes no {name}: {reason}. Leave it out.")


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


def check_statistics(statistics: Statistics, choices: Choices) -> None:
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
