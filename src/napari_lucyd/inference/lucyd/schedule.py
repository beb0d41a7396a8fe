"""The order in which the planes of each layer are computed, and the number to keep; integers only.

The network is computed from the first plane of its input to the last, some planes of the result at a time.
Each layer computes exactly the planes that the next layers need, each once. A ring keeps the last planes of
each layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from napari_lucyd.inference.lucyd.graph import BLOCK, CHANNELS, LAYERS, RESULTS, Layer
from napari_lucyd.spans import Span, ceil_to


class Step(NamedTuple):
    """The planes of a layer to compute next."""

    layer: Layer
    planes: Span


def _read(layer: Layer, made: Span, flat: bool) -> Span:
    """Return the span of its inputs that a layer reads along an axis, ignoring borders."""
    kernel = layer.kernel
    if flat:
        return made
    if kernel.transposed:
        return Span((made.start + 1) // 2 - 1, made.stop // 2 + 1)
    reach = kernel.taps // 2
    return Span(kernel.stride * made.start - reach, kernel.stride * (made.stop - 1) + reach + 1)


def _added(layer: Layer, made: Span, flat: bool) -> Span:
    """Return the span of its residual that a layer reads along an axis."""
    if layer.kernel.residual == "doubled" and not flat:
        return Span(made.start // 2, (made.stop - 1) // 2 + 1)
    return made


def reads(layer: Layer, made: Span, flat: bool = False) -> dict[str, Span]:
    """Return the span of each tensor that a layer reads; ``flat`` for an axis without neighbours."""
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
    """Return the spans to compute of each tensor, and to read of the input, along an axis of ``size`` voxels.

    Parameters
    ----------
    layers
        Layers in order of computation.
    wanted
        Requested spans of the results.

    Examples
    --------
    >>> from napari_lucyd.inference.lucyd.graph import Kernel
    >>> layers = [Layer("a", "", Kernel(), ("y",)), Layer("b", "", Kernel(), ("a",))]
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
    """Order the work along Z for the planes ``wanted`` of all ``results``, ``at_once`` planes at a time.

    Other parameters as in `needed`.
    """
    whole = needed(layers, dict.fromkeys(results, wanted), size, flat)
    done = {name: span.start for name, span in whole.items()}
    # The layers start one after another, as if earlier planes were requested. Otherwise all planes that the
    # first one needs would be computed, and kept, at once.
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
    """Return the number of input planes that the network looks ahead."""
    far = 2**20
    found = needed(layers, dict.fromkeys(results, Span(far, far + 1)), 2 * far, flat)
    return max(span.stop for span in found.values()) - far - 1


def ring_sizes(steps: Sequence[Step], flat: bool = False) -> dict[str, int]:
    """Return the number of planes in each buffer, so that no plane is overwritten before its last use.

    Plane z is stored at index z modulo that number.
    """
    homes = {step.layer.name: step.layer.kept_in for step in steps}
    oldest: dict[str, int] = {}  # first plane of each buffer that this or a later step reads
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
    """Return the number of voxels of fully requested blocks that would take as much work as these blocks.

    Parameters
    ----------
    axes
        Sizes and requested spans of the blocks along each spatial axis of their grid.
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
