"""The pipeline of blocks through the network: read, compute, return; several at a time where that is faster.

On CUDA the device computes one block while the processor reads the next and stores the last. On the processor
several small blocks are computed at a time, because each is too small for several threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import product
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from napari_lucyd.compute.device import (
    Device,
    release_after_run,
    release_memory,
    torch_errors,
    without_autocast,
)
from napari_lucyd.deconvolution.arguments import RunArguments
from napari_lucyd.deconvolution.blocks import read_block
from napari_lucyd.deconvolution.image.source import MirroredSource, Source, mirror
from napari_lucyd.deconvolution.learned.outputs import (
    OutputOnly,
    TileOutput,
    average_flips,
    constant_parts,
    normalized,
    parts_on_device,
    shown_parts,
    tempered,
)
from napari_lucyd.deconvolution.learned.small_blocks import SmallBlocks, small_blocks
from napari_lucyd.deconvolution.learned.transfer import transfer
from napari_lucyd.deconvolution.statistics.scaling import Group
from napari_lucyd.deconvolution.tiling.queue import TileQueue
from napari_lucyd.deconvolution.tiling.tiles import Tile
from napari_lucyd.inference import forward
from napari_lucyd.networks.network import Network

# Devices that compute while the processor reads the next block.
READS_AHEAD = ("cuda", "mps")
# Devices that receive the next block before the last has finished.
LAUNCHES_AHEAD = ("cuda",)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_Key = tuple[tuple[int, ...], Tile]


class _Read(NamedTuple):
    """A block in the processor's memory; None for the values of a constant volume."""

    values: Tensor | None
    missing: npt.NDArray[np.bool_] | None


@dataclass(frozen=True)
class InFlightBlock:
    """A block that was sent to the device.

    Attributes
    ----------
    key
        Leading indices of its volume, and its tile.
    missing
        Mask of the tile's voxels that are NaN in the source; None if there are none.
    finish
        Function that waits for the device and returns the tile's contribution.
    """

    key: _Key
    missing: npt.NDArray[np.bool_] | None
    finish: Callable[[], TileOutput]


class Pipeline:
    """A pipeline that runs the first tiles of a queue through a network.

    Parameters
    ----------
    network
        Network in evaluation mode.
    device, choices
        Device and arguments of the plan.
    source
        Image to read.
    group_of
        Function from the leading indices of a volume to its statistics.
    should_stop
        Called between layers; True stops.
    """

    def __init__(
        self,
        network: Network,
        device: Device,
        choices: RunArguments,
        source: Source,
        group_of: Callable[[tuple[int, ...]], Group],
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self._network = network
        self._device = device
        self._choices = choices
        self._source = source
        self._group_of = group_of
        self._ready = forward.prepare(network, device, should_stop)
        self._copies = transfer(device)
        self._reader = Reader(self._read, device.kind in READS_AHEAD)
        self._launched: deque[InFlightBlock] = deque()
        self._small: SmallBlocks | None = None
        self._most_ahead: int | None = None  # unknown before the first block
        self._reading = Lock()  # a source may not support several readers

    def take(self, queue: TileQueue, largest: float) -> InFlightBlock:
        """Return the first tile of the queue, launched; also launch the next ones if the device allows.

        Parameters
        ----------
        queue
            Queue with at least one tile; it is not changed.
        largest
            Largest number of voxels of a block that is launched ahead.

        Raises
        ------
        BlockTooLarge
            If memory runs out; also when the result's ``finish`` is called.
        DeconvolutionError
            If torch reports another error; also when the result's ``finish`` is called.
        Exception
            Any error of reading the source.
        """
        if self._most_ahead is None:
            self._most_ahead = self._choose_most_ahead(queue)
        if self._launched and self._launched[0].key != queue.first:
            self._launched.clear()
        if not self._launched:
            self._launched.append(self._launch(queue.first, self._ahead(queue, 1)))
        while len(self._launched) <= self._most_ahead:
            key = self._ahead(queue, len(self._launched))
            if key is None or self._choices.geometry.block_voxels(key[1]) > largest:
                break
            try:
                self._launched.append(self._launch(key, self._ahead(queue, len(self._launched) + 1)))
            except Exception:
                # Keep the blocks before; this one is retried in turn, and its error counts then.
                break
        return self._launched.popleft()

    def forget(self) -> None:
        """Drop the blocks that were launched ahead, and release the device's memory."""
        self._launched.clear()
        release_memory(self._device)

    def close(self) -> None:
        """Wait for the reader, then release all memory."""
        self._reader.close()
        self._launched.clear()
        if self._small is not None:
            self._small.close()
        forward.release(self._ready)
        self._ready = None
        release_after_run(self._device)

    def _choose_most_ahead(self, queue: TileQueue) -> int:
        """Return how many blocks are launched before the first one is finished."""
        if self._device.kind in LAUNCHES_AHEAD:
            return 1
        if not self._choices.flips:  # they read the source while they compute
            self._small = small_blocks(self._network, self._device, queue, self._choices.geometry)
        return 0 if self._small is None else self._small.threads

    def _ahead(self, queue: TileQueue, steps: int) -> _Key | None:
        """Return a tile that may be read while the first one is processed."""
        key = queue.ahead(steps)
        if key is None or (key[0] != queue.first[0] and self._source.steps_before(key[0])):
            # The steps before a volume's tiles would be done twice: now, and in turn with their progress.
            return None
        return key

    def _read(self, key: _Key) -> _Read:
        lead, tile = key
        group = self._group_of(lead)
        if group.constant and not group.nan_voxels:
            return _Read(None, None)
        values, missing = self._read_block(self._source, lead, tile, group)
        return _Read(None if group.constant else values, missing)

    def _read_block(
        self, source: Source, lead: tuple[int, ...], tile: Tile, group: Group
    ) -> tuple[Tensor, npt.NDArray[np.bool_] | None]:
        geometry = self._choices.geometry
        values = self._copies.room(tuple(span.size for span in geometry.block(tile)))
        with self._reading:
            missing = read_block(source, lead, tile, geometry, group, values.numpy())
        return values, missing

    def _launch(self, key: _Key, following: _Key | None) -> InFlightBlock:
        block = self._reader.take(key, following)
        return InFlightBlock(key, block.missing, self._compute(key, block.values))

    def _compute(self, key: _Key, values: Tensor | None) -> Callable[[], TileOutput]:
        """Launch one block; its values are overwritten."""
        choices, (lead, tile) = self._choices, key
        group = self._group_of(lead)
        if values is None:
            shown = constant_parts(tile, group, choices.outputs)
            return lambda: shown
        if self._small is not None:
            return self._small.start(lambda network: self._finished(network, tile, values, group))
        with torch_errors(), without_autocast(self._device):
            if choices.flips:
                parts = average_flips(self._run_flips(lead, tile, values, group))
            else:
                parts = self._run(self._ready, tile, values, group)
            wait = self._copies.down(parts)

        def finish() -> TileOutput:
            with torch_errors():
                return shown_parts(wait())

        return finish

    def _finished(self, network: Any, tile: Tile, values: Tensor, group: Group) -> TileOutput:
        """Compute one block on the processor; its values are overwritten."""
        with torch_errors(), without_autocast(self._device):
            return shown_parts(self._copies.down(self._run(network, tile, values, group))())

    def _run(self, network: Any, tile: Tile, values: Tensor, group: Group) -> dict[str, Tensor]:
        """Run the network on a block; return its parts on the device."""
        geometry, outputs = self._choices.geometry, self._choices.outputs
        inside: tuple[Any, ...] = geometry.inside(tile)
        y, reach = normalized(self._copies.up(values[None, None]), group)
        raw = forward.run_network(network, y, inside, geometry.periodic)
        if group.network_share < 1:
            raw = tempered(raw, y[(..., *inside)], group.network_share, self._network)
        if self._choices.flips:
            raw = OutputOnly(raw.output)
        return parts_on_device(y[(..., *inside)], reach, raw, self._network, tile, geometry, group, outputs)

    def _run_flips(
        self, lead: tuple[int, ...], tile: Tile, values: Tensor, group: Group
    ) -> Iterator[tuple[tuple[int, ...], dict[str, Tensor]]]:
        """Run the network on the block in every mirror image of the volume; yield the mirrored axes too."""
        shape = self._choices.axes.volume_shape
        for flips in product((False, True), repeat=len(shape)):
            axes = tuple(axis for axis, flipped in enumerate(flips) if flipped)
            there = Tile(mirror(tile.spans, shape, axes))
            if axes:
                values, _ = self._read_block(MirroredSource(self._source, axes), lead, there, group)
            yield axes, self._run(self._ready, there, values, group)


class Reader(Generic[K, V]):
    """A reader that also reads the next item ahead.

    Only one item is read at a time, because a source may not support more.

    Parameters
    ----------
    read
        Function from a key to its item.
    ahead
        True to read ahead; otherwise items are read on request, in the caller's thread.
    """

    def __init__(self, read: Callable[[K], V], ahead: bool) -> None:
        self._read = read
        self._threads = ThreadPoolExecutor(1, "lucyd-reading") if ahead else None
        self._key: K | None = None
        self._pending: Future[V] | None = None

    def take(self, key: K, following: K | None) -> V:
        """Return the item of a key, and start to read ``following``, if any.

        Raises
        ------
        Exception
            The error of reading the item, raised when it is requested.
        """
        if self._threads is None:
            return self._read(key)
        pending, self._pending = self._pending, None
        if pending is not None and self._key != key:
            # This item is no longer needed, nor is its error.
            wait([pending])
            pending = None
        value = self._read(key) if pending is None else pending.result()
        if following is not None:
            self._key, self._pending = following, self._threads.submit(self._read, following)
        return value

    def close(self) -> None:
        """Wait for the current read, and drop its item."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        self._pending = None
