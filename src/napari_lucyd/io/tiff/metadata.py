"""Metadata, channels and optics that a TIFF file states."""

from __future__ import annotations

import json
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
import tifffile

from napari_lucyd.io import ome_xml
from napari_lucyd.io.image import Channel, Optics, as_json_dict, channel_of, channels_from_json

from .annotations import CHANNELS, NAMESPACE


def stated_metadata(tif: tifffile.TiffFile, root: Element | None) -> dict[str, Any]:
    """Return the metadata that our writer noted in the file; empty if there are none."""
    if root is not None:
        return as_json_dict(_parsed(ome_xml.comment(root, NAMESPACE)))
    return as_json_dict(_parsed(_imagej_note(tif, NAMESPACE)))


def stated_channels(
    tif: tifffile.TiffFile, root: Element | None, described: Element | None
) -> tuple[Channel, ...]:
    """Return the channels from our own annotation, or else from the format's fields."""
    noted = _imagej_note(tif, CHANNELS) if root is None else ome_xml.comment(root, CHANNELS)
    channels = channels_from_json(_parsed(noted))
    if channels:
        return channels
    return ome_xml.channels(described) if described is not None else _imagej_channels(tif)


def _imagej_channels(tif: tifffile.TiffFile) -> tuple[Channel, ...]:
    stated = (tif.imagej_metadata or {}) if tif.is_imagej else {}
    limits = [float(value) for value in stated.get("Ranges", ())]
    pairs = list(zip(limits[::2], limits[1::2], strict=False))
    # The colour of a channel is that of its highest value.
    tops = [np.asarray(table)[:, -1] for table in stated.get("LUTs", ())]
    colors = ["#" + "".join(f"{int(part):02x}" for part in top) for top in tops]
    count = max(len(pairs), len(colors))
    return tuple(
        channel_of(
            None,
            colors[index] if index < len(colors) else None,
            pairs[index] if index < len(pairs) else None,
        )
        for index in range(count)
    )


def stated_optics(root: Element | None, described: Element | None) -> Optics | None:
    """Return the optics that OME-XML states, or None."""
    return None if root is None or described is None else ome_xml.optics(root, described)


def _imagej_note(tif: tifffile.TiffFile, namespace: str) -> str | None:
    """Return our own entry in ImageJ's image information."""
    information = str((tif.imagej_metadata or {}).get("Info", "")) if tif.is_imagej else ""
    lines = [line for line in information.splitlines() if line.startswith(f"{namespace}: ")]
    return lines[0].partition(": ")[2] if lines else None


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    # Edited by another program, or damaged; the image is still good.
    except (ValueError, RecursionError):
        return None
