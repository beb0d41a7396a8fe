"""Fingerprint of a run; it resumes only if unchanged."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import fields as fields_of
from typing import Any

import numpy as np

from napari_lucyd.deconvolution import Statistics
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.statistics.light import Light
from napari_lucyd.deconvolution.statistics.scaling import Group
from napari_lucyd.deconvolution.statistics.volume_numbers import VolumeNumbers
from napari_lucyd.models.normalization import Normalization
from napari_lucyd.spans import Span

# Entries of a recipe that must be the same; devices and threads may differ.
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
    "first_stage",
    "axes",
    "input",
    "region",
    "outputs",
)
# Raised whenever the same settings give other voxels than before: an unfinished result of the earlier
# arithmetic is not resumed. 2: the mean over flips is that of the mirrored image, on odd sizes as well. 3:
# total variation mirrors with the image.
_ARITHMETIC = 3
# Size in voxels and number of the pieces that represent an image. They are flat, since many files are read
# plane by plane.
_PIECE, _PIECES = (1, 64, 64), 64
# Their positions are multiples of numbers that coincide with no regular structure: powers of the root of
# x⁴ = x + 1 (M. Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018).
_STRIDES = (0.8191725133961645, 0.6710436067037893, 0.5497004779019703)


def identity(recipe: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Return the identity of a run as plain JSON.

    Parameters
    ----------
    recipe
        Recipe of a run that has not started.
    source
        The image; a few pieces of it are read.
    """
    found = {key: recipe[key] for key in _KEYS if key in recipe}
    found["arithmetic"] = _ARITHMETIC
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
    """Describe the differences between two identities."""
    names = sorted({*one, *other})
    found = []
    for name in names:
        before, after = one.get(name), other.get(name)
        if before == after:
            continue
        if name == "image":
            found.append("the image's voxels")
        elif name == "arithmetic":
            found.append("the version of napari-lucyd")
        else:
            found.append(f"{name} (was {_short(before)}, is now {_short(after)})")
    return found


def _short(value: Any) -> Any:
    """Return a model by its name, a checksum by its first digits, and anything else as it is."""
    if isinstance(value, Mapping) and "name" in value:
        return value["name"]
    return f"{value[:8]}…" if isinstance(value, str) and len(value) == 64 else value


def fingerprint(source: Source) -> str:
    """Return the SHA-256 of a few pieces spread over an image."""
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
    """Return the statistics of a run as JSON; None if they hold more than numbers (a background)."""
    if statistics.prepared.wish.wanted:
        return None
    fields = [field.name for field in fields_of(Group) if field.name != "index"]
    return {
        "normalization": asdict(statistics.normalization),
        "separate": statistics.separate,
        "groups": [
            {"index": [list(pair) for pair in group.index]} | {name: getattr(group, name) for name in fields}
            for group in statistics.groups
        ],
        "warnings": list(statistics.warnings),
        "light": [asdict(light) for light in statistics.light],
        "numbers": [asdict(numbers) for numbers in statistics.numbers],
    }


def statistics_from_json(found: Any) -> Statistics | None:
    """Read what `statistics_as_json` wrote; None if it cannot be used."""
    if not isinstance(found, dict):
        return None
    try:
        groups = tuple(
            Group(**{**entry, "index": tuple((name, number) for name, number in entry["index"])})
            for entry in found["groups"]
        )
        normalization = Normalization(**found["normalization"])
        light = tuple(
            Light(**{**entry, "blur_sigma": tuple(entry["blur_sigma"])}) for entry in found.get("light", ())
        )
        return Statistics(
            normalization,
            found["separate"],
            groups,
            tuple(found["warnings"]),
            light=light,
            numbers=tuple(VolumeNumbers.from_json(entry) for entry in found.get("numbers", ())),
        )
    except (KeyError, TypeError, ValueError):
        return None
