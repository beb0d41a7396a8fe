"""One task: a region of the image, deconvolved and written, in this process or on a cluster."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from napari_lucyd.deconvolution import Result, Statistics, plan
from napari_lucyd.deconvolution.findings import NEGATIVE_VOXELS, ONLY_ZEROS, kind_of
from napari_lucyd.deconvolution.image.scan import Accumulator, Part, count_parts
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.preprocessing.preparation import Prepared
from napari_lucyd.io import read_image
from napari_lucyd.io.zarr import open_zarr

from .chunk_files import flush
from .regions import Region, shifted

T = TypeVar("T", bound=Accumulator)


@dataclass(frozen=True)
class TaskContext:
    """The settings that all tasks of a run share; they can be sent to another process.

    Attributes
    ----------
    volume
        The image: an array, or the path of its file, which must be the same for every worker.
    model
        A model or a classical method.
    options
        Keywords of `napari_lucyd.deconvolution.plan`, without the region and the statistics.
    folders
        The folder of each part.
    origin
        First voxel of the results in the image, along all axes.
    token
        Name of the run: a worker opens the file again for each run, since it may have changed.
    """

    volume: Any
    model: Any
    options: Mapping[str, Any]
    folders: Mapping[str, Path]
    origin: tuple[int, ...]
    token: str = ""

    def array(self) -> Any:
        """Return the image, to be read part by part."""
        if isinstance(self.volume, (str, os.PathLike)):
            return _opened(os.fspath(self.volume), self.options.get("axes"), self.token)
        return self.volume

    def source(self) -> Source:
        """Return the image with its axes."""
        return Source(self.array(), self.model.dimension, self.options.get("axes"))


@lru_cache(maxsize=4)
def _opened(path: str, axes: str | None, token: str) -> Any:
    return read_image(path, lazy=True, axes=axes).data


@dataclass(frozen=True)
class TaskResult:
    """Findings of a finished task.

    Attributes
    ----------
    task
        The number of the task.
    deviation
        See `napari_lucyd.deconvolution.recipe.write_recipe`; None for methods without one.
    bright
        True if any voxel of the output is above the lowest possible value, or there is no output.
    warnings
        Warnings in words.
    iterations
        Iterations of a classical method for each volume.
    negative_voxels
        Number of negative voxels that Richardson-Lucy set to 0.
    found
        Numbers that a classical method found in each volume, for the recipe.
    """

    task: int
    deviation: float | None = None
    bright: bool = True
    warnings: tuple[str, ...] = ()
    iterations: tuple[int, ...] = ()
    negative_voxels: int = 0
    found: tuple[dict[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the findings as the journal keeps them."""
        found = asdict(self)
        del found["task"]
        return found

    @classmethod
    def readable(cls, found: Mapping[str, Any]) -> bool:
        """Tell if findings from a journal can be used."""
        known = {entry.name: found[entry.name] for entry in fields(cls) if entry.name in found}
        iterations, texts = known.get("iterations", ()), known.get("warnings", ())
        records = known.get("found", ())
        if len(known) != len(found) or not all(
            isinstance(part, (list, tuple)) for part in (iterations, texts, records)
        ):
            return False
        deviation = known.get("deviation")
        numbers = (0.0 if deviation is None else deviation, known.get("negative_voxels", 0), *iterations)
        return all(isinstance(number, (int, float)) for number in numbers)


def compute(
    setting: TaskContext,
    statistics: Statistics,
    task: int,
    region: Region,
    should_stop: Callable[[], bool] | None = None,
) -> TaskResult:
    """Deconvolve a region and write it to the store; see `compute_steps`."""
    work = compute_steps(setting, statistics, task, region, should_stop)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return cast("TaskResult", end.value)


def compute_steps(
    setting: TaskContext,
    statistics: Statistics,
    task: int,
    region: Region,
    should_stop: Callable[[], bool] | None = None,
) -> Generator[float, None, TaskResult]:
    """Deconvolve a region step by step and write it to the store.

    Parameters
    ----------
    setting, statistics
        Settings and statistics of the run.
    task
        The number of the region.
    region
        Region of the results along all axes; whole chunks or shards.
    should_stop
        See `napari_lucyd.deconvolution.Job.steps`.

    Yields
    ------
    float
        Share of the region that is done.

    Raises
    ------
    OSError
        If the disk is full or cannot be written.
    Cancelled, DeconvolutionError, OutOfMemory
        See `napari_lucyd.deconvolution.deconvolve`.
    """
    with own_threads():
        job = plan(
            setting.array(),
            setting.model,
            region=shifted(region, setting.origin),
            statistics=statistics,
            **setting.options,
        )
        steps = job.steps(should_stop)
    while True:
        # Not around a yield, because the caller of the next step has threads of its own.
        with own_threads():
            step = next(steps, None)
        if step is None:
            break
        yield step.done / step.total
    result = job.result()
    for part, folder in setting.folders.items():
        open_zarr(folder)[region] = getattr(result, part)
        flush(folder, region)
    method = result.recipe.get("method", {})
    return TaskResult(
        task,
        result.recipe.get("identity_deviation"),
        _bright(result, setting, statistics, region),
        # The other kinds are reported for all tasks together.
        tuple(str(text) for text in result.warnings if kind_of(text) not in (ONLY_ZEROS, NEGATIVE_VOXELS)),
        tuple(method.get("iterations", ())),
        method.get("negative_voxels", 0),
        () if statistics.numbers else _found_in_volumes(method),
    )


def _found_in_volumes(method: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return the entries of a recipe that a classical method found, volume by volume."""
    names = ("background_found", "sigma_found", "width_found", "held_out", "blurs_tried")
    lists = {name: method[name] for name in names if name in method}
    count = max((len(values) for values in lists.values()), default=0)
    return tuple({name: values[number] for name, values in lists.items()} for number in range(count))


def _bright(result: Result, setting: TaskContext, statistics: Statistics, region: Region) -> bool:
    if result.output is None:
        return True
    axes = setting.source().axes
    starts = {
        name: part.start + first
        for name, part, first in zip(axes.names, region, setting.origin, strict=True)
        if name in axes.leading
    }
    lowest = statistics.group(starts).lo
    return bool((result.output > np.float32(lowest)).any())


def count(
    setting: TaskContext,
    prepared: Prepared,
    tally: T,
    parts: Sequence[Part],
) -> T:
    """Count parts of the image, for the statistics or a background.

    Parameters
    ----------
    setting
        Settings of the run.
    prepared
        Preparation of the image before it is counted.
    tally
        An empty accumulator; see `Accumulator.fresh`.
    parts
        Parts of the image, each once.
    """
    with own_threads():
        count_parts(prepared.applied(setting.source()), tally, parts)
    return tally


def own_threads() -> Any:
    """Return a context in which this process reads dask arrays, not the cluster that it may belong to."""
    import dask

    return dask.config.set(scheduler="threads")


def voxels(region: Region) -> int:
    """Return the number of voxels in a region."""
    return math.prod(part.stop - part.start for part in region)
