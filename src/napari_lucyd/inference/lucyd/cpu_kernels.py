"""Convolutions compiled by LLVM for this processor when they are first used.

LUCYD has four channels at full size. Deep-learning libraries put channels into the lanes of a vector register
(sixteen in AVX-512), so most lanes would stay empty. Here the lanes hold voxels along X, and one register
tile is four output channels of a few vectors. The code is short: a loop over planes, rows and tiles, in which
the multiplications of one input row are unrolled.

A tensor is a table of plane pointers: ``table[z][entry]`` points at voxel (y, x) = (0, 0) of a plane. The
table therefore decides which planes a kernel reads for plane z of its output, including zeros beyond the
border. Each plane has one row of zeros before and after it, ``PAD`` zeros to the left of each row, and at
least `PAD` to the right.

Where voxels repeat beyond the border instead of zeros, a kernel that writes a row also writes its neighbours
there: a voxel to the left and to the right, and copies of the first and of the last row. These are the
outermost voxels again, for a network that repeats them, or those of the opposite side, for a block that is a
whole period.

A kernel writes whole tiles first, the rest of a row two vectors at a time, and a last vector alone. Voxels
beyond the width become zeros.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Any

from napari_lucyd.compute import llvm
from napari_lucyd.compute.llvm import Host, Writer
from napari_lucyd.inference.lucyd.graph import BLOCK, Kernel

# Vectors of the tiles at the end of a row.
REST = 2
# In floats: rows begin at multiples of a cache line.
PAD = 16

ARGUMENTS = (
    "ptr %inputs, ptr %residuals, ptr %outputs, ptr %weights, ptr %bias, i64 %entries, i64 %blocks, "
    "i64 %z0, i64 %z1, i64 %y0, i64 %y1, i64 %x0, i64 %x1, i64 %height, i64 %width, "
    "i64 %input_row, i64 %residual_row, i64 %output_row, i64 %repeats, i64 %periodic_y, i64 %periodic_x"
)
_PROTOTYPE = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 16)


@functools.cache
def compiled(kernel: Kernel) -> Any:
    """Compile a kernel; the function takes the arguments listed above and runs without Python's global lock.

    Parameters
    ----------
    kernel
        The kind of convolution. ``inputs`` is a table with ``entries`` planes in each row; ``outputs`` and
        ``residuals`` have ``blocks * kernel.outputs`` (one if channels are reduced). ``weights`` is (blocks,
        entries, taps, taps, outputs). For a transposed convolution it is (2, 2, 2, entries, 2, 2, 4),
        beginning with the output's index modulo two along Z, Y, X. Row strides are in floats. ``repeats`` is
        1 to repeat the outermost voxels beyond the border of the output, otherwise 0; ``periodic_y`` and
        ``periodic_x`` are 1 to repeat those of the opposite side, otherwise 0.
    """
    host = llvm.host()
    text = _transposed(host) if kernel.transposed else _convolution(kernel, host)
    return llvm.function(text, _PROTOTYPE)


def tile_vectors(host: Host) -> int:
    """Return the vectors of a tile: accumulators, input vectors and a weight must fit into the registers."""
    return 4 if host.registers >= 32 else 2


def _convolution(kernel: Kernel, host: Host) -> str:
    code = Writer(host.lanes)
    wide = tile_vectors(host)
    kept = 1 if kernel.reduce else kernel.outputs
    size = kernel.taps**2 * kernel.outputs
    below = code.value("icmp slt i64 %x1, %width")
    limit = code.value(f"select i1 {below}, i64 %x1, i64 %width")
    all_outputs = code.integer("mul", "%blocks", kept)
    block_weights = code.integer("mul", "%entries", size)
    tiled = code.integer("sub", limit, host.lanes * wide - 1)
    with code.loop("%z0", "%z1", 1) as (z, _):
        inputs = code.at("%inputs", code.integer("mul", z, "%entries"), "ptr")
        first = code.integer("mul", z, all_outputs)
        with code.loop("%y0", "%y1", 1) as (y, _), code.loop("0", "%blocks", 1) as (block, _):
            row = Row(
                code,
                kernel,
                bias=code.at("%bias", code.integer("mul", block, kernel.outputs)),
                y=y,
                channel=code.integer("add", first, code.integer("mul", block, kept)),
            )
            weights = code.at("%weights", code.integer("mul", block, block_weights))
            with code.loop("%x0", tiled, host.lanes * wide) as (x, _):
                _tile(row, inputs, weights, x, wide, masked=False)
            # `x` is still defined here: the first voxel that the tiles did not reach.
            with code.loop(x, code.integer("sub", "%x1", host.lanes), host.lanes * REST) as (rest, _):
                _tile(row, inputs, weights, rest, REST, masked=True)
            with code.loop(rest, "%x1", host.lanes) as (last, _):
                _tile(row, inputs, weights, last, 1, masked=True)
            write_beyond(code, y, row.channel, kept)
    return code.finished(ARGUMENTS)


def _tile(row: Row, inputs: str, weights: str, x: str, vectors: int, masked: bool) -> None:
    """Compute ``vectors`` vectors of voxels of a row from x on."""
    code, kernel, lanes = row.code, row.kernel, row.code.lanes
    count = kernel.outputs
    starts = [code.integer("add", x, k * lanes) for k in range(vectors)]
    sums = [row.begin(c, start) for c in range(count) for start in starts]
    shift = kernel.taps // 2
    top = code.integer("sub", code.integer("mul", row.y, kernel.stride), shift)
    corner = code.integer("mul", top, "%input_row")
    left = code.integer("sub", code.integer("mul", x, kernel.stride), shift)
    offset = code.integer("add", corner, left)
    with code.loop("0", "%entries", 1, sums) as (entry, _):
        plane = code.at(code.pointer(inputs, entry), offset)
        own = code.at(weights, code.integer("mul", entry, kernel.taps**2 * count))
        for dy in range(kernel.taps):
            line = code.at(plane, code.integer("mul", "%input_row", dy))
            for dx in range(kernel.taps):
                values = [_values(code, kernel.stride, line, dx, k) for k in range(vectors)]
                for c in range(count):
                    weight = code.splat(own, (dy * kernel.taps + dx) * count + c)
                    for k, value in enumerate(values):
                        sums[c * vectors + k] = code.fma(weight, value, sums[c * vectors + k])
    for k, start in enumerate(starts):
        row.finish(sums[k::vectors], start, masked)


def _values(code: Writer, stride: int, line: str, dx: int, k: int) -> str:
    """Load the k-th vector of voxels of a line of the input, ``dx`` further to the right."""
    lanes = code.lanes
    if stride == 1:
        return code.load(line, dx + k * lanes)
    both = code.load(line, dx + 2 * k * lanes, 2 * lanes)
    return code.shuffle(both, list(range(0, 2 * lanes, 2)), 2 * lanes)


@dataclass(frozen=True)
class Row:
    """One row of the output, for one block of channels.

    Attributes
    ----------
    code
        Writer of the kernel that computes it.
    kernel
        Kind of convolution.
    bias
        Address of the biases of the block.
    y
        Index of the row.
    channel
        Place of the block's first channel in the table of outputs.
    """

    code: Writer
    kernel: Kernel
    bias: str
    y: str
    channel: str

    def begin(self, c: int, x: str) -> str:
        """Return what the products of channel ``c`` are added to, for the vector at x."""
        bias = self.code.splat(self.bias, c)
        if self.kernel.residual not in ("before", "doubled"):
            return bias
        return self.code.op("fadd", bias, self._residual(c, x))

    def _residual(self, c: int, x: str) -> str:
        code, lanes = self.code, self.code.lanes
        plane = code.pointer("%residuals", code.integer("add", self.channel, c))
        if self.kernel.residual != "doubled":
            return code.load(plane, code.integer("add", code.integer("mul", self.y, "%residual_row"), x))
        row = code.integer("mul", code.integer("lshr", self.y, 1), "%residual_row")
        half = code.load(plane, code.integer("add", row, code.integer("lshr", x, 1)), lanes // 2)
        return code.shuffle(half, [k // 2 for k in range(lanes)], lanes // 2)

    def finish(self, sums: list[str], x: str, masked: bool) -> None:
        """Store the vector at x of all channels; ``masked`` if it may reach beyond the width."""
        code, kernel = self.code, self.kernel
        results = [code.relu(value) for value in sums] if kernel.relu else sums
        if kernel.residual == "after" and not kernel.reduce:
            results = [code.op("fadd", value, self._residual(c, x)) for c, value in enumerate(results)]
        if kernel.reduce:
            total = functools.reduce(lambda a, b: code.op("fadd", a, b), results)
            results = [code.op("fmul", total, code.constant(1 / kernel.outputs))]
        if kernel.reduce == "quotient":
            floor = code.op("fadd", results[0], code.splat("%bias", kernel.outputs))
            results = [code.op("fdiv", self._residual(0, x), floor)]
        if masked:
            mask = code.inside(x, "%width")
            results = [code.masked(mask, value) for value in results]
        place = code.integer("add", code.integer("mul", self.y, "%output_row"), x)
        for c, value in enumerate(results):
            plane = code.pointer("%outputs", code.integer("add", self.channel, c))
            code.store(value, plane, place)


def write_beyond(code: Writer, y: str, channel: str, count: int) -> None:
    """Write what lies beyond the border next to a finished row, for ``count`` channels."""
    # Loops of one turn or none.
    with code.loop("0", "%repeats", 1):
        _beside(code, y, channel, count, opposite=False)
        _above_and_below(code, y, channel, count, opposite=False)
    with code.loop("0", "%periodic_x", 1):
        _beside(code, y, channel, count, opposite=True)
    with code.loop("0", "%periodic_y", 1):
        _above_and_below(code, y, channel, count, opposite=True)


def _beside(code: Writer, y: str, channel: str, count: int, opposite: bool) -> None:
    """Write the voxels to the left and to the right of a row."""
    place, last = code.integer("mul", y, "%output_row"), code.integer("sub", "%width", 1)
    with code.loop("0", str(count), 1) as (c, _):
        row = code.at(code.pointer("%outputs", code.integer("add", channel, c)), place)
        code.copy_float(row, last if opposite else 0, -1)
        code.copy_float(row, 0 if opposite else last, "%width")


def _above_and_below(code: Writer, y: str, channel: str, count: int, opposite: bool) -> None:
    """Copy the first and the last row, with the voxels beside them, to the rows beyond the border."""
    place, last = code.integer("mul", y, "%output_row"), code.integer("sub", "%height", 1)
    # Loops of one turn or none, for the first row and for the last one.
    as_first = "0", code.integer("sub", 1, code.smaller(y, 1))
    as_last = last, code.integer("add", y, 1)
    up, down = (code.integer("sub", 0, "%height"), "%height") if opposite else (-1, 1)
    for (start, stop), rows in ((as_first, down if opposite else up), (as_last, up if opposite else down)):
        with code.loop(start, stop, 1), code.loop("0", str(count), 1) as (c, _):
            row = code.at(code.pointer("%outputs", code.integer("add", channel, c)), place)
            other = code.at(row, code.integer("mul", "%output_row", rows))
            with code.loop("0", "%width", code.lanes) as (x, _):
                code.store(code.load(row, x), other, x)
            code.copy_float(row, -1, -1, other)
            code.copy_float(row, "%width", "%width", other)


def _transposed(host: Host) -> str:
    """Write the transposed convolution; see `compiled` for the weights.

    Output 2i takes inputs i - 1 and i; output 2i + 1 takes i and i + 1.
    """
    code = Writer(host.lanes)
    lanes = host.lanes
    half_width = code.integer("lshr", "%width", 1)
    start, size = code.integer("lshr", "%x0", 1), code.integer("mul", "%entries", 4 * BLOCK)
    stop = code.integer("lshr", code.integer("add", "%x1", 1), 1)
    with code.loop("%z0", "%z1", 1) as (z, _):
        inputs = code.at("%inputs", code.integer("mul", z, "%entries"), "ptr")
        outputs = code.at("%outputs", code.integer("mul", z, BLOCK), "ptr")
        odd_z = code.integer("shl", code.integer("and", z, 1), 1)
        with code.loop("%y0", "%y1", 1) as (y, _):
            odd_y = code.integer("and", y, 1)
            phase = code.integer("shl", code.integer("add", odd_z, odd_y), 1)
            phases = [code.integer("add", phase, odd_x) for odd_x in (0, 1)]
            weights = [code.at("%weights", code.integer("mul", k, size)) for k in phases]
            top = code.integer("sub", code.integer("add", code.integer("lshr", y, 1), odd_y), 1)
            corner = code.integer("mul", top, "%input_row")
            with code.loop(start, stop, lanes) as (x, _):
                # Four channels at even positions, then four at odd ones.
                sums = [code.splat("%bias", c) for _ in (0, 1) for c in range(BLOCK)]
                offset = code.integer("sub", code.integer("add", corner, x), 1)
                with code.loop("0", "%entries", 1, sums) as (entry, _):
                    plane = code.at(code.pointer(inputs, entry), offset)
                    begin = code.integer("mul", entry, 4 * BLOCK)
                    taps = [code.at(w, begin) for w in weights]
                    for ty in (0, 1):
                        row = code.at(plane, code.integer("mul", "%input_row", ty))
                        values = [code.load(row, k) for k in range(3)]
                        for odd_x in (0, 1):
                            for tx in (0, 1):
                                for c in range(BLOCK):
                                    weight = code.splat(taps[odd_x], (ty * 2 + tx) * BLOCK + c)
                                    k = odd_x * BLOCK + c
                                    sums[k] = code.fma(weight, values[odd_x + tx], sums[k])
                mask = code.inside(x, half_width)
                place = code.integer("add", code.integer("mul", y, "%output_row"), code.integer("shl", x, 1))
                for c in range(BLOCK):
                    even, odd = (code.masked(mask, code.relu(sums[k])) for k in (c, c + BLOCK))
                    order = [k // 2 + lanes * (k % 2) for k in range(2 * lanes)]
                    woven = code.shuffle(even, order, lanes, odd)
                    code.store(woven, code.pointer(outputs, str(c)), place, 2 * lanes)
            write_beyond(code, y, code.integer("mul", z, BLOCK), BLOCK)
    return code.finished(ARGUMENTS)
