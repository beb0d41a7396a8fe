"""Units of length: names, symbols and conversion."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

# The lengths of the OME schema (UnitsLength, 2016-06): symbol, name, metres. Names as in OME-Zarr and pint.
_PREFIXES = {
    "Y": ("yotta", 1e24),
    "Z": ("zetta", 1e21),
    "E": ("exa", 1e18),
    "P": ("peta", 1e15),
    "T": ("tera", 1e12),
    "G": ("giga", 1e9),
    "M": ("mega", 1e6),
    "k": ("kilo", 1e3),
    "h": ("hecto", 1e2),
    "da": ("deca", 1e1),
    "": ("", 1.0),
    "d": ("deci", 1e-1),
    "c": ("centi", 1e-2),
    "m": ("milli", 1e-3),
    "µ": ("micro", 1e-6),
    "n": ("nano", 1e-9),
    "p": ("pico", 1e-12),
    "f": ("femto", 1e-15),
    "a": ("atto", 1e-18),
    "z": ("zepto", 1e-21),
    "y": ("yocto", 1e-24),
}
_UNITS = [(f"{symbol}m", f"{name}meter", factor) for symbol, (name, factor) in _PREFIXES.items()] + [
    ("Å", "angstrom", 1e-10),
    ("in", "inch", 0.0254),
    ("ft", "foot", 0.3048),
    ("yd", "yard", 0.9144),
    ("mi", "mile", 1609.344),
    ("thou", "thou", 2.54e-5),
    ("li", "line", 0.0254 / 12),
    ("pt", "point", 0.0254 / 72),
    ("ua", "astronomical_unit", 1.495978707e11),
    ("ly", "light_year", 9.4607304725808e15),
    ("pc", "parsec", 3.0856775814913673e16),
]
_METRES = {name: metres for _, name, metres in _UNITS}
_SYMBOLS = {name: symbol for symbol, name, _ in _UNITS}
# Only the case distinguishes these: Mm is a megametre, mm a millimetre.
_BY_SYMBOL = {symbol: name for symbol, name, _ in _UNITS}
# OME-Zarr has no names for these: voxel sizes that use one of them are given in micrometres.
_RARE = {"decameter", "thou", "line", "point", "astronomical_unit", "light_year"}
# Spellings met in ImageJ, OME and MetaMorph files, in small letters. ImageJ escapes µ and Å.
_SPELLINGS = {
    "um": "micrometer",
    "µ": "micrometer",
    "micron": "micrometer",
    "microns": "micrometer",
    "a": "angstrom",
    "å": "angstrom",
    "inches": "inch",
    "feet": "foot",
    "decametre": "decameter",
    "dekameter": "decameter",
    "mil": "thou",
    "au": "astronomical_unit",
}
# Encodings in which UTF-8 is read by mistake.
_WRONG_ENCODINGS = ("latin-1", "cp1252", "mac_roman", "cp437", "gb18030", "shift_jis")
_NO_UNITS = (
    "",
    "pixel",
    "pixels",
    "px",
    "voxel",
    "voxels",
    "reference frame",
    "none",
    "unknown",
    "arbitrary",
)
# Both code points of µ and of Å, ImageJ's escapes, and what is left when a text is read in a wrong encoding.
# The letter that is lost in "\ufffdm" can only have been µ: Å stands alone.
_GARBLED = {
    "\\u00b5": "µ",
    "\\u03bc": "µ",
    "\\u00c5": "Å",
    "Âµ": "µ",
    "Î¼": "µ",
    "\u03bc": "µ",
    "\ufffdm": "µm",
    "\u212b": "Å",
    "Ã…": "Å",
    "Ã\x85": "Å",
}


def canonical_unit(text: str | None) -> str | None:
    """Return the OME-Zarr name of a unit of length.

    Parameters
    ----------
    text
        Any usual spelling: a symbol, an English name, or either of them damaged by a wrong encoding.

    Returns
    -------
    str or None
        None for pixels, for OME's reference frame, for unknown words and for nothing.

    Examples
    --------
    >>> canonical_unit("µm"), canonical_unit("micron"), canonical_unit("pixel")
    ('micrometer', 'micrometer', None)
    """
    if text is None:
        return None
    # A text may go through two programs that read it wrongly.
    word = _repaired(_repaired(str(text)))
    for garbled, clean in _GARBLED.items():
        word = re.sub(re.escape(garbled), clean, word, flags=re.IGNORECASE)
    word = word.strip().strip("\x00").strip()
    if word in _BY_SYMBOL:
        return _BY_SYMBOL[word]
    word = word.lower().replace("metre", "meter")
    word = _SPELLINGS.get(word, word)
    if word not in _METRES and word[:-1] in _METRES:
        word = word[:-1]
    # "MM" and "NM" are meant as mm and nm.
    return word if word in _METRES else _BY_SYMBOL.get(word)


def _repaired(text: str) -> str:
    """Undo a reading of UTF-8 in another encoding."""
    for encoding in () if text.isascii() else _WRONG_ENCODINGS:
        try:
            return text.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
    return text


def not_understood(units: Sequence[str | None]) -> str | None:
    """Return the first text that should be a unit of length, but is not known as one; None if there is none.

    Examples
    --------
    >>> not_understood(["pixel", None, "nm"]), not_understood(["nm", "furlong"])
    (None, 'furlong')
    """
    words = [str(unit) for unit in units if unit is not None]
    return next((w for w in words if canonical_unit(w) is None and w.strip().lower() not in _NO_UNITS), None)


def unit_note(word: str) -> str:
    """Return a sentence for the user on a unit that is not understood."""
    return (
        f"the unit {word[:40]!r} of the file's voxel size is not known: only the ratio of its steps is used"
    )


def unit_symbol(unit: str | None) -> str | None:
    """Return the symbol of a unit of length in any spelling, as the OME schema writes it.

    Examples
    --------
    >>> unit_symbol("micron"), unit_symbol("nanometer"), unit_symbol("pixel")
    ('µm', 'nm', None)
    """
    name = canonical_unit(unit)
    return None if name is None else _SYMBOLS[name]


def unit_label(text: str) -> str:
    """Return the text of a unit for display: a symbol for lengths, other units unchanged.

    pint writes µ by one code point up to 0.25 and by another from 0.26 on.

    Examples
    --------
    >>> unit_label("\N{GREEK SMALL LETTER MU}m") == unit_label("\N{MICRO SIGN}m"), unit_label("s")
    (True, 's')
    """
    return unit_symbol(text) or text.replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")


def micrometers(unit: str | None) -> float | None:
    """Return the length of a unit in micrometres; None where it is no unit of length.

    Examples
    --------
    >>> micrometers("nm"), micrometers("pixel")
    (0.001, None)
    """
    name = canonical_unit(unit)
    return None if name is None else _factor(name, "micrometer")


def common_unit(
    sizes: Sequence[float | None], units: Sequence[str | None]
) -> tuple[tuple[float, ...] | None, str | None]:
    """Convert steps in several units to the unit of the last one (X).

    The sign of a step, which is a direction, is dropped.

    Parameters
    ----------
    sizes
        Steps along (Z,) Y, X; None where not stated.
    units
        The unit of each, in any spelling.

    Returns
    -------
    voxel_size, unit
        (None, None) where a step is missing, zero or not finite, or where some steps have a unit of length
        and others have none. Units that OME-Zarr has no name for become micrometres.

    Examples
    --------
    >>> sizes, unit = common_unit((300.0, 0.5, -0.5), ("nm", "µm", "µm"))
    >>> [round(size, 9) for size in sizes], unit
    ([0.3, 0.5, 0.5], 'micrometer')
    """
    names = [canonical_unit(unit) for unit in units]
    target = "micrometer" if names[-1] in _RARE else names[-1]
    lengths = [abs(float(size)) for size in sizes if size is not None and math.isfinite(size) and size != 0]
    if len(lengths) < len(sizes):
        return None, None
    if target is None:
        return (None, None) if any(names) else (tuple(lengths), None)
    if any(name is None for name in names):
        return None, None
    return tuple(
        length * _factor(name, target) for length, name in zip(lengths, names, strict=True) if name
    ), target


def _factor(unit: str, target: str) -> float:
    # Steps in the target unit stay exactly as they are.
    return 1.0 if unit == target else _METRES[unit] / _METRES[target]
