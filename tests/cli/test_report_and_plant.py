"""The report of a run, and planted beads, from the command line."""

import json

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_lucyd.cli import app


def lucyd(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def stack(tmp_path):
    light = np.full((12, 96, 96), 50.0)
    light[:, 85:, 85:] += 300
    image = np.random.default_rng(0).poisson(light)
    tifffile.imwrite(tmp_path / "stack.tif", image.astype(np.uint16), photometric="minisblack")
    return tmp_path / "stack.tif"


def test_beads_are_planted_by_each_method(stack, tmp_path):
    before = stack.read_bytes()
    run = lucyd(
        "evaluate", "plant", stack, "--methods", "richardson-lucy,wiener", "--blur-sigma", "1.5",
        "-o", tmp_path / "out",
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    assert run.stdout.count("Bead:") == 2
    found = json.loads((tmp_path / "out" / "plant.json").read_text("utf-8"))
    assert found["richardson-lucy"]["fwhm_result"][2] < found["richardson-lucy"]["fwhm_image"][2]
    assert stack.read_bytes() == before
    again = lucyd("evaluate", "plant", stack, "--methods", "wiener", "-o", tmp_path / "other")
    assert again.exit_code == 1
    assert "needs the blur" in again.output
    assert "plant an image" in lucyd("evaluate", "plant").output
    assert "no other table takes" in lucyd("evaluate", "trust", stack).output


def test_a_report_is_written_beside_the_result(stack, tmp_path):
    psf = tmp_path / "psf.tif"
    tifffile.imwrite(psf, np.ones((3, 3, 3), np.float32), photometric="minisblack")
    options = ("--method", "richardson-lucy", "--psf", psf, "--num-iter", "3")
    run = lucyd(
        "deconvolve", stack, "-o", tmp_path / "a.tif", *options, "--report", tmp_path / "r" / "a.html"
    )
    assert run.exit_code == 0, run.output
    assert json.loads((tmp_path / "r" / "a.json").read_text("utf-8"))["title"] == "stack.tif"
    again = lucyd(
        "deconvolve", stack, "-o", tmp_path / "b.tif", *options, "--report", tmp_path / "r" / "a.html"
    )
    assert again.exit_code == 1
    assert "exists already" in again.output
    assert not (tmp_path / "b.tif").exists()  # refused before the run
    named = lucyd("deconvolve", stack, "-o", tmp_path / "c.tif", *options, "--report", tmp_path / "a.txt")
    assert named.exit_code == 2
    stored = lucyd(
        "deconvolve", stack, "-o", tmp_path / "d.ome.zarr", *options, "--report", tmp_path / "d.html"
    )
    assert stored.exit_code == 2
