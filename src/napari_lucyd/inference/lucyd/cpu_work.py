"""A layer's kernel with its arguments, and the threads that share its rows."""

from __future__ import annotations

from itertools import pairwise
from threading import local
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_lucyd.compute.threads import ThreadTeam
from napari_lucyd.inference.lucyd import cpu_winograd
from napari_lucyd.inference.lucyd.cpu_kernels import PAD
from napari_lucyd.spans import Span, ceil_to, floor_to

# Parts of a step for each thread. If other programs delay a thread, the others take over its parts.
_SHARES = 2


class Work(NamedTuple):
    """A layer's kernel and its arguments, for one block.

    ``tables`` and ``rest`` are the arguments before and after the ranges of planes and rows. ``depth`` is the
    number of taps along Z if the kernel needs a scratch, otherwise 0. ``outputs`` is the table of the
    output's addresses: (planes, channels). ``keep`` owns the memory that all these point into: it must
    live as long as a thread uses it.
    """

    function: Any
    tables: tuple[int, ...]
    rows: Span
    rest: tuple[int, ...]
    depth: int
    outputs: npt.NDArray[np.int64]
    keep: tuple[Any, ...]

    def writing_to(self, home: Any) -> Work:
        """Return the work with another home of its output; both works share one table of addresses."""
        self.outputs[:] = home.addresses(np.arange(len(self.outputs)))
        return self._replace(keep=(*self.keep, home))


class Workers:
    """Threads for the work of one network.

    Parameters
    ----------
    threads
        Number of threads.
    scratch
        Floats of a thread's scratch.
    few_voxels
        A step with fewer voxels is done by one thread, because to wake others takes longer.
    """

    def __init__(self, threads: int, scratch: int, few_voxels: int) -> None:
        self.threads = max(1, threads)
        self._scratch_floats, self._few = scratch, few_voxels
        self._scratches = local()
        self._team: ThreadTeam | None = None

    @property
    def started(self) -> bool:
        """True if there are threads besides the caller's."""
        return self._team is not None

    def do(self, work: Work, planes: Span) -> None:
        """Compute some planes of a layer; the threads share its rows."""

        def part(start: int, stop: int) -> None:
            scratch = (self._scratch(), work.depth) if work.depth else ()
            work.function(*work.tables, *planes, start, stop, *work.rest, *scratch)

        if self.threads == 1 or planes.size * work.rows.size * work.rest[3] < self._few:
            part(*work.rows)
            return
        shares = _SHARES * self.threads
        first, last = work.rows
        inner = [first + work.rows.size * k // shares for k in range(1, shares)]
        # Rows that are computed together are not divided.
        inner = [max(first, floor_to(y, cpu_winograd.ROWS)) for y in inner]
        self.share(part, [span for span in pairwise([first, *inner, last]) if span[0] < span[1]])

    def share(self, function: Any, parts: list[tuple[int, ...]]) -> None:
        """Call a function with the arguments of each part."""
        if self._team is None:
            self._team = ThreadTeam(self.threads)
        self._team.run(function, parts)

    def _scratch(self) -> int:
        """Return the address of this thread's scratch."""
        if not hasattr(self._scratches, "address"):
            memory = np.empty(self._scratch_floats + PAD, dtype=np.float32)
            self._scratches.memory, self._scratches.address = memory, ceil_to(memory.ctypes.data, 4 * PAD)
        return int(self._scratches.address)
