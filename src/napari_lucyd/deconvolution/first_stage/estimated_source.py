"""Image whose voxels are first estimates: Richardson-Lucy, computed as they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt

from napari_lucyd.compute.device import Device
from napari_lucyd.deconvolution.blocks import read_filled
from napari_lucyd.deconvolution.classical.methods import RichardsonLucy
from napari_lucyd.deconvolution.classical.solvers import Scale, start
from napari_lucyd.deconvolution.classical.tiled_run import block_of, halo_of
from napari_lucyd.deconvolution.first_stage.blur import Blur
from napari_lucyd.deconvolution.first_stage.estimate import iterations_for
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.statistics.light import Light
from napari_lucyd.deconvolution.statistics.scaling import Group, Statistics
from napari_lucyd.deconvolution.tiling.tiles import Tile
from napari_lucyd.spans import Span, within

Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Kept:
    """The estimate of a part of a volume."""

    lead: tuple[int, ...]
    spans: tuple[Span, ...]
    values: Values


class EstimatedSource(Source):
    """A source of first estimates, float32, in units of the image, with the NaNs of the source.

    Parameters
    ----------
    source
        The prepared image.
    blur
        Its blur.
    statistics
        Statistics of the image, with its light.
    device
        Device of the iterations.
    kept
        Part of each volume that is estimated at once and kept while the volume is processed; None to
        estimate each part as it is read, where memory is short.
    ask
        Called between the parts of an iteration; what it raises ends the estimate.
    """

    def __init__(
        self,
        source: Source,
        blur: Blur,
        statistics: Statistics,
        device: Device,
        kept: tuple[Span, ...] | None,
        ask: Callable[[], object],
    ) -> None:
        self.axes, self.dtype = source.axes, np.dtype(np.float32)
        self._source, self._blur, self._statistics = source, blur, statistics
        self._device, self._part, self._ask = device, kept, ask
        self._kept: _Kept | None = None
        self._methods: dict[tuple[int, Light], RichardsonLucy] = {}
        self._lock = Lock()

    @property
    def in_memory(self) -> bool:
        """False: a part may have to be estimated first."""
        return False

    def preparing(self, lead: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Estimate the kept part of a volume; yield the number of iterations done, and of all."""
        lead, part = tuple(lead), self._part
        total = self.steps_before(lead)
        if part is None or not total or (self._kept is not None and self._kept.lead == lead):
            return
        self._kept = None  # its memory is needed
        for done, values in enumerate(self._estimates(lead, part), 1):
            if values is not None:
                self._kept = _Kept(lead, part, values)
            yield done, total

    def steps_before(self, lead: Sequence[int]) -> int:
        """Return the number of iterations for a volume; 0 if each part is estimated as it is read."""
        group = self._group(lead)
        return 0 if self._part is None or group.constant else self._method(lead, group).iterations

    def read(self, lead: Sequence[int], spans: Sequence[Span]) -> Values:
        """See `Source.read`."""
        lead = tuple(lead)
        with self._lock:
            if self.steps_before(lead) and self._part is not None and _contains(self._part, spans):
                for _ in self.preparing(lead):
                    pass
                kept = self._kept
                assert kept is not None
                return kept.values[within(spans, kept.spans)]
            *_, values = self._estimates(lead, tuple(spans))
            assert values is not None
            return values

    def parts(self) -> list[Tile]:
        """See `Source.parts`."""
        return self._source.parts()

    def _group(self, lead: Sequence[int]) -> Group:
        return self._statistics.group(self.axes.lead_index(lead))

    def _method(self, lead: Sequence[int], group: Group) -> RichardsonLucy:
        light = self._statistics.light_of(group)
        key = self.axes.lead_index(lead).get("C", 0), light
        method = self._methods.get(key)
        if method is None:
            kernel = self._blur.kernel(key[0], light.blur_sigma)
            method = self._methods[key] = estimating_method(kernel, light)
        return method

    def _estimates(self, lead: tuple[int, ...], spans: tuple[Span, ...]) -> Iterator[Values | None]:
        """Yield after each iteration: None, but the estimate of a part after the last one."""
        group = self._group(lead)
        light, method = self._statistics.light_of(group), self._method(lead, group)
        block = block_of(Tile(spans), halo_of(method.kernel, method.iterations), self.axes.volume_shape)
        filled = read_filled(self._source, lead, block, group)
        observed = np.maximum(filled.values - np.float32(light.floor), 0)
        if group.constant or not observed.any():
            estimate = np.full_like(observed, light.level)
        else:
            scale = Scale(light.peak or float(observed.max()), light.mean)
            restoration = start(method, observed, self._device, self._ask, scale)
            while not restoration.advance():
                yield None
            estimate = restoration.restored() + np.float32(light.level)
        if filled.missing is not None:
            estimate[filled.missing] = np.nan
        yield np.ascontiguousarray(estimate[within(spans, block)])


def estimating_method(kernel: Values, light: Light) -> RichardsonLucy:
    """Return the iterations that estimate an image with this light under this PSF."""
    return RichardsonLucy(
        kernel,
        num_iter=iterations_for(light.noise, kernel),
        background=light.pedestal,
        acceleration=True,
        center_psf=False,
    )


def _contains(outer: Sequence[Span], spans: Sequence[Span]) -> bool:
    return all(a.start <= b.start and b.stop <= a.stop for a, b in zip(outer, spans, strict=True))
