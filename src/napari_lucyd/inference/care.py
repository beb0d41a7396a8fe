"""CARE on the processor, by the kernels that LLVM compiles for LUCYD; see `lucyd.cpu_kernels`.

The result equals that of the network's own forward pass, with zeros around the block. Each layer computes
only what the requested part needs. The layers run one after another and keep all their planes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_lucyd.compute.llvm import lanes
from napari_lucyd.errors import Cancelled
from napari_lucyd.inference.lucyd import cpu, cpu_kernels, cpu_winograd
from napari_lucyd.inference.lucyd.cpu_kernels import REST
from napari_lucyd.inference.lucyd.cpu_planes import Planes
from napari_lucyd.inference.lucyd.cpu_work import Work, Workers
from napari_lucyd.inference.lucyd.graph import Kernel, agree
from napari_lucyd.networks.care import CARE, CareOutput
from napari_lucyd.spans import Span, floor_to

# A step with fewer voxels is done by one thread: to wake others takes longer.
_FEW_VOXELS = 2**11


class Step(NamedTuple):
    """One layer.

    Attributes
    ----------
    kind
        ``"convolve"`` with a ReLU, ``"project"`` to one channel, ``"halve"`` by maxima, or ``"double"``.
    name
        Name of its output.
    inputs
        Names of its inputs. Their channels are concatenated.
    level
        Number of times that the size of its output is halved.
    source
        Name of the convolution in the network.
    home
        Name of an earlier output that it overwrites. By default it has its own memory.
    """

    kind: Literal["convolve", "project", "halve", "double"]
    name: str
    inputs: tuple[str, ...]
    level: int
    source: str = ""
    home: str = ""


STEPS = (
    Step("convolve", "full 0", ("y",), 0, "encode_full.0"),
    Step("convolve", "full", ("full 0",), 0, "encode_full.2"),
    Step("halve", "half in", ("full",), 1),
    Step("convolve", "half 0", ("half in",), 1, "encode_half.0"),
    Step("convolve", "half", ("half 0",), 1, "encode_half.2"),
    Step("halve", "quarter in", ("half",), 2),
    Step("convolve", "quarter 0", ("quarter in",), 2, "bottleneck.0"),
    Step("convolve", "quarter", ("quarter 0",), 2, "bottleneck.2"),
    Step("double", "half up", ("quarter",), 1, home="half 0"),
    Step("convolve", "half 1", ("half up", "half"), 1, "decode_half.0"),
    Step("convolve", "half 2", ("half 1",), 1, "decode_half.2", home="half in"),
    Step("double", "full up", ("half 2",), 0, home="full 0"),
    Step("convolve", "full 1", ("full up", "full"), 0, "decode_full.0"),
    Step("convolve", "full 2", ("full 1",), 0, "decode_full.2", home="full 0"),
    Step("project", "residual", ("full 2",), 0, "project"),
)
_LEVELS = {"y": 0, **{step.name: step.level for step in STEPS}}


def needed(size: int, wanted: Span) -> dict[str, Span]:
    """Return the span of each output that is needed for a span of the result, along an axis of ``size``.

    Examples
    --------
    >>> found = needed(128, Span(60, 64))
    >>> found["full 1"], found["full up"], found["half 2"]
    (Span(start=59, stop=65), Span(start=58, stop=66), Span(start=29, stop=33))
    """
    found = {"residual": wanted}
    for step in reversed(STEPS):
        start, stop = found[step.name]
        if step.kind == "convolve":
            start, stop = start - 1, stop + 1
        elif step.kind == "halve":
            start, stop = 2 * start, 2 * stop
        elif step.kind == "double":
            start, stop = start // 2, (stop - 1) // 2 + 1
        for name in step.inputs:
            a, b = found.get(name, (start, stop))
            found[name] = Span(max(min(a, start), 0), min(max(b, stop), size >> _LEVELS[name]))
    return found


def equivalent_voxels(network: CARE, axes: Sequence[Sequence[tuple[int, Span]]]) -> float:
    """Return the number of voxels of fully requested blocks that would take as much work as these blocks.

    Parameters
    ----------
    network
        The network.
    axes
        Sizes and requested spans of the blocks along each axis of their grid.
    """
    along = [[needed(size, wanted) for size, wanted in blocks] for blocks in axes]
    work = bare = 0.0
    for step in STEPS:
        if step.source:
            convolution: Any = network.get_submodule(step.source)
            each = convolution.weight.numel()
            work += each * math.prod(sum(found[step.name].size for found in blocks) for blocks in along)
            bare += each / 8**step.level
    return work / bare


@functools.cache
def unsupported_reason() -> str:
    """Say why compiled kernels cannot run CARE here; return an empty text if they can."""
    return cpu.unsupported_reason() or cpu.reason_unless(_agrees_with_torch)


def _agrees_with_torch() -> bool:
    with torch.random.fork_rng([]), torch.device("cpu"):
        torch.manual_seed(0)
        network = CARE().float().eval()
        y = torch.rand((1, 1, 4, 8, 40), dtype=torch.float32)
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        return all(agree(a, b) for a, b in zip(network(y), CompiledCare(network, 1)(y), strict=True))


class _Plan(NamedTuple):
    """The buffers of a block, and the work of each layer: its planes, and what to do with some of them."""

    tensors: dict[str, Planes]
    needs: list[dict[str, Span]]
    works: dict[str, Work]


class CompiledCare:
    """CARE on the processor, called with one block at a time.

    Parameters
    ----------
    network
        Network in evaluation mode; it is not changed.
    threads
        Number of threads.
    should_stop
        Called before each step; True stops the run.
    """

    def __init__(self, network: CARE, threads: int, should_stop: Callable[[], bool] | None = None) -> None:
        self._should_stop = should_stop
        self._workers = Workers(threads, cpu_winograd.WIDE.floats, _FEW_VOXELS)
        self._layers = {step.name: _layer(network, step) for step in STEPS if step.source}
        self._plan: tuple[Any, _Plan] | None = None

    def __call__(self, y: Tensor, inside: Sequence[slice] | None = None) -> CareOutput:
        """Run a block.

        Parameters
        ----------
        y
            (1, 1, Z, Y, X), float32, on the processor, with sizes that are multiples of 4.
        inside
            Part to return, along the spatial axes; by default all.

        Returns
        -------
        CareOutput
            The results for that part.

        Raises
        ------
        Cancelled
            When ``should_stop`` returns True.
        """
        if y.ndim != 5 or tuple(y.shape[:2]) != (1, 1) or any(n % CARE.multiple for n in y.shape[2:]):
            raise ValueError(
                f"The network received a tensor of shape {tuple(y.shape)}; give (1, 1, Z, Y, X) with sizes "
                "that are multiples of 4."
            )
        sizes = tuple(y.shape[2:])
        spans = [
            Span(*part.indices(size)[:2])
            for part, size in zip(inside or [slice(None)] * 3, sizes, strict=True)
        ]
        if self._plan is None or self._plan[0] != (sizes, spans):
            self._plan = ((sizes, spans), self._planned(sizes, spans))
        tensors, needs, works = self._plan[1]
        tensors["y"].values[0] = y.detach().numpy()[0, 0]
        for step in STEPS:
            spans_of_step = [found[step.name] for found in needs]
            if step.source:
                for planes in _chunks(spans_of_step[0], tensors[step.name].values.shape[2:]):
                    self._ask()
                    self._workers.do(works[step.name], planes)
            else:
                self._ask()
                self._resize(step, tensors, needs)
        part: tuple[Any, ...] = (slice(None), *(span.slice for span in spans))
        residual = torch.from_numpy(tensors["residual"].values[part].copy())[None]
        return CareOutput(y[(slice(None), *part)] + residual, residual)

    def _ask(self) -> None:
        if self._should_stop is not None and self._should_stop():
            raise Cancelled("Stopped.")

    def _resize(self, step: Step, tensors: dict[str, Planes], needs: list[dict[str, Span]]) -> None:
        """Halve or double a tensor; the threads share the planes of the coarser one."""
        source, target = tensors[step.inputs[0]].values, tensors[step.name].values
        resize, coarse = (_halve, step.name) if step.kind == "halve" else (_double, step.inputs[0])
        planes, rows, columns = (found[coarse] for found in needs)

        def part(z: int) -> None:
            resize(source, target, z, rows, columns)

        self._workers.share(part, [(z,) for z in range(*planes)])

    def _planned(self, sizes: tuple[int, ...], inside: list[Span]) -> _Plan:
        """Plan the work on blocks of a shape."""
        needs = [needed(size, span) for size, span in zip(sizes, inside, strict=True)]
        tensors = self._tensors(sizes)
        works = {
            step.name: self._work(step, sizes, tensors, [found[step.name] for found in needs])
            for step in STEPS
            if step.source
        }
        return _Plan(tensors, needs, works)

    def _tensors(self, sizes: tuple[int, ...]) -> dict[str, Planes]:
        """Return the buffers by output; blocks of equal shape share them."""
        if self._plan is not None and self._plan[0][0] == sizes:
            return self._plan[1].tensors
        self._plan = None  # release the old ones first
        tensors = {"y": Planes(1, sizes[0], (sizes[1], sizes[2]))}
        for step in STEPS:
            z, y, x = (size >> step.level for size in sizes)
            before = tensors[step.inputs[0]].channels
            channels = len(self._layers[step.name].bias) if step.source else before
            tensors[step.name] = tensors[step.home] if step.home else Planes(channels, z, (y, x))
        return tensors

    def _work(
        self, step: Step, sizes: tuple[int, ...], tensors: dict[str, Planes], spans: list[Span]
    ) -> Work:
        layer = self._layers[step.name]
        depth, height, width = (size >> step.level for size in sizes)
        taps = layer.kernel.taps
        reached = np.arange(depth)[:, None] + np.arange(taps) - taps // 2
        zeros = Planes(1, 1, (height, width))
        tables = []
        for name in step.inputs:
            tensor = tensors[name]
            found = tensor.addresses(reached.ravel()).reshape(depth, taps, tensor.channels)
            found[(reached < 0) | (reached >= depth)] = zeros.addresses(np.zeros(1, dtype=np.int64)).item()
            tables.append(found.transpose(0, 2, 1).reshape(depth, -1))
        inputs = np.ascontiguousarray(np.concatenate(tables, axis=1))
        output, source = tensors[step.name], tensors[step.inputs[0]]
        outputs = np.ascontiguousarray(output.addresses(np.arange(depth)))
        arrays = (inputs, outputs, outputs, layer.weights, layer.bias)
        _, rows, columns = spans
        start = floor_to(columns.start, REST * lanes())
        return Work(
            function=layer.function,
            tables=(*(array.ctypes.data for array in arrays), inputs.shape[1], layer.weights.shape[0]),
            rows=rows,
            rest=(start, columns.stop, height, width, source.row, output.row, output.row, 0, 0, 0),
            depth=taps if layer.by_winograd else 0,
            outputs=outputs,
            keep=(arrays, zeros, output, *(tensors[name] for name in step.inputs)),
        )


class _Layer(NamedTuple):
    """A convolution: its kernel, compiled, and its weights in the order that the kernel reads."""

    kernel: Kernel
    by_winograd: bool
    function: Any
    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


def _layer(network: CARE, step: Step) -> _Layer:
    convolution: Any = network.get_submodule(step.source)
    weight = convolution.weight.detach().float().cpu()
    kernel = Kernel() if step.kind == "convolve" else Kernel(taps=1, outputs=1, relu=False)
    # (outputs, inputs, Z, Y, X) to (blocks, inputs, Z, Y, X, outputs of a block)
    weights = weight.reshape(-1, kernel.outputs, *weight.shape[1:]).movedim(1, -1).contiguous().numpy()
    by_winograd = cpu_winograd.suits(kernel, weight.shape[1])
    return _Layer(
        kernel,
        by_winograd,
        cpu_winograd.compiled(kernel, cpu_winograd.WIDE) if by_winograd else cpu_kernels.compiled(kernel),
        cpu_winograd.transformed(weights) if by_winograd else weights,
        convolution.bias.detach().float().cpu().numpy(),
    )


def _chunks(planes: Span, shape: Sequence[int]) -> list[Span]:
    """Divide planes, so that a cancel takes effect within a second."""
    step = cpu.planes_at_once((0, *shape))
    return [Span(z, min(z + step, planes.stop)) for z in range(*planes, step)]


def _halve(
    source: npt.NDArray[np.float32], target: npt.NDArray[np.float32], z: int, rows: Span, columns: Span
) -> None:
    """Compute the maxima for plane ``z`` of the target."""
    part = (slice(None), slice(2 * z, 2 * z + 2), *(slice(2 * a.start, 2 * a.stop) for a in (rows, columns)))
    pair = source[part]
    flat = np.maximum(pair[:, 0], pair[:, 1])
    lines = np.maximum(flat[:, ::2], flat[:, 1::2])
    np.maximum(lines[..., ::2], lines[..., 1::2], out=target[:, z, rows.slice, columns.slice])


def _double(
    source: npt.NDArray[np.float32], target: npt.NDArray[np.float32], z: int, rows: Span, columns: Span
) -> None:
    """Repeat plane ``z`` of the source."""
    wide = np.repeat(source[:, z, rows.slice, columns.slice], 2, axis=-1)
    across = slice(2 * columns.start, 2 * columns.stop)
    for plane in (2 * z, 2 * z + 1):
        for row in (2 * rows.start, 2 * rows.start + 1):
            target[:, plane, row : 2 * rows.stop : 2, across] = wide
