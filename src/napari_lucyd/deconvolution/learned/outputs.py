"""The parts of a result, computed from the network's outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_lucyd.compute.slabs import slabs
from napari_lucyd.deconvolution.statistics.scaling import Group
from napari_lucyd.deconvolution.tiling.geometry import Geometry
from napari_lucyd.deconvolution.tiling.tiles import Tile
from napari_lucyd.networks.lucyd import LUCYD, LucydOutput
from napari_lucyd.networks.network import Network

# Name of the numbers that are sent back with the parts.
_FACTS = "facts"


class TileOutput(NamedTuple):
    """The contribution of a tile to the result.

    Attributes
    ----------
    parts
        Arrays by part, in the units of the result.
    broken
        Parts with values that are not finite.
    deviation
        Largest difference between x' and max(0, (y + M') u + o), as a share of the range; None for networks
        without this formula.
    bright
        True if any voxel of x' is not 0.
    low, high
        Range of the block's input values, in units of the image.
    """

    parts: dict[str, npt.NDArray[np.float32]]
    broken: tuple[str, ...]
    deviation: float | None
    bright: bool
    low: float
    high: float


def normalized(values: Tensor, group: Group) -> tuple[Tensor, Tensor]:
    """Normalise a block in place; return it with the range of its original values."""
    reach = torch.stack(torch.aminmax(values))
    return values.sub_(float(np.float32(group.lo))).div_(float(np.float32(group.s))), reach


def tempered(raw: LucydOutput, y: Tensor, share: float, network: Network) -> LucydOutput:
    """Weaken mask and update term, M' = w M and u' = 1 + w (u - 1), and multiply again, all in place.

    The formula x' = max(0, (y + M') u') holds as before.

    Parameters
    ----------
    raw
        Results of the network, (1, 1, [Z,] Y, X).
    y
        The network's input for these voxels.
    share
        The share w, from 0 for y itself to 1 for the network's result.
    network
        The LUCYD that computed them; its last batch norm is applied.
    """
    assert isinstance(network, LUCYD)
    gain, offset = network.output_gain()
    with torch.inference_mode():
        for slab in slabs(y.shape[2:], y.device):
            part = (slice(None), slice(None), slab)
            mask = raw.correction_mask[part].mul_(share)
            update = raw.update_term[part].sub_(1).mul_(share).add_(1)
            intermediate = torch.add(y[part], mask, out=raw.intermediate[part])
            torch.mul(intermediate, update, out=raw.output[part]).mul_(gain).add_(offset).relu_()
    return raw


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
    """Compute a network's parts in units of the image, on its device; `shown_parts` reads them.

    Nothing here waits for the device. If the network's last batch norm has a gain, it is folded into the
    correction mask: M' = g (y + M) - y, so that x' = max(0, (y + M') u + o) agrees with Eq. 5 of the paper
    and u is neutral at 1.

    Parameters
    ----------
    y, raw
        (1, 1, …): the network's input and outputs (all parts, or the output alone), for the part of the block
        that yields the tile.
    reach
        Range of the whole block, from `normalized`.
    network
        The network, which defines the available parts.
    """
    inside = y[0, 0]
    with torch.inference_mode():
        whole = {name: getattr(raw, name)[0, 0] for name in network.parts if hasattr(raw, name)}
        gain = network.output_gain() if "intermediate" in whole else None
        parts = {name: inside.new_empty(inside.shape) for name in outputs}
        facts = []
        for slab in slabs(inside.shape, inside.device):
            available = {name: values[slab] for name, values in whole.items()}
            facts.append(_facts_of(available, inside[slab], gain))
            available["first_estimate"] = inside[slab]
            for name, part in parts.items():
                part[slab] = available[name]
                if geometry.resampling is None:
                    _to_image_units(name, part[slab], group)
        if geometry.resampling is not None:
            back = geometry.resampling.back(tile.spans[0], geometry.needed(tile)[0])
            for name, part in parts.items():
                parts[name] = torch.tensordot(torch.from_numpy(back).to(part.device), part, dims=1)
                if name in network.non_negative:  # cubic interpolation can undershoot
                    parts[name].clamp_(min=0)
                _to_image_units(name, parts[name], group)
        return {**parts, _FACTS: torch.stack([*_finite(parts), *reach, *torch.stack(facts).amax(0)])}


def _facts_of(available: dict[str, Tensor], y: Tensor, gain: tuple[float, float] | None) -> Tensor:
    """Return the facts about a slab; fold the gain into its correction mask."""
    output = available["output"]
    # Not by the maximum, which a single NaN would hide.
    facts = [(output.abs() > 0).any().float()]
    if gain is not None:
        g, offset = gain
        intermediate = available["intermediate"] = g * available["intermediate"]
        mask = available["correction_mask"] = intermediate - y
        formula = torch.relu((y + mask) * available["update_term"] + offset)
        facts += [(formula - output).abs().max(), output.max()]
    return torch.stack(facts)


def _to_image_units(name: str, part: Tensor, group: Group) -> None:
    """Convert a part from the network's units to those of the image, in place."""
    if name != "update_term":
        part *= group.s
    if name in ("output", "intermediate", "first_estimate"):
        part += group.lo


def _finite(parts: Mapping[str, Tensor]) -> list[Tensor]:
    """Return 1 for each part whose values are all finite, 0 for the others."""
    return [
        torch.stack([part[slab].isfinite().all() for slab in slabs(part.shape, part.device)]).all().float()
        for part in parts.values()
    ]


class OutputOnly(NamedTuple):
    """The output of a network without its other parts: (1, 1, [Z,] Y, X)."""

    output: Tensor


def average_flips(results: Iterable[tuple[Sequence[int], dict[str, Tensor]]]) -> dict[str, Tensor]:
    """Average the outputs of mirror images, each mirrored back.

    Only outputs are averaged: their mean is not the product of a mean mask and a mean update term.

    Parameters
    ----------
    results
        The mirrored axes of each image, and the result of `parts_on_device` for an `OutputOnly`; the first
        image is not mirrored.
    """
    every: list[Tensor] = []
    total: Tensor | None = None
    with torch.inference_mode():
        for axes, parts in results:
            output = parts["output"].flip(tuple(axes))
            total = output if total is None else total + output
            every.append(parts[_FACTS])
        assert total is not None
        facts = torch.stack(every)  # of each image: finite, low, high, bright
        least, most = facts.amin(0), facts.amax(0)
        return {"output": total / len(every), _FACTS: torch.stack((least[0], *facts[0, 1:3], most[3]))}


def shown_parts(arrived: Mapping[str, npt.NDArray[np.float32]]) -> TileOutput:
    """Read the result of `parts_on_device`, after its transfer."""
    parts = dict(arrived)
    facts = parts.pop(_FACTS).tolist()
    broken = tuple(name for name, finite in zip(parts, facts, strict=False) if not finite)
    low, high, bright, *formula = facts[len(parts) :]
    deviation = formula[0] / max(1.0, formula[1]) if formula else None
    return TileOutput(parts, broken, deviation, bright > 0, low, high)


def constant_parts(tile: Tile, group: Group, outputs: Sequence[str]) -> TileOutput:
    """Return the parts of a constant image: the image itself, without correction."""
    values = {
        "output": group.minimum,
        "correction_mask": 0.0,
        "update_term": 1.0,
        "intermediate": group.minimum,
        "first_estimate": group.minimum,
    }
    parts = {name: np.full(tile.shape, values[name], dtype=np.float32) for name in outputs}
    return TileOutput(parts, (), None, True, group.minimum, group.minimum)
