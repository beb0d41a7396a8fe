"""Convolutions along an axis, compiled by LLVM for this processor.

A convolution with a short line is limited by memory, not by arithmetic. So each voxel is read and written as
few times as possible: one kernel convolves along one of the first axes, another along the last two at once.
Vector registers hold neighbours in memory. Each sum runs over the taps in one order, so a result does not
depend on the size of the image or on threads.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import CFUNCTYPE, c_void_p
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_lucyd.compute import llvm
from napari_lucyd.compute.llvm import Writer
from napari_lucyd.compute.threads import run_on_all

# Vectors that are computed together, so that several sums are in work at a time.
_VECTORS = 4
# Neighbours in memory that a thread takes at a time: few enough that what it reads stays in the cache from
# one output to the next.
_BLOCK = 512
# Rows of a plane that a thread takes at a time.
_STRIP = 16
_PROTOTYPE = CFUNCTYPE(None, c_void_p)
# Products below which one thread does the work, some tens of microseconds: to wake others takes about as
# long, and on busy cores much longer.
_FEW_PRODUCTS = 2**19
# Arguments of the kernels, eight bytes each, one behind the other: addresses, then sizes. `taken` counts the
# parts that were started.
_ALONG = (
    ("input", "line", "result", "taken"),
    (*("parts", "blocks", "block", "after", "size", "results", "first", "taps"),),
)
# `buffers` has a row for each thread, and `threads` counts the threads that have one.
_IN_PLANE = (
    ("input", "line_y", "line_x", "result", "buffers", "threads", "taken"),
    (
        *("parts", "strips", "height", "width", "results_y", "results_x"),
        *("first_y", "first_x", "taps_y", "taps_x", "length", "start"),
    ),
)


def convolve_along(axis: int, x: Tensor, line: Tensor, first: int, out: Tensor) -> None:
    """Convolve along one axis before the last one.

    Parameters
    ----------
    axis
        Axis of the convolution.
    x
        Contiguous, float32, on the CPU. Voxels beyond the border count as 0.
    line
        Taps: output i is the sum of ``line[k] * x[i + first + k]``.
    first
        Index of the first input of output 0; may be negative.
    out
        Contiguous tensor for the result. Its size along the axis is the number of outputs.
    """
    before, after = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    blocks = max(1, after // _BLOCK)
    taken = np.zeros(1, np.int64)
    addresses = x.data_ptr(), line.data_ptr(), out.data_ptr(), taken.ctypes.data
    sizes = before * blocks, blocks, after // blocks, after, x.shape[axis], out.shape[axis], first, len(line)
    _run(_along(_vectors(after)), out.numel() * len(line), *addresses, *sizes)


def convolve_in_planes(x: Tensor, lines: Sequence[Tensor], first: Sequence[int], out: Tensor) -> None:
    """Convolve along the last two axes.

    Parameters
    ----------
    x
        Contiguous, float32, on the CPU. Voxels beyond the border count as 0.
    lines
        Taps along Y and X; see `convolve_along`.
    first
        Indices of the first input of output (0, 0).
    out
        Contiguous tensor for the result, of other sizes along Y and X.
    """
    (height, width), (results_y, results_x) = x.shape[-2:], out.shape[-2:]
    strips = -(-results_y // _STRIP)
    taps_y, taps_x = map(len, lines)
    # Along X, a row has zeros before and after its voxels, as far as the taps reach.
    start = max(0, -first[1])
    length = max(start + width, start + first[1] + results_x + taps_x)
    buffers = np.zeros((torch.get_num_threads(), length), np.float32)
    counters = np.zeros(2, np.int64)
    addresses = (
        *(x.data_ptr(), lines[0].data_ptr(), lines[1].data_ptr(), out.data_ptr()),
        *(buffers.ctypes.data, counters.ctypes.data, counters[1:].ctypes.data),
    )
    sizes = (
        *(math.prod(x.shape[:-2]) * strips, strips, height, width, results_y, results_x),
        *(first[0], first[1] + start, taps_y, taps_x, length, start),
    )
    products = math.prod(out.shape[:-1]) * (taps_y * width + taps_x * results_x)
    _run(_in_planes(_vectors(min(width, results_x))), products, *addresses, *sizes)


def usable(*widths: int) -> bool:
    """Return True if the kernels work here, and for rows of these numbers of voxels."""
    return _reliable() and min(widths) >= llvm.lanes()


@functools.cache
def _reliable() -> bool:
    """Return True if the kernels agree with numpy; tried once, on little data."""
    try:
        return all(_agrees(vectors * llvm.lanes() + 3) for vectors in (1, _VECTORS))
    # llvmlite is not installed or fails in whatever way: torch computes instead.
    except Exception:
        return False


def _agrees(width: int) -> bool:
    random = np.random.default_rng(0)
    x = random.random((5, 6, width), np.float32)
    lines = [random.random(taps, np.float32) for taps in (3, 4, 2)]
    tensors = [torch.from_numpy(line) for line in lines]
    planes, out = torch.empty((7, 6, width)), torch.empty((7, 9, width + 1))
    convolve_along(0, torch.from_numpy(x), tensors[0], -2, planes)
    convolve_in_planes(planes, tensors[1:], (-3, -1), out)
    expected = x
    for axis, line in enumerate(lines):
        expected = np.apply_along_axis(np.convolve, axis, expected, line[::-1])
    return bool(np.abs(out.numpy() - expected).max() < 1e-5 * np.abs(expected).max())


def _vectors(neighbours: int) -> int:
    """Return the number of vectors computed together, for this number of neighbouring results in memory."""
    return _VECTORS if neighbours >= _VECTORS * llvm.lanes() else 1


def _run(kernel: Any, products: int, *arguments: int) -> None:
    table = np.array(arguments, np.int64)
    if products < _FEW_PRODUCTS:
        kernel(table.ctypes.data)
    else:
        run_on_all(kernel, table.ctypes.data)


@functools.cache
def _along(vectors: int) -> Any:
    """Compile `convolve_along` for rows of at least this number of vectors."""
    code = Writer(llvm.lanes())
    with _each_part(code, _ALONG) as part:
        which = code.integer("srem", part, "%blocks")
        low = code.integer("mul", which, "%block")
        # The last block takes the rest.
        is_last = code.value(f"icmp eq i64 {code.integer('add', which, 1)}, %blocks")
        end = code.value(f"select i1 {is_last}, i64 %after, i64 {code.integer('add', low, '%block')}")
        volume = code.integer("sdiv", part, "%blocks")
        source = code.at("%input", _product(code, volume, "%size", "%after"))
        target = code.at("%result", _product(code, volume, "%results", "%after"))
        with code.loop("0", "%results", 1) as (index, _):
            nearest = code.integer("add", index, "%first")
            taps = _taps_inside(code, nearest, "%size", "%taps")
            row = code.at(source, _product(code, nearest, "%after"))
            written = code.at(target, _product(code, index, "%after"))
            for x in _tiles(code, low, end, vectors):
                _convolve(code, vectors, (row, x, "%after"), ("%line", taps), (written, x))
    return llvm.function(code.finished("ptr %arguments"), _PROTOTYPE)


@functools.cache
def _in_planes(vectors: int) -> Any:
    """Compile `convolve_in_planes` for rows of at least this number of vectors."""
    code = Writer(llvm.lanes())
    with _each_part(code, _IN_PLANE, first=_own_buffer) as part:
        low = code.integer("mul", code.integer("srem", part, "%strips"), _STRIP)
        end = code.smaller(code.integer("add", low, _STRIP), "%results_y")
        plane = code.integer("sdiv", part, "%strips")
        source = code.at("%input", _product(code, plane, "%height", "%width"))
        target = code.at("%result", _product(code, plane, "%results_y", "%results_x"))
        middle = code.at("%buffer", "%start")
        with code.loop(low, end, 1) as (y, _):
            nearest = code.integer("add", y, "%first_y")
            taps = _taps_inside(code, nearest, "%height", "%taps_y")
            row = code.at(source, _product(code, nearest, "%width"))
            for x in _tiles(code, "0", "%width", vectors):
                _convolve(code, vectors, (row, x, "%width"), ("%line_y", taps), (middle, x))
            written = code.at(target, _product(code, y, "%results_x"))
            for x in _tiles(code, "0", "%results_x", vectors):
                shifted = code.integer("add", x, "%first_x")
                taps = "0", "%taps_x"
                _convolve(code, vectors, ("%buffer", shifted, "1"), ("%line_x", taps), (written, x))
    return llvm.function(code.finished("ptr %arguments"), _PROTOTYPE)


@contextmanager
def _each_part(
    code: Writer, arguments: tuple[Sequence[str], Sequence[str]], first: Any = lambda code: None
) -> Iterator[str]:
    """Load the arguments, do what comes first in a thread, and take parts until none is left."""
    addresses, sizes = arguments
    for k, name in enumerate([*addresses, *sizes]):
        kind = "ptr" if k < len(addresses) else "i64"
        code.do(f"%{name} = load {kind}, ptr {code.at('%arguments', k, 'i64')}, align 8")
    first(code)
    code.do("br label %pick")
    code.label("pick")
    part = code.value("atomicrmw add ptr %taken, i64 1 monotonic")
    code.do(f"br i1 {code.integer('icmp slt', part, '%parts')}, label %work, label %leave")
    code.label("work")
    yield part
    code.do("br label %pick")
    code.label("leave")


def _own_buffer(code: Writer) -> None:
    thread = code.value("atomicrmw add ptr %threads, i64 1 monotonic")
    offset = _product(code, thread, "%length")
    code.do(f"%buffer = getelementptr float, ptr %buffers, i64 {offset}")


def _taps_inside(code: Writer, nearest: str, size: str, taps: str) -> tuple[str, str]:
    """Return the first tap that reads inside, and the one after the last, if tap 0 reads ``nearest``."""
    first = code.larger(code.integer("sub", 0, nearest), 0)
    return first, code.smaller(code.integer("sub", size, nearest), taps)


def _tiles(code: Writer, low: str, end: str, vectors: int) -> Iterator[str]:
    """Yield the start of each tile of a row; the last tile computes some results a second time."""
    last = code.integer("sub", end, vectors * code.lanes)
    with code.loop(low, last, vectors * code.lanes) as (x, _):
        yield x
    yield last


def _convolve(
    code: Writer,
    vectors: int,
    source: tuple[str, str, str],
    line: tuple[str, tuple[str, str]],
    target: tuple[str, str],
) -> None:
    """Write one tile: sums over taps, each of which reads one step farther on.

    Parameters
    ----------
    vectors
        Number of vectors in a tile.
    source
        Address of the voxel that tap 0 reads for output 0, index of the tile, and step between taps.
    line
        Address of the taps, and the first and last of them, exclusive.
    target
        Address of output 0, and index of the tile.
    """
    (values, x, step), (taps, (first, behind)), (results, place) = source, line, target
    sums = [code.constant(0)] * vectors
    with code.loop(first, behind, 1, sums) as (tap, sums):
        weight = code.splat(taps, tap)
        at = code.integer("add", x, code.integer("mul", tap, step))
        for k in range(vectors):
            read = code.load(values, code.integer("add", at, k * code.lanes))
            sums[k] = code.fma(weight, read, sums[k])
    for k, total in enumerate(sums):
        code.store(total, results, code.integer("add", place, k * code.lanes))


def _product(code: Writer, *factors: str) -> str:
    return functools.reduce(lambda a, b: code.integer("mul", a, b), factors)
