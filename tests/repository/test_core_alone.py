"""The core and its tests need neither napari nor Qt: they are run here as if none of it were installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"

# Loaded by the tests below before anything else, in a process of its own.
ABSENT = """
import sys

# A None there makes an import fail as for a package that is not installed.
window = ("napari", "npe2", "magicgui", "qtpy", "superqt", "vispy", "app_model", "PyQt6", "pytestqt")
sys.modules.update(dict.fromkeys(window))
"""


def run_without_napari(tmp_path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "absent.py").write_text(ABSENT)
    environment = {
        name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")
    }
    environment |= {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
        # napari's and Qt's own pytest plugins would be loaded first.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_core_tests_are_collected_and_a_part_of_them_passes(tmp_path):
    options = ["-p", "absent", "-p", "no:cacheprovider", "-q"]
    collected = run_without_napari(tmp_path, "-m", "pytest", *options, "--collect-only", "tests")
    assert collected.returncode == 0, collected.stdout + collected.stderr
    assert "tests/_napari" not in collected.stdout
    modules = {line.partition("::")[0] for line in collected.stdout.splitlines() if "::" in line}
    files = {path.relative_to(ROOT) for path in TESTS.rglob("test_*.py")}
    core = {path.as_posix() for path in files if path.parts[1] != "_napari"}
    # A file is skipped as a whole where a package that it needs is not installed, as mkdocs without `docs`.
    # For the packages that are made absent here, the message is longer, or another one.
    skipped = r"^SKIPPED \[\d+\] (\S+):\d+: could not import '[^']+': No module named '[^']+'$"
    assert core == modules | set(re.findall(skipped, collected.stdout, re.MULTILINE))

    ran = run_without_napari(tmp_path, "-m", "pytest", *options, "tests/repository/test_examples.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout


def test_command_line_runs(tmp_path):
    result = run_without_napari(
        tmp_path, "-c", "import absent; from napari_lucyd.cli import app; app(['info'])"
    )
    assert result.returncode == 0, result.stderr
    assert "torch" in result.stdout


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, napari_lucyd\n"
        "print(*sorted({'torch', 'napari', 'scipy', 'dask', 'numpy', 'qtpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
