"""Messages of the core in the words of the command line: options in place of Python's arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Hints of the core for Python, and what they mean in the terminal.
_HINTS = (
    (r"\(separate='\w+', (--separate \w+)\)", r"(\1)"),
    (r"with normalization='\w+' \((--normalization \w+)\)", r"with \1"),
    (r"name a method, such as 'lucyd' \((--method \w+), or Run anyway\)", r"name one, such as \1"),
    (r" With center_psf=False it stays where it is\.", ""),
    (r"\b[Mm]icroscope is a list of (\d+)", r"--emission-um lists \1 wavelengths"),
)
_options: ContextVar[tuple[str, ...]] = ContextVar("options", default=())


@contextmanager
def options_of(names: Iterable[str]) -> Iterator[None]:
    """Set the options of the command that runs, by their Python names; `in_options` names only these."""
    before = _options.set(tuple(names))
    try:
        yield
    finally:
        _options.reset(before)


def flag(name: str) -> str:
    """Return the option of an argument.

    Examples
    --------
    >>> flag("voxel_size"), flag("numerical_aperture")
    ('--voxel-size', '--na')
    """
    return "--na" if name == "numerical_aperture" else f"--{name.replace('_', '-')}"


def in_options(message: str) -> str:
    """Replace the arguments of Python in a message by the options of the command.

    Examples
    --------
    >>> with options_of(["blur_sigma", "voxel_size", "axes", "isotropic"]):
    ...     for text in ("blur_sigma is -1", "Give voxel_size=(z, y, x)", "e.g. axes='ZYX'",
    ...                  "isotropic=True needs it", "voxel_size.tif and psf_voxel_size"):
    ...         print(in_options(text))
    --blur-sigma is -1
    Give --voxel-size Z,Y,X
    e.g. --axes ZYX
    --isotropic needs it
    voxel_size.tif and psf_voxel_size
    """
    for hint, words in _HINTS:
        message = re.sub(hint, words, message)
    for name in _options.get():
        # A path or a name with a point, such as that of a configuration's entry, is no argument.
        own = rf"(?<![\w./\\-]){name}"
        message = re.sub(
            rf"{own}=\(([^)]*)\)",
            lambda found, name=name: f"{flag(name)} {found[1].replace(' ', '').upper()}",  # type: ignore[misc]
            message,
        )
        message = re.sub(rf"{own}='([^']*)'", rf"{flag(name)} \1", message)
        message = re.sub(rf"{own}=True\b", flag(name), message)
        if "_" in name:
            message = re.sub(rf"{own}(?![\w=/\\]|\.\w)", flag(name), message)
    return message
