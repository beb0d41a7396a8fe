"""The run of a classical method: one whole volume after another, iteration by iteration."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from napari_lucyd.compute.device import Device, release_after_run
from napari_lucyd.deconvolution.arguments import RunArguments
from napari_lucyd.deconvolution.blocks import Filled, read_filled
from napari_lucyd.deconvolution.classical.automatic import CHECKPOINTS, Decided, decide
from napari_lucyd.deconvolution.classical.methods import AUTO, ClassicalMethod, RichardsonLucy, SemiBlind
from napari_lucyd.deconvolution.classical.solvers import start
from napari_lucyd.deconvolution.findings import NEGATIVE_VOXELS, Findings, negative_voxels_text
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.result import Progress
from napari_lucyd.deconvolution.statistics.scaling import Group, Statistics
from napari_lucyd.deconvolution.tiling.tiles import Tile
from napari_lucyd.errors import Cancelled, DeconvolutionError, clear_frames
from napari_lucyd.spans import Span


class _Step(NamedTuple):
    """A step of one volume.

    Attributes
    ----------
    left
        Steps that may follow in this volume.
    message
        For the status line.
    iterations
        That the volume took, with its last step; else 0.
    curve
        Held-out likelihood by the number of iterations, as far as known.
    """

    left: int
    message: str
    iterations: int = 0
    curve: tuple[tuple[int, float], ...] = ()


# Blurs that a search tries, about; the total grows where it tries more.
_BLURS = 20


def steps_at_most(method: ClassicalMethod) -> int:
    """Return how many steps a volume may take: iterations, and trials that choose their number."""
    if isinstance(method, SemiBlind):
        return method.iterations + _BLURS * len(CHECKPOINTS)
    chosen = isinstance(method, RichardsonLucy) and method.num_iter == AUTO
    return method.iterations + (len(CHECKPOINTS) if chosen else 0)


class ClassicalRun:
    """Result arrays, what is left to do, and what was found on the way.

    Parameters
    ----------
    method, device, choices
        Of the plan.
    warnings
        Messages for the user, shared with the job.

    Attributes
    ----------
    arrays
        The results, by the part they show.
    iterations
        Of each finished volume.
    negative_voxels
        Of the finished volumes; set to 0 for Richardson-Lucy with a background that was given.
    found
        Numbers found in each finished volume; see `Decided.record`.
    """

    def __init__(
        self,
        method: ClassicalMethod,
        device: Device,
        choices: RunArguments,
        warnings: Findings,
    ) -> None:
        self._method = method
        self._device = device
        self._choices = choices
        self._warnings = warnings
        self._leads = deque(product(*(range(*span) for span in choices.lead_spans)))
        # Steps in finished volumes, in the volume in work, and those that may follow in it.
        self._before, self._within, self._left = 0, 0, 0
        self.iterations: list[int] = []
        self.negative_voxels = 0
        self.found: list[dict[str, Any]] = []
        self.arrays = choices.make_arrays()

    @property
    def finished(self) -> bool:
        """True if nothing is left to do."""
        return not self._leads

    def unfinished(self) -> Iterator[tuple[tuple[int, ...], Tile]]:
        """Yield the unfinished volumes as tiles."""
        return ((lead, Tile(self._choices.spans)) for lead in self._leads)

    @property
    def total(self) -> int:
        """Steps over all volumes; shrinks where a volume takes fewer than it may."""
        others = len(self._leads) - (self._within > 0)
        return self._before + self._within + self._left + others * steps_at_most(self._method)

    def steps(
        self, source: Source, statistics: Statistics, should_stop: Callable[[], bool] | None
    ) -> Iterator[Progress]:
        """Do what is left; see `Job.steps`."""
        choices = self._choices
        nowhere = tuple(slice(0, 0) for _ in choices.output_shape)
        started, computed = time.perf_counter(), 0

        def ask() -> None:
            if should_stop is not None and should_stop():
                raise Cancelled(
                    f"Stopped after {len(self.iterations)} of {choices.volumes} volumes; one that was in "
                    "work is begun anew when the run goes on."
                )

        try:
            while self._leads:
                lead = self._leads[0]
                group = statistics.group(choices.axes.lead_index(lead))
                self._within = 0  # a volume that was in work is begun anew
                for step in self._restore(source, lead, group, ask):
                    self._within, self._left = self._within + 1, step.left
                    computed += 1
                    where = nowhere
                    if step.iterations:
                        self.iterations.append(step.iterations)
                        self._leads.popleft()
                        self._before, self._within = self._before + self._within, 0
                        where = choices.where(lead, Tile(choices.spans))
                    done, total = self._before + self._within, self.total
                    seconds_left = (time.perf_counter() - started) / computed * (total - done)
                    message = choices.label(lead)
                    if steps_at_most(self._method) > 1:
                        message = f"{message}, {step.message}"
                    yield Progress(done, total, seconds_left, message, where, step.curve)
        except Exception as error:
            clear_frames(error)
            raise
        finally:
            release_after_run(self._device)

    def _restore(
        self, source: Source, lead: tuple[int, ...], group: Group, ask: Callable[[], None]
    ) -> Iterator[_Step]:
        """Restore a volume; after the last step it is in the results."""
        ask()
        whole = tuple(Span(0, size) for size in self._choices.axes.volume_shape)
        block = read_filled(source, lead, whole, group)
        left = steps_at_most(self._method)
        curve: list[tuple[int, float]] = []
        tried: tuple[float, ...] = ()
        search = decide(self._method, block.values, self._device, ask)
        while True:
            try:
                checkpoint = next(search)
            except StopIteration as end:
                decided: Decided = end.value
                break
            left = max(self._method.iterations, left - 1)
            if not curve or checkpoint.sigmas != tried:
                curve, tried = [], checkpoint.sigmas
            curve.append((checkpoint.num_iter, checkpoint.likelihood))
            message = f"iterations tried: {checkpoint.num_iter}"
            if tried:
                message = f"blur tried: {', '.join(f'{sigma:.2g}' for sigma in tried)} voxels, {message}"
            yield _Step(left, message, curve=tuple(curve))
        if decided.warning:
            self._warnings.add(decided.warning)
        values, negative = decided.prepared(block.values), self._count_negative(block)
        number, most = 1, decided.method.iterations
        if group.constant or not values.any():
            restored = decided.of_constant(values)
        else:
            restoration = start(decided.method, values, self._device, ask)
            while not restoration.advance():
                yield _Step(most - number, f"iteration {number}", curve=tuple(curve))
                number += 1
                ask()
            restored = restoration.restored() + np.float32(decided.level)
        self.found.append(decided.record)
        self._keep(lead, restored, block.missing)
        if negative:
            self.negative_voxels += negative
            self._warnings.update(negative_voxels_text(self.negative_voxels), NEGATIVE_VOXELS)
        yield _Step(0, f"iteration {number}", number, tuple(curve))

    def _count_negative(self, block: Filled) -> int:
        """Return the number of voxels that were negative, for a method that takes none."""
        if not isinstance(self._method, (RichardsonLucy, SemiBlind)) or self._method.background == AUTO:
            return 0
        below = block.values < 0
        if block.missing is not None:
            below &= ~block.missing  # a filled voxel is not one that was measured
        return int(np.count_nonzero(below))

    def _keep(self, lead: tuple[int, ...], restored: Any, missing: Any) -> None:
        choices = self._choices
        if not np.isfinite(restored).all():
            raise DeconvolutionError(
                f"{self._method.title} gave values that are not finite for {choices.label(lead)}. The "
                "image's values may be too large for float32: scale it down."
            )
        if missing is not None:
            restored[missing] = np.nan
        where = choices.where(lead, Tile(choices.spans))
        part = restored[tuple(span.slice for span in choices.spans)]
        for array in self.arrays.values():
            array[where] = part.reshape(tuple(at.stop - at.start for at in where))
