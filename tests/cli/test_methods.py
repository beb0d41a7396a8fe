"""``lucyd deconvolve --method``: classical methods with a PSF from a file."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_lucyd as nl
from napari_lucyd.cli import app
from napari_lucyd.deconvolution import method_from_recipe, options_from_recipe
from napari_lucyd.io import read_image, write_image

SHAPE = (6, 14, 13)
STEPS = (0.3, 0.1, 0.1)


def lucyd(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def said(done) -> str:
    """Return the text on standard error, in one line."""
    return " ".join(done.stderr.replace("│", " ").split())


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(1).integers(100, 4000, SHAPE).astype("uint16")


@pytest.fixture
def stack(tmp_path, volume):
    path = tmp_path / "stack.ome.tif"
    return write_image(path, volume, axes="ZYX", voxel_size=STEPS, unit="micrometer")


@pytest.fixture
def psf(tmp_path):
    """A PSF made by ``lucyd psf``."""
    path = tmp_path / "psf.ome.tif"
    options = ["--na", "0.8", "--emission-um", "0.525", "--voxel-size", "0.3,0.1,0.1", "--shape", "5,7,7"]
    assert lucyd("psf", "-o", path, *options).exit_code == 0
    return path


def test_richardson_lucy_writes_what_python_gives_and_its_recipe_repeats_it(stack, psf, tmp_path, volume):
    out = tmp_path / "rl.ome.tif"
    numbers = ["--num-iter", 4, "--total-variation", 0.002, "--background", 90, "--device", "cpu"]
    done = lucyd("deconvolve", stack, "-o", out, "--method", "richardson-lucy", "--psf", psf, *numbers)
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [str(out)]
    assert "Richardson-Lucy with a PSF of 5 × 7 × 7" in said(done)
    image = read_image(out)
    kernel = read_image(psf).data
    expected = nl.richardson_lucy(
        volume,
        kernel,
        num_iter=4,
        total_variation=0.002,
        background=90,
        acceleration=True,
        center_psf=True,
        device="cpu",
    )
    np.testing.assert_array_equal(image.data, expected)
    assert image.voxel_size == pytest.approx(STEPS) and image.axes == "ZYX"
    recipe = image.metadata["recipe"]
    again = nl.deconvolve(volume, method_from_recipe(recipe, kernel), **options_from_recipe(recipe))
    np.testing.assert_array_equal(again.output, image.data)


def test_wiener_writes_what_python_gives(stack, psf, tmp_path, volume):
    out = tmp_path / "w.tif"
    options = ["--method", "wiener", "--psf", psf, "--balance", 0.4, "--device", "cpu"]
    done = lucyd("deconvolve", stack, "-o", out, *options)
    assert done.exit_code == 0, done.output
    expected = nl.wiener(volume, read_image(psf).data, balance=0.4, device="cpu")
    np.testing.assert_array_equal(read_image(out).data, expected)


def test_optional_steps_are_those_of_python_for_any_method(stack, psf, tmp_path, volume, model_files):
    steps = ["--subtract-background", 16, "--prefilter", "auto", "--flips", "--device", "cpu"]
    options = {"subtract_background": 16, "prefilter": "auto", "flips": True, "axes": "ZYX"}
    kernel = read_image(psf).data
    for chosen, method in (
        (["--method", "wiener", "--psf", psf], nl.Wiener(kernel)),
        (["-m", model_files[2]], nl.load_model(model_files[2])),
    ):
        out = tmp_path / f"{method.dimension}.ome.tif"
        done = lucyd("deconvolve", stack, "-o", out, *chosen, *steps)
        assert done.exit_code == 0, done.output
        expected = nl.deconvolve(volume, method, voxel_size=STEPS, device="cpu", **options)
        np.testing.assert_array_equal(read_image(out).data, expected.output)
        recipe = read_image(out).metadata["recipe"]
        assert recipe["prefilter"] == expected.recipe["prefilter"] and recipe["flips"]
        assert recipe["subtract_background"] == expected.recipe["subtract_background"]


def test_a_network_is_a_method_too(stack, tmp_path, random_rln, model_files):
    file = nl.save_model(
        tmp_path / "mine.safetensors", random_rln.network, normalization={"method": "minmax"}
    )
    done = lucyd("deconvolve", stack, "-o", tmp_path / "a.tif", "--method", "rln", "-m", file)
    assert done.exit_code == 0, done.output
    assert read_image(tmp_path / "a.tif").metadata["recipe"]["model"] == "mine"
    other = lucyd("deconvolve", stack, "-o", tmp_path / "b.tif", "--method", "rln", "-m", model_files[3])
    assert other.exit_code == 2
    assert "a model of lucyd, not of rln" in said(other)


@pytest.mark.parametrize("name", ["wiener", "rln", "auto"])
def test_a_method_that_is_given_as_a_model_is_named_with_its_option(stack, tmp_path, name):
    done = lucyd("deconvolve", stack, "-o", tmp_path / "a.tif", "--model", name)
    assert done.exit_code == 2
    assert f"{name} is a method; give --method {name}" in said(done)


def test_a_network_without_a_shipped_model_asks_for_a_file(stack, tmp_path, monkeypatch):
    cards = [card for card in nl.list_models() if card["network"]["type"] == "lucyd"]
    monkeypatch.setattr("napari_lucyd.models.catalogue.list_models", lambda: cards)
    done = lucyd("deconvolve", stack, "-o", tmp_path / "a.tif", "--method", "care")
    assert done.exit_code == 2
    assert "there is no shipped model of care" in said(done)


def test_negative_voxels_are_warned_of(stack, psf, tmp_path, volume):
    below = write_image(
        tmp_path / "dark.tif", volume.astype("float32") - 150, axes="ZYX", voxel_size=STEPS, unit="micrometer"
    )
    done = lucyd(
        "deconvolve",
        below,
        "-o",
        tmp_path / "o.tif",
        "--method",
        "richardson-lucy",
        "--psf",
        psf,
        "--background",
        0,
    )
    assert done.exit_code == 0, done.output
    assert f"Warning: {(volume < 150).sum()} voxels were negative" in said(done)


def test_a_dry_run_tells_volumes_and_iterations(stack, psf, tmp_path):
    done = lucyd(
        "deconvolve",
        stack,
        *("-o", tmp_path / "o.tif", "--method", "richardson-lucy", "--psf", psf, "--num-iter", 30),
        "--dry-run",
    )
    assert done.exit_code == 0, done.output
    assert "1 whole volume of 6 × 14 × 13, 30 iterations, about" in said(done)
    assert not (tmp_path / "o.tif").exists()


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--method", "richardson-lucy"], 2, "needs the blur: --psf FILE"),
        (["--num-iter", "5"], 2, "--method lucyd does not use it; leave it out"),
        (["--num-iter", "5"], 2, "--method lucyd does not use it"),
        (["--method", "guess"], 2, "guess"),
        (["--flips", "--intermediates"], 2, "the mean over flips has an output only"),
        (["--prefilter", "much"], 2, "'much': expected auto, or a number of voxels"),
        (["--method", "wiener", "--psf", "psf.ome.tif", "--prefilter", "99"], 1, "prefilter is 99.0"),
        (
            ["--method", "wiener", "--psf", "psf.ome.tif", "--num-iter", "5"],
            2,
            "--method wiener does not use it",
        ),
        (
            ["--method", "wiener", "--psf", "psf.ome.tif", "-m", "general"],
            2,
            "--method wiener does not use it",
        ),
        (["--method", "wiener", "--psf", "psf.ome.tif", "--tile-shape", "8,8,8"], 2, "does not use it"),
        (["--method", "wiener", "--psf", "psf.ome.tif", "--intermediates"], 2, "does not use it"),
        (["--method", "wiener", "--psf", "psf.ome.tif", "--outputs", "update_term"], 2, "only an output"),
        (["--method", "wiener", "--psf", "psf.ome.tif", "--balance", "0"], 1, "balance is 0"),
        (["--method", "wiener", "--psf", "none.tif"], 1, "none.tif"),
        (["--method", "wiener", "--psf", "series.tif"], 1, "it holds T 2 × Z 3 × Y 5 × X 5; one PSF"),
        (
            ["--method", "wiener", "--psf", "black.tif"],
            1,
            "black.tif: The psf is empty: all its voxels",
        ),
        (
            ["--method", "richardson-lucy", "--psf", "psf.ome.tif", "--total-variation", "1"],
            1,
            "--total-variation is 1.0; give a number from 0 to 0.2",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(stack, psf, tmp_path, monkeypatch, options, status, words):
    monkeypatch.chdir(tmp_path)
    for name, array in (
        ("series.tif", np.ones((2, 3, 5, 5), "float32")),
        ("black.tif", np.zeros((3, 5, 5), "float32")),
    ):
        write_image(name, array, axes="TZYX"[-array.ndim :], voxel_size=None, unit=None)
    done = lucyd("deconvolve", stack, "-o", "o.tif", *options)
    assert done.exit_code == status, done.output
    assert words in said(done)
    assert "Traceback" not in done.output and not (tmp_path / "o.tif").exists()


@pytest.mark.parametrize(
    ("factor", "status", "words"),
    [(1000, 0, ""), (1, 1, "differ too much"), (1500, 0, "PSF was resampled from voxels of 0.45 ×")],
)
def test_a_psf_with_other_voxels_is_resampled_whatever_its_unit(stack, tmp_path, factor, status, words):
    psf = tmp_path / "nm.ome.tif"
    kernel = np.full((3, 3, 3), 1 / 27, np.float32)
    write_image(psf, kernel, axes="ZYX", voxel_size=[factor * step for step in STEPS], unit="nanometer")
    options = ["--method", "wiener", "--psf", psf, "--device", "cpu", "--dry-run"]
    done = lucyd("deconvolve", stack, "-o", tmp_path / "o.tif", *options)
    assert done.exit_code == status, done.output
    assert words in said(done)
    assert ("resampled" in said(done)) == (factor == 1500)


def test_a_psf_without_voxel_size_is_taken_as_it_is(stack, tmp_path):
    plain = write_image(tmp_path / "p.tif", np.ones((3, 3), "f4"), axes="YX", voxel_size=None, unit=None)
    done = lucyd("deconvolve", stack, "-o", tmp_path / "o.tif", "--method", "wiener", "--psf", plain)
    assert done.exit_code == 0, done.output  # plane by plane
    assert read_image(tmp_path / "o.tif").data.shape == SHAPE


def test_a_psf_is_not_replaced_by_a_result(stack, psf):
    before = psf.read_bytes()
    options = ["--method", "wiener", "--psf", psf, "--device", "cpu", "--overwrite"]
    done = lucyd("deconvolve", stack, "-o", psf, *options)
    assert done.exit_code == 1 and "would replace it" in said(done)
    assert psf.read_bytes() == before


def test_semi_blind_needs_no_psf_and_its_recipe_repeats_it(stack, psf, tmp_path, volume):
    out = tmp_path / "blind.ome.tif"
    done = lucyd("deconvolve", stack, "-o", out, "--method", "semi-blind", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "Semi-blind Richardson-Lucy with a PSF found in the image" in said(done)
    image = read_image(out)
    expected = nl.deconvolve(volume, nl.SemiBlind(), voxel_size=STEPS, device="cpu").output
    np.testing.assert_array_equal(image.data, expected)
    assert isinstance(method_from_recipe(image.metadata["recipe"]), nl.SemiBlind)
    optics = ["--microscope", "widefield", "--na", 0.8, "--refractive-index", 1.33, "--emission-um", 0.5]
    again = ["deconvolve", stack, "-o", out, "--overwrite", "--method", "semi-blind", "--device", "cpu"]
    assert lucyd(*again, *optics).exit_code == 0
    method = method_from_recipe(read_image(out).metadata["recipe"])
    assert method.microscope.emission_um == 0.5
    refused = lucyd(*again, *optics[:-1], "0.5,0.6")
    assert "--emission-um lists 2 wavelengths, but the image has 1 channel" in said(refused)
    refused = lucyd("deconvolve", stack, "-o", out, "--method", "semi-blind", "--psf", psf)
    assert refused.exit_code == 2 and "--method semi-blind does not use it" in said(refused)


def test_each_channel_is_restored_with_its_own_psf(tmp_path):
    image = np.random.default_rng(0).integers(90, 900, (2, *SHAPE)).astype("uint16")
    stack = write_image(tmp_path / "two.ome.tif", image, axes="CZYX", voxel_size=STEPS, unit="micrometer")
    options = ["--na", 0.8, "--voxel-size", "0.3,0.1,0.1", "--shape", "5,7,7"]
    both = tmp_path / "both.ome.tif"
    assert lucyd("psf", "-o", both, "--emission-um", "0.46,0.7", *options).exit_code == 0
    psfs = read_image(both, lazy=False)
    assert psfs.axes == "CZYX"
    assert psfs.metadata["optics"]["emission_um"] == [0.46, 0.7]
    each = [tmp_path / f"{emission}.tif" for emission in (0.46, 0.7)]
    for path, emission in zip(each, ("0.46", "0.7"), strict=True):
        assert lucyd("psf", "-o", path, "--emission-um", emission, *options).exit_code == 0
    method = nl.RichardsonLucy(list(psfs.data), num_iter=3, psf_voxel_size=STEPS)
    expected = nl.deconvolve(image, method, axes="CZYX", voxel_size=STEPS, device="cpu")
    for name, given in (("a", [both]), ("b", each)):
        out = tmp_path / f"{name}.tif"
        paths = [word for path in given for word in ("--psf", path)]
        settings = ["--method", "richardson-lucy", "--num-iter", 3, "--device", "cpu"]
        done = lucyd("deconvolve", stack, "-o", out, *settings, *paths)
        assert done.exit_code == 0, done.output
        np.testing.assert_allclose(read_image(out).data, expected.output, rtol=1e-4, atol=1e-2)
    three = lucyd("deconvolve", stack, "-o", tmp_path / "c.tif", *settings, *["--psf", each[0]] * 3)
    assert three.exit_code == 1
    assert "lists 3 PSFs, one for each channel, but the image has 2 channels" in said(three)
    mixed = lucyd("deconvolve", stack, "-o", tmp_path / "d.tif", *settings, "--psf", both, "--psf", each[0])
    assert "has an axis C already" in said(mixed)
