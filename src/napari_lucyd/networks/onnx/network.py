"""An ONNX graph as a network, run by onnxruntime on the CPU."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_lucyd.errors import DeconvolutionError
from napari_lucyd.networks.network import Network, NetworkConfig
from napari_lucyd.networks.onnx.reach import reach_of
from napari_lucyd.text import shape_text

WHOLE = 2**30
"""Receptive field of a network that needs the whole image at once."""
_NEEDS = (
    "bioimage.io packages need onnx and onnxruntime. Install them with: "
    "pip install 'napari-lucyd[bioimageio]'"
)


class OnnxOutput(NamedTuple):
    """The restored image, of the input's shape (1, 1, [Z,] Y, X)."""

    output: Tensor


@dataclass(frozen=True)
class Pointwise:
    """A step on each voxel by itself: ``gain * y + offset``, then limited to ``low`` and ``high``."""

    gain: float = 1.0
    offset: float = 0.0
    low: float = -math.inf
    high: float = math.inf

    def __call__(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the changed values."""
        changed = values * np.float32(self.gain) + np.float32(self.offset)
        limited: npt.NDArray[np.float32] = np.clip(changed, np.float32(self.low), np.float32(self.high))
        return limited


@dataclass(frozen=True)
class OnnxConfig(NetworkConfig):
    """Names, axes and steps of a graph.

    Parameters
    ----------
    dimension
        2 or 3.
    image, output
        Names of the graph's input and output.
    image_axes, output_axes
        Their axes in order, such as ``"bczyx"``; b and c have the size 1.
    before, after
        Steps before and after the graph.
    least
        Smallest size along each spatial axis.
    multiple
        All spatial sizes must be multiples of this number.
    sigma
        Name of the input for the blur's standard deviations, and its shape; None if the graph has none.
    """

    image: str = "image"
    output: str = "output"
    image_axes: str = "bczyx"
    output_axes: str = "bczyx"
    before: tuple[Pointwise, ...] = ()
    after: tuple[Pointwise, ...] = ()
    least: tuple[int, ...] = (1, 1, 1)
    multiple: int = 1
    sigma: tuple[str, tuple[int, ...]] | None = None


class OnnxNetwork(Network):
    """A graph of another maker, which takes and returns (1, 1, [Z,] Y, X).

    Parameters
    ----------
    graph
        The ONNX file.
    config
        Its names, axes and steps.

    Raises
    ------
    ImportError
        If onnx or onnxruntime are not installed.
    """

    name = "onnx"
    title = "bioimage.io"
    parts = ("output",)
    cpu_only = True

    def __init__(self, graph: bytes, config: OnnxConfig) -> None:
        super().__init__()
        _require()
        self.graph = graph
        self.config: OnnxConfig = config
        self.sigma: npt.NDArray[np.float32] | None = None
        plain = config.sigma is None and config.image_axes.endswith("zyx"[-config.dimension :])
        found = reach_of(graph, config.image, config.output, config.dimension) if plain else None
        self.receptive_field = WHOLE if found is None else found.field
        self.multiple = config.multiple if found is None else math.lcm(config.multiple, found.multiple)

    @property
    def border(self) -> int:
        """0: the graph has its own way to continue an image."""
        return 0

    @property
    def whole(self) -> bool:
        """True if the graph needs the whole image at once."""
        return self.receptive_field == WHOLE

    @property
    def timed_shape(self) -> tuple[int, ...]:
        """Shape of a block that is timed."""
        usual = (16, 64, 64) if self.config.dimension == 3 else (256, 256)
        least = self.config.least[-self.config.dimension :]
        return tuple(
            -(-max(n, m) // self.multiple) * self.multiple for n, m in zip(usual, least, strict=True)
        )

    def told(self, sigma: Sequence[float]) -> OnnxNetwork:
        """Return a copy that gives the graph these standard deviations of the blur, in voxels."""
        assert self.config.sigma is not None
        changed = copy.copy(self)
        changed.sigma = np.asarray(sigma, np.float32).reshape(self.config.sigma[1])
        return changed

    def forward(self, y: Tensor) -> OnnxOutput:
        """Restore (1, 1, [Z,] Y, X), float32, on the CPU."""
        config = self.config
        shape = tuple(y.shape[2:])
        least = config.least[-config.dimension :]
        if any(n < m for n, m in zip(shape, least, strict=True)):
            raise DeconvolutionError(
                f"The image has {shape_text(shape)} voxels, but this bioimage.io model needs at least "
                f"{shape_text(least)}."
            )
        values = y.numpy()
        for step in config.before:
            values = step(values)
        feed = {config.image: _ordered(values, config.dimension, config.image_axes)}
        if config.sigma is not None:
            sigma = self.sigma if self.sigma is not None else np.ones(config.sigma[1], np.float32)
            feed[config.sigma[0]] = sigma
        session = _session(self.graph, torch.get_num_threads())
        try:
            (result,) = session.run([config.output], feed)
        except Exception as error:  # onnxruntime has many types of its own
            raise DeconvolutionError(f"onnxruntime could not run the model: {error}") from error
        found = _plain(np.asarray(result, np.float32), config.dimension, config.output_axes)
        if found.shape != y.shape:
            raise DeconvolutionError(
                f"The model returned {shape_text(found.shape[2:])} voxels for {shape_text(shape)}. Only "
                "models whose output has the size of the image can be used."
            )
        for step in config.after:
            found = step(found)
        return OnnxOutput(torch.from_numpy(np.ascontiguousarray(found)))


def tensor_names(graph: bytes) -> tuple[list[str], list[str]]:
    """Return the names of a graph's inputs and outputs.

    Raises
    ------
    ImportError
        If onnx or onnxruntime are not installed.
    ValueError
        If it is not an ONNX graph.
    """
    _require()
    try:
        session = _session(graph, torch.get_num_threads())
    except Exception as error:  # onnxruntime has many types of its own
        raise ValueError(f"The ONNX graph cannot be used: {str(error)[:300]}") from error
    return [each.name for each in session.get_inputs()], [each.name for each in session.get_outputs()]


def _require() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ImportError(_NEEDS) from error


def _names(dimension: int) -> str:
    return "bc" + "zyx"[-dimension:]


def _ordered(values: npt.NDArray[np.float32], dimension: int, axes: str) -> npt.NDArray[np.float32]:
    """Bring (1, 1, [Z,] Y, X) into the order of a graph."""
    names = _names(dimension)
    kept = "".join(name for name in names if name in axes)
    values = values.reshape([n for n, name in zip(values.shape, names, strict=True) if name in axes])
    return np.ascontiguousarray(values.transpose([kept.index(name) for name in axes]))


def _plain(values: npt.NDArray[np.float32], dimension: int, axes: str) -> npt.NDArray[np.float32]:
    """Bring a graph's result into the order (1, 1, [Z,] Y, X)."""
    names = _names(dimension)
    kept = [name for name in names if name in axes]
    values = values.transpose([axes.index(name) for name in kept])
    sizes: Mapping[str, int] = dict(zip(kept, values.shape, strict=True))
    return values.reshape([sizes.get(name, 1) for name in names])


@lru_cache(maxsize=4)
def _session(graph: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
