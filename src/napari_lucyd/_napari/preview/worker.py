"""Thread of the live preview: restores one view of an image, and can drop it at any time.

It uses neither Qt nor napari: views are submitted by a call, and the window fetches the pieces from a queue.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from contextlib import ExitStack
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import numpy as np

from napari_lucyd._napari.preview.next_rectangle import cut_missing, take_next
from napari_lucyd._napari.preview.rectangles import Rectangle, Speed
from napari_lucyd._napari.preview.restorer import Dropped, ViewRequest, ViewRestorer
from napari_lucyd._napari.workers.events import explain
from napari_lucyd.text import percent_text

# The time that seems immediate.
FIRST_SECONDS = 0.5
# While the view does not move, larger cells spend less time on halos; they can be dropped as quickly.
GROWTH_SECONDS = 1.5
# The approximate result uses a third of the network's reach: its errors are small, and its blocks too.
QUICK_HALO = 8
# An idle thread ends by itself.
IDLE_SECONDS = 5.0
# Number of images and settings whose statistics are kept.
_REMEMBERED = 32


class Piece(NamedTuple):
    """Restored pixels of a view, float32 (height, width), in the units of the image."""

    rectangle: Rectangle
    values: np.ndarray
    exact: bool


class Status(NamedTuple):
    """A line for the user; ``settled`` is True if no more pieces of the view follow."""

    text: str
    settled: bool = False


@dataclass
class _Shared:
    """State shared by the two threads."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    wanted: ViewRequest | None = None
    focus: tuple[float, float] = (0.0, 0.0)
    closed: bool = False


class PreviewWorker:
    """Restores the latest view, in a thread of its own that ends when it has no work.

    Parameters
    ----------
    idle_seconds
        The thread ends after this time without work; the next view starts another.
    """

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        self._updates: SimpleQueue[Piece | Status] = SimpleQueue()
        self._idle_seconds = idle_seconds
        self._shared = _Shared()
        self._thread: threading.Thread | None = None
        self._statistics: OrderedDict[Hashable, Any] = OrderedDict()
        self._speeds: dict[Hashable, Speed] = {}

    @property
    def busy(self) -> bool:
        """True while a view is being restored, or updates wait to be fetched."""
        return self._shared.wanted is not None or not self._updates.empty()

    @property
    def running(self) -> bool:
        """True while the thread is alive."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def submit(self, view: ViewRequest, focus: tuple[float, float]) -> None:
        """Drop the present view and restore this one, from the focus outward."""
        shared = self._shared
        with shared.changed:
            if shared.closed:
                return
            self._drop()
            shared.wanted, shared.focus = view, focus
            shared.changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lucyd preview", daemon=True)
                self._thread.start()

    def look_at(self, focus: tuple[float, float]) -> None:
        """Let the present view grow towards another row and column."""
        self._shared.focus = focus

    def cancel(self) -> None:
        """Drop the present view; the network stops within one of its layers."""
        with self._shared.changed:
            self._drop()

    def close(self, timeout: float = 5.0) -> None:
        """End the thread permanently, and wait for its end."""
        shared = self._shared
        with shared.changed:
            self._drop()
            shared.closed = True
            shared.changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def fetch(self) -> list[Piece | Status]:
        """Return all updates since the last call."""
        found: list[Piece | Status] = []
        while True:
            try:
                found.append(self._updates.get_nowait())
            except Empty:
                return found

    def _drop(self) -> None:
        """Discard the present view and its waiting updates; call it under the lock."""
        self._shared.wanted = None
        self.fetch()

    def _tell(self, view: ViewRequest, update: Piece | Status) -> None:
        """Put an update in the queue, unless its view was dropped."""
        with self._shared.changed:
            if self._shared.wanted is view:
                self._updates.put(update)

    def _run(self) -> None:
        shared = self._shared
        with ExitStack() as stack:
            keeping = False
            while True:
                with shared.changed:
                    shared.changed.wait_for(lambda: shared.wanted or shared.closed, self._idle_seconds)
                    view = shared.wanted
                    if view is None:
                        self._thread = None  # under the lock, so that the next view starts another
                        return
                try:
                    if not keeping:  # here, because this imports torch
                        from napari_lucyd.compute.device import keeping_memory

                        stack.enter_context(keeping_memory())
                        keeping = True
                    self._restore(view)
                except Dropped:
                    pass
                except Exception as error:  # reported in a line: a preview must never close the window
                    self._tell(view, Status(in_words(error), settled=True))
                with shared.changed:
                    if shared.wanted is view:
                        shared.wanted = None

    def _restore(self, view: ViewRequest) -> None:
        shared, visible, covered = self._shared, view.visible, view.covered.copy()
        passes = ViewRestorer(view, lambda: shared.wanted is not view)
        statistics = self._measured(view, passes)
        pace = (view.model.sha256, view.options.get("device"), view.options.get("flips"))
        speed = self._speeds.setdefault(pace, Speed())

        def cut(seconds: float) -> list[Rectangle]:
            return cut_missing(passes, visible, covered, shared.focus, speed.budget(seconds))

        def restore(rectangle: Rectangle, halo: int | None) -> None:
            begin = time.perf_counter()
            values = passes.restore(rectangle, statistics, halo)
            speed.measured(passes.cost(rectangle, halo), time.perf_counter() - begin)
            self._tell(view, Piece(rectangle, values, exact=halo is None))

        cells = cut(FIRST_SECONDS)
        if len(cells) > 1:
            look = passes.patch(visible, shared.focus, speed.budget(FIRST_SECONDS), QUICK_HALO)
            if covered[look.slices_in(visible)].mean() < 0.5:
                restore(look, QUICK_HALO)
                self._tell(view, Status("Preview: approximate; the exact result follows."))
                cells = cut(FIRST_SECONDS)
        known = 0.0
        while cells:
            cell = take_next(cells, shared.focus)
            restore(cell, None)
            covered[cell.slices_in(visible)] = True
            settled = bool(covered.all())
            share = "the whole view" if settled else f"{percent_text(covered.mean())} of the view"
            self._tell(view, Status(f"Preview: exact in {share}.", settled))
            # The rest is cut when the first cell has shown the speed of the device, and again if the speed
            # changes much.
            if cells and not 0.5 * known < speed.voxels_per_second < 2 * known:
                known = speed.voxels_per_second
                cells = cut(GROWTH_SECONDS)

    def _measured(self, view: ViewRequest, passes: ViewRestorer) -> Any:
        """Measure, once, the numbers that Run scales the image by."""
        key = view.statistics_key
        if key not in self._statistics:
            self._tell(view, Status("Preview: measuring the intensities of the image…"))

            def should_stop() -> bool:
                # The next view of the same image continues it; otherwise panning would restart it again and
                # again.
                wanted = self._shared.wanted
                return wanted is None or wanted.statistics_key != key

            self._statistics[key] = passes.measure(should_stop)
        self._statistics.move_to_end(key)
        while len(self._statistics) > _REMEMBERED:
            self._statistics.popitem(last=False)
        passes.check()
        return self._statistics[key]


def in_words(error: Exception) -> str:
    """Describe an error in one line, with its class if the message alone may not be clear."""
    return f"Preview: {' '.join(explain(error).split())}"
