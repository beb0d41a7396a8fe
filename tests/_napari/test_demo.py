"""The demonstration, run as `make demo` runs it where there is no screen."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_lucyd.io import read_image, write_image

pytestmark = pytest.mark.napari


def demo(*arguments):
    command = [sys.executable, "-m", "napari_lucyd._napari.demo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_the_users_stack_becomes_a_picture_and_files(tmp_path, model_files):
    from skimage.io import imread

    stack = (1000 * np.random.default_rng(0).random((4, 30, 32))).astype(np.uint16)
    write_image(tmp_path / "my stack.ome.tif", stack, axes="ZYX", voxel_size=(0.5, 0.2, 0.2), unit="µm")
    out = tmp_path / "out"
    done = demo(tmp_path / "my stack.ome.tif", "--save", out, "--model", model_files[2])
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split("\n")[:-1]
    assert printed == [
        str(out / name)
        for name in (
            "window.png",
            "my_stack.ome.tif",
            "my_stack_output.ome.tif",
            "my_stack_correction_mask.ome.tif",
            "my_stack_update_term.ome.tif",
        )
    ]
    picture = imread(out / "window.png")
    assert picture.shape[0] > 600
    assert picture.std() > 10
    output = read_image(out / "my_stack_output.ome.tif")
    assert output.data.shape == stack.shape
    assert output.voxel_size == pytest.approx((0.5, 0.2, 0.2))
    assert output.metadata["model"] == "random-2d"
    np.testing.assert_array_equal(read_image(out / "my_stack.ome.tif").data, stack)


def test_a_file_that_is_no_image_is_told_of(tmp_path):
    path = tmp_path / "notes.tif"
    path.write_text("no image")
    done = demo(path, "--save", tmp_path / "out")
    assert done.returncode == 1
    assert "notes.tif" in done.stderr
    assert not (tmp_path / "out").exists()
