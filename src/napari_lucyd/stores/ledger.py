"""What of a store is finished: written down task by task, so that a run goes on where another stopped."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .errors import StoreError

PARTIAL = ".partial"
"""Ends the name of a store that is not finished."""

_PLAN, _FINISHED, _LOCK = "lucyd-plan.json", "lucyd-finished.jsonl", "lucyd-lock"


def partial_path(path: Path) -> Path:
    """Where a result lies until it is finished: beside its destination."""
    return path.with_name(path.name + PARTIAL)


class Ledger:
    """The record of an unfinished run, kept in the folder of its first result.

    Parameters
    ----------
    folder
        That of the unfinished store; it has to exist.

    Attributes
    ----------
    finished
        What was found in each task that is done, by its number.

    Raises
    ------
    StoreError
        If another process is working on it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # The system lets go of it when the process ends, however that comes about. Of all threads: a run that
        # is given up may be closed by another than it ran in.
        self._lock = FileLock(folder / _LOCK, thread_local=False)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise StoreError(
                f"{folder}: another run is writing to it; wait for its end, or choose another destination."
            ) from None
        self.finished: dict[int, dict[str, Any]] = {}
        try:
            self._read_finished()
        except BaseException:
            self.close()
            raise

    def plan(self) -> dict[str, Any] | None:
        """What the run was begun with; None where it never came to that."""
        try:
            found = json.loads((self._folder / _PLAN).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Write down what the run is, whole or not at all."""
        self.finished = {}
        (self._folder / _FINISHED).unlink(missing_ok=True)
        draft = self._folder / (_PLAN + ".draft")
        draft.write_text(json.dumps(plan, indent=1), encoding="utf-8")
        os.replace(draft, self._folder / _PLAN)

    def add(self, task: int, found: Mapping[str, Any]) -> None:
        """Write down that a task is done; its voxels have to be in the store by now."""
        self.finished[task] = dict(found)
        with (self._folder / _FINISHED).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"task": task, **found}) + "\n")

    def close(self) -> None:
        """Let another run have it."""
        self._lock.release()

    def remove(self) -> None:
        """Take every trace of the run out of the store, which is finished."""
        self.close()
        for name in (_PLAN, _FINISHED, _LOCK):
            (self._folder / name).unlink(missing_ok=True)

    def _read_finished(self) -> None:
        path = self._folder / _FINISHED
        if not path.exists():
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        for line in lines:
            try:
                entry = json.loads(line) if line.endswith("\n") else None
            except ValueError:
                entry = None
            # The last line of a process that was killed may be half a line: its task is done again.
            if isinstance(entry, dict) and isinstance(entry.get("task"), int):
                self.finished[entry.pop("task")] = entry
        if lines and not lines[-1].endswith("\n"):
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")


def has_plan(path: Path) -> bool:
    """Whether a run was begun in this folder, so that something of it may be finished."""
    return (path / _PLAN).exists()


def discard(path: Path) -> None:
    """Remove an unfinished store."""
    if path.exists():
        shutil.rmtree(path)
