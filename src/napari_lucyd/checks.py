"""Checks of single arguments; each error states the argument, its value and the expected values."""

from __future__ import annotations

import math
import operator
import os
import reprlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_LARGEST_INTEGER = 2**63 - 1

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80
_short.maxlong = 40
_short.maxlevel = 2


def shown(value: Any) -> str:
    """Return a short text of any value."""
    try:
        return _short.repr(value)
    except Exception:  # a class may fail to describe itself
        return f"a {type(value).__name__}"


def integer(name: str, value: Any, least: int | None = None) -> int:
    """Return an argument as an int.

    Parameters
    ----------
    name
        Name of the argument, for the error.
    value
        Its value.
    least
        Smallest allowed value, or None.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is too small, or does not fit in 64 bits.

    Examples
    --------
    >>> integer("halo", 24, least=0)
    24
    """
    expected = "an integer" if least is None else f"an integer of at least {least}"
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except Exception:
        number = None
    if number is None:
        raise TypeError(f"{name} is {shown(value)}; give {expected}.")
    if (least is not None and number < least) or abs(number) > _LARGEST_INTEGER:
        raise ValueError(f"{name} is {shown(number)}; give {expected}.")
    return number


def number(
    name: str,
    value: Any,
    expected: str = "a number",
    allowed: Callable[[float], bool] = math.isfinite,
) -> float:
    """Return an argument as a float.

    Parameters
    ----------
    name
        Name of the argument, for the error.
    value
        Its value: any real number, but no text.
    expected
        The allowed values in words.
    allowed
        Test of the value; NaN never passes.

    Raises
    ------
    TypeError
        If it is not a number.
    ValueError
        If it is not allowed.

    Examples
    --------
    >>> number("balance", 1, "a number above 0", lambda value: value > 0)
    1.0
    """
    found: float | None = None
    if not isinstance(value, (bool, str, bytes, bytearray)) and not getattr(value, "ndim", 0):
        try:
            found = float(value)
        except OverflowError:
            found = math.inf
        except Exception:
            found = None
    if found is None:
        raise TypeError(f"{name} is {shown(value)}; give {expected}.")
    if math.isnan(found) or not allowed(found):
        raise ValueError(f"{name} is {shown(value)}; give {expected}.")
    return found


def flag(name: str, value: Any) -> bool:
    """Return an argument as a bool.

    Raises
    ------
    TypeError
        If it is not True or False.
    """
    if isinstance(value, bool):
        return value
    if type(value).__name__ in ("bool", "bool_") and type(value).__module__ == "numpy":
        return bool(value)
    raise TypeError(f"{name} is {shown(value)}; give True or False.")


def choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return an argument that must be one of some texts.

    Raises
    ------
    TypeError
        If it is not text.
    ValueError
        If it is another text.
    """
    expected = " or ".join([", ".join(map(repr, choices[:-1])), repr(choices[-1])])
    if not isinstance(value, str):
        raise TypeError(f"{name} is {shown(value)}; give {expected}.")
    if value not in choices:
        raise ValueError(f"{name} is {shown(value)}; give {expected}.")
    return str(value)


def text(name: str, value: Any, expected: str) -> str:
    """Return an argument that must be text.

    Raises
    ------
    TypeError
        If it is not.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} is {shown(value)}; give {expected}.")
    return str(value)


def items(name: str, value: Any, expected: str) -> tuple[Any, ...]:
    """Return the items of an argument that must be a list, a tuple or the like.

    Raises
    ------
    TypeError
        If it is not.
    """
    if not isinstance(value, (str, bytes, bytearray, Mapping, set, frozenset)):
        try:
            return tuple(value)
        except Exception:  # whatever a class raises when it is iterated
            pass
    raise TypeError(f"{name} is {shown(value)}; give {expected}.")


def per_axis(
    name: str, value: Any, axes: int, expected: str, allowed: Callable[[float], bool]
) -> tuple[float, ...]:
    """Return an argument that must be one number, or one number for each axis.

    Parameters
    ----------
    name
        Name of the argument, for the error.
    value
        Its value.
    axes
        Number of axes.
    expected
        The allowed numbers in words: ``"above 0"``.
    allowed
        Test of a number.

    Raises
    ------
    TypeError, ValueError
        If it is not that.

    Examples
    --------
    >>> per_axis("voxel_size", 2, 3, "above 0", lambda size: size > 0)
    (2.0, 2.0, 2.0)
    """
    words = f"one number {expected}, or {axes} of them"
    single = (
        isinstance(value, (int, float)) or not hasattr(value, "__iter__") or getattr(value, "ndim", 1) == 0
    )
    given = (value,) * axes if single else items(name, value, words)
    numbers = tuple(number(name, entry, words, allowed) for entry in given)
    if len(numbers) == 1:
        numbers *= axes
    if len(numbers) != axes:
        raise ValueError(f"{name} is {shown(value)}; give {words}.")
    return numbers


def array(name: str, value: Any) -> Any:
    """Return an argument as a numpy array of real numbers.

    Raises
    ------
    TypeError
        If it is not that.
    """
    import numpy as np

    try:
        found = np.asarray(value)
    except Exception as error:  # whatever a class raises when it is converted
        raise TypeError(f"{name} is {shown(value)}; give an array of real numbers.") from error
    if found.dtype.kind not in "buif":
        raise TypeError(f"{name} has dtype {found.dtype}; give an array of real numbers.")
    return found


def float_array(name: str, value: Any) -> npt.NDArray[np.float32]:
    """Return an argument as a new float32 array of finite numbers.

    Parameters
    ----------
    name
        Name of the argument, for the error.
    value
        Its value: anything that numpy can convert to an array.

    Raises
    ------
    TypeError
        If it is not an array of real numbers.
    ValueError
        If a number is not finite as float32.
    """
    import numpy as np

    given = array(name, value)
    with np.errstate(over="ignore"):
        result: npt.NDArray[np.float32] = np.array(given, dtype=np.float32, order="C")
    if not np.isfinite(result).all():
        raise ValueError(f"{name} holds NaN, infinity or numbers too large for float32; replace them.")
    return result


def path(name: str, value: Any) -> Path:
    """Return an argument that must be a path.

    Raises
    ------
    TypeError
        If it is not.
    """
    if not isinstance(value, (str, os.PathLike)) or isinstance(value, bytes):
        raise TypeError(f"{name} is {shown(value)}; give a path.")
    try:
        return Path(value)
    except Exception as error:  # a path of bytes, or a class that fails
        raise TypeError(f"{name} is {shown(value)}; give a path.") from error


def function(name: str, value: Any) -> Any:
    """Return an argument that must be a function or None.

    Raises
    ------
    TypeError
        If it is not.
    """
    if value is not None and not callable(value):
        raise TypeError(f"{name} is {shown(value)}; give a function or None.")
    return value
