"""The campaigns of `scripts/`, in small: odd arguments, and runs that are killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


def campaign(script: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, SCRIPTS / script, *options], capture_output=True, text=True, check=False, timeout=540
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the campaign forks")
@pytest.mark.parametrize("kind", ["store", "two-part store", "training", "tiff"])
def test_a_killed_run_ends_as_if_it_had_not_been_or_is_refused_in_words(kind):
    told = campaign("kill_campaign.py", "--kills", "2", "--only", kind)
    assert f"{kind}: 2 kills" in told and "identical" in told and "WRONG" not in told


@pytest.mark.skipif(os.name == "nt", reason="the campaign limits time by a signal")
def test_odd_arguments_are_refused_in_words():
    assert "100 calls, 0 opaque" in campaign("fuzz.py", "--calls", "100", "--seed", "100000")
