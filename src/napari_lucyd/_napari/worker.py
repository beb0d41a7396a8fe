"""A run over one or more images as a generator of events, for a worker thread.

Nothing here touches the window. Errors end up as events, one bad image does not stop the others, and no
`RuntimeError` leaves the generator: superqt's worker would swallow it and neither report it nor finish.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from napari_lucyd._napari import collector, engine, storage
from napari_lucyd._napari.layers import result_layers
from napari_lucyd._napari.parameters import NUMBERS, STEPS, in_labels
from napari_lucyd._napari.psf_source import Psf, check_steps
from napari_lucyd._napari.region import spatial_region
from napari_lucyd._napari.store_plan import check_room, plan_store
from napari_lucyd._napari.task import (
    Advanced,
    Estimate,
    Event,
    Failed,
    Finished,
    Note,
    RunError,
    Stopped,
    Task,
)
from napari_lucyd._napari.text import bytes_text

if TYPE_CHECKING:
    from napari_lucyd.deconvolution import Job
    from napari_lucyd.stores import StoreJob


def choose_method(task: Task, should_stop: Callable[[], bool] | None = None) -> tuple[Any, Psf | None]:
    """What `plan` is given for one image: a model, or a classical method; and the PSF of that.

    Raises
    ------
    OSError, TypeError, ValueError
        If it cannot be had; the message says why.
    Cancelled
        If ``should_stop`` says so while the PSF is computed.
    """
    from napari_lucyd.deconvolution import make_method

    parameters = task.parameters
    if not parameters.classical:
        return engine.get_model(parameters.model), None
    axes = task.source.likely_axes(parameters.axes)
    psf = parameters.psf.load(task.source, axes, should_stop)
    check_steps(psf, task.source, axes)
    try:
        return make_method(parameters.method, psf.values, parameters.numbers), psf
    except (TypeError, ValueError) as error:
        where = f"PSF “{psf.name}”: " if "psf" in str(error) else ""
        raise ValueError(where + in_labels(str(error), NUMBERS)) from error


def make_options(task: Task, method: Any) -> dict[str, Any]:
    """Keyword arguments of `napari_lucyd.deconvolution.plan` for one image.

    Raises
    ------
    TypeError, ValueError
        As `napari_lucyd.deconvolution.plan` does.
    """
    from napari_lucyd.deconvolution import plan

    source, parameters = task.source, task.parameters
    axes = parameters.axes or source.axes
    if axes is None:
        # A first look tells what the engine takes the axes for; it reads no voxel.
        axes = plan(source.data, method, device="cpu", axes=None).axes
    region = spatial_region(task.view, axes, parameters.z_range, source.shape)
    options = parameters.options(source.voxel_size(axes), axes, region)
    if not parameters.classical:
        # A layer that the model has nothing for is not made; with none left, the engine says what there is.
        parts = [name for name in parameters.parts if name in method.network.parts]
        options["outputs"] = parts or parameters.parts
    return options


def make_job(
    task: Task, method: Any, should_stop: Callable[[], bool] | None = None
) -> tuple[Job, tuple[slice, ...] | None]:
    """Plan one image; results that would fill the memory go to temporary files.

    Returns
    -------
    job, region
        The plan, and the region it covers, over the spatial axes; None for the whole.

    Raises
    ------
    TypeError, ValueError
        As `napari_lucyd.deconvolution.plan` does.
    """
    from napari_lucyd.deconvolution import plan

    options = make_options(task, method)
    try:
        job = plan(task.source.data, method, **options)
    except ValueError as error:
        raise ValueError(in_labels(str(error), STEPS)) from error
    size = storage.result_bytes(job, len(options["outputs"]))
    results = f"The results ({bytes_text(size)})"
    if storage.belongs_on_disk(size):
        job = plan(task.source.data, method, **options, allocate=storage.on_disk(should_stop))
        job.warnings.append(f"{results} are kept on disk while their layers are there. {storage.ADVICE}")
    elif storage.fills_memory(size):
        job.warnings.append(f"{results} would fill the memory. {storage.ADVICE}")
    return job, options["region"]


def make_store(task: Task, method: Any) -> tuple[StoreJob, tuple[slice, ...] | None]:
    """Plan one image whose results go to files; see `make_job`.

    Raises
    ------
    TypeError, ValueError
        Also where the files cannot be written.
    """
    options = make_options(task, method)
    try:
        return plan_store(task, method, options), options["region"]
    except ValueError as error:
        raise ValueError(in_labels(str(error), STEPS)) from error


def estimate(tasks: Sequence[Task], should_stop: Callable[[], bool] | None = None) -> list[Estimate]:
    """Memory and time of each image, for the line above Run; call it off the window's thread.

    Nothing comes of it where ``should_stop``, which is asked while a PSF is computed, says so.
    """
    from napari_lucyd.deconvolution import Cancelled

    with collector.held(), contextlib.suppress(Cancelled):
        engine.load()
        return check_room([_estimate_one(task, should_stop) for task in tasks])
    return []


def _estimate_one(task: Task, should_stop: Callable[[], bool] | None) -> Estimate:
    from napari_lucyd.deconvolution import Cancelled

    text = ""
    try:
        method, psf = choose_method(task, should_stop)
        text = psf.describe() if psf else ""
        if task.stem is not None:
            store, region = make_store(task, method)
            job = store.job
        else:
            store, (job, region) = None, make_job(task, method)
        seconds = job.estimate_seconds()
        return Estimate(task, job, method, seconds, region=region, psf_text=text, store=store)
    except Cancelled:
        raise
    except Exception as error:  # told of in the panel, whatever it is
        return Estimate(task, None, error=explain(error), psf_text=text)


def run(tasks: Sequence[Task], should_stop: Callable[[], bool]) -> Iterator[Event]:
    """Deconvolve images one after another.

    Parameters
    ----------
    tasks
        The images.
    should_stop
        Asked between tiles or iterations and, by the engine, within them; and while a PSF is computed.

    Yields
    ------
    Event
        At least one a tile, or iteration.

    Raises
    ------
    RunError
        In place of any RuntimeError that is not tied to one image.
    EngineError
        If torch cannot be loaded.
    """
    try:
        yield from _run(tasks, should_stop)
    except RuntimeError as error:
        raise RunError(explain(error)) from error


def _run(tasks: Sequence[Task], should_stop: Callable[[], bool]) -> Iterator[Event]:
    if not engine.is_loaded():
        yield Note("Loading PyTorch…")
    engine.load()
    from napari_lucyd.deconvolution.device import keeping_memory

    with keeping_memory():
        yield from _run_loaded(tasks, should_stop)


def _run_loaded(tasks: Sequence[Task], should_stop: Callable[[], bool]) -> Iterator[Event]:
    from napari_lucyd.deconvolution import Cancelled

    if any(task.parameters.classical for task in tasks):
        yield Note("Preparing the PSF…")
    planned = []
    for task in tasks:
        try:
            method, psf = choose_method(task, should_stop)
            planned.append((task, psf, method, *make_job(task, method, should_stop)))
        except Cancelled:
            yield Stopped(stopped_text([], anything=False))
            return
        except Exception as error:
            yield Failed(task, explain(error))
    before, complete = 0, 0
    for number, (task, psf, method, job, region) in enumerate(planned):
        where = f"“{task.source.name}”" + (f" ({number + 1} of {len(planned)})" if len(planned) > 1 else "")
        yield Note(f"Deconvolving {where} on {job.device.name}…")
        began = time.monotonic()
        finished, stopped = 0, False
        try:
            for step in job.steps(should_stop):
                finished += math.prod(part.stop - part.start for part in step.region)
                # Both change in a run: tiles are cut for want of memory, iterations end early.
                total = before + sum(later.tiles for _, _, _, later, _ in planned[number:])
                yield Advanced(before + step.done, total, _remaining(step, job, total, before), where)
        except Cancelled:
            stopped = True
        except Exception as error:
            yield Failed(task, explain(error))
            before += job.tiles
            continue
        before += job.tiles
        left = [later for later, *_ in planned[number:]]
        if stopped and not finished:
            yield Stopped(stopped_text(left, anything=complete > 0))
            return
        share = finished / math.prod(job.output_shape)
        kept = f"Stopped after {share:.0%} of “{task.source.name}”."
        try:
            yield _finish(task, method.name, psf, job, region, began, not stopped, share, number)
            complete += 1
        except Exception as error:
            yield Failed(task, explain(error))
            kept = ""
        if stopped:
            yield Stopped(stopped_text(left[1:], anything=complete > 0, kept=kept))
            return


def stopped_text(left: Sequence[Task], *, anything: bool, kept: str = "") -> str:
    """What to tell of a cancel.

    Parameters
    ----------
    left
        The images of which nothing is done.
    anything
        Whether another image was finished.
    kept
        What is told of the one that was finished in part.
    """
    if not (anything or kept):
        return "Cancelled; nothing was finished."
    names = ", ".join(f"“{task.source.name}”" for task in left)
    told = [kept or "Cancelled.", f"Not done: {names}." if names else ""]
    return " ".join(text for text in told if text)


def explain(error: BaseException) -> str:
    """What to tell of an error: our own messages as they are, others with the name of their kind."""
    text = str(error).strip() or type(error).__name__
    ours = type(error).__module__.startswith("napari_lucyd")
    if ours or isinstance(error, ValueError | TypeError | FileNotFoundError):
        return text
    return f"{type(error).__name__}: {text}"


def _finish(
    task: Task,
    method: str,
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
        method,
        axes=job.axes,
        region=region,
        # Channels shown by addition: the first output covers what is below, the others add to it.
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
        tuple(str(warning) for warning in getattr(result, "warnings", ()) or ()),
    )


def _remaining(step: Any, job: Job, total: int, before: int) -> float | None:
    if step.seconds_left is None or step.done == 0:
        return step.seconds_left
    tiles_left = total - before - step.done
    own_left = job.tiles - step.done
    if own_left <= 0:
        return step.seconds_left if tiles_left == 0 else None
    return float(step.seconds_left) * tiles_left / own_left
