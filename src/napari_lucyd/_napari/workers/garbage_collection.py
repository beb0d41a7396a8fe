"""Control of Python's garbage collector, so that it does not stop the window.

A full collection visits every object and holds the interpreter's lock: with napari and torch loaded these are
about 400,000 objects and a quarter of a second. Importing torch and preparing a network create so many
objects that collections become due. They are postponed while we work. Reference counting continues, and so
does the cheap collection of the youngest objects on the window's thread (see `sweep`).
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_holders = 0
_was_enabled = False


def hold() -> None:
    """Postpone collections until each `hold` has its `release`."""
    global _holders, _was_enabled
    with _lock:
        if _holders == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _holders += 1


def release() -> None:
    """Allow collections again, unless another `hold` is in effect."""
    global _holders
    with _lock:
        _holders -= 1
        if _holders == 0 and _was_enabled:
            # New objects join the oldest generation without a visit. Otherwise all would be visited now.
            gc.freeze()
            gc.unfreeze()
            gc.enable()


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Hold within a block; never around a `yield`, because an aborted worker does not close its generator."""
    hold()
    try:
        yield
    finally:
        release()


def sweep() -> None:
    """Collect the youngest objects only; call it on the window's thread, as they may include Qt objects."""
    gc.collect(0)
