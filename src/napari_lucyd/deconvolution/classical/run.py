"""The run of a classical method: one volume or tile after another, iteration by iteration."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from napari_lucyd.compute.device import Device, release_after_run
from napari_lucyd.deconvolution.arguments import RunArguments
from napari_lucyd.deconvolution.blocks import Filled, middle_of, read_filled
from napari_lucyd.deconvolution.classical.automatic import (
    CHECKPOINTS,
    Decided,
    decide,
    decided_before,
    numbers_of,
)
from napari_lucyd.deconvolution.classical.methods import AUTO, ClassicalMethod, RichardsonLucy
from napari_lucyd.deconvolution.classical.semi_blind import SemiBlind
from napari_lucyd.deconvolution.classical.solvers import Scale, start
from napari_lucyd.deconvolution.classical.tiled_run import block_of
from napari_lucyd.deconvolution.findings import NEGATIVE_VOXELS, Findings, negative_voxels_text
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.result import Progress
from napari_lucyd.deconvolution.statistics.scaling import Group, Statistics
from napari_lucyd.deconvolution.statistics.volume_numbers import VolumeNumbers
from napari_lucyd.deconvolution.tiling.tiles import Tile, cut
from napari_lucyd.errors import Cancelled, DeconvolutionError, clear_frames
from napari_lucyd.spans import Span, within
from napari_lucyd.text import count_text

# Approximate number of blurs that a search tries; the total grows if it tries more.
_BLURS = 20
# Number of voxels in which the parameters of a volume are found, if it is too large to be read at once.
_KNOWN_VOXELS = 2**26


class _Step(NamedTuple):
    """A step of one tile.

    Attributes
    ----------
    left
        Largest number of steps that follow in this tile.
    message
        Text for the status line.
    iterations
        Number of iterations of the tile at its last step; otherwise 0.
    curve
        Held-out likelihoods by number of iterations, as far as known.
    """

    left: int
    message: str
    iterations: int = 0
    curve: tuple[tuple[int, float], ...] = ()


class _Numbers(NamedTuple):
    """The parameters of one volume, for all its tiles.

    Attributes
    ----------
    decided
        Method and levels.
    scale
        Brightness of the volume; None if the volume is one tile.
    curve
        Held-out likelihood by the number of iterations, if the number was chosen.
    """

    decided: Decided
    scale: Scale | None
    curve: tuple[tuple[int, float], ...] = ()


def steps_at_most(method: ClassicalMethod, tiles: int = 1) -> int:
    """Return the largest number of steps of a volume: iterations, and trials that choose their number."""
    return tiles * method.iterations + _search_steps(method)


def _curve_of(record: Mapping[str, Any]) -> tuple[tuple[int, float], ...]:
    """Return the likelihoods from which a number was chosen, by the record of a volume's parameters."""
    return tuple((int(point[0]), float(point[1])) for point in record.get("held_out", ()))


def _search_steps(method: ClassicalMethod) -> int:
    if isinstance(method, SemiBlind):
        return _BLURS * len(CHECKPOINTS)
    chosen = isinstance(method, RichardsonLucy) and method.num_iter == AUTO
    return len(CHECKPOINTS) if chosen else 0


class ClassicalRun:
    """Result arrays, the remaining tiles, and the parameters found so far.

    Parameters
    ----------
    method, device, choices
        Method, device and arguments of the plan.
    warnings
        Messages for the user, shared with the job.
    tile_shape
        Shape of the tiles; None for whole volumes.
    halo
        Margin around a tile that is computed with it, in voxels along each axis.

    Attributes
    ----------
    arrays
        Result arrays by name of the part.
    iterations
        Number of iterations of each finished volume.
    negative_voxels
        Number of negative voxels in the finished volumes. They are set to 0 for Richardson-Lucy with a given
        background.
    found
        Parameters found in each finished volume; see `Decided.record`.
    ended
        Iterations after which the estimate of a volume was kept; 0 if none was.
    """

    def __init__(
        self,
        method: ClassicalMethod,
        device: Device,
        choices: RunArguments,
        warnings: Findings,
        tile_shape: Sequence[int] | None = None,
        halo: Sequence[int] = (),
    ) -> None:
        self._method = method
        self._device = device
        self._choices = choices
        self._warnings = warnings
        self._halo = tuple(halo) if tile_shape is not None else None
        tiles = [Tile(choices.spans)] if tile_shape is None else list(cut(choices.spans, tile_shape, 1))
        leads = product(*(range(*span) for span in choices.lead_spans))
        self._queue = deque((lead, tile) for lead in leads for tile in tiles)
        self._tiles = len(tiles)
        self._numbers: tuple[tuple[int, ...], _Numbers] | None = None
        # Steps done in finished tiles, steps done in the current tile, and steps that may follow in it.
        self._before, self._within, self._left = 0, 0, 0
        self._wished = False
        self.ended = 0
        self.iterations: list[int] = []
        self.negative_voxels = 0
        self.found: list[dict[str, Any]] = []
        self.arrays = choices.make_arrays()

    @property
    def finished(self) -> bool:
        """True if all tiles are computed."""
        return not self._queue

    def keep_estimate(self) -> None:
        """End the current volume with its present estimate, or a search with the best numbers so far."""
        self._wished = self._tiles == 1

    def unfinished(self) -> Iterator[tuple[tuple[int, ...], Tile]]:
        """Yield the unfinished tiles."""
        return iter(self._queue)

    @property
    def total(self) -> int:
        """Number of steps for all volumes; it falls when a volume needs fewer than the largest number."""
        waiting = len(self._queue) - (self._within > 0)
        volumes = waiting // self._tiles  # not started yet
        each = self._method.iterations
        if self._numbers is not None:
            each = self._numbers[1].decided.method.iterations
        steps = self._before + self._within + self._left + (waiting % self._tiles) * each
        return steps + volumes * steps_at_most(self._method, self._tiles)

    def steps(
        self, source: Source, statistics: Statistics, should_stop: Callable[[], bool] | None
    ) -> Iterator[Progress]:
        """Compute the remaining tiles; see `Job.steps`."""
        choices = self._choices
        nowhere = tuple(slice(0, 0) for _ in choices.output_shape)
        started, computed = time.perf_counter(), 0
        number = choices.volumes * self._tiles
        pieces = count_text(number, "volume" if self._tiles == 1 else "tile")

        def ask() -> None:
            if should_stop is not None and should_stop():
                raise Cancelled(
                    f"Stopped after {number - len(self._queue)} of {pieces}. An unfinished one "
                    "is started again when the run is resumed."
                )

        try:
            while self._queue:
                lead, tile = self._queue[0]
                group = statistics.group(choices.axes.lead_index(lead))
                self._within = 0  # an unfinished tile is started again
                known = statistics.numbers_of(lead)
                for step in self._restore(source, lead, tile, group, known, ask):
                    self._within, self._left = self._within + 1, step.left
                    computed += 1
                    where = nowhere
                    if step.iterations:
                        self._queue.popleft()
                        self._before, self._within = self._before + self._within, 0
                        where = choices.where(lead, tile)
                        self._finish(lead, step.iterations)
                    done, total = self._before + self._within, self.total
                    seconds_left = (time.perf_counter() - started) / computed * (total - done)
                    message = choices.label(lead)
                    if steps_at_most(self._method) > 1:
                        message = f"{message}, {step.message}"
                    yield Progress(done, total, seconds_left, message, where, step.curve)
                if self.ended and self._queue:
                    raise Cancelled(
                        f"Stopped after {number - len(self._queue)} of {pieces}; the last one is an "
                        "estimate before its last iteration."
                    )
        except Exception as error:
            clear_frames(error)
            raise
        finally:
            release_after_run(self._device)

    def _finish(self, lead: tuple[int, ...], iterations: int) -> None:
        """Record the iterations and parameters of a volume after its last tile."""
        if self._queue and self._queue[0][0] == lead:
            return
        numbers = self._numbers
        assert numbers is not None
        decided = numbers[1].decided
        self.iterations.append(iterations if self._tiles == 1 else decided.method.iterations)
        self.found.append(decided.record)
        self._numbers = None

    def _restore(
        self,
        source: Source,
        lead: tuple[int, ...],
        tile: Tile,
        group: Group,
        known: VolumeNumbers | None,
        ask: Callable[[], None],
    ) -> Iterator[_Step]:
        """Restore a tile; the last step writes it into the results."""
        ask()
        shape = self._choices.axes.volume_shape
        whole = tuple(Span(0, size) for size in shape)
        spans = whole if self._halo is None else block_of(tile, self._halo, shape)
        block = read_filled(source, lead, spans, group)
        if self._numbers is None or self._numbers[0] != lead:
            self._numbers = lead, (yield from self._decide(source, lead, block, group, known, ask))
        decided, scale, curve = self._numbers[1]
        values, negative = decided.prepared(block.values), self._count_negative(block, spans, tile)
        number, most = 1, decided.method.iterations
        if group.constant or not values.any():
            restored = decided.of_constant(values)
        else:
            halves = decided.halves(block.values)
            restoration = start(decided.method, values, self._device, ask, scale, halves)
            while not restoration.advance():
                yield _Step(most - number, f"iteration {number}", curve=curve)
                if self._take_wish():
                    self._note_end(lead, number)
                    break
                number += 1
                ask()
            restored = restoration.restored() + np.float32(decided.level)
        self._keep(lead, tile, spans, restored, block.missing)
        if negative:
            self.negative_voxels += negative
            self._warnings.update(negative_voxels_text(self.negative_voxels), NEGATIVE_VOXELS)
        yield _Step(0, f"iteration {number}", number, curve)

    def _decide(
        self,
        source: Source,
        lead: tuple[int, ...],
        block: Filled,
        group: Group,
        known: VolumeNumbers | None,
        ask: Callable[[], None],
    ) -> Generator[_Step, None, _Numbers]:
        """Return the numbers of a volume: those that are known, or those found in it."""
        method = self._method_for(lead)
        if known is not None:
            before = decided_before(method, known)
            return _Numbers(before, Scale(known.peak, known.mean), _curve_of(known.record))
        values = block.values
        if self._halo is not None:
            middle = middle_of(self._choices.axes.volume_shape, _KNOWN_VOXELS)
            values = read_filled(source, lead, middle, group).values
        decided = yield from self._search(method, values, ask)
        scale = None if self._halo is None else decided.scale(values)
        return _Numbers(decided, scale, _curve_of(decided.record))

    def decide(
        self, source: Source, statistics: Statistics, should_stop: Callable[[], bool] | None
    ) -> tuple[VolumeNumbers, ...]:
        """Find the numbers of all volumes, for runs of their parts; see `Job.decide`."""

        def ask() -> None:
            if should_stop is not None and should_stop():
                raise Cancelled("Stopped before the first part.")

        found = []
        for lead in dict.fromkeys(lead for lead, _ in self._queue):
            group, method = statistics.group(self._choices.axes.lead_index(lead)), self._method_for(lead)
            part = middle_of(self._choices.axes.volume_shape, _KNOWN_VOXELS)
            values = read_filled(source, lead, part, group).values
            search = self._search(method, values, ask)
            while True:
                try:
                    next(search)
                except StopIteration as end:
                    decided: Decided = end.value
                    break
            found.append(numbers_of(decided, method, lead, decided.scale(values)))
        return tuple(found)

    def _note_end(self, lead: tuple[int, ...], number: int) -> None:
        """Say that a volume's estimate was kept before its last iteration."""
        self.ended = number
        count = count_text(number, "iteration")
        self._warnings.add(
            f"Stopped after {count} of {self._choices.label(lead)}; the result is that estimate."
        )

    def _take_wish(self) -> bool:
        """Return True once after `keep_estimate`."""
        wished, self._wished = self._wished, False
        return wished

    def _method_for(self, lead: tuple[int, ...]) -> ClassicalMethod:
        """Return the method with the PSF of a volume's channel."""
        return self._method.for_channel(self._choices.axes.lead_index(lead).get("C", 0))

    def _search(
        self, method: ClassicalMethod, values: Any, ask: Callable[[], None]
    ) -> Generator[_Step, None, Decided]:
        """Find the parameters of the method that are ``"auto"``; each step has the curve of its blur."""
        left = steps_at_most(self._method)
        curve: list[tuple[int, float]] = []
        tried: tuple[float, ...] = ()
        search = decide(method, values, self._device, ask)
        ended: bool | None = None
        while True:
            try:
                checkpoint = search.send(ended)
            except StopIteration as end:
                decided: Decided = end.value
                break
            left = max(self._method.iterations, left - 1)
            if not curve or checkpoint.parameters != tried:
                curve, tried = [], checkpoint.parameters
            curve.append((checkpoint.num_iter, checkpoint.likelihood))
            message = f"iterations tried: {checkpoint.num_iter}"
            if isinstance(method, SemiBlind) and tried:
                message = f"blur tried: {method.family.describe(tried)}, {message}"
            yield _Step(left, message, curve=tuple(curve))
            ended = self._take_wish()
        if decided.warning:
            self._warnings.add(decided.warning)
        return decided

    def _count_negative(self, block: Filled, spans: Sequence[Span], tile: Tile) -> int:
        """Return the number of negative voxels, for a method that cannot use them."""
        if not isinstance(self._method, (RichardsonLucy, SemiBlind)) or self._method.background == AUTO:
            return 0
        below = block.values < 0
        if block.missing is not None:
            below &= ~block.missing  # a filled voxel was not measured
        if self._halo is not None:  # other tiles count the voxels of the halo
            below = below[within(tile.spans, spans)]
        return int(np.count_nonzero(below))

    def _keep(
        self, lead: tuple[int, ...], tile: Tile, spans: Sequence[Span], restored: Any, missing: Any
    ) -> None:
        choices = self._choices
        if not np.isfinite(restored).all():
            raise DeconvolutionError(
                f"{self._method.title} gave values that are not finite for {choices.label(lead)}. The "
                "image's values may be too large for float32: divide the image by a constant."
            )
        if missing is not None:
            restored[missing] = np.nan
        where = choices.where(lead, tile)
        part = choices.axes.in_order_of_array(restored[within(tile.spans, spans)])
        for array in self.arrays.values():
            array[where] = part
