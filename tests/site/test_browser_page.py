"""The browser page: built with its parts, and driven in a headless Chromium, where there is one.

``make browser-test`` installs Chromium and runs this file.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_lucyd as nl
from napari_lucyd.deconvolution import first_estimate
from napari_lucyd.io import read_image
from napari_lucyd.psf.gaussian import gaussian_psf

pytest.importorskip("mkdocs")
pytest.importorskip("onnxscript")

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "browser"
SCRIPTS = Path(__file__).parent
BLUR = 1.5
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Folder for the picture of the docs; see docs/development.md.
PICTURES = os.environ.get("LUCYD_PICTURES")
# Share of the range by which the page may differ from `deconvolve`.
TOLERANCE = 1e-3


@pytest.fixture(scope="session")
def site(tmp_path_factory, packages) -> Path:
    """The site, built without the Python reference, which takes long."""
    folder = tmp_path_factory.mktemp("site")
    config = folder / "mkdocs.yml"
    settings = {
        "INHERIT": str(ROOT / "mkdocs.yml"),
        "docs_dir": str(ROOT / "docs"),
        "site_dir": str(folder / "site"),
        "hooks": [str(ROOT / "scripts" / "browser" / "site_parts.py")],
        "plugins": ["search"],
        "strict": False,
    }
    config.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "-f", str(config)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "site"


@pytest.fixture(scope="session")
def catalogue(site):
    return json.loads((site / "browser" / "models.json").read_text("utf-8"))


def test_the_built_site_has_the_page_and_all_that_it_loads(site, catalogue):
    page = (site / "browser" / "index.html").read_text("utf-8")
    # The scripts find their controls by these names.
    named = set(re.findall(r'id="lucyd-([\w-]+)"', page))
    for script in SITE.glob("*.mjs"):
        assert (site / "browser" / script.name).is_file()
        text = script.read_text("utf-8")
        for module in re.findall(r'from "\./([\w.]+)"', text):
            assert (SITE / module).is_file(), module
        for name in re.findall(r'element\("([\w-]+)"\)', text):
            assert name in named, name
    for entry in (catalogue["runtime"], catalogue["sample"], *catalogue["models"].values()):
        assert (site / "browser" / entry["file"]).is_file()
        assert entry["bytes"] >= (site / "browser" / entry["file"]).stat().st_size
    wanted = {method[kind] for method in catalogue["methods"].values() for kind in ("stack", "plane")}
    assert wanted == set(catalogue["models"])
    text = (SITE / "index.md").read_text("utf-8")
    assert set(catalogue["methods"]) == set(re.findall(r'<option value="(\w+)">\w+:', text))
    assert f"{catalogue['runtime']['bytes'] / 1e6:.0f} MB" in text
    assert max(entry["bytes"] for entry in catalogue["models"].values()) <= 1e6, "at most 1 MB, says the page"


def test_nothing_is_loaded_from_another_server(site):
    text = (site / "browser" / "index.html").read_text("utf-8")
    loaded = re.findall(r'<(?:script|link|img)\b[^>]*(?:src|href)="(https?://[^"]+)"', text)
    assert not loaded
    for script in SITE.glob("*.mjs"):
        assert "http" not in script.read_text("utf-8"), script


def test_scripts_have_no_syntax_errors(run_node):
    import node

    for script in (*SITE.glob("*.mjs"), *SCRIPTS.glob("*.mjs")):
        subprocess.run([node.find("node"), "--check", str(script)], check=True, capture_output=True)


def test_a_site_without_npm_is_built_and_knows_that_its_runtime_is_missing(tmp_path, monkeypatch):
    import site_parts

    def fail(folder):
        raise RuntimeError("npm was not found")

    monkeypatch.setattr(site_parts.node, "packages", fail)
    monkeypatch.setattr(site_parts, "_models", lambda folder: [])
    files = site_parts.make_parts(tmp_path)
    assert json.loads((tmp_path / "models.json").read_text())["runtime"] is None
    assert {path.name for path in files} == {"models.json", "sample.tif"}


@pytest.mark.parametrize("name", ["lucyd", "lucyd-planes", "general", "planes"])
def test_memory_is_at_most_what_the_page_says(name, site, catalogue, packages, run_node):
    script = packages / "memory.mjs"
    shutil.copyfile(SCRIPTS / "memory.mjs", script)
    shape = (900, 900) if "planes" in name else (24, 160, 160)
    model = site / "browser" / catalogue["models"][name]["file"]
    found = run_node(script, SITE / "limits.mjs", model, name, *shape)
    # The constants are neither too small, nor so large that images are refused needlessly.
    assert 0.6 * found["said"] <= found["used"] <= found["said"], found


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files that does not print what is asked for."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def address(site):
    """The address of the site, served on this computer."""
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/browser/"
        server.shutdown()


@pytest.fixture
def visit(address, packages, run_node, tmp_path):
    """A function that carries out steps on the page and returns what was seen."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed; run: make browser-test")
    script = packages / "drive_page.mjs"
    shutil.copyfile(SCRIPTS / "drive_page.mjs", script)

    def run(*steps):
        request = tmp_path / "request.json"
        opened = {"kind": "open", "url": address}
        before, rest = ([steps[0]], steps[1:]) if steps[0]["kind"] == "block" else ([], steps)
        request.write_text(json.dumps({"steps": [*before, opened, *rest]}))
        seen = run_node(script, CHROMIUM, tmp_path / "profile", request)
        assert "failure" not in seen, seen["failure"]
        # Nothing is sent, and nothing comes from elsewhere.
        home = (address.removesuffix("browser/"), "blob:")
        assert all(sent["method"] == "GET" and sent["url"].startswith(home) for sent in seen["requests"])
        return seen

    return run


def step(kind, **details):
    return {"kind": kind, **details}


@pytest.fixture(scope="session")
def sample():
    import site_parts

    return site_parts.sample_image()


def test_the_sample_is_restored_as_deconvolve_does(visit, sample, tmp_path):
    # The picture is that of `deconvolve` if the image wants the number of iterations that the model has.
    image = sample.astype(np.float32)
    from napari_lucyd.export.onnx_file import graph_of

    wanted = first_estimate(image, gaussian_psf((BLUR,) * 3)).num_iter
    assert wanted == graph_of(nl.load_model("lucyd")).num_iter
    parts = ("output", "first_estimate")
    expected = nl.deconvolve(image, "lucyd", blur_sigma=BLUR, device="cpu", outputs=parts)

    seen = visit(
        step("wait", target="file", text="No file"),
        step("click", target="sample"),
        step("enabled", target="run"),
        step("text", target="file"),
        step("text", target="estimate"),
        step("click", target="run"),
        step("wait", target="progress", text="^Done"),
        step("text", target="progress"),
        step("screenshot", target="controls", file=str(Path(PICTURES or tmp_path) / "browser.png")),
        step("save", target="save", file=str(tmp_path / "float.tif")),
        step("select", target="part", value="first_estimate"),
        step("save", target="save", file=str(tmp_path / "estimate.tif")),
        step("select", target="part", value="output"),
        step("select", target="format", value="uint16"),
        step("save", target="save", file=str(tmp_path / "sixteen.tif")),
        step("text", target="saved"),
        step("evaluate", code="document.querySelectorAll('#lucyd-pictures canvas').length"),
    )
    file, estimate, progress, saved, pictures = seen["texts"]
    assert "24 planes of 96 × 96 pixels, uint16, voxel 0.100 × 0.100 × 0.100 µm" in file
    assert re.search(r"MB of memory and about [\d.]+ s", estimate)
    assert re.search(r"Done in [\d.]+ s: 0.22 million voxels", progress)
    assert pictures == 3
    assert not seen["errors"]
    assert seen["saved"] == ["sample-output.tif", "sample-first-estimate.tif", "sample-output-16-bit.tif"]

    output = read_image(tmp_path / "float.tif")
    assert output.voxel_size == pytest.approx((0.1, 0.1, 0.1))
    deviation = np.abs(output.data - expected.output).max() / np.ptp(expected.output)
    first = np.abs(tifffile.imread(tmp_path / "estimate.tif") - expected.first_estimate).max()
    print(f"browser and deconvolve differ by {deviation:.1e} of the range")
    assert deviation <= TOLERANCE
    assert first <= TOLERANCE * np.ptp(expected.first_estimate)
    codes = tifffile.imread(tmp_path / "sixteen.tif").astype(np.float64)
    offset, scale = re.search(r"stands for ([\d.]+) \+ ([\d.]+) · v", saved).groups()
    assert np.abs(float(offset) + float(scale) * codes - output.data).max() <= 0.01 * np.ptp(output.data)


def test_a_dropped_plane_of_two_channels_is_denoised_as_deconvolve_does(visit, sample, tmp_path):
    planes = np.stack([sample[12], sample[8][::-1]])
    file = tmp_path / "planes.tif"
    tifffile.imwrite(file, planes, imagej=True, metadata={"axes": "CYX"}, compression="zlib")
    expected = nl.deconvolve(planes[1].astype(np.float32), "planes", device="cpu").output
    seen = visit(
        step("wait", target="file", text="No file"),
        step("select", target="method", value="denoise"),
        step("drop", file=str(file), name="planes.tif"),
        step("enabled", target="run"),
        step("text", target="file"),
        step("set", target="channel", value=2),
        step("click", target="run"),
        step("wait", target="progress", text="^Done"),
        step("save", target="save", file=str(tmp_path / "out.tif")),
    )
    assert "2 channels" in seen["texts"][0]
    deviation = np.abs(tifffile.imread(tmp_path / "out.tif") - expected).max() / np.ptp(expected)
    print(f"browser and deconvolve differ by {deviation:.1e} of the range")
    assert deviation <= TOLERANCE


def test_what_cannot_be_done_is_said_and_a_cancel_keeps_the_page_usable(visit, sample, tmp_path):
    large = tmp_path / "large.tif"
    # 6 GB of description, and no byte of voxels: nothing of it may be read.
    tifffile.imwrite(large, shape=(300, 3000, 3000), dtype=np.uint16, bigtiff=True, photometric="minisblack")
    (tmp_path / "notes.tif").write_text("no image")
    tifffile.imwrite(tmp_path / "wide.tif", np.tile(sample, (1, 3, 3)), photometric="minisblack")
    seen = visit(
        step("wait", target="file", text="No file"),
        step("choose", file=str(tmp_path / "notes.tif")),
        step("wait", target="file", text="not a TIFF"),
        step("choose", file=str(large)),
        step("wait", target="estimate", text="memory"),
        step("text", target="estimate"),
        step("evaluate", code="document.querySelector('#lucyd-run').disabled"),
        step("choose", file=str(tmp_path / "wide.tif")),
        step("enabled", target="run"),
        step("set", target="sigma-z", value=7),
        step("click", target="run"),
        step("wait", target="progress", text="from 0 to 3"),
        step("set", target="sigma-z", value=1.5),
        step("click", target="run"),
        step("wait", target="progress", text="Running"),
        step("click", target="cancel"),
        step("enabled", target="run"),
        step("text", target="progress"),
    )
    refused, disabled, cancelled = seen["texts"]
    assert re.search(r"needs [\d.]+ GB of memory here.*With 300 planes, the limit is \d+ × \d+", refused)
    assert disabled
    assert cancelled == "Cancelled."


def test_a_runtime_that_cannot_be_loaded_is_said_in_words(visit):
    seen = visit(
        step("block", pattern="**/*.wasm"),
        step("wait", target="file", text="No file"),
        step("click", target="sample"),
        step("wait", target="estimate", text="could not be loaded"),
        step("text", target="estimate"),
    )
    assert "onnxruntime-web" in seen["texts"][0]
