"""Log messages of tifffile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from napari_lucyd.io.image import ImageFileError

_MOST_COMPLAINTS = 200


@contextmanager
def complaints_of_tifffile() -> Iterator[list[str]]:
    """Collect tifffile's log messages, which would otherwise be printed to the terminal."""
    heard: list[str] = []
    thread = threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                heard.append(f"tifffile: {record.getMessage()}")
            # In what is left of some damaged files, tifffile finds errors for minutes.
            if len(heard) > _MOST_COMPLAINTS:
                raise ImageFileError(f"the file is damaged in many places, the first: {heard[0]}")

    logger = logging.getLogger("tifffile")
    listener = Listener(logging.WARNING)
    logger.addHandler(listener)
    try:
        yield heard
    finally:
        logger.removeHandler(listener)
