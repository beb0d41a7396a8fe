"""A planned run: what it will take, its statistics, its steps, its result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from napari_lucyd.deconvolution import run
from napari_lucyd.deconvolution.blocks import OUTPUTS
from napari_lucyd.deconvolution.choices import Choices
from napari_lucyd.deconvolution.coverage import noise_warnings
from napari_lucyd.deconvolution.device import Device, cpu, free_memory
from napari_lucyd.deconvolution.memory import automatic_tile_shape, working_bytes
from napari_lucyd.deconvolution.normalization import Statistics, measure
from napari_lucyd.deconvolution.recipe import write_recipe
from napari_lucyd.deconvolution.result import Progress, Result
from napari_lucyd.deconvolution.source import Source
from napari_lucyd.deconvolution.tiling import cut_axis
from napari_lucyd.deconvolution.timing import seconds_per_voxel


class Job:
    """One run, planned: made by `plan`.

    Attributes
    ----------
    device : Device
        Where it runs, and why.
    warnings : list of str
        In words; grows with what the run finds.
    """

    def __init__(
        self,
        source: Source,
        model: Any,
        device: Device,
        choices: Choices,
        tile_shape: tuple[int, ...] | None,
        statistics: Statistics | None,
        warnings: list[str],
    ) -> None:
        self._source = source
        self._model = model
        self._choices = choices
        self._statistics = statistics
        self._run: run.Run | None = None
        self.device = device
        self.warnings = warnings
        self._tile_shape = tile_shape or self._automatic_tile_shape()

    @property
    def axes(self) -> str:
        """What each axis of the input was taken for, e.g. ``"TCZYX"``."""
        return self._choices.axes.names

    @property
    def description(self) -> str:
        """The axes with their sizes, and the resampling, in one line."""
        resampling = self._choices.geometry.resampling
        extra = "" if resampling is None else f", Z resampled ×{resampling.factor:.3g}"
        return self._choices.axes.describe() + extra

    @property
    def tile_shape(self) -> tuple[int, ...]:
        """In voxels of the input; made smaller in a run that runs out of memory."""
        return self._tile_shape if self._run is None else self._run.tile_shape

    @property
    def halo(self) -> int:
        """Margin in voxels of the network's grid."""
        return self._choices.geometry.halo

    @property
    def tiles(self) -> int:
        """Tiles over all volumes; grows where they have to be cut for want of memory."""
        if self._run is not None:
            return self._run.queue.total
        return self._choices.volumes * math.prod(len(sizes) for sizes in self._block_sizes())

    @property
    def memory_bytes(self) -> int:
        """Peak working memory, results included; the input is not."""
        largest = math.prod(max(sizes) for sizes in self._block_sizes())
        return self._choices.result_bytes + working_bytes(largest, self._model.dimension)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of the result arrays."""
        return self._choices.output_shape

    @property
    def resampled(self) -> bool:
        """Whether the stack is brought to isotropic voxels for the network, and back."""
        return self._choices.geometry.resampling is not None

    def measure(self, should_stop: Callable[[], bool] | None = None) -> Statistics:
        """The normalisation numbers of the whole input, not of the region; read once, then remembered.

        Parameters
        ----------
        should_stop
            Asked again and again while the input is read.

        Raises
        ------
        ValueError
            If the input has infinities, or nothing but NaN.
        Cancelled
            If ``should_stop`` says so.
        """
        if self._statistics is None:
            choices = self._choices
            self._statistics = measure(self._source, choices.normalization, choices.separate, should_stop)
            for text in self._statistics.warnings:
                self._warn(text)
            for text in noise_warnings(self._source, self._statistics, self._model.card):
                self._warn(text)
        return self._statistics

    def estimate_seconds(self) -> float:
        """Estimate how long `steps` will take, within a factor of two.

        The first call in a process measures the device, which takes up to a second.
        """
        pace = seconds_per_voxel(self._model.network, self._model.dimension, self.device)
        # The blocks form a grid, so their voxels add up axis by axis.
        voxels = math.prod(sum(sizes) for sizes in self._block_sizes())
        return pace * voxels * self._choices.volumes

    def steps(self, should_stop: Callable[[], bool] | None = None) -> Iterator[Progress]:
        """Run; yields after each tile. Called again after a cancel, it goes on where it stopped.

        Parameters
        ----------
        should_stop
            Asked between the layers of the network and between the parts that are read, so that a cancel is
            heard within a second or two whatever the tile.

        Raises
        ------
        Cancelled
            If ``should_stop`` says so; `result` has what is finished.
        ValueError
            If the input's values cannot be used.
        OutOfMemory
            If not even small tiles fit.
        DeconvolutionError
            If the network gives NaN or nothing but zeros, or torch fails.
        """
        statistics = self.measure(should_stop)
        if self._run is None:
            self._check_device()
        yield from self._running().steps(statistics, should_stop)

    def result(self) -> Result:
        """The arrays and the recipe; voxels of unfinished tiles are NaN."""
        running = self._running()
        recipe = write_recipe(
            self._choices,
            self._model,
            self.device,
            self._source.dtype,
            statistics=self._statistics,
            tile_shape=self.tile_shape,
            deviation=running.deviation,
            complete=not running.queue,
            warnings=self.warnings,
        )
        arrays = {name: running.arrays.get(name) for name in OUTPUTS}
        return Result(**arrays, recipe=recipe, warnings=tuple(self.warnings))

    def _running(self) -> run.Run:
        if self._run is None:
            self._run = run.Run(
                self._source, self._model, self.device, self._choices, self._tile_shape, self._warn
            )
        return self._run

    def _check_device(self) -> None:
        device = run.check_device(self._model.network, self._model.dimension, self.device)
        if device != self.device:
            self._warn(f"{device.name} is used: {device.reason}.")
            self.device = device
            if not self._choices.tile_shape_given:
                self._tile_shape = self._automatic_tile_shape()

    def _automatic_tile_shape(self) -> tuple[int, ...]:
        choices = self._choices
        free = free_memory(self.device)
        results = choices.result_bytes
        if results > 0.9 * free_memory(cpu()):
            self._warn(
                f"The results take {results / 2**30:.3g} GiB of memory, and "
                f"{free_memory(cpu()) / 2**30:.3g} are free: ask for fewer parts or for a region."
            )
        elif self.device.kind != "cuda":  # the results lie in the same memory
            free -= results
        return automatic_tile_shape(choices.geometry, choices.spans, free, self.device.kind)

    def _block_sizes(self) -> list[list[int]]:
        """Sizes of the blocks along each axis: all combinations of them are the blocks of a volume."""
        choices = self._choices
        axes = enumerate(zip(choices.spans, self.tile_shape, strict=True))
        return [
            [choices.geometry.block_along(axis, kept).size for kept in cut_axis(span, size)]
            for axis, (span, size) in axes
        ]

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)
