"""The cards of the shipped models and of the user's; reading them does not import torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from napari_lucyd.models.normalization import FIRST_ESTIMATE
from napari_lucyd.models.user_models import user_model_cards

DEFAULT_MODEL, DEFAULT_PLANES = "lucyd", "lucyd-planes"
"""The default models: of volumes and of planes."""
# Kinds of training, the most general first, so that lists of models begin with those that fit most images.
_TRACKS = ("estimates", "open", "strict", "surrogate")
PACKAGE = "onnx"
"""Name of the network of a bioimage.io package."""
NETWORK_TITLES = {"lucyd": "LUCYD", "rln": "RLN", "care": "CARE", PACKAGE: "bioimage.io"}
"""Names of the networks for display, by their names in files and cards."""


def list_models() -> list[dict[str, Any]]:
    """List the cards of all models that are loaded by name: the shipped ones, then those of the user.

    The default comes first, shipped models for one specimen last.

    Returns
    -------
    list of dict
        Plain JSON data: ``name``, ``title``, ``description``, ``network``, ``normalization``, the
        blur and noise of its training data, ``training``, ``metrics``, ``sha256``, ``license``.

    Examples
    --------
    >>> import napari_lucyd as nl
    >>> nl.list_models()[0]["name"]
    'lucyd'
    """
    shipped = shipped_models()
    taken = {card["name"] for card in shipped}
    return shipped + [card for card in user_model_cards() if card["name"] not in taken]


def shipped_models() -> list[dict[str, Any]]:
    """List the cards of the shipped models, as `list_models` does."""
    folder = resources.files("napari_lucyd.models")
    cards = [json.loads(file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".json")]
    return sorted(cards, key=_place)


def _place(card: Mapping[str, Any]) -> tuple[bool, int, str]:
    return card["name"] != DEFAULT_MODEL, _TRACKS.index(card["training"]["track"]), card["name"]


def is_told(card: Mapping[str, Any]) -> bool:
    """Return True for a model that is told the blur: it works on first estimates."""
    return bool(card.get("normalization", {}).get("method") == FIRST_ESTIMATE)


def network_type(card: Mapping[str, Any]) -> str:
    """Return the network type of a card."""
    return str(card.get("network", {}).get("type", "lucyd"))
