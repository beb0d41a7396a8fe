"""Packages of the bioimage.io model zoo: weights in three formats, test tensors and a description.

The description follows version 0.5 of the model specification
(https://bioimage-io.github.io/spec-bioimage-io). JSON is YAML as well, so no YAML library is needed.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
import torch

from napari_lucyd.export.first_estimate import EstimateGraph
from napari_lucyd.export.onnx_file import SMALLEST, Graph, description_of, inputs_of, write_onnx
from napari_lucyd.models.model import Model
from napari_lucyd.simulation import degrade, make_phantom

_SHAPE = (24, 64, 64)
_CITATION = "Chobola et al., LUCYD: A Feature-Driven Richardson-Lucy Deconvolution Network, MICCAI 2023"
_DOI = "10.1007/978-3-031-43993-3_63"
_MEANINGS = {
    "output": "The restored image, in the units of the image.",
    "correction_mask": "What the network added to its input, in the units of the image.",
    "update_term": "The factor that multiplied the corrected input; 1 changes nothing.",
    "first_estimate": "The Richardson-Lucy estimate, the input of the network, in the units of the image.",
}
_OPSET = 18


def write_package(graph: Graph, model: Model, path: Path) -> None:
    """Write a bioimage.io package.

    Parameters
    ----------
    graph
        The result of `graph_of`.
    model
        The model that it was made from.
    path
        File to write; replaced if it exists.

    Raises
    ------
    ImportError
        If onnx and onnxscript are not installed, or torch is older than 2.8.
    """
    inputs = inputs_of(graph, torch.from_numpy(_sample(model.dimension))[None, None])
    with torch.inference_mode():
        outputs = dict(zip(graph.outputs, graph(*inputs.values()), strict=True))
    tensors = {name: value.numpy() for name, value in {**inputs, **outputs}.items()}
    files = {f"test_{name}.npy": _npy(values) for name, values in tensors.items()}
    files |= {f"sample_{name}.tif": _tiff(values) for name, values in tensors.items() if values.ndim > 1}
    files["weights.onnx"] = _onnx(graph, model, path)
    files["weights.torchscript"] = _torchscript(graph, tuple(inputs.values()))
    files["weights.pt"] = _state_dict(graph)
    files["cover.png"] = _cover(inputs["image"].numpy(), outputs["output"].numpy())
    files["README.md"] = _documentation(graph, model).encode()
    files["environment.yaml"] = _environment().encode()
    described = _describe(graph, model, files)
    files["rdf.yaml"] = json.dumps(described, indent=2, ensure_ascii=False).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in files.items():
            package.writestr(name, content)


def _sample(dimension: int) -> npt.NDArray[np.float32]:
    """Make a blurred and noisy phantom, (Z, Y, X) or (Y, X)."""
    truth = make_phantom(_SHAPE, rng=0)
    image = degrade(truth, blur_sigma=1.5, noise_sigma=0.03, rng=1).image
    return image if dimension == 3 else np.ascontiguousarray(image[_SHAPE[0] // 2])


def _npy(values: npt.NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()


def _tiff(values: npt.NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, values)
    return stream.getvalue()


def _onnx(graph: Graph, model: Model, path: Path) -> bytes:
    file = path.with_name(f"{path.name}.onnx")
    try:
        write_onnx(graph, model, file)
        return file.read_bytes()
    finally:
        file.unlink(missing_ok=True)


def _torchscript(graph: Graph, inputs: tuple[torch.Tensor, ...]) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        # torch prefers other formats to TorchScript by now; the programs that read packages do not have them.
        warnings.simplefilter("ignore")
        traced: Any = torch.jit.trace(graph, inputs, check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, stream)
    return stream.getvalue()


def _state_dict(graph: Graph) -> bytes:
    stream = io.BytesIO()
    torch.save(graph.state_dict(), stream)
    return stream.getvalue()


def _cover(image: npt.NDArray[np.float32], output: npt.NDArray[np.float32]) -> bytes:
    """Draw the middle of the image beside that of the output, four times as large."""
    from PIL import Image

    halves = []
    for values in (image[0, 0], output[0, 0]):
        plane = values[len(values) // 2] if values.ndim == 3 else values
        low, high = np.percentile(plane, (1, 99.8))
        shown = np.clip((plane - low) / max(high - low, 1e-12) * 255, 0, 255).astype(np.uint8)
        halves.append(np.kron(shown, np.ones((4, 4), np.uint8)))
    stream = io.BytesIO()
    Image.fromarray(np.concatenate(halves, axis=1)).save(stream, "PNG")
    return stream.getvalue()


def _environment() -> str:
    lines = [
        "channels: [conda-forge, nodefaults]",
        "dependencies:",
        "  - python>=3.11",
        "  - pytorch>=2.6",
        "  - pip",
        f"  - pip: [napari-lucyd=={version('napari-lucyd')}]",
    ]
    return "\n".join(lines) + "\n"


def _documentation(graph: Graph, model: Model) -> str:
    parts = "\n".join(f"- `{name}`: {_MEANINGS[name]}" for name in graph.outputs)
    blur = ""
    if isinstance(graph, EstimateGraph):
        meaning = "the standard deviations of the microscope's Gaussian blur along each axis, in voxels"
        if graph.blur_sigma is None:
            blur = f"\nThe second input, `blur_sigma`, has {meaning}, at most 3.\n"
        else:
            given = ", ".join(f"{sigma:g}" for sigma in graph.blur_sigma)
            blur = f"\nThe model was made for {meaning}: {given}.\n"
    return (
        f"# {model.card.get('title', model.name)}\n\n{model.card.get('description', '')}\n\n"
        "The input is a fluorescence image in any units; scaling and borders are part of the model.\n"
        f"{blur}\nThe outputs:\n\n{parts}\n\n"
        "## Validation\n\nThe test tensors are a simulated phantom, its blurred and noisy image, and what "
        "napari-lucyd makes of it. The documentation of napari-lucyd has measurements on real images.\n\n"
        f"## Citation\n\n{_CITATION}, https://doi.org/{_DOI}\n"
    )


def _describe(graph: Graph, model: Model, files: Mapping[str, bytes]) -> dict[str, Any]:
    def reference(name: str) -> dict[str, str]:
        return {"source": name, "sha256": hashlib.sha256(files[name]).hexdigest()}

    space = "zyx"[-model.dimension :]
    lead: list[dict[str, Any]] = [
        {"type": "batch", "size": 1},
        {"type": "channel", "channel_names": ["intensity"]},
    ]
    smallest = {"z": 1, "y": SMALLEST, "x": SMALLEST}
    image_axes = [
        *lead,
        *({"type": "space", "id": name, "size": {"min": smallest[name], "step": 1}} for name in space),
    ]
    inputs: list[dict[str, Any]] = [
        {
            "id": "image",
            "description": "A fluorescence image, in any units.",
            "axes": image_axes,
            "data": {"type": "float32"},
            "test_tensor": reference("test_image.npy"),
            "sample_tensor": reference("sample_image.tif"),
            "preprocessing": [{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}],
        }
    ]
    if "test_blur_sigma.npy" in files:
        inputs.append(
            {
                "id": "blur_sigma",
                "description": f"Gaussian blur along {', '.join(space)}: standard deviations in voxels.",
                "axes": [{"type": "index", "size": len(space)}],
                "data": {"type": "float32"},
                "test_tensor": reference("test_blur_sigma.npy"),
            }
        )
    outputs = [
        {
            "id": name,
            "description": _MEANINGS[name],
            "axes": [
                *lead,
                *(
                    {"type": "space", "id": axis, "size": {"tensor_id": "image", "axis_id": axis}}
                    for axis in space
                ),
            ],
            "data": {"type": "float32"},
            "test_tensor": reference(f"test_{name}.npy"),
            "sample_tensor": reference(f"sample_{name}.tif"),
        }
        for name in graph.outputs
    ]
    pytorch = torch.__version__.partition("+")[0]
    state_dict = {
        **reference("weights.pt"),
        "pytorch_version": pytorch,
        "architecture": {
            "callable": "graph_from_description",
            "import_from": "napari_lucyd.export",
            "kwargs": description_of(graph, model),
        },
        "dependencies": reference("environment.yaml"),
    }
    converted = {"parent": "pytorch_state_dict"}
    return {
        "type": "model",
        "format_version": "0.5.4",
        "name": str(model.card.get("title", model.name)).replace("(", "").replace(")", ""),
        "description": str(model.card.get("description", ""))[:1000] or model.name,
        "authors": [{"name": "napari-lucyd developers"}],
        "cite": [{"text": _CITATION, "doi": _DOI}],
        "license": model.card.get("license", "BSD-3-Clause"),
        "documentation": "README.md",
        "covers": ["cover.png"],
        "tags": ["deconvolution", "image-restoration", "fluorescence-light-microscopy", "lucyd"],
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": inputs,
        "outputs": outputs,
        "weights": {
            "pytorch_state_dict": state_dict,
            "torchscript": {
                **reference("weights.torchscript"),
                "pytorch_version": pytorch,
                **converted,
            },
            "onnx": {**reference("weights.onnx"), "opset_version": _OPSET, **converted},
        },
    }
