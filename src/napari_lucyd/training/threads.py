"""Compiled functions on torch's own threads."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from napari_lucyd.deconvolution.team import Team


def run_on_all(function: Any, arguments: int) -> None:
    """Call a function of one address on as many threads as torch uses, and wait for all of them.

    Between two operations torch's threads wait by spinning, for milliseconds, and any others would have to
    share the cores with them. So the work is given to those very threads, where they can be had.

    Parameters
    ----------
    function
        Of ctypes; it does its share, whichever other threads are there.
    arguments
        An address.
    """
    threads = torch.get_num_threads()
    parallel = _openmp()
    if parallel:
        parallel(ctypes.cast(function, ctypes.c_void_p), arguments, threads, 0)
    else:
        _team(threads).run(function, [(arguments,)] * threads)


@functools.cache
def _openmp() -> Callable[..., None] | None:
    """What compiled code begins a parallel region of OpenMP with, of the library that torch is bound to.

    It is what GCC's programs call, and other libraries of OpenMP for Linux have it too; elsewhere there is
    none.
    """
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        parallel = library.GOMP_parallel
    except (OSError, AttributeError):
        return None
    parallel.restype = None
    parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    return parallel


@functools.cache
def _team(threads: int) -> Team:
    return Team(threads)
