"""Checks of a model's card: the entries that the program reads, and their types."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from napari_lucyd import checks


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_range(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(map(_is_number, value))
        and 0 <= value[0] <= value[1]
    )


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


# Entries, the test of their values, and the expected values in words.
_ENTRIES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "title": (_is_text, "text"),
    "description": (_is_text, "text"),
    "specimen": (_is_text, "text"),
    "license": (_is_text, "text"),
    "network": (_is_mapping, "a table"),
    "normalization": (_is_mapping, "a table"),
    "training": (_is_mapping, "a table"),
    "metrics": (_is_mapping, "a table"),
    "metrics.half_precision": (_is_mapping, "a table"),
    "metrics.half_precision.error": (_is_number, "a number"),
    "noise_sigma": (_is_range, "two increasing numbers of at least 0"),
    "blur_sigma_voxels": (_is_range, "two increasing numbers of at least 0"),
    "flux_kept": (lambda value: isinstance(value, bool), "true or false"),
}


def check_card(card: Mapping[str, Any]) -> None:
    """Refuse a card with an entry of the wrong type; entries may be missing or None.

    Raises
    ------
    ValueError
        With the entry, its value and the expected type.
    """
    for name, (test, expected) in _ENTRIES.items():
        value: Any = card
        for key in name.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None and not test(value):
            raise ValueError(f"the card's {name} is {checks.shown(value)}; it must be {expected}")


def check_network(entries: Mapping[str, Any]) -> None:
    """Refuse the description of a network with an entry of the wrong type or size.

    Raises
    ------
    TypeError, ValueError
        With the entry, its value and the expected values.
    """
    checks.integer("dimension", entries.get("dimension", 3))
    checks.flag("affine", entries.get("affine", True))
    # Beyond these limits float32 loses the epsilon or the quotient.
    checks.number(
        "epsilon",
        entries.get("epsilon", 1.0),
        "a number from 1e-30 to 1e6",
        lambda value: 1e-30 <= value <= 1e6,
    )
    for name in ("ceiling", "full_noise"):
        if entries.get(name) is not None:
            checks.number(name, entries[name], "a number above 0, or nothing", lambda value: value > 0)


def parse_json(text: str | bytes) -> Any:
    """Parse JSON from a stranger.

    Raises
    ------
    ValueError
        If it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
