"""Code for a CUDA device, compiled when it is needed by the compiler that comes with torch, and called."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch


class Function:
    """A kernel on a device.

    Parameters
    ----------
    module, name
        Where it is, and its name there.
    """

    def __init__(self, module: ctypes.c_void_p, name: str) -> None:
        self._module = module
        self._function = ctypes.c_void_p()
        _check_driver(_driver().cuModuleGetFunction(ctypes.byref(self._function), module, name.encode()))

    def __call__(
        self, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], stream: int
    ) -> None:
        """Have the device run it, without waiting.

        Parameters
        ----------
        grid, block
            How many blocks of how many threads, along X, Y, Z.
        arguments
            As ctypes has them, in the order and of the types of the kernel's.
        stream
            Of torch, by its number (``cuda_stream``).
        """
        given = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(each) for each in arguments))
        _check_driver(
            _driver().cuLaunchKernel(self._function, *grid, *block, 0, ctypes.c_void_p(stream), given, None)
        )


def compiled(source: str, macros: Mapping[str, object], name: str, device: torch.device) -> Function:
    """Compile a kernel, and have it on a device.

    Parameters
    ----------
    source
        CUDA C++.
    macros
        Defined in it.
    name
        Of the kernel, which has to be ``extern "C"``.
    device
        The kernel's, which is torch's current one.

    Raises
    ------
    RuntimeError
        If it cannot be compiled or loaded; in the compiler's words.
    OSError, AttributeError
        If the compiler or the driver is not where torch has them.
    """
    major, minor = torch.cuda.get_device_capability(device)
    options = [
        f"--gpu-architecture=sm_{major}{minor}",
        *(f"-D{key}={value}" for key, value in macros.items()),
    ]
    binary = _binary(source, options)
    module = ctypes.c_void_p()
    _check_driver(_driver().cuModuleLoadData(ctypes.byref(module), binary))
    return Function(module, name)


def _binary(source: str, options: Sequence[str]) -> bytes:
    compiler, program = _compiler(), ctypes.c_void_p()
    _check_compiler(compiler.nvrtcCreateProgram(ctypes.byref(program), source.encode(), None, 0, None, None))
    try:
        given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        failed = compiler.nvrtcCompileProgram(program, len(options), given)
        size = ctypes.c_size_t()
        if failed:
            _check_compiler(compiler.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
            log = ctypes.create_string_buffer(size.value)
            _check_compiler(compiler.nvrtcGetProgramLog(program, log))
            said = log.value.decode(errors="replace").strip() or f"error {failed}"
            raise RuntimeError(f"NVRTC says: {said.splitlines()[0]}")
        _check_compiler(compiler.nvrtcGetCUBINSize(program, ctypes.byref(size)))
        binary = ctypes.create_string_buffer(size.value)
        _check_compiler(compiler.nvrtcGetCUBIN(program, binary))
        return binary.raw
    finally:
        compiler.nvrtcDestroyProgram(ctypes.byref(program))


@cache
def _compiler() -> ctypes.CDLL:
    """NVRTC, which torch brings for itself."""
    folder = Path(torch.__file__).parent / "lib"
    if platform.system() == "Windows":
        found = [path for path in sorted(folder.glob("nvrtc64_*.dll")) if ".alt." not in path.name]
        if not found:
            raise OSError(f"there is no nvrtc64_*.dll in {folder}")
        return ctypes.CDLL(str(found[-1]))
    # It opens this one by its bare name, and finds it where pip has put it only if it is loaded already.
    for path in folder.parents[1].glob("nvidia/*/lib/libnvrtc-builtins.so.*"):
        ctypes.CDLL(str(path))
    # torch's own door to it, through which its functions are seen too, wherever it is installed.
    return ctypes.CDLL(str(folder / "libcaffe2_nvrtc.so"))


@cache
def _driver() -> ctypes.CDLL:
    return ctypes.CDLL("nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1")


def _check_compiler(failed: int) -> None:
    if failed:
        raise RuntimeError(f"NVRTC reports error {failed}")


def _check_driver(failed: int) -> None:
    if failed:
        name = ctypes.c_char_p()
        _driver().cuGetErrorName(failed, ctypes.byref(name))
        told = (name.value or b"").decode() or f"error {failed}"
        # In these words, torch's own errors of this kind are known to be a want of memory.
        raise RuntimeError("CUDA error: out of memory" if failed == 2 else f"CUDA reports {told}")
