"""Convolutions for training, compiled for this CPU: three taps along each axis, few channels.

With torch's libraries, half of a training step on the CPU goes into LUCYD's four channels, mostly into the
gradient of the weights. Tensors have the memory layout ``channels_last_3d`` of torch, (N, Z, Y, X, channels),
so a vector register holds all channels of one or more neighbouring voxels. Nothing is padded: taps beyond the
border are left out, along Z and Y by loops that start later or end sooner, along X by lanes that are 0.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, c_void_p
from typing import Any

from napari_lucyd.compute import llvm
from napari_lucyd.compute.llvm import Host, Writer

TAPS = 3
# Number of output channels whose gradient is summed at a time.
_BLOCK = 4
# Eight bytes each, one behind the other: addresses, then sizes. `taken` counts the planes that were started.
ARGUMENTS = ("inputs", "others", "results", "taken", "planes", "depth", "height", "width")
_PROTOTYPE = CFUNCTYPE(None, c_void_p)


def tile(width: int, outputs: int) -> int | None:
    """Return the number of vectors computed together, or None if they do not make up a row of the result.

    Parameters
    ----------
    width
        Number of voxels along X.
    outputs
        Number of channels of the result.
    """
    host = llvm.host()
    if host.lanes % outputs or width * outputs % host.lanes:
        return None
    vectors = width * outputs // host.lanes
    # Besides the sums, the registers hold three weights and some values.
    most = host.registers // 2
    fitting = [k for k in range(2, most + 1) if vectors % k == 0 and vectors >= 2 * k]
    return max(fitting, default=None)


def summable(width: int, inputs: int) -> bool:
    """Return True if `weight_gradient` can compute rows of ``width`` voxels with ``inputs`` channels."""
    lanes = llvm.lanes()
    return lanes % inputs == 0 and width * inputs % lanes == 0 and width * inputs >= 2 * lanes


@functools.cache
def convolution(inputs: int, outputs: int, vectors: int) -> Any:
    """Compile a function of the address of `ARGUMENTS`, for any number of threads at once.

    Parameters
    ----------
    inputs, outputs
        Numbers of channels. ``others`` are the weights, (Z, Y, inputs, X, lanes / outputs, outputs), repeated
        so that each is a whole vector.
    vectors
        Number of vectors computed together; see `tile`.
    """
    return llvm.function(_convolution(llvm.host(), inputs, outputs, vectors), _PROTOTYPE)


@functools.cache
def weight_gradient(inputs: int, outputs: int) -> Any:
    """Compile a function of the address of `ARGUMENTS`, for any number of threads at once.

    Parameters
    ----------
    inputs, outputs
        Numbers of channels of the convolution. ``others`` is the gradient of its result; ``results`` are sums
        over each plane, (planes, Z, Y, X, outputs, lanes / inputs, inputs). The caller adds up planes and
        lanes, in an order that does not depend on threads.
    """
    return llvm.function(_weight_gradient(llvm.host(), inputs, outputs), _PROTOTYPE)


@contextmanager
def _each_plane(code: Writer) -> Iterator[tuple[str, str]]:
    """Take planes until none is left: the index among all, and the index in its volume."""
    for k, name in enumerate(ARGUMENTS):
        kind = "ptr" if k < 4 else "i64"
        code.do(f"%{name} = load {kind}, ptr {code.at('%arguments', k, 'i64')}, align 8")
    code.do("br label %pick")
    code.label("pick")
    plane = code.value("atomicrmw add ptr %taken, i64 1 monotonic")
    code.do(f"br i1 {code.integer('icmp slt', plane, '%planes')}, label %work, label %leave")
    code.label("work")
    yield plane, code.integer("srem", plane, "%depth")
    code.do("br label %pick")
    code.label("leave")


@contextmanager
def _taps(code: Writer, index: str, size: str, sums: list[str] | None = None) -> Iterator[str]:
    """Find the taps along Z or Y that are inside, from 0."""
    first = code.larger(code.integer("sub", 1, index), 0)
    behind = code.smaller(code.integer("sub", code.integer("add", size, 1), index), TAPS)
    with code.loop(first, behind, 1, sums) as (tap, _):
        yield tap


def _neighbour(code: Writer, index: str, tap: str) -> str:
    return code.integer("sub", code.integer("add", index, tap), 1)


def _convolution(host: Host, inputs: int, outputs: int, vectors: int) -> str:
    code = Writer(host.lanes)
    at_once = vectors * host.lanes // outputs
    with _each_plane(code) as (plane, z):
        last = code.integer("sub", "%width", at_once)
        with code.loop("0", "%height", 1) as (y, _):
            row = _Row(code, inputs, outputs, vectors, plane, z, y)
            row.tile("0", first=True)
            with code.loop(str(at_once), last, at_once) as (x, _):
                row.tile(x)
            row.tile(last, last=True)
    return code.finished("ptr %arguments")


class _Row:
    """A row of a convolution's result."""

    def __init__(
        self, code: Writer, inputs: int, outputs: int, vectors: int, plane: str, z: str, y: str
    ) -> None:
        self.code, self.inputs, self.outputs, self.vectors = code, inputs, outputs, vectors
        self.voxels = code.lanes // outputs
        self.plane, self.z, self.y = plane, z, y

    def tile(self, x: str, first: bool = False, last: bool = False) -> None:
        """Compute ``vectors`` of the result from x, at the start, in the middle or at the end of the row."""
        code, lanes = self.code, self.code.lanes
        # Neighbouring vectors share what they read: values at a place serve one or two of them.
        uses: dict[int, list[tuple[int, int]]] = {}
        for k in range(self.vectors):
            for dx in range(TAPS):
                uses.setdefault(k * self.voxels + dx - 1, []).append((k, dx))
        places = sorted(uses)
        sums = ["zeroinitializer"] * self.vectors
        with _taps(code, self.z, "%depth", sums) as dz:
            plane = code.integer("mul", _neighbour(code, self.plane, dz), "%height")
            with _taps(code, self.y, "%height", sums) as dy:
                line = code.integer("add", plane, _neighbour(code, self.y, dy))
                voxel = code.integer("add", code.integer("mul", line, "%width"), x)
                row = code.at("%inputs", code.integer("mul", voxel, self.inputs))
                tap = code.integer("add", code.integer("mul", dz, TAPS), dy)
                weights = code.at("%others", code.integer("mul", tap, TAPS * self.inputs * lanes))
                for c in range(self.inputs):
                    factors = [code.load(weights, (c * TAPS + dx) * lanes) for dx in range(TAPS)]
                    for place in places:
                        there = range(self.voxels)
                        if first and place == places[0]:
                            there = there[1:]
                        if last and place == places[-1]:
                            there = there[:-1]
                        if there:
                            value = self._values(row, place, c, there)
                            for k, dx in uses[place]:
                                sums[k] = code.fma(factors[dx], value, sums[k])
        line = code.integer("add", code.integer("mul", self.plane, "%height"), self.y)
        voxel = code.integer("add", code.integer("mul", line, "%width"), x)
        result = code.at("%results", code.integer("mul", voxel, self.outputs))
        for k, value in enumerate(sums):
            code.store(value, result, str(k * lanes))

    def _values(self, row: str, place: int, channel: int, there: range) -> str:
        """Load a channel of the voxels from a position, each in ``outputs`` lanes; 0 outside the row."""
        code, lanes = self.code, self.code.lanes
        if self.voxels * self.inputs == lanes:
            # One load for all of them, of voxels that are there.
            shift = 0 if len(there) == self.voxels else 1 if there[0] else -1
            order = [
                (v - shift) * self.inputs + channel if v in there else lanes
                for v in (lane // self.outputs for lane in range(lanes))
            ]
            values = code.load(row, (place + shift) * self.inputs)
            return code.shuffle(values, order, lanes, "zeroinitializer" if shift else "poison")
        values = "zeroinitializer"
        for v in there:
            one = code.splat(row, (place + v) * self.inputs + channel)
            order = [lane + lanes * (lane // self.outputs == v) for lane in range(lanes)]
            values = one if self.voxels == 1 else code.shuffle(values, order, lanes, one)
        return values


def _weight_gradient(host: Host, inputs: int, outputs: int) -> str:
    code = Writer(host.lanes)
    with _each_plane(code) as (plane, z):
        size = TAPS**3 * outputs * code.lanes
        sums = code.at("%results", code.integer("mul", plane, size))
        with code.loop("0", str(size), code.lanes) as (k, _):
            code.store("zeroinitializer", sums, k)
        with code.loop("0", "%height", 1) as (y, _):
            line = code.integer("add", code.integer("mul", plane, "%height"), y)
            gradients = code.at("%others", code.integer("mul", code.integer("mul", line, "%width"), outputs))
            with _taps(code, z, "%depth") as dz:
                volume = code.integer("mul", _neighbour(code, plane, dz), "%height")
                with _taps(code, y, "%height") as dy:
                    line = code.integer("add", volume, _neighbour(code, y, dy))
                    row = code.at("%inputs", code.integer("mul", code.integer("mul", line, "%width"), inputs))
                    tap = code.integer("add", code.integer("mul", dz, TAPS), dy)
                    place = code.at(sums, code.integer("mul", tap, TAPS * outputs * code.lanes))
                    for begin in range(0, outputs, _BLOCK):
                        block = range(begin, min(begin + _BLOCK, outputs))
                        _add_products(code, row, gradients, place, inputs, outputs, block)
    return code.finished("ptr %arguments")


def _add_products(
    code: Writer, row: str, gradients: str, place: str, inputs: int, outputs: int, block: range
) -> None:
    """Add to the sums of three taps the products of a row of inputs and one of the results' gradients."""
    lanes = code.lanes
    voxels = lanes // inputs
    # Channel by channel, tap by tap.
    places = [(dx * outputs + channel) * lanes for channel in block for dx in range(TAPS)]
    sums = [code.load(place, k) for k in places]

    def step(x: str, first: bool = False, last: bool = False) -> None:
        here = code.integer("mul", x, inputs)
        middle = code.load(row, here)
        left = _shifted(code, middle, -inputs) if first else _moved(code, row, here, -inputs)
        right = _shifted(code, middle, inputs) if last else _moved(code, row, here, inputs)
        there = code.at(gradients, code.integer("mul", x, outputs))
        for n, channel in enumerate(block):
            factor = _spread(code, there, voxels, outputs, channel, last)
            for k, value in enumerate((left, middle, right), n * TAPS):
                if value is not None:
                    sums[k] = code.fma(factor, value, sums[k])

    step("0", first=True)
    behind = code.integer("sub", "%width", voxels)
    with code.loop(str(voxels), behind, voxels, sums) as (x, _):
        step(x)
    step(behind, last=True)
    for k, value in zip(places, sums, strict=True):
        code.store(value, place, str(k))


def _moved(code: Writer, row: str, index: str, by: int) -> str:
    return code.load(row, code.integer("add", index, by))


def _shifted(code: Writer, vector: str, by: int) -> str | None:
    """Return the zeros that `_moved` reads beyond the end of a row, or None if it reads only zeros."""
    lanes = code.lanes
    if abs(by) == lanes:
        return None
    order = [lane + by if 0 <= lane + by < lanes else lanes for lane in range(lanes)]
    return code.shuffle(vector, order, lanes, "zeroinitializer")


def _spread(code: Writer, pointer: str, voxels: int, outputs: int, channel: int, last: bool) -> str:
    """Spread a channel of each voxel over the lanes of the voxel in a vector of inputs."""
    lanes = code.lanes
    if voxels == 1:
        return code.splat(pointer, channel)
    each = lanes // voxels
    if voxels * outputs == lanes and not last:
        # From that channel on: a load that nothing else needs goes with the shuffle and takes no register. At
        # the end it would read beyond the tensor.
        return code.shuffle(
            code.load(pointer, channel), [lane // each * outputs for lane in range(lanes)], lanes
        )
    order = [lane // each * outputs + channel for lane in range(lanes)]
    return code.shuffle(code.load(pointer, 0, voxels * outputs), order, voxels * outputs)
