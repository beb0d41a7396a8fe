"""What of a store is finished: written down task by task, so that a run goes on where another stopped."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from napari_lucyd.errors import StoreError

PARTIAL = ".partial"
"""Ends the name of a store that is not finished."""

_PLAN, _FINISHED, _LOCK = "lucyd-plan.json", "lucyd-finished.jsonl", "lucyd-lock"


def partial_path(path: Path) -> Path:
    """Where a result lies until it is finished: beside its destination."""
    return path.with_name(path.name + PARTIAL)


class Journal:
    """The record of an unfinished run; it is kept in the folder of its first result.

    All folders are locked, and tell the plan: no other run may take one of them for its own.

    Parameters
    ----------
    folders
        Those of the unfinished stores, the first one first; they have to exist.

    Attributes
    ----------
    finished
        What was found in each task that is done, by its number.

    Raises
    ------
    StoreError
        If another process is working on one of them.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._home = self._folders[0]
        self._locks: list[FileLock] = []
        self.finished: dict[int, dict[str, Any]] = {}
        try:
            for folder in self._folders:
                self._take(folder)
            self._read_finished()
        except BaseException:
            self.close()
            raise

    def _take(self, folder: Path) -> None:
        # The system lets go of it when the process ends, however that comes about. Of all threads: a run that
        # is given up may be closed by another than it ran in.
        lock = FileLock(folder / _LOCK, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise StoreError(
                f"{folder}: another run is writing to it; wait for its end, or choose another destination."
            ) from None
        self._locks.append(lock)

    def plans(self) -> list[dict[str, Any] | None]:
        """What was begun in each folder; None where it never came to that."""
        return [_plan(folder) for folder in self._folders]

    def clear(self) -> None:
        """Remove all that is in the folders, but go on holding them."""
        self.finished = {}
        for folder in self._folders:
            for entry in folder.iterdir():
                if entry.name != _LOCK:
                    remove(entry)

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Write down what the run is, whole or not at all."""
        self.finished = {}
        (self._home / _FINISHED).unlink(missing_ok=True)
        for folder in reversed(self._folders):
            draft = folder / (_PLAN + ".draft")
            draft.write_text(json.dumps(plan, indent=1), encoding="utf-8")
            os.replace(draft, folder / _PLAN)

    def add(self, task: int, found: Mapping[str, Any]) -> None:
        """Write down that a task is done; its voxels have to be in the store by now."""
        self.finished[task] = dict(found)
        with (self._home / _FINISHED).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"task": task, **found}) + "\n")

    def close(self) -> None:
        """Let another run have it."""
        for lock in self._locks:
            lock.release()

    def remove(self) -> None:
        """Take every trace of the run out of the stores, which are finished."""
        self.close()
        for folder in self._folders:
            for name in (_PLAN, _FINISHED, _LOCK):
                (folder / name).unlink(missing_ok=True)

    def _read_finished(self) -> None:
        path = self._home / _FINISHED
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


def _plan(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / _PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("what"), dict) else None


def is_bare(folder: Path) -> bool:
    """Whether a run has come no further than making the folder."""
    return all(entry.name == _LOCK for entry in folder.iterdir())


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
