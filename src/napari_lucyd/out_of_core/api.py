"""The public functions `deconvolve_to_zarr` and `plan_to_zarr`: runs into OME-Zarr files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from napari_lucyd import checks
from napari_lucyd.deconvolution import Progress, name_axes, plan
from napari_lucyd.deconvolution.api import chosen_for
from napari_lucyd.deconvolution.arguments import check_outputs
from napari_lucyd.deconvolution.image.source import as_array
from napari_lucyd.deconvolution.named_model import model_for
from napari_lucyd.deconvolution.options import RunOptions, complete, list_options
from napari_lucyd.io import ImageFileError, check_name, read_image, stem
from napari_lucyd.spans import SPATIAL

from .executors import Executor, LocalExecutor
from .job import StoreJob

_DEFAULT_OUTPUTS = ("output",)


@list_options(RunOptions, outputs=_DEFAULT_OUTPUTS)
def plan_to_zarr(
    volume: Any,
    model: Any,
    out: str | os.PathLike[str] | Mapping[str, Path],
    *,
    unit: str | None = None,
    overwrite: bool = False,
    processes: int = 1,
    **options: Unpack[RunOptions],
) -> StoreJob:
    """Plan a run whose results go to OME-Zarr, tile by tile; nothing is computed or written.

    Parameters and errors are those of `deconvolve_to_zarr`.

    Parameters
    ----------
    processes
        Number of processes that share the memory of a machine.
    """
    complete(options)
    for name in ("statistics", "allocate"):
        if name in options:
            raise TypeError(f"{name!r} is not an option of a run into files.")
    overwrite = checks.flag("overwrite", overwrite)
    if unit is not None:
        checks.text("unit", unit, "a unit of length such as 'micrometer', or None")
    axes, voxel_size = options.get("axes"), options.get("voxel_size")
    if isinstance(volume, (str, os.PathLike)):
        image = read_image(volume, lazy=True, axes=axes)
        if options.get("microscope") is not None and voxel_size is None:
            image = image.in_micrometers()
        array, axes = image.data, image.axes
        if voxel_size is None:
            voxel_size, unit = image.voxel_size, image.unit
    else:
        array = volume if hasattr(volume, "shape") and hasattr(volume, "dtype") else as_array(volume)[1]
    choice = chosen_for(array, model, {**options, "axes": axes, "voxel_size": voxel_size})
    if choice is not None:
        model, options = choice.method, choice.options(options)  # type: ignore[assignment]
    model = model_for(model, array, axes)
    outputs = options.get("outputs")
    destinations = _destinations(out, _DEFAULT_OUTPUTS if outputs is None else outputs)
    given = getattr(array, "dims", None)
    named = name_axes(array.shape, array.dtype, model.dimension, axes, given).names
    _check_order(named)
    shared: RunOptions = {
        **options,
        "outputs": tuple(destinations),
        "voxel_size": voxel_size,
        "axes": named,
    }
    job = plan(
        array,
        model if choice is None else choice,
        processes=processes,
        allocate=_allocate_nothing,
        **shared,
    )
    shared["voxel_size"] = _steps_along(named, voxel_size)
    # Each task has its own region, and cuts it into tiles by its own memory.
    shared.pop("region", None)
    shared.pop("tile_shape", None)
    return StoreJob(job, volume, array, model, shared, destinations, unit, overwrite)


def _steps_along(axes: str, voxel_size: Sequence[float] | None) -> tuple[float, ...] | None:
    """Return the steps along the spatial axes of the image, which a model of planes does not all use."""
    if voxel_size is None:
        return None
    letters = [name for name in SPATIAL if name in axes]
    steps = tuple(voxel_size)
    if len(steps) < len(letters):
        raise ValueError(
            f"voxel_size is {checks.shown(voxel_size)}; give {len(letters)} numbers, the steps along "
            f"{', '.join(letters)}."
        )
    return steps[-len(letters) :]


def _allocate_nothing(name: str, shape: tuple[int, ...]) -> Any:
    """Return an array of a shape without memory: the tasks write to the files themselves."""
    return np.broadcast_to(np.float32(np.nan), shape)


@list_options(RunOptions, outputs=_DEFAULT_OUTPUTS)
def deconvolve_to_zarr(
    volume: Any,
    model: Any,
    out: str | os.PathLike[str] | Mapping[str, Path],
    *,
    unit: str | None = None,
    overwrite: bool = False,
    progress: Callable[[Progress], object] | None = None,
    client: Any = None,
    **options: Unpack[RunOptions],
) -> dict[str, Path]:
    """Deconvolve an image of any size into OME-Zarr 0.5, in memory that does not grow with it.

    An unfinished result has ``.partial`` at the end of its name. A stopped run, for whatever reason, is
    resumed by calling the function again with the same image and options. Options that are not described here
    are those of `napari_lucyd.deconvolve`.

    Parameters
    ----------
    volume
        See `napari_lucyd.deconvolve`; its axes must be in the order TCZYX. Or the path of an image file.
    model
        See `napari_lucyd.deconvolve`.
    out
        Folder of the output, ``NAME.ome.zarr``. Other parts are written beside it, as
        ``NAME_correction_mask.ome.zarr`` and so on. Or a mapping from part to folder.
    outputs
        Parts to write; by default the output alone.
    voxel_size
        Steps along (Z, Y, X) or (Y, X); by default those of the file.
    unit
        Unit of length of the voxel size; by default that of the file.
    overwrite
        True to replace existing results, and to discard those that another run left unfinished.
    progress
        Function that receives a `Progress` after each task, which covers one or more chunks.
    client
        A ``dask.distributed.Client`` whose workers run the tasks. They must have access to the image (a path,
        or an array that can be pickled) and to the destination under the same paths.

    Returns
    -------
    dict
        Path of each part.

    Raises
    ------
    TypeError, ValueError
        If the input or an argument is invalid. StoreError, if results exist already, the disk is full, or an
        unfinished run had other settings.
    OutOfMemory, DeconvolutionError
        If the run fails; finished parts are kept.

    Examples
    --------
    >>> import numpy as np, tempfile, napari_lucyd as nl
    >>> image = np.random.default_rng(0).random((8, 16, 16), dtype=np.float32)
    >>> out = tempfile.mkdtemp() + "/restored.ome.zarr"
    >>> paths = nl.deconvolve_to_zarr(image, nl.load_model("general"), out, device="cpu")
    >>> paths["output"].name
    'restored.ome.zarr'
    """
    checks.function("progress", progress)
    workers: Executor = LocalExecutor()
    if client is not None:
        from .executors import DaskExecutor

        workers = DaskExecutor(client)
    job = plan_to_zarr(
        volume, model, out, unit=unit, overwrite=overwrite, processes=workers.processes, **options
    )
    for step in job.steps(workers=workers):
        if progress is not None:
            progress(step)
    return dict(job.destinations)


def _destinations(out: Any, outputs: Any) -> dict[str, Path]:
    if isinstance(out, Mapping):
        paths = {part: checks.path(f"out[{checks.shown(part)}]", path) for part, path in out.items()}
        if paths:
            check_outputs(tuple(paths))
    else:
        path = checks.path("out", out)
        name, ending = stem(path), path.name[len(stem(path)) :]
        paths = {
            part: path if part == "output" else path.with_name(f"{name}_{part}{ending}")
            for part in check_outputs(outputs)
        }
    for path in paths.values():
        check_name(path)
    # A link stays a link: its target is replaced on its own disk.
    paths = {part: path.resolve() if path.is_symlink() else path for part, path in paths.items()}
    for path in paths.values():
        if not path.name.lower().endswith(".zarr"):
            raise ImageFileError(f"{path}: give a name that ends in .ome.zarr or .zarr")
    if not paths:
        raise ValueError("out is empty; give a path for at least one part, such as 'output'.")
    return paths


def _check_order(axes: str) -> None:
    order = ["TCZYX".find(name) for name in axes]
    if -1 in order or order != sorted(order):
        raise ImageFileError(
            f"The image's axes are {axes}. OME-Zarr needs the order TCZYX; transpose the image first."
        )
