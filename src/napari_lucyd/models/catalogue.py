"""The shipped models, by their cards; reading them loads no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

DEFAULT_MODEL = "general"
# Of trainings, the widest first: so does each list of models begin with the one that fits most images.
_TRACKS = ("open", "strict", "surrogate")
NETWORK_TITLES = {"lucyd": "LUCYD", "rln": "RLN", "care": "CARE"}
"""The networks by the names that files and cards have for them, with the names that people have."""


def list_models() -> list[dict[str, Any]]:
    """The cards of the shipped models: the default first, those made for one specimen last.

    Returns
    -------
    list of dict
        Plain JSON data: ``name``, ``title``, ``description``, ``network``, ``normalization``, the
        blur and noise that it was trained for, ``training``, ``metrics``, ``sha256``, ``license``.

    Examples
    --------
    >>> import napari_lucyd as nl
    >>> nl.list_models()[0]["name"]
    'general'
    """
    folder = resources.files("napari_lucyd.models")
    cards = [json.loads(file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".json")]
    return sorted(cards, key=_place)


def _place(card: Mapping[str, Any]) -> tuple[bool, int, str]:
    return card["name"] != DEFAULT_MODEL, _TRACKS.index(card["training"]["track"]), card["name"]


def network_type(card: Mapping[str, Any]) -> str:
    """Which of the networks the model of a card is."""
    return str(card.get("network", {}).get("type", "lucyd"))
