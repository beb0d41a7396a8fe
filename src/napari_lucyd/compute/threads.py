"""Threads that share the parts of one task and stop when it ends."""

from __future__ import annotations

import ctypes
import functools
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread, current_thread
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from napari_lucyd.errors import Cancelled

# Voxels that justify another thread: some milliseconds of copying.
_SHARE = 2**21
Report = TypeVar("Report")
Outcome = TypeVar("Outcome")


class _Batch:
    """Parts for the threads to share, and the outcomes; any thread may append to these lists."""

    def __init__(self, function: Callable[..., Any], parts: Iterable[tuple[Any, ...]]) -> None:
        self.function = function
        self.parts = deque(parts)
        self.begun: list[None] = []
        self.ended: list[BaseException | None] = []
        self.heard: SimpleQueue[None] = SimpleQueue()

    def work(self) -> None:
        """Process parts until none is left."""
        while True:
            # Recorded before a part is taken, so that whoever empties the parts knows of every busy thread.
            self.begun.append(None)
            error = None
            try:
                part = self.parts.popleft()
            except IndexError:
                self.ended.append(None)
                return
            try:
                self.function(*part)
            except BaseException as caught:
                error = caught
            self.ended.append(error)
            self.heard.put(None)


class ThreadTeam:
    """A team of threads that ends with the object.

    `concurrent.futures` is not safe here. Ctrl-C between two lines of its locking code leaves a lock held;
    then no code waits for threads that write to memory by address, or the wait never ends. Queues and lists
    are written in C, so an interrupt cannot split them.

    Parameters
    ----------
    threads
        Number of threads.

    Examples
    --------
    >>> found = []
    >>> ThreadTeam(2).run(lambda a, b: found.append(a + b), [(1, 2), (3, 4)])
    >>> sorted(found)
    [3, 7]
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._batches: SimpleQueue[_Batch | None] = SimpleQueue()
        members = [
            Thread(target=_serve, args=(self._batches,), name="lucyd-team", daemon=True)
            for _ in range(threads)
        ]
        for member in members:
            member.start()
        weakref.finalize(self, _dismiss, self._batches, members)

    def run(self, function: Callable[..., Any], parts: Iterable[tuple[Any, ...]]) -> None:
        """Call a function with the arguments of each part, and return when all calls have ended.

        An interrupt leaves out the parts not yet started, and waits for the others.

        Parameters
        ----------
        function
            Function to call. Threads help only if it releases Python's global lock.
        parts
            Arguments for each call.

        Raises
        ------
        BaseException
            The error of a call that failed.
        """
        batch = _Batch(function, parts)
        count = len(batch.parts)
        try:
            for _ in range(min(self._threads, count)):
                self._batches.put(batch)
            for _ in range(count):
                batch.heard.get()
        finally:
            batch.parts.clear()
            while len(batch.ended) < len(batch.begun):
                time.sleep(1e-4)
        for error in batch.ended:
            if error is not None:
                raise error


def _serve(batches: SimpleQueue[_Batch | None]) -> None:
    while (batch := batches.get()) is not None:
        batch.work()
        del batch  # otherwise its contents would live until the next batch


def _dismiss(batches: SimpleQueue[_Batch | None], members: list[Thread]) -> None:
    for _ in members:
        batches.put(None)
    # Also at exit: a thread that wakes up after the interpreter has ended aborts the process.
    for member in members:
        if member is not current_thread():
            member.join(timeout=1)


def run_on_all(function: Any, arguments: int) -> None:
    """Call a function of one address on as many threads as torch uses, and wait for all of them.

    Between two operations torch's threads spin for milliseconds, so other threads would have to share the
    cores with them. The work therefore runs on torch's own threads where they are accessible.

    Parameters
    ----------
    function
        A ctypes function that takes its share of the work, however many threads there are.
    arguments
        An address.
    """
    threads = torch.get_num_threads()
    parallel = _openmp()
    if parallel:
        parallel(ctypes.cast(function, ctypes.c_void_p), arguments, threads, 0)
    else:
        _team(threads).run(function, [(arguments,)] * threads)


@functools.cache
def _openmp() -> Callable[..., None] | None:
    """Find the function that starts a parallel region in the OpenMP library that torch uses.

    Programs compiled by GCC call this function, and the other OpenMP libraries on Linux have it too.
    Elsewhere there is none.
    """
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        parallel = library.GOMP_parallel
    except (OSError, AttributeError):
        return None
    parallel.restype = None
    parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    return parallel


@functools.cache
def _team(threads: int) -> ThreadTeam:
    return ThreadTeam(threads)


def copy_into(target: npt.NDArray[Any], values: npt.ArrayLike) -> None:
    """Do ``target[...] = values`` on several threads; values too large for the target's type become infinite.

    Parameters
    ----------
    target
        Array to write into.
    values
        Values, broadcast to the target's shape.
    """
    threads = min(torch.get_num_threads(), target.size // _SHARE)
    if threads < 2:
        _copy(target, values)
        return
    # Along the longest axis, so that all threads get some.
    axis = int(np.argmax(target.shape))
    targets = np.array_split(target, threads, axis=axis)
    sources = np.array_split(np.broadcast_to(values, target.shape), threads, axis=axis)
    ThreadTeam(threads).run(_copy, zip(targets, sources, strict=True))


def _copy(target: npt.NDArray[Any], values: npt.ArrayLike) -> None:
    with np.errstate(over="ignore", invalid="ignore"):  # each thread has its own
        target[...] = values


def follow(
    work: Callable[[Callable[[Report], None], Callable[[], None]], Outcome], ask: Callable[[], object]
) -> Generator[Report, None, Outcome]:
    """Run work in a thread of its own, yield its reports as they come, and return its outcome.

    Parameters
    ----------
    work
        Called with two functions: one takes a report, and one must be called again and again. An exception
        of the second ends the work.
    ask
        Called by the latter; what it raises ends the work, and comes out here.
    """
    reports: SimpleQueue[tuple[Report] | None] = SimpleQueue()
    outcome: list[Outcome] = []
    failure: list[BaseException] = []
    closed = Event()

    def check() -> None:
        if closed.is_set():
            raise Cancelled("Stopped.")
        ask()

    def run() -> None:
        try:
            outcome.append(work(lambda report: reports.put((report,)), check))
        except BaseException as error:
            failure.append(error)
        finally:
            reports.put(None)

    thread = Thread(target=run, name="search", daemon=True)
    thread.start()
    try:
        while (report := reports.get()) is not None:
            yield report[0]
    finally:
        closed.set()
        thread.join()
    if failure:
        raise failure[0]
    return outcome[0]
