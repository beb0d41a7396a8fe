"""A planned run: what it will take, then the run itself, tile by tile."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from napari_lucyd.deconvolution import inference, memory
from napari_lucyd.deconvolution.blocks import (
    OUTPUTS,
    Geometry,
    Shown,
    constant_parts,
    read_block,
    shown_parts,
)
from napari_lucyd.deconvolution.device import Device, cpu, free_memory, release_memory
from napari_lucyd.deconvolution.errors import Cancelled, DeconvolutionError, OutOfMemory
from napari_lucyd.deconvolution.normalization import Group, Statistics, measure
from napari_lucyd.deconvolution.recipe import software_version, versions
from napari_lucyd.deconvolution.result import Progress, Result
from napari_lucyd.deconvolution.source import Source
from napari_lucyd.deconvolution.tiling import Span, Tile, cut, halve
from napari_lucyd.deconvolution.timing import seconds_per_voxel
from napari_lucyd.models.normalization import Normalization

# Below this no tile is cut further for want of memory: it would be nearly all halo.
_SMALLEST_SIDE = 8


@dataclass(frozen=True)
class Choices:
    """What was asked for, checked and complete."""

    outputs: tuple[str, ...]
    normalization: Normalization
    separate: str
    voxel_size: tuple[float, ...] | None
    region: tuple[Span, ...]  # along the spatial axes
    leads: tuple[tuple[int, ...], ...]  # the volumes, by their leading indices
    lead_spans: tuple[Span, ...]
    region_given: bool
    tile_shape_given: bool


class Job:
    """One run, planned: made by `plan`.

    Attributes
    ----------
    axes : str
        What each axis of the input was taken for, e.g. ``"TCZYX"``.
    description : str
        The same with sizes, and the resampling, in one line.
    device : Device
        Where it runs, and why.
    tile_shape : tuple of int
        In voxels of the input; made smaller in a run that runs out of memory.
    halo : int
        In voxels of the network's grid.
    tiles : int
        Over all volumes.
    memory_bytes : int
        Peak working memory, results included; the input is not.
    output_shape : tuple of int
        Of the result arrays.
    resampled : bool
        Whether the stack is brought to isotropic voxels and back.
    warnings : list of str
        In words; grows with what the run finds.
    """

    def __init__(
        self,
        source: Source,
        model: Any,
        device: Device,
        geometry: Geometry,
        tile_shape: tuple[int, ...],
        choices: Choices,
        statistics: Statistics | None,
        warnings: list[str],
    ) -> None:
        self._source = source
        self._model = model
        self._geometry = geometry
        self._choices = choices
        self._statistics = statistics
        self._pending: deque[tuple[tuple[int, ...], Tile]] | None = None
        self._arrays: dict[str, Any] = {}
        self._bright: set[tuple[int, ...]] = set()
        self._left: dict[tuple[int, ...], int] = {}
        self._deviation = 0.0
        self._done = 0
        self.device = device
        self.tile_shape = tile_shape
        self.warnings = warnings

    @property
    def axes(self) -> str:
        """What each axis of the input was taken for."""
        return self._source.axes.names

    @property
    def halo(self) -> int:
        """Margin in voxels of the network's grid."""
        return self._geometry.halo

    @property
    def resampled(self) -> bool:
        """Whether the stack is brought to isotropic voxels and back."""
        return self._geometry.resampling is not None

    @property
    def description(self) -> str:
        """The axes with their sizes, and the resampling, in one line."""
        resampling = self._geometry.resampling
        extra = "" if resampling is None else f", Z resampled ×{resampling.factor:.3g}"
        return self._source.axes.describe() + extra

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of the result arrays."""
        axes = self._source.axes
        sizes = dict(zip(axes.leading, (span.size for span in self._choices.lead_spans), strict=True))
        names = "ZYX"[-axes.dimension :]
        sizes |= {name: span.size for name, span in zip(names, self._choices.region, strict=True)}
        return tuple(sizes[name] for name in axes.names)

    @property
    def tiles(self) -> int:
        """Tiles over all volumes."""
        if self._pending is not None:
            return self._done + len(self._pending)
        return len(self._volume_tiles()) * len(self._choices.leads)

    @property
    def memory_bytes(self) -> int:
        """Peak working memory, results included; the input is not."""
        results = 4 * math.prod(self.output_shape) * len(self._choices.outputs)
        largest = max(self._geometry.block_voxels(tile) for tile in self._volume_tiles())
        return results + memory.working_bytes(largest, self._model.dimension)

    def measure(self, should_stop: Callable[[], bool] | None = None) -> Statistics:
        """The normalisation numbers of the whole input, not of the region alone; read once, then remembered.

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
            self._warn(*self._statistics.warnings)
        return self._statistics

    def estimate_seconds(self) -> float:
        """Estimate how long `steps` will take, within a factor of two.

        The first call in a process measures the device, which takes up to a second.
        """
        pace = seconds_per_voxel(self._model.network, self._model.dimension, self.device)
        voxels = sum(self._geometry.block_voxels(tile) for tile in self._volume_tiles())
        return pace * voxels * len(self._choices.leads)

    def steps(self, should_stop: Callable[[], bool] | None = None) -> Iterator[Progress]:
        """Run; yields after each tile. Called again after a cancel, it goes on where it stopped.

        Parameters
        ----------
        should_stop
            Asked between the layers of the network and between the parts that are read: a cancel is heard at
            once.

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
        network = self._ready_network(should_stop)
        gain = self._model.network.output_gain()
        pending = self._prepare_run()
        started, computed = time.perf_counter(), 0
        largest = math.inf
        try:
            while pending:
                if should_stop is not None and should_stop():
                    raise Cancelled(f"Stopped after {self._done} of {self.tiles} tiles.")
                lead, tile = pending[0]
                voxels = self._geometry.block_voxels(tile)
                if voxels > largest:
                    self._halve_first(pending)
                    continue
                group = statistics.group(dict(zip(self._source.axes.leading, lead, strict=True)))
                try:
                    self._run_tile(network, gain, lead, tile, group)
                except inference.BlockTooLarge:
                    largest = voxels - 1
                    release_memory(self.device)
                    self._halve_first(pending)
                    continue
                pending.popleft()
                self._done += 1
                computed += voxels
                self._finish_volume(lead, group)
                left = sum(self._geometry.block_voxels(t) for _, t in pending)
                pace = (time.perf_counter() - started) / computed
                yield Progress(
                    self._done, self.tiles, pace * left, self._message(lead), self._where(lead, tile)
                )
        finally:
            del network
            release_memory(self.device)

    def result(self) -> Result:
        """The arrays and the recipe; voxels of unfinished tiles are NaN."""
        self._prepare_run()
        arrays = {name: self._arrays.get(name) for name in OUTPUTS}
        return Result(**arrays, recipe=self._recipe(), warnings=tuple(self.warnings))

    def _volume_tiles(self) -> list[Tile]:
        return list(cut(self._choices.region, self.tile_shape))

    def _prepare_run(self) -> deque[tuple[tuple[int, ...], Tile]]:
        if self._pending is None:
            tiles = self._volume_tiles()
            self._pending = deque((lead, tile) for lead in self._choices.leads for tile in tiles)
            self._left = dict.fromkeys(self._choices.leads, len(tiles))
            try:
                for name in self._choices.outputs:
                    self._arrays[name] = np.full(self.output_shape, np.nan, dtype=np.float32)
            except MemoryError as error:
                raise OutOfMemory(f"The results do not fit into memory: {error}") from None
        return self._pending

    def _ready_network(self, should_stop: Callable[[], bool] | None) -> nn.Module:
        """The network on the device; on the CPU where the device cannot run it."""
        if self.device.kind != "cpu":
            try:
                network = inference.prepare(self._model.network, self.device, should_stop)
                probe = torch.zeros((1, 1, *[8] * self._model.dimension), device=self.device.torch)
                inference.run_network(network, probe)
                return network
            except (DeconvolutionError, inference.BlockTooLarge, RuntimeError) as error:
                reason = f"{self.device.name} could not run the network: {str(error).splitlines()[0]}"
                self.device = cpu(reason)
                self._warn(f"{reason}. The CPU is used.")
                if self._pending is None and not self._choices.tile_shape_given:
                    self.tile_shape = automatic_tile_shape(
                        self._geometry,
                        self._choices.region,
                        self.device,
                        self._model.dimension,
                        self.output_shape,
                    )
        return inference.prepare(self._model.network, self.device, should_stop)

    def _run_tile(
        self, network: nn.Module, gain: tuple[float, float], lead: tuple[int, ...], tile: Tile, group: Group
    ) -> None:
        block = read_block(self._source, lead, tile, self._geometry, group)
        if group.constant:
            parts = constant_parts(tile, group, self._choices.outputs)
            self._bright.add(lead)
        else:
            shown = self._compute(network, gain, block.values, tile, group)
            self._deviation = max(self._deviation, shown.deviation)
            if shown.bright or block.values.min() == block.values.max():
                self._bright.add(lead)
            parts = shown.parts
        where = self._where(lead, tile)
        for name, part in parts.items():
            if not np.isfinite(part).all():
                raise DeconvolutionError(
                    f"The network gave values that are not finite ({name}, {self._message(lead)}). Its "
                    "weights may be "
                    "damaged, or this image's intensities may be far from those it was trained on: try "
                    "another "
                    "normalization or model."
                )
            if block.missing is not None:
                part = np.where(block.missing, np.float32(np.nan), part)
            self._arrays[name][where] = part.reshape(tuple(s.stop - s.start for s in where))

    def _compute(
        self, network: nn.Module, gain: tuple[float, float], values: Any, tile: Tile, group: Group
    ) -> Shown:
        try:
            values -= np.float32(group.lo)
            values /= np.float32(group.s)
            y = torch.from_numpy(values)[None, None].to(self.device.torch)
            raw = inference.run_network(network, y)
            return shown_parts(y, raw, gain, tile, self._geometry, group, self._choices.outputs)
        except (RuntimeError, MemoryError) as error:
            if inference.is_out_of_memory(error):
                raise inference.BlockTooLarge(str(error)) from None
            raise DeconvolutionError(f"torch reports: {error}") from error

    def _finish_volume(self, lead: tuple[int, ...], group: Group) -> None:
        self._left[lead] -= 1
        if self._left[lead] or lead in self._bright:
            return
        text = f"The network returned nothing but zeros for {self._message(lead)}"
        if self._choices.region_given:  # a dark corner may well be black
            self._warn(f"{text} in this region.")
            return
        raise DeconvolutionError(
            f"{text}. The image's intensities may be far from those the model was trained on (lo "
            f"{group.lo:g}, "
            f"s {group.s:g}): try another normalization or model."
        )

    def _halve_first(self, pending: deque[tuple[tuple[int, ...], Tile]]) -> None:
        lead, tile = pending[0]
        halves = halve(tile) if max(tile.shape) > _SMALLEST_SIDE else None
        if halves is None:
            size = " × ".join(map(str, (span.size for span in self._geometry.block(tile))))
            raise OutOfMemory(
                f"{self.device.name} has not enough memory even for a block of {size} voxels. Close what "
                "else uses it, "
                "or choose another device."
            )
        pending.popleft()
        pending.extendleft((lead, half) for half in reversed(halves))
        self._left[lead] += 1
        shape = tuple(min(a, b) for a, b in zip(self.tile_shape, halves[1].shape, strict=True))
        if shape != self.tile_shape:
            before, after = (" × ".join(map(str, s)) for s in (self.tile_shape, shape))
            self._warn(f"{self.device.name} ran out of memory with tiles of {before}; went on with {after}.")
            self.tile_shape = shape

    def _where(self, lead: tuple[int, ...], tile: Tile) -> tuple[slice, ...]:
        """Where a tile of a volume lies in the result arrays."""
        axes, choices = self._source.axes, self._choices
        at = {
            name: n - span.start for name, n, span in zip(axes.leading, lead, choices.lead_spans, strict=True)
        }
        where = {name: slice(n, n + 1) for name, n in at.items()}
        for name, span, region in zip("ZYX"[-axes.dimension :], tile.spans, choices.region, strict=True):
            where[name] = slice(span.start - region.start, span.stop - region.start)
        return tuple(where[name] for name in axes.names)

    def _message(self, lead: tuple[int, ...]) -> str:
        names = [f"{name} {n}" for name, n in zip(self._source.axes.leading, lead, strict=True)]
        return ", ".join(names) if names else "the image"

    def _warn(self, *texts: str) -> None:
        self.warnings.extend(text for text in texts if text not in self.warnings)

    def _recipe(self) -> dict[str, Any]:
        choices, statistics = self._choices, self._statistics
        groups = statistics.groups if statistics is not None else ()
        gain, offset = self._model.network.output_gain()
        resampling = self._geometry.resampling
        spans = (*choices.lead_spans, *choices.region)
        return {
            "software": "napari-lucyd",
            "version": software_version(),
            "model": self._model.name,
            "sha256": self._model.sha256,
            "normalization": {
                "method": choices.normalization.method,
                "low": choices.normalization.low,
                "high": choices.normalization.high,
                "separate": choices.separate,
                "groups": [dict(group.index) for group in groups],
                "lo": [group.lo for group in groups],
                "s": [group.s for group in groups],
            },
            "g": gain,
            "o": offset,
            "resampling": None if resampling is None else {"axis": "Z", "factor": resampling.factor},
            "voxel_size": None if choices.voxel_size is None else list(choices.voxel_size),
            "tile_shape": list(self.tile_shape),
            "halo": self.halo,
            "device": {"torch": self.device.torch, "name": self.device.name, "reason": self.device.reason},
            "threads": torch.get_num_threads(),
            "versions": versions(),
            "axes": self.axes,
            "input": {"shape": list(self._source.shape), "dtype": str(self._source.dtype)},
            "region": [[span.start, span.stop] for span in spans] if choices.region_given else None,
            "outputs": list(choices.outputs),
            "identity_deviation": self._deviation,
            "complete": not self._pending,
            "warnings": list(self.warnings),
        }


def automatic_tile_shape(
    geometry: Geometry,
    region: tuple[Span, ...],
    device: Device,
    dimension: int,
    output_shape: tuple[int, ...],
) -> tuple[int, ...]:
    """The tile shape, in voxels of the source, for the memory that is free now."""
    free = free_memory(device)
    if device.kind != "cuda":  # results share the memory with the network
        free -= 4 * math.prod(output_shape) * len(OUTPUTS)
    spans = list(region)
    if geometry.resampling is not None:
        spans[0] = geometry.resampling.needed_planes(region[0])
    shape = tuple(span.size for span in spans)
    tile = memory.automatic_tile_shape(shape, geometry.halo, device, free, dimension)
    if geometry.resampling is not None:
        planes = region[0].size if tile[0] >= shape[0] else max(1, int(tile[0] / geometry.resampling.factor))
        tile = (planes, *tile[1:])
    return tile
