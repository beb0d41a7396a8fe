"""Measurement of an input: the numbers of its preparation, then the statistics of the prepared image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from napari_lucyd.deconvolution.image.scan import Accumulator, Count, Part
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.preprocessing.background import estimate_background
from napari_lucyd.deconvolution.preprocessing.prefilter import sigma_for
from napari_lucyd.deconvolution.preprocessing.preparation import (
    AUTO,
    UNPREPARED,
    Preparation,
    Prepared,
    background_warnings,
)
from napari_lucyd.deconvolution.statistics.noise import noise_share
from napari_lucyd.deconvolution.statistics.scaling import Statistics, measure
from napari_lucyd.models.normalization import Normalization

# Adds parts of the prepared image to an accumulator.
CountPrepared = Callable[[Prepared, Accumulator, Sequence[Part]], None]


def measure_prepared(
    source: Source,
    wish: Preparation,
    normalization: Normalization,
    separate: str,
    should_stop: Callable[[], bool] | None = None,
    count: CountPrepared | None = None,
) -> Statistics:
    """Measure the numbers of a preparation, then the statistics of the prepared image.

    Parameters
    ----------
    source
        The original image.
    wish
        The preparation; if it is empty, this equals `measure`.
    normalization, separate, should_stop
        See `measure`.
    count
        See `measure`; it also serves to estimate backgrounds. The noise is estimated here, on a few planes.

    Raises
    ------
    ValueError, Cancelled
        See `measure`.
    """

    def counting(prepared: Prepared) -> Count | None:
        return None if count is None else partial(count, prepared)

    if not wish.wanted:
        return measure(source, normalization, separate, should_stop, counting(UNPREPARED))
    # The original image: refuses unusable values, and finds saturation, which preparation would hide.
    raw = measure(source, Normalization("minmax"), separate, should_stop, counting(UNPREPARED))
    prepared = _prepared(source, wish, raw, should_stop, counting(UNPREPARED))
    found = measure(prepared.applied(source), normalization, separate, should_stop, counting(prepared))
    groups = tuple(
        replace(after, saturated_voxels=before.saturated_voxels)
        for before, after in zip(raw.groups, found.groups, strict=True)
    )
    warnings = tuple(dict.fromkeys((*raw.warnings, *found.warnings, *background_warnings(prepared))))
    return replace(found, groups=groups, warnings=warnings, prepared=prepared)


def _prepared(
    source: Source,
    wish: Preparation,
    raw: Statistics,
    should_stop: Callable[[], bool] | None,
    count: Count | None,
) -> Prepared:
    axes, shape = source.axes, source.axes.volume_shape
    members = {lead: raw.groups.index(raw.group(axes.lead_index(lead))) for lead in source.volumes()}
    found = Prepared(wish, wish.background_size(shape), members=members)
    if found.size is not None:
        backgrounds = {
            lead: estimate_background(source, lead, found.size, should_stop, count) for lead in members
        }
        found = replace(found, backgrounds=backgrounds)
    if wish.prefilter is None:
        return found
    if wish.prefilter != AUTO:
        return replace(found, sigma=(float(wish.prefilter),) * len(raw.groups))
    flat = found.applied(source)
    noise = tuple(noise_share(flat, group.index) for group in raw.groups)
    sigma = (
        sigma_for(wish.noise_left / share, lambda length: wish.sigmas(length, shape)) if share else 0.0
        for share in noise
    )
    return replace(found, noise=noise, sigma=tuple(sigma))
