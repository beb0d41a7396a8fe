"""A run with results in files, as a generator of events for a worker thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lucyd._napari.deconvolve.contest import compare_methods
from napari_lucyd._napari.deconvolve.planning import choose_method, make_store
from napari_lucyd._napari.deconvolve.task import (
    Event,
    Failed,
    ImageTask,
    LeftAlone,
    Skipped,
    Stopped,
    done_text,
    method_text,
    stopped_text,
)
from napari_lucyd._napari.deconvolve.to_zarr.growing_array import GrowingArray, GrowingLevel
from napari_lucyd._napari.deconvolve.zarr_plan import AlreadyThere, files_text, resumes
from napari_lucyd._napari.layers.results import (
    MAP_LOOK,
    deviation,
    finite,
    layer_keywords,
    layer_metadata,
    own_limits,
    with_psf_origin,
)
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.layers.viewer import METADATA_KEY, UNFINISHED
from napari_lucyd._napari.psf.origins import Psf
from napari_lucyd._napari.workers.events import Advanced, Note, explain
from napari_lucyd._napari.workers.window_words import in_window_words
from napari_lucyd.deconvolution.findings import Finding, kind_of
from napari_lucyd.text import count_text

if TYPE_CHECKING:
    from napari_lucyd.deconvolution import Progress
    from napari_lucyd.out_of_core import StoreJob

_PATIENCE_SECONDS = 2
# Steps of the progress bar for each block.
_PARTS = 1000
# Number of blocks of an earlier run that are read to find the range of values.
_LOOKED_AT = 8
_CENTRES = {"correction_mask": 0.0, "update_term": 1.0}
# Before any values are known: fractions of the image's contrast range, and of 1.
_FIRST_REACH = {"correction_mask": 0.25, "update_term": 0.5}


@dataclass(frozen=True)
class Range:
    """The range of an output, as far as it is known.

    Parameters
    ----------
    limits
        Contrast limits of the layer; None for those of the image.
    reach
        Lowest and highest value.
    """

    limits: tuple[float, float] | None
    reach: tuple[float, float] | None


@dataclass(frozen=True)
class Begun:
    """Event: the stores of an image were created; levels and keywords of each layer, by the final path.

    The receiver sets ``added`` when the layers are there. The run waits for this for a short time.
    """

    layers: dict[Path, tuple[list[GrowingLevel], dict[str, Any]]]
    added: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Grown:
    """Event: another block is finished; the range of each store, and the stores with a visible change."""

    ranges: dict[Path, Range]
    seen: tuple[Path, ...]


@dataclass(frozen=True)
class Stored:
    """Event: an image is done; levels and metadata of each layer, and lines for the status."""

    layers: dict[Path, tuple[list[Any], dict[str, Any]]]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Halted:
    """Event: an image was stopped by a cancel or an error; the stores keep the finished blocks.

    The text says so; it is empty if there is nothing to resume.
    """

    paths: tuple[Path, ...]
    done: int
    text: str


def run(tasks: Sequence[ImageTask], should_stop: Callable[[], bool], began: float) -> Iterator[Any]:
    """Deconvolve images into files, one after another.

    Parameters
    ----------
    tasks
        The images, each with a stem.
    should_stop
        See `napari_lucyd._napari.deconvolve.worker.run`.
    began
        Time when Run was pressed, by `time.monotonic`.

    Yields
    ------
    Event, Begun, Grown, Stored or Halted
        One event or more for each block.
    """
    _prepare_dask()
    from napari_lucyd.deconvolution import Cancelled

    complete = 0
    for number, task in enumerate(tasks):
        where = f"“{task.source.name}”" + (f" ({number + 1} of {len(tasks)})" if len(tasks) > 1 else "")
        yield Note(f"Preparing {where}…")
        # The comparison of methods is a part of the run of an image.
        began = time.monotonic() if number else began
        try:
            method, psf = choose_method(task, should_stop)
            choice = None
            if task.parameters.automatic:
                choice = yield from compare_methods(task, method, should_stop)
                if choice.left_alone:
                    yield LeftAlone(task, choice.reason)
                    continue
            store, options = make_store(task, method, choice)
            method = method if choice is None else choice.method
            region = options["region"]
            reasons = () if choice is None else (choice.reason,)
            image = _Image(task, store, method, psf, region, number > 0, reasons, began)
        except Cancelled:
            yield Stopped(stopped_text(tasks[number:], anything=complete > 0))
            return
        except AlreadyThere as there:
            yield Skipped(f"“{task.source.name}”: {there}")
            complete += 1
            continue
        except Exception as error:
            yield Failed(task, explain(error))
            continue
        try:
            for event in image.run(should_stop, where):
                yield of_all(event, number, len(tasks)) if isinstance(event, Advanced) else event
            complete += 1
        except Cancelled:
            halted = image.halted()
            yield halted
            left = tasks[number + 1 :] if halted.text else tasks[number:]
            yield Stopped(stopped_text(left, anything=complete > 0, kept=halted.text))
            return
        except Exception as error:
            halted = image.halted()
            yield Failed(task, "\n".join(text for text in (explain(error), halted.text) if text))
            yield halted
        finally:
            store.close()


def of_all(event: Advanced, number: int, images: int) -> Advanced:
    """Extend the progress of one image to a run over several; each image counts the same.

    Parameters
    ----------
    event
        Progress of one image.
    number
        Number of images before it.
    images
        Number of all images.
    """
    left, own = event.seconds_left, event.total - event.done
    later = event.total * (images - number - 1)
    if left is not None and later:
        left = left * (own + later) / own if own else None
    done, total = number * event.total + event.done, images * event.total
    return replace(event, done=done, total=total, seconds_left=left)


class _Image:
    """The run of one image."""

    def __init__(
        self,
        task: ImageTask,
        store: StoreJob,
        method: Any,
        psf: Psf | None,
        region: tuple[slice, ...] | None,
        follows: bool,
        reasons: tuple[str, ...],
        began: float,
    ) -> None:
        self._task, self._store = task, store
        self._method, self._psf, self._region = method, psf, region
        self._follows, self._reasons, self._began = follows, reasons, began
        self._growing: dict[str, GrowingArray] = {}
        self._ranges: dict[str, Range] = {}
        self._done = self._total = 0

    def run(self, should_stop: Callable[[], bool], where: str) -> Iterator[Event | Begun | Grown | Stored]:
        """Start or resume; raises the errors of `StoreJob.steps`, and Cancelled."""
        store, device = self._store, self._store.job.device.name
        finished = store.begin()
        self._done = len(finished)
        self._growing = {
            part: GrowingArray(path, finished, store.destinations[part])
            for part, path in store.partial.items()
        }
        for region in finished[:: max(1, len(finished) // _LOOKED_AT)]:
            self._look(region)
        begun = Begun({store.destinations[part]: self._shown(part) for part in self._growing})
        yield begun
        end = time.monotonic() + _PATIENCE_SECONDS
        while not (begun.added.wait(0.02) or should_stop() or time.monotonic() > end):
            pass
        blocks = count_text(len(finished), "finished block")
        resumed = f", resumed after {blocks}" if finished else ""
        yield Note(f"Deconvolving {where} on {device}{resumed}…", computing=True)
        for step in store.steps(should_stop, within=True):
            self._done, self._total = step.done, step.total
            yield from self._advance(step, where)
        yield self._stored(len(finished))

    def halted(self) -> Halted:
        """Describe the state after a cancel or an error."""
        name = self._task.source.name
        paths = tuple(self._store.destinations.values()) if self._growing else ()
        if not self._done:
            text = f"Stopped before the first block of “{name}” was finished. Press Resume to continue."
            return Halted(paths, 0, text if resumes(self._store) else "")
        of = f"{self._done} of " if self._total else ""
        share = of + count_text(self._total or self._done, "block")
        kept = next(iter(self._store.partial.values()))
        text = f"Stopped after {share} of “{name}”. The finished part is kept in {kept}. "
        text += "Press Resume to continue."
        return Halted(paths, self._done, text)

    def _advance(self, step: Progress, where: str) -> Iterator[Event | Grown]:
        if any(part.stop > part.start for part in step.region):
            self._look(step.region)
            paths = self._store.destinations
            seen = tuple(paths[part] for part, store in self._growing.items() if store.add(step.region))
            yield Grown({paths[part]: known for part, known in self._ranges.items()}, seen)
        elif step.share is None:
            yield Note(f"Finishing {where}: {step.message}…")
        # A small image is a single block, which may take minutes. It is not done before it is written.
        done = _PARTS * step.done + min(_PARTS - 1, round(_PARTS * (step.share or 0)))
        yield Advanced(done, _PARTS * step.total, step.seconds_left, where)

    def _look(self, region: tuple[slice, ...]) -> None:
        """Update the ranges with the values of a region."""
        for part, store in self._growing.items():
            values = finite(store.sample(region))
            if not values.size:
                continue
            known = self._ranges.get(part)
            centre = _CENTRES.get(part)
            low, high = float(values.min()), float(values.max())
            before = known.limits if known is not None and known.reach is not None else None
            if known is not None and known.reach is not None:
                low, high = min(low, known.reach[0]), max(high, known.reach[1])
            if centre is None:
                bottom, top = own_limits(values, self._task.source.display["contrast_limits"])
                limits = (bottom, max(top, before[1]) if before else top)
            else:
                reach = max(deviation(values, centre), before[1] - centre if before else 0.0)
                limits = (centre - reach, centre + reach)
            self._ranges[part] = Range(limits, (low, high))

    def _shown(self, part: str) -> tuple[list[GrowingLevel], dict[str, Any]]:
        """Return the levels of an unfinished store, and the keywords of its layer."""
        from napari_lucyd.io.zarr import pyramid

        source, job = self._task.source, self._store.job
        factors = pyramid(job.output_shape, job.axes, source.voxel_size(job.axes))
        known = self._ranges.setdefault(part, Range(_first_limits(part, source), None))
        keywords = {
            **layer_keywords(
                source,
                part,
                self._method.name,
                axes=job.axes,
                region=self._region,
                additive=self._follows and source.blending == "additive",
            ),
            **source.display,
            "metadata": self._unfinished(part, job.result().recipe),
        }
        if known.limits is not None:
            keywords["contrast_limits"] = list(known.limits)
        if part in _CENTRES:
            keywords |= MAP_LOOK
        return [GrowingLevel(self._growing[part], each) for each in factors], keywords

    def _stored(self, resumed: int) -> Stored:
        from napari_lucyd.io.zarr import open_levels

        store = self._store
        recipe = store.recipe()
        layers = {
            path: (open_levels(path), self._metadata(part, recipe))
            for part, path in store.destinations.items()
        }
        paths = list(store.destinations.values())
        before = f", {resumed} of {count_text(self._total, 'block')} earlier" if resumed else ""
        device = f"{store.job.device.name}{before}"
        seconds, method = time.monotonic() - self._began, method_text(self._method, recipe)
        text = (
            f"{done_text(self._task, seconds, method, device)} "
            f"{files_text([path.name for path in paths])} in {paths[0].parent}."
        )
        # A recipe has plain text.
        kinds = {str(finding): kind_of(finding) for finding in store.job.warnings}
        found = (Finding(each, kinds.get(each, "")) for each in recipe["warnings"])
        return Stored(layers, (text, *map(in_window_words, (*self._reasons, *found))))

    def _unfinished(self, part: str, recipe: dict[str, Any]) -> dict[str, Any]:
        metadata = self._metadata(part, recipe)
        own = {**metadata[METADATA_KEY], UNFINISHED: str(self._store.destinations[part])}
        return {**metadata, METADATA_KEY: own}

    def _metadata(self, part: str, recipe: dict[str, Any]) -> dict[str, Any]:
        origin = self._psf.origin if self._psf else None
        return layer_metadata(with_psf_origin(recipe, origin), part, self._task.source)


def _prepare_dask() -> None:
    """Let dask do its first imports now, before the window adds layers."""
    import dask.array

    dask.array.zeros(1).compute()  # type: ignore[no-untyped-call]


def _first_limits(part: str, source: SourceLayer) -> tuple[float, float] | None:
    if part not in _CENTRES:
        return None
    low, high = source.display["contrast_limits"]
    reach = _FIRST_REACH[part] * ((high - low) if part == "correction_mask" else 1.0) or 1.0
    return _CENTRES[part] - reach, _CENTRES[part] + reach
