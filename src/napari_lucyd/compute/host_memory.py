"""Free memory of the machine, found without torch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import psutil

# The limits take a dozen files to read, which is long beside the run of a small volume.
_FRESH_SECONDS = 0.5
# A plan asks several times, and small volumes follow each other.
_SAME_PLAN_SECONDS = 0.1


class _Files(NamedTuple):
    """The files of a control group, by version: limit, use, and the cache's line in memory.stat."""

    limit: str
    used: str
    cache: str


_VERSION_1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = _Files("memory.max", "memory.current", "inactive_file")


def free_host_memory() -> int:
    """Return the number of free bytes."""
    free = _free_now(int(time.monotonic() / _SAME_PLAN_SECONDS))
    # In a container or a batch job, the limits of its control groups count.
    return min([free, *_limits_now(int(time.monotonic() / _FRESH_SECONDS))])


@lru_cache(maxsize=1)
def _free_now(moment: int) -> int:
    return int(psutil.virtual_memory().available)


@lru_cache(maxsize=1)
def _limits_now(moment: int) -> list[int]:
    """List the bytes left in the control groups; asked for within one moment, they are read once."""
    return group_limits(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))


def group_limits(root: Path, membership: Path) -> list[int]:
    """List the bytes left in each control group of this process that has a limit.

    Parameters
    ----------
    root
        Folder where the groups are mounted.
    membership
        File of lines ``number:controllers:path``; the line of version 2 names no controllers.

    Notes
    -----
    Groups are nested, and the smallest limit counts. In a container the path may be that of the host, of
    which only the outermost folder is visible.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mount, files = root, _VERSION_2
        elif "memory" in controllers.split(","):
            mount, files = root / "memory", _VERSION_1
        else:
            continue
        left = (_left(folder, files) for folder in _outwards(mount, path))
        found += [number for number in left if number is not None]
    return found


def _outwards(mount: Path, path: str) -> Iterator[Path]:
    folder = mount / path.lstrip("/")
    while folder != mount:
        yield folder
        folder = folder.parent
    yield mount


def _left(group: Path, files: _Files) -> int | None:
    try:
        limit = (group / files.limit).read_text().strip()
        used = int((group / files.used).read_text())
        cache = sum(
            int(line.split()[1])
            for line in (group / "memory.stat").read_text().splitlines()
            if line.startswith(f"{files.cache} ")
        )
    except (OSError, ValueError):
        return None
    return max(0, int(limit) - used + cache) if limit.isdigit() else None
