"""Blocks read one after another, the next one while a device that is not the processor computes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Reader(Generic[K, V]):
    """Reads what it is asked for, and meanwhile what is likely to be asked for next.

    There is never more than one reading at a time, so the source need not bear two.

    Parameters
    ----------
    read
        From a key to what is read.
    ahead
        Whether to read ahead; otherwise everything is read when it is asked for, in the caller's thread.
    """

    def __init__(self, read: Callable[[K], V], ahead: bool) -> None:
        self._read = read
        self._threads = ThreadPoolExecutor(1, "lucyd-reading") if ahead else None
        self._key: K | None = None
        self._pending: Future[V] | None = None

    def take(self, key: K, following: K | None) -> V:
        """What belongs to a key; then ``following``, if any, is begun.

        Raises
        ------
        Exception
            Whatever reading it raised, and no sooner than it is asked for.
        """
        if self._threads is None:
            return self._read(key)
        pending, self._pending = self._pending, None
        if pending is not None and self._key != key:
            # Of what is not wanted any more, also the error does not matter.
            wait([pending])
            pending = None
        value = self._read(key) if pending is None else pending.result()
        if following is not None:
            self._key, self._pending = following, self._threads.submit(self._read, following)
        return value

    def close(self) -> None:
        """Wait for what is being read, and forget it."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        self._pending = None
