"""The reach of an ONNX graph: how far an output voxel looks, if the graph treats all places alike.

Only then can an image be cut into tiles. Each operation that is known here adds its reach; a graph with any
other operation, such as a mean over the image, needs the whole image at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

# Each voxel by itself, whatever is around it.
_POINTWISE = frozenset({"Abs", "BatchNormalization", "Cast", "Clip", "Dropout", "Elu", "Erf", "Exp", "Gelu"})
_POINTWISE |= {
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "Log",
    "Mish",
    "Neg",
    "PRelu",
    "Reciprocal",
}
_POINTWISE |= {"Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu"}
_COMBINED = frozenset({"Add", "Concat", "Div", "Max", "Mean", "Min", "Mul", "Pow", "Sub", "Sum", "Where"})


class Reach(NamedTuple):
    """The reach of a graph.

    Attributes
    ----------
    field
        Voxels to each side that an output voxel may depend on.
    multiple
        Sizes and origins of blocks must be multiples of this number.
    """

    field: int
    multiple: int


@dataclass(frozen=True)
class _Seen:
    """Reach and step of the voxels of a tensor along each axis, in voxels of the input."""

    reach: tuple[Fraction, ...]
    step: tuple[Fraction, ...]


class _GlobalError(Exception):
    """The graph does not treat all places alike, or this module does not know whether it does."""


def reach_of(graph: bytes, image: str, output: str, dimension: int) -> Reach | None:
    """Return the reach of an ONNX graph from one input to one output, or None if it needs the whole image.

    Parameters
    ----------
    graph
        The ONNX file. The tensors' axes are batch, channel, and the image's.
    image, output
        Names of the input and of the output.
    dimension
        Number of spatial axes.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model_from_string(graph)
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    seen = {image: _Seen((Fraction(0),) * dimension, (Fraction(1),) * dimension)}
    coarsest = 1
    try:
        for node in model.graph.node:
            attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
            if node.op_type == "Constant":
                constants[node.output[0]] = _constant(attributes, numpy_helper.to_array)
                continue
            result = _after(node.op_type, list(node.input), attributes, seen, constants, dimension)
            seen[node.output[0]] = result
            for step in result.step:
                if step.denominator != 1:  # finer than the image
                    raise _GlobalError
                coarsest = math.lcm(coarsest, step.numerator)
        found = seen[output]
    except (_GlobalError, KeyError, IndexError):
        return None
    if any(step != 1 for step in found.step):
        return None
    return Reach(max(math.ceil(reach) for reach in found.reach), coarsest)


def _constant(attributes: Mapping[str, Any], to_array: Callable[[Any], Any]) -> npt.NDArray[Any]:
    if "value" in attributes:
        return np.asarray(to_array(attributes["value"]))
    (value,) = attributes.values()
    return np.asarray(value)


def _after(
    kind: str,
    inputs: list[str],
    attributes: Mapping[str, Any],
    seen: Mapping[str, _Seen],
    constants: Mapping[str, npt.NDArray[Any]],
    dimension: int,
) -> _Seen:
    images = [seen[name] for name in inputs if name in seen]
    others = [constants[name] for name in inputs if name and name not in seen]
    if not images:
        raise _GlobalError
    first = images[0]
    if kind in _POINTWISE or kind in _COMBINED:
        if kind == "Concat" and attributes.get("axis") != 1:
            raise _GlobalError
        # A constant that differs from place to place is bound to the whole image.
        if kind in _COMBINED | {"PRelu"} and any(n != 1 for each in others for n in each.shape[-dimension:]):
            raise _GlobalError
        if any(image.step != first.step for image in images):
            raise _GlobalError
        reach = (max(parts) for parts in zip(*(image.reach for image in images), strict=True))
        return _Seen(tuple(reach), first.step)
    if kind in ("Conv", "MaxPool", "AveragePool", "ConvTranspose"):
        shape = others[0].shape[2:] if "Conv" in kind else attributes["kernel_shape"]
        window = _Window.read(attributes, tuple(shape))
        return window.transposed(first) if kind == "ConvTranspose" else window.over(first)
    if kind in ("Resize", "Upsample"):
        return _resized(first, attributes, others)
    raise _GlobalError


@dataclass(frozen=True)
class _Window:
    """A window that slides along each axis: its extent, its stride, and the zeros around the image."""

    extent: tuple[int, ...]
    stride: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    added: tuple[int, ...]

    @classmethod
    def read(cls, attributes: Mapping[str, Any], shape: tuple[int, ...]) -> _Window:
        count = len(shape)
        dilation = attributes.get("dilations", (1,) * count)
        extent = tuple(d * (n - 1) + 1 for d, n in zip(dilation, shape, strict=True))
        stride = tuple(attributes.get("strides", (1,) * count))
        pads = tuple(attributes.get("pads", (0,) * 2 * count))
        if attributes.get("ceil_mode", 0) or "output_shape" in attributes:
            raise _GlobalError
        kind = attributes.get("auto_pad", b"NOTSET")
        if kind not in (b"NOTSET", b"VALID"):
            total = [max(n - s, 0) for n, s in zip(extent, stride, strict=True)]
            less, more = [n // 2 for n in total], [n - n // 2 for n in total]
            pads = (*less, *more) if kind == b"SAME_UPPER" else (*more, *less)
        added = tuple(attributes.get("output_padding", (0,) * count))
        return cls(extent, stride, pads[:count], pads[count:], added)

    def over(self, seen: _Seen) -> _Seen:
        """Return what a window over a tensor sees, if it divides sizes by its stride."""
        reach = []
        for axis, (n, s) in enumerate(zip(self.extent, self.stride, strict=True)):
            if not n - s <= self.before[axis] + self.after[axis] < n:
                raise _GlobalError
            far = max(self.before[axis], n - 1 - self.before[axis])
            reach.append(seen.reach[axis] + far * seen.step[axis])
        return _Seen(tuple(reach), tuple(a * s for a, s in zip(seen.step, self.stride, strict=True)))

    def transposed(self, seen: _Seen) -> _Seen:
        """Return what a transposed convolution sees, if it multiplies sizes by its stride."""
        reach, steps = [], []
        for axis, (n, s) in enumerate(zip(self.extent, self.stride, strict=True)):
            if n - self.before[axis] - self.after[axis] + self.added[axis] != s:
                raise _GlobalError
            step = seen.step[axis] / s
            far = max(self.before[axis], n - 1 - self.before[axis], s - 1)
            reach.append(seen.reach[axis] + far * step)
            steps.append(step)
        return _Seen(tuple(reach), tuple(steps))


def _resized(seen: _Seen, attributes: Mapping[str, Any], others: list[npt.NDArray[Any]]) -> _Seen:
    places = attributes.get("coordinate_transformation_mode", b"half_pixel")
    mode = attributes.get("mode", b"nearest")
    if places not in (b"half_pixel", b"asymmetric", b"pytorch_half_pixel") or mode not in (
        b"nearest",
        b"linear",
    ):
        raise _GlobalError
    scales = [each for each in others if each.size == len(seen.step) + 2 and each.dtype.kind == "f"]
    if len(scales) != 1 or "scales" in attributes:
        raise _GlobalError
    factors = [Fraction(float(scale)) for scale in scales[0]]
    if factors[:2] != [1, 1] or any(factor < 1 or factor.denominator != 1 for factor in factors):
        raise _GlobalError
    reach = [a + (b if f > 1 else 0) for a, b, f in zip(seen.reach, seen.step, factors[2:], strict=True)]
    return _Seen(tuple(reach), tuple(a / f for a, f in zip(seen.step, factors[2:], strict=True)))
