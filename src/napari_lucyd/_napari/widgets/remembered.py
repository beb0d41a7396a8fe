"""Texts that a panel remembers from one session of napari to the next, in the settings of the user."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import QSettings


def _settings() -> QSettings:
    return QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "napari-lucyd", "panels")


def load(group: str) -> dict[str, str]:
    """Return the remembered texts of a group, by name; empty if there are none."""
    settings = _settings()
    settings.beginGroup(group)
    # A text with commas comes back as a list.
    found = {name: settings.value(name) for name in settings.childKeys()}
    return {
        name: ", ".join(value) if isinstance(value, list) else str(value) for name, value in found.items()
    }


def save(group: str, texts: Mapping[str, str]) -> None:
    """Remember the texts of a group instead of earlier ones."""
    settings = _settings()
    settings.beginGroup(group)
    for name, text in texts.items():
        settings.setValue(name, text)
