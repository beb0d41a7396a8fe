"""bioimage.io packages as models: the same picture as their network, also in tiles, or a reason why not."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch

import napari_lucyd as nl
from napari_lucyd.deconvolution import DeconvolutionError, plan
from napari_lucyd.io import read_image, write_image

pytest.importorskip("onnxruntime")

from exporter import needs_exporter
from small_packages import Told, Unet, description, onnx_of, write_package

STANDARD = {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["z", "y", "x"]}}
FIXED = "fixed_zero_mean_unit_variance"
RANGE = {"id": "scale_range", "kwargs": {"min_percentile": 2, "max_percentile": 99.8}}


@pytest.fixture(scope="module")
def graphs() -> dict[int, bytes]:
    return {dimension: onnx_of(Unet(dimension), dimension) for dimension in (2, 3)}


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    truth = nl.make_phantom((20, 40, 44), spheres=5, ellipsoids=2, boxes=8, rng=5)
    return (nl.degrade(truth, blur_sigma=1.2, noise_sigma=0.03, rng=1).image * 900 + 100).astype(np.uint16)


def run(network: torch.nn.Module, values: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network.eval()(torch.from_numpy(values.astype(np.float32))[None, None])[0, 0].numpy()


@needs_exporter
def test_a_package_of_ours_gives_the_picture_of_the_model(tmp_path, image):
    nl.export_model("planes", tmp_path / "planes.zip")
    imported = nl.load_model(tmp_path / "planes.zip")
    assert imported.network.whole  # its scaling is in the graph
    expected = nl.deconvolve(image[6], "planes", device="cpu").output
    found = nl.deconvolve(image[6], imported, device="cpu").output
    assert np.abs(found - expected).max() < 1e-4 * np.ptp(expected)


def test_a_package_is_told_the_blur(tmp_path, image):
    described = description(2)
    sigma = {"id": "blur_sigma", "axes": [{"type": "index", "size": 2}]}
    described["inputs"] = [*described["inputs"], sigma]
    model = nl.load_model(write_package(tmp_path / "told.zip", described, onnx_of(Told(), 2, sigma=True)))
    with pytest.raises(ValueError, match="needs blur_sigma"):
        plan(image[6], model)
    with pytest.raises(ValueError, match="one along each of YX"):
        plan(image[6], model, blur_sigma=(1, 1, 1))
    result = nl.deconvolve(image[6], model, blur_sigma=(1.2, 3))
    assert result.recipe["blur_sigma"] == pytest.approx([1.2, 3])
    assert np.abs(result.output - (image[6] * 1.2 + 3)).max() < 0.01


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("before", [STANDARD, RANGE], ids=["standard", "range"])
def test_tiles_give_the_picture_of_the_whole(tmp_path, graphs, image, dimension, before):
    values = image if dimension == 3 else image[5]
    file = write_package(tmp_path / "tiny.zip", description(dimension, before=[before]), graphs[dimension])
    model = nl.load_model(file)
    assert not model.network.whole
    if before is STANDARD:
        lo, s = values.mean(), values.std()
    else:
        lo, high = np.percentile(values, (2, 99.8))
        s = high - lo
    expected = run(Unet(dimension), (values - lo) / s) * s + lo
    whole = nl.deconvolve(values, model, tile_shape=values.shape)
    tiled = nl.deconvolve(values, model, tile_shape=(4, 8, 12)[-dimension:])
    assert np.abs(whole.output - expected).max() < 1e-4 * np.ptp(expected)
    assert np.abs(tiled.output - whole.output).max() < 1e-5 * np.ptp(expected)
    assert tiled.recipe["normalization"]["s"] == pytest.approx([s], rel=1e-6)


def test_a_folder_and_a_description_are_packages_and_steps_are_done(tmp_path, graphs, image):
    before = [
        {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}},
        {"id": "scale_linear", "kwargs": {"gain": 0.001, "offset": -0.1}},
        {"id": "clip", "kwargs": {"min": 0.0, "max": 0.8}},
    ]
    after = [{"id": "scale_linear", "kwargs": {"gain": 1000.0, "offset": 100.0}}]
    file = write_package(tmp_path / "tiny.zip", description(2, before=before, after=after), graphs[2])
    with zipfile.ZipFile(file) as package:
        package.extractall(tmp_path / "tiny")
    scaled = np.clip(image[5] * 0.001 - 0.1, 0, 0.8)
    expected = run(Unet(2), scaled) * 1000 + 100
    for path in (file, tmp_path / "tiny", tmp_path / "tiny" / "rdf.yaml"):
        found = nl.deconvolve(image[5], nl.load_model(path)).output
        assert np.abs(found - expected).max() < 1e-4 * np.ptp(expected)


def test_scaling_by_fixed_numbers_is_done_before_and_after_the_network(tmp_path, graphs, image):
    before = [{"id": FIXED, "kwargs": {"mean": 100.0, "std": [400.0]}}]
    after = [{"id": FIXED, "kwargs": {"mean": -0.5, "std": 0.25}}]
    file = write_package(tmp_path / "fixed.zip", description(2, before=before, after=after), graphs[2])
    expected = (run(Unet(2), (image[5] - 100.0) / 400) + 0.5) / 0.25
    found = nl.deconvolve(image[5], nl.load_model(file)).output
    assert np.abs(found - expected).max() < 1e-4 * np.ptp(expected)


def test_version_0_4_is_read(tmp_path, graphs, image):
    described = {
        "type": "model",
        "format_version": "0.4.10",
        "name": "old",
        "inputs": [
            {
                "name": "image",
                "axes": "bcyx",
                "shape": {"min": [1, 1, 4, 4], "step": [0, 0, 2, 2]},
                "preprocessing": [
                    {"name": "zero_mean_unit_variance", "kwargs": {"mode": "per_sample", "axes": "yx"}}
                ],
            }
        ],
        "outputs": [
            {
                "name": "restored",
                "axes": "bcyx",
                "shape": {"reference_tensor": "image", "scale": [1] * 4, "offset": [0] * 4},
            }
        ],
        "weights": {"onnx": {"source": "weights.onnx"}},
    }
    model = nl.load_model(write_package(tmp_path / "old.zip", described, graphs[2]))
    lo, s = image[5].mean(), image[5].std()
    expected = run(Unet(2), (image[5] - lo) / s) * s + lo
    assert np.abs(nl.deconvolve(image[5], model).output - expected).max() < 1e-4 * np.ptp(expected)


def test_the_command_line_runs_a_package(tmp_path, graphs, image):
    from typer.testing import CliRunner

    from napari_lucyd.cli import app

    file = write_package(tmp_path / "tiny.zip", description(3, before=[STANDARD]), graphs[3])
    write_image(tmp_path / "stack.tif", image, axes="ZYX", voxel_size=None, unit=None)
    target = tmp_path / "restored.ome.tif"
    words = ["deconvolve", str(tmp_path / "stack.tif"), "-o", str(target), "--model", str(file)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    expected = nl.deconvolve(image, nl.load_model(file)).output
    assert np.array_equal(np.asarray(read_image(target).data), expected)
    refused = CliRunner().invoke(app, [*words, "--blur-sigma", "1.5", "--overwrite"])
    assert refused.exit_code
    assert "does not use the blur" in " ".join(refused.output.split())


def changed_axes(**sizes: object) -> list[dict[str, object]]:
    described = description(2)["inputs"][0]
    axes = [dict(axis) for axis in described["axes"]]
    for axis in axes:
        if axis.get("id") in sizes:
            axis["size"] = sizes[axis["id"]]
    return [{**described, "axes": axes}]


TIME = [{**description(2)["inputs"][0], "axes": [{"type": "time"}, *description(2)["inputs"][0]["axes"]]}]
COLOUR = [
    {
        **description(2)["inputs"][0],
        "axes": [{"type": "channel", "channel_names": ["r", "g"]}, *description(2)["inputs"][0]["axes"][2:]],
    }
]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"before": [{"id": "binarize", "kwargs": {"threshold": 1}}]}, "'binarize' before .* not supported"),
        ({"after": [{"id": "scale_range", "kwargs": {}}]}, "'scale_range' after .* not supported"),
        ({"before": [{"id": "ensure_dtype", "kwargs": {"dtype": "uint8"}}]}, "would round"),
        (
            {"before": [{"id": "clip", "kwargs": {"min": 0, "max": 1}}, STANDARD]},
            "after another operation that changes",
        ),
        ({"before": [{"id": FIXED, "kwargs": {"mean": 1, "std": 0}}]}, "deviation of 0; it must be above 0"),
        ({"before": [{"id": FIXED, "kwargs": {"mean": "x", "std": 1}}]}, "'x' where it needs a number"),
        (
            {"after": [{"id": "scale_linear", "kwargs": {"gain": float("nan")}}]},
            "(?i)nan.? where it needs a number",
        ),
        ({"after": [{"id": "clip", "kwargs": {"min": [0]}}]}, r"\[0\] where it needs a number"),
        ({"before": [{"id": "scale_range", "kwargs": {"min_percentile": "low"}}]}, "'low' where it needs"),
        ({"before": [{"id": "sigmoid"}]}, f"known are .*{FIXED}, scale_range"),
        ({"inputs": TIME}, "'time' of 'image' is not known"),
        ({"inputs": COLOUR}, "2 channels"),
        ({"inputs": changed_axes(x=256)}, "exactly 256 voxels along X"),
        ({"inputs": changed_axes(x={"min": 5, "step": 2})}, "not multiples of 2"),
        ({"inputs": [*description(2)["inputs"]] * 2}, "takes 2 images"),
        ({"weights": {"torchscript": {"source": "w.pt"}}}, "TorchScript is a program"),
        ({"weights": {"pytorch_state_dict": {"source": "w.pt"}}}, "needs the Python code"),
        ({"weights": {"onnx": {"source": "https://example.org/w.onnx"}}}, "not part of the package"),
        ({"weights": {"onnx": {"source": "../weights.onnx"}}}, "not a file inside"),
        ({"weights": {"onnx": {"source": "weights.onnx", "sha256": "0" * 64}}}, "damaged"),
        ({"inputs": 3}, "incomplete or wrong"),
        ({"format_version": "9.9.9"}, "format version 9.9.9; known are"),
        ({"format_version": None}, "format version None; known are"),
        ({"type": "dataset"}, "does not describe a model"),
    ],
)
def test_what_is_not_known_is_refused_in_words(tmp_path, graphs, changes, words):
    file = write_package(tmp_path / "tiny.zip", description(2, **changes), graphs[2])
    with pytest.raises(ValueError, match=words):
        nl.load_model(file)


def test_files_that_are_no_packages_are_refused_in_words(tmp_path, graphs):
    (tmp_path / "no.zip").write_bytes(b"hello")
    with pytest.raises(ValueError, match="not a zip file"):
        nl.load_model(tmp_path / "no.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as package:
        package.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match=r"not a bioimage\.io package"):
        nl.load_model(tmp_path / "empty.zip")
    file = write_package(tmp_path / "broken.zip", description(2), b"no graph")
    with pytest.raises(ValueError, match="graph cannot be used"):
        nl.load_model(file)


def test_a_small_image_and_a_copy_are_refused_in_words(tmp_path, graphs):
    model = nl.load_model(write_package(tmp_path / "tiny.zip", description(2), graphs[2]))
    with pytest.raises(DeconvolutionError, match="at least 4 × 4"):
        nl.deconvolve(np.random.default_rng(0).random((2, 9), dtype=np.float32), model)
    with pytest.raises(ValueError, match="can only be run"):
        nl.export_model(model, tmp_path / "again.onnx")
