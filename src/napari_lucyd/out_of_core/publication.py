"""Publication of complete results: they get their final names, and an interrupted publication is finished.

The folders stay locked until all results have their names. Before the first one is renamed, a mark in each
folder says that only the name is missing; the marks are removed last.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_lucyd.errors import StoreError

from .journal import Journal, completed_plan, flush_folder, remove, remove_traces

Paths = Mapping[str, Path]


def publish(
    journal: Journal, plan: Mapping[str, Any], partial: Paths, destinations: Paths, overwrite: bool
) -> None:
    """Give complete results their final names.

    Parameters
    ----------
    journal
        The journal of the run; it holds the locks.
    plan
        The plan of the run, kept in the marks.
    partial, destinations
        The folder and the final path of each part.
    overwrite
        Replace results that have these names.

    Raises
    ------
    StoreError
        If a name is taken and must not be replaced. The results stay where they are.
    """
    journal.complete({**plan, "destinations": _names(destinations)})
    _rename(partial, destinations, overwrite)


def finish_interrupted(partial: Paths, destinations: Paths, overwrite: bool) -> dict[str, Any] | None:
    """Finish a publication that was interrupted.

    Returns
    -------
    dict or None
        The plan of the run that was published; None if there was nothing to finish.

    Raises
    ------
    StoreError
        See `publish`; or if another process is publishing them now.
    """
    names = _names(destinations)
    complete = {part: path for part, path in partial.items() if _is_complete(path, names)}
    named = [path for path in destinations.values() if _is_complete(path, names)]
    if not complete and not named:
        return None
    plan = completed_plan(next(iter(complete.values()), *named[:1]))
    journal = Journal(list(partial.values()))
    try:
        _rename(complete, destinations, overwrite)
    finally:
        journal.close()
    return plan


def _names(destinations: Paths) -> dict[str, str]:
    return {part: path.name for part, path in destinations.items()}


def _is_complete(folder: Path, names: Mapping[str, str]) -> bool:
    found = completed_plan(folder)
    return found is not None and found.get("destinations") == names


def _rename(partial: Paths, destinations: Paths, overwrite: bool) -> None:
    for part, path in partial.items():
        _put(path, destinations[part], overwrite)
    for path in destinations.values():
        remove_traces(path)


def _put(partial: Path, path: Path, overwrite: bool) -> None:
    """Give a complete result its name. The result that had the name is removed only afterwards."""
    old = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
    if os.path.lexists(path):
        if not overwrite:
            raise StoreError(
                f"{path} appeared during the run and is left as it is. The finished result is {partial}; "
                "move one of the two, then start the same run again."
            )
        os.replace(path, old)
    os.replace(partial, path)
    flush_folder(path.parent)
    if os.path.lexists(old):
        remove(old)
