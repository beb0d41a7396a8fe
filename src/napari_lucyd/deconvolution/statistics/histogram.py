"""Histograms of 16-bit numbers, by functions compiled for this processor, or by numpy.

``numpy.bincount`` converts each number to 64 bits, and searches the largest while it holds Python's global
lock, so threads wait for each other. A compiled function reads all numbers once, without the lock.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd.compute import llvm

NUMBERS = 2**16
# For fewer numbers, compiling (a tenth of a second) does not pay.
_FEW = 2**16

_PROTOTYPE = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2)
# A loop over the values, at any alignment (as in a mapped file); it counts the number of each selected value.
_TEXT = """
define void @kernel(ptr %values, ptr %counts, i64 %size, i64 %wanted) {{
entry:
  br label %head
head:
  %index = phi i64 [0, %entry], [%next, %done]
  %more = icmp slt i64 %index, %size
  br i1 %more, label %body, label %end
body:
  %from = getelementptr {kind}, ptr %values, i64 %index
  %value = load {kind}, ptr %from, align 1
{pick}
  br i1 %here, label %count, label %done
count:
  %number = zext i16 %half to i64
  %to = getelementptr i64, ptr %counts, i64 %number
  %before = load i64, ptr %to, align 8
  %after = add i64 %before, 1
  store i64 %after, ptr %to, align 8
  br label %done
done:
  %next = add i64 %index, 1
  br label %head
end:
  ret void
}}
"""
# The number of a value, and the condition for counting it.
_UPPER = "  %top = lshr i32 %value, 16\n  %upper = trunc i32 %top to i16\n"
_KINDS = {
    "whole": ("i16", "  %half = or i16 %value, 0\n  %here = icmp eq i64 0, 0"),
    "upper": ("i32", _UPPER + "  %half = or i16 %upper, 0\n  %here = icmp eq i64 0, 0"),
    "lower": (
        "i32",
        _UPPER
        + "  %half = trunc i32 %value to i16\n  %sought = trunc i64 %wanted to i16\n"
        + "  %here = icmp eq i16 %upper, %sought",
    ),
}


def halves(values: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """Split values into their upper and lower 16 bits."""
    found = values.view(np.uint16)
    return (found[1::2], found[::2]) if sys.byteorder == "little" else (found[::2], found[1::2])


def count_numbers(counts: npt.NDArray[np.int64], numbers: npt.NDArray[np.uint16]) -> None:
    """Count numbers.

    Parameters
    ----------
    counts
        (65536,), contiguous; the counts are added to it.
    numbers
        Numbers along one contiguous axis.
    """
    if not _by_compiled("whole", counts, numbers):
        _add(counts, numbers)


def count_upper(counts: npt.NDArray[np.int64], values: npt.NDArray[np.float32]) -> None:
    """Count the upper 16 bits of each value; see `count_numbers`."""
    if not _by_compiled("upper", counts, values):
        _add(counts, halves(values)[0])


def count_lower(counts: npt.NDArray[np.int64], values: npt.NDArray[np.float32], upper: int) -> None:
    """Count the lower 16 bits of the values with the given upper bits."""
    if not _by_compiled("lower", counts, values, upper):
        high, low = halves(values)
        here = high == upper
        if here.any():
            _add(counts, low[here])


def _add(counts: npt.NDArray[np.int64], numbers: npt.NDArray[np.uint16]) -> None:
    found = np.bincount(numbers)
    counts[: found.size] += found


def _by_compiled(kind: str, counts: npt.NDArray[np.int64], values: npt.NDArray[Any], wanted: int = 0) -> bool:
    """Count by a compiled function; return False if there is none."""
    function = _compiled(kind) if values.size >= _FEW else None
    if function is None:
        return False
    function(values.ctypes.data, counts.ctypes.data, values.size, wanted)
    return True


@functools.cache
def _compiled(kind: str) -> Any:
    """Compile and test a function; return None if that fails."""
    element, pick = _KINDS[kind]
    values = np.linspace(-2, 3, 1000, dtype=np.float32)
    upper, lower = halves(values)
    number = int(upper[700])
    cases: dict[str, tuple[npt.NDArray[Any], npt.NDArray[np.uint16]]] = {
        "whole": (lower.copy(), lower),
        "upper": (values, upper),
        "lower": (values, lower[upper == number]),
    }
    tried, expected = cases[kind]
    counts = np.zeros(NUMBERS, dtype=np.int64)
    try:
        function = llvm.function(_TEXT.format(kind=element, pick=pick), _PROTOTYPE)
        function(tried.ctypes.data, counts.ctypes.data, tried.size, number)
    # llvmlite is missing or fails; numpy is the fallback.
    except Exception:
        return None
    return function if np.array_equal(counts, np.bincount(expected, minlength=NUMBERS)) else None
