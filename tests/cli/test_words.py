"""Messages of the commands: options in place of Python's arguments, and no words of Python's libraries."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_lucyd.cli import app
from napari_lucyd.io import write_image


def lucyd(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "500"})


@pytest.fixture
def plane(tmp_path):
    image = np.random.default_rng(0).poisson(50, (24, 26)).astype(np.float32)
    return write_image(tmp_path / "plane.tif", image, axes="YX", voxel_size=(0.1, 0.1), unit="micrometer")


def test_errors_of_the_core_name_options(plane, tmp_path):
    out = tmp_path / "out.tif"
    refused = lucyd("deconvolve", plane, "-o", out, "--blur-sigma", "-1").output
    assert "--blur-sigma is -1" in refused and "blur_sigma" not in refused
    optics = ("--microscope", "widefield", "--na", "5", "--refractive-index", "1.5", "--emission-um", "0.5")
    assert "--na is 5; give a number" in lucyd("deconvolve", plane, "-o", out, *optics).output


def test_a_psf_that_was_centred_is_told_without_an_argument_of_python(plane, tmp_path):
    psf = np.zeros((21, 21), np.float32)
    psf[6:9, 6:9] = 1
    tifffile.imwrite(tmp_path / "psf.tif", psf)
    method = ("--method", "richardson-lucy", "--num-iter", "2", "--psf", tmp_path / "psf.tif")
    found = lucyd("deconvolve", plane, "-o", tmp_path / "out.tif", *method)
    assert found.exit_code == 0 and "it was centred." in found.output
    assert "center_psf" not in found.output and "False" not in found.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "none.toml"), "Error: none.toml: no such file or folder"),
        (("evaluate", "nothing"), "'nothing' is not one of"),
        (("export", "lucyd", "-o", "a.onnx", "--num-iter", "x"), "expected a whole number"),
        (("adapt", "--name", "a", "--minutes", "x"), "expected a number"),
    ],
)
def test_refusals_have_no_words_of_python_or_its_libraries(arguments, said):
    output = lucyd(*arguments).output
    assert said in output
    for jargon in ("Errno", "Value error", "Input should", "parse string"):
        assert jargon not in output


def test_simulate_reports_the_photons(tmp_path):
    found = lucyd("simulate", "-o", tmp_path, "--shape", "24,24", "--photons", "200")
    assert "200 photons at the brightest voxel" in found.output
    found = lucyd("simulate", "-o", tmp_path / "more", "--shape", "24,24")
    assert "photons" not in found.output


def test_export_says_what_it_does_before_it_works(monkeypatch, tmp_path):
    def export_model(model, out, **_):
        print("working")
        return out

    monkeypatch.setattr("napari_lucyd.export.export_model", export_model)
    found = lucyd("export", "lucyd", "-o", tmp_path / "a.zip").output
    assert found.index("Exporting lucyd to ") < found.index("working")
