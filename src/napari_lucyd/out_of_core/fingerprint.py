"""What tells one run from another: a run goes on only with what it was begun with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from napari_lucyd.deconvolution import Statistics
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.statistics.scaling import Group
from napari_lucyd.models.normalization import Normalization
from napari_lucyd.spans import Span

# Of a recipe, what has to be the same; devices and threads may differ.
_KEYS = (
    "version",
    "model",
    "sha256",
    "method",
    "psf",
    "resampling",
    "voxel_size",
    "halo",
    "precision",
    "flips",
    "axes",
    "input",
    "region",
    "outputs",
)
# Voxels along each axis of the pieces that stand for an image, and how many pieces. Flat ones, for many files
# are read plane by plane.
_PIECE, _PIECES = (1, 64, 64), 64
# They are spread by multiples of numbers that no structure has in common with them: powers of the root
# of x⁴ = x + 1 (M. Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018).
_STRIDES = (0.8191725133961645, 0.6710436067037893, 0.5497004779019703)


def identity(recipe: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """What a run is, in plain JSON.

    Parameters
    ----------
    recipe
        Of a run that has not begun.
    source
        The image; some pieces of it are read.
    """
    found = {key: recipe[key] for key in _KEYS if key in recipe}
    scaling = recipe.get("normalization")
    if scaling is not None:
        found["normalization"] = {
            key: scaling[key] for key in ("method", "low", "high", "pedestal", "separate")
        }
    for key in ("prefilter", "subtract_background"):
        found[key] = (recipe.get(key) or {}).get("wish")
    found["image"] = fingerprint(source)
    return found


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What differs between two identities, in words."""
    names = sorted({*one, *other})
    found = []
    for name in names:
        before, after = one.get(name), other.get(name)
        if before != after:
            found.append("the image's voxels" if name == "image" else f"{name} ({before} then, {after} now)")
    return found


def fingerprint(source: Source) -> str:
    """SHA-256 of a few pieces that are spread over an image."""
    digest = hashlib.sha256(f"{source.shape} {source.dtype}".encode())
    leads = list(source.volumes())
    shape = source.axes.volume_shape
    for number in range(_PIECES):
        lead = leads[number * len(leads) // _PIECES]
        spans = []
        for size, length, stride in zip(shape, _PIECE[-len(shape) :], _STRIDES, strict=False):
            start = round((0.5 + number * stride) % 1 * max(0, size - length))
            spans.append(Span(start, min(size, start + length)))
        values = source.read(lead, spans)
        digest.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def statistics_as_json(statistics: Statistics) -> dict[str, Any] | None:
    """The numbers of a run, to be kept with it; None where they are more than numbers (a background)."""
    if statistics.prepared.wish.wanted:
        return None
    fields = ("lo", "s", "minimum", "maximum", "voxels", "nan_voxels", "saturated_voxels", "fell_back")
    return {
        "normalization": asdict(statistics.normalization),
        "separate": statistics.separate,
        "groups": [
            {"index": [list(pair) for pair in group.index]} | {name: getattr(group, name) for name in fields}
            for group in statistics.groups
        ],
        "warnings": list(statistics.warnings),
    }


def statistics_from_json(found: Any) -> Statistics | None:
    """What `statistics_as_json` wrote; None where nothing usable is there."""
    if not isinstance(found, dict):
        return None
    try:
        groups = tuple(
            Group(**{**entry, "index": tuple((name, number) for name, number in entry["index"])})
            for entry in found["groups"]
        )
        normalization = Normalization(**found["normalization"])
        return Statistics(normalization, found["separate"], groups, tuple(found["warnings"]))
    except (KeyError, TypeError, ValueError):
        return None
