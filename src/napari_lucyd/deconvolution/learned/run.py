"""The run of a network: tile after tile into the result arrays."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import torch

from napari_lucyd.compute.device import Device, working_device
from napari_lucyd.compute.threads import copy_into
from napari_lucyd.deconvolution.arguments import RunArguments
from napari_lucyd.deconvolution.findings import ONLY_ZEROS, Findings
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.learned.pipeline import InFlightBlock, Pipeline
from napari_lucyd.deconvolution.result import Progress
from napari_lucyd.deconvolution.statistics.scaling import Group, Statistics
from napari_lucyd.deconvolution.tiling.queue import TileQueue
from napari_lucyd.deconvolution.tiling.tiles import Tile, cut
from napari_lucyd.errors import BlockTooLarge, Cancelled, DeconvolutionError, OutOfMemory, clear_frames
from napari_lucyd.inference import forward
from napari_lucyd.networks.network import Network
from napari_lucyd.text import count_text, shape_text

# Smaller volumes may legitimately contain only background.
_FEW_VOXELS = 1000


# Networks that have run on a device in this process: a trial is slow, and a preview runs often.
_tried: set[tuple[Device, str, int]] = set()


def check_device(network: Network, device: Device) -> Device:
    """Return the device, or the CPU with the reason if the device cannot run the network."""
    key = (device, network.name, network.config.dimension)
    if key in _tried:
        return device

    def trial() -> None:
        ready = forward.prepare(network, device)
        shape = [8] * network.config.dimension
        forward.run_network(ready, torch.zeros((1, 1, *shape), dtype=torch.float32, device=device.torch))

    working = working_device(device, trial, "run the network")
    if working == device:
        _tried.add(key)
    return working


class _Clock:
    """Time of a run: of the steps before the tiles of a volume, and of the tiles.

    Parameters
    ----------
    left
        Number of steps before the tiles, over all volumes.

    Attributes
    ----------
    done, left
        Numbers of such steps.
    """

    def __init__(self, left: int) -> None:
        self.done, self.left = 0, left
        self._steps_seconds, self._tiles_seconds, self._voxels = 0.0, 0.0, 0
        self._last = time.perf_counter()

    def step_done(self) -> None:
        """Count a step before the tiles."""
        self.done, self.left = self.done + 1, max(0, self.left - 1)
        self._steps_seconds += self._passed()

    def tile_done(self, voxels: int) -> None:
        """Count a tile with a block of this number of voxels."""
        self._voxels += voxels
        self._tiles_seconds += self._passed()

    def seconds_left(self, voxels: int) -> float | None:
        """Estimate the time for the steps and for the blocks that are left; None before the first tile."""
        if voxels and not self._voxels:
            # The tiles may take much longer than the steps before them.
            return None
        steps = self._steps_seconds / self.done * self.left if self.done else 0.0
        return steps + (self._tiles_seconds / self._voxels * voxels if self._voxels else 0.0)

    def _passed(self) -> float:
        now, last = time.perf_counter(), self._last
        self._last = now
        return now - last


class Run:
    """A started run: result arrays, remaining tiles and findings.

    Parameters
    ----------
    model, device, choices
        Model, device and arguments of the plan.
    tile_shape
        Tile shape in voxels of the source.
    warnings
        Messages for the user, shared with the job.

    Attributes
    ----------
    tile_shape
        Current tile shape; smaller than the planned one if memory ran out.
    deviation
        Largest difference between x' and the formula of its parts, as a share of the range; None for networks
        without such a formula.
    """

    def __init__(
        self,
        model: Any,
        device: Device,
        choices: RunArguments,
        tile_shape: tuple[int, ...],
        warnings: Findings,
    ) -> None:
        self._model = model
        self._device = device
        self._choices = choices
        self._warnings = warnings
        # For the current volume: True if any voxel of x' is above 0, and the range of its input.
        self._bright = False
        self._low, self._high = math.inf, -math.inf
        self._largest = math.inf  # voxels of a block known to fit
        self.tile_shape = tile_shape
        self.deviation: float | None = None
        self.queue = TileQueue(
            product(*(range(*span) for span in choices.lead_spans)),
            list(cut(choices.spans, tile_shape, choices.geometry.multiple)),
            choices.geometry.block_voxels,
            choices.geometry.multiple,
        )
        self.arrays = choices.make_arrays()

    @property
    def finished(self) -> bool:
        """True if nothing is left to do."""
        return not self.queue

    def unfinished(self) -> Iterator[tuple[tuple[int, ...], Tile]]:
        """Yield the unfinished tiles, each with the leading indices of its volume."""
        return self.queue.left()

    def steps(
        self, source: Source, statistics: Statistics, should_stop: Callable[[], bool] | None
    ) -> Iterator[Progress]:
        """Process the unfinished tiles; see `Job.steps`."""
        queue, choices = self.queue, self._choices
        steps_left = sum(
            source.steps_before(lead) for lead in dict.fromkeys(lead for lead, _ in queue.left())
        )
        clock = _Clock(steps_left)

        def group_of(lead: tuple[int, ...]) -> Group:
            return statistics.group(choices.axes.lead_index(lead))

        pipeline = Pipeline(self._model.network, self._device, choices, source, group_of, should_stop)
        try:
            while queue:
                if should_stop is not None and should_stop():
                    raise Cancelled(f"Stopped after {queue.done} of {count_text(queue.total, 'tile')}.")
                lead, tile = queue.first
                yield from self._preparing(source, lead, clock)
                voxels = choices.geometry.block_voxels(tile)
                if voxels > self._largest:
                    self._halve()
                    continue
                too_large = False
                try:
                    self._store(pipeline.take(queue, self._largest))
                except (BlockTooLarge, MemoryError):
                    too_large = True
                # After the except clause, because within it the error keeps the block's memory alive.
                if too_large:
                    self._largest = voxels - 1
                    pipeline.forget()
                    self._halve()
                    continue
                if queue.finish():
                    self._check_volume(lead, group_of(lead))
                clock.tile_done(voxels)
                yield self._progress(clock, choices.label(lead), choices.where(lead, tile))
        except Exception as error:
            clear_frames(error)
            raise
        finally:
            pipeline.close()

    def _preparing(self, source: Source, lead: tuple[int, ...], clock: _Clock) -> Iterator[Progress]:
        """Do the work that comes before the tiles of a volume."""
        nowhere = tuple(slice(0, 0) for _ in self._choices.output_shape)
        for done, total in source.preparing(lead):
            clock.step_done()
            message = f"{self._choices.label(lead)}, first estimate: iteration {done} of {total}"
            yield self._progress(clock, message, nowhere)

    def _progress(self, clock: _Clock, message: str, where: tuple[slice, ...]) -> Progress:
        done, total = self.queue.done + clock.done, self.queue.total + clock.done + clock.left
        return Progress(done, total, clock.seconds_left(self.queue.cost_left), message, where)

    def _store(self, launched: InFlightBlock) -> None:
        """Wait for a block, and write its parts into the result arrays."""
        choices, (lead, tile) = self._choices, launched.key
        shown = launched.finish()
        self._low, self._high = min(self._low, shown.low), max(self._high, shown.high)
        if shown.deviation is not None:
            self.deviation = max(self.deviation or 0.0, shown.deviation)
        self._bright |= shown.bright
        where = choices.where(lead, tile)
        for name, part in shown.parts.items():
            if name in shown.broken:
                raise DeconvolutionError(
                    f"The network returned values that are not finite ({name} of {choices.label(lead)}). Its "
                    "weights may be damaged, or the image's intensities may differ too much from those in "
                    "training. Try another normalization or model."
                )
            values = (
                part if launched.missing is None else np.where(launched.missing, np.float32(np.nan), part)
            )
            values, array = choices.axes.in_order_of_array(values), self.arrays[name]
            if choices.allocate is None:
                copy_into(array[where], values)
            else:
                array[where] = values

    def _check_volume(self, lead: tuple[int, ...], group: Group) -> None:
        bright, self._bright = self._bright, False
        contrast = (self._high - self._low) / group.s
        self._low, self._high = math.inf, -math.inf
        if bright or contrast == 0:
            return
        text = f"The network returned only zeros for {self._choices.label(lead)}"
        # A few voxels, a dark corner or a blank frame of a series may be black.
        voxels = math.prod(span.size for span in self._choices.spans)
        if self._choices.region_given or voxels < _FEW_VOXELS or contrast < 0.5:
            self._warnings.add(f"{text}.", ONLY_ZEROS)
            return
        raise DeconvolutionError(
            f"{text}. The image's intensities may differ too much from those in training (they were scaled "
            f"with lo {group.lo:g} and s {group.s:g}). Try another normalization or model."
        )

    def _halve(self) -> None:
        halves = self.queue.halve()
        if halves is None:
            block = self._choices.geometry.block(self.queue.first[1])
            size = shape_text([span.size for span in block])
            raise OutOfMemory(
                f"{self._device.name} has too little memory even for a block of {size} voxels. Close other "
                "programs that use it, or choose another device."
            )
        shape = tuple(min(a, b) for a, b in zip(self.tile_shape, halves[1].shape, strict=True))
        if shape != self.tile_shape:
            self._warnings.add(
                f"{self._device.name} ran out of memory with tiles of {shape_text(self.tile_shape)}; the run "
                f"continued with {shape_text(shape)}."
            )
            self.tile_shape = shape
