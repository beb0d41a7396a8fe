"""Threads that compute the parts of one thing at the same time, and are still when it is over."""

from __future__ import annotations

import ctypes
import functools
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import SimpleQueue
from threading import Thread, current_thread
from typing import Any

import numpy as np
import numpy.typing as npt
import torch


class _Batch:
    """Parts that are shared out, and what has become of them: in lists, which all threads may append to."""

    def __init__(self, function: Callable[..., Any], parts: Iterable[tuple[Any, ...]]) -> None:
        self.function = function
        self.parts = deque(parts)
        self.begun: list[None] = []
        self.ended: list[BaseException | None] = []
        self.heard: SimpleQueue[None] = SimpleQueue()

    def work(self) -> None:
        """Do parts until none is left."""
        while True:
            # Said before a part is taken: who empties the parts then knows of every thread at work.
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
    """A few threads, which end with the object.

    `concurrent.futures` will not do: Ctrl-C between two lines of its locks leaves one of them held, and then
    threads that write to memory by its address are never waited for, or for ever. Queues and lists are not
    written in Python, so nothing can come between.

    Parameters
    ----------
    threads
        How many.

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
        """Call a function with the arguments of every part; all calls have ended when this does.

        Also where it is interrupted: then parts that were not begun are left out.

        Parameters
        ----------
        function
            Has to let go of the interpreter for any of this to be of use.
        parts
            Arguments for each call.

        Raises
        ------
        BaseException
            What one of the calls raised.
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
        del batch  # or what it holds would be kept until the next one


def _dismiss(batches: SimpleQueue[_Batch | None], members: list[Thread]) -> None:
    for _ in members:
        batches.put(None)
    # At the end of the program too: a thread that wakes up after the interpreter is gone aborts the process.
    for member in members:
        if member is not current_thread():
            member.join(timeout=1)


def run_on_all(function: Any, arguments: int) -> None:
    """Call a function of one address on as many threads as torch uses, and wait for all of them.

    Between two operations torch's threads wait by spinning, for milliseconds, and any others would have to
    share the cores with them. So the work is given to those very threads, where they can be had.

    Parameters
    ----------
    function
        Of ctypes; it does its share, whichever other threads are there.
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
    """What compiled code begins a parallel region of OpenMP with, of the library that torch is bound to.

    It is what GCC's programs call, and other libraries of OpenMP for Linux have it too; elsewhere there is
    none.
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


# Voxels that are worth a thread of their own: some milliseconds of copying.
_SHARE = 2**21


def copy_into(target: npt.NDArray[Any], values: npt.ArrayLike) -> None:
    """Do ``target[...] = values``; what the target's type cannot hold becomes infinite, as in `to_float32`.

    Parameters
    ----------
    target
        Where to.
    values
        Of a shape that can be broadcast to the target's.
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
