"""Node, for the tests of the site's scripts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "browser"))
import node  # noqa: E402


@pytest.fixture(scope="session")
def run_node() -> Callable[..., Any]:
    """A function that runs a script in Node and returns what it prints, read as JSON."""
    program = node.find("node")
    if program is None:
        pytest.skip("Node is not installed; `make install` brings it")

    def run(script: Path, *arguments: Any, timeout: float = 280) -> Any:
        command = [program, str(script), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def packages(run_node) -> Path:
    """The folder in which npm's packages are installed; scripts that import them are copied there."""
    try:
        return node.packages(ROOT / "build" / "npm").parent
    except RuntimeError as error:
        pytest.skip(str(error))
