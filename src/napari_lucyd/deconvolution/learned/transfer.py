"""From the processor's memory to a device's and back; on CUDA beside the computing."""

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
    """Takes blocks to a device, and what comes of them back.

    This one waits for each copy: the processor has none to make, and Metal offers no way to make them aside.

    Parameters
    ----------
    device
        Where the network runs.
    """

    def __init__(self, device: Device) -> None:
        self._device = torch.device(device.torch)

    def room(self, shape: tuple[int, ...]) -> Tensor:
        """Where a block is read to, for `up` to take it from; may be called in any thread."""
        return torch.empty(shape)

    def up(self, values: Tensor) -> Tensor:
        """The same on the device, for what is computed there from now on."""
        return values.to(self._device)

    def down(self, parts: Mapping[str, Tensor]) -> Callable[[], Arrays]:
        """Send parts back; what is returned waits for them."""
        return lambda: {name: part.to("cpu", torch.float32).numpy() for name, part in parts.items()}


class PinnedTransfer(Transfer):
    """On CUDA: through pinned memory, in one stream there and another back, beside the computing one.

    Pinned memory comes from torch's cache of it, which gives a piece out again only when its copies are done.
    Its cache of the device's memory is told which tensors two streams use, for the same reason. Where no
    memory can be pinned, copies are waited for.
    """

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        # torch's annotations leave out what a stream and an event are made of.
        stream: Any = torch.cuda.Stream
        self._there, self._back = stream(self._device), stream(self._device)

    def room(self, shape: tuple[int, ...]) -> Tensor:
        """See `Transfer.room`."""
        try:
            return torch.empty(shape, pin_memory=True)
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
        # In the computing stream: what is cut out of something larger is made whole there.
        whole = {name: part.to(torch.float32).contiguous() for name, part in parts.items()}
        try:
            arrived = {name: torch.empty(part.shape, pin_memory=True) for name, part in whole.items()}
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
    """The transfer for a device."""
    return PinnedTransfer(device) if device.kind == "cuda" else Transfer(device)
