"""Which planes of which layer are computed when, and how many have to be kept: integers only.

A network of layers is gone through from the first plane of its input to the last, some planes of the result
at a time. Each layer computes what the next ones need for these planes and no more, nothing twice, and only
the last planes of each are kept, in a ring.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from napari_lucyd.inference.lucyd.graph import BLOCK, CHANNELS, LAYERS, RESULTS, Layer
from napari_lucyd.spans import Span, ceil_to


class Step(NamedTuple):
    """Planes of a layer's result to be computed next."""

    layer: Layer
    planes: Span


def _read(layer: Layer, made: Span, flat: bool) -> Span:
    """What a layer reads of its inputs along an axis, borders not looked at."""
    kernel = layer.kernel
    if flat:
        return made
    if kernel.transposed:
        return Span((made.start + 1) // 2 - 1, made.stop // 2 + 1)
    reach = kernel.taps // 2
    return Span(kernel.stride * made.start - reach, kernel.stride * (made.stop - 1) + reach + 1)


def _added(layer: Layer, made: Span, flat: bool) -> Span:
    """What a layer reads of its residual along an axis."""
    if layer.kernel.residual == "doubled" and not flat:
        return Span(made.start // 2, (made.stop - 1) // 2 + 1)
    return made


def reads(layer: Layer, made: Span, flat: bool = False) -> dict[str, Span]:
    """What a layer reads of each tensor along an axis; ``flat``: an axis that kernels do not reach along."""
    found = {name: _read(layer, made, flat) for name in layer.inputs}
    if layer.residual:
        added = _added(layer, made, flat)
        found[layer.residual] = _hull(added, found.get(layer.residual, added))
    return found


def _hull(a: Span, b: Span) -> Span:
    return Span(min(a.start, b.start), max(a.stop, b.stop))


def needed(
    layers: Sequence[Layer], wanted: Mapping[str, Span], size: int, flat: bool = False
) -> dict[str, Span]:
    """What has to be computed of each tensor along an axis of ``size`` voxels, and read of the input.

    Parameters
    ----------
    layers
        In an order in which they can be computed.
    wanted
        Of the tensors that are results.

    Examples
    --------
    >>> layers = [Layer("a", Kernel(), ("y",)), Layer("b", Kernel(), ("a",))]
    >>> needed(layers, {"b": Span(4, 6)}, 8)
    {'b': Span(start=4, stop=6), 'a': Span(start=3, stop=7), 'y': Span(start=2, stop=8)}
    """
    found = dict(wanted)
    halves = {layer.name for layer in layers if layer.half and not flat}
    for layer in reversed(layers):
        if layer.name not in found:
            continue
        for name, span in reads(layer, found[layer.name], flat).items():
            end = size // 2 if name in halves else size
            span = Span(max(span.start, 0), min(span.stop, end))
            found[name] = _hull(span, found.get(name, span))
    return found


def schedule(
    layers: Sequence[Layer],
    results: Sequence[str],
    wanted: Span,
    size: int,
    at_once: int,
    flat: bool = False,
) -> list[Step]:
    """The order of work along Z for the planes ``wanted`` of all ``results``, ``at_once`` of them at a time.

    Other parameters as in `needed`.
    """
    whole = needed(layers, dict.fromkeys(results, wanted), size, flat)
    done = {name: span.start for name, span in whole.items()}
    # The layers start one after the other, as if planes before the first were wanted: what the first needs
    # would otherwise be computed, and kept, all at once.
    begin = wanted.start + at_once - ceil_to(_reach(layers, results, flat), at_once)
    steps = []
    for stop in [*range(begin, wanted.stop, at_once), wanted.stop]:
        part = needed(layers, dict.fromkeys(results, Span(wanted.start, stop)), size, flat)
        for layer in layers:
            if part[layer.name].stop > done[layer.name]:
                steps.append(Step(layer, Span(done[layer.name], part[layer.name].stop)))
                done[layer.name] = part[layer.name].stop
    return steps


def _reach(layers: Sequence[Layer], results: Sequence[str], flat: bool) -> int:
    """How many planes of its input the network looks ahead."""
    far = 2**20
    found = needed(layers, dict.fromkeys(results, Span(far, far + 1)), 2 * far, flat)
    return max(span.stop for span in found.values()) - far - 1


def ring_sizes(steps: Sequence[Step], flat: bool = False) -> dict[str, int]:
    """How many planes each buffer has to hold, so that none is overwritten that is still to be read.

    Plane z lies in place z modulo that number.
    """
    homes = {step.layer.name: step.layer.kept_in for step in steps}
    oldest: dict[str, int] = {}  # of each buffer, the first plane that this step or a later one reads
    sizes: dict[str, int] = {}
    for layer, planes in reversed(steps):
        home = layer.kept_in
        start = min(planes.start, oldest.get(home, planes.start))
        sizes[home] = max(sizes.get(home, 0), planes.stop - start)
        for name, span in reads(layer, planes, flat).items():
            if name in homes:
                oldest[homes[name]] = min(oldest.get(homes[name], span.start), span.start)
    return sizes


def equivalent_voxels(axes: Sequence[Sequence[tuple[int, Span]]]) -> float:
    """How many voxels of a block that is wanted as a whole would be as much work as these blocks.

    Parameters
    ----------
    axes
        The blocks form a grid; for each spatial axis, their sizes along it and what of them is wanted.
    """
    flat = [len(axes) == 2 and not k for k in range(3)]
    grid = [[(1, Span(0, 1))], *axes] if len(axes) == 2 else axes
    work = bare = 0.0
    along = [
        [needed(LAYERS, dict.fromkeys(RESULTS, inside), size, alone) for size, inside in blocks]
        for alone, blocks in zip(flat, grid, strict=True)
    ]
    for layer in LAYERS:
        kernel, sources = layer.kernel, sum(CHANNELS[name] for name in layer.inputs)
        taps = (2 if kernel.transposed else kernel.taps) ** len(axes)
        each = sources * taps * (BLOCK if kernel.reduce else layer.channels)
        work += each * math.prod(sum(found[layer.name].size for found in blocks) for blocks in along)
        bare += each / (2 ** len(axes) if layer.half else 1)
    return work / bare
