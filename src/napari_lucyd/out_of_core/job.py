"""A run into OME-Zarr: planned, begun or gone on with, finished."""

from __future__ import annotations

import errno
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_lucyd.deconvolution import Job, Progress, Statistics
from napari_lucyd.deconvolution.findings import negative_voxels_text
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.errors import StoreError
from napari_lucyd.io import canonical_unit, contains, stem
from napari_lucyd.io.zarr import create_zarr, finish_zarr, writing_unit
from napari_lucyd.io.zarr_reader import holds_one_image
from napari_lucyd.text import bytes_text

from .executors import Executor, LocalExecutor
from .fingerprint import differences, identity, statistics_as_json, statistics_from_json
from .journal import Journal, is_bare, partial_path, remove
from .regions import Region, regions, task_shape
from .task import TaskContext, TaskResult, own_threads, voxels

# What all resolutions take over the highest: a third more where Y and X are halved, less where Z is as well.
_PYRAMID = 4 / 3


class StoreJob:
    """A planned run into OME-Zarr; made by `plan_to_zarr`.

    Attributes
    ----------
    job : Job
        What is done, as the engine sees it: axes, device, warnings; its arrays are not used.
    destinations : dict
        Of each part, where it will be.
    resumed : int
        Tasks that were found finished.
    """

    def __init__(
        self,
        job: Job,
        volume: Any,
        array: Any,
        model: Any,
        options: Mapping[str, Any],
        destinations: Mapping[str, Path],
        unit: str | None,
        region: Sequence[slice] | None,
        overwrite: bool,
    ) -> None:
        self.job = job
        self.destinations = dict(destinations)
        self.resumed = 0
        self._volume, self._array, self._model = volume, array, model
        self._options = dict(options)
        self._unit = unit
        self._origin = _origin(region, job.axes, array.shape)
        self._overwrite = overwrite
        self._found: dict[str, Any] = {}
        self._begun: tuple[Journal, dict[str, Any]] | None = None
        self._whole_volumes = "tile_shape" not in job.result().recipe

    @property
    def partial(self) -> dict[str, Path]:
        """Of each part, where it lies until it is finished."""
        return {part: partial_path(path) for part, path in self.destinations.items()}

    @property
    def bytes(self) -> int:
        """What the results may take on disk at most."""
        each = 4 * math.prod(self.job.output_shape)
        return int(_PYRAMID * each * len(self.destinations))

    @property
    def memory_bytes(self) -> int:
        """Peak working memory of each process, the image not counted."""
        each = 4 * math.prod(self._task_shape())
        return self.job.memory_bytes + each * len(self.destinations)

    def check(self) -> None:
        """Find out before the work, not after it, that a result cannot be written.

        Raises
        ------
        StoreError
            If results are in the way, or the disk has no room.
        """
        for path in self.destinations.values():
            if not path.parent.is_dir():
                raise StoreError(f"{path}: the folder {path.parent} does not exist; make it first.")
            if path.exists() and not self._overwrite:
                raise StoreError(f"{path} exists already; choose another destination, or allow overwriting.")
        begun = self.partial.values()
        for path in (*self.destinations.values(), *begun):
            bare = path in begun and path.is_dir() and is_bare(path)
            if path.exists() and not (bare or holds_one_image(path)):
                raise StoreError(
                    f"{path} is no Zarr, or one of several images, and will not be replaced; choose another "
                    "destination."
                )
            if isinstance(self._volume, (str, os.PathLike)) and contains(path, Path(self._volume)):
                raise StoreError(f"{path} holds the image itself; choose another destination.")
        folder = next(iter(self.destinations.values())).parent
        there = sum(_size(path) for path in self.partial.values())
        free = shutil.disk_usage(folder).free
        if free + there < self.bytes:
            raise StoreError(
                f"{folder}: the results may take {bytes_text(self.bytes)}, but only "
                f"{bytes_text(free + there)} of disk are free: make room, ask for fewer parts, or "
                "choose another disk."
            )

    def begin(self) -> list[Region]:
        """Make the unfinished stores, or find those of an equal run; `steps` does it where it was not done.

        Whoever calls it goes on with `steps`, or lets the stores go with `close`.

        Returns
        -------
        list of tuple of slice
            What of the results is finished.

        Raises
        ------
        StoreError
            See `steps`.
        """
        ledger, entry = self._ready()
        every = regions(self.job.output_shape, entry["task"])
        return [every[number] for number in sorted(ledger.finished)]

    def _ready(self) -> tuple[Journal, dict[str, Any]]:
        if self._begun is None:
            self.check()
            try:
                self._begun = self._begin()
            except OSError as error:
                raise StoreError(self._disk_trouble(error)) from error
        return self._begun

    def close(self) -> None:
        """Let another run have the stores; what is finished is kept."""
        if self._begun is not None:
            self._begun[0].close()
            self._begun = None

    def steps(
        self, should_stop: Callable[[], bool] | None = None, workers: Executor | None = None
    ) -> Iterator[Progress]:
        """Run; yields after each task. What is finished is kept, whatever happens.

        Parameters
        ----------
        should_stop
            Asked again and again; see `Job.steps`.
        workers
            Who does the tasks; this process unless said otherwise.

        Raises
        ------
        StoreError
            See `check`; or if the unfinished store is of another run, or cannot be written to.
        Cancelled, DeconvolutionError, OutOfMemory, ValueError
            See `Job.steps`.
        """
        ledger, entry = self._ready()
        try:
            yield from self._steps(ledger, entry, should_stop, workers or LocalExecutor())
        except OSError as error:
            raise StoreError(self._disk_trouble(error)) from error
        finally:
            self.close()

    def _steps(
        self,
        ledger: Journal,
        entry: dict[str, Any],
        should_stop: Callable[[], bool] | None,
        workers: Executor,
    ) -> Iterator[Progress]:
        statistics = self._statistics(ledger, entry, should_stop, workers)
        yield from self._tasks(ledger, entry, statistics, should_stop, workers)
        self._conclude(ledger, statistics)
        yield from self._publish(ledger, should_stop)

    def _begin(self) -> tuple[Journal, dict[str, Any]]:
        """Make the stores, or find those that an equal run has left."""
        with own_threads():
            what = identity(self.job.result().recipe, self._source())
        folders = list(self.partial.values())
        made = [folder for folder in folders if _made(folder)]
        try:
            ledger = Journal(folders)
            try:
                entry = self._found_or_begun(ledger, what)
            except BaseException:
                ledger.close()
                raise
        except BaseException:
            # Another run may have come between, and begun in one of them.
            for folder in made:
                if is_bare(folder):
                    remove(folder)
            raise
        self.resumed = len(ledger.finished)
        return ledger, entry

    def _found_or_begun(self, ledger: Journal, what: dict[str, Any]) -> dict[str, Any]:
        plans = ledger.plans()
        changed = {
            folder: ["it has fewer parts or others"] if plan is None else differences(plan["what"], what)
            for folder, plan in zip(self.partial.values(), plans, strict=True)
        }
        first = plans[0]
        if first is not None and not any(changed.values()):
            return first
        if any(plans) and not self._overwrite:
            folder, reasons = next((folder, texts) for folder, texts in changed.items() if texts)
            raise StoreError(
                f"{folder} is the unfinished result of another run: {'; '.join(reasons)}. Delete it or "
                "choose another destination; overwriting, where it is allowed, begins anew."
            )
        ledger.clear()
        self._create()
        entry = {"what": what, "task": self._task_shape(), "tile": self._tile_shape()}
        ledger.begin(entry)
        return entry

    def _create(self) -> None:
        for part, path in self.partial.items():
            create_zarr(
                path,
                self.job.output_shape,
                "float32",
                axes=self.job.axes,
                voxel_size=self._options["voxel_size"],
                unit=canonical_unit(self._unit),
                name=stem(self.destinations[part]),
            )

    def _task_shape(self) -> list[int]:
        shape, axes = self.job.output_shape, self.job.axes
        unit = writing_unit(shape, axes)
        spatial = "ZYX"[-self._model.dimension :]
        if self._whole_volumes:  # every task computes one
            tile = dict(zip(axes, shape, strict=True))
        else:
            tile = dict(zip(spatial, self.job.tile_shape, strict=True))
        wanted = [tile[name] if name in spatial else 1 for name in axes]
        return list(task_shape(unit, wanted, shape))

    def _tile_shape(self) -> list[int] | None:
        return None if self._whole_volumes else list(self.job.tile_shape)

    def _statistics(
        self,
        ledger: Journal,
        entry: dict[str, Any],
        should_stop: Callable[[], bool] | None,
        workers: Executor,
    ) -> Statistics:
        known = statistics_from_json(entry.get("statistics"))
        if known is not None:
            self.job.adopt(known)
            return known
        with own_threads():
            count = workers.counting(self._setting(entry), should_stop)
            statistics = self.job.measure(should_stop, count)
        if not ledger.finished:  # or their own numbers are known already, and these are the same
            entry["statistics"] = statistics_as_json(statistics)
            ledger.begin(entry)
        return statistics

    def _tasks(
        self,
        ledger: Journal,
        entry: dict[str, Any],
        statistics: Statistics,
        should_stop: Callable[[], bool] | None,
        workers: Executor,
    ) -> Iterator[Progress]:
        every = regions(self.job.output_shape, entry["task"])
        todo = [(number, region) for number, region in enumerate(every) if number not in ledger.finished]
        left, done = sum(voxels(region) for _, region in todo), 0
        started = time.perf_counter()
        for outcome in workers.run(self._setting(entry), statistics, todo, should_stop):
            ledger.add(outcome.task, outcome.as_json())
            region = every[outcome.task]
            done += voxels(region)
            seconds = (time.perf_counter() - started) / done * (left - done)
            yield Progress(len(ledger.finished), len(every), seconds, self._label(region), region)

    def _conclude(self, ledger: Journal, statistics: Statistics) -> None:
        """Note what was found, in the words and the recipe of the run."""
        outcomes = [
            TaskResult(**{**found, "task": number}) for number, found in sorted(ledger.finished.items())
        ]
        texts = [*statistics.warnings, *(text for outcome in outcomes for text in outcome.warnings)]
        if not any(outcome.bright for outcome in outcomes):
            texts.append(
                "The network returned only zeros. The image's intensities may differ too much from those in "
                "training. Try another normalization or model."
            )
        negative = sum(outcome.negative_voxels for outcome in outcomes)
        if negative:
            texts.append(negative_voxels_text(negative))
        for text in texts:
            self.job.warnings.add(text)
        deviations = [outcome.deviation for outcome in outcomes if outcome.deviation is not None]
        self._found = {"identity_deviation": max(deviations)} if deviations else {}
        method = self.job.result().recipe.get("method")
        if method is not None:
            iterations = [number for outcome in outcomes for number in outcome.iterations]
            counted = {"negative_voxels": negative} if "negative_voxels" in method else {}
            self._found["method"] = {**method, "iterations": iterations, **counted}

    def recipe(self) -> dict[str, Any]:
        """The record of the run, once it is finished."""
        return {
            **self.job.result().recipe,
            **self._found,
            "complete": True,
            "warnings": list(self.job.warnings),
        }

    def _publish(self, ledger: Journal, should_stop: Callable[[], bool] | None) -> Iterator[Progress]:
        """Lower resolutions and the recipe, then the final names; the ledger's own folder comes last."""
        from napari_lucyd.deconvolution import Cancelled

        recipe, count = self.recipe(), len(ledger.finished)
        nowhere = tuple(slice(0, 0) for _ in self.job.output_shape)
        for part, path in reversed(self.partial.items()):
            yield Progress(count, count, None, "lower resolutions", nowhere)
            if not finish_zarr(path, {"shows": part, "recipe": recipe}, should_stop):
                raise Cancelled("Stopped; what is finished is kept.")
        ledger.remove()
        for part, path in reversed(self.partial.items()):
            _put(path, self.destinations[part])

    def _setting(self, entry: Mapping[str, Any]) -> TaskContext:
        options = dict(self._options)
        if entry["tile"] is not None:
            options["tile_shape"] = tuple(entry["tile"])
        # Executor elsewhere may stand in another folder.
        volume = self._volume
        if isinstance(volume, (str, os.PathLike)):
            volume = Path(volume).absolute()
        folders = {part: path.absolute() for part, path in self.partial.items()}
        return TaskContext(volume, self._model, options, folders, self._origin)

    def _source(self) -> Source:
        return Source(self._array, self._model.dimension, self.job.axes)

    def _label(self, region: Region) -> str:
        leading = zip(self.job.axes, region, strict=True)
        spatial = "ZYX"[-self._model.dimension :]
        return (
            ", ".join(f"{name} {part.start}" for name, part in leading if name not in spatial) or "the image"
        )

    def _disk_trouble(self, error: OSError) -> str:
        where = next(iter(self.partial.values()))
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return (
                f"{where}: the disk is full. What is finished is kept: make room and start the same run "
                "again, and it goes on."
            )
        return f"{where} cannot be read or written ({error.strerror or error})."


def _origin(region: Sequence[slice] | None, axes: str, shape: Sequence[int]) -> tuple[int, ...]:
    """First voxel of a region along all axes; a region may leave out leading ones."""
    if region is None:
        return (0,) * len(axes)
    parts = [slice(None)] * (len(axes) - len(region)) + list(region)
    return tuple(part.indices(size)[0] for part, size in zip(parts, shape, strict=True))


def _made(folder: Path) -> bool:
    """Make a folder unless it is there; say whether it was made."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.exists() else 0


def _put(partial: Path, path: Path) -> None:
    """Give a finished store its name; what bore it before goes only then."""
    old = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
    if path.exists():
        os.replace(path, old)
    os.replace(partial, path)
    if old.exists():
        remove(old)
