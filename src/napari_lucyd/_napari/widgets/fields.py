"""Labels and tooltips of the panels' fields, conversion of their texts to numbers, marks of wrong ones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import field, fields
from typing import Any

from qtpy.QtWidgets import QFormLayout, QLabel, QLineEdit, QWidget

from napari_lucyd._napari.widgets.layout import mark

# Separators between numbers of several axes.
_BETWEEN = r"[\s,;xX×]+"
AUTOMATIC_ENTRIES = ("", "auto", "automatic")
"""Entries that leave a number to the program, in small letters."""


def choice(default: Any, label: str, tooltip: str) -> Any:
    """Define a field of a dataclass that the user sets in the panel."""
    return field(default=default, metadata={"label": label, "tooltip": tooltip})


def label(parameters: Any, name: str) -> str:
    """Return the label of a field."""
    return str(_metadata(parameters, name)["label"])


def tooltip(parameters: Any, name: str) -> str:
    """Return the tooltip of a field."""
    return str(_metadata(parameters, name)["tooltip"])


def choose(combo: Any, value: Any) -> None:
    """Choose an entry of a list, if it has that entry."""
    if value is not None and value in combo.choices:
        combo.value = value


def in_labels(message: str, names: Iterable[str], parameters: Any) -> str:
    """Replace the names of arguments in an error of the core by their labels in the panel.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Parameters:
    ...     num_iter: int = choice(20, "Iterations", "The number of iterations.")
    >>> in_labels("num_iter is 0; at least one iteration is needed.", ["num_iter"], Parameters)
    'Iterations is 0; at least one iteration is needed.'
    """
    for name in names:
        message = re.sub(rf"\b{name}\b", label(parameters, name), message)
    return message


def mark_fields(section: QWidget, text: str) -> None:
    """Mark the lines of a section whose labels a problem names, and no others.

    Parameters
    ----------
    section
        A widget with rows of labels and controls.
    text
        The problem; empty to mark nothing.
    """
    lines: dict[str, list[QLineEdit]] = {}
    for rows in section.findChildren(QFormLayout):
        for number in range(rows.rowCount()):
            name = rows.itemAt(number, QFormLayout.ItemRole.LabelRole)
            field = rows.itemAt(number, QFormLayout.ItemRole.FieldRole)
            title, control = (None if item is None else item.widget() for item in (name, field))
            if isinstance(title, QLabel) and control is not None and rows.isRowVisible(number):
                own = [control] if isinstance(control, QLineEdit) else control.findChildren(QLineEdit)
                lines.setdefault(title.text(), []).extend(own)
    # A long label may begin as a short one.
    for label_text in sorted(filter(None, lines), key=len, reverse=True):
        text, count = re.subn(rf"(?<!\w){re.escape(label_text)}(?!\w)", "", text)
        for line in lines[label_text]:
            mark(line, count > 0)


def _metadata(parameters: Any, name: str) -> Any:
    return next(entry.metadata for entry in fields(parameters) if entry.name == name)


def parse_axes(text: str, ndim: int) -> str | None:
    """Read the line of axes.

    Returns
    -------
    str or None
        Upper-case axes, or None if the line is empty (the core decides).

    Raises
    ------
    ValueError
        If a letter is unknown or repeated, their number is wrong, or Y or X is missing.

    Examples
    --------
    >>> parse_axes("t z y x", 4)
    'TZYX'
    """
    axes = re.sub(r"[\s,;×]+", "", text).upper()
    if not axes:
        return None
    if "S" in axes:
        raise ValueError("Axes: S stands for the colours of an RGB image. Use another letter.")
    unknown = sorted(letter for letter in set(axes) if not ("A" <= letter <= "Z"))
    if unknown:
        raise ValueError(
            f"Axes: enter letters only, without {' '.join(unknown)}: T for time, C for channel, and Z, Y, X."
        )
    if len(set(axes)) != len(axes):
        raise ValueError(f"Axes: {axes} contains an axis twice.")
    if len(axes) != ndim:
        raise ValueError(f"Axes: the image has {ndim} axes, and {axes} has {len(axes)}.")
    if not {"Y", "X"} <= set(axes):
        raise ValueError(f"Axes: {axes} lacks Y or X, the axes of a plane.")
    return axes


def parse_halo(text: str) -> int | None:
    """Read the halo: empty or "automatic", or a number of voxels.

    Raises
    ------
    ValueError
        If the text is anything else.

    Examples
    --------
    >>> parse_halo("12"), parse_halo("") is None
    (12, True)
    """
    text = text.strip()
    if text.lower() in AUTOMATIC_ENTRIES:
        return None
    if not text.isdigit():
        raise ValueError(
            f"Halo: “{text}” is not a whole number. Enter a number of voxels, or leave it empty."
        )
    return int(text)


def parse_step(name: str, text: str) -> str | float | None:
    """Read an optional step: empty or "off", "auto", or a number of pixels.

    Raises
    ------
    ValueError
        If the text is anything else.

    Examples
    --------
    >>> parse_step("Prefilter", "Auto"), parse_step("Prefilter", "1,2"), parse_step("Prefilter", "")
    ('auto', 1.2, None)
    """
    text = text.strip()
    if text.lower() in ("", "off"):
        return None
    if text.lower() in AUTOMATIC_ENTRIES:
        return "auto"
    try:
        return parse_number(name, text)
    except ValueError:
        raise ValueError(
            f"{name}: {text!r} is not a number. Enter a number of pixels or auto, or leave it empty."
        ) from None


def parse_tile(text: str) -> tuple[int, ...] | None:
    """Read the tile: empty or "automatic", one number for all axes, or one for each.

    Raises
    ------
    ValueError
        If the text is anything else.

    Examples
    --------
    >>> parse_tile("64, 128 128")
    (64, 128, 128)
    """
    return parse_sizes("Tile", text)


def parse_sizes(name: str, text: str) -> tuple[int, ...] | None:
    """Read sizes in voxels, as `parse_tile` does, for the line with this label."""
    text = text.strip()
    if text.lower() in AUTOMATIC_ENTRIES:
        return None
    parts = [part for part in re.split(_BETWEEN, text) if part]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(
            f"{name}: {text!r} is not a size. Enter three sizes in voxels, Z, Y, X, for example 63, 127, 127."
        )
    return tuple(int(part) for part in parts)


def parse_steps(text: str) -> tuple[float, ...] | None:
    """Read the voxel size: empty, one number for all axes, or one for each.

    Raises
    ------
    ValueError
        If the text is anything else.

    Examples
    --------
    >>> parse_steps("0.3, 0.1 0.1"), parse_steps(" ") is None
    ((0.3, 0.1, 0.1), True)
    """
    return parse_numbers("Voxel size", text, "Z, Y, X in µm, for example 0.3, 0.1, 0.1")


def parse_numbers(name: str, text: str, meant: str) -> tuple[float, ...] | None:
    """Read one or more numbers, as `parse_steps` does; `meant` describes them in the error."""
    parts = [part for part in re.split(_BETWEEN, text.strip()) if part]
    try:
        return tuple(float(part) for part in parts) or None
    except ValueError:
        raise ValueError(f"{name}: {text!r} is not a number. Enter {meant}.") from None


def parse_wavelengths(name: str, text: str) -> float | tuple[float, ...] | None:
    """Read one number, or one for each channel; None if the line is empty.

    Raises
    ------
    ValueError
        If the text is anything else.

    Examples
    --------
    >>> parse_wavelengths("Emission", "0,525"), parse_wavelengths("Emission", "0.46,0.525")
    (0.525, (0.46, 0.525))
    """
    # Without a point, a comma between two digits is a decimal one.
    points = text if "." in text else re.sub(r"(?<=\d),(?=\d)", ".", text)
    meant = "one number, or one for each channel, for example 0.46, 0.525"
    try:
        found = parse_numbers(name, points, meant)
    except ValueError as error:
        raise ValueError(str(error).replace(repr(points), repr(text))) from None
    return found[0] if found is not None and len(found) == 1 else found


def parse_number(name: str, text: str) -> float | None:
    """Read one number, with a decimal point or comma; None if the line is empty.

    Raises
    ------
    ValueError
        If the text is anything else.

    Examples
    --------
    >>> parse_number("NA", " 1,4 ")
    1.4
    """
    try:
        return float(text.replace(",", ".")) if text.strip() else None
    except ValueError:
        raise ValueError(f"{name}: {text!r} is not a number. Enter a number, for example 1.4.") from None


def number_text(value: float | str | None) -> str:
    """Write a number as it stands in its line; empty for None and for ``"auto"``.

    Examples
    --------
    >>> number_text(0.002), number_text(None)
    ('0.002', '')
    """
    return "" if value is None or isinstance(value, str) else f"{value:g}"
