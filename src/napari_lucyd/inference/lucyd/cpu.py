"""LUCYD on the processor, by compiled kernels; see `cpu_kernels` and `schedule`.

The result equals that of the network's own forward pass, with the same padding around the block. Only the
requested part is computed, and only the planes that later layers still need are kept.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_lucyd.compute.llvm import lanes
from napari_lucyd.inference.lucyd import cpu_winograd
from napari_lucyd.inference.lucyd.cpu_kernels import PAD, REST, compiled
from napari_lucyd.inference.lucyd.cpu_planes import Planes, row_floats
from napari_lucyd.inference.lucyd.cpu_work import Work, Workers
from napari_lucyd.inference.lucyd.fused import FusedLucyd
from napari_lucyd.inference.lucyd.graph import (
    CHANNELS,
    LAYERS,
    RESULTS,
    Layer,
    agrees_with_torch,
    parameters,
)
from napari_lucyd.inference.lucyd.schedule import Step, needed, ring_sizes, schedule
from napari_lucyd.networks.lucyd import LUCYD
from napari_lucyd.spans import Span, ceil_to, floor_to

# Voxels of one step, about: enough to keep several threads busy, few enough to stay in the processor's
# caches.
_STEP_VOXELS = 2**19
# A step with fewer voxels is done by one thread: to wake others takes longer.
FEW_VOXELS = 2**15
# Buffers and tables up to this size are kept for the next run: making them takes longer than a small volume.
_KEPT_BYTES = 2**25


def planes_at_once(shape: Sequence[int]) -> int:
    """Return the number of planes to compute at a time, for a block of (Z, Y, X)."""
    return max(2, ceil_to(_STEP_VOXELS // (shape[1] * shape[2]), 2))


class _Part:
    """The requested part of a result, without zeros around it, with rows as long as a kernel writes."""

    def __init__(self, width: int, inside: Sequence[Span]) -> None:
        z, y, x = inside
        self.channels, self.row = 1, row_floats(width)
        self._start, self._rows = z.start, y
        self._memory = np.empty(z.size * y.size * self.row + 2 * PAD, dtype=np.float32)
        whole = self._memory[: z.size * y.size * self.row].reshape(z.size, y.size, self.row)
        self.values = whole[:, :, x.slice]

    def addresses(self, planes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the address that voxel (0, 0) of each plane would have: (planes, 1)."""
        rows = (planes - self._start) * self._rows.size - self._rows.start
        return int(self._memory.ctypes.data) + 4 * self.row * rows[:, None]


def _suits_winograd(layer: Layer) -> bool:
    return cpu_winograd.suits(layer.kernel, sum(CHANNELS[name] for name in layer.inputs))


@functools.cache
def unsupported_reason() -> str:
    """Say why compiled kernels cannot run here; return an empty text if they can.

    This is tested: the compiled kernels must agree with torch.
    """
    if importlib.util.find_spec("llvmlite") is None:
        return "llvmlite is not installed (pip install napari-lucyd[cpu])"
    return reason_unless(lambda: agrees_with_torch(lambda network, y: CompiledLucyd(network, 1)(y)))


def reason_unless(agrees: Callable[[], bool]) -> str:
    """Say why compiled kernels cannot run here, unless ``agrees`` finds that they agree with torch."""
    try:
        found = agrees()
    # An unknown version of llvmlite or an unknown processor may raise any error; torch is the fallback.
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        return f"llvmlite could not compile for this processor: {first}"
    return "" if found else "the kernels that llvmlite compiled for this processor do not agree with torch"


class _Plan(NamedTuple):
    """The steps of a block, the buffers, and the work of all layers."""

    steps: list[Step]
    tensors: dict[str, Planes]
    works: dict[str, Work]


# Compiled networks kept for the next run, by network. Two runs at a time each have their own.
_idle: WeakKeyDictionary[LUCYD, CompiledLucyd] = WeakKeyDictionary()


def compiled_lucyd(
    network: LUCYD, threads: int, should_stop: Callable[[], bool] | None = None
) -> CompiledLucyd:
    """Return a network on the processor, if possible the one that an earlier run with equal weights released.

    The parameters are those of `CompiledLucyd`.
    """
    kept = _idle.pop(network, None)
    if kept is None or kept.made_for != (_state(network), max(1, threads)):
        return CompiledLucyd(network, threads, should_stop)
    kept.ask_with(should_stop)
    return kept


# The dictionaries of parameters and buffers of a network's layers: a run of a small volume is too short to
# look for them each time.
_homes: WeakKeyDictionary[LUCYD, list[Mapping[str, Tensor | None]]] = WeakKeyDictionary()


def _state(network: LUCYD) -> tuple[Any, ...] | None:
    """Return what changes when a weight is replaced or written to; None if that is unknown."""
    homes = _homes.get(network)
    if homes is None:
        layers = [*network.modules()][1:]
        homes = _homes[network] = [home for layer in layers for home in (layer._parameters, layer._buffers)]
    tensors = [each for home in homes if home for each in home.values() if each is not None]
    try:
        versions = tuple([(each.data_ptr(), each._version) for each in tensors])
    except RuntimeError:  # made in inference mode
        return None
    return (network.division.epsilon, network.config, *versions)


class CompiledLucyd(FusedLucyd):
    """LUCYD on the processor; see `FusedLucyd`.

    Parameters
    ----------
    network
        Network in evaluation mode; it is not changed.
    threads
        Number of threads.
    should_stop
        Called before every step; True stops the run.
    winograd
        False to convolve without Winograd's method, for comparison.
    """

    def __init__(
        self,
        network: LUCYD,
        threads: int,
        should_stop: Callable[[], bool] | None = None,
        winograd: bool = True,
    ) -> None:
        super().__init__(network, torch.device("cpu"), should_stop)
        self._workers = Workers(threads, cpu_winograd.NARROW.floats, FEW_VOXELS)
        self._by_winograd = {layer.name: winograd and _suits_winograd(layer) for layer in LAYERS}
        self._parameters = {layer.name: parameters(network, layer) for layer in LAYERS}
        for name, found in self._parameters.items():
            if self._by_winograd[name]:
                self._parameters[name] = found._replace(weights=cpu_winograd.transformed(found.weights))
        self._repeats = network.config.padding == "replicate"
        self._functions = {
            layer.name: (cpu_winograd.compiled if self._by_winograd[layer.name] else compiled)(layer.kernel)
            for layer in LAYERS
        }
        self._buffers: tuple[Any, dict[str, Planes]] | None = None
        self._plan: tuple[Any, _Plan] | None = None
        state = _state(network) if winograd else None
        self.made_for = None if state is None else (state, self._workers.threads)
        self._network = ref(network)

    def ask_with(self, should_stop: Callable[[], bool] | None) -> None:
        """Replace the function that is called before every step."""
        self._should_stop = should_stop

    def release(self) -> None:
        """Keep buffers and tables for the next run, if they are small; the object must not be used again."""
        network, self._should_stop = self._network(), None
        buffers = {id(each): each.nbytes for each in (self._buffers[1] if self._buffers else {}).values()}
        small = sum(buffers.values()) <= _KEPT_BYTES and not self._workers.started
        if network is not None and self.made_for is not None and small:
            _idle[network] = self

    def _compute(self, block: Tensor, inside: list[Span], repeated: Sequence[bool]) -> Sequence[Tensor]:
        sizes, flat = tuple(block.shape), self.config.dimension == 2
        key = (sizes, tuple(inside), tuple(repeated))
        if self._plan is None or self._plan[0] != key:
            self._plan = None
            self._plan = (key, self._planned(sizes, inside, repeated, flat))
        steps, tensors, works = self._plan[1]
        # Results have memory of their own, since the caller may keep them.
        kept = {name: _Part(sizes[2], inside) for name in RESULTS}
        last = {name: works[name].writing_to(part) for name, part in kept.items()}
        assert not (self._repeats and any(repeated))
        _, along_y, along_x = repeated
        tensors["y"].values[0] = block.numpy()
        tensors["y"].repeat(along_y, along_x)
        if self._repeats:
            tensors["y"].repeat_outermost()
        for layer, planes in steps:
            self._ask()
            self._workers.do(last.get(layer.name) or works[layer.name], planes)
        return [torch.from_numpy(kept[name].values) for name in RESULTS]

    def _planned(
        self, sizes: tuple[int, ...], inside: list[Span], repeated: Sequence[bool], flat: bool
    ) -> _Plan:
        """Plan the work on blocks of a shape."""
        spans = []
        for size, span, whole in zip(sizes, inside, repeated, strict=True):
            # Every voxel of a period is needed, and only those of the results that are asked for.
            half = {layer.name: size // 2 if layer.half else size for layer in LAYERS}
            every = {name: span if name in RESULTS else Span(0, n) for name, n in half.items()}
            spans.append(every if whole else needed(LAYERS, dict.fromkeys(RESULTS, span), size))
        if repeated[0]:
            steps = [Step(layer, spans[0][layer.name]) for layer in LAYERS]
        else:
            steps = schedule(LAYERS, RESULTS, inside[0], sizes[0], planes_at_once(sizes), flat)
        tensors = self._tensors(sizes, steps, flat, repeated)
        rows, columns = spans[1:]
        works = {
            layer.name: self._work(
                layer, sizes, tensors, rows[layer.name], columns[layer.name], flat, repeated
            )
            for layer in LAYERS
        }
        return _Plan(steps, tensors, works)

    def _tensors(
        self, sizes: tuple[int, ...], steps: list[Step], flat: bool, repeated: Sequence[bool]
    ) -> dict[str, Planes]:
        """Return the buffers by tensor name; blocks of equal shape share them."""
        found = ring_sizes(steps, flat)
        key = (sizes, tuple(sorted(found.items())), tuple(repeated))
        if self._buffers is None or self._buffers[0] != key:
            self._buffers = None  # release the old ones first
            full, half = (sizes[1], sizes[2]), (sizes[1] // 2, sizes[2] // 2)
            tensors = {"y": Planes(1, sizes[0], full), "": Planes(1, 1, full)}
            for layer in LAYERS:
                if layer.name in RESULTS:
                    continue
                home = layer.kept_in
                if home not in tensors:
                    tensors[home] = Planes(layer.channels, found[home], half if layer.half else full)
                tensors[layer.name] = tensors[home]
            self._buffers = (key, tensors)
        return self._buffers[1]

    def _work(
        self,
        layer: Layer,
        sizes: tuple[int, ...],
        homes: dict[str, Planes],
        rows: Span,
        columns: Span,
        flat: bool,
        repeated: Sequence[bool],
    ) -> Work:
        kernel, halves = layer.kernel, {other.name for other in LAYERS if other.half}
        count = sizes[0] // 2 if layer.half and not flat else sizes[0]
        planes = np.arange(count)
        if flat:
            reached = planes[:, None]
        elif kernel.transposed:
            reached = (planes // 2 - 1 + planes % 2)[:, None] + np.arange(2)
        else:
            reached = kernel.stride * planes[:, None] + np.arange(kernel.taps) - kernel.taps // 2
        zeros = homes[""].addresses(np.zeros(1, dtype=np.int64)).item()
        tables = []
        for name in layer.inputs:
            end = sizes[0] // 2 if name in halves and not flat else sizes[0]
            tensor = homes[name]
            there = np.clip(reached, 0, end - 1) if self._repeats else reached
            there = there % end if repeated[0] else there
            found = tensor.addresses(there.ravel()).reshape(*there.shape, tensor.channels)
            found[(there < 0) | (there >= end)] = zeros
            tables.append(found.transpose(0, 2, 1).reshape(count, -1))
        inputs = np.ascontiguousarray(np.concatenate(tables, axis=1))
        output, parameters = homes.get(layer.name), self._parameters[layer.name]
        if output is None:  # a result, whose memory is that of a run
            outputs, output_row = np.zeros((count, 1), dtype=np.int64), row_floats(sizes[2])
        else:
            outputs, output_row = np.ascontiguousarray(output.addresses(planes)), output.row
        residuals, residual_row = outputs, output_row
        if layer.residual:
            residual = homes[layer.residual]
            doubled = kernel.residual == "doubled" and not flat
            residuals = np.ascontiguousarray(residual.addresses(planes // 2 if doubled else planes))
            residual_row = residual.row
        arrays = (inputs, residuals, outputs, *parameters)
        height, width = (n // 2 if layer.half else n for n in sizes[1:])
        # Results have no room for voxels beyond the border, and no layer reads them.
        beyond = (False, False, False) if output is None else (self._repeats, *repeated[1:])
        return Work(
            function=self._functions[layer.name],
            tables=(*(array.ctypes.data for array in arrays), inputs.shape[1], parameters.weights.shape[0]),
            rows=rows,
            rest=(
                floor_to(columns.start, REST * lanes()),
                columns.stop,
                height,
                width,
                homes[layer.inputs[0]].row,
                residual_row,
                output_row,
                *map(int, beyond),
            ),
            depth=reached.shape[1] if self._by_winograd[layer.name] else 0,
            outputs=outputs,
            keep=(arrays, homes),
        )
