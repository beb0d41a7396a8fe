"""Entries of the panels that are kept for the next panel and the next session.

They are settings of this plugin in napari: a person can see and change them under *Preferences*.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from napari.settings import get_plugin_settings

_PLUGIN = "napari-lucyd"


def remembered(group: str) -> dict[str, Any]:
    """Return the entries of a group by name; the defaults where nothing was kept.

    Parameters
    ----------
    group
        Name of a configuration in the manifest.
    """
    kept = _group(group)
    return {} if kept is None else dict(kept.model_dump())


def remember(group: str, entries: Mapping[str, Any]) -> None:
    """Keep entries instead of earlier ones; those that the manifest does not know are left out."""
    kept = _group(group)
    if kept is None:
        return
    for name in entries.keys() & type(kept).model_fields:
        if getattr(kept, name) != entries[name]:
            # A folder that cannot be written must not stop a run. A value may also be one that an older
            # manifest refuses.
            with contextlib.suppress(OSError, ValueError):
                setattr(kept, name, entries[name])


def _group(name: str) -> Any:
    # None where the package is on the path and not installed, so that napari does not know the plugin.
    try:
        return getattr(get_plugin_settings(_PLUGIN), name)
    except (AttributeError, KeyError):
        return None
