"""A run over one or more images as a generator of events, for a worker thread.

Nothing here touches the window. Errors become events, and an image that fails does not stop the others. No
`RuntimeError` leaves the generator: superqt's worker would swallow it and neither report it nor finish.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_lucyd._napari.deconvolve.contest import compare_methods
from napari_lucyd._napari.deconvolve.planning import choose_method, make_job
from napari_lucyd._napari.deconvolve.task import (
    Event,
    Failed,
    Finished,
    ImageTask,
    LeftAlone,
    Stopped,
    method_text,
    stopped_text,
    volumes_text,
)
from napari_lucyd._napari.deconvolve.to_zarr import worker as to_zarr
from napari_lucyd._napari.layers.results import result_layers
from napari_lucyd._napari.psf.origins import Psf
from napari_lucyd._napari.workers import torch_loading
from napari_lucyd._napari.workers.events import Advanced, Note, RunError, Stop, explain
from napari_lucyd._napari.workers.window_words import in_window_words
from napari_lucyd.text import percent_text

if TYPE_CHECKING:
    from napari_lucyd.deconvolution import Job


def run(tasks: Sequence[ImageTask], should_stop: Callable[[], bool]) -> Iterator[Any]:
    """Deconvolve images one after another, into memory or into files.

    Parameters
    ----------
    tasks
        The images, at least one; all have a stem, or none.
    should_stop
        Called between and within tiles or iterations, and while a PSF is computed; True stops the run.

    Yields
    ------
    Event, Begun, Grown, Stored or Halted
        One event or more for each tile, iteration or block.

    Raises
    ------
    RunError
        Instead of any RuntimeError that does not belong to one image.
    TorchLoadingError
        If torch cannot be loaded.
    """
    began = time.monotonic()
    try:
        if not torch_loading.is_loaded():
            yield Note("Loading PyTorch…")
        torch_loading.load()
        tasks = [
            task if task.source.path is None else replace(task, source=task.source.informed())
            for task in tasks
        ]
        if tasks[0].stem is not None:
            yield from to_zarr.run(tasks, should_stop, began)
            return
        from napari_lucyd.compute.device import keeping_memory

        with keeping_memory():
            yield from _run_in_memory(tasks, should_stop, began)
    except RuntimeError as error:
        raise RunError(explain(error)) from error


def _run_in_memory(
    tasks: Sequence[ImageTask], should_stop: Callable[[], bool], began: float
) -> Iterator[Event]:
    from napari_lucyd.deconvolution import Cancelled

    if any(task.parameters.classical for task in tasks):
        yield Note("Preparing the PSF…")
    planned = []
    for number, task in enumerate(tasks):
        began = time.monotonic() if number else began
        try:
            method, psf = choose_method(task, should_stop)
            choice = None
            if task.parameters.automatic:
                choice = yield from compare_methods(task, method, should_stop)
                if choice.left_alone:
                    yield LeftAlone(task, choice.reason)
                    continue
            job, options = make_job(task, method, should_stop, choice)
            if choice is not None:
                method = choice.method
                yield Note(choice.reason)
            reasons = () if choice is None else (choice.reason,)
            prepared = time.monotonic() - began
            planned.append((task, psf, method, job, options["region"], reasons, prepared))
        except Cancelled:
            yield Stopped(stopped_text([], anything=False))
            return
        except Exception as error:
            yield Failed(task, explain(error))
    before, complete = 0, 0
    for number, (task, psf, method, job, region, reasons, prepared) in enumerate(planned):
        where = f"“{task.source.name}”" + (f" ({number + 1} of {len(planned)})" if len(planned) > 1 else "")
        yield Note(f"Deconvolving {where} on {job.device.name}…", computing=True)
        # The comparison of methods is a part of the run.
        began = time.monotonic() - prepared
        regions: list[tuple[slice, ...]] = []
        finished, stopped = 0, False
        try:
            for step in job.steps(should_stop):
                finished += math.prod(part.stop - part.start for part in step.region)
                regions.append(step.region)
                # Both change during a run: tiles are halved when memory runs out, and iterations may stop
                # early.
                total = before + sum(later.step_count for _, _, _, later, *_ in planned[number:])
                seconds = _remaining(step, job, total, before)
                yield Advanced(before + step.done, total, seconds, where, step.curve, job.keeps_estimates)
                wished = isinstance(should_stop, Stop) and should_stop.take_wish()
                if wished and job.keeps_estimates:
                    job.keep_estimate()
        except Cancelled:
            stopped = True
        except Exception as error:
            yield Failed(task, explain(error))
            before += job.step_count
            continue
        before += job.step_count
        left = [later for later, *_ in planned[number:]]
        if stopped and not finished:
            yield Stopped(stopped_text(left, anything=complete > 0))
            return
        share = finished / math.prod(job.output_shape)
        kept, volumes = f"Stopped after {percent_text(share)} of “{task.source.name}”.", ""
        if stopped and (volumes := volumes_text(job.axes, job.output_shape, regions)):
            kept += f" Finished: {volumes}."
        try:
            finish = _finish(task, method, psf, job, region, began, not stopped, share, number)
            # The reason for the chosen method stays in sight after the run.
            warnings = tuple(map(in_window_words, (*reasons, *finish.warnings)))
            yield replace(finish, warnings=warnings, volumes=volumes)
            complete += 1
        except Exception as error:
            yield Failed(task, explain(error))
            kept = ""
        if stopped:
            yield Stopped(stopped_text(left[1:], anything=complete > 0, kept=kept))
            return


def _finish(
    task: ImageTask,
    method: Any,
    psf: Psf | None,
    job: Job,
    region: tuple[slice, ...] | None,
    began: float,
    complete: bool,
    share: float,
    number: int,
) -> Finished:
    result = job.result()
    layers = result_layers(
        task.source,
        result,
        method.name,
        axes=job.axes,
        region=region,
        # Channels with additive blending: the first output covers the image below, the others add to it.
        additive=number > 0 and task.source.blending == "additive",
        psf_origin=psf.origin if psf else None,
    )
    return Finished(
        task,
        result,
        layers,
        time.monotonic() - began,
        complete,
        share,
        job.device.name,
        method_text(method, result.recipe),
        tuple(getattr(result, "warnings", ()) or ()),
    )


def _remaining(step: Any, job: Job, total: int, before: int) -> float | None:
    if step.seconds_left is None or step.done == 0:
        return step.seconds_left
    tiles_left = total - before - step.done
    own_left = job.step_count - step.done
    if own_left <= 0:
        return step.seconds_left if tiles_left == 0 else None
    return float(step.seconds_left) * tiles_left / own_left
