"""A batch as a generator of events for a worker thread; an image that fails does not end it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from napari_lucyd._napari.deconvolve.contest import compare_methods
from napari_lucyd._napari.deconvolve.parameters import WHOLE, Parameters
from napari_lucyd._napari.deconvolve.planning import choose_method, likely_model, make_job
from napari_lucyd._napari.deconvolve.task import ImageTask
from napari_lucyd._napari.layers.results import with_psf_origin
from napari_lucyd._napari.layers.saving import file_name
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.workers import torch_loading
from napari_lucyd._napari.workers.events import Advanced, Note, RunError, explain
from napari_lucyd._napari.workers.window_words import in_window_words
from napari_lucyd.batch.inputs import destinations, distinct_names, find_images
from napari_lucyd.batch.results import (
    FORESEEN,
    ResultExistsError,
    Told,
    check_destinations,
    made_with,
    prepare,
    sort_warnings,
    without_path,
    write_results,
)
from napari_lucyd.deconvolution.result import Part
from napari_lucyd.io import Image, default_suffix, micrometers, read_image, unit_label
from napari_lucyd.models.catalogue import DEFAULT_MODEL
from napari_lucyd.text import capitalized, duration_text, group_messages

_OTHERWISE = "choose another folder for the results"
_SUFFIX = ".ome.tif"
WAITING, RUNNING, DONE, FAILED, LEFT_OUT = "waiting", "running", "done", "failed", "not done"
LEFT_ALONE, EXISTS = "left alone", "exists"


@dataclass(frozen=True)
class BatchRequest:
    """Images of a batch and its settings.

    Parameters
    ----------
    folder
        Folder with images; None for layers.
    tasks
        The layers; empty for a folder.
    parameters
        Settings for the files of a folder.
    out
        Folder of the results; nothing in it is replaced.
    dtype
        ``"float32"`` or ``"uint16"``.
    refused
        Name of each layer that cannot be deconvolved, and the reason.
    """

    folder: Path | None
    tasks: tuple[ImageTask, ...]
    parameters: Parameters
    out: Path
    dtype: str
    refused: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Row:
    """Event: the state of one image of the batch.

    Parameters
    ----------
    number
        Its place in the table.
    name
        Name of the file or layer.
    state
        One of the states above.
    text
        The time, the files and the warnings of a result, or the reason of a failure.
    warned
        True if the result has warnings that are about this image.
    common
        Sentences that are true of every image with these settings.
    files
        The results that are there.
    """

    number: int
    name: str
    state: str
    text: str = ""
    warned: bool = False
    common: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class _Input:
    """One image: a task for a layer, or a file that is read when its turn comes."""

    name: str
    stem: str
    suffix: str
    path: Path | None = None
    task: ImageTask | None = None


@dataclass
class _Outcome:
    """Outcome of one image: its files and warnings, the method chosen for it, and why it was left alone."""

    written: list[Path] = field(default_factory=list)
    chosen: str = ""
    left_alone: str = ""
    told: Told = field(default_factory=Told)


def run(request: BatchRequest, should_stop: Callable[[], bool]) -> Iterator[Any]:
    """Deconvolve the images of a folder, or layers, into files.

    Parameters
    ----------
    request
        The batch.
    should_stop
        See `napari_lucyd._napari.deconvolve.worker.run`.

    Yields
    ------
    Row or Advanced
        A row whenever the state of an image changes, first one for each image.

    Raises
    ------
    RunError
        Instead of any RuntimeError that does not belong to one image.
    """
    try:
        torch_loading.load()
        yield from _run(request, should_stop)
    except RuntimeError as error:
        raise RunError(explain(error)) from error


def _run(request: BatchRequest, should_stop: Callable[[], bool]) -> Iterator[Any]:
    from napari_lucyd.deconvolution import Cancelled

    inputs, left_out = _inputs(request)
    if should_stop():
        return
    yield from (Row(number, each.name, WAITING) for number, each in enumerate(inputs))
    yield from left_out
    for number, each in enumerate(inputs):
        began = time.monotonic()
        yield Row(number, each.name, RUNNING)
        outcome = _Outcome()
        try:
            for step in _one(each, request, should_stop, outcome):
                if isinstance(step, Note):
                    yield Row(number, each.name, RUNNING, step.text)
                    continue
                share = number + (step.done / step.total if step.total else 0.0)
                yield Advanced(round(1000 * share), 1000 * len(inputs), None, each.name)
        except Cancelled:
            yield from (Row(later, inputs[later].name, LEFT_OUT) for later in range(number, len(inputs)))
            return
        # A batch is run again after new images came.
        except ResultExistsError as error:
            text = f"{error.path.name} is there from an earlier run{made_with(error.path)}."
            there = destinations(request.out, each.stem, each.suffix, [*Part]).values()
            files = tuple(path for path in there if path.exists())
            yield Row(number, each.name, EXISTS, text, files=files)
        except FORESEEN as error:
            yield Row(number, each.name, FAILED, _reason(error, each.path))
        # One image must not end a batch of a whole night.
        except Exception as error:
            yield Row(number, each.name, FAILED, f"{error!r}. Please report this.")
        else:
            names = ", ".join(path.name for path in outcome.written)
            how = [duration_text(time.monotonic() - began), outcome.chosen, *outcome.told.brief]
            text = f"{', '.join(filter(None, how))}: {names}"
            if outcome.left_alone:
                text = f"{text}. {outcome.left_alone}"
            text = "\n".join([text, *outcome.told.own])
            state = LEFT_ALONE if outcome.left_alone else DONE
            told = outcome.told
            common, files = tuple(told.common), tuple(outcome.written)
            yield Row(number, each.name, state, text, bool(told.own), common, files)
        yield Advanced(1000 * (number + 1), 1000 * len(inputs), None, each.name)


def _inputs(request: BatchRequest) -> tuple[list[_Input], list[Row]]:
    """List the images, and rows for what is left out."""
    if request.folder is None:
        names = [task.source.name for task in request.tasks]
        stems = distinct_names([Path(file_name(name) + _SUFFIX) for name in names])
        pairs = zip(request.tasks, stems, strict=True)
        layers = [_Input(task.source.name, stem, _SUFFIX, task=task) for task, stem in pairs]
        refused = enumerate(request.refused, len(layers))
        return layers, [Row(number, name, FAILED, reason) for number, (name, reason) in refused]
    found = find_images([request.folder])
    inputs = [
        _Input(path.name, name, default_suffix(path), path=path)
        for path, name in zip(found.images, distinct_names(found.images), strict=True)
    ]
    refused_files = [(path, FAILED, capitalized(reason), ()) for path, reason in found.refused]
    results = [(path, LEFT_OUT, "It is a result.", (path,)) for path in found.results]
    return inputs, [
        Row(number, path.name, state, reason, files=files)
        for number, (path, state, reason, files) in enumerate([*refused_files, *results], len(inputs))
    ]


def _reason(error: BaseException, path: Path | None) -> str:
    """Say why an image failed, without the path of its file, which the row names."""
    text = explain(error)
    if path is None:
        return text
    text = without_path(text, path)
    return text if text.startswith(path.name) else capitalized(text)


def _one(
    each: _Input, request: BatchRequest, should_stop: Callable[[], bool], outcome: _Outcome
) -> Iterator[Any]:
    """Deconvolve one image; yield notes and the steps of its run, and write the outcome."""
    task = each.task
    if each.path is not None:
        # The region, the axes and the folder belong to the image in the window.
        own = replace(request.parameters, region=WHOLE, z_range=None, folder=None, axes=None)
        task = ImageTask(source_of(read_image(each.path), each.path), own)
        # As without a window, the default model of volumes stands for that of planes too.
        if own.model == DEFAULT_MODEL and not own.classical:
            task = replace(task, parameters=replace(own, model=likely_model(task)))
    assert task is not None
    read = [] if each.path is None else [each.path]

    def paths_of(parts: Iterable[str]) -> dict[str, Path]:
        named = destinations(request.out, each.stem, each.suffix, [Part(part) for part in parts])
        check_destinations(named.values(), read, overwrite=False, otherwise=_OTHERWISE)
        return {str(part): path for part, path in named.items()}

    # Every method has an output. A refusal must come before the methods are compared.
    paths_of(part for part in task.parameters.parts if part == "output")
    method, psf = choose_method(task, should_stop)
    choice = None
    if task.parameters.automatic:
        choice = yield from compare_methods(task, method, should_stop)
        outcome.left_alone = in_window_words(choice.warning) if choice.left_alone else ""
        outcome.chosen = "" if choice.left_alone else choice.method.name
        parts = choice.options({"outputs": task.parameters.parts})["outputs"]
    else:
        known = ("output",) if task.parameters.classical else method.parts
        parts = [part for part in task.parameters.parts if part in known]
    paths = paths_of(parts)
    prepare(paths.values(), overwrite=False, otherwise=_OTHERWISE)
    job, _ = make_job(task, method, should_stop, choice)
    yield from job.steps(should_stop)
    result = job.result()
    told = sort_warnings(result.warnings)
    found = map(in_window_words, told.own)
    warnings = group_messages(text for text in found if text != outcome.left_alone)
    outcome.told = replace(told, own=warnings, common=[*map(in_window_words, told.common)])
    outcome.written += write_results(
        replace(result, recipe=with_psf_origin(result.recipe, psf.origin if psf else None)),
        paths,
        axes=job.axes,
        voxel_size=task.source.voxel_size(job.axes),
        unit=task.source.unit if task.source.unit_um is not None else None,
        dtype=request.dtype,
    )


def source_of(image: Image, path: Path) -> SourceLayer:
    """Return an image of a file in the form of a layer.

    Parameters
    ----------
    image
        Image from `napari_lucyd.io.read_image`.
    path
        Its file.
    """
    letters = [name for name in image.axes if name in "ZYX"]
    sizes = dict(zip(letters, image.voxel_size or (1.0,) * len(letters), strict=True))
    return SourceLayer(
        name=path.name,
        data=image.data,
        spatial={},
        display={},
        axes=image.axes,
        steps=tuple(float(sizes.get(name, math.nan)) for name in image.axes),
        unit=unit_label(image.unit) if image.unit else "pixel",
        unit_um=micrometers(image.unit) if image.unit else None,
    )
