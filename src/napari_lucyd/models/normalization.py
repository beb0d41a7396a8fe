"""The scaling of a model's input; part of its card."""

from __future__ import annotations

from dataclasses import dataclass

from napari_lucyd import checks

FIRST_ESTIMATE = "first_estimate"
"""Scaling of models that work on first estimates."""
STANDARD = "standard"
"""Scaling to a mean of 0 and a standard deviation of 1, which some networks of other makers need."""
METHODS = ("minmax", "percentile", "none", STANDARD, FIRST_ESTIMATE)


@dataclass(frozen=True)
class Normalization:
    """The scaling of an image for a network: y = (image - lo) / s, without clipping.

    Parameters
    ----------
    method
        ``"minmax"``: lo and lo + s are the smallest and largest voxel. ``"percentile"``: they are two
        percentiles. ``"standard"``: lo is the mean and s the standard deviation. ``"none"``: the image
        stays as it is (lo = 0, s = 1). ``"first_estimate"``: lo is the dark level and s the brightness of
        the light that `first_estimate` finds.
    low
        Lower percentile, 0 to 100, for ``"percentile"``.
    high
        Upper percentile, 0 to 100, for ``"percentile"``.
    pedestal
        Value of the lower end instead of 0, as a share of the range: lo is lowered by pedestal * s. The
        network's output cannot be negative, so a background near 0 would be clipped. Ignored for ``"none"``
        and ``"standard"``.
    """

    method: str = "percentile"
    low: float = 0.1
    high: float = 99.9
    pedestal: float = 0.0

    def __post_init__(self) -> None:
        checks.choice("normalization", self.method, METHODS)
        for name in ("low", "high", "pedestal"):
            checks.number(f"The normalization's {name}", getattr(self, name))
        if not 0 <= self.low < self.high <= 100:
            raise ValueError(
                f"The percentiles are {self.low} and {self.high}; they must increase within 0 to 100."
            )
        if not 0 <= self.pedestal < float("inf"):
            raise ValueError(f"The pedestal is {self.pedestal}; it must be a number of at least 0.")
