"""The planned run of a network, tile by tile."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from napari_lucyd.compute.device import Device, free_memory
from napari_lucyd.deconvolution.arguments import RunArguments
from napari_lucyd.deconvolution.findings import SETTINGS, Findings
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.job import Job
from napari_lucyd.deconvolution.learned import run
from napari_lucyd.deconvolution.learned.block_memory import automatic_tile_shape, memory_cost, working_bytes
from napari_lucyd.deconvolution.recipe import write_recipe
from napari_lucyd.deconvolution.statistics.irregularities import channel_warnings
from napari_lucyd.deconvolution.statistics.noise import noise_warnings
from napari_lucyd.deconvolution.statistics.scaling import Statistics
from napari_lucyd.deconvolution.tiling.tiles import cut_axis
from napari_lucyd.inference import half_precision
from napari_lucyd.inference.forward import compile_where_possible, equivalent_voxels, repeats_volumes
from napari_lucyd.inference.throughput import seconds_per_voxel
from napari_lucyd.spans import Span
from napari_lucyd.text import count_text, shape_text

# Voxels of the largest block without a halo: all planes of all layers, 63 MB, are kept at once.
_SMALL_BLOCK = 2**18


class NetworkJob(Job):
    """A planned run of a network; see `Job`."""

    def __init__(
        self,
        source: Source,
        model: Any,
        device: Device,
        choices: RunArguments,
        tile_shape: tuple[int, ...] | None,
        statistics: Statistics | None,
        warnings: Findings,
        processes: int = 1,
    ) -> None:
        super().__init__(source, device, choices, warnings)
        self._processes = processes
        self._model = model
        self.device = self._settle(device)
        self._statistics = statistics
        self._run: run.Run | None = None
        self._tile_shape = tile_shape or self._automatic_tile_shape()

    @property
    def description(self) -> str:
        """The axes with their sizes, and the resampling, in one line."""
        resampling = self._choices.geometry.resampling
        extra = "" if resampling is None else f", Z resampled ×{resampling.factor:.3g}"
        return self._choices.axes.describe() + extra

    @property
    def work(self) -> str:
        """Number and shape of the tiles, as text."""
        shape = [min(n, span.size) for n, span in zip(self.tile_shape, self._choices.spans, strict=True)]
        return f"{count_text(self.tiles, 'tile')} of {shape_text(shape)}"

    @property
    def tile_shape(self) -> tuple[int, ...]:
        """Shape of a tile in voxels of the input; it shrinks if a run has too little memory."""
        return self._tile_shape if self._run is None else self._run.tile_shape

    @property
    def halo(self) -> int:
        """Margin in voxels of the network's grid."""
        return self._choices.geometry.halo

    @property
    def tiles(self) -> int:
        """Number of tiles over all volumes; it grows if tiles are halved because memory ran out."""
        if self._run is not None:
            return self._run.queue.total
        return self._choices.volumes * math.prod(len(sizes) for sizes in self._block_sizes())

    @property
    def memory_bytes(self) -> int:
        """Peak memory in bytes, with the results but without the input."""
        largest = math.prod(max(sizes) for sizes in self._block_sizes())
        network = memory_cost(self._model.network, self.device)
        return self._choices.result_bytes + working_bytes(largest, network, self.device.kind)

    def estimate_seconds(self) -> float:
        """See `Job.estimate_seconds`."""
        pace = seconds_per_voxel(self._model.network, self.device)
        voxels = equivalent_voxels(self._model.network, self.device, self._blocks())
        passes = 2 ** len(self._choices.spans) if self._choices.flips else 1
        return pace * voxels * passes * self._choices.volumes

    def _running(self) -> run.Run:
        if self._run is None:
            self._run = run.Run(self._model, self.device, self._choices, self._tile_shape, self.warnings)
        return self._run

    def _recipe(self) -> dict[str, Any]:
        running = self._running()
        return write_recipe(
            self._choices,
            self._model,
            self.device,
            self._source.dtype,
            statistics=self._statistics,
            tile_shape=self.tile_shape,
            deviation=running.deviation,
            complete=running.finished,
            warnings=self.warnings,
        )

    def _input_warnings(self, statistics: Statistics) -> list[str]:
        prepared = statistics.prepared.applied(self._source)
        noise = noise_warnings(prepared, statistics, self._model.card)
        return [*channel_warnings(prepared, statistics), *noise]

    def _prepare(self) -> None:
        if self._run is not None:
            return
        device = run.check_device(self._model.network, self.device)
        if device != self.device:
            self.warnings.add(f"{device.name} is used: {device.reason}.", SETTINGS)
            self.device = self._settle(device)
            if not self._choices.tile_shape_given:
                self._tile_shape = self._automatic_tile_shape()

    def _settle(self, device: Device) -> Device:
        """Choose the way in which a device computes the network."""
        if self._choices.precision == "float16":
            reason = half_precision.unsupported_reason(self._model, device)
            if not reason:
                return replace(device, name=f"{device.name} (half precision)", half=True)
            self.warnings.add(f"float32 is used instead of half precision: {reason}.", SETTINGS)
        settled = compile_where_possible(self._model.network, device)
        most = _SMALL_BLOCK if repeats_volumes(self._model.network, settled) else 0
        geometry = self._choices.geometry.small_volume(most)
        self._choices = replace(self._choices, geometry=geometry)
        return settled

    def _automatic_tile_shape(self) -> tuple[int, ...]:
        choices = self._choices
        if self._model.network.whole:
            return tuple(span.size for span in choices.spans)
        free = free_memory(self.device)
        if self._results_fit() and self.device.kind != "cuda":  # the results lie in the same memory
            free -= choices.result_bytes
        return automatic_tile_shape(
            choices.geometry,
            choices.spans,
            free // self._processes,
            self.device.kind,
            memory_cost(self._model.network, self.device),
        )

    def _block_sizes(self) -> list[list[int]]:
        """List the sizes of the blocks along each axis; a volume has all their combinations."""
        return [[size for size, _ in blocks] for blocks in self._blocks()]

    def _blocks(self) -> list[list[tuple[int, Span]]]:
        """List the sizes and requested spans of the blocks along each axis."""
        geometry = self._choices.geometry
        found = []
        for axis, (span, size) in enumerate(zip(self._choices.spans, self.tile_shape, strict=True)):
            blocks = []
            for kept in cut_axis(span, size, geometry.multiple):
                block, needed = geometry.block_along(axis, kept), geometry.needed_along(axis, kept)
                blocks.append((block.size, Span(needed.start - block.start, needed.stop - block.start)))
            found.append(blocks)
        return found
