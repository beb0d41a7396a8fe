"""`plan` and `deconvolve`: arrays in, results out."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

from napari_lucyd.deconvolution.axes import Axes
from napari_lucyd.deconvolution.blocks import OUTPUTS, Geometry
from napari_lucyd.deconvolution.choices import Choices
from napari_lucyd.deconvolution.device import choose_device
from napari_lucyd.deconvolution.job import Job
from napari_lucyd.deconvolution.normalization import Statistics, resolve_normalization, separate_axes
from napari_lucyd.deconvolution.resampling import TOLERANCE, choose_resampling
from napari_lucyd.deconvolution.result import Progress, Result
from napari_lucyd.deconvolution.source import Source
from napari_lucyd.deconvolution.tiling import Span, even_ceil, fit_tile_shape

DEFAULT_OUTPUTS = ("output", "correction_mask", "update_term")


def deconvolve(
    volume: Any,
    model: Any,
    *,
    device: Any = "auto",
    tile_shape: Sequence[int] | None = None,
    halo: int | None = None,
    normalization: Any = "model",
    voxel_size: Sequence[float] | None = None,
    outputs: Sequence[str] = DEFAULT_OUTPUTS,
    progress: Callable[[Progress], object] | None = None,
    isotropic: bool | None = None,
    axes: str | None = None,
    separate: str = "C",
    region: Sequence[slice] | None = None,
    statistics: Statistics | None = None,
    allocate: Callable[[str, tuple[int, ...]], Any] | None = None,
) -> Result:
    """Deconvolve an image.

    Parameters
    ----------
    volume
        (…, Z, Y, X), or (…, Y, X) for a 2D model: numpy, dask, zarr or xarray, any real dtype, in any units.
        It is read tile by tile. Leading axes (T, C) are gone through one volume after another.
    model
        From `load_model`.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    tile_shape
        Voxels kept of each pass of the network, one number for each of (Z,) Y, X, made even; by default from
        the memory that is free. The result does not depend on it.
    halo
        Margin in voxels; by default the network's whole receptive field. With less, seams may show.
    normalization
        ``"model"`` (as it was trained), ``"minmax"``, ``"percentile"``, ``"none"``, or something with
        ``method``, ``low`` and ``high``.
    voxel_size
        (Z, Y, X) steps in any one unit.
    outputs
        Which parts to return, of ``"output"``, ``"correction_mask"``, ``"update_term"``, ``"intermediate"``.
    progress
        Called with a `Progress` after each tile.
    isotropic
        Whether to resample along Z to isotropic voxels for the network, and back. None: where ``voxel_size``
        says that the Z step differs from the lateral one by more than a quarter.
    axes
        One letter an axis, e.g. ``"TCZYX"``; by default from the array's own names, or its shape.
    separate
        Leading axes whose indices are each normalised by themselves.
    region
        Slices along the spatial axes, or along all axes: only this part is computed, just as in a run of the
        whole.
    statistics
        From ``Job.measure()`` of a job on the same input, so that it is not read again.
    allocate
        Called with the name of a part and its shape; returns what the part is written into, tile by tile (a
        memory map, a zarr array of float32). By default numpy arrays, which hold all results in memory.

    Returns
    -------
    Result
        float32 arrays of the input's shape, or the region's, and the recipe.

    Raises
    ------
    TypeError, ValueError
        If the input or a choice cannot be used; the message says what to do.
    OutOfMemory, DeconvolutionError
        If the run fails.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> image = np.random.default_rng(0).random((8, 16, 16), dtype=np.float32)
    >>> result = nl.deconvolve(image, nl.load_model("general"), device="cpu")
    >>> result.output.shape, result.output.dtype
    ((8, 16, 16), dtype('float32'))
    """
    job = plan(
        volume,
        model,
        device=device,
        tile_shape=tile_shape,
        halo=halo,
        normalization=normalization,
        voxel_size=voxel_size,
        outputs=outputs,
        isotropic=isotropic,
        axes=axes,
        separate=separate,
        region=region,
        statistics=statistics,
        allocate=allocate,
    )
    for step in job.steps():
        if progress is not None:
            progress(step)
    return job.result()


def plan(
    volume: Any,
    model: Any,
    *,
    device: Any = "auto",
    tile_shape: Sequence[int] | None = None,
    halo: int | None = None,
    normalization: Any = "model",
    voxel_size: Sequence[float] | None = None,
    outputs: Sequence[str] = DEFAULT_OUTPUTS,
    isotropic: bool | None = None,
    axes: str | None = None,
    separate: str = "C",
    region: Sequence[slice] | None = None,
    statistics: Statistics | None = None,
    allocate: Callable[[str, tuple[int, ...]], Any] | None = None,
) -> Job:
    """Check a run and say what it will take, without reading a voxel or running the network.

    Parameters and errors are those of `deconvolve`.

    Returns
    -------
    Job
        With the axes as understood, the device, tiles, memory and warnings; ``steps()`` runs it.
    """
    source = Source(volume, model.dimension, axes)
    named = source.axes
    scaling = resolve_normalization(normalization, model.normalization)
    separate = separate_axes(separate, named.leading)
    wanted = _check_outputs(outputs)
    steps = _check_voxel_size(voxel_size, named)
    lead_spans, spans = _check_region(region, named)
    warnings: list[str] = []
    resampling = choose_resampling(
        steps, isotropic, named.size("Z"), model.dimension == 3 and "Z" in named.names
    )
    geometry = Geometry(named.volume_shape, _check_halo(halo, model, warnings), resampling)
    chosen = choose_device(device)
    if chosen.reason:
        warnings.append(f"{chosen.name} is used: {chosen.reason}.")
    warnings.extend(_voxel_warnings(steps, resampling is not None, named))
    choices = Choices(
        axes=named,
        geometry=geometry,
        outputs=wanted,
        normalization=scaling,
        separate=separate,
        voxel_size=steps,
        lead_spans=lead_spans,
        spans=spans,
        region_given=region is not None,
        tile_shape_given=tile_shape is not None,
        allocate=allocate,
    )
    if statistics is not None:
        _check_statistics(statistics, choices)
        warnings.extend(statistics.warnings)
    tile = None if tile_shape is None else _check_tile_shape(tile_shape, spans, resampling is not None)
    return Job(source, model, chosen, choices, tile, statistics, warnings)


def _check_tile_shape(tile_shape: Sequence[int], spans: Sequence[Span], resampled: bool) -> tuple[int, ...]:
    sizes = tuple(tile_shape)
    if len(sizes) == 2 and len(spans) == 3 and spans[0].size == 1:
        sizes = (1, *sizes)
    fitted = fit_tile_shape(sizes, [span.size for span in spans])
    # Resampled planes need not be even: the parity that counts is that of the network's grid.
    return (min(int(sizes[0]), spans[0].size), *fitted[1:]) if resampled else fitted


def _check_outputs(outputs: Sequence[str]) -> tuple[str, ...]:
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    unknown = [name for name in names if name not in OUTPUTS]
    if unknown or not names:
        raise ValueError(
            f"outputs is {outputs!r}; it can hold {', '.join(map(repr, OUTPUTS))}, at least one of them."
        )
    return tuple(name for name in OUTPUTS if name in names)


def _check_voxel_size(voxel_size: Sequence[float] | None, axes: Axes) -> tuple[float, ...] | None:
    if voxel_size is None:
        return None
    steps = tuple(float(step) for step in voxel_size)
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


def _check_halo(halo: int | None, model: Any, warnings: list[str]) -> int:
    field = int(model.network.receptive_field)
    if halo is None:
        return field
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
    return even_ceil(wanted)


def _check_region(region: Sequence[slice] | None, axes: Axes) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The spans along the leading axes and along (Z, Y, X) or (Y, X)."""
    letters = "ZYX"[-axes.dimension :]
    spans = {name: Span(0, axes.size(name)) for name in (*axes.leading, *letters)}
    if region is not None:
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


def _check_statistics(statistics: Statistics, choices: Choices) -> None:
    if statistics.normalization != choices.normalization:
        raise ValueError(
            f"The statistics were taken for {statistics.normalization}, but this run asks for "
            f"{choices.normalization}; measure "
            "again."
        )
    axes = choices.axes
    for lead in product(*(range(*span) for span in choices.lead_spans)):
        try:
            statistics.group(dict(zip(axes.leading, lead, strict=True)))
        except KeyError:
            raise ValueError(
                f"The statistics hold one set of numbers for each index along {statistics.separate!r}, but "
                "not for the "
                f"volume {lead} along {axes.leading!r}; pass the whole input, and what is wanted of it as "
                "region with "
                "a slice for each axis."
            ) from None


def _voxel_warnings(steps: tuple[float, ...] | None, resampled: bool, axes: Axes) -> list[str]:
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
                "trained on "
                "isotropic voxels."
            )
    return found
