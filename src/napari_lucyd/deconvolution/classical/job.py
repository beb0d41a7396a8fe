"""A planned run of a classical method, on whole volumes or in tiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from napari_lucyd.compute.device import Device, free_memory, working_device
from napari_lucyd.deconvolution.arguments import RunArguments, check_outputs
from napari_lucyd.deconvolution.classical.methods import ClassicalMethod, RichardsonLucy, Unchanged
from napari_lucyd.deconvolution.classical.run import ClassicalRun, steps_at_most
from napari_lucyd.deconvolution.classical.semi_blind import SemiBlind
from napari_lucyd.deconvolution.classical.solvers import grid_shape, start
from napari_lucyd.deconvolution.classical.tiled_run import halo_of, largest_tile
from napari_lucyd.deconvolution.classical.time_and_memory import (
    classical_bytes,
    seconds_of_volume,
    trial_method,
)
from napari_lucyd.deconvolution.findings import SETTINGS, Findings
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.job import Job
from napari_lucyd.deconvolution.recipe import write_classical_recipe
from napari_lucyd.deconvolution.statistics.scaling import Statistics
from napari_lucyd.deconvolution.tiling.tiles import cut_axis
from napari_lucyd.errors import DeconvolutionError, OutOfMemory
from napari_lucyd.psf.cleaning import cropped
from napari_lucyd.text import bytes_text, count_text, percent_text, shape_text

# Share of the free memory for blocks; the rest is for other programs that start meanwhile.
_SHARE = 0.6


class ClassicalJob(Job):
    """One run of a classical method; see `Job`.

    Each volume is computed whole if it fits in memory, even if only a region is requested: every voxel of an
    FFT depends on all others, and the region then equals that part of a whole run. Otherwise Richardson-Lucy
    works in tiles, with parameters found in the volume before the first tile. Then each voxel differs from
    that of a whole run by less than 1e-3 of the result's range.
    """

    def __init__(
        self,
        source: Source,
        method: ClassicalMethod,
        device: Device,
        choices: RunArguments,
        statistics: Statistics | None,
        warnings: Findings,
        tile_shape: Sequence[int] | None = None,
        processes: int = 1,
    ) -> None:
        super().__init__(source, device, choices, warnings)
        self._method = method
        # The method with its PSF ready for use.
        self._ready, notes = method.prepared(choices.voxel_size, choices.axes.volume_shape)
        for note in notes:
            self.warnings.add(note, SETTINGS)
        if method.dimension == 2 and method.psf_record and choices.axes.size("Z") > 1:
            self.warnings.add(
                "The PSF is one plane, so the stack is deconvolved plane by plane: light from the planes "
                "above and below stays."
            )
        self._statistics = statistics
        self._run: ClassicalRun | None = None
        self._processes = processes
        halos = [halo_of(psf, method.iterations) for psf in self._ready.psfs]
        self._halo = tuple(max(margins) for margins in zip(*halos, strict=True))
        self._tile_shape = self._choose_tile_shape(tile_shape)
        if self._tile_shape is None and not isinstance(method, SemiBlind):
            self._cut_psf_to_memory()
        if self._tile_shape is not None and isinstance(method, RichardsonLucy):
            if method.tolerance:
                self._leave_out("The early stop", "all tiles need the same number of iterations")
            if method.local_stopping:
                self._leave_out("Local stopping", "it divides the photons of whole volumes")
            ready = cast("RichardsonLucy", self._ready)
            self._ready = replace(ready, tolerance=None, local_stopping=False)
        shortage = self._shortage()
        if self._results_fit() and shortage:
            self.warnings.add(shortage)

    def _leave_out(self, what: str, reason: str) -> None:
        self.warnings.add(f"{what} is not used: the volume is computed in tiles, and {reason}.")

    @property
    def _scales(self) -> bool:
        return False

    @property
    def description(self) -> str:
        """The axes with their sizes, and the method, in one line."""
        size, count = shape_text(self._method.psf_shape), len(self._method.psfs)
        given = f"a PSF of {size}" if count == 1 else f"{count} PSFs of up to {size}"
        if isinstance(self._method, Unchanged):
            return f"{self._choices.axes.describe()}, left as it is"
        known = given if self._method.psf_record else "a PSF found in the image"
        return f"{self._choices.axes.describe()}, {self._method.title} with {known}"

    @property
    def work(self) -> str:
        """Number of volumes or tiles, and of iterations, as text."""
        size = shape_text(self.tile_shape[-self._method.dimension :])
        tiles = self._tiles_of_a_volume
        number, each = self._choices.volumes * tiles, self._method.iterations
        most = "up to " if steps_at_most(self._method) > each else ""
        iterations = f", {most}{each} iterations" if each > 1 else ""
        kind = self._whole if self._tile_shape is None else "tile"
        return f"{count_text(number, kind)} of {size}{iterations}"

    @property
    def _whole(self) -> str:
        return "whole volume" if self._method.dimension == 3 else "whole plane"

    @property
    def tile_shape(self) -> tuple[int, ...]:
        """Shape of a tile: a whole volume, unless it does not fit in memory or tiles were requested."""
        return self._tile_shape or self._choices.axes.volume_shape

    @property
    def halo(self) -> int:
        """Largest margin around a tile in voxels; 0 for whole volumes."""
        return 0 if self._tile_shape is None else max(self._halo)

    @property
    def tiles(self) -> int:
        """Number of iterations for all tiles; it falls when a volume needs fewer than the largest number."""
        if self._run is not None:
            return self._run.total
        return self._choices.volumes * steps_at_most(self._method, self._tiles_of_a_volume)

    @property
    def memory_bytes(self) -> int:
        """Peak working memory with the results, without the input."""
        return self._choices.result_bytes + self._working_bytes

    def decide(self, should_stop: Callable[[], bool] | None = None) -> Statistics:
        """See `Job.decide`; numbers are found for methods that have any, where volumes are cut into tiles."""
        statistics = self.measure(should_stop)
        iterates = isinstance(self._method, RichardsonLucy | SemiBlind)
        if statistics.numbers or self._tile_shape is None or not iterates:
            return statistics
        source = statistics.prepared.applied(self._source)
        found = self._running().decide(source, statistics, should_stop)
        self._statistics = replace(statistics, numbers=found)
        return self._statistics

    def estimate_seconds(self) -> float:
        """See `Job.estimate_seconds`."""
        each = seconds_of_volume(self._ready, self._method.iterations, self._block_shape, self.device)
        return each * self._choices.volumes * self._tiles_of_a_volume

    @property
    def keeps_estimates(self) -> bool:
        """See `Job.keeps_estimates`."""
        return self._tile_shape is None and self._method.iterations > 1

    def keep_estimate(self) -> None:
        """See `Job.keep_estimate`."""
        if not self.keeps_estimates:
            reason = (
                f"{self._method.title} has a single step"
                if self._method.iterations == 1
                else "the volume is computed in tiles, which must all take the same number of iterations"
            )
            raise DeconvolutionError(
                f"This run has no estimate to keep: {reason}. Cancel the run; what is finished is kept."
            )
        self._running().keep_estimate()

    @property
    def _tiles_of_a_volume(self) -> int:
        spans = self._choices.spans
        return math.prod(len(cut_axis(span, n, 1)) for span, n in zip(spans, self.tile_shape, strict=True))

    def _choose_tile_shape(self, wish: Sequence[int] | None) -> tuple[int, ...] | None:
        """Return the shape of the tiles; None for whole volumes."""
        choices, shape = self._choices, self._choices.axes.volume_shape
        region = [span.size for span in choices.spans]
        if wish is not None:
            return tuple(min(n, size) for n, size in zip(wish, region, strict=True))
        free = _SHARE * free_memory(self.device) / self._processes
        if not _works_in_tiles(self._method) or self._bytes_of(shape) <= free_memory(self.device):
            return None
        return largest_tile(region, shape, self._halo, lambda block: self._bytes_of(block) <= free)

    def _cut_psf_to_memory(self) -> None:
        """Cut a PSF that is larger than the volume, if the grid does not fit into memory otherwise."""
        ready, shape, free = self._ready, self._choices.axes.volume_shape, free_memory(self.device)
        sizes = list(ready.psf_shape)

        def fits() -> bool:
            tried = ready.with_psf(np.ones(sizes, np.float32))
            return classical_bytes(tried, math.prod(grid_shape(tried, shape))) <= free

        while not fits():
            # The axis along which the PSF exceeds the volume most: farthest away, light is most even.
            axis = max(range(len(sizes)), key=lambda k: sizes[k] / shape[k])
            if sizes[axis] <= shape[axis]:
                return  # the volume itself is too large, and the shortage is reported
            sizes[axis] = max(shape[axis] - 1, sizes[axis] * 4 // 5) // 2 * 2 + 1
        if tuple(sizes) == ready.psf_shape:
            return
        kernels = [cropped(psf, sizes) for psf in ready.psfs]
        kept = min(_middle_light(psf, sizes) for psf in ready.psfs)
        self._ready = replace(ready, psf=kernels)
        self.warnings.add(
            f"The PSF was cut from {shape_text(ready.psf_shape)} to {shape_text(sizes)} voxels, which hold "
            f"{percent_text(kept, '.1f')} of its light, because more does not fit into the memory of "
            f"{self.device.name}. Haze "
            "from farther away stays in the result."
        )

    def _bytes_of(self, block: Sequence[int]) -> int:
        return classical_bytes(self._ready, math.prod(grid_shape(self._ready, block)))

    @property
    def _block_shape(self) -> tuple[int, ...]:
        """Shape of the largest part of a volume that is computed at once."""
        shape = self._choices.axes.volume_shape
        if self._tile_shape is None:
            return shape
        sizes = zip(shape, self._tile_shape, self._halo, strict=True)
        return tuple(min(n, tile + 2 * margin) for n, tile, margin in sizes)

    def _running(self) -> ClassicalRun:
        if self._run is None:
            self._run = ClassicalRun(
                self._ready, self.device, self._choices, self.warnings, self._tile_shape, self._halo
            )
        return self._run

    def _prepare(self) -> None:
        if self._run is None:
            method = trial_method(self._ready, 1)
            volume = np.ones([8] * method.dimension, dtype=np.float32)
            device = working_device(
                self.device, lambda: start(method, volume, self.device).advance(), f"run {method.title}"
            )
            if device != self.device:
                self.warnings.add(f"{device.name} is used: {device.reason}.", SETTINGS)
                self.device = device
        # A GPU reports missing memory itself, but the system kills a process that takes too much.
        if self.device.kind == "cpu" and (shortage := self._shortage()):
            raise OutOfMemory(shortage)

    def _recipe(self) -> dict[str, Any]:
        running = self._running()
        found: dict[str, Any] = {"iterations": list(running.iterations)}
        if isinstance(self._method, RichardsonLucy):
            found |= {"negative": "set to 0", "negative_voxels": running.negative_voxels}
        if running.ended and self._choices.volumes == 1:
            found["num_iter"] = running.ended  # with it the recipe repeats this estimate
        known = self._statistics.numbers if self._statistics is not None else ()
        if known and not running.found:  # parts of the volumes are computed elsewhere
            found["iterations"] = [numbers.num_iter for numbers in known]
        records = running.found or [numbers.record for numbers in known]
        for name in sorted({name for record in records for name in record}):
            found[name] = [record.get(name) for record in records]
        return write_classical_recipe(
            self._choices,
            self._method,
            self.device,
            self._source.dtype,
            statistics=self._statistics,
            found=found,
            tiles=None if self._tile_shape is None else (self._tile_shape, self._halo),
            complete=running.finished,
            warnings=self.warnings,
        )

    def _input_warnings(self, statistics: Statistics) -> list[str]:
        method = self._method
        found = [numbers.warning for numbers in statistics.numbers if numbers.warning]
        if found:
            return list(dict.fromkeys(found))
        if not isinstance(method, RichardsonLucy) or isinstance(method.background, str):
            return []
        background = method.background
        return [
            f"The background of {background:g} is not below the brightest voxel"
            f"{' of ' + group.label if group.index else ''}, {group.maximum:g}, so the result is 0. Give a "
            "smaller background."
            for group in statistics.groups
            if 0 < background >= group.maximum
        ]

    @property
    def _working_bytes(self) -> int:
        return self._bytes_of(self._block_shape)

    def _shortage(self) -> str:
        """Return the message that memory is too small for a volume; empty if it is large enough."""
        free = free_memory(self.device)
        if self._working_bytes <= free:
            return ""
        shape = self._block_shape
        grid = shape_text(grid_shape(self._ready, shape))
        kind = self._whole if self._tile_shape is None else "tile with its halo"
        return (
            f"{self._method.title} needs about {bytes_text(self._working_bytes)} of memory for a {kind} "
            f"of {shape_text(shape)} (a grid of {grid} with the psf around it), but only "
            f"{bytes_text(free)} are free on {self.device.name}. Crop the image, crop the psf, or choose "
            "another device."
        )


def _middle_light(psf: np.ndarray, sizes: Sequence[int]) -> float:
    """Return the share of a PSF's light in its middle of this shape."""
    parts = (
        slice(max(0, n // 2 - m // 2), n // 2 + m // 2 + 1) for n, m in zip(psf.shape, sizes, strict=True)
    )
    return float(psf[tuple(parts)].sum() / psf.sum())


def _works_in_tiles(method: ClassicalMethod) -> bool:
    """Return True if a voxel depends, to a good approximation, only on the voxels around it."""
    return isinstance(method, RichardsonLucy | SemiBlind | Unchanged)


def check_classical_outputs(outputs: Sequence[str] | None, method: ClassicalMethod) -> tuple[str, ...]:
    """Return the one output of a classical method; raise an error if others are requested."""
    names = ("output",) if outputs is None else check_outputs(outputs)
    others = [name for name in names if name != "output"]
    if others:
        raise ValueError(
            f"outputs names {', '.join(others)}, which only networks have; {method.title} has only 'output'. "
            "Remove the others from outputs."
        )
    return names


def check_whole_volumes(
    method: ClassicalMethod,
    tile_shape: Any,
    halo: Any,
    normalization: Any,
    isotropic: bool | None,
    precision: str,
) -> None:
    """Refuse arguments that only networks use, because they would have no effect."""
    scaling_is_own = isinstance(normalization, str) and normalization in ("model", "none")
    reasons = {
        "tile_shape": "it computes whole volumes"
        if tile_shape is not None and not _works_in_tiles(method)
        else "",
        "halo": "it follows from the psf and the number of iterations" if halo is not None else "",
        "normalization": "" if scaling_is_own else "it works in the image's own units",
        "isotropic": "it works on the voxels of the image" if isotropic else "",
        "precision": "" if precision == "float32" else "it is computed in float32",
    }
    for name, reason in reasons.items():
        if reason:
            raise ValueError(f"{name} has no effect on {method.title}, because {reason}. Leave it out.")
