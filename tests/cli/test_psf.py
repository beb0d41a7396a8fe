"""``lucyd psf``: the file that Python would make, and messages for impossible requests."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_lucyd as nl
from napari_lucyd.cli import app
from napari_lucyd.cli.shared.option_types import Microscope
from napari_lucyd.io import read_image, write_image

WIDEFIELD = ["--na", "0.8", "--emission-um", "0.525"]
OPTICS = {"numerical_aperture": 0.8, "refractive_index": 1.33, "emission_um": 0.525}


def lucyd(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_file_holds_the_psf_its_voxel_size_and_its_optics(tmp_path):
    out = tmp_path / "new" / "psf.ome.tif"
    done = lucyd("psf", "-o", out, *WIDEFIELD, "--voxel-size", "0.3,0.15,0.15", "--shape", "7,15,13")
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [str(out)]
    assert "of the in-focus light reaches the edge planes" in done.stderr
    image = read_image(out)
    expected = nl.make_psf("widefield", (7, 15, 13), **OPTICS, voxel_size=(0.3, 0.15, 0.15))
    np.testing.assert_array_equal(image.data, expected)
    assert (image.axes, image.unit) == ("ZYX", "micrometer")
    assert image.voxel_size == pytest.approx((0.3, 0.15, 0.15))
    assert image.metadata == {"shows": "psf", "optics": {"microscope": "widefield"} | OPTICS}


@pytest.mark.parametrize(
    ("options", "keywords"),
    [
        (["--excitation-um", "0.488"], {"excitation_um": 0.488, "pinhole_airy": 1.0}),
        (
            ["--excitation-um", "0.488", "--pinhole-airy", "0.5"],
            {"excitation_um": 0.488, "pinhole_airy": 0.5},
        ),
        (["--sheet-fwhm-um", "2"], {"sheet_fwhm_um": 2.0}),
    ],
)
def test_each_microscope_has_its_options(tmp_path, options, keywords):
    kind = "light_sheet" if "sheet_fwhm_um" in keywords else "confocal"
    out = tmp_path / "psf.tif"
    options = ["-m", kind, *options, "-n", "1.4", "--voxel-size", "0.1", "--shape", "5,9,9"]
    done = lucyd("psf", "-o", out, *WIDEFIELD, *options)
    assert done.exit_code == 0, done.output
    optics = OPTICS | {"refractive_index": 1.4} | keywords
    np.testing.assert_array_equal(
        read_image(out).data, nl.make_psf(kind, (5, 9, 9), voxel_size=0.1, **optics)
    )
    assert read_image(out).metadata["optics"] == {"microscope": kind} | optics


def test_a_plane_has_two_axes_and_nothing_is_replaced_unasked(tmp_path):
    arguments = [
        "psf",
        "-o",
        tmp_path / "p.ome.tif",
        *WIDEFIELD,
        "--voxel-size",
        "0.1",
        "--shape",
        "9,11",
        "-m",
        "gaussian",
    ]
    assert lucyd(*arguments).exit_code == 0
    image = read_image(tmp_path / "p.ome.tif")
    assert (image.axes, image.voxel_size) == ("YX", pytest.approx((0.1, 0.1)))
    again = lucyd(*arguments)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    assert lucyd(*arguments, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--shape", "8,9,9"], 1, "odd"),
        (["--na", "1.4"], 1, "below --refractive-index"),
        (["--emission-um", "525"], 1, "--emission-um is 525; give it in µm: 0.525"),
        (["-m", "confocal"], 1, "--excitation-um is missing"),
        (["-m", "light_sheet"], 1, "--sheet-fwhm-um is missing"),
        (["--pinhole-airy", "1"], 1, "--pinhole-airy is 1.0, but a widefield PSF does not use it"),
        (["--voxel-size", "0.1,0.1"], 1, "or 3 of them"),
        (["--voxel-size", "small"], 2, "numbers with commas"),
        (["--voxel-size", "1e400,1,1"], 2, "'1e400,1,1': expected numbers with commas"),
        (["--shape", "9999,9999,9999"], 1, "9999 × 9999 × 9999 voxels need at least 8e+03 GB"),
        (["-m", "telescope"], 2, "telescope"),
        (["-o", "psf.png"], 2, "psf.ome.tif"),
    ],
)
def test_what_cannot_be_is_refused_in_words(tmp_path, monkeypatch, options, status, said):
    monkeypatch.chdir(tmp_path)
    arguments = ["-o", "p.ome.tif", *WIDEFIELD, "--voxel-size", "0.1", "--shape", "9,9,9", *options]
    done = lucyd("psf", *arguments)
    assert done.exit_code == status, done.output
    assert said in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_memory_that_runs_out_on_the_way_is_told_in_words(tmp_path, monkeypatch):
    def run_out(*arguments, **keywords):
        raise MemoryError

    monkeypatch.setattr("napari_lucyd.simulation.make_psf", run_out)
    done = lucyd("psf", "-o", tmp_path / "p.tif", *WIDEFIELD, "--voxel-size", "0.1", "--shape", "9,9,9")
    assert done.exit_code == 1
    assert "9 × 9 × 9 voxels do not fit into memory: choose a smaller --shape" in done.stderr


def test_every_kind_of_psf_is_a_choice():
    from typing import get_args

    from napari_lucyd.simulation.psf import PsfKind

    assert {choice.value for choice in Microscope} == set(get_args(PsfKind))


@pytest.fixture
def beads(tmp_path):
    """Four beads on an offset, in a file that states its voxel size."""
    spot = nl.make_psf("gaussian", (21, 21, 21), **OPTICS, voxel_size=(0.3, 0.1, 0.1))
    image = np.full((31, 100, 100), 100.0, np.float32)
    for y, x in ((25, 25), (25, 75), (75, 25), (75, 75)):
        image[5:26, y - 10 : y + 11, x - 10 : x + 11] += 900 * spot / spot.max()
    image += np.random.default_rng(0).normal(0, 5, image.shape)
    path = tmp_path / "beads.ome.tif"
    write_image(path, image.astype("f4"), axes="ZYX", voxel_size=(300, 100, 100), unit="nanometer")
    return path


def test_a_psf_is_measured_on_beads_with_a_report(beads, tmp_path):
    out = tmp_path / "measured.ome.tif"
    done = lucyd("psf", "-o", out, "--from-beads", beads)
    assert done.exit_code == 0, done.output
    assert "4 of 4 beads used" in done.stderr and "FWHM in µm: Z" in done.stderr
    image = read_image(out)
    assert image.voxel_size == pytest.approx((0.3, 0.1, 0.1)) and image.unit == "micrometer"
    assert image.metadata["beads"]["used"] == 4
    lateral = 0.51 * OPTICS["emission_um"] / OPTICS["numerical_aperture"]
    np.testing.assert_allclose(image.metadata["beads"]["fwhm_um"][1:], lateral, rtol=0.05)
    assert image.data.sum() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--from-beads", "beads.ome.tif", "--na", "0.8"], 2, "a PSF from beads does not use it"),
        (["--from-beads", "none.tif"], 1, "none.tif"),
        (["--from-beads", "plain.tif"], 1, "give it with --voxel-size"),
        (["--from-beads", "plain.tif", "--voxel-size", "0.1"], 1, "plain.tif: No bead was found"),
        (
            ["--from-beads", "beads.ome.tif", "--bead-diameter-um", "100"],
            1,
            "beads.ome.tif: --bead-diameter-um is 100, but the beads look only 0.33 µm wide. Give their "
            "diameter in µm: 0.1.",
        ),
        ([*WIDEFIELD], 2, "a PSF from the optics needs it"),
        ([*WIDEFIELD, "--voxel-size", "0.1", "--bead-diameter-um", "0.1"], 2, "it needs --from-beads"),
    ],
)
def test_beads_that_cannot_be_used_are_refused_in_words(beads, tmp_path, monkeypatch, options, status, said):
    monkeypatch.chdir(tmp_path)
    write_image("plain.tif", np.full((9, 20, 20), 7, "f4"), axes="ZYX", voxel_size=None, unit=None)
    done = lucyd("psf", "-o", "out.ome.tif", *options)
    assert done.exit_code == status, done.output
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "out.ome.tif").exists()
