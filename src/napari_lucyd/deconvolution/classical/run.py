"""The run of a classical method: one whole volume after another, iteration by iteration."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd.compute.device import Device, release_after_run
from napari_lucyd.deconvolution.arguments import RunArguments
from napari_lucyd.deconvolution.blocks import Filled, read_filled
from napari_lucyd.deconvolution.classical.methods import ClassicalMethod, RichardsonLucy
from napari_lucyd.deconvolution.classical.solvers import start
from napari_lucyd.deconvolution.findings import NEGATIVE_VOXELS, Findings, negative_voxels_text
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.result import Progress
from napari_lucyd.deconvolution.statistics.scaling import Group, Statistics
from napari_lucyd.deconvolution.tiling.tiles import Tile
from napari_lucyd.errors import Cancelled, DeconvolutionError, clear_frames
from napari_lucyd.spans import Span


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
        Of the finished volumes; set to 0 for Richardson-Lucy.
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
        self.iterations: list[int] = []
        self.negative_voxels = 0
        self.arrays = choices.make_arrays()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return not self._leads

    def unfinished(self) -> Iterator[tuple[tuple[int, ...], Tile]]:
        """What is left to do: whole volumes."""
        return ((lead, Tile(self._choices.spans)) for lead in self._leads)

    @property
    def total(self) -> int:
        """Iterations over all volumes; shrinks where a volume takes fewer than it may."""
        return sum(self.iterations) + len(self._leads) * self._method.iterations

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
                before, message = sum(self.iterations), choices.label(lead)
                for number, last in enumerate(self._restore(source, lead, group, ask), 1):
                    if last:
                        self._leads.popleft()
                        self.iterations.append(number)
                    computed += 1
                    total = self.total
                    seconds_left = (time.perf_counter() - started) / computed * (total - before - number)
                    if self._method.iterations > 1:
                        message = f"{choices.label(lead)}, iteration {number}"
                    where = choices.where(lead, Tile(choices.spans)) if last else nowhere
                    yield Progress(before + number, total, seconds_left, message, where)
        except Exception as error:
            clear_frames(error)
            raise
        finally:
            release_after_run(self._device)

    def _restore(
        self, source: Source, lead: tuple[int, ...], group: Group, ask: Callable[[], None]
    ) -> Iterator[bool]:
        """Restore a volume; one value a step, True with the last, after which it is in the results."""
        ask()
        whole = tuple(Span(0, size) for size in self._choices.axes.volume_shape)
        block = read_filled(source, lead, whole, group)
        values, negative = self._usable(block)
        if group.constant or not values.any():
            background = self._method.background if isinstance(self._method, RichardsonLucy) else 0.0
            restored = self._usable(Filled(values - np.float32(background), None))[0]
        else:
            restoration = start(self._method, values, self._device, ask)
            while not restoration.advance():
                yield False
                ask()
            restored = restoration.restored()
        self._keep(lead, restored, block.missing)
        if negative:
            self.negative_voxels += negative
            self._warnings.update(negative_voxels_text(self.negative_voxels), NEGATIVE_VOXELS)
        yield True

    def _usable(self, block: Filled) -> tuple[npt.NDArray[np.float32], int]:
        """The voxels as the method takes them, and how many were negative for one that takes none."""
        if not isinstance(self._method, RichardsonLucy):
            return block.values.copy(), 0  # it may be the caller's own array
        below = block.values < 0
        if block.missing is not None:
            below &= ~block.missing  # a filled voxel is not one that was measured
        return np.maximum(block.values, 0), int(np.count_nonzero(below))

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
