"""Names of our own entries in TIFF files."""

from __future__ import annotations

NAMESPACE = "napari-lucyd"
"""Marks our metadata among the annotations of an OME-TIFF and in ImageJ's image information."""

CHANNELS = "napari-lucyd/channels"
"""Marks the channels' names, colours and limits, which neither format can hold completely."""
