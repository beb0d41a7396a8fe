"""A run into OME-Zarr: planned, created or resumed, published."""

from __future__ import annotations

import errno
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from napari_lucyd.deconvolution import Job, Progress, Statistics
from napari_lucyd.deconvolution.findings import negative_voxels_text
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.errors import StoreError
from napari_lucyd.io import canonical_unit, contains, stem
from napari_lucyd.io.zarr import create_zarr, finish_zarr, writing_unit
from napari_lucyd.io.zarr_reader import holds_one_image
from napari_lucyd.spans import spatial_axes
from napari_lucyd.text import bytes_text

from .chunk_files import is_written
from .executors import Executor, LocalExecutor
from .fingerprint import differences, identity, statistics_as_json, statistics_from_json
from .journal import Journal, is_bare, is_ours, partial_path, plan_in, remove
from .publication import finish_interrupted, publish
from .region_task import TaskContext, TaskResult, own_threads, voxels
from .regions import Region, regions, task_shape

# Size of all resolutions relative to the highest: a third more if Y and X are halved, less if Z is too.
_PYRAMID = 4 / 3


class StoreJob:
    """A planned run into OME-Zarr; made by `plan_to_zarr`.

    Attributes
    ----------
    job : Job
        The planned run in memory: axes, device, warnings; its arrays are not used.
    destinations : dict
        The path of each part.
    resumed : int
        Number of tasks that an earlier run has finished.
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
        overwrite: bool,
    ) -> None:
        self.job = job
        self.destinations = dict(destinations)
        self.resumed = 0
        self._volume, self._array, self._model = volume, array, model
        self._options = dict(options)
        self._unit = unit
        self._origin = tuple(part.start for part in job.region)
        self._overwrite = overwrite
        self._found: dict[str, Any] = {}
        self._token = secrets.token_hex(8)
        self._begun: tuple[Journal, dict[str, Any]] | None = None
        self._whole_volumes = "tile_shape" not in job.result().recipe

    @property
    def partial(self) -> dict[str, Path]:
        """Folder of each part until the run is finished."""
        return {part: partial_path(path) for part, path in self.destinations.items()}

    @property
    def bytes(self) -> int:
        """Largest size of the results on disk."""
        each = 4 * math.prod(self.job.output_shape)
        return int(_PYRAMID * each * len(self.destinations))

    @property
    def memory_bytes(self) -> int:
        """Peak working memory of each process, without the image."""
        each = 4 * math.prod(self._task_shape())
        return self.job.memory_bytes + each * len(self.destinations)

    def check(self) -> None:
        """Refuse before the work starts if a result cannot be written.

        Raises
        ------
        StoreError
            If a destination is taken, or the disk is too small.
        """
        for path in self.destinations.values():
            if not path.parent.is_dir():
                raise StoreError(f"{path}: the folder {path.parent} does not exist; create it first.")
            self._check_free(path)
        for path in self.partial.values():
            if os.path.lexists(path) and not is_ours(path):
                raise StoreError(
                    f"{path} is not an unfinished result of napari-lucyd and is left as it is; move it, "
                    "or choose another destination."
                )
        for path in (*self.destinations.values(), *self.partial.values()):
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

    def _check_free(self, path: Path) -> None:
        """Refuse a destination that is taken, or that must not be replaced."""
        if not os.path.lexists(path):
            return
        if not self._overwrite:
            raise StoreError(f"{path} exists already; choose another destination, or allow overwriting.")
        if not holds_one_image(path):
            raise StoreError(
                f"{path} is not a Zarr folder with one image and is not replaced; choose another destination."
            )

    def unfinished(self) -> list[str] | None:
        """Compare the run with an unfinished one at its destinations, without writing anything.

        Returns
        -------
        list of str or None
            The settings that differ, as text; empty if `steps` would resume it. None if there is none.
        """
        plans = [plan_in(folder) for folder in self.partial.values()]
        found = [plan for plan in plans if plan is not None and plan.get("created", True)]
        if not found:
            return None
        with own_threads():
            what = identity(self.job.result().recipe, self._source())
        texts = next((texts for plan in found if (texts := differences(plan["what"], what))), [])
        return texts or (["its parts differ"] if len(found) < len(plans) else [])

    def begin(self) -> list[Region]:
        """Create the unfinished results, or find those of an equal run. `steps` calls it if needed.

        The caller continues with `steps`, or releases the folders with `close`.

        Returns
        -------
        list of tuple of slice
            Finished regions of the results.

        Raises
        ------
        StoreError
            See `steps`.
        """
        published = self._published()
        if published is not None:
            return regions(self.job.output_shape, published["task"])
        journal, entry = self._ready()
        every = regions(self.job.output_shape, entry["task"])
        return [every[number] for number in sorted(journal.finished)]

    def _ready(self) -> tuple[Journal, dict[str, Any]]:
        if self._begun is None:
            self.check()
            try:
                self._begun = self._begin()
            except OSError as error:
                raise StoreError(self._disk_trouble(error)) from error
        return self._begun

    def close(self) -> None:
        """Release the folders, so that another run can take them. Finished tasks are kept."""
        if self._begun is not None:
            self._begun[0].close()
            self._begun = None

    def steps(
        self,
        should_stop: Callable[[], bool] | None = None,
        workers: Executor | None = None,
        *,
        within: bool = False,
    ) -> Iterator[Progress]:
        """Run and yield after each task. Finished tasks are kept, whatever happens.

        Parameters
        ----------
        should_stop
            Asked repeatedly; see `Job.steps`.
        workers
            Executor of the tasks; by default this process.
        within
            Yield also while a task is computed, with the `Progress.share` of it that is done, where the
            executor tells it.

        Raises
        ------
        StoreError
            See `check`; or if the unfinished result belongs to another run, or cannot be written.
        Cancelled, DeconvolutionError, OutOfMemory, ValueError
            See `Job.steps`.
        """
        published = self._published()
        if published is not None:
            count = self.resumed = len(regions(self.job.output_shape, published["task"]))
            yield Progress(count, count, 0.0, "the image", tuple(slice(0, 0) for _ in self.job.output_shape))
            return
        journal, entry = self._ready()
        try:
            for step in self._steps(journal, entry, should_stop, workers or LocalExecutor()):
                if within or step.share is None:
                    yield step
        except OSError as error:
            raise StoreError(self._disk_trouble(error)) from error
        finally:
            self.close()

    def _steps(
        self,
        journal: Journal,
        entry: dict[str, Any],
        should_stop: Callable[[], bool] | None,
        workers: Executor,
    ) -> Iterator[Progress]:
        statistics = self._statistics(journal, entry, should_stop, workers)
        yield from self._tasks(journal, entry, statistics, should_stop, workers)
        self._conclude(journal, statistics)
        yield from self._publish(journal, entry, should_stop)

    def _begin(self) -> tuple[Journal, dict[str, Any]]:
        """Create the folders, or find those that an equal run has left."""
        with own_threads():
            what = identity(self.job.result().recipe, self._source())
        folders = list(self.partial.values())
        made = [folder for folder in folders if _made(folder)]
        try:
            journal = Journal(folders)
            try:
                entry = self._found_or_begun(journal, what)
            except BaseException:
                journal.close()
                raise
        except BaseException:
            # Another run may have started in one of them in the meantime.
            for folder in made:
                if is_bare(folder):
                    remove(folder)
            raise
        self.resumed = len(journal.finished)
        return journal, entry

    def _found_or_begun(self, journal: Journal, what: dict[str, Any]) -> dict[str, Any]:
        plans = journal.plans()
        first = plans[0]
        changed = {
            folder: differences(plan["what"], what)
            for folder, plan in zip(self.partial.values(), plans, strict=True)
            if plan is not None
        }
        reasons = next(((folder, texts) for folder, texts in changed.items() if texts), None)
        if first is not None and first.get("created", True) and reasons is None:
            if all(plan is not None for plan in plans):
                self._forget_lost(journal, first)
                return first
            reasons = (next(iter(changed)), ["its parts differ"])
        # A run that ended while it created its folders has finished nothing: it starts again.
        if reasons is not None and not self._overwrite:
            folder, texts = reasons
            raise StoreError(
                f"{folder} holds an unfinished run with other settings: {'; '.join(texts)}. Choose another "
                "destination, delete the .partial folders, or allow overwriting to start again."
            )
        # The plan comes first: after an interruption the folders can be recognised as ours.
        entry = {"what": what, "task": self._task_shape(), "tile": self._tile_shape(), "created": False}
        journal.clear()
        journal.begin(entry)
        self._create()
        entry["created"] = True
        journal.begin(entry)
        return entry

    def _forget_lost(self, journal: Journal, entry: Mapping[str, Any]) -> None:
        """Do tasks again if their voxels are not on the disk, or their findings cannot be read."""
        every = regions(self.job.output_shape, entry["task"])
        for number, found in list(journal.finished.items()):
            known = 0 <= number < len(every) and TaskResult.readable(found)
            if not known or not all(is_written(path, every[number]) for path in self.partial.values()):
                del journal.finished[number]

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
        spatial = spatial_axes(self._model.dimension)
        if self._whole_volumes:  # every task computes one
            tile = dict(zip(axes, shape, strict=True))
        else:
            tile = dict(zip(spatial, self.job.task_shape, strict=True))
        wanted = [tile[name] if name in spatial else 1 for name in axes]
        return list(task_shape(unit, wanted, shape))

    def _tile_shape(self) -> list[int] | None:
        return None if self._whole_volumes else list(self.job.tile_shape)

    def _statistics(
        self,
        journal: Journal,
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
            self.job.measure(should_stop, count)
            statistics = self.job.decide(should_stop)
        if not journal.finished:  # or their own numbers are known already, and these are the same
            entry["statistics"] = statistics_as_json(statistics)
            journal.begin(entry)
        return statistics

    def _tasks(
        self,
        journal: Journal,
        entry: dict[str, Any],
        statistics: Statistics,
        should_stop: Callable[[], bool] | None,
        workers: Executor,
    ) -> Iterator[Progress]:
        every = regions(self.job.output_shape, entry["task"])
        todo = [(number, region) for number, region in enumerate(every) if number not in journal.finished]
        left, done = sum(voxels(region) for _, region in todo), 0.0
        started = time.perf_counter()
        nowhere = tuple(slice(0, 0) for _ in self.job.output_shape)
        for outcome in workers.run(self._setting(entry), statistics, todo, should_stop):
            if isinstance(outcome, float):
                # Shares come from executors that do the tasks in order, one at a time.
                region = every[next(number for number, _ in todo if number not in journal.finished)]
                now = done + outcome * voxels(region)
                seconds = (time.perf_counter() - started) / now * (left - now) if now else None
                count = len(journal.finished)
                yield Progress(count, len(every), seconds, self._label(region), nowhere, share=outcome)
                continue
            journal.add(outcome.task, outcome.as_json())
            region = every[outcome.task]
            done += voxels(region)
            seconds = (time.perf_counter() - started) / done * (left - done)
            yield Progress(len(journal.finished), len(every), seconds, self._label(region), region)

    def _conclude(self, journal: Journal, statistics: Statistics) -> None:
        """Add the findings of all tasks to the warnings and the recipe of the run."""
        outcomes = [
            TaskResult(**{**found, "task": number}) for number, found in sorted(journal.finished.items())
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
            counted: dict[str, Any] = {"negative_voxels": negative} if "negative_voxels" in method else {}
            if not statistics.numbers:  # then each task has computed whole volumes with numbers of their own
                counted["iterations"] = [number for outcome in outcomes for number in outcome.iterations]
                records = [record for outcome in outcomes for record in outcome.found]
                names = sorted({name for record in records for name in record})
                counted |= {name: [record.get(name) for record in records] for name in names}
            self._found["method"] = {**method, **counted}

    def recipe(self) -> dict[str, Any]:
        """Return the record of the finished run."""
        return {
            **self.job.result().recipe,
            **self._found,
            "complete": True,
            "warnings": list(self.job.warnings),
        }

    def _publish(
        self, journal: Journal, entry: Mapping[str, Any], should_stop: Callable[[], bool] | None
    ) -> Iterator[Progress]:
        """Write lower resolutions and the recipe, then give the results their final names.

        The folders stay locked until all have their names. A mark in each says that only the name is missing,
        so that the next run with this destination finishes an interrupted publication.
        """
        from napari_lucyd.deconvolution import Cancelled

        recipe, count = self.recipe(), len(journal.finished)
        nowhere = tuple(slice(0, 0) for _ in self.job.output_shape)
        for part, path in reversed(self.partial.items()):
            yield Progress(count, count, None, "lower resolutions", nowhere)
            if not finish_zarr(path, {"shows": part, "recipe": recipe}, should_stop):
                raise Cancelled("Stopped; finished work is kept.")
        for path in self.destinations.values():
            self._check_free(path)
        publish(journal, entry, self.partial, self.destinations, self._overwrite)

    def _published(self) -> dict[str, Any] | None:
        """Return the plan of an earlier run that computed the same results and did not name them all.

        Their names are given now; nothing else is left to do.
        """
        if self._begun is not None:
            return None
        plan = finish_interrupted(self.partial, self.destinations, self._overwrite)
        if plan is None:
            return None
        with own_threads():
            same = plan.get("what") == identity(self.job.result().recipe, self._source())
        return plan if same else None

    def _setting(self, entry: Mapping[str, Any]) -> TaskContext:
        options = dict(self._options)
        if entry["tile"] is not None:
            options["tile_shape"] = tuple(entry["tile"])
        # Workers may have another current folder.
        volume = self._volume
        if isinstance(volume, (str, os.PathLike)):
            volume = Path(volume).absolute()
        folders = {part: path.absolute() for part, path in self.partial.items()}
        return TaskContext(volume, self._model, options, folders, self._origin, self._token)

    def _source(self) -> Source:
        return Source(self._array, self._model.dimension, self.job.axes)

    def _label(self, region: Region) -> str:
        leading = zip(self.job.axes, region, strict=True)
        spatial = spatial_axes(self._model.dimension)
        return (
            ", ".join(f"{name} {part.start}" for name, part in leading if name not in spatial) or "the image"
        )

    def _disk_trouble(self, error: OSError) -> str:
        where = next(iter(self.partial.values()))
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return (
                f"{where}: the disk is full. Finished work is kept. Make room, then start the same run "
                "again to resume it."
            )
        return f"{where} cannot be read or written ({error.strerror or error})."


def _made(folder: Path) -> bool:
    """Create a folder unless it exists; tell if it was created."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.exists() else 0
