"""Numbers that a classical method found in one volume, so that all its tiles are computed alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class VolumeNumbers:
    """Numbers found in one volume; plain JSON data.

    Attributes
    ----------
    lead
        Indices of the volume along the leading axes.
    background
        Constant that the method subtracts, above the floor.
    floor, level
        Subtracted from the volume before the method, and added to its result, in units of the image.
    num_iter
        Number of iterations.
    peak, mean
        Brightest voxel and mean above the floor, which the start value and the scale follow from.
    blur
        Parameters of the blur, if it was searched.
    record
        Entries of the recipe.
    warning
        Sentence for the user; empty if there is none.
    """

    lead: tuple[int, ...]
    background: float
    floor: float
    level: float
    num_iter: int
    peak: float
    mean: float
    blur: tuple[float, ...] = ()
    record: dict[str, Any] = field(default_factory=dict)
    warning: str = ""

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> VolumeNumbers:
        """Read what `dataclasses.asdict` made, also after a round trip through JSON."""
        return cls(**{**entry, "lead": tuple(entry["lead"]), "blur": tuple(entry["blur"])})
