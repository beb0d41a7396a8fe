"""The example that runs an exported model in Node gives the picture of `deconvolve`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import napari_lucyd as nl
from exporter import needs_exporter
from napari_lucyd.deconvolution import first_estimate
from napari_lucyd.io import read_image, write_image
from napari_lucyd.psf.gaussian import gaussian_psf

pytestmark = needs_exporter

ROOT = Path(__file__).parents[2]
SIGMAS = (2.0, 1.4, 1.3)
# Share of the range; the same rounding as in tests/export.
TOLERANCE = 3e-5


@pytest.fixture
def example(packages) -> Path:
    """The example beside the packages that it imports, with the TIFF modules where it looks for them."""
    for path in (ROOT / "docs" / "browser").glob("tiff_*.mjs"):
        target = packages / "example" / "docs" / "browser" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    script = packages / "example" / "examples" / "restore_with_onnxruntime.mjs"
    script.parent.mkdir(exist_ok=True)
    shutil.copyfile(ROOT / "examples" / script.name, script)
    return script


@pytest.mark.parametrize("model", ["lucyd", "general", "planes"])
def test_node_restores_a_stack_as_deconvolve_does(model, example, run_node, tmp_path):
    truth = nl.make_phantom((20, 36, 40), spheres=4, ellipsoids=3, boxes=8, rng=2)
    image = nl.degrade(truth, blur_sigma=1.4, noise_sigma=0.03, rng=1).image * 1000 + 100
    image = image.round().clip(0).astype(np.uint16)
    blur = {}
    num_iter = None
    if model == "planes":
        image = image[9]
    if model == "lucyd":
        blur = {"blur_sigma": SIGMAS}
        num_iter = first_estimate(image.astype(np.float32), gaussian_psf(SIGMAS)).num_iter
    axes = "ZYX"[-image.ndim :]
    steps = (0.3, 0.1, 0.1)[-image.ndim :]
    write_image(tmp_path / "stack.tif", image, axes=axes, voxel_size=steps, unit="micrometer")
    file = nl.export_model(model, tmp_path / "model.onnx", num_iter=num_iter)
    out = tmp_path / "out.tif"
    run_node(example, file, tmp_path / "stack.tif", out, *(SIGMAS if blur else ()))

    expected = nl.deconvolve(image, model, axes=axes, device="cpu", **blur).output
    restored = read_image(out)
    assert restored.voxel_size[-1] == pytest.approx(0.1)
    deviation = np.abs(restored.data.reshape(expected.shape) - expected).max() / np.ptp(expected)
    print(f"{model}: Node and deconvolve differ by {deviation:.1e} of the range")
    assert deviation <= TOLERANCE
