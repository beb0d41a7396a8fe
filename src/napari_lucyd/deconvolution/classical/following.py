"""Work that reports while it goes on, made into a generator of its reports."""

from __future__ import annotations

from collections.abc import Callable, Generator
from queue import SimpleQueue
from threading import Event, Thread
from typing import TypeVar

from napari_lucyd.errors import Cancelled

Report = TypeVar("Report")
Outcome = TypeVar("Outcome")


def follow(
    work: Callable[[Callable[[Report], None], Callable[[], None]], Outcome], ask: Callable[[], object]
) -> Generator[Report, None, Outcome]:
    """Run work in a thread of its own, yield its reports as they come, and return its outcome.

    Parameters
    ----------
    work
        Called with a function that takes a report, and one to be called again and again, whose exception ends
        the work.
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
