"""``lucyd adapt``: its arguments and its messages."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_lucyd as nl
from napari_lucyd.cli import app
from napari_lucyd.io import write_image
from told_models import blobs

OPTICS = ["--microscope", "widefield", "--na", "0.8", "--refractive-index", "1.33", "--emission-um", "0.525"]


def lucyd(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def stack(tmp_path):
    path = tmp_path / "stack.ome.tif"
    write_image(path, blobs(8, 32, 32), axes="ZYX", voxel_size=(400, 200, 200), unit="nanometer")
    return path


@pytest.fixture
def adapted(monkeypatch, tmp_path):
    """The arguments that reach `adapt`, which is replaced by a function that reports success."""
    calls = []

    def adapt(*arguments, **options):
        calls.append((arguments, options))
        path = tmp_path / "x.safetensors"
        return SimpleNamespace(notes=("A note.",), summary="Better.", seconds=61.0, path=path)

    monkeypatch.setattr("napari_lucyd.training.adapt", adapt)
    return calls


def test_microscope_image_and_options_are_passed_on(adapted, stack):
    done = lucyd("adapt", stack, "-n", "mine", *OPTICS, "--minutes", "2", "--structures", "filaments")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("mine: blur and noise are measured; then follow up to 2 min of training")
    assert "A note." in done.output and "Better." in done.output and "x.safetensors" in done.output
    ((image, name), options) = adapted[0]
    assert (image.shape, name) == ((8, 32, 32), "mine")
    assert options["voxel_size"] == pytest.approx((0.4, 0.2, 0.2))
    assert options["microscope"].numerical_aperture == 0.8
    assert (options["minutes"], options["structures"], options["axes"]) == (2.0, "filaments", "ZYX")


def test_a_psf_file_comes_with_its_voxel_size_in_the_unit_of_the_image(adapted, stack, tmp_path):
    psf = tmp_path / "psf.ome.tif"
    write_image(psf, np.ones((3, 5, 5), "f4"), axes="ZYX", voxel_size=(0.2, 0.1, 0.1), unit="micrometer")
    assert lucyd("adapt", stack, "-n", "mine", "--psf", psf).exit_code == 0
    (_, options) = adapted[0]
    assert options["psf_voxel_size"] == pytest.approx((200, 100, 100))
    assert options["psf"].shape == (3, 5, 5)


def test_without_an_image_the_voxel_size_is_given(adapted):
    assert lucyd("adapt", "-n", "mine", *OPTICS, "--voxel-size", "0.3,0.1,0.1").exit_code == 0
    ((image, _), options) = adapted[0]
    assert image is None and options["voxel_size"] == (0.3, 0.1, 0.1)


def test_a_bad_name_is_one_line(stack):
    done = lucyd("adapt", stack, "-n", "lucyd", "--blur-sigma", "1.4")
    assert done.exit_code == 1 and "the name of a shipped model" in done.output


def test_a_model_that_is_not_saved_is_said_and_is_no_success(monkeypatch, stack):
    answer = SimpleNamespace(notes=(), summary="Not better. Use lucyd.", seconds=5.0, path=None)
    monkeypatch.setattr("napari_lucyd.training.adapt", lambda *_, **__: answer)
    done = lucyd("adapt", stack, "-n", "mine")
    assert done.exit_code == 1 and "Use lucyd." in done.output
    assert nl.list_models()[-1]["name"] != "mine"
