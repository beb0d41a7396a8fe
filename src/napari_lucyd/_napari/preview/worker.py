"""The live preview's thread: restores one view of an image, the middle first, and drops it at any time.

Neither Qt nor napari: views go in by a call, pieces come out by a queue that the window empties.
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

from napari_lucyd._napari.preview.passes import Dropped, ViewRequest, ViewRestorer
from napari_lucyd._napari.preview.rectangles import Rectangle, Speed, growth, missing_parts, nearest_first

# What a person takes for "at once".
FIRST_SECONDS = 0.5
# While the view rests, larger cells waste less of their time on halos; they are dropped as quickly.
GROWTH_SECONDS = 1.5
# The first look has a third of the network's reach: its pixels are close, and its blocks small.
QUICK_HALO = 8
# A thread with nothing to do ends by itself: nobody has to remember to stop it.
IDLE_SECONDS = 5.0
# Statistics are a few numbers; those of so many images and choices are remembered.
_REMEMBERED = 32


class Piece(NamedTuple):
    """Restored pixels of a view: float32 (height, width), in the units of the image."""

    rectangle: Rectangle
    values: np.ndarray
    exact: bool


class Status(NamedTuple):
    """What to tell the user of a view; ``settled`` when no more pieces will come of it."""

    text: str
    settled: bool = False


@dataclass
class _Shared:
    """What the two threads share."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    wanted: ViewRequest | None = None
    focus: tuple[float, float] = (0.0, 0.0)
    closed: bool = False


class PreviewWorker:
    """Restores the view that was asked for last, in a thread of its own that lives while it has work.

    Parameters
    ----------
    idle_seconds
        After so long without work the thread ends; the next view starts another.
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
        """Whether a view is being worked on, or updates wait to be fetched."""
        return self._shared.wanted is not None or not self._updates.empty()

    @property
    def running(self) -> bool:
        """Whether the thread is alive."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def submit(self, view: ViewRequest, focus: tuple[float, float]) -> None:
        """Drop whatever is worked on and restore this view instead, from the focus outward."""
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
        """Let the view that is worked on grow towards another row and column."""
        self._shared.focus = focus

    def cancel(self) -> None:
        """Drop whatever is worked on; the network stops within one of its layers."""
        with self._shared.changed:
            self._drop()

    def close(self, timeout: float = 5.0) -> None:
        """End the thread for good, and wait for that."""
        shared = self._shared
        with shared.changed:
            self._drop()
            shared.closed = True
            shared.changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def fetch(self) -> list[Piece | Status]:
        """All updates since the last call."""
        found: list[Piece | Status] = []
        while True:
            try:
                found.append(self._updates.get_nowait())
            except Empty:
                return found

    def _drop(self) -> None:
        """Under the lock: no update of the present view will be fetched, also of those that wait."""
        self._shared.wanted = None
        self.fetch()

    def _tell(self, view: ViewRequest, update: Piece | Status) -> None:
        """Put an update in the queue, unless its view has been dropped meanwhile."""
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
                    if not keeping:  # here, since torch is loaded by it
                        from napari_lucyd.compute.device import keeping_memory

                        stack.enter_context(keeping_memory())
                        keeping = True
                    self._restore(view)
                except Dropped:
                    pass
                except Exception as error:  # told in a line: a preview must never bring a window down
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
            """What is missing, in cells that take about so long, with one close to the focus."""
            budget, halo = speed.budget(seconds), passes.halo(None)
            cells: list[Rectangle] = []
            for part in missing_parts(visible, covered, halo):
                start = passes.patch(part, shared.focus, budget, None)
                cells += [start, *growth(part, start)]
            # A part may hold some that is there already.
            return [rest for cell in cells for rest in missing_parts(visible, covered, halo, cell)]

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
                self._tell(view, Status("Preview: a first look; the exact one follows."))
                cells = cut(FIRST_SECONDS)
        known = 0.0
        while cells:
            cell = nearest_first(cells, shared.focus)[0]
            cells.remove(cell)
            restore(cell, None)
            covered[cell.slices_in(visible)] = True
            settled = bool(covered.all())
            share = "the whole view" if settled else f"{100 * covered.mean():.0f} % of the view"
            self._tell(view, Status(f"Preview: exact in {share}.", settled))
            # The rest is cut once the first cell has shown what the device does in the time, and anew
            # when that turns out otherwise.
            if cells and not 0.5 * known < speed.voxels_per_second < 2 * known:
                known = speed.voxels_per_second
                cells = cut(GROWTH_SECONDS)

    def _measured(self, view: ViewRequest, passes: ViewRestorer) -> Any:
        """The numbers that Run would scale the image by, measured over all of it, once."""
        key = view.statistics_key
        if key not in self._statistics:
            self._tell(view, Status("Preview: reading the image's range of intensities…"))

            def should_stop() -> bool:
                # The next view of the same image goes on with it, or panning would begin it for ever.
                wanted = self._shared.wanted
                return wanted is None or wanted.statistics_key != key

            self._statistics[key] = passes.measure(should_stop)
        self._statistics.move_to_end(key)
        while len(self._statistics) > _REMEMBERED:
            self._statistics.popitem(last=False)
        passes.check()
        return self._statistics[key]


def in_words(error: Exception) -> str:
    """One line; the type's name where the message alone may say too little."""
    message = " ".join(str(error).split())
    if isinstance(error, (ValueError, TypeError)) and message:
        return f"Preview: {message}"
    return f"Preview: {type(error).__name__}: {message}"
