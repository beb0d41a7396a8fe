"""The command line, driven as a user does: files in, files out, messages and exit status."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import napari_lucyd as nl
from napari_lucyd.batch.inputs import distinct_names
from napari_lucyd.cli import app
from napari_lucyd.io import read_image, write_image
from napari_lucyd.simulation import repeat_simulation
from ome_files import write_ome_set

SHAPE = (6, 12, 14)


def lucyd(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def weights(random_model, tmp_path_factory) -> Path:
    """A model file: seeded random weights."""
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    return nl.save_model(path, random_model.network, normalization={"method": "minmax"})


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(1).integers(100, 4000, SHAPE).astype("uint16")


@pytest.fixture
def stack(tmp_path, volume) -> Path:
    """An OME-TIFF of nearly cubic voxels."""
    path = tmp_path / "in" / "stack.ome.tif"
    path.parent.mkdir()
    return write_image(path, volume, axes="ZYX", voxel_size=(0.12, 0.1, 0.1), unit="µm")


def restore(weights: Path, *arguments: object):
    return lucyd("deconvolve", "-m", weights, "--device", "cpu", *arguments)


# -------------------------------------------------------------------------------------------------- help


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from napari_lucyd.cli import app\n"
        "try:\n    app(['deconvolve', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'napari', 'qtpy', 'numpy', 'scipy', 'dask', 'zarr', 'tifffile'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "lucyd deconvolve stack.tif -o restored.ome.tif" in done.stdout


def test_deconvolving_needs_no_napari_and_no_qt(stack, weights, tmp_path):
    code = (
        "import sys\n"
        "from napari_lucyd.cli import app\n"
        f"arguments = ['deconvolve', {str(stack)!r}, '-o', {str(tmp_path / 'o.tif')!r}]\n"
        f"arguments += ['-m', {str(weights)!r}]\n"
        "try:\n    app(arguments)\nexcept SystemExit as leaving:\n    assert not leaving.code\n"
        "sys.exit(', '.join({'napari', 'qtpy', 'PyQt6', 'magicgui', 'superqt'} & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "o.tif")


@pytest.mark.parametrize("command", ["deconvolve", "models", "simulate", "psf", "info"])
def test_every_command_teaches_by_example(command):
    done = lucyd(command, "--help")
    assert done.exit_code == 0
    assert f"lucyd {command}" in done.output.partition("Examples:")[2]


def test_without_arguments_the_commands_are_listed():
    assert all(command in lucyd().output for command in ("deconvolve", "models", "simulate", "psf", "info"))
    assert lucyd("--version").output.strip() == nl.__version__


# --------------------------------------------------------------------------------------------- one input


@pytest.mark.parametrize("suffix", [".ome.tif", ".tif", ".ome.zarr"])
def test_one_input_gives_the_file_that_python_would(stack, weights, tmp_path, volume, suffix):
    out = tmp_path / f"restored{suffix}"
    done = restore(weights, stack, "-o", out)
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [str(out)]
    model = nl.load_model(weights)
    expected = nl.deconvolve(volume, model, device="cpu", voxel_size=(0.12, 0.1, 0.1), axes="ZYX")
    image = read_image(out)
    np.testing.assert_array_equal(image.data, expected.output)
    assert (image.axes, image.unit, image.data.dtype) == ("ZYX", "micrometer", np.float32)
    assert image.voxel_size == pytest.approx((0.12, 0.1, 0.1), rel=1e-6)
    assert image.metadata["shows"] == "output"
    recipe = image.metadata["recipe"]
    assert (recipe["model"], recipe["sha256"]) == ("random", model.sha256)
    assert recipe["normalization"] == expected.recipe["normalization"]
    assert sorted(os.listdir(tmp_path)) == sorted(["in", out.name])


def test_the_recipe_in_the_file_repeats_the_run(stack, weights, tmp_path, volume):
    from napari_lucyd.deconvolution import options_from_recipe

    restore(weights, stack, "-o", tmp_path / "o.ome.tif", "--normalization", "percentile", "--isotropic")
    image = read_image(tmp_path / "o.ome.tif")
    options = options_from_recipe(image.metadata["recipe"])
    again = nl.deconvolve(volume, nl.load_model(weights), **options)
    np.testing.assert_array_equal(again.output, image.data)


def test_parts_that_a_network_lacks_are_left_out_or_refused(stack, random_rln, tmp_path):
    path = nl.save_model(tmp_path / "rln.safetensors", random_rln.network, normalization={"method": "minmax"})
    done = restore(path, stack, "-o", tmp_path / "new.tif", "--intermediates")
    assert [Path(line).name for line in done.stdout.split()] == ["new.tif", "new_intermediate.tif"]
    asked = restore(path, stack, "-o", tmp_path / "b.tif", "--outputs", "output,update_term")
    assert asked.exit_code == 1 and not (tmp_path / "b.tif").exists()
    assert "RLN" in asked.stderr and "'output', 'intermediate'" in " ".join(asked.stderr.split())


def test_intermediates_lie_beside_the_output(stack, weights, tmp_path, volume):
    done = restore(weights, stack, "-o", tmp_path / "new.tif", "--intermediates")
    names = ["new.tif", "new_correction_mask.tif", "new_update_term.tif", "new_intermediate.tif"]
    assert [Path(line).name for line in done.stdout.split()] == names
    parts = ("output", "correction_mask", "update_term", "intermediate")
    expected = nl.deconvolve(
        volume, nl.load_model(weights), device="cpu", voxel_size=(0.12, 0.1, 0.1), axes="ZYX", outputs=parts
    )
    for part, name in zip(parts, names, strict=True):
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.data, getattr(expected, part))
        assert image.metadata["shows"] == part


def test_only_the_wanted_parts_are_written(stack, weights, tmp_path):
    done = restore(weights, stack, "-o", tmp_path / "new.tif", "--outputs", "update_term,correction_mask")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in tmp_path.glob("new*")) == [
        "new_correction_mask.tif",
        "new_update_term.tif",
    ]


def test_options_reach_the_engine(stack, weights, tmp_path):
    out = tmp_path / "o.ome.tif"
    options = [
        "--tile-shape",
        "4,6,6",
        "--halo",
        "8",
        "--normalization",
        "percentile",
        "--voxel-size",
        "0.3,0.1,0.1",
        "--precision",
        "float16",
    ]
    done = restore(weights, stack, "-o", out, *options)
    assert done.exit_code == 0, done.output
    assert "float32 is used instead of half precision" in done.stderr
    assert "receptive field" in done.stderr  # the warning about such a small halo
    image = read_image(out)
    recipe = image.metadata["recipe"]
    assert (recipe["tile_shape"], recipe["halo"], recipe["normalization"]["method"]) == (
        [4, 6, 6],
        8,
        "percentile",
    )
    assert recipe["resampling"]["factor"] == pytest.approx(3)
    assert recipe["device"]["torch"] == "cpu"
    assert image.voxel_size == pytest.approx((0.3, 0.1, 0.1))
    assert image.unit == "micrometer"
    restore(weights, stack, "-o", out, "--voxel-size", "0.3,0.1,0.1", "--no-isotropic", "--overwrite")
    assert read_image(out).metadata["recipe"]["resampling"] is None


def test_axes_can_be_corrected(weights, tmp_path, volume):
    path = tmp_path / "a.tif"
    write_image(path, np.stack([volume, volume + 50]), axes="CZYX", voxel_size=None, unit=None)
    out = tmp_path / "o.ome.tif"
    assert restore(weights, path, "-o", out, "--axes", "tzyx").exit_code == 0
    image = read_image(out)
    assert image.axes == "TZYX"
    assert len(image.metadata["recipe"]["normalization"]["lo"]) == 1  # time points share their scaling
    assert (
        restore(weights, path, "-o", out, "--axes", "tzyx", "--separate", "T", "--overwrite").exit_code == 0
    )
    assert read_image(out).metadata["recipe"]["normalization"]["lo"] == [volume.min(), volume.min() + 50]
    for wrong in ("ZYX", "PZYX", "TZZYX"):
        failed = restore(weights, path, "-o", tmp_path / "p.tif", "--axes", wrong, "--dry-run")
        assert failed.exit_code == 1
        assert f"axes '{wrong}'" in failed.stderr


def test_a_movie_that_is_a_stack_after_all_loses_its_voxel_size_unless_it_is_given(weights, tmp_path, volume):
    path = write_image(tmp_path / "t.tif", volume, axes="TYX", voxel_size=(0.1, 0.1), unit="µm")
    out = tmp_path / "o.ome.tif"
    done = restore(weights, path, "-o", out, "--axes", "ZYX")
    assert done.exit_code == 0, done.output
    assert "voxel size, 0.1 × 0.1 micrometer, has none along Z and is not used" in done.stderr
    assert "--voxel-size Z,Y,X" in done.stderr
    assert (read_image(out).axes, read_image(out).voxel_size) == ("ZYX", None)
    done = restore(weights, path, "-o", out, "--axes", "ZYX", "--voxel-size", "0.11,0.1,0.1", "--overwrite")
    assert done.exit_code == 0 and "left out" not in done.stderr
    assert read_image(out).voxel_size == (0.11, 0.1, 0.1)


def test_a_plane_and_a_whole_series(weights, tmp_path, volume):
    plane = write_image(tmp_path / "plane.tif", volume[0], axes="YX", voxel_size=(0.1, 0.1), unit="µm")
    done = restore(weights, plane, "-o", tmp_path / "p.ome.tif")
    assert done.exit_code == 0, done.output
    assert "the image is a plane, but 'random' was trained on volumes" in done.stderr
    image = read_image(tmp_path / "p.ome.tif")
    assert (image.axes, image.voxel_size, image.data.shape) == ("YX", (0.1, 0.1), SHAPE[1:])
    path = write_image(tmp_path / "p.ome.zarr", volume[None, :1], axes="TZYX", voxel_size=None, unit=None)
    done = restore(weights, path, "-o", tmp_path / "p2.tif", "--dry-run")
    assert (
        "the image is a plane, but 'random' was trained on volumes" in done.stderr
        and "not stated" not in done.stderr
    )
    series = np.stack([np.stack([volume, volume[::-1]])] * 2)
    path = write_image(tmp_path / "s.ome.zarr", series, axes="TCZYX", voxel_size=None, unit=None)
    assert restore(weights, path, "-o", tmp_path / "r.ome.zarr").exit_code == 0
    image = read_image(tmp_path / "r.ome.zarr")
    assert (image.axes, image.data.shape) == ("TCZYX", series.shape)
    np.testing.assert_array_equal(image.data[0], image.data[1])


def test_uint16_results_state_their_scaling(stack, weights, tmp_path):
    restore(weights, stack, "-o", tmp_path / "f.tif")
    restore(weights, stack, "-o", tmp_path / "u.tif", "--dtype", "uint16")
    scaled = read_image(tmp_path / "u.tif")
    stated = scaled.metadata["stored_values"]
    assert scaled.data.dtype == np.uint16
    restored = stated["offset"] + stated["scale"] * scaled.data.astype(float)
    np.testing.assert_allclose(restored, read_image(tmp_path / "f.tif").data, atol=0.51 * stated["scale"])


def test_results_that_crowd_the_memory_go_through_the_disk(stack, weights, tmp_path, monkeypatch):
    from napari_lucyd.deconvolution import scratch

    restore(weights, stack, "-o", tmp_path / "memory.tif", "--intermediates")
    monkeypatch.setattr(scratch, "SHARE", 0)
    mapped = []
    memmap = np.memmap
    monkeypatch.setattr(
        np, "memmap", lambda path, *rest, **more: mapped.append(path) or memmap(path, *rest, **more)
    )
    done = restore(weights, stack, "-o", tmp_path / "new" / "disk.tif", "--intermediates")
    assert done.exit_code == 0, done.output
    assert len(mapped) == 4
    for path in (tmp_path / "new").iterdir():
        same = tmp_path / path.name.replace("disk", "memory")
        np.testing.assert_array_equal(read_image(path).data, read_image(same).data)
    assert len(os.listdir(tmp_path / "new")) == 4
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 10}))
    done = restore(weights, stack, "-o", tmp_path / "new" / "full.tif")
    assert done.exit_code == 1
    assert "Free some space" in done.stderr


def test_a_dry_run_tells_and_writes_nothing(stack, weights, tmp_path):
    done = restore(weights, stack, "-o", tmp_path / "new" / "o.tif", "--dry-run", "--tile-shape", "6,6,6")
    assert done.exit_code == 0, done.output
    assert "Z 6 × Y 12 × X 14" in done.stderr
    assert "6 tiles of 6 × 6 × 6" in done.stderr
    assert os.listdir(tmp_path) == ["in"]


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr"])
def test_a_flash_is_named_once_and_before_the_run(weights, tmp_path, suffix):
    movie = np.random.default_rng(0).integers(100, 200, (4, 6, 12, 14)).astype("uint16")
    movie[2] = 65535
    write_image(tmp_path / "movie.ome.tif", movie, axes="TZYX", voxel_size=None, unit=None)
    for more in (["--dry-run"], []):
        done = restore(weights, tmp_path / "movie.ome.tif", "-o", tmp_path / f"o{suffix}", *more)
        assert done.exit_code == 0, done.output
        assert done.stderr.count("T 2 is") == 1


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr"])
@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("file.tif/o", "{}/file.tif/o"),
        ("folder", "is a folder that is not Zarr"),
        ("locked/o", "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_found_out_before_the_work(
    stack, weights, tmp_path, monkeypatch, suffix, out, words
):
    (tmp_path / "file.tif").touch()
    (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / "locked").mkdir()
    make = tempfile.TemporaryFile

    def refuse(*, dir):
        # File permissions do not apply to the super-user, and tests may run as such.
        if Path(dir).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied")
        return make(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    for compute in ("napari_lucyd.deconvolution.Job.steps", "napari_lucyd.out_of_core.StoreJob.steps"):
        monkeypatch.setattr(compute, lambda *arguments, **keywords: pytest.fail("computed before"))
    done = restore(weights, stack, "-o", tmp_path / f"{out}{suffix}", "--overwrite")
    assert done.exit_code == 1
    assert words.format(tmp_path) in done.stderr
    assert "Errno" not in done.stderr and "report this" not in done.stderr
    assert not any((tmp_path / "locked").iterdir())


def test_a_file_that_states_no_voxel_size_is_told_of(volume, weights, tmp_path):
    source = tmp_path / "plain.tif"
    tifffile.imwrite(source, volume, metadata={"axes": "ZYX"})
    told = restore(weights, source, "-o", tmp_path / "o.tif", "--dry-run").stderr
    assert "voxel size unknown: voxels are assumed to be cubes" in told
    for more in (["--voxel-size", "0.3,0.1,0.1"], ["--axes", "TYX", "--model", "planes"]):
        done = restore(weights, source, "-o", tmp_path / "o.tif", "--dry-run", *more)
        assert done.exit_code == 0 and "not stated" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dapi_001", "bead"])
def test_real_stacks_run_end_to_end(shared, weights, tmp_path, name):
    source = shared / "data" / f"{name}.tif"
    done = restore(weights, source, "-o", tmp_path / "o.ome.tif")
    assert done.exit_code == 0, done.output
    image = read_image(tmp_path / "o.ome.tif")
    assert image.data.shape == read_image(source).data.shape
    assert np.isfinite(image.data).all()


# ------------------------------------------------------------------------------------ several inputs, OUT


def test_a_bad_file_is_reported_and_skipped(stack, weights, tmp_path):
    bad, rgb, text = (tmp_path / "in" / name for name in ("bad.tif", "rgb.tif", "notes.txt"))
    bad.write_bytes(b"II*\0 broken")
    tifffile.imwrite(rgb, np.zeros((8, 8, 3), "uint8"), photometric="rgb")
    text.write_text("stray")
    out = tmp_path / "out"
    done = restore(weights, bad, rgb, text, tmp_path / "missing.tif", stack, "-o", out)
    assert done.exit_code == 1
    assert os.listdir(out) == ["stack_output.ome.tif"]
    for said in ("bad.tif", "colour picture", "notes.txt: not an image file", "missing.tif: no such file"):
        assert said in done.stderr
    assert "Error: 1 of 5 done, 4 failed." in done.stderr


def test_a_folder_can_be_run_again_after_new_images_came(stack, weights, tmp_path):
    folder, out = stack.parent, tmp_path / "out"
    bad = folder / "bad.tif"
    first = restore(weights, folder, "-o", out)
    assert first.exit_code == 0 and "1 of 1 done." in first.stderr
    before = (out / "stack_output.ome.tif").stat().st_mtime_ns
    again = restore(weights, folder, "-o", out)
    assert again.exit_code == 0 and "Error" not in again.stderr and not again.stdout
    assert "  stack_output.ome.tif is there from an earlier run with random" in again.stderr
    assert "\n0 of 1 done, 1 there from an earlier run. To compute existing results again" in again.stderr
    assert (out / "stack_output.ome.tif").stat().st_mtime_ns == before
    bad.write_bytes(b"II*\0 broken")
    failed = restore(weights, folder, "-o", out)
    assert failed.exit_code == 1
    assert "Error: 0 of 2 done, 1 there from an earlier run, 1 failed." in failed.stderr
    # An output alone is not all that is asked for, and neither is a result without its report.
    for more in (["--intermediates"], ["--report", tmp_path / "reports"]):
        assert "0 of 2 done, 2 failed." in restore(weights, folder, "-o", out, *more).stderr
    alone = restore(weights, stack, "-o", out / "stack_output.ome.tif")
    assert alone.exit_code == 1 and "exists already; choose another OUT or add --overwrite" in alone.stderr


def test_the_error_of_an_input_does_not_repeat_the_path_above_it(stack, weights, tmp_path):
    paths = [stack.with_name("constant.ome.tif"), stack.with_name("bad.tif")]
    empty = np.full(SHAPE, np.nan, np.float32)
    write_image(paths[0], empty, axes="ZYX", voxel_size=(0.1,) * 3, unit="µm")
    paths[1].write_bytes(b"II*\0 broken")
    lines = restore(weights, *paths, "-o", tmp_path / "out").stderr.splitlines()
    for number, path in enumerate(paths, 1):
        assert f"{path} ({number} of 2)" in lines
    errors = [line for line in lines if line.startswith("Error: ")]
    assert len(errors) == 3 and not any(str(path) in line for path in paths for line in errors)
    assert errors[0].endswith(". Skipped.") and errors[1].endswith("; skipped")
    # Without those lines, the errors name the files.
    quiet = restore(weights, *paths, "-o", tmp_path / "out", "-q").stderr
    assert all(str(path) in quiet for path in paths)


def test_an_input_that_cannot_be_opened_does_not_end_the_batch(stack, weights, tmp_path, monkeypatch):
    access = os.access  # as for any user but root
    monkeypatch.setattr(os, "access", lambda path, mode: path != "secret.tif" and access(path, mode))
    monkeypatch.chdir(tmp_path)
    Path("secret.tif").touch()
    done = restore(weights, "secret.tif", f"{'n' * 300}.tif", stack, "-o", "out", "--dry-run")
    assert done.exit_code == 1
    for said in ("Error: cannot be read", "File name too long", "1 of 3 planned, 2 failed."):
        assert said in done.stderr
    assert done.stdout.split() == [str(Path("out", "stack_output.ome.tif"))]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
def test_pipes_urls_and_standard_streams_are_refused_in_words(stack, weights, tmp_path):
    pipe = tmp_path / "in" / "pipe.ome.tif"
    os.mkfifo(pipe)
    done = restore(weights, pipe, "s3://bucket/a.ome.zarr", "-", stack, "-o", tmp_path / "out", "--dry-run")
    for said in ("is a pipe or a device", "is a URL; images are read", "from standard input; give a file"):
        assert said in done.stderr
    assert "1 of 4 planned, 3 failed." in done.stderr
    # In a folder, a pipe is no image.
    assert restore(weights, tmp_path / "in", "-o", tmp_path / "out", "--dry-run").exit_code == 0
    for out, said in (
        ("s3://bucket/a.ome.zarr", "is a URL"),
        ("-", "standard output"),
        (pipe, "a pipe or a device"),
    ):
        done = restore(weights, stack, "-o", out)
        assert done.exit_code == 2
        assert said in " ".join(done.stderr.replace("│", " ").split())
    assert os.listdir(tmp_path) == ["in"]


def test_results_are_not_deconvolved_again_with_their_folder(stack, weights, tmp_path):
    folder = stack.parent
    first = restore(weights, folder, "-o", folder, "--format", "tif", "--outputs", "output,update_term")
    assert first.exit_code == 0, first.output
    tifffile.imwrite(folder / "new.tif", np.zeros(SHAPE, "uint8"))
    again = restore(weights, folder, "-o", folder, "--format", "ome.zarr", "--dry-run")
    assert "2 files are results of lucyd and are not deconvolved again: stack_output.tif" in again.stderr
    assert [Path(path).name for path in again.stdout.split()] == [
        "new_output.ome.zarr",
        "stack_output.ome.zarr",
    ]
    assert (
        restore(weights, folder / "stack_output.tif", "-o", tmp_path / "twice.tif", "--dry-run").exit_code
        == 0
    )


@pytest.mark.parametrize("call", ["app(['deconvolve', 'a.tif', '-o', 'b.tif'])", "napari_lucyd.deconvolve"])
def test_a_missing_torch_is_explained(call):
    code = (
        "import sys; sys.modules['torch'] = None; import napari_lucyd; from napari_lucyd.cli import app; "
        "open('a.tif', 'w').close(); "
    )
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-c", code + call], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1
    assert "PyTorch cannot be loaded" in done.stderr and "pip install --force-reinstall torch" in done.stderr


def test_folders_are_searched_and_stray_files_passed_over(stack, weights, tmp_path):
    (stack.parent / "notes.txt").write_text("stray")
    (stack.parent / ".hidden.tif").write_text("stray")
    (stack.parent / "deeper").mkdir()
    done = restore(weights, stack.parent, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "Ignored 2 files that are no images: deeper, notes.txt" in done.stderr
    (stack.parent / "deeper").rmdir()
    done = restore(weights, stack.parent, "-o", tmp_path / "out", "--dry-run")
    assert "Ignored 1 file that is no image: notes.txt" in done.stderr
    assert os.listdir(tmp_path / "out") == ["stack_output.ome.tif"]


def test_inputs_of_one_name_do_not_meet(weights, tmp_path, volume):
    paths = []
    for number, folder in enumerate(("monday", "tuesday")):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "cell.tif"
        paths.append(write_image(path, volume + number, axes="ZYX", voxel_size=None, unit=None))
    done = restore(weights, *paths, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert sorted(os.listdir(tmp_path / "out")) == [
        "monday_cell_output.ome.tif",
        "tuesday_cell_output.ome.tif",
    ]
    lows = [
        read_image(path).metadata["recipe"]["normalization"]["lo"]
        for path in sorted((tmp_path / "out").iterdir())
    ]
    assert lows == [[volume.min()], [volume.min() + 1]]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/cell.tif", "b/dish.tif"], ["cell", "dish"]),
        (["a/x/cell.tif", "b/x/cell.tif"], ["a_x_cell", "b_x_cell"]),
        (["a/cell.tif", "a/cell.zarr"], ["cell_tif", "cell_zarr"]),
        (["a/cell.tif", "b/cell.tif", "a/a_cell.tif"], ["a_cell_tif", "b_cell", "a_cell_tif_2"]),
        (["a/Cell.tif", "b/cell.tif"], ["a_Cell", "b_cell"]),
        (["a/c.tif", "a/c.tif", "a/c_tif_2.tif"], ["c_tif", "c_tif_2", "c_tif_2_2"]),
    ],
)
def test_names_are_made_distinct(tmp_path, paths, names):
    assert distinct_names([tmp_path / path for path in paths]) == names


def test_an_input_named_twice_is_done_once(stack, weights, tmp_path):
    done = restore(weights, stack, stack.parent, "-o", tmp_path / "out", "--dry-run", "--tile-shape", "6,6,6")
    assert done.stdout.split() == [str(tmp_path / "out" / "stack_output.ome.tif")]


def test_what_out_means(stack, weights, tmp_path):
    def planned(*arguments):
        done = restore(weights, *arguments, "--dry-run", "-q")
        return [os.path.relpath(line, tmp_path) for line in done.stdout.splitlines()], done

    other = stack.with_name("other.zarr")
    write_image(other, np.ones(SHAPE), axes="ZYX", voxel_size=None, unit=None)
    assert planned(stack, "-o", tmp_path / "new.zarr")[0] == ["new.zarr"]
    assert planned(stack, "-o", tmp_path / "new")[0] == ["new/stack_output.ome.tif"]
    assert planned(stack, "-o", tmp_path)[0] == ["stack_output.ome.tif"]
    assert planned(stack, other, "-o", tmp_path / "new")[0] == [
        "new/stack_output.ome.tif",
        "new/other_output.ome.zarr",
    ]
    assert planned(stack, other, "-o", tmp_path / "new", "--format", "tif")[0] == [
        "new/stack_output.tif",
        "new/other_output.tif",
    ]
    assert planned(stack, other, "-o", f"{tmp_path}/run_v1.2/")[0] == [
        "run_v1.2/stack_output.ome.tif",
        "run_v1.2/other_output.ome.zarr",
    ]
    pattern = stack.with_name("st*.tif")  # as shells of Windows pass it on
    assert planned(pattern, "-o", tmp_path / "new")[0] == ["new/stack_output.ome.tif"]
    for wrong, words in (
        ((stack, other, "-o", tmp_path / "new.tif"), "name a folder"),
        ((stack, "-o", tmp_path / "new.png"), "not a kind of file"),
    ):
        lines, done = planned(*wrong)
        assert (lines, done.exit_code) == ([], 2)
        assert words in " ".join(done.stderr.replace("│", " ").split())


def test_images_of_a_plate_are_inputs_but_no_names_of_results(weights, tmp_path, volume):
    paths = [tmp_path / "plate.ome.zarr" / "A" / number / "0" for number in "12"]
    for path in paths:
        path.parent.mkdir(parents=True)
        write_image(tmp_path / "x.zarr", volume, axes="ZYX", voxel_size=None, unit=None).rename(path)
    assert "Z 6" in lucyd("info", paths[0]).output
    one = restore(weights, paths[0], "-o", tmp_path / "o.ome.zarr")
    assert one.exit_code == 0, one.output
    assert one.stdout.split() == [str(tmp_path / "o.ome.zarr")]
    both = restore(weights, *paths, "-o", tmp_path / "new", "--dry-run", "-q")
    names = [Path(line).name for line in both.stdout.split()]
    assert names == ["plate_A_1_0_output.ome.zarr", "plate_A_2_0_output.ome.zarr"]
    inside = restore(weights, paths[0], "-o", tmp_path / "free", "--dry-run", "-q")
    assert inside.stdout.split() == [str(tmp_path / "free" / "plate_A_1_0_output.ome.zarr")]


def test_an_image_in_several_files_is_done_once(weights, tmp_path, volume):
    (tmp_path / "set").mkdir()
    series = np.stack([volume, volume + 9, volume])
    write_ome_set(tmp_path / "set", [series, series[:1]])
    done = restore(weights, tmp_path / "set", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert sorted(os.listdir(tmp_path / "out")) == ["s0_T0_output.ome.tif", "s1_T0_output.ome.tif"]
    assert read_image(tmp_path / "out" / "s0_T0_output.ome.tif").data.shape == series.shape
    assert read_image(tmp_path / "out" / "s1_T0_output.ome.tif").data.shape == volume.shape
    assert (
        "2 files hold parts of the image of another file and are read with it: s0_T0.ome.tif" in done.stderr
    )


def test_an_empty_folder_is_an_error(weights, tmp_path):
    (tmp_path / "empty").mkdir()
    done = restore(weights, tmp_path / "empty", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "no image to deconvolve" in done.stderr


def test_results_are_replaced_only_when_allowed(stack, weights, tmp_path):
    out = tmp_path / "o.tif"
    out.write_text("mine")
    done = restore(weights, stack, "-o", out)
    assert done.exit_code == 1
    assert "add --overwrite" in done.stderr
    assert out.read_text() == "mine"
    assert restore(weights, stack, "-o", out, "--overwrite").exit_code == 0
    assert read_image(out).data.shape == SHAPE


def test_an_input_is_never_replaced(stack, weights):
    before = stack.read_bytes()
    done = restore(weights, stack, "-o", stack, "--overwrite")
    assert done.exit_code == 1
    assert "would replace" in done.stderr
    # A result beside its image has another name.
    assert restore(weights, stack, "-o", stack.parent, "--overwrite").exit_code == 0
    assert sorted(os.listdir(stack.parent)) == ["stack.ome.tif", "stack_output.ome.tif"]
    assert stack.read_bytes() == before


def test_results_never_meet_other_inputs_or_results(stack, weights, tmp_path):
    mask = stack.with_name("stack_correction_mask.ome.tif")
    write_image(mask, np.ones(SHAPE), axes="ZYX", voxel_size=None, unit=None)
    done = restore(weights, stack, mask, "-o", stack.parent, "--intermediates", "--overwrite")
    assert done.exit_code == 2
    assert "another input or its result" in " ".join(done.stderr.replace("│", " ").split())
    assert len(os.listdir(stack.parent)) == 2
    done = restore(weights, stack, mask, "-o", tmp_path / "out", "--intermediates", "--dry-run", "-q")
    assert len(set(done.stdout.split())) == 8


def test_what_nobody_foresaw_costs_one_file_only(stack, weights, tmp_path, volume, monkeypatch):
    from napari_lucyd.cli.shared import batch_run

    other = write_image(stack.with_name("x.tif"), volume[:3], axes="ZYX", voxel_size=None, unit=None)
    plan = batch_run.plan

    def broken(volume, *arguments, **keywords):
        if volume.shape == SHAPE:
            raise ZeroDivisionError("a bug")
        return plan(volume, *arguments, **keywords)

    monkeypatch.setattr(batch_run, "plan", broken)
    done = restore(weights, stack, other, "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "ZeroDivisionError('a bug')" in done.stderr
    assert "Traceback" in done.stderr
    assert os.listdir(tmp_path / "out") == ["x_output.ome.tif"]


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--device", "tpu"], 1, "device is 'tpu'"),
        (["--normalization", "zscore"], 2, "zscore"),
        (["--tile-shape", "big"], 2, "whole numbers"),
        (["--voxel-size", "0.1um"], 2, "numbers with commas"),
        (["--voxel-size", "0,1,1"], 2, "three positive numbers with decimal points, like 0.3,0.1,0.1"),
        (["--voxel-size", "0,3,0,1,0,1"], 2, "three positive numbers with decimal points"),
        (["--voxel-size", "0,3;0,1;0,1"], 2, "with commas and decimal points, like 0.3,0.1,0.1"),
        (["--prefilter", "0,5"], 2, "auto, or a number of voxels, like 0.5"),
        (["--microscope", "widefield", "--na", "1,4"], 2, "Write decimals with a point, such as 0.5"),
        (["--outputs", "mask"], 2, "correction_mask"),
        (["--halo", "-1"], 2, "halo"),
        (["-m", "nonesuch"], 1, "no model 'nonesuch'"),
    ],
)
def test_options_that_cannot_be_are_explained(stack, weights, tmp_path, options, status, words):
    done = restore(weights, stack, "-o", tmp_path / "o.tif", *options)
    assert done.exit_code == status
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert os.listdir(tmp_path) == ["in"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_no_partial_file(stack, weights, tmp_path, number, status):
    big = write_image(
        stack.with_name("big.tif"),
        np.random.default_rng(0).random((64, 256, 256)),
        axes="ZYX",
        voxel_size=None,
        unit=None,
    )
    out = tmp_path / "out"
    # Runners in the background start their children with Ctrl-C ignored.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from napari_lucyd.cli import app; app()"
    options = ["-m", weights, "--tile-shape", "16,16,16", "--intermediates", "--device", "cpu"]
    command = [sys.executable, "-c", code, "deconvolve", big, "-o", out, *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        heard = []
        for line in process.stderr:
            heard.append(line)
            if "Z 64" in line:  # the plan: the run starts now
                time.sleep(0.5)
                process.send_signal(number)
                break
        heard.append(process.communicate(timeout=60)[1])
    assert process.returncode == status, heard
    assert "Traceback" not in "".join(heard)
    assert [path for path in out.rglob("*") if path.is_file()] == []


# ------------------------------------------------------------------------------- models, simulate, info


def test_models_are_listed_for_people_and_programs():
    cards = nl.list_models()
    done = lucyd("models", "--json")
    assert json.loads(done.stdout) == json.loads(json.dumps(cards))
    text = lucyd("models").stdout
    for card in cards:
        assert card["name"] in text
        assert card["description"] in " ".join(text.split())
    assert "\x1b" not in text


def test_the_table_of_models_says_what_each_is_for(monkeypatch):
    card = {
        "name": "lucyd",
        "title": "Any stack",
        "description": "For real stacks.",
        "network": {"type": "rln", "dimension": 3},
        "normalization": {"method": "percentile", "low": 0.1, "high": 99.9},
        "blur_sigma_voxels": [0.3, 2.5],
        "noise_sigma": [0, 0.4706],
        "flux_kept": True,
    }
    monkeypatch.setattr("napari_lucyd.models.list_models", lambda: [card, {"name": "bare"}])
    lines = lucyd("models").stdout.splitlines()
    assert lines[2].split("  ")[0] == "lucyd (default)"
    for said in ("RLN", "3D", "percentile 0.1–99.9", "0.3–2.5", "0–0.471", "yes"):
        assert said in lines[2]
    assert "lucyd: Any stack" in lines
    assert "  For real stacks." in lines


def test_simulate_writes_truth_and_degraded_with_their_parameters(tmp_path):
    options = [
        "--shape",
        "20,24,28",
        "--blur-sigma",
        "2,1,1",
        "--noise-sigma",
        "50/255",
        "--seed",
        "7",
        "--photometric",
    ]
    done = lucyd("simulate", "-o", tmp_path / "s", *options, "--photons", "200")
    assert done.exit_code == 0, done.output
    degraded, truth = (read_image(tmp_path / "s" / f"{name}.ome.tif") for name in ("degraded", "truth"))
    phantom = nl.make_phantom((20, 24, 28), rng=7)
    expected = nl.degrade(
        phantom, blur_sigma=(2, 1, 1), noise_sigma=50 / 255, photons=200, photometric=True, rng=7
    )
    np.testing.assert_array_equal(degraded.data, expected.image)
    np.testing.assert_array_equal(truth.data, expected.truth)
    assert degraded.metadata == {"shows": "degraded", "simulation": expected.parameters}
    assert truth.metadata["simulation"]["phantom"]["rng"] == 7
    again = repeat_simulation(degraded.metadata["simulation"])
    np.testing.assert_array_equal(degraded.data, again.image)


def test_simulate_takes_a_file_and_planes(tmp_path):
    assert lucyd("simulate", "-o", f"{tmp_path}/v1.2/", "--shape", "30,40").exit_code == 0
    assert sorted(os.listdir(tmp_path / "v1.2")) == ["degraded.ome.tif", "truth.ome.tif"]
    done = lucyd("simulate", "-o", tmp_path / "p.tif", "--shape", "30,40")
    assert [Path(line).name for line in done.stdout.split()] == ["p.tif", "p_truth.tif"]
    assert read_image(tmp_path / "p.tif").axes == "YX"
    again = lucyd("simulate", "-o", tmp_path / "p.tif", "--shape", "30,40")
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    assert lucyd("simulate", "-o", tmp_path / "p.tif", "--shape", "30,40", "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("options", "keywords", "voxel"),
    [
        (["nuclei"], {}, (0.1625,) * 3),
        (["membranes", "--voxel-size", "0.6,0.3,0.3"], {"voxel_size": (0.6, 0.3, 0.3)}, (0.6, 0.3, 0.3)),
        (["light_sheet", "--sheet-fwhm-um", "2"], {"sheet_fwhm_um": 2.0}, (0.1625,) * 3),
    ],
)
def test_simulate_makes_surrogates_in_micrometres(tmp_path, options, keywords, voxel):
    done = lucyd("simulate", "-o", tmp_path, "--shape", "20,24,28", "--seed", "3", "--surrogate", *options)
    assert done.exit_code == 0, done.output
    assert f"Surrogate of {options[0]}" in done.stderr
    degraded, truth = (read_image(tmp_path / f"{name}.ome.tif") for name in ("degraded", "truth"))
    expected = nl.make_surrogate(nl.make_phantom((20, 24, 28), rng=3), options[0], rng=3, **keywords)
    np.testing.assert_array_equal(degraded.data, expected.image)
    np.testing.assert_array_equal(truth.data, expected.truth)
    assert degraded.voxel_size == truth.voxel_size == pytest.approx(voxel)
    assert degraded.unit == "micrometer"
    assert degraded.metadata == {"shows": "degraded", "simulation": expected.parameters}


def test_every_surrogate_is_a_choice():
    from typing import get_args

    from napari_lucyd.cli.shared.option_types import Specimen
    from napari_lucyd.simulation.surrogates import SpecimenKind

    assert {choice.value for choice in Specimen} == set(get_args(SpecimenKind))


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (["--shape", "4,4,4"], 1),
        (["--shape", "9999,9999,9999"], 1),
        (["--noise-sigma", "1e400"], 2),
        (["--surrogate", "actin"], 2),
        (["--surrogate", "nuclei", "--shape", "30,40"], 1),
        (["--surrogate", "nuclei", "--sheet-fwhm-um", "2"], 1),
        (["--surrogate", "nuclei", "--photons", "100"], 2),
        (["--voxel-size", "0.1"], 2),
        (["--blur-sigma", "1,2"], 1),
        (["--noise-sigma", "1/0"], 2),
        (["--noise-sigma", "1,2"], 2),
        (["-o", "s.png"], 2),
    ],
)
def test_simulate_refuses_what_cannot_be(tmp_path, monkeypatch, options, status):
    monkeypatch.chdir(tmp_path)
    done = lucyd("simulate", "-o", "s", *options)
    assert done.exit_code == status, done.output
    assert "Error" in done.stderr
    assert os.listdir(tmp_path) == []


def test_info_says_what_a_bug_report_needs():
    import torch

    text = lucyd("info").stdout
    assert text.startswith(f"napari-lucyd {nl.__version__}\n")
    for said in (
        "Python: 3.",
        "System: ",
        f"torch: {torch.__version__}",
        "Used with device 'auto': ",
        "CPU threads: ",
    ):
        assert said in text
    if not torch.cuda.is_available():
        assert "CUDA is not used: " in text
    assert str(Path.home()) not in text


def test_info_names_the_build_of_torch(monkeypatch):
    import torch

    monkeypatch.setattr(torch, "__version__", "2.99.0+cu999")
    lines = [line for line in lucyd("info").stdout.splitlines() if line.startswith("torch: ")]
    assert lines == ["torch: 2.99.0+cu999"]


def test_info_tells_what_a_file_holds(stack, weights, tmp_path):
    assert lucyd("info", stack).stdout.splitlines() == [
        "stack: Z 6 × Y 12 × X 14, uint16",
        "Voxel size: Z 0.12 × Y 0.1 × X 0.1 micrometer",
    ]
    restore(weights, stack, "-o", tmp_path / "o.tif")
    text = lucyd("info", tmp_path / "o.tif").stdout
    recipe = json.loads(text.partition("Stored by napari-lucyd:")[2])["recipe"]
    assert recipe["model"] == "random"
    failed = lucyd("info", tmp_path / "missing.tif")
    assert failed.exit_code == 1
    assert "no such file" in failed.stderr
