"""File names of strangers on the command line: nothing in them acts on the terminal, and no batch stops."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import napari_lucyd as nl
from napari_lucyd.cli import app
from napari_lucyd.io import read_image, write_image

ODD = os.fsdecode(b"caf\xe9 \x1b[31mred\x9b2J\ntwo")
PSF = ["--na", "0.8", "--emission-um", "0.525", "--voxel-size", "0.3,0.1,0.1", "--shape", "5,7,7"]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="such names are not known there")


@pytest.fixture(scope="module")
def weights(random_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    return nl.save_model(path, random_model.network, normalization={"method": "minmax"})


def restore(weights, *arguments: object):
    given = ["deconvolve", "-m", weights, "--device", "cpu", *arguments]
    return CliRunner().invoke(app, [str(argument) for argument in given])


def on_a_terminal(*arguments: str) -> bytes:
    """Run a command whose output goes to a terminal, and return that output."""
    import pty

    ours, theirs = pty.openpty()
    code = "import sys; from napari_lucyd.cli import app; app(sys.argv[1:])"
    command = [sys.executable, "-c", code, *arguments]
    try:
        # Colours are the program's own.
        environment = os.environ | {"NO_COLOR": "1", "TERM": "dumb"}
        subprocess.run(command, stdout=theirs, stderr=theirs, env=environment, check=False)
        os.set_blocking(ours, False)
        return os.read(ours, 100_000)
    finally:
        os.close(ours)
        os.close(theirs)


def test_escape_codes_of_a_name_do_not_reach_the_terminal(tmp_path):
    path = tmp_path / f"{ODD}.ome.tif"
    for _ in ("written", "refused"):
        shown = on_a_terminal("psf", "-o", str(path), *PSF)
        assert rb"caf\xe9 \x1b[31mred\x9b2J\ntwo.ome.tif" in shown
        assert b"\x1b[31mred" not in shown and b"\x9b" not in shown
    shown = on_a_terminal("info", str(path))
    assert rb"caf\xe9 \x1b[31mred" in shown and b"\x1b[31mred" not in shown


def test_a_program_gets_the_path_byte_for_byte(tmp_path):
    path = tmp_path / f"{ODD}.ome.tif"
    result = CliRunner().invoke(app, ["psf", "-o", str(path), *PSF])
    assert result.stdout_bytes == os.fsencode(path) + b"\n"


def test_one_odd_file_does_not_stop_a_batch(weights, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    stack = np.random.default_rng(1).integers(100, 4000, (6, 12, 14)).astype("uint16")
    write_image(folder / f"{ODD}.ome.tif", stack, axes="ZYX", voxel_size=(0.1, 0.1, 0.1), unit="µm")
    for name in ("", "..", "/etc/passwd"):
        text = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels '
            'ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="14" SizeY="12" SizeZ="6" SizeC="1" '
            'SizeT="2"><Channel ID="Channel:0" SamplesPerPixel="1"/><TiffData FirstT="0" IFD="0" '
            f'PlaneCount="6"/><TiffData FirstT="1" IFD="0" PlaneCount="6"><UUID FileName="{name}">urn:uuid:x'
            "</UUID></TiffData></Pixels></Image></OME>"
        )
        file = folder / f"named{len(name)}.ome.tif"
        tifffile.imwrite(file, stack, description=text, metadata=None, photometric="minisblack")
    done = restore(weights, folder, "-o", out)
    assert done.exit_code == 1 and "Traceback" not in done.output
    assert "its OME-XML names '..', a folder" in done.stderr
    assert "and so is 'passwd'" in done.stderr
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [f"{ODD}_output.ome.tif", "named0_output.ome.tif"]
    )


def test_a_name_that_is_too_long_is_found_out_before_the_work(weights, tmp_path):
    source = tmp_path / "a.tif"
    write_image(source, np.ones((6, 12, 14), "uint16"), axes="ZYX", voxel_size=None, unit=None)
    for name in ("n" * 250 + ".ome.tif", "n" * 240 + ".ome.zarr"):
        done = restore(weights, source, "-o", tmp_path / name, "--dry-run")
        assert done.exit_code == 1
        assert "no file can have this name (File name too long)" in done.stderr


def test_planes_that_were_saved_as_channels_are_warned_of_in_few_words(weights, tmp_path):
    stack = np.random.default_rng(0).integers(0, 999, (6, 40, 40)).astype("uint16")
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True)
    done = restore("general", tmp_path / "a.tif", "-o", tmp_path / "o.ome.tif")
    assert done.exit_code == 0
    assert done.stderr.count("6 channels and no Z") == 1 and "--axes ZYX" in done.stderr
    assert done.stderr.count("The noise") == done.stderr.count("The noise of C 0 to C 5 (6 of 6)") == 1
    done = restore("general", tmp_path / "a.tif", "-o", tmp_path / "o.ome.tif", "--axes", "ZYX", "--dry-run")
    assert "channels" not in done.stderr


def test_what_is_said_of_several_channels_is_said_once(tmp_path):
    stack = np.random.default_rng(0).integers(0, 999, (3, 6, 40, 40)).astype("uint16")
    write_image(tmp_path / "a.tif", stack, axes="CZYX", voxel_size=None, unit=None)
    done = restore("lucyd", tmp_path / "a.tif", "-o", tmp_path / "o.ome.tif")
    assert done.exit_code == 0
    assert done.stderr.count("The photons do not show how wide the blur is") == 1
    assert "Similar: C 1 and C 2." in done.stderr or "C 0 to C 2" in done.stderr


@pytest.mark.parametrize("jobs", [[], ["--jobs", "1"]])
def test_planes_that_were_saved_as_colours_are_deconvolved_where_the_axes_say_so(weights, tmp_path, jobs):
    stack = np.random.default_rng(0).integers(0, 255, (4, 12, 14)).astype("uint8")
    tifffile.imwrite(
        tmp_path / "a.tif", stack, photometric="rgb", planarconfig="separate", extrasamples=["unassalpha"]
    )
    out = tmp_path / "o.ome.zarr"
    assert "a colour picture" in restore(weights, tmp_path / "a.tif", "-o", out).stderr
    done = restore(weights, tmp_path / "a.tif", "-o", out, "--axes", "ZYX", *jobs)
    assert done.exit_code == 0, done.output
    expected = nl.deconvolve(stack, nl.load_model(weights), device="cpu", axes="ZYX").output
    np.testing.assert_allclose(read_image(out).data, expected, rtol=1e-4, atol=1e-3)
