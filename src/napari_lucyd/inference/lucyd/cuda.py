"""LUCYD on a CUDA device, by compiled kernels: one for each layer of `graph`, all in ``lucyd.cu``.

The result equals that of the network's own forward pass, with the same padding around the block. Only the
requested part is computed, in float32 throughout.
"""

from __future__ import annotations

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
from napari_lucyd.inference.lucyd.fused import FusedLucyd
from napari_lucyd.inference.lucyd.graph import (
    CHANNELS,
    LAYERS,
    RESULTS,
    Layer,
    agrees_with_torch,
    parameters,
)
from napari_lucyd.inference.lucyd.schedule import needed
from napari_lucyd.networks.lucyd import LUCYD
from napari_lucyd.spans import Span, ceil_to

# Threads in a block along X, Y, Z.
THREADS = (32, 4, 1)
# In floats: rows begin at multiples of one memory access, and with this many zeros.
_PAD = 8
_RESIDUALS = {"": 0, "before": 1, "doubled": 2, "after": 3}
_QUOTIENT = 4
_HALVES = frozenset(layer.name for layer in LAYERS if layer.half)

_Macros = tuple[tuple[str, int], ...]
_Compiler = Callable[[_Macros], Any]


def macros(layer: Layer, flat: bool, repeats: bool = False) -> _Macros:
    """Return the compiler macros of a layer.

    Parameters
    ----------
    layer
        The layer.
    flat
        True for a network of planes.
    repeats
        True for a network that repeats the outermost voxels beyond the borders.
    """
    kernel = layer.kernel
    sources = [CHANNELS[name] for name in layer.inputs]
    outputs = layer.channels if not kernel.reduce else kernel.outputs
    # The voxels of a thread share inputs and weights, and their sums must fit into its registers. More
    # voxels, or fewer, were slower on an H100 (decision 0012).
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
            "REPEATS": int(repeats),
            "PART_Z": 1 if flat else part_z,
            "PART_Y": part_y,
            "THREADS": THREADS[0] * THREADS[1] * THREADS[2],
        }.items()
    )


@cache
def compiler(device: torch.device) -> _Compiler:
    """Return the compiler of ``lucyd.cu`` for a device; it compiles each variant once."""
    source = files("napari_lucyd.inference.lucyd").joinpath("lucyd.cu").read_text("utf-8")

    @cache
    def compiled(variant: _Macros) -> nvrtc.Function:
        with torch.cuda.device(device):
            torch.cuda.current_stream().query()  # a thread has no context before its first request
            return nvrtc.compiled(source, dict(variant), "layer", device)

    return compiled


@cache
def unsupported_reason(device: str) -> str:
    """Say why compiled kernels cannot run on a CUDA device; return an empty text if they can.

    This is tested: the compiled kernels must agree with torch.

    Parameters
    ----------
    device
        Torch's name of the device, with its number.
    """
    if torch.version.cuda is None:
        return "torch is not built for CUDA"
    target = torch.device(device)
    try:
        agrees = agrees_with_torch(lambda network, y: CudaLucyd(network, target)(y.to(target)))
    # An unknown driver or device may raise any error; torch is the fallback.
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        return f"its kernels could not be compiled: {first}"
    return "" if agrees else "its compiled kernels do not agree with torch"


@cache
def _kernels(compile: _Compiler, flat: bool, repeats: bool) -> dict[str, Any]:
    """Compile the kernel of each layer."""
    variant_of = {layer.name: macros(layer, flat, repeats) for layer in LAYERS}
    variants = set(variant_of.values())
    # Each takes a tenth of a second, and the compiler may be called from several threads.
    with ThreadPoolExecutor(8) as pool:
        made = dict(zip(variants, pool.map(compile, variants), strict=True))
    return {name: made[each] for name, each in variant_of.items()}


class _Tensor(ctypes.Structure):
    """The ``struct Tensor`` of ``lucyd.cu``."""

    _fields_ = [
        ("at", ctypes.c_void_p),
        ("channel", ctypes.c_longlong),
        ("plane", ctypes.c_int),
        ("row", ctypes.c_int),
    ]


class _Buffer:
    """Some channels of a block, each surrounded by zeros that are never overwritten.

    Rows, planes and channels are contiguous, so the zeros after one are also those before the next.

    Parameters
    ----------
    channels
        Number of channels.
    shape
        (Z, Y, X) shape of a channel.
    margin
        Number of zero planes between channels.
    device
        Device of the memory.
    """

    def __init__(self, channels: int, shape: Sequence[int], margin: int, device: torch.device) -> None:
        row = ceil_to(shape[2], _PAD) + _PAD
        plane = row * (shape[1] + 1)
        channel = plane * (shape[0] + margin)
        start = margin * plane + row + _PAD
        # A thread's last voxels may lie beyond the block. Their inputs are not used, but must exist.
        beyond = 5 * margin * plane + 8 * row
        self.memory = torch.zeros(start + channels * channel + beyond, dtype=torch.float32, device=device)
        size, strides = (channels, *shape), (channel, plane, row, 1)
        self.values = self.memory.as_strided(size, strides, start)
        self.struct = _Tensor(self.values.data_ptr(), channel, plane, row)


def buffer_numbers() -> Iterator[tuple[str, int]]:
    """Yield each tensor's name with the number of its buffer, in order of computation.

    A buffer that is no longer read goes to the next tensor of the same size and number of channels.
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


class CudaLucyd(FusedLucyd):
    """LUCYD on a CUDA device; see `FusedLucyd`.

    Parameters
    ----------
    network
        Network in evaluation mode; it is not changed.
    device
        Device, with its number.
    should_stop
        Called before every layer; True stops the run.
    compile
        Returns the kernel for the macros of a layer; by default the `compiler` of the device.
    """

    def __init__(
        self,
        network: LUCYD,
        device: torch.device,
        should_stop: Callable[[], bool] | None = None,
        compile: _Compiler | None = None,
    ) -> None:
        super().__init__(network, device, should_stop)
        self._device = device
        self._flat = network.config.dimension == 2
        self._parameters = _on_device(network, device)
        repeats = network.config.padding == "replicate"
        self._macros = {layer.name: dict(macros(layer, self._flat, repeats)) for layer in LAYERS}
        self._kernels = _kernels(compile or compiler(device), self._flat, repeats)
        self._buffers: tuple[tuple[int, ...], dict[str, _Buffer]] | None = None

    def _compute(self, block: Tensor, inside: list[Span], repeated: Sequence[bool]) -> Sequence[Tensor]:
        assert not any(repeated)  # a GPU gains nothing from small blocks
        sizes = tuple(block.shape)
        buffers = self._buffers_for(sizes)
        buffers["y"].values[0] = block
        results = [dict.fromkeys(RESULTS, span) for span in inside]
        flat = [self._flat, False, False]
        along = [needed(LAYERS, *each) for each in zip(results, sizes, flat, strict=True)]
        # The driver requires kernel, stream and current device to match.
        with torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext():
            for layer in LAYERS:
                self._ask()
                self._launch(layer, buffers, [spans[layer.name] for spans in along], self._stream())
        part: tuple[Any, ...] = (0, *(span.slice for span in inside))
        # Copies, because the next block overwrites the buffers.
        return [buffers[name].values[part].clone(memory_format=torch.contiguous_format) for name in RESULTS]

    def _stream(self) -> int:
        """Return the number of torch's current stream; 0 without CUDA."""
        return torch.cuda.current_stream(self._device).cuda_stream if self._device.type == "cuda" else 0

    def _buffers_for(self, sizes: tuple[int, ...]) -> Mapping[str, _Buffer]:
        """Return the buffers by tensor name; blocks of equal shape share them."""
        if self._buffers is None or self._buffers[0] != sizes:
            self._buffers = None  # release the old ones first
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
        """Start the kernel of a layer for some of its voxels."""
        values = self._macros[layer.name]
        parts = (values["PART_Z"], values["PART_Y"], 1)
        if values["TRANSPOSED"]:  # a thread computes all outputs of one input voxel
            halved = (values["TAPS_Z"], 2, 2)
            spans = [Span(a.start // n, -(-a.stop // n)) for a, n in zip(spans, halved, strict=True)]
        each = [part * n for part, n in zip(parts, reversed(THREADS), strict=True)]
        grid = [-(-span.size // n) for span, n in zip(spans, each, strict=True)]
        first, second = buffers[layer.inputs[0]], buffers[layer.inputs[-1]]
        output = buffers[layer.name]
        residual = buffers[layer.residual] if layer.residual else output
        weights, bias = self._parameters[layer.name]
        borders = [ctypes.c_int(border) for span in spans for border in span]
        sizes = [ctypes.c_int(size) for size in first.values.shape[1:]]
        arguments = [
            *(each.struct for each in (first, second, residual, output)),
            *(ctypes.c_void_p(each.data_ptr()) for each in (weights, bias)),
            *borders,
            *sizes,
        ]
        self._kernels[layer.name](grid[::-1], THREADS, arguments, stream)


def _on_device(network: LUCYD, device: torch.device) -> dict[str, tuple[Tensor, Tensor]]:
    """Send weights and biases of all layers to the device in one piece, in the order the kernels read."""
    pieces: list[Tensor] = []
    for layer in LAYERS:
        found = parameters(network, layer)
        weights = torch.from_numpy(found.weights)
        if not layer.kernel.transposed:
            # (blocks, inputs, Z, Y, X, outputs of a block) to (inputs, Z, Y, X, outputs)
            weights = weights.movedim(0, -2).flatten(-2)
        elif weights.shape[2] == 1:  # in a network of planes, the phases along Z are equal
            weights = weights[:4]
        pieces += [weights.flatten(), torch.from_numpy(found.bias)]
    # Each piece begins at a multiple of 16 bytes.
    padded = [nn.functional.pad(piece, (0, -piece.numel() % 4)) for piece in pieces]
    sent = torch.split(torch.cat(padded).to(device), [piece.numel() for piece in padded])
    return {layer.name: (sent[2 * k], sent[2 * k + 1]) for k, layer in enumerate(LAYERS)}
