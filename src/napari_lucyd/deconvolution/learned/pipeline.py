"""Blocks on their way through the network: read, computed, and given back, several at a time where that pays.

On CUDA the device computes one block while the processor reads the next and stores what came of the last.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from napari_lucyd.compute.device import Device, is_out_of_memory, release_after_run, release_memory
from napari_lucyd.deconvolution.arguments import RunArguments
from napari_lucyd.deconvolution.blocks import read_block
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.learned.outputs import (
    TileOutput,
    constant_parts,
    normalized,
    parts_on_device,
    shown_parts,
)
from napari_lucyd.deconvolution.learned.transfer import transfer
from napari_lucyd.deconvolution.statistics.scaling import Group
from napari_lucyd.deconvolution.tiling.queue import TileQueue
from napari_lucyd.deconvolution.tiling.tiles import Tile
from napari_lucyd.errors import BlockTooLarge, DeconvolutionError
from napari_lucyd.inference import forward
from napari_lucyd.networks.network import Network

# Devices that leave the processor time to read the next block.
READS_AHEAD = ("cuda", "mps")
# Devices that are given the next block before what came of the last is waited for.
LAUNCHES_AHEAD = ("cuda",)

_Key = tuple[tuple[int, ...], Tile]


class _Read(NamedTuple):
    """A block that is still with the processor; no values where the volume is constant."""

    values: Tensor | None
    missing: npt.NDArray[np.bool_] | None


@dataclass(frozen=True)
class InFlightBlock:
    """A block that the device was given.

    Attributes
    ----------
    key
        Of which volume, and its tile.
    missing
        Which voxels of the tile are NaN in the source (None: none).
    finish
        Waits for the device, and says what the tile contributes.
    """

    key: _Key
    missing: npt.NDArray[np.bool_] | None
    finish: Callable[[], TileOutput]


class Pipeline:
    """Takes the first tile of a queue, and the ones behind it, through a network.

    Parameters
    ----------
    network
        In evaluation mode.
    device, choices
        Of the plan.
    source
        What is read.
    group_of
        How a volume is normalised, by its leading indices.
    should_stop
        Asked between layers.
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
        self._launched: InFlightBlock | None = None

    def take(self, queue: TileQueue, largest: float) -> InFlightBlock:
        """The first tile of the queue, and the second behind it is launched where the device does that.

        Parameters
        ----------
        queue
            Not empty. It is not changed.
        largest
            No block of more voxels is launched ahead.

        Raises
        ------
        BlockTooLarge
            If memory runs out; also when what is returned is waited for.
        DeconvolutionError
            If torch reports any other error; likewise.
        Exception
            Whatever reading the source raises.
        """
        first, self._launched = self._launched, None
        if first is None or first.key != queue.first:
            first = self._launch(queue.first, queue.ahead(1))
        second = queue.ahead(1)
        if (
            second is not None
            and self._device.kind in LAUNCHES_AHEAD
            and self._choices.geometry.block_voxels(second[1]) <= largest
        ):
            try:
                self._launched = self._launch(second, queue.ahead(2))
            except Exception:
                # The first is not to be lost by it. It is tried again in its turn; then its error counts.
                self._launched = None
        return first

    def forget(self) -> None:
        """Drop what was launched ahead, and give the device's memory back."""
        self._launched = None
        release_memory(self._device)

    def close(self) -> None:
        """Wait for what is being read, and let everything go."""
        self._reader.close()
        self._ready = None
        self._launched = None
        release_after_run(self._device)

    def _read(self, key: _Key) -> _Read:
        lead, tile = key
        group = self._group_of(lead)
        if group.constant and not group.nan_voxels:
            return _Read(None, None)
        geometry = self._choices.geometry
        values = self._copies.room(tuple(span.size for span in geometry.block(tile)))
        missing = read_block(self._source, lead, tile, geometry, group, values.numpy())
        return _Read(None if group.constant else values, missing)

    def _launch(self, key: _Key, following: _Key | None) -> InFlightBlock:
        block = self._reader.take(key, following)
        return InFlightBlock(key, block.missing, self._compute(key, block.values))

    def _compute(self, key: _Key, values: Tensor | None) -> Callable[[], TileOutput]:
        """Have one block computed; its values are overwritten."""
        choices, (lead, tile) = self._choices, key
        group = self._group_of(lead)
        if values is None:
            shown = constant_parts(tile, group, choices.outputs)
            return lambda: shown
        run = forward.run_flipped if choices.flips else forward.run_network
        inside: tuple[Any, ...] = choices.geometry.inside(tile)
        with _torch_errors():
            y, reach = normalized(self._copies.up(values[None, None]), group)
            raw = run(self._ready, y, inside)
            wanted = y[(..., *inside)]
            parts = parts_on_device(
                wanted, reach, raw, self._network, tile, choices.geometry, group, choices.outputs
            )
            wait = self._copies.down(parts)

        def finish() -> TileOutput:
            with _torch_errors():
                return shown_parts(wait())

        return finish


@contextmanager
def _torch_errors() -> Iterator[None]:
    """What torch raises, as errors that a run understands."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise BlockTooLarge(str(error)) from None
        raise DeconvolutionError(f"torch reports: {error}") from error


K = TypeVar("K", bound=Hashable)


V = TypeVar("V")


class Reader(Generic[K, V]):
    """Reads what it is asked for, and meanwhile what is likely to be asked for next.

    There is never more than one reading at a time, so the source need not bear two.

    Parameters
    ----------
    read
        From a key to what is read.
    ahead
        Whether to read ahead; otherwise everything is read when it is asked for, in the caller's thread.
    """

    def __init__(self, read: Callable[[K], V], ahead: bool) -> None:
        self._read = read
        self._threads = ThreadPoolExecutor(1, "lucyd-reading") if ahead else None
        self._key: K | None = None
        self._pending: Future[V] | None = None

    def take(self, key: K, following: K | None) -> V:
        """What belongs to a key; then ``following``, if any, is begun.

        Raises
        ------
        Exception
            Whatever reading it raised, and no sooner than it is asked for.
        """
        if self._threads is None:
            return self._read(key)
        pending, self._pending = self._pending, None
        if pending is not None and self._key != key:
            # Of what is not wanted any more, also the error does not matter.
            wait([pending])
            pending = None
        value = self._read(key) if pending is None else pending.result()
        if following is not None:
            self._key, self._pending = following, self._threads.submit(self._read, following)
        return value

    def close(self) -> None:
        """Wait for what is being read, and forget it."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        self._pending = None
