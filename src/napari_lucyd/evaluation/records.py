"""Files of a table: Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def write_files(
    folder: str | Path,
    name: str,
    *,
    markdown: str,
    rows: Sequence[Mapping[str, Any]],
    record: Mapping[str, Any],
) -> list[Path]:
    """Write ``NAME.md``, ``.csv`` and ``.json``; return the paths.

    Parameters
    ----------
    folder
        Folder; created if it does not exist.
    name
        Name of the table.
    markdown
        Text for people.
    rows
        Rows for spreadsheets, all with the same keys.
    record
        All data, as plain JSON data.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{suffix}" for suffix in ("md", "csv", "json")]
    paths[0].write_text(markdown + "\n", "utf-8")
    with paths[1].open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    paths[2].write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    return paths


def describe_environment() -> dict[str, str]:
    """Return versions and machine as plain JSON data."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "torch": torch.__version__.split("+")[0],
        "numpy": version("numpy"),
        "napari-lucyd": version("napari-lucyd"),
    }
