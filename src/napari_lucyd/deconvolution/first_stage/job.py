"""Planned run of a network on first estimates: Richardson-Lucy for each volume, then the network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from napari_lucyd.compute.device import Device, free_memory
from napari_lucyd.deconvolution.arguments import RunArguments
from napari_lucyd.deconvolution.blocks import NAN_MARGIN, with_reflected
from napari_lucyd.deconvolution.classical.automatic import sample_shape
from napari_lucyd.deconvolution.classical.methods import RichardsonLucy
from napari_lucyd.deconvolution.classical.solvers import grid_shape
from napari_lucyd.deconvolution.classical.tiled_run import block_of, halo_of, largest_tile
from napari_lucyd.deconvolution.classical.time_and_memory import classical_bytes, seconds_of_volume
from napari_lucyd.deconvolution.findings import SETTINGS, Findings
from napari_lucyd.deconvolution.first_stage.blur import Blur
from napari_lucyd.deconvolution.first_stage.estimate import iterations_for
from napari_lucyd.deconvolution.first_stage.estimated_source import EstimatedSource
from napari_lucyd.deconvolution.first_stage.light_measurement import SEARCH_VOXELS, measure_light
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.learned.block_memory import largest_block, memory_cost
from napari_lucyd.deconvolution.learned.job import NetworkJob
from napari_lucyd.deconvolution.result import Progress
from napari_lucyd.deconvolution.statistics.light import Light
from napari_lucyd.deconvolution.statistics.scaling import Statistics
from napari_lucyd.deconvolution.tiling.tiles import Tile
from napari_lucyd.errors import Cancelled
from napari_lucyd.spans import Span

# Share of the free memory that a first estimate may use.
_SHARE = 0.6
# Noise by which memory and time are planned before the image is measured.
_PLANNED_NOISE = 0.03
# Iterations with the planned PSF that take as long as a search for the blur: 300 to 900 were counted, most of
# them with narrower PSFs.
_SEARCH_ITERATIONS = 300
# Voxels of the largest volume without a message for each iteration.
_QUICK_VOXELS = 2**15


class FirstStageJob(NetworkJob):
    """A planned run of a network on first estimates; see `Job`.

    The part of a volume that the network needs is estimated at once if memory allows; then the results do not
    depend on the network's tiles. Otherwise each tile has an estimate of its own, from a block with a wide
    margin. Its voxels then differ by less than 1e-3 of the result's range from those of a whole estimate.
    """

    def __init__(
        self,
        source: Source,
        model: Any,
        device: Device,
        choices: RunArguments,
        tile_shape: tuple[int, ...] | None,
        statistics: Statistics | None,
        warnings: Findings,
        processes: int,
        blur: Blur,
    ) -> None:
        self._blur = blur
        kernel = blur.planned
        self._planned = RichardsonLucy(
            kernel, num_iter=iterations_for(_PLANNED_NOISE, kernel), center_psf=False
        )
        # Estimated at once; None if memory is short.
        self._part: tuple[Span, ...] | None = self._needed_part(choices)
        self._given_tile_shape = tile_shape
        self._iterations: int | None = None
        super().__init__(source, model, device, choices, tile_shape, statistics, warnings, processes)
        for note in blur.notes:
            self.warnings.add(note, SETTINGS)

    @property
    def description(self) -> str:
        """The axes with their sizes, and the first stage, in one line."""
        return f"{super().description}, first estimate with {self._blur.text}"

    @property
    def work(self) -> str:
        """Iterations of the first estimate, and the tiles, as text."""
        return f"first estimate, then {super().work}"

    @property
    def task_shape(self) -> tuple[int, ...]:
        """See `Job.task_shape`."""
        if self._part is None or self._given_tile_shape is not None:
            return self.tile_shape
        return tuple(span.size for span in self._choices.spans)

    @property
    def step_count(self) -> int:
        """See `Job.step_count`: iterations of the first estimates, and tiles."""
        if self._iterations is not None:
            return self.tiles + self._iterations
        return self.tiles + (0 if self._part is None else self._choices.volumes * self._planned.iterations)

    @property
    def memory_bytes(self) -> int:
        """See `Job.memory_bytes`."""
        network = super().memory_bytes - self._choices.result_bytes
        kept = 0 if self._part is None else 4 * math.prod(span.size for span in self._part)
        # The buffers of the iterations are released before the network starts.
        working = max(network, self._estimate_bytes(self._block_shape(self._part)))
        return self._choices.result_bytes + kept + working

    def estimate_seconds(self) -> float:
        """See `Job.estimate_seconds`."""
        shape, blocks = self._block_shape(self._part), self._choices.volumes
        if self._part is None:
            blocks *= math.prod(len(sizes) for sizes in self._block_sizes())
        iterations = self._planned.iterations
        if self._statistics is not None:
            lights = self._statistics.light
            iterations = max(iterations_for(light.noise, self._kernel(light)) for light in lights)
        seconds = seconds_of_volume(self._planned, iterations, shape, self.device) * blocks
        if self._statistics is None and not self._blur.told:
            sample = sample_shape(self._choices.axes.volume_shape, SEARCH_VOXELS)
            seconds += seconds_of_volume(self._planned, _SEARCH_ITERATIONS, sample, self.device)
        return super().estimate_seconds() + seconds

    def steps(self, should_stop: Callable[[], bool] | None = None) -> Iterator[Progress]:
        """See `Job.steps`."""

        def ask() -> None:
            if should_stop is not None and should_stop():
                raise Cancelled(
                    "Stopped in the first estimate, which is started again when the run is resumed."
                )

        statistics = self.measure(should_stop)
        self._prepare()
        prepared = statistics.prepared.applied(self._source)
        part = None if self._is_quick(statistics) else self._part
        if part is not None and any(group.nan_voxels for group in statistics.groups):
            part = tuple(
                Span(max(0, span.start - NAN_MARGIN), min(n, span.stop + NAN_MARGIN))
                for span, n in zip(part, self._choices.axes.volume_shape, strict=True)
            )
        estimated = EstimatedSource(prepared, self._blur, statistics, self.device, part, ask)
        leads = product(*(range(*span) for span in self._choices.lead_spans))
        self._iterations = sum(estimated.steps_before(lead) for lead in leads)
        yield from self._running().steps(estimated, statistics, should_stop)

    def _completed(self, statistics: Statistics, should_stop: Callable[[], bool] | None) -> Statistics:
        pedestal = self._choices.normalization.pedestal
        prepared = statistics.prepared.applied(self._source)
        found, notes = measure_light(
            prepared, self._source, statistics, pedestal, self._blur.told, self.device, should_stop
        )
        for note in notes:
            self.warnings.add(note)
        shares = [self._model.network.share(light.noise) for light in found.light]
        groups = [replace(one, network_share=w) for one, w in zip(found.groups, shares, strict=True)]
        return replace(found, groups=tuple(groups))

    def _recipe(self) -> dict[str, Any]:
        recipe = super()._recipe()
        lights = self._statistics.light if self._statistics is not None else ()
        recipe["first_stage"] = {
            "method": "richardson-lucy",
            **self._blur.record,
            "num_iter": [iterations_for(light.noise, self._kernel(light)) for light in lights],
            "network_share": [self._model.network.share(light.noise) for light in lights],
            **{
                name: [getattr(light, name) for light in lights]
                for name in ("level", "pedestal", "scale", "noise", "peak", "mean")
            },
        }
        if not self._blur.told:
            recipe["first_stage"]["blur_sigma_found"] = [list(light.blur_sigma) for light in lights]
        return recipe

    def _is_quick(self, statistics: Statistics) -> bool:
        """Return True for small volumes that are read once: each is estimated as it is read, in milliseconds.

        Then the next volume can be estimated while the network computes the last one.
        """
        choices, missing = self._choices, any(group.nan_voxels for group in statistics.groups)
        once = self.tiles == choices.volumes and not choices.flips and not missing
        return once and math.prod(choices.axes.volume_shape) <= _QUICK_VOXELS

    def _kernel(self, light: Light) -> np.ndarray:
        return self._blur.kernel(0, light.blur_sigma)

    def _automatic_tile_shape(self) -> tuple[int, ...]:
        there = free_memory(self.device) / self._processes
        free = _SHARE * there - self._choices.result_bytes
        part = self._needed_part(self._choices)
        kept = 4 * math.prod(span.size for span in part)
        if self._estimate_bytes(self._block_shape(part)) + kept <= free:
            self._part = part
            return super()._automatic_tile_shape()
        self._part = None
        choices, network = self._choices, memory_cost(self._model.network, self.device)
        most = largest_block(int(there), self.device.kind, network)
        margin = self._margin()

        def fits(block: Sequence[int]) -> bool:
            return self._estimate_bytes(block) <= free and math.prod(block) <= most

        region = [span.size for span in choices.spans]
        found = largest_tile(region, choices.axes.volume_shape, margin, fits)
        return found or super()._automatic_tile_shape()

    def _margin(self) -> tuple[int, ...]:
        estimate = halo_of(self._planned.kernel, self._planned.iterations)
        return tuple(n + self._choices.geometry.halo for n in estimate)

    def _estimate_bytes(self, block: Sequence[int]) -> int:
        return classical_bytes(self._planned, math.prod(grid_shape(self._planned, block)))

    def _block_shape(self, part: tuple[Span, ...] | None) -> tuple[int, ...]:
        """Return the shape of the largest block that is estimated at once."""
        shape = self._choices.axes.volume_shape
        if part is None:
            sizes = zip(shape, self.tile_shape, self._margin(), strict=True)
            return tuple(min(n, tile + 2 * margin) for n, tile, margin in sizes)
        halo = halo_of(self._planned.kernel, self._planned.iterations)
        return tuple(span.size for span in block_of(Tile(part), halo, shape))

    @staticmethod
    def _needed_part(choices: RunArguments) -> tuple[Span, ...]:
        """Return the part of a volume that the network reads for the region."""
        geometry, shape = choices.geometry, choices.axes.volume_shape
        whole = tuple(Span(0, n) for n in shape)
        if geometry.flips:
            return whole
        block = [
            with_reflected(span, n)
            for span, n in zip(geometry.block(Tile(choices.spans)), shape, strict=True)
        ]
        part = [Span(max(0, span.start), min(n, span.stop)) for span, n in zip(block, shape, strict=True)]
        if geometry.resampling is not None:
            part[0] = whole[0]
        return tuple(part)
