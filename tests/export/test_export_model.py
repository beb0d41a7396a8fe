"""Files for other programs: ONNX runs in onnxruntime, TorchScript in torch, a package describes itself."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import warnings
import zipfile

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import napari_lucyd as nl
from exporter import needs_exporter
from napari_lucyd.cli import app
from napari_lucyd.export.onnx_file import graph_of
from napari_lucyd.io import ImageFileError

ort = pytest.importorskip("onnxruntime")
pytestmark = needs_exporter


@pytest.fixture(scope="module")
def package(tmp_path_factory, model_files):
    """A package that the command line wrote, of the model `random_model_2d`."""
    out = tmp_path_factory.mktemp("export") / "random.zip"
    done = CliRunner().invoke(app, ["export", str(model_files[2]), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [str(out)]
    return out


@pytest.fixture(scope="module")
def files(package):
    with zipfile.ZipFile(package) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_onnx_gives_the_same_picture_at_any_size(files, random_model_2d):
    graph, session = graph_of(random_model_2d), ort.InferenceSession(files["weights.onnx"])
    assert [entry.name for entry in session.get_outputs()] == graph.outputs
    for shape in ((18, 22), (31, 9)):
        image = np.random.default_rng(0).gamma(2, 100, (1, 1, *shape)).astype(np.float32)
        with torch.inference_mode():
            expected = graph(torch.from_numpy(image))
        for part, wanted in zip(session.run(None, {"image": image}), expected, strict=True):
            assert np.abs(part - wanted.numpy()).max() <= 1e-5 * np.ptp(wanted.numpy())


def test_torchscript_gives_the_same_picture_at_another_size(files, random_model_2d):
    graph = graph_of(random_model_2d)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch prefers other formats by now
        script = torch.jit.load(io.BytesIO(files["weights.torchscript"]))
    image = torch.rand((1, 1, 31, 20))
    with torch.inference_mode():
        for part, wanted in zip(script(image), graph(image), strict=True):
            torch.testing.assert_close(part, wanted, atol=1e-5, rtol=1e-5)


def test_the_description_names_every_file_with_its_checksum(files):
    described = json.loads(files["rdf.yaml"])
    named = {}

    def collect(entry):
        if isinstance(entry, dict):
            if "sha256" in entry:
                named[entry["source"]] = entry["sha256"]
            for value in entry.values():
                collect(value)
        elif isinstance(entry, list):
            for value in entry:
                collect(value)

    collect(described)
    for name, checksum in named.items():
        assert hashlib.sha256(files[name]).hexdigest() == checksum
    listed = {*named, "rdf.yaml", described["documentation"], *described["covers"]}
    assert listed == set(files)


def test_the_test_tensors_are_input_and_output_of_the_model(files, random_model_2d):
    image, output = (np.load(io.BytesIO(files[f"test_{name}.npy"])) for name in ("image", "output"))
    with torch.inference_mode():
        parts = graph_of(random_model_2d)(torch.from_numpy(image))
    np.testing.assert_array_equal(parts[0].numpy(), output)


def test_a_model_on_first_estimates_takes_the_blur_as_an_input(tmp_path):
    file = nl.export_model("lucyd-planes", tmp_path / "lucyd.onnx", num_iter=1)
    session = ort.InferenceSession(file)
    assert [entry.name for entry in session.get_inputs()] == ["image", "blur_sigma"]
    graph = graph_of(nl.load_model("lucyd-planes"), 1)
    # With an object in it: the output of a flat field is so even that rounding is a part of its range.
    light = np.full((1, 1, 27, 40), 50)
    light[..., 9:16, 12:24] = 500
    image = np.random.default_rng(0).poisson(light).astype(np.float32)
    sigmas = np.float32([1.3, 2.1])
    with torch.inference_mode():
        expected = graph(torch.from_numpy(image), torch.from_numpy(sigmas))
    for part, wanted in zip(session.run(None, {"image": image, "blur_sigma": sigmas}), expected, strict=True):
        assert np.abs(part - wanted.numpy()).max() <= 1e-5 * np.ptp(wanted.numpy())


def test_a_package_for_programs_that_give_one_image_has_its_blur_inside(tmp_path):
    out = tmp_path / "lucyd.zip"
    command = ["export", "lucyd-planes", "-o", str(out), "--blur-sigma", "1.3,2.1", "--num-iter", "1"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    with zipfile.ZipFile(out) as archive:
        described = json.loads(archive.read("rdf.yaml"))
        session = ort.InferenceSession(archive.read("weights.onnx"))
        image = np.load(io.BytesIO(archive.read("test_image.npy")))
        output = np.load(io.BytesIO(archive.read("test_output.npy")))
        assert "made for the standard deviations" in archive.read("README.md").decode()
        assert "test_blur_sigma.npy" not in archive.namelist()
    assert [entry["id"] for entry in described["inputs"]] == ["image"]
    assert [entry.name for entry in session.get_inputs()] == ["image"]
    built = described["weights"]["pytorch_state_dict"]["architecture"]["kwargs"]
    assert built["blur_sigma"] == [1.3, 2.1]
    graph = graph_of(nl.load_model("lucyd-planes"), 1)
    with torch.inference_mode():
        expected = graph(torch.from_numpy(image), torch.tensor([1.3, 2.1]))[0].numpy()
    np.testing.assert_array_equal(output, expected)
    assert np.abs(session.run(["output"], {"image": image})[0] - expected).max() <= 1e-5 * np.ptp(expected)


def test_existing_files_and_other_suffixes_are_refused(package, random_model_2d, tmp_path):
    before = package.read_bytes()
    with pytest.raises(ImageFileError, match="exists"):
        nl.export_model(random_model_2d, package)
    done = CliRunner().invoke(app, ["export", "nosuch", "-o", str(tmp_path / "model.onnx")])
    assert done.exit_code == 1
    assert "nosuch" in done.stderr
    assert package.read_bytes() == before
    with pytest.raises(ValueError, match=r"ends in \.onnx or \.zip"):
        nl.export_model(random_model_2d, tmp_path / "model.h5")


def test_torch_that_is_too_old_is_named_and_nothing_is_left(tmp_path, monkeypatch, random_model_2d):
    monkeypatch.setattr(torch, "__version__", "2.7.1+cpu")
    with pytest.raises(ImportError, match=r"needs torch 2.8 or newer, and torch 2.7.1\+cpu is installed"):
        nl.export_model(random_model_2d, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_missing_onnx_is_named_and_nothing_is_left(tmp_path, monkeypatch, random_model_2d):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"napari-lucyd\[export\]"):
        nl.export_model(random_model_2d, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
