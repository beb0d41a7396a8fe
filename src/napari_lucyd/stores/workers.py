"""Who does the tasks: this process, one after the other; `cluster` has the other answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from napari_lucyd.deconvolution import Cancelled, Statistics
from napari_lucyd.deconvolution.device import keeping_memory
from napari_lucyd.deconvolution.measuring import CountPrepared

from .layout import Region
from .task import Outcome, Setting, compute


class Workers(Protocol):
    """What a store's run asks of those who do its tasks."""

    processes: int

    def counting(self, setting: Setting, should_stop: Callable[[], bool] | None) -> CountPrepared | None:
        """What has parts of the image counted for the statistics; None: the run itself reads them."""

    def run(
        self,
        setting: Setting,
        statistics: Statistics,
        tasks: Sequence[tuple[int, Region]],
        should_stop: Callable[[], bool] | None,
    ) -> Iterator[Outcome]:
        """Do tasks, in any order; what is yielded is in the store."""


class Here:
    """The process itself; the engine uses all cores, or the GPU, for one task at a time."""

    processes = 1

    def counting(self, setting: Setting, should_stop: Callable[[], bool] | None) -> CountPrepared | None:
        """See `Workers`."""
        return None

    def run(
        self,
        setting: Setting,
        statistics: Statistics,
        tasks: Sequence[tuple[int, Region]],
        should_stop: Callable[[], bool] | None,
    ) -> Iterator[Outcome]:
        """See `Workers`."""
        with keeping_memory():
            for number, region in tasks:
                if should_stop is not None and should_stop():
                    raise Cancelled("Stopped; what is finished is kept.")
                yield compute(setting, statistics, number, region, should_stop)
