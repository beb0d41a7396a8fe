"""`plan` and `deconvolve`: arrays in, results out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari_lucyd.compute.device import choose_device
from napari_lucyd.deconvolution.arguments import (
    RunArguments,
    check_flips,
    check_halo,
    check_outputs,
    check_precision,
    check_region,
    check_statistics,
    check_tile_shape,
    check_voxel_size,
    voxel_warnings,
)
from napari_lucyd.deconvolution.classical.job import (
    ClassicalJob,
    check_classical_outputs,
    check_whole_volumes,
)
from napari_lucyd.deconvolution.classical.methods import ClassicalMethod
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.job import Job
from napari_lucyd.deconvolution.learned.job import NetworkJob
from napari_lucyd.deconvolution.preprocessing.preparation import check_preparation
from napari_lucyd.deconvolution.result import Progress, Result
from napari_lucyd.deconvolution.statistics.scaling import Statistics, resolve_normalization, separate_axes
from napari_lucyd.deconvolution.tiling.geometry import Geometry
from napari_lucyd.deconvolution.tiling.resampling import choose_resampling
from napari_lucyd.models.normalization import Normalization

# For classical methods: they scale nothing, but constants, NaNs and saturation are found with it.
EXTREMES = Normalization("minmax")

SAME_FLIPPED = (
    "{} gives the mirror image for a mirrored image and PSF, so that the mean over flips is its result: it "
    "is run once."
)

# What is returned of a network unless other parts are asked for: those of these that it has.
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
    outputs: Sequence[str] | None = None,
    progress: Callable[[Progress], object] | None = None,
    isotropic: bool | None = None,
    prefilter: str | float | None = None,
    subtract_background: str | float | None = None,
    flips: bool = False,
    precision: str = "float32",
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
        From `load_model`; or a classical method, `RichardsonLucy` or `Wiener`, with its PSF. That works on
        whole volumes and in the image's own units and voxels, so it takes no ``tile_shape``, ``halo`` and
        ``normalization``, and the PSF has to be sampled on the image's voxels.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    tile_shape
        Voxels kept of each pass of the network, one number for each of (Z,) Y, X, raised to a multiple of
        what it needs (2; CARE 4); by default from the memory that is free. The result does not depend on it.
    halo
        Margin in voxels; by default the network's whole receptive field. With less, seams may show.
    normalization
        ``"model"`` (as it was trained), ``"minmax"``, ``"percentile"``, ``"none"``, or something with
        ``method``, ``low`` and ``high``.
    voxel_size
        (Z, Y, X) steps in any one unit.
    outputs
        Which parts to return, of ``"output"``, ``"correction_mask"``, ``"update_term"``, ``"intermediate"``;
        by default what the network has of the first three: RLN has an output and an intermediate, CARE and
        the classical methods just an output.
    progress
        Called with a `Progress` after each tile, or iteration of a classical method.
    isotropic
        Whether to resample along Z to isotropic voxels for the network, and back. None: where ``voxel_size``
        says that the Z step differs from the lateral one by more than a quarter.
    prefilter
        Smooth the image first: ``"auto"``, as much as brings its noise down to what the method bears well and
        not at all where it is low, or the standard deviation of a Gaussian in voxels of Y and X. Along Z that
        is as long by ``voxel_size``, where it is known.
    subtract_background
        Subtract a smooth background first, and leave it out of the output: the size in voxels of Y and X
        below which what is bright is no background (along Z as for ``prefilter``), from 16 on; or
        ``"auto"``, a quarter of the shorter of Y and X, but not below 64. Voxels may become negative.
    flips
        Average the output over all mirror images, which takes 8 times as long (for planes 4). There is an
        output only then. To classical methods it makes no difference, and they are run once.
    precision
        ``"float32"``, or ``"float16"``: on a CUDA device, compute in half precision what bears it, where the
        model's card says that this is within 0.002 of the range of float32. Where it is not, float32 is
        used, and a warning says why.
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
        prefilter=prefilter,
        subtract_background=subtract_background,
        flips=flips,
        precision=precision,
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
    outputs: Sequence[str] | None = None,
    isotropic: bool | None = None,
    prefilter: str | float | None = None,
    subtract_background: str | float | None = None,
    flips: bool = False,
    precision: str = "float32",
    axes: str | None = None,
    separate: str = "C",
    region: Sequence[slice] | None = None,
    statistics: Statistics | None = None,
    allocate: Callable[[str, tuple[int, ...]], Any] | None = None,
    processes: int = 1,
) -> Job:
    """Check a run and say what it will take, without reading a voxel or running the network.

    Parameters and errors are those of `deconvolve`.

    Parameters
    ----------
    processes
        How many such runs share the machine's memory.

    Returns
    -------
    Job
        With the axes as understood, the device, tiles, memory and warnings; ``steps()`` runs it.
    """
    if not hasattr(model, "dimension"):
        raise TypeError(
            f"model is {model!r}; it has to be what load_model makes of a name or file, RichardsonLucy or "
            "Wiener."
        )
    source = Source(volume, model.dimension, axes)
    named = source.axes
    classical = isinstance(model, ClassicalMethod)
    separate = separate_axes(separate, named.leading)
    steps = check_voxel_size(voxel_size, named)
    lead_spans, spans = check_region(region, named)
    flips, precision = check_flips(flips, outputs), check_precision(precision)
    preparation = check_preparation(prefilter, subtract_background, steps, {} if classical else model.card)
    warnings: list[str] = []
    if classical:
        model.check_shape(named.volume_shape)
        check_whole_volumes(model, tile_shape, halo, normalization, isotropic, precision)
        scaling, geometry = EXTREMES, Geometry(named.volume_shape, halo=0)
        wanted = check_classical_outputs(outputs, model)
        if flips:
            warnings.append(SAME_FLIPPED.format(model.title))
    else:
        scaling = resolve_normalization(normalization, model.normalization)
        network = model.network
        if outputs is None:
            outputs = [name for name in DEFAULT_OUTPUTS if name in network.parts and not flips] or ["output"]
        wanted = check_outputs(outputs, network.parts, f" of {network.title}")
        resampling = choose_resampling(
            steps, isotropic, named.size("Z"), model.dimension == 3 and "Z" in named.names
        )
        geometry = Geometry(
            named.volume_shape, check_halo(halo, network, warnings), resampling, network.multiple
        )
    chosen = choose_device(device)
    if chosen.reason:
        warnings.append(f"{chosen.name} is used: {chosen.reason}.")
    choices = RunArguments(
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
        flips=flips,
        precision=precision,
        preparation=preparation,
        allocate=allocate,
    )
    resampled = geometry.resampling is not None
    if not classical:
        warnings.extend(voxel_warnings(steps, resampled, named))
    if statistics is not None:
        check_statistics(statistics, choices)
        warnings.extend(statistics.warnings)
    if classical:
        return ClassicalJob(source, model, chosen, choices, statistics, warnings)
    tile = None if tile_shape is None else check_tile_shape(tile_shape, spans, resampled, geometry.multiple)
    return NetworkJob(source, model, chosen, choices, tile, statistics, warnings, processes)
