"""The script that looks for what a bare machine lacks, run against stand-ins for the system's own tools."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "system_packages.sh"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the script does nothing elsewhere")


@pytest.fixture
def machine(tmp_path):
    """A function that runs the script on a machine with no libraries and the given tools."""

    def run(*groups: str, **tools: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in ("bash", "env", "uname", "grep", "ls", "sort"):
            (folder / name).symlink_to(shutil.which(name))
        (folder / "python3").symlink_to(sys.executable)
        for name, body in {"ldconfig": "true", **tools}.items():
            path = folder / name.replace("_", "-")
            path.write_text(f"#!{shutil.which('bash')}\n{body}\n")
            path.chmod(0o755)
        # The script looks into the current folder for .venv; system folders come last so that ours win.
        text = SCRIPT.read_text().replace("$PATH:/usr/sbin:/sbin", "$PATH")
        script = tmp_path / "script.sh"
        script.write_text(text)
        return subprocess.run(
            [shutil.which("bash"), str(script), "python3", *groups],
            cwd=tmp_path,
            env={"PATH": str(folder), "LOG": str(tmp_path / "log")},
            capture_output=True,
            text=True,
        )

    return run


def test_a_plain_user_gets_one_line_that_can_be_pasted(machine):
    result = machine("window", "xvfb", id="echo 1000", apt_get="exit 9")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    command = line.partition("sudo apt-get install ")[2].split()
    assert {"libxcb-icccm4", "libxcb-keysyms1", "libegl1", "xvfb", "xauth"} <= set(command)
    assert len(command) == len(set(command))


def test_with_a_display_no_virtual_screen_is_asked_for(machine):
    result = machine("window", id="echo 1000", apt_get="exit 9")
    assert "libxcb-cursor0" in result.stderr
    assert "xvfb" not in result.stderr


def test_the_compiler_that_the_tests_need_is_asked_for_where_there_is_none(machine):
    result = machine("compiler", id="echo 1000", apt_get="exit 9")
    assert result.stderr.rstrip().endswith("sudo apt-get install g++")


def test_a_compiler_that_is_there_is_left_alone(machine):
    result = machine("compiler", id="echo 1000", apt_get="exit 9", **{"c++": "exit 9"})
    assert (result.returncode, result.stderr) == (0, "")


def test_root_installs_and_refreshes_stale_package_lists(machine, tmp_path):
    # Installing fails until the lists have been updated, as on a fresh image.
    apt = 'echo "$*" >> "$LOG"; [ "$1" = update ] && echo > "$LOG.fresh" && exit 0; [ -e "$LOG.fresh" ]'
    result = machine("xvfb", id="echo 0", apt_get=apt)
    assert result.returncode == 0, result.stderr
    first, update, second = (tmp_path / "log").read_text().splitlines()
    assert first == second
    assert first.startswith("install -y") and " xvfb" in first
    assert update.startswith("update")


def test_elsewhere_than_on_debian_it_says_what_may_be_missing_and_goes_on(machine):
    result = machine("window", id="echo 0")
    assert result.returncode == 0
    assert "libxkbcommon-x11-0" in result.stderr


def test_nothing_is_said_where_nothing_is_missing():
    if os.environ.get("DISPLAY", "") == "":
        pytest.skip("needs the screen that `make test` gives")
    result = subprocess.run(["bash", str(SCRIPT), sys.executable, "window"], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
