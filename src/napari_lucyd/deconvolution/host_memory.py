"""How much of the machine's memory is free; told without torch."""

from __future__ import annotations

from pathlib import Path

import psutil


def free_host_memory() -> int:
    """Bytes that can be taken now."""
    free = int(psutil.virtual_memory().available)
    # In a container or a batch job the limit of the group counts, not the machine's memory.
    limit = group_limit(Path("/sys/fs/cgroup"))
    return free if limit is None else min(free, limit)


def group_limit(root: Path) -> int | None:
    """Bytes that a container or a batch job has left; None where there is no limit."""
    try:
        limit = (root / "memory.max").read_text().strip()
        used = int((root / "memory.current").read_text())
        cache = sum(
            int(line.split()[1])
            for line in (root / "memory.stat").read_text().splitlines()
            if line.startswith("inactive_file ")
        )
    except (OSError, ValueError):
        return None
    return max(0, int(limit) - used + cache) if limit.isdigit() else None
