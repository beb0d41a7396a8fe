"""Text for messages: sizes, durations, shapes, and names that are safe to show."""

from __future__ import annotations

import re
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


def count_text(count: int | str, one: str, many: str = "") -> str:
    """Write a number before its noun, which is singular only for 1.

    Parameters
    ----------
    count
        The number, or its text.
    one, many
        Words after a 1, and after another number. `many` is `one` with an s unless it is given.

    Examples
    --------
    >>> count_text(1, "voxel"), count_text(1200, "voxel"), count_text("0.5", "photon")
    ('1 voxel', '1,200 voxels', '0.5 photons')
    >>> count_text(1, "plane is empty", "planes are empty")
    '1 plane is empty'
    """
    text = count if isinstance(count, str) else f"{count:,}"
    return f"{text} {one if text == '1' else many or f'{one}s'}"


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
    >>> percent_text(1.14, ".2g")  # not 1.1e+02
    '114 %'
    """
    if digits.endswith("g") and abs(share) >= 0.995:
        digits = ".0f"
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


def blur_text(sigmas: Sequence[float], digits: int = 2) -> str:
    """Format the standard deviations of a blur along (Z,) Y, X. A plane has none along Z.

    Examples
    --------
    >>> blur_text((2.6, 1.3, 1.3)), blur_text((0, 1.3, 1.3))
    ('2.6 × 1.3 × 1.3', '1.3 × 1.3')
    """
    return steps_text(sigmas[1:] if len(sigmas) == 3 and not sigmas[0] else sigmas, digits)


# A channel or time point, and a number, in a message.
_PART, _NUMBER = r"\b[TC] \d+(?:, [TC] \d+)*", r"\d[\d.,]*\b"


def group_messages(messages: Iterable[str]) -> list[str]:
    """Join messages that say the same of several channels or time points, and drop repeated ones.

    If messages differ in further numbers, too, the first one is kept.

    Examples
    --------
    >>> group_messages(["9 voxels in C 0 are NaN.", "9 voxels in C 1 are NaN.", "Done."])
    ['9 voxels in C 0 and C 1 are NaN.', 'Done.']
    >>> group_messages([f"C {channel}: the blur is {2 + channel} voxels." for channel in range(3)])
    ['C 0: the blur is 2 voxels. Similar: C 1 and C 2.']
    """
    alike: dict[str, list[str]] = {}
    for text in dict.fromkeys(messages):
        parts = re.sub(_PART, "\0", text)
        alike.setdefault(re.sub(_NUMBER, "\1", parts) if parts != text else text, []).append(text)
    return [_joined(texts) for texts in alike.values()]


def _joined(texts: Sequence[str]) -> str:
    first = texts[0]
    if len(texts) == 1:
        return first
    parts = [found[0] for text in texts if (found := re.search(_PART, text))]
    if len({re.sub(_PART, "", text) for text in texts}) == 1:
        return re.sub(_PART, _range(parts), first, count=1)
    return f"{first} Similar: {_range(parts[1:])}."


def _range(parts: Sequence[str]) -> str:
    return " and ".join(parts) if len(parts) < 3 else f"{parts[0]} to {parts[-1]} ({len(parts)})"


def capitalized(text: str) -> str:
    """Return `text` with a capital first letter; the rest stays as it is.

    Examples
    --------
    >>> capitalized("no PSF of NA 1.4")
    'No PSF of NA 1.4'
    """
    return text[:1].upper() + text[1:]


def error_text(error: BaseException) -> str:
    """Say what an error is; that of the system without its number, and with the file first.

    Examples
    --------
    >>> error_text(FileNotFoundError(2, "No such file or directory", "a.toml"))
    'a.toml: no such file or folder'
    >>> error_text(ValueError("The image is empty."))
    'The image is empty.'
    """
    if not isinstance(error, OSError) or error.filename is None or not error.strerror:
        return str(error)
    if isinstance(error, FileNotFoundError):
        return f"{error.filename}: no such file or folder"
    return f"{error.filename}: {error.strerror[:1].lower()}{error.strerror[1:]}"


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
