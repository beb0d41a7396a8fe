"""``lucyd deconvolve`` with models that are told the blur."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_lucyd as nl
from napari_lucyd.cli import app
from napari_lucyd.io import read_image, write_image
from told_models import blobs, told_model

OPTICS = ["--microscope", "widefield", "--na", "0.8", "--refractive-index", "1.33", "--emission-um", "0.525"]


def lucyd(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "told.safetensors"
    model = told_model(3)
    return nl.save_model(path, model.network, normalization=model.card["normalization"])


@pytest.fixture
def stack(tmp_path) -> Path:
    path = tmp_path / "stack.ome.tif"
    write_image(path, blobs(12, 32, 36), axes="ZYX", voxel_size=(0.4, 0.2, 0.2), unit="micrometer")
    return path


def run(weights: Path, stack: Path, *arguments: object):
    return lucyd("deconvolve", stack, "-m", weights, "--device", "cpu", *arguments)


def test_a_microscope_gives_what_python_gives(weights, stack, tmp_path):
    out = tmp_path / "out.ome.tif"
    assert run(weights, stack, "-o", out, *OPTICS).exit_code == 0
    microscope = nl.Microscope("widefield", numerical_aperture=0.8, refractive_index=1.33, emission_um=0.525)
    image = read_image(stack)
    wanted = nl.deconvolve(
        image.data, nl.load_model(weights), voxel_size=(0.4, 0.2, 0.2), microscope=microscope, device="cpu"
    )
    stored = read_image(out)
    assert np.array_equal(stored.data, wanted.output)
    assert stored.metadata["recipe"]["first_stage"]["microscope"] == microscope.parameters


@pytest.mark.parametrize(("size", "wanted"), [("7,9,9", [7, 9, 9]), ("9", [9, 9, 9])])
def test_the_size_of_the_psf_is_that_of_the_microscope(weights, stack, tmp_path, size, wanted):
    told, classical = tmp_path / "told.tif", tmp_path / "classical.tif"
    assert run(weights, stack, "-o", told, *OPTICS, "--psf-size", size).exit_code == 0
    assert read_image(told).metadata["recipe"]["first_stage"]["microscope"]["psf_size"] == wanted
    options = ("--method", "richardson-lucy", "--num-iter", "2", "--device", "cpu", "--psf-size", size)
    assert lucyd("deconvolve", stack, "-o", classical, *OPTICS, *options).exit_code == 0
    assert read_image(classical).metadata["recipe"]["psf"]["shape"] == wanted


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((*OPTICS, "--psf-size", "8"), "--psf-size is (8, 8, 8); give two or three odd sizes"),
        ((*OPTICS, "--psf-size", "wide"), "whole numbers with commas"),
        (("--psf-size", "9"), "it describes a microscope; add --microscope"),
    ],
)
def test_a_size_of_the_psf_that_cannot_be_is_refused(weights, stack, tmp_path, options, words):
    found = run(weights, stack, "-o", tmp_path / "out.tif", *options)
    assert found.exit_code == 2 and words in " ".join(found.output.replace("│", " ").split())


def test_any_unit_of_length_will_do_for_a_microscope(weights, stack, tmp_path):
    other = tmp_path / "nm.ome.tif"
    image = read_image(stack)
    write_image(other, image.data, axes="ZYX", voxel_size=(400, 200, 200), unit="nanometer")
    out = [tmp_path / "a.ome.tif", tmp_path / "b.ome.tif", tmp_path / "c.ome.zarr"]
    for source, path in zip((stack, other, other), out, strict=True):
        assert run(weights, source, "-o", path, *OPTICS).exit_code == 0
    first, *others = (read_image(path) for path in out)
    for found in others:
        assert np.abs(found.data - first.data).max() <= 1e-3 * np.ptp(first.data)
        assert found.unit == "micrometer" and found.voxel_size == pytest.approx((0.4, 0.2, 0.2))


def test_a_microscope_needs_a_unit_of_length(weights, tmp_path):
    path = tmp_path / "plain.tif"
    write_image(path, blobs(12, 32, 36), axes="ZYX", voxel_size=None, unit=None)
    found = run(weights, path, "-o", tmp_path / "out.tif", *OPTICS)
    assert found.exit_code == 1
    assert "no voxel size in a unit of length" in " ".join(found.output.split())


def test_several_images_are_told_once_that_no_blur_was_given(weights, stack, tmp_path):
    odd = read_image(stack).data.copy()
    odd[3, 4, 5] = np.nan
    write_image(tmp_path / "odd.ome.tif", odd, axes="ZYX", voxel_size=(0.4, 0.2, 0.2), unit="micrometer")
    done = run(weights, stack, tmp_path / "odd.ome.tif", "-o", tmp_path / "out")
    assert done.exit_code == 0
    assert done.stderr.count("No blur was given") == 1 and done.stderr.count("  blur of ") == 2
    assert "2 of 2 done, 1 with warnings." in done.stderr  # the voxel that is NaN
    alone = run(weights, stack, "-o", tmp_path / "alone.ome.tif")
    assert "Warning: The photons do not show how wide the blur is" in alone.stderr


def test_a_gaussian_blur_and_all_parts(weights, stack, tmp_path):
    out = tmp_path / "out.ome.tif"
    assert run(weights, stack, "-o", out, "--blur-sigma", "1.5,1.2,1.2", "--intermediates").exit_code == 0
    assert read_image(out).metadata["recipe"]["first_stage"]["blur_sigma"] == [1.5, 1.2, 1.2]
    first = read_image(tmp_path / "out_first_estimate.ome.tif")
    assert first.metadata["shows"] == "first_estimate"


def test_a_wavelength_for_each_channel(weights, tmp_path):
    path = tmp_path / "channels.ome.tif"
    channels = np.stack([blobs(10, 24, 24, seed=1), blobs(10, 24, 24, seed=2)])
    write_image(path, channels, axes="CZYX", voxel_size=(0.4, 0.2, 0.2), unit="micrometer")
    out = tmp_path / "out.ome.tif"
    assert run(weights, path, "-o", out, *OPTICS[:-1], "0.5,0.65").exit_code == 0
    told = read_image(out).metadata["recipe"]["first_stage"]["microscope"]
    assert [one["emission_um"] for one in told] == [0.5, 0.65]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--na", "0.8"], "--na: it describes a microscope; add --microscope"),
        (OPTICS[:4], "--microscope needs --refractive-index"),
        ([*OPTICS, "--blur-sigma", "1"], "--blur-sigma: --microscope says it already"),
        ([*OPTICS[:3], "2.5", *OPTICS[4:]], "--microscope"),
        (["--blur-sigma", "wide"], "'wide': expected numbers with commas"),
        (["--blur-sigma", "1,2"], "--blur-sigma is (1.0, 2.0); give one number of voxels"),
        (["--microscope", "microtome"], "microtome"),
        (["--method", "semi-blind", "--blur-sigma", "1"], "--method semi-blind does not use it"),
    ],
)
def test_what_cannot_be_told_is_refused(weights, stack, tmp_path, options, words):
    model = [] if "--method" in options else ["-m", weights]
    found = lucyd("deconvolve", stack, "-o", tmp_path / "out.tif", *model, *options)
    assert found.exit_code != 0
    assert words in " ".join(found.output.replace("│", " ").split())


def test_other_models_cannot_be_told(stack, tmp_path):
    found = lucyd("deconvolve", stack, "-o", tmp_path / "out.tif", "-m", "general", "--blur-sigma", "1")
    assert found.exit_code == 2
    assert "the model general does not use the blur" in " ".join(found.output.replace("│", " ").split())


def test_the_default_model_is_that_of_the_image(stack, tmp_path):
    out = tmp_path / "out.ome.tif"
    assert lucyd("deconvolve", stack, "-o", out, "--blur-sigma", "1.2", "--device", "cpu").exit_code == 0
    assert read_image(out).metadata["recipe"]["model"] == "lucyd"
    plane = tmp_path / "plane.ome.tif"
    write_image(plane, blobs(40, 44), axes="YX", voxel_size=(0.2, 0.2), unit="micrometer")
    out = tmp_path / "flat.ome.tif"
    assert lucyd("deconvolve", plane, "-o", out, "--blur-sigma", "1.2", "--device", "cpu").exit_code == 0
    assert read_image(out).metadata["recipe"]["model"] == "lucyd-planes"


@pytest.fixture
def psf(tmp_path) -> Path:
    path = tmp_path / "psf.ome.tif"
    optics = {"numerical_aperture": 0.8, "refractive_index": 1.33, "emission_um": 0.525}
    values = nl.make_psf("widefield", (9, 9, 9), voxel_size=(0.4, 0.2, 0.2), **optics)
    write_image(path, values, axes="ZYX", voxel_size=(0.4, 0.2, 0.2), unit="micrometer")
    return path


def test_a_psf_from_a_file_is_told_too(weights, stack, psf, tmp_path):
    out = [tmp_path / "out.ome.tif", tmp_path / "out.ome.zarr"]
    for path in out:
        done = run(weights, stack, "-o", path, "--psf", psf)
        assert done.exit_code == 0, done.output
    steps = {"voxel_size": (0.4, 0.2, 0.2), "psf_voxel_size": (0.4, 0.2, 0.2)}
    wanted = nl.deconvolve(
        read_image(stack).data, nl.load_model(weights), psf=read_image(psf).data, device="cpu", **steps
    )
    for path in out:
        np.testing.assert_allclose(read_image(path).data, wanted.output, atol=1e-3 * np.ptp(wanted.output))
    assert (
        "leave the microscope" in run(weights, stack, "-o", tmp_path / "b.tif", "--psf", psf, *OPTICS).output
    )


def test_a_psf_is_not_for_models_that_are_not_told(stack, psf, tmp_path):
    done = lucyd("deconvolve", stack, "-o", tmp_path / "out.tif", "-m", "general", "--psf", psf)
    assert done.exit_code == 2 and "does not use the blur" in done.output


@pytest.mark.parametrize("told", [OPTICS, ["--blur-sigma", "1.2"]], ids=["microscope", "width"])
def test_classical_methods_take_the_psf_of_a_microscope_or_a_width(stack, tmp_path, told):
    out = tmp_path / "out.ome.tif"
    chosen = ["--method", "richardson-lucy", "--num-iter", "3", "--background", "90", "--device", "cpu"]
    done = lucyd("deconvolve", stack, "-o", out, *chosen, *told)
    assert done.exit_code == 0, done.output
    line = np.exp(-0.5 * (np.arange(-5, 6) / 1.2) ** 2)
    psf = np.einsum("i,j,k->ijk", line, line, line).astype(np.float32)
    if told is OPTICS:
        scope = nl.Microscope("widefield", numerical_aperture=0.8, refractive_index=1.33, emission_um=0.525)
        psf = scope.psf((0.4, 0.2, 0.2), (19, 49, 55))
    image = read_image(stack).data
    wanted = nl.deconvolve(image, nl.RichardsonLucy(psf, num_iter=3, background=90), device="cpu").output
    found = read_image(out).data
    # The PSFs end at different places.
    assert np.abs(found - wanted).mean() < 0.02 * np.ptp(wanted)
    assert np.abs(found - image + 90).mean() > 0.02 * np.ptp(wanted)


def test_a_classical_method_without_a_blur_says_how_to_give_one(stack, tmp_path):
    done = lucyd("deconvolve", stack, "-o", tmp_path / "x.tif", "--method", "wiener")
    assert done.exit_code == 2 and "needs the blur" in done.output
