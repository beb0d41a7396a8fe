"""Threads that compute the parts of one thing at the same time, and are still when it is over."""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from threading import Thread, current_thread
from typing import Any


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


class Team:
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
    >>> Team(2).run(lambda a, b: found.append(a + b), [(1, 2), (3, 4)])
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
