"""The run itself: tile after tile of the queue, into the result arrays."""

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
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.learned.pipeline import InFlightBlock, Pipeline
from napari_lucyd.deconvolution.result import Progress
from napari_lucyd.deconvolution.statistics.scaling import Group, Statistics
from napari_lucyd.deconvolution.tiling.queue import TileQueue
from napari_lucyd.deconvolution.tiling.tiles import Tile, cut
from napari_lucyd.errors import BlockTooLarge, Cancelled, DeconvolutionError, OutOfMemory, clear_frames
from napari_lucyd.inference import forward
from napari_lucyd.networks.network import Network

NOTHING_BUT_ZEROS = "The network returned nothing but zeros"
# Smaller volumes may well be restored to nothing but background.
_FEW_VOXELS = 1000


# What has run on what, in this process: a trial takes a while, and a preview has many runs a second.
_tried: set[tuple[Device, str, int]] = set()


def check_device(network: Network, device: Device) -> Device:
    """The device, or the CPU with the reason if the device cannot run the network at all."""
    key = (device, network.name, network.config.dimension)
    if key in _tried:
        return device

    def trial() -> None:
        ready = forward.prepare(network, device)
        shape = [8] * network.config.dimension
        forward.run_network(ready, torch.zeros((1, 1, *shape), device=device.torch))

    working = working_device(device, trial, "run the network")
    if working == device:
        _tried.add(key)
    return working


class Run:
    """Result arrays, what is left to do, and what was found on the way.

    Parameters
    ----------
    model, device, choices
        Of the plan.
    tile_shape
        In voxels of the source.
    warn
        Called with a sentence for the user.

    Attributes
    ----------
    tile_shape
        Smaller than the planned one if memory ran out.
    deviation
        Largest difference between x' and the formula of what is shown, as a share of the range; None for
        networks that have no such formula.
    """

    def __init__(
        self,
        model: Any,
        device: Device,
        choices: RunArguments,
        tile_shape: tuple[int, ...],
        warn: Callable[[str], None],
    ) -> None:
        self._model = model
        self._device = device
        self._choices = choices
        self._warn = warn
        # Of the volume in work: whether any voxel of x' is above 0, and what its voxels reach over.
        self._bright = False
        self._low, self._high = math.inf, -math.inf
        self._largest = math.inf  # block known to fit, in voxels
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
        """Whether nothing is left to do."""
        return not self.queue

    def unfinished(self) -> Iterator[tuple[tuple[int, ...], Tile]]:
        """What is left to do."""
        return self.queue.left()

    def steps(
        self, source: Source, statistics: Statistics, should_stop: Callable[[], bool] | None
    ) -> Iterator[Progress]:
        """Do what is left; see `Job.steps`."""
        queue, choices = self.queue, self._choices
        started, computed = time.perf_counter(), 0

        def group_of(lead: tuple[int, ...]) -> Group:
            return statistics.group(dict(zip(choices.axes.leading, lead, strict=True)))

        pipeline = Pipeline(self._model.network, self._device, choices, source, group_of, should_stop)
        try:
            while queue:
                if should_stop is not None and should_stop():
                    raise Cancelled(f"Stopped after {queue.done} of {queue.total} tiles.")
                lead, tile = queue.first
                voxels = choices.geometry.block_voxels(tile)
                if voxels > self._largest:
                    self._halve()
                    continue
                too_large = False
                try:
                    self._store(pipeline.take(queue, self._largest))
                except (BlockTooLarge, MemoryError):
                    too_large = True
                # Not in the clause above: there the error still holds what has to be released.
                if too_large:
                    self._largest = voxels - 1
                    pipeline.forget()
                    self._halve()
                    continue
                if queue.finish():
                    self._check_volume(lead, group_of(lead))
                computed += voxels
                seconds_left = (time.perf_counter() - started) / computed * queue.cost_left
                where = choices.where(lead, tile)
                yield Progress(queue.done, queue.total, seconds_left, choices.label(lead), where)
        except Exception as error:
            clear_frames(error)
            raise
        finally:
            pipeline.close()

    def _store(self, launched: InFlightBlock) -> None:
        """Wait for a block, and put what came of it where it belongs."""
        choices, (lead, tile) = self._choices, launched.key
        shown = launched.finish()
        self._low, self._high = min(self._low, shown.low), max(self._high, shown.high)
        if shown.deviation is not None:
            self.deviation = max(self.deviation or 0.0, shown.deviation)
        self._bright |= shown.bright
        where = choices.where(lead, tile)
        shape = tuple(part.stop - part.start for part in where)
        for name, part in shown.parts.items():
            if name in shown.broken:
                raise DeconvolutionError(
                    f"The network gave values that are not finite ({name} of {choices.label(lead)}). Its "
                    "weights may be damaged, or the image's intensities far from those it was trained on: "
                    "try another normalization or model."
                )
            values = (
                part if launched.missing is None else np.where(launched.missing, np.float32(np.nan), part)
            )
            values, array = values.reshape(shape), self.arrays[name]
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
        text = f"{NOTHING_BUT_ZEROS} for {self._choices.label(lead)}"
        # A few voxels, a dark corner or a blank frame of a series may well be black.
        voxels = math.prod(span.size for span in self._choices.spans)
        if self._choices.region_given or voxels < _FEW_VOXELS or contrast < 0.5:
            self._warn(f"{text}.")
            return
        raise DeconvolutionError(
            f"{text}. The image's intensities may be far from those the model was trained on (they are "
            f"scaled by lo {group.lo:g} and s {group.s:g}): try another normalization or model."
        )

    def _halve(self) -> None:
        halves = self.queue.halve()
        if halves is None:
            block = self._choices.geometry.block(self.queue.first[1])
            size = " × ".join(str(span.size) for span in block)
            raise OutOfMemory(
                f"{self._device.name} has not enough memory even for a block of {size} voxels. Close what "
                "else uses it, or choose another device."
            )
        shape = tuple(min(a, b) for a, b in zip(self.tile_shape, halves[1].shape, strict=True))
        if shape != self.tile_shape:
            before, after = (" × ".join(map(str, sizes)) for sizes in (self.tile_shape, shape))
            name = self._device.name
            self._warn(f"{name} ran out of memory with tiles of {before}; the run went on with {after}.")
            self.tile_shape = shape
