"""Batch of ``lucyd deconvolve``: one input after the other; a failure does not end the batch."""

from __future__ import annotations

import math
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lucyd.batch.inputs import BatchItem
from napari_lucyd.batch.results import FORESEEN, check_destinations, prepare, write_results
from napari_lucyd.cli.shared.chosen_method import Chosen
from napari_lucyd.cli.shared.console import Console, print_path
from napari_lucyd.deconvolution import plan
from napari_lucyd.deconvolution.scratch import arrays_beside
from napari_lucyd.io import (
    Image,
    read_image,
)
from napari_lucyd.models import Model, list_models
from napari_lucyd.out_of_core import Executor, LocalExecutor, plan_to_zarr
from napari_lucyd.text import bytes_text, count_text, duration_text, printable

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
    left_alone
        Number of images that no method improves, with ``"auto"``; they are written as they are.
    reports
        File of the report of each input; empty for none.
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
    left_alone: int = field(default=0, init=False)
    reports: dict[Path, Path] = field(default_factory=dict)

    def run(self, items: list[BatchItem]) -> int:
        """Deconvolve one input after the other; return the number of inputs that failed."""
        failed = 0
        skipped = "; skipped" if len(items) > 1 else ""
        for number, task in enumerate(items, 1):
            self.console.say(f"{task.source}" + (f" ({number} of {len(items)})" if len(items) > 1 else ""))
            try:
                self._one(task)
            except FORESEEN as error:
                failed += 1
                where = "" if printable(task.source) in printable(error) else f"{task.source}: "
                self.console.error(f"{where}{error or type(error).__name__}{skipped}")
            # One file must not end a batch of a whole night. An unforeseen error is shown in full.
            except Exception as error:
                failed += 1
                self.console.error(f"{task.source}: {error!r}{skipped}. Please report this:")
                self.console.terminal.print(traceback.format_exc(), markup=False)
        return failed

    def _one(self, task: BatchItem) -> None:
        self._check_destinations(task)
        image = read_image(task.source, axes=self.axes, voxel_size=self.voxel_size)
        self.console.warn_all(image.warnings)
        if "microscope" in self.options or getattr(self.chosen.method, "microscope", None) is not None:
            image = image.in_micrometers()
        method = self.chosen.for_image(image)
        planes = "Z" not in image.axes or image.data.shape[image.axes.index("Z")] == 1
        if planes and isinstance(method, Model) and method.dimension == 3:
            self.console.warn(
                f"the image is a plane, but {method.name!r} was trained on volumes; use {_for_planes()}"
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
        self.console.warn_all(job.warnings)
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
        self.console.warn_all(job.warnings)
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
        self.console.warn_all(warning for warning in job.warnings if warning not in told)
        for path in task.destinations.values():
            print_path(path)

    def _say_choice(self, job: Job) -> None:
        """Print how the method was chosen, if it was."""
        if job.choice is None:
            return
        if job.choice.left_alone:
            self.left_alone += 1
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
        self.console.warn_all(warning for warning in job.warnings if warning not in told)
        told = set(job.warnings)
        with self.console.progress() as progress:
            bar = progress.add_task("  Deconvolving", total=job.step_count)
            for step in job.steps():
                progress.update(bar, completed=step.done, total=step.total)
        result = job.result()
        self.console.warn_all(warning for warning in result.warnings if warning not in told)
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
        report = self.reports.get(task.source)
        for path in (report, report.with_suffix(".json")) if report is not None else ():
            if path.exists() and not self.overwrite:
                raise ValueError(
                    f"{task.source}: {path} exists already; choose another --report or add --overwrite"
                )
        check_destinations(
            task.destinations.values(),
            [task.source, *self.chosen.psf_paths],
            overwrite=self.overwrite,
            otherwise="choose another OUT",
        )

    def _prepare(self, task: BatchItem) -> None:
        prepare(task.destinations.values(), overwrite=self.overwrite, otherwise="choose another OUT")


def _for_planes() -> str:
    """Name the options that choose a shipped model for planes."""
    names = [card["name"] for card in list_models() if card.get("network", {}).get("dimension") == 2]
    return " or ".join(f"--model {name}" for name in names) or "a file of a 2D model (--model FILE)"
