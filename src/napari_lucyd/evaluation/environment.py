"""What a measurement was made with."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch


def describe_environment() -> dict[str, str]:
    """Versions and machine, as plain JSON data."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "torch": torch.__version__.split("+")[0],
        "numpy": version("numpy"),
        "napari-lucyd": version("napari-lucyd"),
    }
