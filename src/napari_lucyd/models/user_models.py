"""The user's own models: a folder whose files are listed and loaded by name, like the shipped models."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import platformdirs

from napari_lucyd import checks
from napari_lucyd.models.card import check_card, parse_json

FOLDER_VARIABLE = "NAPARI_LUCYD_MODELS"
"""Environment variable with another folder, for example one that a laboratory shares."""
# Methods that are not models, but are given by name in the same places.
_METHODS = frozenset({"auto", "estimate", "input", "richardson-lucy", "semi-blind", "truth", "wiener"})
# Names that Windows keeps for devices, whatever their suffix.
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{port}{number}" for port in ("com", "lpt") for number in range(10)}
)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]*[A-Za-z0-9_-])?")
_LONGEST_NAME = 60


def user_models_folder() -> Path:
    """Return the folder of the user's models, which may not exist yet.

    It is in the user's data folder, or where the environment variable ``NAPARI_LUCYD_MODELS`` says.
    """
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_data_path("napari-lucyd", appauthor=False) / "models"


def user_model_files() -> dict[str, Path]:
    """Return the weights of the user's models by name, sorted; empty if there are none."""
    try:
        files = sorted(user_models_folder().glob("*.safetensors"))
    except OSError:  # a folder that may not be read has no models to offer
        return {}
    return {file.stem: file for file in files if _NAME.fullmatch(file.stem)}


def user_model_cards() -> list[dict[str, Any]]:
    """Return the cards of the user's models, sorted by name; a model without a readable card is left out."""
    cards = []
    for name, file in user_model_files().items():
        try:
            card = parse_json(file.with_suffix(".json").read_text("utf-8"))
            if not isinstance(card, dict):
                continue
            check_card(card)
        except (OSError, ValueError):
            continue
        cards.append({**card, "name": name})
    return cards


def check_model_name(name: Any, taken: frozenset[str] | set[str]) -> str:
    """Check the name for a new model of the user.

    Parameters
    ----------
    name
        Up to 60 letters, digits, spaces, and ``. _ -``; it starts with a letter or digit.
    taken
        Names of the shipped models.

    Raises
    ------
    TypeError, ValueError
        If it is no such name, or is taken by a shipped model or a method.
    """
    if not isinstance(name, str):
        raise TypeError(f"name is {checks.shown(name)}; give a text, such as 'my-confocal'.")
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name) or name.lower().split(".")[0] in _DEVICES:
        raise ValueError(
            f"name is {checks.shown(name)}; give up to {_LONGEST_NAME} letters (a to z, no accents or "
            "umlauts), digits, spaces, points, hyphens and underscores, such as 'my-confocal'."
        )
    if name.lower() in {one.lower() for one in taken} | _METHODS:
        raise ValueError(f"name is {name!r}, which is the name of a shipped model or method; give another.")
    return name
