"""The processor that this runs on, for LLVM, and functions compiled for it."""

from __future__ import annotations

import functools
import platform
from dataclasses import dataclass
from typing import Any

_engines: list[Any] = []


@dataclass(frozen=True)
class Host:
    """The processor, for LLVM, and what its registers hold: so many vectors of ``lanes`` floats."""

    name: str
    features: str
    lanes: int
    registers: int


def lanes() -> int:
    """Floats in a register of this processor: X ranges begin at multiples of it (twice it if transposed)."""
    return host().lanes


@functools.cache
def host() -> Host:
    """What LLVM is told of this processor.

    Raises
    ------
    ImportError
        If llvmlite is not installed.
    RuntimeError
        If it lacks what the kernels are made of.
    """
    import llvmlite.binding as llvm

    found = llvm.get_host_cpu_features()
    x86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
    if x86 and not found.get("fma"):
        raise RuntimeError("it has no fused multiply-add")
    wide = x86 and found.get("avx512f") and found.get("avx512vl")
    width, registers = (16, 32) if wide else (8, 16) if x86 else (4, 32)
    features = found.flatten()
    if wide:  # LLVM would split vectors of 512 bits on some processors that have them
        features += ",-prefer-256-bit"
    return Host(llvm.get_host_cpu_name(), features, width, registers)


def function(text: str, prototype: Any) -> Any:
    """Compile a function for this processor; it runs without Python's lock.

    Parameters
    ----------
    text
        LLVM's assembly, with a function ``kernel``.
    prototype
        Of ctypes, for its arguments.
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
    _engines.append(engine)  # the code lives as long as it
    return prototype(engine.get_function_address("kernel"))
