"""Transfers between the processor's memory and a device; on CUDA they overlap with computing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_lucyd.compute.device import Device

Arrays = dict[str, npt.NDArray[np.float32]]


class Transfer:
    """Transfer of blocks to a device, and of their parts back.

    This class waits for each copy. The processor needs no copies, and Metal offers none in the background.

    Parameters
    ----------
    device
        Device of the network.
    """

    def __init__(self, device: Device) -> None:
        self._device = torch.device(device.torch)

    def room(self, shape: tuple[int, ...]) -> Tensor:
        """Allocate memory for a block, which `up` will send; may be called in any thread."""
        return torch.empty(shape, dtype=torch.float32, device="cpu")

    def up(self, values: Tensor) -> Tensor:
        """Send a block to the device, for all later computations."""
        return values.to(self._device)

    def down(self, parts: Mapping[str, Tensor]) -> Callable[[], Arrays]:
        """Send parts back; the returned function waits for them."""
        return lambda: {name: part.to("cpu", torch.float32).numpy() for name, part in parts.items()}


class PinnedTransfer(Transfer):
    """Transfer on CUDA through pinned memory, with one stream for each direction beside the computing one.

    torch's cache of pinned memory reuses a piece only when its copies are done. For the same reason its cache
    of device memory is told of tensors that two streams use. If no memory can be pinned, each copy is waited
    for.
    """

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        # torch does not type the constructors of streams and events.
        stream: Any = torch.cuda.Stream
        self._there, self._back = stream(self._device), stream(self._device)

    def room(self, shape: tuple[int, ...]) -> Tensor:
        """See `Transfer.room`."""
        try:
            return torch.empty(shape, dtype=torch.float32, device="cpu", pin_memory=True)
        except RuntimeError:
            return super().room(shape)

    def up(self, values: Tensor) -> Tensor:
        """See `Transfer.up`."""
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._there):
            arrived = values.to(self._device, non_blocking=True)
        computing.wait_stream(self._there)
        arrived.record_stream(computing)
        return arrived

    def down(self, parts: Mapping[str, Tensor]) -> Callable[[], Arrays]:
        """See `Transfer.down`."""
        computing = torch.cuda.current_stream(self._device)
        # In the computing stream, which makes slices contiguous.
        whole = {name: part.to(torch.float32).contiguous() for name, part in parts.items()}
        try:
            arrived = {
                name: torch.empty(part.shape, dtype=torch.float32, device="cpu", pin_memory=True)
                for name, part in whole.items()
            }
        except RuntimeError:
            return super().down(whole)
        self._back.wait_stream(computing)
        with torch.cuda.stream(self._back):
            for name, part in whole.items():
                arrived[name].copy_(part, non_blocking=True)
                part.record_stream(self._back)
            done = self._back.record_event()

        def wait() -> Arrays:
            done.synchronize()
            return {name: part.numpy() for name, part in arrived.items()}

        return wait


def transfer(device: Device) -> Transfer:
    """Return the transfer for a device."""
    return PinnedTransfer(device) if device.kind == "cuda" else Transfer(device)
