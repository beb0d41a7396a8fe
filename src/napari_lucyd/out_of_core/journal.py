"""Journal of an unfinished run: which tasks are finished, so that a later run resumes after them.

Everything lies in the folders of the unfinished results. A line is added to the journal only after the voxels
of its task have reached the disk, so the journal can be believed even after a power failure.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from napari_lucyd.errors import StoreError

PARTIAL = ".partial"
"""Ending of the name of an unfinished result."""

_PLAN, _FINISHED, _COMPLETE = "lucyd-plan.json", "lucyd-finished.jsonl", "lucyd-complete.json"
# Earlier versions kept the lock inside the folder.
_OLD_LOCK = "lucyd-lock"
# Entry of each file and line: a checksum of its other entries. Earlier versions wrote none.
_CHECKSUM = "checksum"
_OWN = (_PLAN, _PLAN + ".draft", _FINISHED, _COMPLETE, _COMPLETE + ".draft", _OLD_LOCK)


def partial_path(path: Path) -> Path:
    """Return the folder that holds a result until it is finished: beside its destination."""
    return path.with_name(path.name + PARTIAL)


def completed_plan(folder: Path) -> dict[str, Any] | None:
    """Return the plan of a result that is complete but may not have its final name, or None."""
    return _json(folder / _COMPLETE)


def remove_traces(folder: Path) -> None:
    """Remove the files of the journal from a published result."""
    for name in _OWN:
        (folder / name).unlink(missing_ok=True)


class Journal:
    """The record of an unfinished run, kept in the folder of its first result.

    All folders are locked, from the beginning until the results have their final names. Each folder holds
    the plan of the run, so no other run mistakes one of them for its own.

    Parameters
    ----------
    folders
        The existing folders of the unfinished results, the first result first.

    Attributes
    ----------
    finished
        Findings of each finished task, by the number of the task.

    Raises
    ------
    StoreError
        If another process is writing to one of the folders.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._home = self._folders[0]
        self._locks: list[FileLock] = []
        self.finished: dict[int, dict[str, Any]] = {}
        try:
            for folder in self._folders:
                self._lock(folder)
            self._read_finished()
        except BaseException:
            self.close()
            raise

    def _lock(self, folder: Path) -> None:
        # The lock lies beside the folder, so the folder can be renamed while the lock is held. The system
        # releases it when the process ends in any way. It belongs to all threads: a cancelled run may be
        # closed by another thread than the one that it ran in.
        path = folder.with_name(f".{folder.name}.lock")
        try:
            # The last holder may have removed it in between, and a lock on a removed file has no effect.
            while True:
                lock = FileLock(path, thread_local=False)
                lock.acquire(timeout=0)
                if path.exists():
                    break
                lock.release()
        except Timeout:
            raise StoreError(
                f"{folder}: another run is writing to it; wait until it ends, or choose another destination."
            ) from None
        self._locks.append(lock)

    def plans(self) -> list[dict[str, Any] | None]:
        """Return the plan in each folder; None where there is none that can be read."""
        return [plan_in(folder) for folder in self._folders]

    def clear(self) -> None:
        """Remove everything in the folders and keep them locked."""
        self.finished = {}
        for folder in self._folders:
            # The plan goes last: after an interruption the folder can still be recognised as ours.
            for entry in sorted(folder.iterdir(), key=lambda entry: entry.name in _OWN):
                remove(entry)

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Write the plan of the run into each folder, whole or not at all."""
        self.finished = {}
        (self._home / _FINISHED).unlink(missing_ok=True)
        for folder in reversed(self._folders):
            _write(folder / _PLAN, plan)

    def add(self, task: int, found: Mapping[str, Any]) -> None:
        """Record that a task is finished; its voxels must be on the disk."""
        self.finished[task] = dict(found)
        with (self._home / _FINISHED).open("a", encoding="utf-8") as file:
            file.write(json.dumps(_with_checksum({"task": task, **found})) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def complete(self, plan: Mapping[str, Any]) -> None:
        """Mark all results as complete: only their final names are missing."""
        for folder in self._folders:
            _write(folder / _COMPLETE, plan)

    def close(self) -> None:
        """Release the folders, so that another run can take them."""
        for lock in self._locks:
            if lock.is_locked and os.name != "nt":  # Windows removes the file itself
                Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

    def _read_finished(self) -> None:
        path = self._home / _FINISHED
        if not path.exists():  # a new run, or the folder has its final name by now
            return
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        for line in lines:
            # The last line of a process that was killed may be half a line: its task is done again.
            entry = _checked(line) if line.endswith("\n") else None
            if entry is not None and isinstance(entry.get("task"), int):
                self.finished[entry.pop("task")] = entry
        if lines and not lines[-1].endswith("\n"):
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")


def plan_in(folder: Path) -> dict[str, Any] | None:
    """Return the plan of the unfinished run in a folder; None if there is none that can be read."""
    found = _json(folder / _PLAN)
    return found if found is not None and isinstance(found.get("what"), dict) else None


def is_ours(folder: Path) -> bool:
    """Tell if a folder is an unfinished result of ours: it holds a plan, or nothing at all."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    names = {entry.name for entry in folder.iterdir()}
    return not names - {_OLD_LOCK} or bool(names & {_PLAN, _PLAN + ".draft"})


def is_bare(folder: Path) -> bool:
    """Tell if a folder holds nothing but files that a run writes first."""
    return all(entry.name in (_OLD_LOCK, _PLAN + ".draft") for entry in folder.iterdir())


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with its contents."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def flush_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, where the system can do that."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, values: Mapping[str, Any]) -> None:
    draft = path.with_name(path.name + ".draft")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(_with_checksum(values), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    flush_folder(path.parent)


def _json(path: Path) -> dict[str, Any] | None:
    try:
        return _checked(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _with_checksum(values: Mapping[str, Any]) -> dict[str, Any]:
    return {**values, _CHECKSUM: _checksum(json.loads(json.dumps(values)))}


def _checked(text: str) -> dict[str, Any] | None:
    """Return the entries of a JSON text without their checksum; None if the text is damaged."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    stated = found.pop(_CHECKSUM, None)
    return found if stated is None or stated == _checksum(found) else None


def _checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
