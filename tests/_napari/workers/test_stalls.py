"""The window never freezes: a 20 ms timer at torch's import, runs, a cancel, a PSF, a comparison."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import window_stalls
from window_stalls import longest_gap

pytest.importorskip("napari")
pytestmark = pytest.mark.napari

LIMIT = 0.2
# A process of another test may use the processors for a moment, so the best of these counts.
ATTEMPTS = 3


def measured(model, probe):
    script = Path(window_stalls.__file__)
    # This window would take over the entries of another one.
    config = Path(tempfile.mkdtemp(dir=probe.parent))
    settings = {"XDG_CONFIG_HOME": str(config), "NAPARI_CONFIG": str(config / "settings.yaml")}
    done = subprocess.run(
        [sys.executable, str(script), str(model), str(probe)],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        env=os.environ | settings,
    )
    if done.returncode:
        return done.stderr[-8000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_window_never_stands_still(model_files, tmp_path):
    found = []
    for _ in range(ATTEMPTS):
        found.append(measured(model_files[3], tmp_path / "probe.txt"))
        if isinstance(found[-1], str):  # the program stopped waiting, and says what it waited for
            continue
        allowed = LIMIT * found[-1]["slowness"]
        if max(found[-1]["gaps"].values()) < allowed:
            return
    pytest.fail("gaps in seconds, and how busy the machine was: " + "\n".join(map(str, found)))


def test_the_meter_sees_a_window_that_stops():
    assert longest_gap([0.0, 0.02, 0.04, 0.34, 0.36], 0.1, 0.2) == pytest.approx(0.3)
    assert longest_gap([0.0, 0.02, 0.04], 0.0, 0.5) == pytest.approx(0.46)
    assert longest_gap([0.0, 0.02, 0.04, 9.0], 0.0, 0.03) == pytest.approx(0.02)
