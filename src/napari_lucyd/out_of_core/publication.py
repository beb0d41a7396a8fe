"""Publication of complete results: they get their final names, and an interrupted publication is finished.

The folders stay locked until all results have their names. Before the first one is renamed, each folder gets
a mark. It says that only the name is missing, and under which name a replaced result is put aside. Replaced
results are removed when all names are given; the marks are removed last.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_lucyd.errors import StoreError

from .journal import Journal, completed_plan, flush_folder, remove, remove_traces

Paths = Mapping[str, Path]
_TOKEN_BYTES = 4


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
    replaced = {part: _name_aside(path) for part, path in destinations.items()}
    journal.complete({**plan, "destinations": _names(destinations), "replaced": replaced})
    _rename(partial, destinations, replaced, overwrite)


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
    complete = {part: path for part, path in partial.items() if _is_complete(path, destinations)}
    named = [path for path in destinations.values() if _is_complete(path, destinations)]
    plan = next((completed_plan(path) for path in (*complete.values(), *named)), None)
    if plan is None:
        return None
    journal = Journal(list(partial.values()))
    try:
        _rename(complete, destinations, plan["replaced"], overwrite)
    finally:
        journal.close()
    return plan


def _names(destinations: Paths) -> dict[str, str]:
    return {part: path.name for part, path in destinations.items()}


def _is_complete(folder: Path, destinations: Paths) -> bool:
    found = completed_plan(folder)
    if found is None or found.get("destinations") != _names(destinations):
        return False
    # Files with these names will be removed, so a damaged or foreign mark must not name anything else.
    replaced = found.get("replaced")
    return isinstance(replaced, dict) and all(
        _is_name_aside(replaced.get(part), path) for part, path in destinations.items()
    )


def _name_aside(path: Path) -> str:
    return f".{path.name}.{secrets.token_hex(_TOKEN_BYTES)}.old"


def _is_name_aside(name: Any, path: Path) -> bool:
    pattern = rf"\.{re.escape(path.name)}\.[0-9a-f]{{{2 * _TOKEN_BYTES}}}\.old"
    return isinstance(name, str) and re.fullmatch(pattern, name) is not None


def _rename(partial: Paths, destinations: Paths, replaced: Mapping[str, str], overwrite: bool) -> None:
    aside = {part: path.with_name(replaced[part]) for part, path in destinations.items()}
    for part, path in partial.items():
        _put(path, destinations[part], aside[part], overwrite)
    for path in aside.values():
        if os.path.lexists(path):
            remove(path)
    for path in destinations.values():
        remove_traces(path)


def _put(partial: Path, path: Path, aside: Path, overwrite: bool) -> None:
    """Give a complete result its name; the result that had the name is put aside."""
    if os.path.lexists(path):
        if not overwrite:
            raise StoreError(
                f"{path} appeared during the run and is left as it is. The finished result is {partial}; "
                "move one of the two, then start the same run again."
            )
        if os.path.lexists(aside):
            remove(aside)
        os.replace(path, aside)
    os.replace(partial, path)
    flush_folder(path.parent)
