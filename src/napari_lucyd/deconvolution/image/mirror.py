"""Mirror images of an image, read without copying it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.tiling.tiles import mirrored
from napari_lucyd.spans import Span


class MirroredSource(Source):
    """A source mirrored along some of its spatial axes.

    Parameters
    ----------
    source
        The image.
    axes
        Numbers of the mirrored axes among (Z, Y, X) or (Y, X).
    """

    def __init__(self, source: Source, axes: Sequence[int]) -> None:
        self.axes, self.dtype = source.axes, source.dtype
        self._source, self._mirrored = source, tuple(axes)

    @property
    def in_memory(self) -> bool:
        """See `Source.in_memory`."""
        return self._source.in_memory

    def read(self, lead: Sequence[int], spans: Sequence[Span]) -> npt.NDArray[Any]:
        """See `Source.read`."""
        there = mirror(spans, self.axes.volume_shape, self._mirrored)
        return np.flip(self._source.read(lead, there), self._mirrored)


def mirror(spans: Sequence[Span], shape: Sequence[int], axes: Sequence[int]) -> tuple[Span, ...]:
    """Mirror the spans along some axes of a volume."""
    return tuple(
        mirrored(span, size) if axis in axes else span
        for axis, (span, size) in enumerate(zip(spans, shape, strict=True))
    )
