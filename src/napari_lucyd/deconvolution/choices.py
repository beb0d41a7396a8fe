"""What a run was asked for: checked, complete and frozen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_lucyd.deconvolution.axes import Axes
from napari_lucyd.deconvolution.blocks import Geometry
from napari_lucyd.deconvolution.errors import OutOfMemory
from napari_lucyd.deconvolution.preparation import NOTHING, Preparation
from napari_lucyd.deconvolution.tiling import Span, Tile
from napari_lucyd.models.normalization import Normalization


@dataclass(frozen=True)
class Choices:
    """The arguments of a run after they were checked.

    Attributes
    ----------
    axes
        Of the input.
    geometry
        How tiles become blocks.
    outputs
        Names of the parts wanted.
    normalization, separate
        How intensities are scaled, and along which leading axes by themselves.
    voxel_size
        (Z, Y, X) or (Y, X), or None.
    lead_spans, spans
        The region along the leading axes, and along (Z, Y, X) or (Y, X).
    region_given
        Whether it was asked for, or is everything.
    tile_shape_given
        Whether it was asked for, or chosen.
    flips
        Whether the output is the mean over all mirror images.
    precision
        ``"float32"``, or ``"float16"`` where that does no harm.
    preparation
        What is done to the image before the method.
    allocate
        Makes the arrays that results are written into; None for numpy arrays.
    """

    axes: Axes
    geometry: Geometry
    outputs: tuple[str, ...]
    normalization: Normalization
    separate: str
    voxel_size: tuple[float, ...] | None
    lead_spans: tuple[Span, ...]
    spans: tuple[Span, ...]
    region_given: bool
    tile_shape_given: bool
    flips: bool = False
    precision: str = "float32"
    preparation: Preparation = NOTHING
    allocate: Callable[[str, tuple[int, ...]], Any] | None = None

    @property
    def letters(self) -> str:
        """Names of the axes of one volume: ``"ZYX"`` or ``"YX"``."""
        return "ZYX"[-self.axes.dimension :]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of the result arrays: the region's, with the axes of the input."""
        sizes = {name: span.size for name, span in zip(self.axes.leading, self.lead_spans, strict=True)}
        sizes |= {name: span.size for name, span in zip(self.letters, self.spans, strict=True)}
        return tuple(sizes[name] for name in self.axes.names)

    @property
    def result_bytes(self) -> int:
        """What the results take in memory."""
        return 0 if self.allocate else 4 * math.prod(self.output_shape) * len(self.outputs)

    @property
    def volumes(self) -> int:
        """How many volumes are deconvolved."""
        return math.prod(span.size for span in self.lead_spans)

    def make_arrays(self) -> dict[str, Any]:
        """What the results are written into, one array a part; numpy's hold whatever was in memory."""
        make = self.allocate or (lambda _, shape: np.empty(shape, dtype=np.float32))
        try:
            return {name: make(name, self.output_shape) for name in self.outputs}
        except MemoryError as error:
            raise OutOfMemory(f"The results do not fit into memory: {error}") from None

    def where(self, lead: tuple[int, ...], tile: Tile) -> tuple[slice, ...]:
        """Where a tile of a volume lies in the result arrays."""
        at = {}
        for name, number, span in zip(self.axes.leading, lead, self.lead_spans, strict=True):
            at[name] = slice(number - span.start, number - span.start + 1)
        for name, kept, span in zip(self.letters, tile.spans, self.spans, strict=True):
            at[name] = slice(kept.start - span.start, kept.stop - span.start)
        return tuple(at[name] for name in self.axes.names)

    def label(self, lead: tuple[int, ...]) -> str:
        """A volume in words: ``"T 3, C 0"``."""
        numbers = zip(self.axes.leading, lead, strict=True)
        return ", ".join(f"{name} {number}" for name, number in numbers) or "the image"
