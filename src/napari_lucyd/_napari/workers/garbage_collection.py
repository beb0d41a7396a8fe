"""Keeping Python's garbage collector from stopping the window.

A full collection looks at every object there is, holding the interpreter's lock: with napari and torch loaded
that is some 400,000 objects and a quarter of a second. Importing torch and folding a network make so many
objects that collections fall due. They are put off while we work; reference counting goes on, and so does the
cheap collection of the youngest objects, from the window's thread (see `sweep`).
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
    """Put off collections until a `release` for every `hold`."""
    global _holders, _was_enabled
    with _lock:
        if _holders == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _holders += 1


def release() -> None:
    """Let collections happen again, where nobody else holds them."""
    global _holders
    with _lock:
        _holders -= 1
        if _holders == 0 and _was_enabled:
            # All that is new joins the oldest generation unseen. Otherwise it would all be looked at now.
            gc.freeze()
            gc.unfreeze()
            gc.enable()


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Hold within a block; never around a `yield` of a worker, whose generator nobody closes on an abort."""
    hold()
    try:
        yield
    finally:
        release()


def sweep() -> None:
    """Collect the youngest objects alone, on the window's thread, whose Qt objects may be among them."""
    gc.collect(0)
