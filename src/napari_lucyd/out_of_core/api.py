"""Runs into OME-Zarr, by one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

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
    """Plan a run whose results go to OME-Zarr, tile by tile; nothing is computed or written.

    Parameters and errors are those of `deconvolve_to_zarr`.

    Parameters
    ----------
    processes
        How many will share the memory of a machine.
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
        allocate=lambda name, shape: None,
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
    """Deconvolve an image of any size into OME-Zarr 0.5, in memory that does not grow with it.

    Until it is finished a result bears its name with ``.partial`` at the end. A run that was stopped, in
    whatever way, goes on from there when it is called again with the same image and options.

    Parameters
    ----------
    volume
        As for `napari_lucyd.deconvolve`, its axes in the order TCZYX; or the path of an image file.
    model
        As for `napari_lucyd.deconvolve`.
    out
        The folder of the output, ``NAME.ome.zarr``; other parts are written beside it, as
        ``NAME_correction_mask.ome.zarr`` and so on. Or a path for each part.
    outputs
        Which parts to write.
    voxel_size, unit
        (Z, Y, X) or (Y, X) steps, and their unit of length; by default what the file says.
    region, tile_shape, axes
        As for `napari_lucyd.deconvolve`.
    overwrite
        Replace results that exist, and begin anew what another run has left unfinished.
    progress
        Called with a `Progress` after each task, of one or more whole chunks.
    client
        A ``dask.distributed.Client`` whose workers do the tasks. They have to see the image (a path, or an
        array that can be pickled) and the destination under the same names.
    **options
        Of `napari_lucyd.deconvolve`: device, halo, normalization, isotropic, prefilter, subtract_background,
        flips, precision, separate.

    Returns
    -------
    dict
        The path of each part.

    Raises
    ------
    TypeError, ValueError
        If the input or a choice cannot be used; among them StoreError, where results are in the way, the
        disk is full or an unfinished run was another one.
    OutOfMemory, DeconvolutionError
        If the run fails; what is finished is kept.

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
    # What a link points to is replaced where it lies, on the disk that was chosen for it.
    paths = {part: path.resolve() if path.is_symlink() else path for part, path in paths.items()}
    for path in paths.values():
        if not path.name.lower().endswith(".zarr"):
            raise ImageFileError(f"{path}: expected a name that ends in .ome.zarr or .zarr")
    if not paths:
        raise ValueError("No part is to be written; name at least one, for instance outputs=('output',).")
    return paths


def _check_order(axes: str) -> None:
    order = ["TCZYX".find(name) for name in axes]
    if -1 in order or order != sorted(order):
        raise ImageFileError(
            f"The image's axes are {axes}; OME-Zarr has some of TCZYX, in this order: transpose it."
        )
