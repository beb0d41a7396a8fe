"""Several small blocks at a time on the processor, one thread for each."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, TypeVar

import torch

from napari_lucyd.compute.device import Device
from napari_lucyd.deconvolution.tiling.geometry import Geometry
from napari_lucyd.deconvolution.tiling.queue import TileQueue
from napari_lucyd.inference import forward
from napari_lucyd.networks.network import Network

# More threads wait for Python's lock: a third of a small block's time is spent in Python.
_MOST_THREADS = 4
# With fewer blocks, another prepared network takes longer than it saves.
_FEW_BLOCKS = 32

Result = TypeVar("Result")


class SmallBlocks:
    """Threads that each compute one block at a time with a prepared network of their own.

    Parameters
    ----------
    network, device
        Network in evaluation mode, and the processor with compiled kernels.
    threads
        Number of threads.
    """

    def __init__(self, network: Network, device: Device, threads: int) -> None:
        self.threads = threads
        self._prepared = [forward.prepare(network, device) for _ in range(threads)]
        self._free: SimpleQueue[Any] = SimpleQueue()
        for each in self._prepared:
            self._free.put(each)
        self._pool = ThreadPoolExecutor(threads, "lucyd-blocks")

    def start(self, compute: Callable[[Any], Result]) -> Callable[[], Result]:
        """Call a function with a prepared network in another thread; return a function that waits for it."""

        def work() -> Result:
            network = self._free.get()
            try:
                return compute(network)
            finally:
                self._free.put(network)

        return self._pool.submit(work).result

    def close(self) -> None:
        """Wait for the blocks that were started, and release the networks."""
        self._pool.shutdown(cancel_futures=True)
        for each in self._prepared:
            forward.release(each)


def small_blocks(
    network: Network, device: Device, queue: TileQueue, geometry: Geometry
) -> SmallBlocks | None:
    """Return threads for the blocks of a queue; None if they are few or large enough for several threads."""
    threads = min(_MOST_THREADS, torch.get_num_threads())
    few = queue.total < _FEW_BLOCKS or threads == 1
    if few or not forward.is_for_one_thread(network, device, geometry.block_voxels(queue.first[1])):
        return None
    return SmallBlocks(network, device, threads)
