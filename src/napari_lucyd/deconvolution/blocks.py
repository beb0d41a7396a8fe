"""From a tile to the network's input, and from the network's output to what is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_lucyd.deconvolution.copying import copy_into
from napari_lucyd.deconvolution.filling import MARGIN, fill_nan
from napari_lucyd.deconvolution.normalization import Group
from napari_lucyd.deconvolution.resampling import Resampling
from napari_lucyd.deconvolution.source import Source, to_float32
from napari_lucyd.deconvolution.tiling import Span, Tile, block_span, reflected
from napari_lucyd.networks.network import Network

# All that any method may give, in the order in which it is listed.
OUTPUTS = ("output", "correction_mask", "update_term", "intermediate")


@dataclass(frozen=True)
class Geometry:
    """What block a tile needs: pure integers, but for the resampling along Z.

    Attributes
    ----------
    shape
        Of a volume, in voxels of the source.
    halo
        In voxels of the network's grid.
    resampling
        Along the first axis, or None.
    multiple
        What the network needs its blocks' origins and sizes to be multiples of.
    """

    shape: tuple[int, ...]
    halo: int
    resampling: Resampling | None = None
    multiple: int = 2

    def needed_along(self, axis: int, kept: Span) -> Span:
        """The voxels of the network's grid along an axis that voxels of the source are made from."""
        return self.resampling.needed_planes(kept) if self.resampling and axis == 0 else kept

    def block_along(self, axis: int, kept: Span) -> Span:
        """The voxels of the network's grid that go into the network for them."""
        return block_span(self.needed_along(axis, kept), self.halo, self.multiple)

    def needed(self, tile: Tile) -> tuple[Span, ...]:
        """The part of the network's grid that the tile is made from."""
        return tuple(self.needed_along(axis, span) for axis, span in enumerate(tile.spans))

    def block(self, tile: Tile) -> tuple[Span, ...]:
        """The part of the network's grid that goes into the network."""
        return tuple(self.block_along(axis, span) for axis, span in enumerate(tile.spans))

    def inside(self, tile: Tile) -> tuple[slice, ...]:
        """Where in the block the part lies that the tile is made from."""
        spans = zip(self.needed(tile), self.block(tile), strict=True)
        return tuple(slice(needed.start - block.start, needed.stop - block.start) for needed, block in spans)

    def block_voxels(self, tile: Tile) -> int:
        """How many voxels go into the network for the tile."""
        return math.prod(span.size for span in self.block(tile))


class Filled(NamedTuple):
    """A part of a volume, float32, in units of the image; ``missing`` is where it is NaN (None: nowhere)."""

    values: npt.NDArray[np.float32]
    missing: npt.NDArray[np.bool_] | None


def read_filled(source: Source, lead: Sequence[int], spans: Sequence[Span], group: Group) -> Filled:
    """A part of a volume on its own grid, its NaNs filled from what is around them."""
    values = source.read(lead, spans)
    return _filled(values, group) if group.nan_voxels else Filled(to_float32(values), None)


def _filled(values: npt.NDArray[Any], group: Group) -> Filled:
    values = to_float32(values)
    missing = np.isnan(values)
    return Filled(fill_nan(values, group.lo), missing) if missing.any() else Filled(values, None)


def read_block(
    source: Source,
    lead: Sequence[int],
    tile: Tile,
    geometry: Geometry,
    group: Group,
    out: npt.NDArray[np.float32],
) -> npt.NDArray[np.bool_] | None:
    """Read what a tile needs of one volume, continue it by reflection, fill its NaNs and resample it.

    Parameters
    ----------
    out
        Takes the block, (Z, Y, X) or (Y, X), in units of the image, on the network's grid.

    Returns
    -------
    numpy.ndarray or None
        Which voxels of the tile are NaN in the source; None: none.
    """
    block = geometry.block(tile)
    # What the reflection repeats lies within the block but for tiny ones: then more is read.
    whole = [_with_reflected(span, size) for span, size in zip(block, geometry.shape, strict=True)]
    inner = [
        Span(max(0, span.start), min(n, span.stop)) for span, n in zip(whole, geometry.shape, strict=True)
    ]
    weights = None
    if geometry.resampling is not None:
        planes, weights = geometry.resampling.there(block[0], geometry.shape[0])
        inner[0] = Span(int(planes[0]), int(planes[-1]) + 1)
        whole[0] = block[0]
    spans = inner
    if group.nan_voxels:  # the fill looks beyond the block, so that it is the same in every block
        spans = [
            Span(max(0, span.start - MARGIN), min(size, span.stop + MARGIN))
            for span, size in zip(inner, geometry.shape, strict=True)
        ]
    slab, missing = source.read(lead, spans), None
    if group.nan_voxels:
        slab, missing = _filled(slab, group)
    if missing is not None:
        missing = missing[_within(tile.spans, spans)]
    slab = slab[_within(inner, spans)]
    if weights is not None:
        slab = np.tensordot(weights, to_float32(slab), axes=1)
        inner[0] = block[0]
    room = out if tuple(whole) == block else np.empty([span.size for span in whole], dtype=np.float32)
    copy_into(room[_within(inner, whole)], slab)
    for axis, size in enumerate(geometry.shape):
        _reflect(np.moveaxis(room, axis, 0), whole[axis], inner[axis], size)
    if room is not out:
        out[...] = room[_within(block, whole)]
    return missing


def _with_reflected(span: Span, size: int) -> Span:
    """A span with all that its continuation by reflection repeats."""
    indices = reflected(span, size)
    return Span(min(span.start, int(indices.min())), max(span.stop, int(indices.max()) + 1))


def _within(spans: Sequence[Span], outer: Sequence[Span]) -> tuple[slice, ...]:
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(spans, outer, strict=True))


def _reflect(values: npt.NDArray[np.float32], span: Span, known: Span, size: int) -> None:
    """Continue the planes ``known`` to both ends of ``span``, in place: borders are small, blocks are not."""
    for beyond in (Span(span.start, known.start), Span(known.stop, span.stop)):
        if beyond.size:
            indices = reflected(beyond, size) - span.start
            place = values[beyond.start - span.start : beyond.stop - span.start]
            if beyond.size > 1 and (np.diff(indices) == -1).all():  # but for tiny volumes
                last = int(indices[-1])
                copy_into(place, values[last : int(indices[0]) + 1][::-1])
            else:
                place[...] = values[indices]


class Shown(NamedTuple):
    """What a tile contributes.

    Attributes
    ----------
    parts
        In the units a person is shown.
    broken
        Those of them with values that are not finite.
    deviation
        Largest difference between x' and max(0, (y + M') u + o), as a share of the range; None for networks
        that have no such formula.
    bright
        Whether any voxel of x' is other than 0.
    low, high
        What the block's own values reach over, in units of the image.
    """

    parts: dict[str, npt.NDArray[np.float32]]
    broken: tuple[str, ...]
    deviation: float | None
    bright: bool
    low: float
    high: float


# Come back with the parts.
_FACTS = "facts"


def normalized(values: Tensor, group: Group) -> tuple[Tensor, Tensor]:
    """A block's values, which are overwritten, as the network takes them; and what they reached over."""
    reach = torch.stack(torch.aminmax(values))
    return values.sub_(float(np.float32(group.lo))).div_(float(np.float32(group.s))), reach


def parts_on_device(
    y: Tensor,
    reach: Tensor,
    raw: Any,
    network: Network,
    tile: Tile,
    geometry: Geometry,
    group: Group,
    outputs: Sequence[str],
) -> dict[str, Tensor]:
    """A network's parts in units of the image, where they were computed; `shown_parts` reads them.

    Nothing here waits for the device. Where the network's last batch norm has a gain, that is folded into
    the correction mask: M' = g (y + M) - y, so that x' = max(0, (y + M') u + o) agrees with Eq. 5 of the
    paper and u is neutral at 1.

    Parameters
    ----------
    y, raw
        (1, 1, …): the network's input, and what it gave for it (all parts, or the output alone), of that part
        of the block that the tile is made from.
    reach
        Of the whole block, from `normalized`.
    network
        Says what there is.
    """
    needed, inside = geometry.needed(tile), y[0, 0]
    with torch.inference_mode():
        available = {name: getattr(raw, name)[0, 0] for name in network.parts if hasattr(raw, name)}
        output = available["output"]
        # Not by the largest value: one NaN would hide all the others.
        facts = [*reach, (output.abs() > 0).any().float()]
        gain = network.output_gain()
        if gain is not None and "intermediate" in available:
            g, offset = gain
            intermediate = available["intermediate"] = g * available["intermediate"]
            mask = available["correction_mask"] = intermediate - inside
            formula = torch.relu((inside + mask) * available["update_term"] + offset)
            facts += [(formula - output).abs().max(), output.max()]
        parts: dict[str, Tensor] = {}
        for name in outputs:
            part = available[name]
            if geometry.resampling is not None:
                back = torch.from_numpy(geometry.resampling.back(tile.spans[0], needed[0])).to(part.device)
                part = torch.tensordot(back, part, dims=1)
                if name in network.non_negative:  # a cubic can undershoot
                    part = part.clamp(min=0)
            if name != "update_term":
                part = part * group.s
            if name in ("output", "intermediate"):
                part = part + group.lo
            parts[name] = part
        finite = [part.isfinite().all().float() for part in parts.values()]
        return {**parts, _FACTS: torch.stack([*finite, *facts])}


def shown_parts(arrived: Mapping[str, npt.NDArray[np.float32]]) -> Shown:
    """What `parts_on_device` gave, back from there."""
    parts = dict(arrived)
    facts = parts.pop(_FACTS).tolist()
    broken = tuple(name for name, finite in zip(parts, facts, strict=False) if not finite)
    low, high, bright, *formula = facts[len(parts) :]
    deviation = formula[0] / max(1.0, formula[1]) if formula else None
    return Shown(parts, broken, deviation, bright > 0, low, high)


def constant_parts(tile: Tile, group: Group, outputs: Sequence[str]) -> Shown:
    """What a constant image gives: itself, with nothing corrected."""
    values = {
        "output": group.minimum,
        "correction_mask": 0.0,
        "update_term": 1.0,
        "intermediate": group.minimum,
    }
    parts = {name: np.full(tile.shape, values[name], dtype=np.float32) for name in outputs}
    return Shown(parts, (), None, True, group.minimum, group.minimum)
