"""CUDA kernels, compiled at run time by the compiler that comes with torch."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch


class Function:
    """A compiled kernel on a device.

    Parameters
    ----------
    module, name
        The loaded module, and the kernel's name in it.
    """

    def __init__(self, module: ctypes.c_void_p, name: str) -> None:
        self._module = module
        self._function = ctypes.c_void_p()
        _check_driver(_driver().cuModuleGetFunction(ctypes.byref(self._function), module, name.encode()))

    def __call__(
        self, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], stream: int
    ) -> None:
        """Start the kernel on the device, without waiting for it.

        Parameters
        ----------
        grid, block
            Number of blocks, and of threads in each block, along X, Y, Z.
        arguments
            ctypes values in the order and of the types of the kernel's parameters.
        stream
            Number of a stream of torch (``cuda_stream``).
        """
        given = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(each) for each in arguments))
        _check_driver(
            _driver().cuLaunchKernel(self._function, *grid, *block, 0, ctypes.c_void_p(stream), given, None)
        )


def compiled(source: str, macros: Mapping[str, object], name: str, device: torch.device) -> Function:
    """Compile a kernel and load it on a device.

    Parameters
    ----------
    source
        CUDA C++ code.
    macros
        Macros to define, by name.
    name
        The kernel's name; it must be ``extern "C"``.
    device
        The device, which must be torch's current one.

    Raises
    ------
    RuntimeError
        If the kernel cannot be compiled or loaded; the message is the compiler's.
    OSError, AttributeError
        If the compiler or the driver is not found.
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
            message = log.value.decode(errors="replace").strip() or f"error {failed}"
            raise RuntimeError(f"NVRTC reports: {message.splitlines()[0]}")
        _check_compiler(compiler.nvrtcGetCUBINSize(program, ctypes.byref(size)))
        binary = ctypes.create_string_buffer(size.value)
        _check_compiler(compiler.nvrtcGetCUBIN(program, binary))
        return binary.raw
    finally:
        compiler.nvrtcDestroyProgram(ctypes.byref(program))


@cache
def _compiler() -> ctypes.CDLL:
    """Load NVRTC, which comes with torch."""
    folder = Path(torch.__file__).parent / "lib"
    if platform.system() == "Windows":
        found = [path for path in sorted(folder.glob("nvrtc64_*.dll")) if ".alt." not in path.name]
        if not found:
            raise OSError(f"{folder} holds no nvrtc64_*.dll")
        return ctypes.CDLL(str(found[-1]))
    # NVRTC opens this library by its bare name. Where pip installed it, that works only once it is loaded.
    for path in folder.parents[1].glob("nvidia/*/lib/libnvrtc-builtins.so.*"):
        ctypes.CDLL(str(path))
    # torch links NVRTC through this library, which also exposes its functions, wherever it is installed.
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
        message = (name.value or b"").decode() or f"error {failed}"
        # This is torch's text, by which `is_out_of_memory` recognises the error.
        raise RuntimeError("CUDA error: out of memory" if failed == 2 else f"CUDA reports {message}")
