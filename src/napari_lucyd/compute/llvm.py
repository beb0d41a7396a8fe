"""Functions compiled by LLVM for this processor."""

from __future__ import annotations

import functools
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_engines: list[Any] = []


@dataclass(frozen=True)
class Host:
    """The processor as LLVM describes it; it has ``registers`` vectors of ``lanes`` floats."""

    name: str
    features: str
    lanes: int
    registers: int


def lanes() -> int:
    """Return the number of floats in a vector register.

    X ranges of the kernels begin at multiples of twice that number.
    """
    return host().lanes


@functools.cache
def host() -> Host:
    """Describe this processor for LLVM.

    Raises
    ------
    ImportError
        If llvmlite is not installed.
    RuntimeError
        If it lacks an instruction that the kernels need.
    """
    import llvmlite.binding as llvm

    found = llvm.get_host_cpu_features()
    x86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
    if x86 and not found.get("fma"):
        raise RuntimeError("it has no fused multiply-add")
    wide = x86 and found.get("avx512f") and found.get("avx512vl")
    width, registers = (16, 32) if wide else (8, 16) if x86 else (4, 32)
    features = found.flatten()
    if wide:  # on some processors with vectors of 512 bits LLVM would split them
        features += ",-prefer-256-bit"
    return Host(llvm.get_host_cpu_name(), features, width, registers)


def function(text: str, prototype: Any) -> Any:
    """Compile a function for this processor; it runs without Python's global lock.

    Parameters
    ----------
    text
        LLVM assembly with a function ``kernel``.
    prototype
        The function's ctypes prototype.
    """
    import llvmlite.binding as llvm

    found = host()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(text)
    module.verify()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=found.name, features=found.features, opt=3)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    _engines.append(engine)  # it owns the code
    return prototype(engine.get_function_address("kernel"))


class Writer:
    """A writer of LLVM assembly for one function; numbers are float32, in vectors.

    Parameters
    ----------
    lanes
        Number of floats in a vector.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.vector = f"<{lanes} x float>"
        self.lines: list[str] = []
        self._count = 0
        self._block = "entry"

    def _fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def do(self, text: str) -> None:
        """Append an instruction without a result."""
        self.lines.append("  " + text)

    def value(self, text: str) -> str:
        """Append an instruction and return the name of its result."""
        name = self._fresh("%v")
        self.do(f"{name} = {text}")
        return name

    def label(self, name: str) -> None:
        """Begin a block."""
        self.lines.append(f"{name}:")
        self._block = name

    @contextmanager
    def loop(
        self, start: str, stop: str, step: int, carried: list[str] | None = None
    ) -> Iterator[tuple[str, list[str]]]:
        """Loop from ``start`` to below ``stop``; the body overwrites the list of carried vectors."""
        head, body, end = (self._fresh(name) for name in ("head", "body", "end"))
        before, carried = self._block, carried if carried is not None else []
        first = list(carried)
        self.do(f"br label %{head}")
        self.label(head)
        index, follow = self._fresh("%i"), self._fresh("%n")
        phis = [self._fresh("%c") for _ in carried]
        where = len(self.lines)
        self.lines += [""] * (1 + len(phis))
        more = self.value(f"icmp slt i64 {index}, {stop}")
        self.do(f"br i1 {more}, label %{body}, label %{end}")
        self.label(body)
        carried[:] = phis
        yield index, carried
        self.do(f"{follow} = add i64 {index}, {step}")
        self.do(f"br label %{head}")
        self.lines[where] = f"  {index} = phi i64 [{start}, %{before}], [{follow}, %{self._block}]"
        for k, (phi, old, new) in enumerate(zip(phis, first, carried, strict=True), where + 1):
            self.lines[k] = f"  {phi} = phi {self.vector} [{old}, %{before}], [{new}, %{self._block}]"
        carried[:] = phis
        self.label(end)

    def integer(self, operation: str, a: str | int, b: str | int) -> str:
        """Combine two 64-bit integers."""
        return self.value(f"{operation} i64 {a}, {b}")

    def larger(self, a: str | int, b: str | int) -> str:
        """Take the larger of two integers."""
        return self.value(f"call i64 @llvm.smax.i64(i64 {a}, i64 {b})")

    def smaller(self, a: str | int, b: str | int) -> str:
        """Take the smaller of two integers."""
        return self.value(f"call i64 @llvm.smin.i64(i64 {a}, i64 {b})")

    def at(self, pointer: str, index: str | int, kind: str = "float") -> str:
        """Compute the address of an element."""
        return self.value(f"getelementptr {kind}, ptr {pointer}, i64 {index}")

    def load(self, pointer: str, index: str | int, lanes: int = 0) -> str:
        """Load a vector: ``lanes`` floats, or a full register by default."""
        kind = f"<{lanes or self.lanes} x float>"
        return self.value(f"load {kind}, ptr {self.at(pointer, index)}, align 4")

    def pointer(self, table: str, index: str) -> str:
        """Load an entry of a table of pointers."""
        return self.value(f"load ptr, ptr {self.at(table, index, 'ptr')}, align 8")

    def splat(self, pointer: str, index: str | int) -> str:
        """Load one float into all lanes."""
        one = self.value(f"load float, ptr {self.at(pointer, index)}, align 4")
        low = self.value(f"insertelement {self.vector} poison, float {one}, i64 0")
        return self.shuffle(low, [0] * self.lanes, self.lanes)

    def shuffle(self, a: str, order: list[int], lanes: int, b: str = "poison") -> str:
        """Reorder the lanes of ``a``, followed by those of ``b``; each holds ``lanes`` floats."""
        kind, mask = f"<{lanes} x float>", ", ".join(f"i32 {k}" for k in order)
        return self.value(f"shufflevector {kind} {a}, {kind} {b}, <{len(order)} x i32> <{mask}>")

    def fma(self, a: str, b: str, c: str) -> str:
        """Compute a * b + c, rounded once."""
        v = self.vector
        return self.value(f"call {v} @llvm.fma.v{self.lanes}f32({v} {a}, {v} {b}, {v} {c})")

    def op(self, operation: str, a: str, b: str) -> str:
        """Combine two vectors."""
        return self.value(f"{operation} {self.vector} {a}, {b}")

    def constant(self, number: float) -> str:
        """Return a constant with a number in all lanes."""
        return "<" + ", ".join([f"float {number:e}"] * self.lanes) + ">"

    def relu(self, a: str) -> str:
        """Replace negative lanes by 0."""
        # This comparison keeps NaN.
        below = self.value(f"fcmp olt {self.vector} {a}, zeroinitializer")
        return self.value(
            f"select <{self.lanes} x i1> {below}, {self.vector} zeroinitializer, {self.vector} {a}"
        )

    def inside(self, x: str, width: str) -> str:
        """Compute the mask of the lanes, from x on, that lie below the width."""
        kind = f"<{self.lanes} x i64>"
        steps = ", ".join(f"i64 {k}" for k in range(self.lanes))
        room = self.integer("sub", width, x)
        low = self.value(f"insertelement {kind} poison, i64 {room}, i64 0")
        mask = ", ".join(["i32 0"] * self.lanes)
        spread = self.value(f"shufflevector {kind} {low}, {kind} poison, <{self.lanes} x i32> <{mask}>")
        return self.value(f"icmp slt {kind} <{steps}>, {spread}")

    def masked(self, mask: str, a: str) -> str:
        """Set the lanes outside the mask to 0."""
        return self.value(
            f"select <{self.lanes} x i1> {mask}, {self.vector} {a}, {self.vector} zeroinitializer"
        )

    def store(self, a: str, pointer: str, index: str, lanes: int = 0) -> None:
        """Store a vector."""
        self.do(f"store <{lanes or self.lanes} x float> {a}, ptr {self.at(pointer, index)}, align 4")

    def store_pointer(self, value: str, table: str, index: str) -> None:
        """Store an entry of a table of pointers."""
        self.do(f"store ptr {value}, ptr {self.at(table, index, 'ptr')}, align 8")

    def fetch(self, pointer: str, index: str | int, to_write: bool = False) -> None:
        """Ask for the cache line of a float, which need not exist, in the second cache."""
        place = self.at(pointer, index)
        self.do(f"call void @llvm.prefetch.p0(ptr {place}, i32 {int(to_write)}, i32 2, i32 1)")

    def copy_float(self, pointer: str, source: str | int, target: str | int, to: str = "") -> None:
        """Copy one float of an array to another place in it, or in the array ``to``."""
        one = self.value(f"load float, ptr {self.at(pointer, source)}, align 4")
        self.do(f"store float {one}, ptr {self.at(to or pointer, target)}, align 4")

    def finished(self, arguments: str) -> str:
        """Return the assembly of the function ``kernel`` with these arguments."""
        body = "\n".join(self.lines)
        return (
            f"declare {self.vector} @llvm.fma.v{self.lanes}f32({', '.join([self.vector] * 3)})\n"
            "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)\n"
            "declare i64 @llvm.smax.i64(i64, i64)\ndeclare i64 @llvm.smin.i64(i64, i64)\n"
            f"define void @kernel({arguments}) {{\nentry:\n{body}\n  ret void\n}}\n"
        )
