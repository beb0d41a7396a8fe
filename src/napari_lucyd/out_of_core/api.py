"""Runs into OME-Zarr by one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_lucyd.deconvolution import Progress, name_axes, plan
from napari_lucyd.io import ImageFileError, read_image, stem

from .executors import Executor, LocalExecutor
from .job import StoreJob


def plan_to_zarr(
    volume: Any,
    model: Any,
    out: str | os.PathLike[str] | Mapping[str, Path],
    *,
    outputs: Sequence[str] = ("output",),
    axes: str | None = None,
    voxel_size: Sequence[float] | None = None,
    unit: str | None = None,
    region: Sequence[slice] | None = None,
    tile_shape: Sequence[int] | None = None,
    overwrite: bool = False,
    processes: int = 1,
    **options: Any,
) -> StoreJob:
    """Plan a run whose results go to OME-Zarr; nothing is computed or written yet.

    Parameters and errors are those of `deconvolve_to_zarr`.

    Parameters
    ----------
    processes
        Number of processes that share the memory of one machine.
    """
    if isinstance(volume, (str, os.PathLike)):
        image = read_image(volume, lazy=True)
        array, axes = image.data, axes or image.axes
        if voxel_size is None:
            voxel_size, unit = image.voxel_size, image.unit
    else:
        array = volume
    destinations = _destinations(out, outputs)
    shared = {**options, "outputs": tuple(destinations), "voxel_size": voxel_size}
    named = name_axes(array.shape, array.dtype, model.dimension, axes, getattr(array, "dims", None)).names
    _check_order(named)
    job = plan(
        array,
        model,
        axes=named,
        region=region,
        tile_shape=tile_shape,
        processes=processes,
        allocate=lambda name, shape: np.broadcast_to(np.float32(0), shape),
        **shared,
    )
    return StoreJob(
        job, volume, array, model, {**shared, "axes": named}, destinations, unit, region, overwrite
    )


def deconvolve_to_zarr(
    volume: Any,
    model: Any,
    out: str | os.PathLike[str] | Mapping[str, Path],
    *,
    outputs: Sequence[str] = ("output",),
    axes: str | None = None,
    voxel_size: Sequence[float] | None = None,
    unit: str | None = None,
    region: Sequence[slice] | None = None,
    tile_shape: Sequence[int] | None = None,
    overwrite: bool = False,
    progress: Callable[[Progress], object] | None = None,
    client: Any = None,
    **options: Any,
) -> dict[str, Path]:
    """Deconvolve an image of any size into OME-Zarr 0.5, in memory that does not grow with the image.

    An unfinished result has ``.partial`` at the end of its name. A run that was stopped in any way is resumed
    by calling this function again with the same image and options.

    Parameters
    ----------
    volume
        An image as for `napari_lucyd.deconvolve`, with axes in the order TCZYX; or the path of an image file.
    model
        A model or method, as for `napari_lucyd.deconvolve`.
    out
        The folder of the output, ``NAME.ome.zarr``; other parts are written beside it as
        ``NAME_correction_mask.ome.zarr`` and so on. Or a path for each part.
    outputs
        Parts to write.
    voxel_size, unit
        Voxel size (Z, Y, X) or (Y, X) and its unit of length; by default those of the file.
    region, tile_shape, axes
        See `napari_lucyd.deconvolve`.
    overwrite
        Replace existing results, and unfinished results of runs with other settings.
    progress
        Called with a `Progress` after each task, of one or more whole chunks.
    client
        A ``dask.distributed.Client`` whose workers do the tasks. The image (a path, or an array that can be
        pickled) and the destination must have the same names for all of them.
    **options
        Options of `napari_lucyd.deconvolve`: device, halo, normalization, isotropic, prefilter,
        subtract_background, flips, precision, separate.

    Returns
    -------
    dict
        The path of each part.

    Raises
    ------
    TypeError, ValueError
        If the input or an option cannot be used; among them StoreError, if a destination is taken, the disk
        is full, or an unfinished run had other settings.
    OutOfMemory, DeconvolutionError
        If the run fails; finished tasks are kept.

    Examples
    --------
    >>> import numpy as np, tempfile, napari_lucyd as nl
    >>> image = np.random.default_rng(0).random((8, 16, 16), dtype=np.float32)
    >>> out = tempfile.mkdtemp() + "/restored.ome.zarr"
    >>> paths = nl.deconvolve_to_zarr(image, nl.load_model("general"), out, device="cpu")
    >>> paths["output"].name
    'restored.ome.zarr'
    """
    workers: Executor = LocalExecutor()
    if client is not None:
        from .executors import DaskExecutor

        workers = DaskExecutor(client)
    job = plan_to_zarr(
        volume,
        model,
        out,
        outputs=outputs,
        axes=axes,
        voxel_size=voxel_size,
        unit=unit,
        region=region,
        tile_shape=tile_shape,
        overwrite=overwrite,
        processes=workers.processes,
        **options,
    )
    for step in job.steps(workers=workers):
        if progress is not None:
            progress(step)
    return dict(job.destinations)


def _destinations(out: Any, outputs: Sequence[str]) -> dict[str, Path]:
    if isinstance(out, Mapping):
        paths = {str(part): Path(path) for part, path in out.items()}
    else:
        path = Path(out)
        name, ending = stem(path), path.name[len(stem(path)) :]
        paths = {
            part: path if part == "output" else path.with_name(f"{name}_{part}{ending}") for part in outputs
        }
    # A result that a link points to is replaced where it lies, on the disk that the user chose for it.
    paths = {part: path.resolve() if path.is_symlink() else path for part, path in paths.items()}
    for path in paths.values():
        if not path.name.lower().endswith(".zarr"):
            raise ImageFileError(f"{path}: expected a name that ends in .ome.zarr or .zarr")
    if not paths:
        raise ValueError("There is no part to write; name at least one, for example outputs=('output',).")
    return paths


def _check_order(axes: str) -> None:
    order = ["TCZYX".find(name) for name in axes]
    if -1 in order or order != sorted(order):
        raise ImageFileError(
            f"The axes of the image are {axes}; OME-Zarr needs the order TCZYX. Transpose the image."
        )
