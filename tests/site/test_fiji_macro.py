"""The macro for Fiji in ImageJ itself, with a stand-in for deepImageJ, which no package registry has."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_lucyd as nl
from exporter import needs_exporter
from napari_lucyd.deconvolution import first_estimate
from napari_lucyd.io import read_image, write_image
from napari_lucyd.psf.gaussian import gaussian_psf

pytestmark = needs_exporter
pytest.importorskip("onnxruntime")

ROOT = Path(__file__).parents[2]
MACRO = ROOT / "examples" / "restore_in_fiji.ijm"
STAND_IN = ROOT / "tests" / "support" / "stand_in_for_deepimagej.py"
IMAGEJ = Path("/usr/share/java/ij.jar")
SIGMAS = (1.5, 1.3)


@pytest.fixture(scope="module")
def stack() -> np.ndarray:
    truth = nl.make_phantom((40, 48), spheres=4, ellipsoids=3, boxes=8, rng=2)
    image = nl.degrade(truth, blur_sigma=SIGMAS, noise_sigma=0.03, rng=1).image
    return (100 + 1000 * image.clip(0)).round().astype(np.uint16)


@pytest.fixture(scope="module")
def package(tmp_path_factory, stack) -> Path:
    """An unpacked package of ``lucyd-planes``: blur inside, and the iterations that `deconvolve` takes."""
    folder = tmp_path_factory.mktemp("a model")
    num_iter = first_estimate(stack.astype(np.float32), gaussian_psf(SIGMAS)).num_iter
    file = nl.export_model("lucyd-planes", folder / "lucyd.zip", num_iter=num_iter, blur_sigma=SIGMAS)
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder)
    return folder


def call_of_deepimagej() -> tuple[str, str]:
    """The line that runs deepImageJ, and the expression of its options."""
    (line,) = [line for line in MACRO.read_text("utf-8").splitlines() if line.startswith('run("DeepImageJ')]
    return line, line.removeprefix('run("DeepImageJ Run", ').removesuffix(");")


def test_the_macro_names_what_the_package_has(package):
    import json

    described = json.loads((package / "rdf.yaml").read_text("utf-8"))
    text = MACRO.read_text("utf-8")
    assert 'OUTPUT = "output";' in text
    assert described["outputs"][0]["id"] == "output"
    sizes = {axis["id"]: axis["size"] for axis in described["inputs"][0]["axes"] if axis["type"] == "space"}
    assert sizes["x"]["min"] == sizes["y"]["min"] == 8
    assert "LEAST = 8;" in text
    # deepImageJ's macro gives one image, and reads these options.
    assert len(described["inputs"]) == 1
    _, options = call_of_deepimagej()
    for name in ("model_path=[", "input_path=[", "output_folder=[", "display_output="):
        assert name in options
    assert "rdf.yaml" in text


@pytest.fixture
def run_macro(tmp_path):
    """A function that runs the macro in ImageJ, with the stand-in, and returns what was said."""
    java, screen = shutil.which("java"), shutil.which("xvfb-run")
    if not (IMAGEJ.is_file() and java and screen):
        pytest.skip("ImageJ is not installed; on Debian: apt-get install imagej xvfb")
    line, options = call_of_deepimagej()
    replaced = f'exec("{sys.executable}", "{STAND_IN}", {options});'
    macro = tmp_path / "macro.ijm"
    macro.write_text(MACRO.read_text("utf-8").replace(line, replaced), "utf-8")

    def run(*paths: Path) -> str:
        argument = ",".join(map(str, paths))
        command = [screen, "-a", java, "-cp", str(IMAGEJ), "ij.ImageJ", "-batch", str(macro), argument]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=tmp_path)
        return done.stdout + done.stderr

    return run


def test_the_macro_restores_a_plane_as_deconvolve_does(run_macro, package, stack, tmp_path):
    results = tmp_path / "my results"
    results.mkdir()
    source = tmp_path / "a plane.tif"
    write_image(source, stack, axes="YX", voxel_size=(0.1, 0.1), unit="micrometer")
    said = run_macro(package, source, results)
    saved = results / "a plane-restored.tif"
    assert saved.is_file(), said
    restored = read_image(saved)
    assert restored.voxel_size == pytest.approx((0.1, 0.1))
    expected = nl.deconvolve(stack, "lucyd-planes", blur_sigma=SIGMAS, device="cpu").output
    deviation = np.abs(restored.data - expected).max() / np.ptp(expected)
    print(f"macro and deconvolve differ by {deviation:.1e} of the range")
    assert deviation <= 3e-5
    # Nothing is overwritten.
    before = saved.read_bytes()
    run_macro(package, source, results)
    assert saved.read_bytes() == before


def test_the_macro_refuses_an_image_with_channels(run_macro, package, stack, tmp_path):
    source = tmp_path / "two.tif"
    tifffile.imwrite(source, np.stack([stack, stack]), imagej=True, metadata={"axes": "CYX"})
    run_macro(package, source, tmp_path)
    assert not list(tmp_path.glob("*-restored.tif"))
