"""How often each number of 16 bits occurs: by a function compiled for this processor, or by numpy.

``numpy.bincount`` first makes 64 bits of each number, and looks for the largest while it keeps Python's lock:
many threads then wait for each other.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd.deconvolution import processor

NUMBERS = 2**16
# Fewer are not worth the compiler's tenth of a second.
_FEW = 2**16

_PROTOTYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
# Adds 1 to counts[values[index * step]] for each index below size.
_TEXT = """
define void @kernel(ptr %values, i64 %size, i64 %step, ptr %counts) {
entry:
  br label %head
head:
  %index = phi i64 [0, %entry], [%next, %body]
  %more = icmp slt i64 %index, %size
  br i1 %more, label %body, label %end
body:
  %place = mul i64 %index, %step
  %from = getelementptr i16, ptr %values, i64 %place
  %value = load i16, ptr %from, align 2
  %number = zext i16 %value to i64
  %to = getelementptr i64, ptr %counts, i64 %number
  %before = load i64, ptr %to, align 8
  %after = add i64 %before, 1
  store i64 %after, ptr %to, align 8
  %next = add i64 %index, 1
  br label %head
end:
  ret void
}
"""


def add_counts(counts: npt.NDArray[np.int64], numbers: npt.NDArray[np.uint16]) -> None:
    """Count numbers.

    Parameters
    ----------
    counts
        (65536,), contiguous: what is found is added to it.
    numbers
        One axis, with any step.
    """
    compiled = _compiled() if numbers.size >= _FEW else None
    if compiled is None:
        found = np.bincount(numbers)
        counts[: found.size] += found
    else:
        _call(compiled, counts, numbers)


def _call(
    compiled: Callable[..., None], counts: npt.NDArray[np.int64], numbers: npt.NDArray[np.uint16]
) -> None:
    step = numbers.strides[0] // numbers.itemsize
    compiled(numbers.ctypes.data, numbers.size, step, counts.ctypes.data)


@functools.cache
def _compiled() -> Any:
    """The function, tried; None where there is none to be relied on."""
    counts, numbers = np.zeros(NUMBERS, dtype=np.int64), np.arange(0, 4096, 3, dtype=np.uint16)
    try:
        compiled = processor.function(_TEXT, _PROTOTYPE)
        _call(compiled, counts, numbers[1::2])
    # Not installed, or whatever else: there is numpy.
    except Exception:
        return None
    return compiled if np.array_equal(counts, np.bincount(numbers[1::2], minlength=NUMBERS)) else None
