"""A planned run: its cost, statistics, steps and result; the same interface for every method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from napari_lucyd.compute.device import Device, cpu, free_memory
from napari_lucyd.compute.threads import copy_into
from napari_lucyd.deconvolution.arguments import RunArguments, check_statistics
from napari_lucyd.deconvolution.findings import Findings
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.method_choice import MethodChoice
from napari_lucyd.deconvolution.result import OUTPUTS, Progress, Request, Result
from napari_lucyd.deconvolution.statistics.irregularities import find_flash_frames, find_irregularities
from napari_lucyd.deconvolution.statistics.measurement import CountPrepared, measure_prepared
from napari_lucyd.deconvolution.statistics.scaling import Statistics
from napari_lucyd.deconvolution.tiling.tiles import Tile
from napari_lucyd.errors import DeconvolutionError
from napari_lucyd.text import bytes_text


class Run(Protocol):
    """A started run, as a job uses it."""

    @property
    def arrays(self) -> dict[str, Any]:
        """Result arrays by part."""

    @property
    def finished(self) -> bool:
        """True if nothing is left to do."""

    def unfinished(self) -> Iterator[tuple[tuple[int, ...], Tile]]:
        """Yield the unfinished tiles, each with the leading indices of its volume."""

    def steps(
        self, source: Source, statistics: Statistics, should_stop: Callable[[], bool] | None
    ) -> Iterator[Progress]:
        """Process the unfinished tiles of the prepared image; see `Job.steps`."""


class Job(ABC):
    """A planned run of a network or a classical method, made by `plan`.

    Attributes
    ----------
    device : Device
        Device of the run, with the reason.
    warnings : Findings
        Messages for the user, a list of text; the run may add to it.
    request : Request or None
        The method and options that the run was planned with.
    choice : MethodChoice or None
        The choice of the method, if the run was planned with ``"auto"``.
    """

    def __init__(self, source: Source, device: Device, choices: RunArguments, warnings: Findings) -> None:
        self._source = source
        self._choices = choices
        self._statistics: Statistics | None = None
        self.device = device
        self.warnings = warnings
        self.request: Request | None = None
        self.choice: MethodChoice | None = None

    @property
    def axes(self) -> str:
        """Names of the input's axes, e.g. ``"TCZYX"``."""
        return self._choices.axes.names

    @property
    @abstractmethod
    def description(self) -> str:
        """The axes with their sizes, and the processing, in one line."""

    @property
    @abstractmethod
    def work(self) -> str:
        """The amount of work as text: ``"6 tiles of 40 × 64 × 64"``."""

    @property
    @abstractmethod
    def tile_shape(self) -> tuple[int, ...]:
        """Shape of a tile, in voxels of the input."""

    @property
    def task_shape(self) -> tuple[int, ...]:
        """Shape of the part of a volume that is best computed in one go, in voxels of the input."""
        return self.tile_shape

    @property
    @abstractmethod
    def halo(self) -> int:
        """Margin around a tile in voxels."""

    @property
    @abstractmethod
    def tiles(self) -> int:
        """Number of steps over all volumes: tiles of a network, or iterations of a classical method."""

    @property
    def step_count(self) -> int:
        """Number of steps that `steps` yields, as far as it is known; it may change during the run."""
        return self.tiles

    @property
    @abstractmethod
    def memory_bytes(self) -> int:
        """Peak memory in bytes, with the results but without the input."""

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the result arrays."""
        return self._choices.output_shape

    @property
    def region(self) -> tuple[slice, ...]:
        """The region along all axes of the input."""
        return self._choices.region

    @property
    def resampled(self) -> bool:
        """True if the stack is resampled to isotropic voxels for the network, and back."""
        return self._choices.geometry.resampling is not None

    def measure(
        self, should_stop: Callable[[], bool] | None = None, count: CountPrepared | None = None
    ) -> Statistics:
        """Measure the statistics of the whole input, not of the region; later calls return the same result.

        They are the numbers of the preparation and, after it, of the normalisation.

        Parameters
        ----------
        should_stop
            Called repeatedly while the input is read; True stops.
        count
            Function that counts parts of the input elsewhere; see `measure_prepared`.

        Raises
        ------
        ValueError
            If the input has infinities, or is all NaN.
        Cancelled
            When ``should_stop`` returns True.
        """
        if self._statistics is None:
            choices = self._choices
            measured = measure_prepared(
                self._source,
                choices.preparation,
                choices.normalization,
                choices.separate,
                should_stop,
                count,
            )
            unusual = find_irregularities(self._source, measured, self._scales)
            measured = replace(measured, warnings=(*measured.warnings, *unusual))
            self._statistics = self._completed(measured, should_stop)
            self._add_warnings(self._statistics)
        return self._statistics

    def look_at_frames(self) -> None:
        """Add the warnings about single frames of a time series, without measuring the input.

        `measure` adds the same ones; it reads the whole input.
        """
        if not self._scales:
            return
        axes, apart = self._source.axes, self._choices.separate
        names = [name for name in axes.leading if name in apart]
        for numbers in np.ndindex(*(axes.size(name) for name in names)):
            for finding in find_flash_frames(self._source, tuple(zip(names, numbers, strict=True))):
                self.warnings.add(finding)

    def adopt(self, statistics: Statistics) -> None:
        """Use statistics that an equal run measured on the same input.

        Raises
        ------
        ValueError
            If they were measured with other settings.
        """
        check_statistics(statistics, self._choices)
        self._statistics = statistics
        self._add_warnings(statistics)

    def decide(self, should_stop: Callable[[], bool] | None = None) -> Statistics:
        """Return the statistics with all numbers that the tiles of a volume share, for runs of its parts.

        Parameters
        ----------
        should_stop
            See `measure`.

        Raises
        ------
        ValueError, Cancelled
            See `measure`.
        """
        return self.measure(should_stop)

    @abstractmethod
    def estimate_seconds(self) -> float:
        """Estimate the duration of `steps`, within a factor of two.

        The first call in a process measures the device, which takes up to a second.
        """

    def steps(self, should_stop: Callable[[], bool] | None = None) -> Iterator[Progress]:
        """Run, and yield after each tile or iteration. After a cancel, another call resumes the run.

        Parameters
        ----------
        should_stop
            Called between the layers of a network, the parts of an iteration and the parts of the image, so
            that a cancel takes effect soon. After it, a classical method restarts the volume it was working
            on.

        Raises
        ------
        Cancelled
            When ``should_stop`` returns True; `result` returns what is finished.
        ValueError
            If the input's values cannot be used.
        OutOfMemory
            If the smallest tile does not fit in memory, or a whole volume where a method needs one.
        DeconvolutionError
            If the result is unusable, or torch fails.
        """
        statistics = self.measure(should_stop)
        self._prepare()
        yield from self._running().steps(statistics.prepared.applied(self._source), statistics, should_stop)

    @property
    def keeps_estimates(self) -> bool:
        """True if `keep_estimate` is possible: for iterations over whole volumes."""
        return False

    def keep_estimate(self) -> None:
        """End the current volume with its present estimate; any thread may call it.

        While the number of iterations is still being chosen, the choice ends with the best number so far. If
        other volumes wait, `steps` then raises `Cancelled`.

        Raises
        ------
        DeconvolutionError
            If the run has no such estimate: a network has none before a tile is done, and the tiles of a
            volume must all take the same number of iterations. A run into files is cancelled and resumed.
        """
        raise DeconvolutionError(
            "This run has no estimate to keep: a network has none before a tile is done. Cancel the run; the "
            "finished tiles are kept."
        )

    def result(self) -> Result:
        """Return the arrays and the recipe; voxels of unfinished tiles or volumes are NaN."""
        running = self._running()
        if self._choices.allocate is None:
            for lead, tile in running.unfinished():
                for array in running.arrays.values():
                    copy_into(array[self._choices.where(lead, tile)], np.float32(np.nan))
        arrays = {name: running.arrays.get(name) for name in OUTPUTS}
        request = self.request and replace(self.request, statistics=self._statistics)
        recipe = self._recipe()
        if self.choice is not None:
            recipe["automatic"] = dict(self.choice.record)
        return Result(**arrays, recipe=recipe, warnings=tuple(self.warnings), request=request)

    @abstractmethod
    def _running(self) -> Run:
        """Return the run; the first call starts it."""

    @abstractmethod
    def _prepare(self) -> None:
        """Prepare the first step: test the device."""

    @abstractmethod
    def _recipe(self) -> dict[str, Any]:
        """Write the record of the run."""

    @property
    def _scales(self) -> bool:
        """True if the method scales intensities by the statistics."""
        return True

    def _completed(self, statistics: Statistics, should_stop: Callable[[], bool] | None) -> Statistics:
        """Return the statistics with the numbers that only this method needs."""
        return statistics

    def _input_warnings(self, statistics: Statistics) -> list[str]:
        """Return warnings about the input for this method."""
        return []

    def _results_fit(self) -> bool:
        """Return True if memory can hold the results; otherwise warn."""
        results, free = self._choices.result_bytes, free_memory(cpu())
        if results <= 0.9 * free:
            return True
        self.warnings.add(
            f"The results need {bytes_text(results)} of memory, but only {bytes_text(free)} are free. Choose "
            "fewer parts or a region."
        )
        return False

    def _add_warnings(self, statistics: Statistics) -> None:
        for text in [*statistics.warnings, *self._input_warnings(statistics)]:
            self.warnings.add(text)
