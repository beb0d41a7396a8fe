"""LUCYD on a CUDA device, by kernels compiled for it: one for each layer of `layers`, all in ``lucyd.cu``.

It computes what the network's own forward pass computes, zeros around the block included, but only where the
result is wanted. float32 throughout.
"""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cache
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor, nn

from napari_lucyd.compute import nvrtc
from napari_lucyd.errors import Cancelled
from napari_lucyd.inference.lucyd.graph import (
    CHANNELS,
    LAYERS,
    RESULTS,
    Layer,
    agrees_with_torch,
    parameters,
    requested_spans,
)
from napari_lucyd.inference.lucyd.schedule import needed
from napari_lucyd.networks.lucyd import LUCYD, LucydOutput
from napari_lucyd.spans import Span, ceil_to

# Threads of a block along X, Y, Z.
THREADS = (32, 4, 1)
# Floats: rows begin at multiples of what a device reads at once. The first ones of each row are zeros.
_PAD = 8
_RESIDUALS = {"": 0, "before": 1, "doubled": 2, "after": 3}
_QUOTIENT = 4
_HALVES = frozenset(layer.name for layer in LAYERS if layer.half)

_Macros = tuple[tuple[str, int], ...]
_Compiler = Callable[[_Macros], Any]


def macros(layer: Layer, flat: bool) -> _Macros:
    """What the compiler is told of a layer; ``flat``: in a network for planes."""
    kernel = layer.kernel
    sources = [CHANNELS[name] for name in layer.inputs]
    outputs = layer.channels if not kernel.reduce else kernel.outputs
    # A thread's voxels share what they read, and the weights; their sums have to fit into its registers. More
    # of them, or fewer, were slower on an H100 (decision 0012).
    part_z, part_y = 1, 1
    if kernel.taps == 3 and not kernel.transposed:
        part_z, part_y = (2, 1) if kernel.stride == 2 else (2, 2)
    return tuple(
        {
            "FIRST": sources[0],
            "SECOND": sources[1] if len(sources) > 1 else 0,
            "OUTPUTS": outputs,
            "TAPS": kernel.taps,
            "TAPS_Z": 1 if flat else 2 if kernel.transposed else kernel.taps,
            "STRIDE": kernel.stride,
            "STRIDE_Z": 1 if flat else kernel.stride,
            "TRANSPOSED": int(kernel.transposed),
            "RELU": int(kernel.relu),
            "REDUCE": int(bool(kernel.reduce)),
            "RESIDUAL": _QUOTIENT if kernel.reduce == "quotient" else _RESIDUALS[kernel.residual],
            "DOUBLED_Z": 1 if flat else 2,
            "PART_Z": 1 if flat else part_z,
            "PART_Y": part_y,
            "THREADS": THREADS[0] * THREADS[1] * THREADS[2],
        }.items()
    )


@cache
def compiler(device: torch.device) -> _Compiler:
    """What compiles ``lucyd.cu`` for a device, each variant once."""
    source = files("napari_lucyd.deconvolution").joinpath("lucyd.cu").read_text("utf-8")

    @cache
    def compiled(told: _Macros) -> nvrtc.Function:
        with torch.cuda.device(device):
            torch.cuda.current_stream().query()  # a thread has no context before it asks for something
            return nvrtc.compiled(source, dict(told), "layer", device)

    return compiled


@cache
def unsupported_reason(device: str) -> str:
    """In words, why the network can't be run on a CUDA device in this way; empty where it can.

    Found out by trying: what was compiled has to agree with torch.

    Parameters
    ----------
    device
        As torch names it, with its number.
    """
    if torch.version.cuda is None:
        return "torch is not built for CUDA"
    target = torch.device(device)
    try:
        agrees = agrees_with_torch(lambda network, y: CudaLucyd(network, target)(y.to(target)))
    # Whatever an unknown driver or device makes of it: there is torch.
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        return f"its kernels could not be compiled: {first}"
    return "" if agrees else "what was compiled for it does not agree with torch"


@cache
def _kernels(compile: _Compiler, flat: bool) -> dict[str, Any]:
    """The kernel of each layer."""
    told = {layer.name: macros(layer, flat) for layer in LAYERS}
    variants = set(told.values())
    # The compiler takes a tenth of a second for each, and several threads at once.
    with ThreadPoolExecutor(8) as pool:
        made = dict(zip(variants, pool.map(compile, variants), strict=True))
    return {name: made[each] for name, each in told.items()}


class _Tensor(ctypes.Structure):
    """``struct Tensor`` of ``lucyd.cu``."""

    _fields_ = [
        ("at", ctypes.c_void_p),
        ("channel", ctypes.c_longlong),
        ("plane", ctypes.c_int),
        ("row", ctypes.c_int),
    ]


class _Buffer:
    """Some channels of a block, with zeros around each, which are never written to.

    Rows, planes and channels follow each other, so that the zeros before one are those behind the last.

    Parameters
    ----------
    channels
        How many.
    shape
        (Z, Y, X) of each.
    margin
        Planes of zeros between channels.
    device
        Where.
    """

    def __init__(self, channels: int, shape: Sequence[int], margin: int, device: torch.device) -> None:
        row = ceil_to(shape[2], _PAD) + _PAD
        plane = row * (shape[1] + 1)
        channel = plane * (shape[0] + margin)
        start = margin * plane + row + _PAD
        # A thread's last voxels may lie beyond the block; what they read is not used, but has to be there.
        beyond = 5 * margin * plane + 8 * row
        self.memory = torch.zeros(start + channels * channel + beyond, device=device)
        size, strides = (channels, *shape), (channel, plane, row, 1)
        self.values = self.memory.as_strided(size, strides, start)
        self.told = _Tensor(self.values.data_ptr(), channel, plane, row)


def buffer_numbers() -> Iterator[tuple[str, int]]:
    """The number of the buffer of each tensor, in the order of their making.

    A buffer is given to another tensor of as many channels and the same size when nobody reads it any more.
    """
    last = {layer.kept_in: index for index, layer in enumerate(LAYERS)}
    for index, layer in enumerate(LAYERS):
        for name in (*layer.inputs, layer.residual):
            if name and name != "y":
                last[next(other.kept_in for other in LAYERS if other.name == name)] = index
    for name in RESULTS:
        last[name] = len(LAYERS)
    given: dict[str, int] = {}
    free: dict[tuple[int, bool], list[int]] = {}
    count = 0
    for index, layer in enumerate(LAYERS):
        home = layer.kept_in
        if home not in given:
            waiting = free.get((layer.channels, layer.half), [])
            given[home] = waiting.pop() if waiting else count
            count = max(count, given[home] + 1)
        yield layer.name, given[home]
        for other in LAYERS[: index + 1]:
            if other.name == other.kept_in and last[other.name] == index:
                free.setdefault((other.channels, other.half), []).append(given[other.name])


class CudaLucyd:
    """LUCYD as a function of a block on a CUDA device.

    Parameters
    ----------
    network
        In evaluation mode; it is left alone.
    device
        With its number.
    should_stop
        Asked before every layer.
    compile
        Gives the kernel for what `macros` says; by default `compiler` of the device.
    """

    def __init__(
        self,
        network: LUCYD,
        device: torch.device,
        should_stop: Callable[[], bool] | None = None,
        compile: _Compiler | None = None,
    ) -> None:
        self.config = network.config
        self._device = device
        self._should_stop = should_stop
        self._flat = network.config.dimension == 2
        self._parameters = _on_device(network, device)
        self._rescale = copy.deepcopy(network.rescale).to(device)
        self._parts = {layer.name: dict(macros(layer, self._flat)) for layer in LAYERS}
        self._kernels = _kernels(compile or compiler(device), self._flat)
        self._buffers: tuple[tuple[int, ...], dict[str, _Buffer]] | None = None

    def __call__(self, y: Tensor, inside: Sequence[slice] | None = None) -> LucydOutput:
        """Run a block.

        Parameters
        ----------
        y
            As `LUCYD.forward` has it, of one image, on the device.
        inside
            Along the spatial axes, what of the results is wanted; by default all.

        Returns
        -------
        LucydOutput
            Of that part.

        Raises
        ------
        Cancelled
            When ``should_stop`` says so.
        """
        dimension = self.config.dimension
        sizes, spans = requested_spans(dimension, y.shape, inside)
        buffers = self._run(y.reshape(sizes), spans)
        crop: tuple[Any, ...] = (0, *(span.slice for span in spans))
        shape = (1, 1, *(span.size for span in spans[3 - dimension :]))
        # Copies, for the next block is written over the buffers.
        mask, update = (
            buffers[name].values[crop].clone(memory_format=torch.contiguous_format).reshape(shape)
            for name in RESULTS
        )
        intermediate = y.reshape(1, *sizes)[crop].reshape(shape) + mask
        output = torch.relu_(self._rescale(intermediate * update))
        return LucydOutput(output, mask, update, intermediate)

    def _run(self, block: Tensor, inside: Sequence[Span]) -> Mapping[str, _Buffer]:
        sizes = tuple(block.shape)
        buffers = self._buffers_for(sizes)
        buffers["y"].values[0] = block
        results = [dict.fromkeys(RESULTS, span) for span in inside]
        flat = [self._flat, False, False]
        along = [needed(LAYERS, *each) for each in zip(results, sizes, flat, strict=True)]
        # The driver wants kernel, stream and current device to be of one kind.
        with torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext():
            for layer in LAYERS:
                if self._should_stop is not None and self._should_stop():
                    raise Cancelled("Stopped.")
                self._launch(layer, buffers, [spans[layer.name] for spans in along], self._stream())
        return buffers

    def _stream(self) -> int:
        """Torch's current stream, by its number; elsewhere than on CUDA there are none."""
        return torch.cuda.current_stream(self._device).cuda_stream if self._device.type == "cuda" else 0

    def _buffers_for(self, sizes: tuple[int, ...]) -> Mapping[str, _Buffer]:
        """The buffers, by the names of all tensors; those of the last block if its shape was the same."""
        if self._buffers is None or self._buffers[0] != sizes:
            self._buffers = None  # first let go of the old ones
            margin = 0 if self._flat else 1
            half = (sizes[0] if self._flat else sizes[0] // 2, sizes[1] // 2, sizes[2] // 2)
            made: dict[int, _Buffer] = {}
            named = {"y": _Buffer(1, sizes, margin, self._device)}
            for layer, (name, number) in zip(LAYERS, buffer_numbers(), strict=True):
                if number not in made:
                    shape = half if layer.half else sizes
                    made[number] = _Buffer(layer.channels, shape, margin, self._device)
                named[name] = made[number]
            self._buffers = (sizes, named)
        return self._buffers[1]

    def _launch(
        self, layer: Layer, buffers: Mapping[str, _Buffer], spans: Sequence[Span], stream: int
    ) -> None:
        """Have some of a layer's voxels computed."""
        told = self._parts[layer.name]
        parts = (told["PART_Z"], told["PART_Y"], 1)
        if told["TRANSPOSED"]:  # a thread computes what becomes of one voxel of the input
            halved = (told["TAPS_Z"], 2, 2)
            spans = [Span(a.start // n, -(-a.stop // n)) for a, n in zip(spans, halved, strict=True)]
        each = [part * n for part, n in zip(parts, reversed(THREADS), strict=True)]
        grid = [-(-span.size // n) for span, n in zip(spans, each, strict=True)]
        first, second = buffers[layer.inputs[0]], buffers[layer.inputs[-1]]
        output = buffers[layer.name]
        residual = buffers[layer.residual] if layer.residual else output
        weights, bias = self._parameters[layer.name]
        borders = [ctypes.c_int(border) for span in spans for border in span]
        arguments = [
            *(each.told for each in (first, second, residual, output)),
            *(ctypes.c_void_p(each.data_ptr()) for each in (weights, bias)),
            *borders,
        ]
        self._kernels[layer.name](grid[::-1], THREADS, arguments, stream)


def _on_device(network: LUCYD, device: torch.device) -> dict[str, tuple[Tensor, Tensor]]:
    """Weights and biases of all layers, as their kernels read them; sent there in one piece."""
    pieces: list[Tensor] = []
    for layer in LAYERS:
        found = parameters(network, layer)
        weights = torch.from_numpy(found.weights)
        if not layer.kernel.transposed:
            # (blocks, inputs, Z, Y, X, outputs of a block) to (inputs, Z, Y, X, outputs)
            weights = weights.movedim(0, -2).flatten(-2)
        elif weights.shape[2] == 1:  # in a network for planes, phases along Z are the same
            weights = weights[:4]
        pieces += [weights.flatten(), torch.from_numpy(found.bias)]
    # Each begins at a multiple of 16 bytes.
    padded = [nn.functional.pad(piece, (0, -piece.numel() % 4)) for piece in pieces]
    sent = torch.split(torch.cat(padded).to(device), [piece.numel() for piece in padded])
    return {layer.name: (sent[2 * k], sent[2 * k + 1]) for k, layer in enumerate(LAYERS)}
