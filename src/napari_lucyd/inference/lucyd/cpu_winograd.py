"""Convolutions by half the multiplications: Winograd's method along Y; see `cpu_kernels`.

Four rows of an output need six rows of the input. A plain convolution multiplies 4 · 3 times along Y. Here,
six weighted sums of the six rows (*lines*) are made first. Each line is convolved along Z and X, with
weights of its own: six multiplications along Y. Weighted sums of the six results are the four rows, equal to
those of the plain convolution but for rounding (`benchmarks/kernels.py` measures it).

Rows are grouped by their index, so results do not depend on the number of threads. A group at the edge of
the wanted rows computes all four and stores the wanted ones. Rows of the input that may not exist are
replaced by their neighbours.

The lines of a plane serve three planes of the output. Each thread keeps them in a *scratch*, for one strip
of the width. Arithmetic is faster than memory here, so the rows of the next group and the rows to write are
fetched early.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd.compute import llvm
from napari_lucyd.compute.llvm import Host, Writer
from napari_lucyd.inference.lucyd.cpu_kernels import ARGUMENTS, PAD, REST, Row, tile_vectors, write_beyond
from napari_lucyd.inference.lucyd.graph import BLOCK, Kernel

ROWS = 4
"""Rows of the output that are computed together."""

LINES = ROWS + 2
"""Weighted sums of rows of the input for each group."""

# The method evaluates polynomials at 0, ±NEAR, ±FAR and infinity, and interpolates. With 0, ±1, ±2 it would
# round more. All factors of `_lines` and `_rows` are exact in float32.
_NEAR, _FAR = 0.75, 1.5


def _points() -> npt.NDArray[np.float64]:
    """Return the weights of the lines, from the three weights of a column of the kernel."""
    points = np.array([0, _NEAR, -_NEAR, _FAR, -_FAR])
    factors = [np.prod([p - other for other in points if other != p]) for p in points]
    finite = points[:, None] ** np.arange(3) / np.array(factors)[:, None]
    return np.vstack([finite, [0, 0, 1]])


# The scratch begins with the results of a tile and a table of pointers to the lines.
_TABLE = LINES * BLOCK * 4 * PAD


@dataclass(frozen=True)
class Scratch:
    """The memory of a thread for the lines of a strip; sizes are in floats.

    Attributes
    ----------
    strip
        Voxels of a strip of the width.
    entries
        Input planes at most.
    """

    strip: int
    entries: int

    @property
    def line(self) -> int:
        """Size of a line, which has a vector more on each side."""
        return self.strip + 2 * PAD

    @property
    def lines(self) -> int:
        """Start of the lines, after a pointer for each entry."""
        return _TABLE + 2 * self.entries

    @property
    def floats(self) -> int:
        """Size of the scratch, which begins at a cache line."""
        return self.lines + self.entries * LINES * self.line


NARROW = Scratch(256, 48)
"""Scratch for LUCYD, with up to 16 channels."""

WIDE = Scratch(64, 384)
"""Scratch for CARE, with up to 128 channels: short strips, so that the lines stay in the second cache."""

_PROTOTYPE = ctypes.CFUNCTYPE(
    None, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 16, ctypes.c_void_p, ctypes.c_int64
)


def suits(kernel: Kernel, sources: int) -> bool:
    """Return True if a convolution of ``sources`` channels is faster by this method.

    With one channel, making the lines takes as long as it saves.
    """
    return kernel.taps == 3 and kernel.stride == 1 and not kernel.transposed and sources > 1


def transformed(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return (blocks, LINES, inputs, Z, X, outputs) from weights (blocks, inputs, Z, Y, X, outputs)."""
    found = np.einsum("lk,bizkxo->blizxo", _points(), weights.astype(np.float64))
    return np.ascontiguousarray(found, dtype=np.float32)


@functools.cache
def compiled(kernel: Kernel, scratch: Scratch = NARROW) -> Any:
    """Compile a kernel for a scratch; see `cpu_kernels.compiled`.

    The function takes two more arguments: the address of a scratch, and the number of taps along Z, 3 or 1.
    The entries of a plane are sorted by channel, then along Z. The weights are those of `transformed`.
    """
    return llvm.function(_Convolution(llvm.host(), kernel, scratch).text(), _PROTOTYPE)


@dataclass(frozen=True)
class _Group:
    """A group of rows: their indices, 1 for each wanted one and 0 for others, and starts of input rows."""

    rows: list[str]
    wanted: list[str]
    inputs: list[str]


class _Convolution:
    """A writer of one kernel."""

    def __init__(self, host: Host, kernel: Kernel, scratch: Scratch) -> None:
        self._code, self._kernel, self._scratch = Writer(host.lanes), kernel, scratch
        self._wide = tile_vectors(host)
        self._kept = 1 if kernel.reduce else kernel.outputs

    def text(self) -> str:
        """Write the kernel."""
        code = self._code
        self._line_weights = code.integer("mul", "%entries", 3 * self._kernel.outputs)
        self._channels = code.integer("udiv", "%entries", "%depth")
        self._last_tap = code.integer("sub", "%depth", 1)
        end = code.smaller("%x1", "%width")
        with code.loop(code.integer("and", "%y0", -ROWS), "%y1", ROWS) as (first, _):
            group = self._group(first)
            with code.loop("%x0", "%x1", self._scratch.strip) as (strip, _):
                stop = code.smaller("%x1", code.integer("add", strip, self._scratch.strip))
                with code.loop("%z0", "%z1", 1) as (z, _):
                    self._make_lines(group, z, strip, stop)
                    with code.loop("0", "%blocks", 1) as (block, _):
                        self._strip(group, z, block, strip, stop, code.smaller(stop, end))
            self._write_beyond(
                code.larger(first, "%y0"), code.smaller("%y1", code.integer("add", first, ROWS))
            )
        return code.finished(f"{ARGUMENTS}, ptr %scratch, i64 %depth")

    def _write_beyond(self, start: str, stop: str) -> None:
        """Write what lies beyond the border next to finished rows."""
        code = self._code
        with (
            code.loop("%z0", "%z1", 1) as (z, _),
            code.loop("0", "%blocks", 1) as (block, _),
            code.loop(start, stop, 1) as (y, _),
        ):
            write_beyond(code, y, self._channel(z, block), self._kept)

    def _group(self, first: str) -> _Group:
        code = self._code
        rows = [code.integer("add", first, r) for r in range(ROWS)]
        wanted, inputs = [], []
        for y in rows:
            before, after = code.value(f"icmp slt i64 {y}, %y0"), code.value(f"icmp sge i64 {y}, %y1")
            outside = code.value(f"or i1 {before}, {after}")
            wanted.append(code.value(f"select i1 {outside}, i64 0, i64 1"))
        above = code.integer("sub", "%y0", 1)
        for r in range(LINES):
            # Rows further away may not have been computed.
            y = code.larger(above, code.smaller("%y1", code.integer("add", first, r - 1)))
            inputs.append(code.integer("mul", y, "%input_row"))
        return _Group(rows, wanted, inputs)

    def _channel(self, z: str, block: str) -> str:
        """Place of a block's first channel in the table of outputs."""
        code = self._code
        blocks = code.integer("add", code.integer("mul", z, "%blocks"), block)
        return code.integer("mul", blocks, self._kept)

    def _make_lines(self, group: _Group, z: str, strip: str, stop: str) -> None:
        """Make the lines of the planes that the plane before did not need, and the table of all."""
        code, lanes = self._code, self._code.lanes
        planes = code.at("%inputs", code.integer("mul", z, "%entries"), "ptr")
        table, homes = code.at("%scratch", _TABLE), code.at("%scratch", self._scratch.lines)
        first = code.value(f"icmp eq i64 {z}, %z0")
        new = code.value(f"select i1 {first}, i64 0, i64 {self._last_tap}")
        with code.loop("0", "%depth", 1) as (tap, _):
            place = code.integer("urem", code.integer("add", z, tap), "%depth")
            place = code.integer("mul", place, self._channels)
            make = code.value(f"zext i1 {code.value(f'icmp sge i64 {tap}, {new}')} to i64")
            with code.loop("0", self._channels, 1) as (channel, _):
                entry = code.integer("add", code.integer("mul", channel, "%depth"), tap)
                index = code.integer("add", place, channel)
                home = code.at(homes, code.integer("mul", index, LINES * self._scratch.line))
                code.store_pointer(home, table, entry)
                with code.loop("0", make, 1):
                    plane = code.pointer(planes, entry)
                    rows = [code.at(plane, start) for start in group.inputs]
                    left, right = code.integer("sub", strip, lanes), code.integer("add", stop, lanes)
                    with code.loop(left, right, lanes) as (x, _):
                        lines = _lines(code, [code.load(row, x) for row in rows])
                        to = code.integer("add", code.integer("sub", x, strip), PAD)
                        for k, line in enumerate(lines):
                            code.store(line, code.at(home, k * self._scratch.line), to)

    def _strip(self, group: _Group, z: str, block: str, strip: str, stop: str, end: str) -> None:
        """Compute the rows of a group in one plane, for a block of channels."""
        code, lanes, count = self._code, self._code.lanes, self._kernel.outputs
        weights = code.at(
            "%weights", code.integer("mul", code.integer("mul", block, LINES), self._line_weights)
        )
        bias = code.at("%bias", code.integer("mul", block, count))
        channel = self._channel(z, block)
        rows = [Row(code, self._kernel, bias, y, channel) for y in group.rows]
        planes = code.at("%inputs", code.integer("mul", z, "%entries"), "ptr")
        tiled = code.integer("sub", end, lanes * self._wide - 1)
        with code.loop(strip, tiled, lanes * self._wide) as (x, _):
            self._tile(group, rows, planes, weights, (strip, x), self._wide, masked=False)
        with code.loop(x, code.integer("sub", stop, lanes), lanes * REST) as (rest, _):
            self._tile(group, rows, planes, weights, (strip, rest), REST, masked=True)
        with code.loop(rest, stop, lanes) as (last, _):
            self._tile(group, rows, planes, weights, (strip, last), 1, masked=True)

    def _tile(
        self,
        group: _Group,
        rows: list[Row],
        planes: str,
        weights: str,
        at: tuple[str, str],
        vectors: int,
        masked: bool,
    ) -> None:
        """Compute ``vectors`` vectors of voxels of the rows; ``at`` is where the strip and the tile begin."""
        code, lanes, count = self._code, self._code.lanes, self._kernel.outputs
        strip, x = at
        table = code.at("%scratch", _TABLE)
        left = code.integer("add", code.integer("sub", x, strip), PAD - 1)
        with code.loop("0", str(LINES), 1) as (line, _):
            self._fetch(rows, planes, line, x, vectors)
            own = code.at(weights, code.integer("mul", line, self._line_weights))
            offset = code.integer("add", left, code.integer("mul", line, self._scratch.line))
            sums = ["zeroinitializer"] * (count * vectors)
            with code.loop("0", "%entries", 1, sums) as (entry, _):
                home = code.at(code.pointer(table, entry), offset)
                taps = code.at(own, code.integer("mul", entry, 3 * count))
                for dx in range(3):
                    values = [code.load(home, dx + k * lanes) for k in range(vectors)]
                    for c in range(count):
                        weight = code.splat(taps, dx * count + c)
                        for k, value in enumerate(values):
                            sums[c * vectors + k] = code.fma(weight, value, sums[c * vectors + k])
            to = code.integer("mul", line, count * vectors * lanes)
            for k, value in enumerate(sums):
                code.store(value, "%scratch", code.integer("add", to, k * lanes))
        with code.loop("0", str(vectors), 1) as (vector, _):
            first = code.integer("mul", vector, lanes)
            here, start = code.at("%scratch", first), code.integer("add", x, first)
            made = [
                _rows(
                    code,
                    [code.load(here, (line * count + c) * vectors * lanes) for line in range(LINES)],
                )
                for c in range(count)
            ]
            for index, row in enumerate(rows):
                with code.loop("0", group.wanted[index], 1):
                    sums = [code.op("fadd", made[c][index], row.begin(c, start)) for c in range(count)]
                    row.finish(sums, start, masked)

    def _fetch(self, rows: list[Row], planes: str, line: str, x: str, vectors: int) -> None:
        """Fetch a row of the next group, and one of those that the tile will write."""
        code, lanes = self._code, self._code.lanes
        few = code.value(f"icmp slt i64 {line}, {ROWS}")
        y = code.integer("add", rows[0].y, line)
        sources = code.value(f"select i1 {few}, i64 {self._channels}, i64 0")
        with code.loop("0", sources, 1) as (c, _):
            # Only the last plane: the others were fetched for the planes before.
            entry = code.integer("add", code.integer("mul", c, "%depth"), self._last_tap)
            start = code.integer("mul", code.integer("add", y, ROWS + 1), "%input_row")
            place = code.at(code.pointer(planes, entry), code.integer("add", start, x))
            for k in range(vectors):
                code.fetch(place, k * lanes)
        targets = code.value(f"select i1 {few}, i64 {self._kept}, i64 0")
        with code.loop("0", targets, 1) as (c, _):
            start = code.integer("mul", y, "%output_row")
            plane = code.pointer("%outputs", code.integer("add", rows[0].channel, c))
            place = code.at(plane, code.integer("add", start, x))
            for k in range(vectors):
                code.fetch(place, k * lanes, to_write=True)


def _lines(code: Writer, d: list[str]) -> list[str]:
    """Make the lines of six rows."""

    def add(factor: float, a: str, b: str) -> str:
        return code.fma(code.constant(factor), a, b)

    near, far = _NEAR**2, _FAR**2
    even, odd = add(-far, d[2], d[4]), add(-far, d[1], d[3])
    far_even, far_odd = add(-near, d[2], d[4]), add(-near, d[1], d[3])
    return [
        add(near * far, d[0], add(-near - far, d[2], d[4])),
        add(_NEAR, odd, even),
        add(-_NEAR, odd, even),
        add(_FAR, far_odd, far_even),
        add(-_FAR, far_odd, far_even),
        add(near * far, d[1], add(-near - far, d[3], d[5])),
    ]


def _rows(code: Writer, m: list[str]) -> list[str]:
    """Make the four rows of the results of the six lines."""

    def powers(exponent: int, near: str, far: str) -> str:
        scaled = code.op("fmul", code.constant(_NEAR**exponent), near)
        return code.fma(code.constant(_FAR**exponent), far, scaled)

    even, odd = code.op("fadd", m[1], m[2]), code.op("fsub", m[1], m[2])
    far_even, far_odd = code.op("fadd", m[3], m[4]), code.op("fsub", m[3], m[4])
    return [
        code.op("fadd", m[0], code.op("fadd", even, far_even)),
        powers(1, odd, far_odd),
        powers(2, even, far_even),
        code.op("fadd", powers(3, odd, far_odd), m[5]),
    ]
