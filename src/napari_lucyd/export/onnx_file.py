"""Export of a model into a file: ONNX, or a bioimage.io package that contains it."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_lucyd import checks
from napari_lucyd.export.first_estimate import WIDEST_BLUR, EstimateGraph
from napari_lucyd.export.graph import DirectGraph
from napari_lucyd.io.atomic import check_destination, replacing
from napari_lucyd.models import Model, load_model
from napari_lucyd.models.normalization import FIRST_ESTIMATE, Normalization
from napari_lucyd.networks import config_class, describe, network_class

Graph = DirectGraph | EstimateGraph

SMALLEST = 8
"""Smallest size of an image along Y and X that an exported model accepts, in voxels."""
_ONNX, _PACKAGE = ".onnx", ".zip"
# Sizes of the image that the graph is traced with; every size works afterwards.
_TRACED = (10, 18, 22)
_OLDEST_TORCH = (2, 8)
_NEEDS = (
    "An export needs the packages onnx and onnxscript. Install them with: pip install 'napari-lucyd[export]'"
)


def export_model(
    model: str | Path | Model,
    path: str | Path,
    *,
    num_iter: int | None = None,
    blur_sigma: float | Sequence[float] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a model for other programs, with its scaling and borders inside.

    Parameters
    ----------
    model
        Name of a model, path of a model file, or a model.
    path
        File to write. ``.onnx``: an ONNX graph. ``.zip``: a bioimage.io package with ONNX, TorchScript and
        PyTorch weights, which Fiji (deepImageJ), ilastik and others read.
    num_iter
        Number of Richardson-Lucy iterations of a model on first estimates, which an exported graph cannot
        choose by the noise of each image; by default as many as suit a noise of 3 % and a blur of 1.5 voxels.
    blur_sigma
        Standard deviation of the Gaussian blur in voxels, one number or one for each axis, for a model on
        first estimates that takes the image alone. Programs such as Fiji's deepImageJ give a model one image
        only. By default the blur is a second input.
    overwrite
        True to replace a file of that name.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ValueError
        If the file's suffix is another one, or ``num_iter`` or ``blur_sigma`` is given for a model without a
        first estimate.
    ImageFileError
        If the file cannot be written, or exists and ``overwrite`` is False.
    ImportError
        If the packages for the export are not installed, or torch is older than 2.8.

    Notes
    -----
    The graph takes ``image``, float32, (1, 1, [Z,] Y, X), in any units. Models on first estimates also take
    ``blur_sigma``, unless it is given here: the standard deviations of the Gaussian blur along each axis, in
    voxels, at most 3. It returns the parts of `deconvolve`, each of the image's shape: ``output``,
    ``correction_mask``, ``update_term`` and ``first_estimate``, as far as the model has them. Another
    PSF than a Gaussian, missing (NaN) voxels and resampling are left out; use napari-lucyd for them.

    Examples
    --------
    >>> import napari_lucyd as nl
    >>> nl.export_model("planes", "planes.h5")
    Traceback (most recent call last):
    ...
    ValueError: The export goes to planes.h5; give a name that ends in .onnx or .zip.
    """
    chosen = model if isinstance(model, Model) else load_model(model)
    file = Path(checks.path("path", path))
    if file.suffix.lower() not in (_ONNX, _PACKAGE):
        raise ValueError(f"The export goes to {file.name}; give a name that ends in .onnx or .zip.")
    check_destination(file, overwrite)
    graph = graph_of(chosen, num_iter, blur_sigma)
    with replacing(file, overwrite) as unfinished:
        if file.suffix.lower() == _ONNX:
            write_onnx(graph, chosen, unfinished)
        else:
            from napari_lucyd.export.package import write_package

            write_package(graph, chosen, unfinished)
    return file


def unsupported_reason() -> str | None:
    """Return why models cannot be exported here, or None if they can."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        return _NEEDS
    if tuple(int(number) for number in torch.__version__.split(".")[:2]) < _OLDEST_TORCH:
        return (
            f"An export needs torch {'.'.join(map(str, _OLDEST_TORCH))} or newer, and torch "
            f"{torch.__version__} is installed. Update it with: pip install 'napari-lucyd[export]'"
        )
    return None


def graph_of(
    model: Model, num_iter: int | None = None, blur_sigma: float | Sequence[float] | None = None
) -> Graph:
    """Return a model as one module, in evaluation mode.

    Raises
    ------
    ValueError
        If ``num_iter`` or ``blur_sigma`` is given for a model without a first estimate, or is out of range;
        or the network is of another maker.
    """
    describe(model.network.config)  # refuses networks that cannot be built from their configuration
    if model.normalization.method == FIRST_ESTIMATE:
        if num_iter is not None:
            checks.integer("num_iter", num_iter, 1)
        if blur_sigma is not None:
            blur_sigma = checks.per_axis(
                "blur_sigma",
                blur_sigma,
                model.dimension,
                f"from 0 to {WIDEST_BLUR:g}",
                lambda sigma: 0 <= sigma <= WIDEST_BLUR,
            )
        return EstimateGraph(model, num_iter, blur_sigma).eval()
    if blur_sigma is not None:
        raise ValueError(
            f"blur_sigma is {checks.shown(blur_sigma)}, but {model.name} works on the image itself; "
            "leave it out."
        )
    if num_iter is not None:
        raise ValueError(f"num_iter is {num_iter}, but {model.name} has no iterations; leave it out.")
    return DirectGraph(model).eval()


def graph_from_description(
    network: Mapping[str, Any],
    normalization: Mapping[str, Any],
    num_iter: int | None = None,
    blur_sigma: Sequence[float] | None = None,
) -> Graph:
    """Build the module of an exported model without its weights, which ``load_state_dict`` sets.

    Parameters
    ----------
    network
        The network's configuration, as in a model's card.
    normalization
        Keywords of the scaling, as in a model's card.
    num_iter
        Number of iterations, for a model on first estimates.
    blur_sigma
        Standard deviations of the blur, if they are part of the module.
    """
    fields = dict(network)
    config = config_class(fields.pop("type"))(**fields)
    scaling = Normalization(**normalization)
    model = Model.from_network(
        network_class(config)(config),
        name="described",
        normalization={"method": scaling.method, "low": scaling.low, "high": scaling.high}
        | {"pedestal": scaling.pedestal},
    )
    return graph_of(model, num_iter, blur_sigma)


def description_of(graph: Graph, model: Model) -> dict[str, Any]:
    """Return the arguments of `graph_from_description` that build a graph again."""
    scaling = model.normalization
    fields: dict[str, Any] = {
        "network": describe(model.network.config),
        "normalization": {name: getattr(scaling, name) for name in ("method", "low", "high", "pedestal")},
    }
    if isinstance(graph, EstimateGraph):
        fields["num_iter"] = graph.num_iter
        if graph.blur_sigma is not None:
            fields["blur_sigma"] = list(graph.blur_sigma)
    return fields


def inputs_of(graph: Graph, image: Tensor) -> dict[str, Tensor]:
    """Return the inputs of a graph by their names, for an image (1, 1, [Z,] Y, X) blurred by 1.5 voxels."""
    if isinstance(graph, EstimateGraph) and graph.blur_sigma is None:
        return {"image": image, "blur_sigma": torch.full((image.ndim - 2,), WIDEST_BLUR / 2)}
    return {"image": image}


def write_onnx(graph: Graph, model: Model, path: Path) -> None:
    """Write a graph as an ONNX file whose image may have any size.

    Parameters
    ----------
    graph
        The result of `graph_of`.
    model
        The model, for the names and the licence in the file.
    path
        File to write; replaced if it exists.

    Raises
    ------
    ImportError
        If onnx and onnxscript are not installed, or torch is older than 2.8.
    """
    if reason := unsupported_reason():
        raise ImportError(reason)
    image = torch.rand((1, 1, *_TRACED[-model.dimension :])) * 100
    inputs = inputs_of(graph, image)
    sizes = {"image": dict.fromkeys(range(2, image.ndim), torch.export.Dim.DYNAMIC)}
    with torch.device("cpu"), _quietly():
        program = torch.onnx.export(
            graph,
            tuple(inputs.values()),
            dynamo=True,
            verbose=False,
            dynamic_shapes=tuple(sizes.get(name) for name in inputs),
            input_names=list(inputs),
            output_names=graph.outputs,
        )
    assert program is not None
    facts = {
        "name": model.name,
        "sha256": model.sha256,
        "license": str(model.card.get("license", "")),
        "source": "napari-lucyd",
        "doi": "10.1007/978-3-031-43993-3_63",
    }
    program.model.metadata_props.update(facts)
    program.save(path)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep torch's exporter from printing what no user can change."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
