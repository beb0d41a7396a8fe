"""Batch of ``lucyd deconvolve``: one input after the other; a failure does not end the batch."""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lucyd.batch.inputs import BatchItem
from napari_lucyd.batch.results import (
    FORESEEN,
    ResultExistsError,
    Tally,
    check_destinations,
    made_with,
    prepare,
    sort_warnings,
    without_path,
    write_results,
)
from napari_lucyd.cli.shared.chosen_method import Chosen
from napari_lucyd.cli.shared.console import Console, print_path, skipped
from napari_lucyd.deconvolution import plan
from napari_lucyd.deconvolution.scratch import arrays_beside
from napari_lucyd.io import (
    Image,
    read_image,
)
from napari_lucyd.models import Model, list_models
from napari_lucyd.out_of_core import Executor, LocalExecutor, plan_to_zarr
from napari_lucyd.text import bytes_text, count_text, duration_text, error_text, printable

if TYPE_CHECKING:
    from napari_lucyd.deconvolution import Job, Result


@dataclass
class Batch:
    """A batch of inputs with the same settings.

    Attributes
    ----------
    console
        Receives messages.
    chosen
        The model or the classical method.
    options
        Keywords of `napari_lucyd.deconvolution.plan`.
    axes, voxel_size
        Corrections of what the files say; the size in µm.
    overwrite, dtype
        Arguments of `napari_lucyd.io.write_image`.
    dry_run
        Print the plan only: compute and write nothing.
    workers
        Executor of the work on OME-Zarr results, which is done in parts.
    reports
        File of the report of each input; empty for none.
    several
        True for a folder or more than one input: results that exist are no error then, because the same
        command is run again after new images came.
    """

    console: Console
    chosen: Chosen
    options: dict[str, Any]
    axes: str | None
    voxel_size: tuple[float, ...] | None
    overwrite: bool
    dtype: str
    dry_run: bool
    workers: Executor
    reports: dict[Path, Path] = field(default_factory=dict)
    several: bool = False
    # Sentences that a batch says once, those already said, and the state of the present image.
    _said: set[str] = field(default_factory=set, init=False)
    _warned: bool = field(default=False, init=False)
    _left_alone: bool = field(default=False, init=False)

    def run(self, items: list[BatchItem]) -> Tally:
        """Deconvolve one input after the other; return the numbers of what happened."""
        tally = Tally(len(items))
        for number, task in enumerate(items, 1):
            self.console.say(f"{task.source}" + (f" ({number} of {len(items)})" if len(items) > 1 else ""))
            self._warned = self._left_alone = False
            try:
                self._one(task)
            except ResultExistsError as error:
                if self.several and self._is_there(task):
                    tally.there += 1
                    path = error.path
                    self.console.say(f"  {path.name} is there from an earlier run{made_with(path)}")
                else:
                    tally.failed += 1
                    self._say_failed(task, error, several=len(items) > 1)
            except FORESEEN as error:
                tally.failed += 1
                self._say_failed(task, error, several=len(items) > 1)
            # One file must not end a batch of a whole night. An unforeseen error is shown in full.
            except Exception as error:
                tally.failed += 1
                self.console.error(f"{task.source}: {error!r}. Please report this:")
                self.console.terminal.print(traceback.format_exc(), markup=False)
            else:
                tally.done += 1
                tally.warned += self._warned
                tally.left_alone += self._left_alone
        return tally

    def _say_failed(self, task: BatchItem, error: BaseException, several: bool) -> None:
        text = error_text(error) or type(error).__name__
        if not self.console.quiet:  # the line above names the file
            text = without_path(text, task.source)
        elif printable(task.source) not in printable(text):
            text = f"{task.source}: {text}"
        self.console.error(skipped(text) if several else text)

    def _warn(self, warnings: Iterable[str]) -> None:
        """Print warnings; among several images, those that are true of every image only once."""
        if not self.several:
            self.console.warn_all(warnings)
            return
        told = sort_warnings(warnings)
        for text in told.common:
            if text not in self._said:
                self._said.add(text)
                self.console.warn(text)
        for text in told.brief:
            self.console.say(f"  {text}")
        self.console.warn_all(told.own)
        self._warned |= bool(told.own)

    def _is_there(self, task: BatchItem) -> bool:
        """Return True if everything that is asked for exists already."""
        return all(path.exists() for path in [*task.destinations.values(), *self._report_paths(task)])

    def _report_paths(self, task: BatchItem) -> list[Path]:
        page = self.reports.get(task.source)
        return [] if page is None else [page, page.with_suffix(".json")]

    def _one(self, task: BatchItem) -> None:
        self._check_destinations(task)
        image = read_image(task.source, axes=self.axes, voxel_size=self.voxel_size)
        self._warn(image.warnings)
        if "microscope" in self.options or getattr(self.chosen.method, "microscope", None) is not None:
            image = image.in_micrometers()
        method = self.chosen.for_image(image)
        planes = "Z" not in image.axes or image.data.shape[image.axes.index("Z")] == 1
        if planes and isinstance(method, Model) and method.dimension == 3:
            self._warn(
                [f"the image is a plane, but {method.name!r} was trained on volumes; use {_for_planes()}"]
            )
        elif image.voxel_size is None and not planes and isinstance(method, Model):
            self.console.say(
                "  voxel size unknown: voxels are assumed to be cubes; give it with --voxel-size Z,Y,X, in µm"
            )
        if task.in_parts(self.dtype):
            self._to_zarr(image, task, method)
            return
        results = 4 * math.prod(image.data.shape) * len(task.destinations)
        folder = next(iter(task.destinations.values())).parent
        allocate = None if self.dry_run else arrays_beside(folder, results)
        job = plan(
            image.data,
            method,
            axes=image.axes,
            voxel_size=image.voxel_size,
            allocate=allocate,
            **self.options,
            **self.chosen.blur(image),
        )
        self._say_choice(job)
        self.console.say(f"  {job.description}; {job.device}; {bytes_text(job.memory_bytes)}")
        job.look_at_frames()
        self._warn(job.warnings)
        if self.dry_run:
            self._tell(job, task)
        else:
            self._prepare(task)
            result = self._result(job)
            self._write(result, image, task)
            self._report(result, image, task)

    def _to_zarr(self, image: Image, task: BatchItem, method: Any) -> None:
        options = {key: value for key, value in self.options.items() if key != "outputs"}
        stored = plan_to_zarr(
            # Other processes open the file themselves.
            image.data if isinstance(self.workers, LocalExecutor) else task.source,
            method,
            {str(part): path for part, path in task.destinations.items()},
            axes=image.axes,
            voxel_size=image.voxel_size,
            unit=image.unit,
            overwrite=self.overwrite,
            processes=self.workers.processes,
            **options,
            **self.chosen.blur(image),
        )
        job = stored.job
        self._say_choice(job)
        self.console.say(f"  {job.description}; {job.device}; {bytes_text(stored.memory_bytes)}")
        job.look_at_frames()
        self._warn(job.warnings)
        if self.dry_run:
            self._tell(job, task)
            return
        self._prepare(task)
        told = set(job.warnings)
        with self.console.progress() as progress:
            bar = progress.add_task("  Deconvolving", total=None)
            for number, step in enumerate(stored.steps(workers=self.workers, within=True)):
                if number == 0 and stored.resumed:
                    self.console.say(
                        f"  resumed: {stored.resumed} of {count_text(step.total, 'part')} finished earlier"
                    )
                progress.update(bar, completed=step.done + (step.share or 0), total=step.total)
        self._warn(warning for warning in job.warnings if warning not in told)
        for path in task.destinations.values():
            print_path(path)

    def _say_choice(self, job: Job) -> None:
        """Print how the method was chosen, if it was."""
        if job.choice is None:
            return
        if job.choice.left_alone:
            self._left_alone = True
            self.console.say("  left alone")
        else:
            self.console.say(f"  {job.choice.reason}")

    def _tell(self, job: Job, task: BatchItem) -> None:
        self.console.say(f"  {job.work}, about {duration_text(job.estimate_seconds())}")
        for path in task.destinations.values():
            print_path(path)

    def _result(self, job: Job) -> Result:
        told = set(job.warnings)
        job.measure()
        self._warn(warning for warning in job.warnings if warning not in told)
        told = set(job.warnings)
        with self.console.progress() as progress:
            bar = progress.add_task("  Deconvolving", total=job.step_count)
            for step in job.steps():
                progress.update(bar, completed=step.done, total=step.total)
        result = job.result()
        self._warn(warning for warning in result.warnings if warning not in told)
        return result

    def _write(self, result: Result, image: Image, task: BatchItem) -> None:
        for path in write_results(
            result,
            {str(part): path for part, path in task.destinations.items()},
            axes=image.axes,
            voxel_size=image.voxel_size,
            unit=image.unit,
            overwrite=self.overwrite,
            dtype=self.dtype,
        ):
            print_path(path)

    def _report(self, result: Result, image: Image, task: BatchItem) -> None:
        """Score a result and write its report, if one was asked for."""
        file = self.reports.get(task.source)
        if file is None:
            return
        from napari_lucyd.referee import report

        file.parent.mkdir(parents=True, exist_ok=True)
        made = report(image.data, result, title=task.source.name)
        self.console.say(f"  {made.score.summary}")
        for path in made.save(file, overwrite=self.overwrite):
            print_path(path)

    def _check_destinations(self, task: BatchItem) -> None:
        """Refuse before the work starts if a result must not be written."""
        check_destinations(
            task.destinations.values(),
            [task.source, *self.chosen.psf_paths],
            overwrite=self.overwrite,
            otherwise="choose another OUT",
        )
        for path in self._report_paths(task):
            if path.exists() and not self.overwrite:
                raise ValueError(
                    f"{task.source}: {path} exists already; choose another --report or add --overwrite"
                )

    def _prepare(self, task: BatchItem) -> None:
        prepare(task.destinations.values(), overwrite=self.overwrite, otherwise="choose another OUT")


def _for_planes() -> str:
    """Name the options that choose a shipped model for planes."""
    names = [card["name"] for card in list_models() if card.get("network", {}).get("dimension") == 2]
    return " or ".join(f"--model {name}" for name in names) or "a file of a 2D model (--model FILE)"
