"""A bioimage.io package as a model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lucyd.models.packages.contents import Contents
from napari_lucyd.models.packages.operations import after_network, before_network
from napari_lucyd.models.packages.tensors import PackagedTensor, read_tensor
from napari_lucyd.networks.onnx.network import OnnxConfig, OnnxNetwork, tensor_names
from napari_lucyd.text import count_text

if TYPE_CHECKING:
    from napari_lucyd.models.model import Model

SIGMA = "blur_sigma"
"""Second input of the packages that napari-lucyd exports: the blur's standard deviations."""
_WHY_NOT = {
    "torchscript": "TorchScript is a program, which may do more than compute",
    "pytorch_state_dict": "a state dict needs the Python code of its network",
    "keras_hdf5": "Keras is not supported",
    "keras_v3": "Keras is not supported",
    "tensorflow_saved_model_bundle": "TensorFlow is not supported",
    "tensorflow_js": "TensorFlow is not supported",
}

# Descriptions of another version may mean something else by the same words.
_FORMATS = ("0.3.", "0.4.", "0.5.")


def load_package(path: Path) -> Model:
    """Load a package whose network restores images.

    Parameters
    ----------
    path
        A ``.zip`` file, a folder, or the description in a folder.

    Raises
    ------
    ValueError
        If the package cannot be used; the message says why.
    ImportError
        If onnx and onnxruntime are not installed.
    """
    contents = Contents(path)
    try:
        return _load(contents)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(contents.name) else f"{contents.name}: {text}") from error
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{contents.name}: the description is incomplete or wrong ({type(error).__name__}: {error})."
        ) from error


def _load(contents: Contents) -> Model:
    from napari_lucyd.models.model import Model

    described = contents.description
    version = str(described.get("format_version", ""))
    if not version.startswith(_FORMATS):
        raise ValueError(
            f"The description has format version {version or 'none'!s:.40}; known are 0.3, 0.4 and 0.5."
        )
    inputs = [read_tensor(entry, "preprocessing") for entry in described["inputs"]]
    image, sigma = _inputs(inputs)
    chosen, output = _output(described["outputs"])
    if output.dimension != image.dimension:
        raise ValueError("The output has not the axes of the image; such a model cannot be used here.")
    scaling, before = before_network(image.operations)
    config = OnnxConfig(
        dimension=image.dimension,
        image=image.name,
        output=output.name,
        image_axes=image.axes,
        output_axes=output.axes,
        before=before,
        after=after_network(output.operations),
        least=image.least,
        multiple=image.multiple,
        sigma=sigma,
    )
    graph = contents.read(_onnx(described["weights"]))
    network = OnnxNetwork(graph, _in_graph(graph, config, len(inputs), chosen)).eval()
    card = {
        "name": contents.name,
        "title": str(described.get("name", contents.name)),
        "description": str(described.get("description", "")),
        "license": str(described.get("license", "")),
        "network": {"type": network.name, "dimension": image.dimension},
        "normalization": asdict(scaling),
        "package": contents.sha256,
        **({} if sigma is None else {"told": [SIGMA]}),
    }
    return Model(contents.name, network, card, hashlib.sha256(graph).hexdigest())


def _inputs(inputs: Sequence[PackagedTensor]) -> tuple[PackagedTensor, tuple[str, tuple[int, ...]] | None]:
    """Return the image among the inputs, and the input for the blur."""
    images = [each for each in inputs if each.axes]
    others = [each for each in inputs if not each.axes]
    if len(images) != 1:
        raise ValueError(f"The model takes {len(images)} images; only models that take one can be used.")
    image = images[0]
    if not others:
        return image, None
    if len(others) > 1 or others[0].name != SIGMA or others[0].size != image.dimension:
        names = ", ".join(each.name for each in others)
        raise ValueError(f"The model takes {names} besides the image, which is not known here.")
    return image, (SIGMA, (image.dimension,))


def _output(entries: Sequence[Mapping[str, Any]]) -> tuple[int, PackagedTensor]:
    """Return the restored image among the outputs, with its number: the first, or the one of that name."""
    names = [str(entry.get("id", entry.get("name", ""))) for entry in entries]
    chosen = names.index("output") if "output" in names else 0
    return chosen, read_tensor(entries[chosen], "postprocessing")


def _onnx(weights: Mapping[str, Any]) -> dict[str, Any]:
    if "onnx" in weights:
        return dict(weights["onnx"])
    reasons = "; ".join(_WHY_NOT.get(name, f"{name} is not supported") for name in weights)
    raise ValueError(
        f"The package has no ONNX weights, and other code of a package is never run ({reasons}). Choose a "
        "package with ONNX weights, or convert it with bioimageio.core."
    )


def _in_graph(graph: bytes, config: OnnxConfig, inputs: int, chosen: int) -> OnnxConfig:
    """Return the configuration with the names of the tensors in the graph, which are in the same order."""
    given, returned = tensor_names(graph)
    if len(given) != inputs or chosen >= len(returned):
        taken = count_text(len(given), "tensor")
        raise ValueError(f"The ONNX graph takes {taken}, but {inputs} are described. The package is wrong.")
    image = config.image if config.image in given else given[0]
    output = config.output if config.output in returned else returned[chosen]
    return replace(config, image=image, output=output)
