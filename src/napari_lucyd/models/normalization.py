"""Which intensities a model calls 0 and 1; part of its card."""

from __future__ import annotations

from dataclasses import dataclass

METHODS = ("minmax", "percentile", "none")


@dataclass(frozen=True)
class Normalization:
    """How an image is scaled before a network sees it: y = (image - lo) / s, without clipping.

    Parameters
    ----------
    method
        ``"minmax"`` takes lo and lo + s from the smallest and largest voxel, ``"percentile"``
        from two percentiles, ``"none"`` leaves the image as it is (lo = 0, s = 1).
    low
        Lower percentile, 0 to 100; used by ``"percentile"`` only.
    high
        Upper percentile, likewise.
    pedestal
        Where the lower end comes to lie instead of at 0, as a share of the range: lo is lowered by
        pedestal * s. The network's output cannot be negative, so that a background near 0 would be cut.
        Not used by ``"none"``.
    """

    method: str = "percentile"
    low: float = 0.1
    high: float = 99.9
    pedestal: float = 0.0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"normalization is {self.method!r}; it has to be one of {', '.join(METHODS)}.")
        if not 0 <= self.low < self.high <= 100:
            raise ValueError(
                f"The percentiles are {self.low} and {self.high}; they have to rise within 0 to 100."
            )
        if not 0 <= self.pedestal < float("inf"):
            raise ValueError(f"The pedestal is {self.pedestal}; it has to be a number from 0 on.")
