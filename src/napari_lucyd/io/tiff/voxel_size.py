"""Voxel size that a TIFF file states, in each of the formats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
import tifffile

from napari_lucyd.io import ome_xml
from napari_lucyd.io.image import spatial
from napari_lucyd.io.ome_xml import finite_number
from napari_lucyd.io.units import common_unit, not_understood, unit_note
from napari_lucyd.text import steps_text

# The voxel size, its unit, and what to tell the user.
_Stated = tuple[tuple[float, ...] | None, str | None, tuple[str, ...]]


def stated_voxel_size(
    tif: tifffile.TiffFile, described: Element | None, axes: str, *, declared: str | None
) -> _Stated:
    """Return the voxel size of an image, its unit, and notes for the user.

    Parameters
    ----------
    tif
        The file.
    described
        The image's element of OME-XML, or None.
    axes
        Axes of the image; its spatial ones have a size.
    declared
        Axes that the user gave, or None.
    """
    letters = spatial(axes)
    if described is not None:
        sizes, units = ome_xml.voxel_steps(described, letters)
    elif tif.is_imagej:
        return _imagej_voxel_size(tif, axes, declared)
    elif tif.is_lsm:
        sizes = [finite_number((tif.lsm_metadata or {}).get(f"VoxelSize{letter}")) for letter in letters]
        # In metres; 0.3, not 0.30000000000000004.
        sizes = [None if size is None else float(f"{size * 1e6:.9g}") for size in sizes]
        units = ["micrometer"] * len(letters)
    elif tif.is_stk:
        sizes, units = _metamorph_steps(tif.stk_metadata or {}, letters)
    else:
        return None, None, ()
    return _told(*common_unit(sizes, units), sizes, units, letters)


def _metamorph_steps(stated: dict[str, Any], letters: str) -> tuple[list[float | None], list[str | None]]:
    if not stated.get("SpatialCalibration", 1):
        return [None] * len(letters), [None] * len(letters)
    unit = str(stated.get("CalibrationUnits", "pixel"))
    distances = np.abs(np.atleast_1d(np.asarray(stated.get("ZDistance", ()), float)))
    steps = {
        "Z": float(np.median(distances)) if distances.size else None,
        "Y": finite_number(stated.get("YCalibration")),
        "X": finite_number(stated.get("XCalibration")),
    }
    return [steps[letter] for letter in letters], [unit] * len(letters)


def _imagej_voxel_size(tif: tifffile.TiffFile, axes: str, declared: str | None) -> _Stated:
    stated = tif.imagej_metadata or {}
    tags = tif.pages.first.tags
    sizes = [_step(tags, "YResolution"), _step(tags, "XResolution")]
    unit = str(stated.get("unit", "pixel"))
    # ImageJ keeps other units for Y and Z where they differ from X's; absent, they are the same.
    units: list[str | None] = [str(stated.get("yunit", unit)), unit]
    notes: tuple[str, ...] = ()
    if "Z" in axes:
        spacing = stated.get("spacing")
        # A movie that is a stack after all states no step along Z, and any other would be a guess.
        sizes.insert(0, finite_number(spacing) if spacing is not None else None if declared else 1.0)
        units.insert(0, str(stated.get("zunit", unit)))
        if spacing is None and unit != "pixel" and not declared:
            notes = (f"the file states no Z step; like ImageJ, it is taken as 1 {unit}",)
    voxel_size, name, told = _told(*common_unit(sizes, units), sizes, units, spatial(axes))
    known = [size for size in sizes if size is not None]
    if name is None and all(size == 1.0 for size in known):
        return None, None, ()
    return voxel_size, name, (*notes, *told)


def _told(
    voxel_size: tuple[float, ...] | None,
    unit: str | None,
    sizes: Sequence[float | None],
    units: Sequence[str | None],
    letters: str,
) -> _Stated:
    if voxel_size is not None and unit is None and (word := not_understood(units)) is not None:
        return voxel_size, unit, (unit_note(word),)
    if voxel_size is not None or all(size is None for size in sizes):
        return voxel_size, unit, ()
    plane, plane_unit = common_unit(sizes[-2:], units[-2:])
    if letters[0] == "Z" and sizes[0] is None and plane is not None:
        known = steps_text(plane, 4)
        known = f"{known} {plane_unit or 'pixels'}"
        return None, None, (f"the file's voxel size, {known}, has none along Z and is not used",)
    stated = ", ".join(f"{a} {size}" for a, size in zip(letters, sizes, strict=True) if size is not None)
    return None, None, (f"the voxel size in the file is incomplete ({stated}) and was left out",)


def _step(tags: tifffile.TiffTags, name: str) -> float | None:
    tag = tags.get(name)
    if tag is None:
        return None
    count, length = tag.value
    return float(length) / float(count) if count else None
