"""The shipped models, by their cards; reading them loads no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

DEFAULT_MODEL = "general"
NETWORK_TITLES = {"lucyd": "LUCYD", "rln": "RLN", "care": "CARE"}
"""The networks by the names that files and cards have for them, with the names that people have."""


def list_models() -> list[dict[str, Any]]:
    """The cards of the shipped models, the default first.

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
    return sorted(cards, key=lambda card: (card["name"] != DEFAULT_MODEL, card["name"]))


def network_type(card: Mapping[str, Any]) -> str:
    """Which of the networks the model of a card is."""
    return str(card.get("network", {}).get("type", "lucyd"))
