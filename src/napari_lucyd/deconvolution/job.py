"""A planned run: what it will take, its statistics, its steps, its result; the same for every method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from napari_lucyd.compute.device import Device, cpu, free_memory
from napari_lucyd.compute.threads import copy_into
from napari_lucyd.deconvolution.arguments import RunArguments, check_statistics
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.result import OUTPUTS, Progress, Result
from napari_lucyd.deconvolution.statistics.measurement import CountPrepared, measure_prepared
from napari_lucyd.deconvolution.statistics.scaling import Statistics
from napari_lucyd.deconvolution.tiling.tiles import Tile


class Run(Protocol):
    """A run that was begun: what a job asks of it."""

    @property
    def arrays(self) -> dict[str, Any]:
        """What the results are written into, by the parts' names."""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""

    def unfinished(self) -> Iterator[tuple[tuple[int, ...], Tile]]:
        """Of which volumes, by their leading indices, and what of them is left to do."""

    def steps(
        self, source: Source, statistics: Statistics, should_stop: Callable[[], bool] | None
    ) -> Iterator[Progress]:
        """Do what is left, on the image as it was prepared; see `Job.steps`."""


class Job(ABC):
    """One run, planned: made by `plan`, for a network or for a classical method.

    Attributes
    ----------
    device : Device
        Where it runs, and why.
    warnings : list of str
        In words; grows with what the run finds.
    """

    def __init__(self, source: Source, device: Device, choices: RunArguments, warnings: list[str]) -> None:
        self._source = source
        self._choices = choices
        self._statistics: Statistics | None = None
        self.device = device
        self.warnings = warnings

    @property
    def axes(self) -> str:
        """What each axis of the input was taken for, e.g. ``"TCZYX"``."""
        return self._choices.axes.names

    @property
    @abstractmethod
    def description(self) -> str:
        """The axes with their sizes, and what is done to the voxels besides, in one line."""

    @property
    @abstractmethod
    def work(self) -> str:
        """What there is to do, in words: ``"6 tiles of 40 × 64 × 64"``."""

    @property
    @abstractmethod
    def tile_shape(self) -> tuple[int, ...]:
        """Voxels of the input that are computed at once."""

    @property
    @abstractmethod
    def halo(self) -> int:
        """Margin around a tile in voxels."""

    @property
    @abstractmethod
    def tiles(self) -> int:
        """Steps over all volumes: the tiles of a network, the iterations of a classical method."""

    @property
    @abstractmethod
    def memory_bytes(self) -> int:
        """Peak working memory, results included; the input is not."""

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of the result arrays."""
        return self._choices.output_shape

    @property
    def resampled(self) -> bool:
        """Whether the stack is brought to isotropic voxels for the network, and back."""
        return self._choices.geometry.resampling is not None

    def measure(
        self, should_stop: Callable[[], bool] | None = None, count: CountPrepared | None = None
    ) -> Statistics:
        """The numbers of the whole input, not of the region; read once, then remembered.

        They are those of its preparation and, taken after it, of its normalisation.

        Parameters
        ----------
        should_stop
            Asked again and again while the input is read.
        count
            Has parts of the input counted elsewhere; see `measure_prepared`.

        Raises
        ------
        ValueError
            If the input has infinities, or nothing but NaN.
        Cancelled
            If ``should_stop`` says so.
        """
        if self._statistics is None:
            choices = self._choices
            self._statistics = measure_prepared(
                self._source,
                choices.preparation,
                choices.normalization,
                choices.separate,
                should_stop,
                count,
            )
            for text in [*self._statistics.warnings, *self._input_warnings(self._statistics)]:
                self._warn(text)
        return self._statistics

    def adopt(self, statistics: Statistics) -> None:
        """Take statistics that an equal run has measured on the same input.

        Raises
        ------
        ValueError
            If they were taken otherwise than this run asks for.
        """
        check_statistics(statistics, self._choices)
        self._statistics = statistics
        for text in [*statistics.warnings, *self._input_warnings(statistics)]:
            self._warn(text)

    @abstractmethod
    def estimate_seconds(self) -> float:
        """Estimate how long `steps` will take, within a factor of two.

        The first call in a process measures the device, which takes up to a second.
        """

    def steps(self, should_stop: Callable[[], bool] | None = None) -> Iterator[Progress]:
        """Run; yields after each tile or iteration. Called again after a cancel, it goes on where it stopped.

        Parameters
        ----------
        should_stop
            Asked between the layers of a network, the parts of an iteration and the parts that are read, so
            that a cancel is heard soon. A classical method begins the volume that was in work anew.

        Raises
        ------
        Cancelled
            If ``should_stop`` says so; `result` has what is finished.
        ValueError
            If the input's values cannot be used.
        OutOfMemory
            If not even small tiles fit, or a whole volume does not where a method needs one.
        DeconvolutionError
            If the method gives what cannot be a result, or torch fails.
        """
        statistics = self.measure(should_stop)
        self._prepare()
        yield from self._running().steps(statistics.prepared.applied(self._source), statistics, should_stop)

    def result(self) -> Result:
        """The arrays and the recipe; voxels of unfinished tiles or volumes are NaN."""
        running = self._running()
        if self._choices.allocate is None:
            for lead, tile in running.unfinished():
                for array in running.arrays.values():
                    copy_into(array[self._choices.where(lead, tile)], np.float32(np.nan))
        arrays = {name: running.arrays.get(name) for name in OUTPUTS}
        return Result(**arrays, recipe=self._recipe(), warnings=tuple(self.warnings))

    @abstractmethod
    def _running(self) -> Run:
        """The run, begun at the first call."""

    @abstractmethod
    def _prepare(self) -> None:
        """What comes before the first step: the device is tried."""

    @abstractmethod
    def _recipe(self) -> dict[str, Any]:
        """The record of the run."""

    def _input_warnings(self, statistics: Statistics) -> list[str]:
        """What a person should know about the input, with this method."""
        return []

    def _results_fit(self) -> bool:
        """Whether memory holds the results; warns where it does not."""
        results, free = self._choices.result_bytes, free_memory(cpu())
        if results <= 0.9 * free:
            return True
        self._warn(
            f"The results take {results / 2**30:.3g} GiB of memory, and "
            f"{free / 2**30:.3g} are free: ask for fewer parts or for a region."
        )
        return False

    def _warn(self, text: str) -> None:
        add_once(self.warnings, text)


def add_once(warnings: list[str], text: str) -> None:
    """Add a sentence unless it is there already.

    A run is given this instead of a method of its job: each would keep the other, and the results, in memory
    until the garbage collector comes by.
    """
    if text not in warnings:
        warnings.append(text)
