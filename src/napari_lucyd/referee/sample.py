"""Sample of one channel of an image: few enough voxels to be read and measured in a moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd.deconvolution.image.axes import Axes
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.spans import Span

# Voxels of the part that is read, and the planes in which its place is looked for.
_VOXELS, _SCANNED_PLANES = 2**24, 3
# Distance of the voxels that are looked at, along Y and X.
_STRIDE = 4


@dataclass(frozen=True, eq=False)
class Sample:
    """A part of one volume with all of its planes, where the image has the most contrast.

    Attributes
    ----------
    values
        (Z, Y, X) or (Y, X), in the image's own dtype.
    lead
        Indices of the volume along the leading axes.
    spans
        Place of the part in the volume, along (Z,) Y, X.
    """

    values: npt.NDArray[Any]
    lead: tuple[int, ...]
    spans: tuple[Span, ...]


def middle_volume(axes: Axes, channel: int, flashes: Sequence[int] = ()) -> tuple[int, ...]:
    """Return the leading indices of the volume in the middle of a channel.

    Parameters
    ----------
    axes
        Axes of the image.
    channel
        Number of the channel.
    flashes
        Time points that are unlike the others, which are not taken.
    """
    usual = [time for time in range(axes.size("T")) if time not in flashes]
    at = {"C": channel, "T": usual[len(usual) // 2]}
    return tuple(at.get(name, axes.size(name) // 2) for name in axes.leading)


def draw_volume_sample(source: Source, lead: Sequence[int], voxels: int = _VOXELS) -> Sample:
    """Read the part of a volume that has the most contrast, with about this number of voxels.

    Small volumes are read as a whole. All planes along Z are read, as far as each keeps 64 × 64 voxels.

    Parameters
    ----------
    source
        The image, for a model of 3 axes if it has planes along Z.
    lead
        Indices of the volume along the leading axes.
    voxels
        Number of voxels to read, about.
    """
    *depth, height, width = source.axes.volume_shape
    planes = min(depth[0], max(1, voxels // 64**2)) if depth else 1
    share = min(1.0, (voxels / (planes * height * width)) ** 0.5)
    size = [min(n, max(64, int(n * share))) for n in (height, width)]
    first = (depth[0] - planes) // 2 if depth else 0
    stack = [Span(first, first + planes)] if depth else []
    place = _richest(source, lead, stack, size) if share < 1 else [Span(0, height), Span(0, width)]
    spans = (*stack, *place)
    return Sample(source.read(lead, spans), tuple(lead), spans)


def _richest(source: Source, lead: Sequence[int], stack: list[Span], size: Sequence[int]) -> list[Span]:
    """Return where along Y and X a window of this size has the most contrast in a few planes."""
    height, width = source.axes.volume_shape[-2:]
    rows, columns = (_starts(n, window) for n, window in zip((height, width), size, strict=True))
    contrast: dict[tuple[int, int], float] = dict.fromkeys(product(rows, columns), 0.0)
    heights = np.linspace(*stack[0], _SCANNED_PLANES + 2)[1:-1].astype(int).tolist() if stack else [0]
    tall, wide = (n // _STRIDE for n in size)
    for z in dict.fromkeys(heights):
        spans = [*([Span(z, z + 1)] if stack else []), Span(0, height), Span(0, width)]
        plane = source.read(lead, spans).reshape(height, width)[::_STRIDE, ::_STRIDE].astype(np.float32)
        plane[~np.isfinite(plane)] = 0
        for y, x in contrast:
            top, left = y // _STRIDE, x // _STRIDE
            contrast[y, x] += float(plane[top : top + tall, left : left + wide].var(dtype=float))
    y, x = max(contrast, key=lambda place: contrast[place])
    return [Span(y, y + size[0]), Span(x, x + size[1])]


def _starts(n: int, window: int) -> list[int]:
    """Return starts of windows that overlap by half and cover an axis."""
    count = max(1, -(-2 * (n - window) // window) + 1)
    return [round(start) for start in np.linspace(0, n - window, count)]
