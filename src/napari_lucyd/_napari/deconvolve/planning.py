"""Plans and estimates of a run, made from the panel's parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from napari_lucyd._napari.deconvolve.parameters import NUMBERS, STEPS, Parameters
from napari_lucyd._napari.deconvolve.task import Estimate, ImageTask, method_text
from napari_lucyd._napari.deconvolve.zarr_plan import AlreadyThere, check_room, disk_line, plan_store
from napari_lucyd._napari.psf.form import BLUR, KINDS
from napari_lucyd._napari.psf.optics import OpticsPsf
from napari_lucyd._napari.psf.origins import Psf, PsfProblem, check_steps
from napari_lucyd._napari.widgets.fields import in_labels
from napari_lucyd._napari.workers import garbage_collection, torch_loading
from napari_lucyd._napari.workers.events import explain
from napari_lucyd._napari.workers.window_words import in_window_words
from napari_lucyd.deconvolution import scratch
from napari_lucyd.models.catalogue import DEFAULT_MODEL, DEFAULT_PLANES, is_told
from napari_lucyd.text import bytes_text, count_text, duration_text, group_messages

# Arguments of a plan that an error may name, and that are fields in the panel.
_NAMED = (*STEPS, "tile_shape", "halo")
COMPARES = "Automatic first compares methods for 5 to 20 seconds."
COMPARES_NOW = "Automatic compares methods in this run."
HAS_COMPARED = "Automatic takes {}, chosen before."
COMPARES_NOT = "Automatic takes {} without a comparison, because no photon noise was found."
LEAVES_ALONE = "Automatic will leave this image alone, as said under Image."
HAS_LEFT_ALONE = "Automatic will leave {} alone: no method explained the photons better."

if TYPE_CHECKING:
    from napari_lucyd.deconvolution import Job
    from napari_lucyd.deconvolution.method_choice import MethodChoice
    from napari_lucyd.out_of_core import StoreJob
    from napari_lucyd.referee import Examination


def choose_method(task: ImageTask, should_stop: Callable[[], bool] | None = None) -> tuple[Any, Psf | None]:
    """Load the model of one image, or make the classical method and its PSF.

    Raises
    ------
    OSError, TypeError, ValueError
        If that fails; the message says why.
    Cancelled
        If ``should_stop`` returns True while the PSF is computed.
    """
    from napari_lucyd.deconvolution import SemiBlind, make_method

    parameters = task.parameters
    if parameters.automatic:
        return torch_loading.get_model(likely_model(task)), None
    if not parameters.classical:
        return torch_loading.get_model(parameters.model), None
    axes = task.source.likely_axes(parameters.axes)
    if parameters.method == SemiBlind.name:
        return _semi_blind(task, axes), None
    psf = parameters.microscope.load(task.source, axes, should_stop)
    if isinstance(parameters.microscope, OpticsPsf):
        # The user states the image's voxel size there.
        check_steps(psf, task.source, axes)
    numbers = {**parameters.numbers, "psf_voxel_size": psf.steps_for(task.source, axes)}
    try:
        return make_method(parameters.method, psf.given, numbers), psf
    except (TypeError, ValueError) as error:
        text = in_labels(str(error), NUMBERS, Parameters)
        raise PsfProblem(f"PSF “{psf.name}”: {text}") if "psf" in str(error) else ValueError(text) from error


def likely_model(task: ImageTask) -> str:
    """Return the name of the default model for an image: that of volumes, or that of planes."""
    from napari_lucyd.deconvolution.named_model import has_volumes

    axes = task.source.likely_axes(task.parameters.axes)
    return DEFAULT_MODEL if has_volumes(task.source.data, axes) else DEFAULT_PLANES


def _semi_blind(task: ImageTask, axes: str) -> Any:
    """Make the method that finds the blur, or the width of a microscope's PSF."""
    from napari_lucyd.deconvolution import SemiBlind, make_method

    parameters = task.parameters
    told = parameters.microscope.told(task.source, axes)
    microscope = told.get("microscope")
    if told and microscope is None:
        raise ValueError(
            f"{SemiBlind.title} finds the blur itself. Choose Microscope ▸ From ▸ Optics or Unknown; or "
            "choose the method Richardson-Lucy, which uses this PSF."
        )
    try:
        return make_method(parameters.method, None, {**parameters.numbers, "microscope": microscope})
    except (TypeError, ValueError) as error:
        raise ValueError(in_labels(str(error), NUMBERS, Parameters)) from error


def _known_blur(task: ImageTask, model: Any, axes: str) -> dict[str, Any]:
    """Return what the user told about the blur, for a model that uses it."""
    microscope = task.parameters.microscope
    package = "blur_sigma" in model.card.get("told", ())
    if not package and (microscope is None or not is_told(model.card)):
        return {}
    known: dict[str, Any] = {} if microscope is None else microscope.told(task.source, axes)
    if package and "blur_sigma" not in known:
        raise ValueError(
            f"{model.name} needs the width of the blur. Choose Microscope ▸ From ▸ {KINDS[BLUR]}."
        )
    return known


def make_options(task: ImageTask, method: Any) -> dict[str, Any]:
    """Make the keyword arguments of `napari_lucyd.deconvolution.plan` for one image.

    Raises
    ------
    TypeError, ValueError
        As `napari_lucyd.deconvolution.plan` does.
    """
    from napari_lucyd.deconvolution import Source

    source, parameters = task.source, task.parameters
    axes = parameters.axes or source.axes
    if axes is None:
        axes = Source(source.data, method.dimension, None).axes.names
    region = spatial_region(task.view, axes, parameters.z_range, source.shape)
    steps = source.voxel_size(axes)
    known = {} if parameters.classical else _known_blur(task, method, axes)
    if getattr(method, "microscope", None) is not None or "microscope" in known:
        steps = parameters.microscope.steps_for(source, axes)
    options = {**parameters.options(steps, axes, region), **known}
    if not parameters.classical:
        # Outputs that the model does not have are left out. If none is left, the core says which there are.
        parts = [name for name in parameters.parts if name in method.parts]
        options["outputs"] = parts or parameters.parts
    return options


def make_job(
    task: ImageTask, method: Any, should_stop: Callable[[], bool] | None = None, choice: Any = None
) -> tuple[Job, dict[str, Any]]:
    """Plan one image; results that would fill the memory go to temporary files.

    ``choice`` takes the place of the default model, ``method``, where the method was chosen automatically.

    Returns
    -------
    job, options
        The plan, and its keyword arguments.

    Raises
    ------
    TypeError, ValueError
        As `napari_lucyd.deconvolution.plan` does.
    """
    from napari_lucyd.deconvolution import plan

    options = make_options(task, method)
    try:
        job = plan(task.source.data, choice or method, **options)
    except ValueError as error:
        raise ValueError(in_labels(str(error), _NAMED, Parameters)) from error
    size = scratch.result_bytes(job, len(options["outputs"]))
    results = f"The results ({bytes_text(size)})"
    if scratch.belongs_on_disk(size):
        job = plan(task.source.data, choice or method, **options, allocate=scratch.on_disk(should_stop))
        job.warnings.append(f"{results} are kept in temporary files. {scratch.ADVICE}")
    elif scratch.fills_memory(size):
        job.warnings.append(f"{results} would fill the memory. {scratch.ADVICE}")
    return job, options


def make_store(task: ImageTask, method: Any, choice: Any = None) -> tuple[StoreJob, dict[str, Any]]:
    """Plan one image whose results go to files; see `make_job`.

    Before the contest of an automatic choice, an unfinished run may be that of any of its methods.

    Raises
    ------
    TypeError, ValueError
        Also where the files cannot be written.
    """
    options = make_options(task, method)
    decided = choice is not None or not task.parameters.automatic
    if choice is not None:
        options, method = choice.options(options), choice
    try:
        return plan_store(task, method, options, decided=decided), options
    except AlreadyThere:
        raise
    except ValueError as error:
        raise ValueError(in_labels(str(error), _NAMED, Parameters)) from error


def estimate(tasks: Sequence[ImageTask], should_stop: Callable[[], bool] | None = None) -> list[Estimate]:
    """Estimate memory and time of each image; call it off the window's thread.

    The list is empty if ``should_stop``, which is called while a PSF is computed, returns True.
    """
    from napari_lucyd.deconvolution import Cancelled

    with garbage_collection.held(), contextlib.suppress(Cancelled):
        torch_loading.load()
        return check_room([_estimate_one(task, should_stop) for task in tasks])
    return []


def _estimate_one(task: ImageTask, should_stop: Callable[[], bool] | None) -> Estimate:
    from napari_lucyd.deconvolution import Cancelled

    text = ""
    try:
        method, psf = choose_method(task, should_stop)
        text = psf.describe() if psf else ""
        choice = _known_choice(task, method) if task.parameters.automatic else None
        leaves = choice is not None and choice.left_alone
        if task.stem is not None:
            store, options = make_store(task, method, None if leaves else choice)
            job = store.job
        else:
            store, (job, options) = None, make_job(task, method, choice=choice)
        return Estimate(
            task,
            job,
            method,
            job.estimate_seconds(),
            options=options,
            psf_text=text,
            store=store,
            choice=choice,
        )
    except Cancelled:
        raise
    except AlreadyThere as there:
        return Estimate(task, None, done=str(there), psf_text=text)
    except Exception as error:  # any error is shown in the panel
        about_psf = isinstance(error, PsfProblem)
        return Estimate(task, None, error=explain(error), about_psf=about_psf, psf_text=text)


def _known_choice(task: ImageTask, method: Any) -> MethodChoice | None:
    """Return the method that was already chosen for this image: its run is described, or resumed."""
    from napari_lucyd._napari.deconvolve.contest import known_choice

    return known_choice(task, method)


def choice_text(estimates: Sequence[Estimate], found: Examination | None, *, running: bool = False) -> str:
    """Say how Automatic chooses the method; empty for a method that the user has chosen.

    Parameters
    ----------
    estimates
        The images of the run.
    found
        Examination of the only image, or None.
    running
        True if the run has begun.
    """
    automatic = [entry for entry in estimates if entry.job is not None and entry.task.parameters.automatic]
    if not automatic:
        return ""
    known = [entry.choice for entry in automatic if entry.choice is not None]
    if len(known) == len(automatic):
        return _chosen_text(known)
    channels = () if found is None or len(estimates) > 1 else found.channels or (found,)
    if not channels or any(channel.poisson for channel in channels):
        return COMPARES_NOW if running else COMPARES
    # As in the contest, which nothing can enter without photon noise.
    restored = [each.recommendation.model for each in channels if not each.recommendation.leave_alone]
    return COMPARES_NOT.format(restored[0]) if restored else LEAVES_ALONE


def _chosen_text(choices: Sequence[MethodChoice]) -> str:
    """Name the methods that were chosen before, and count the images that they do not help."""
    names = dict.fromkeys(method_text(each.method, {}) for each in choices if not each.left_alone)
    alone = sum(each.left_alone for each in choices)
    told = [HAS_COMPARED.format(" or ".join(names))] if names else []
    if alone:
        told.append(HAS_LEFT_ALONE.format("this image" if len(choices) == 1 else count_text(alone, "image")))
    return " ".join(told)


def estimate_lines(estimates: list[Estimate], choice: str = "") -> list[str]:
    """Describe a run: time, memory, work, device and disk space, the choice of the method, then the warnings.

    The memory is that of the largest image with the results of all.

    Parameters
    ----------
    estimates
        The images of the run.
    choice
        Text of `choice_text`.
    """
    planned = [(entry.job, entry.seconds or 0.0) for entry in estimates if entry.job is not None]
    lines = []
    if planned:
        jobs = [job for job, _ in planned]
        seconds = sum(each for _, each in planned)
        memory = max((entry.store or entry.job).memory_bytes for entry in estimates if entry.job)
        work = {job.work for job in jobs}
        each = f"{len(jobs)} images, {work.pop()} each" if len(work) == 1 else f"{len(jobs)} images"
        time = duration_text(seconds)
        lines.append(
            f"{time.capitalize() if seconds < 1 else f'About {time}'} and {bytes_text(memory)} of memory: "
            f"{each if len(jobs) > 1 else jobs[0].work} on {jobs[0].device.name}."
        )
        stores = [entry.store for entry in estimates if entry.store is not None]
        lines += [disk_line(stores)] if stores else []
        lines += [choice] if choice else []
        lines += group_messages(in_window_words(warning) for job in jobs for warning in job.warnings)
    for entry in estimates:
        if entry.error or entry.done:
            where = "" if entry.about_psf else f"“{entry.task.source.name}”: "
            lines.append(f"{where}{entry.error or entry.done}")
    # All images have one PSF.
    return list(dict.fromkeys(lines))


def spatial_region(
    region: tuple[slice, ...] | None, axes: str, z_range: tuple[int, int] | None, shape: Sequence[int]
) -> tuple[slice, ...] | None:
    """Keep the spatial part of a region and cut it to a range of planes.

    Parameters
    ----------
    region
        One slice an axis of the image, or None for all of it.
    axes
        Axes of the image.
    z_range
        First and last plane, both included, or None for all.
    shape
        Shape of the image.

    Returns
    -------
    tuple of slice or None
        Slices over the spatial axes, in the order of the image; None for the whole image.

    Raises
    ------
    ValueError
        If the range of planes lies outside the region.
    """
    parts = list(region) if region is not None else [slice(0, size) for size in shape]
    if z_range is not None and "Z" in axes:
        axis = axes.index("Z")
        first, last = sorted(z_range)
        start, stop = max(parts[axis].start, first), min(parts[axis].stop, last + 1)
        if start >= stop:
            raise ValueError(
                f"The Z range {first} to {last} and the visible part (planes {parts[axis].start} to "
                f"{parts[axis].stop - 1}) do not overlap; change the Z range."
            )
        parts[axis] = slice(start, stop)
    own = [axis for axis, name in enumerate(axes) if name in "ZYX"]
    spatial = tuple(parts[axis] for axis in own)
    sizes = tuple(shape[axis] for axis in own)
    whole = all(part.start == 0 and part.stop == size for part, size in zip(spatial, sizes, strict=True))
    return None if whole else spatial
