"""Text for messages: sizes, durations, shapes, and names that are safe to show."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence


def bytes_text(count: float) -> str:
    """Format a number of bytes.

    Examples
    --------
    >>> bytes_text(3_400_000_000)
    '3.4 GB'
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            value = count / size
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{count / 1e3:.0f} kB"


def duration_text(seconds: float) -> str:
    """Format a duration.

    Examples
    --------
    >>> duration_text(0.4), duration_text(42), duration_text(200), duration_text(7000)
    ('under a second', '42 s', '3 min 20 s', '1 h 57 min')
    """
    if seconds < 1:
        return "under a second"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(whole / 60), 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def shape_text(shape: Sequence[int]) -> str:
    """Format a shape.

    Examples
    --------
    >>> shape_text((64, 128, 128))
    '64 × 128 × 128'
    """
    return " × ".join(str(int(n)) for n in shape)


def percent_text(share: float, digits: str = ".0f") -> str:
    """Format a share as a percentage, everywhere in the same way.

    Parameters
    ----------
    share
        1 is all of it.
    digits
        Format of the number before the sign.

    Examples
    --------
    >>> percent_text(0.27), percent_text(0.0123, ".1f"), percent_text(0.1, "+.0f")
    ('27 %', '1.2 %', '+10 %')
    """
    return f"{100 * share:{digits}} %"


def axes_text(names: Iterable[str], shape: Iterable[int]) -> str:
    """Format a shape with the names of its axes.

    Examples
    --------
    >>> axes_text("TYX", (5, 128, 128))
    'T 5 × Y 128 × X 128'
    """
    return " × ".join(f"{name} {size}" for name, size in zip(names, shape, strict=True))


def steps_text(steps: Sequence[float], digits: int = 3) -> str:
    """Format a voxel size, without its unit.

    Examples
    --------
    >>> steps_text((0.3, 0.1625, 0.1625))
    '0.3 × 0.163 × 0.163'
    """
    return " × ".join(f"{step:.{digits}g}" for step in steps)


def printable(text: object) -> str:
    r"""Return `text` without anything that a terminal, a label or a log acts on instead of showing it.

    Control and format characters, line breaks and bytes that are no text are written as escapes.

    Parameters
    ----------
    text
        Whatever stands for a name: a string, a path.

    Examples
    --------
    >>> printable("cells\x1b[2J.tif"), printable("Zellen µm")
    ('cells\\x1b[2J.tif', 'Zellen µm')
    """
    return "".join(map(_escaped, str(text)))


def _escaped(character: str) -> str:
    category = unicodedata.category(character)
    if category[0] != "C" and category not in ("Zl", "Zp"):
        return character
    # Python keeps a byte of a name that is no UTF-8 as one of these.
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
