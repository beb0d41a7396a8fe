"""The common part of LUCYD on the processor and on a GPU: one block in, its four results out."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from napari_lucyd.compute.slabs import slabs
from napari_lucyd.errors import Cancelled
from napari_lucyd.inference.lucyd.graph import requested_spans
from napari_lucyd.networks.lucyd import LUCYD, LucydOutput, excess
from napari_lucyd.spans import Span


class FusedLucyd(ABC):
    """LUCYD by compiled kernels, called with one block at a time.

    Parameters
    ----------
    network
        Network in evaluation mode; it is not changed.
    device
        Device of the blocks.
    should_stop
        Called before every step; True stops the run.
    """

    def __init__(
        self, network: LUCYD, device: torch.device, should_stop: Callable[[], bool] | None = None
    ) -> None:
        self.config = network.config
        self._should_stop = should_stop
        self._rescale = copy.deepcopy(network.rescale).to(device)

    def __call__(
        self, y: Tensor, inside: Sequence[slice] | None = None, periodic: Sequence[bool] = ()
    ) -> LucydOutput:
        """Run a block.

        Parameters
        ----------
        y
            (1, 1, [Z,] Y, X), float32, on the device, even sizes.
        inside
            Part to return, along the spatial axes; by default all.
        periodic
            True for each spatial axis along which the block is repeated; by default zeros are around it.

        Returns
        -------
        LucydOutput
            The results for that part.

        Raises
        ------
        Cancelled
            When ``should_stop`` returns True.
        """
        sizes, spans = requested_spans(self.config.dimension, y.shape, inside)
        own = spans[3 - self.config.dimension :]
        shape = (1, 1, *(span.size for span in own))
        repeated = (*[False] * (3 - len(periodic)), *periodic)
        ceiling = self.config.ceiling
        seen = y if ceiling is None else y.clamp(max=ceiling)
        parts = self._compute(seen.detach().reshape(sizes), spans, repeated)
        mask, update = (part.reshape(shape) for part in parts)
        part: tuple[Any, ...] = (..., *(span.slice for span in own))
        values, intermediate, output = y[part], torch.empty_like(mask), torch.empty_like(mask)
        for slab in slabs(mask.shape[2:], mask.device):
            at: Any = (slice(None), slice(None), slab)
            if ceiling is not None:
                mask[at] = (seen[part][at] + mask[at]) * excess(values[at], ceiling) - values[at]
            torch.add(values[at], mask[at], out=intermediate[at])
            output[at] = torch.relu_(self._rescale(intermediate[at] * update[at]))
        return LucydOutput(output, mask, update, intermediate)

    @abstractmethod
    def _compute(self, block: Tensor, inside: list[Span], repeated: Sequence[bool]) -> Sequence[Tensor]:
        """Compute the part ``inside`` of the results, (Z, Y, X), in the order of `graph.RESULTS`.

        ``repeated`` is True for each of Z, Y, X along which the block is repeated.
        """

    def _ask(self) -> None:
        if self._should_stop is not None and self._should_stop():
            raise Cancelled("Stopped.")
