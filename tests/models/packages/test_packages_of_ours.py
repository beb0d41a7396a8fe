"""Packages that this program exported, loaded again: the picture of `deconvolve` with the model itself."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_lucyd as nl
from exporter import needs_exporter
from napari_lucyd.cli import app
from napari_lucyd.deconvolution import first_estimate
from napari_lucyd.io import read_image, write_image
from napari_lucyd.psf.gaussian import gaussian_psf

pytest.importorskip("onnxruntime")
pytestmark = needs_exporter

# As docs/guide/other-programs.md says: 0.01 % of the range.
TOLERANCE = 1e-4
SHAPES = {"lucyd": (20, 24, 30), "lucyd-planes": (40, 33)}


def lucyd(*words: object) -> None:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("name", list(SHAPES))
@pytest.mark.parametrize("inside", [False, True], ids=["told the blur", "blur inside"])
def test_a_package_of_a_model_on_first_estimates_gives_the_picture_of_the_model(tmp_path, name, inside):
    shape = SHAPES[name]
    sigmas = (1.6, 1.1, 1.4)[-len(shape) :]
    truth = nl.make_phantom(shape, spheres=4, ellipsoids=2, boxes=4, rng=5)
    # Strong noise needs few iterations, and an export with few iterations is fast.
    light = nl.degrade(truth, blur_sigma=1.3, noise_sigma=0.1, rng=1).image * 900 + 100
    image = light.clip(0).astype(np.uint16)
    expected = nl.deconvolve(image, name, blur_sigma=sigmas, device="cpu")
    # A package has a fixed number of iterations; `deconvolve` chooses it by the noise of the image.
    num_iter = first_estimate(image.astype(np.float32), gaussian_psf(sigmas)).num_iter
    package, told = tmp_path / "ours.zip", ["--blur-sigma", ",".join(map(str, sigmas))]
    lucyd("export", name, "-o", package, "--num-iter", num_iter, *(told if inside else []))

    model = nl.load_model(package)
    result = nl.deconvolve(image, model, **({} if inside else {"blur_sigma": sigmas}))
    difference = np.abs(result.output - expected.output).max()
    assert difference <= TOLERANCE * np.ptp(expected.output)
    # The blur matters: otherwise a package that ignores it would pass.
    other = nl.deconvolve(image, name, blur_sigma=0.8, device="cpu").output
    assert np.abs(result.output - other).max() > 100 * difference

    write_image(tmp_path / "image.tif", image, axes="ZYX"[-len(shape) :], voxel_size=None, unit=None)
    restored = tmp_path / "restored.ome.tif"
    lucyd(
        *("deconvolve", tmp_path / "image.tif", "-o", restored, "--model", package),
        *([] if inside else told),
    )
    assert np.array_equal(np.asarray(read_image(restored).data), result.output)
