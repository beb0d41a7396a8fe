"""Unusual images, found before a run: flash frames, empty planes, a few bright objects, unequal channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from napari_lucyd.deconvolution.findings import EMPTY_PLANES, FLASH_FRAME, SPARSE_OBJECTS, Finding
from napari_lucyd.deconvolution.image.source import Source, to_float32
from napari_lucyd.deconvolution.statistics.noise import Index, planes_of
from napari_lucyd.deconvolution.statistics.scaling import Group, Statistics
from napari_lucyd.errors import Cancelled
from napari_lucyd.models.normalization import FIRST_ESTIMATE, STANDARD
from napari_lucyd.spans import Span
from napari_lucyd.text import percent_text

# Side of the patch in the middle of a plane that stands for its brightness.
_SIDE = 256
# Time points needed to know which one is unusual; its brightness over the median; and the largest share of
# such time points, above which the change is the image's own.
_LEAST_TIMES, _FLASH, _LARGEST_SHARE = 3, 4.0, 0.1
# Ratio of the brightest voxel to the range that the network gets, above which bright objects are sparse; and
# the share of the range that all but a hundredth of the voxels stay below, where the extremes are the range.
_FAR_ABOVE, _NEARLY_DARK = 20.0, 0.02
# Planes that are read of each channel.
_PLANES_OF_CHANNEL = 5
# Percentile of a channel's voxels that stands for its dark level.
_DARK = 10
# Difference without a warning, as a share of the noise's reach below the level. With simulated points half of
# it added 7 % of light to the darker channel, and all of it 31 %.
_SHARE_OF_PEDESTAL = 0.5
# The same for networks without a first estimate, as a share of the scaling's range.
_SHARE_OF_RANGE = 0.03


def find_irregularities(source: Source, statistics: Statistics, scaled: bool = True) -> tuple[Finding, ...]:
    """Find what makes an image hard for a network or a method, each with the remedy.

    A patch of one plane is read from each volume, and planes at both ends from the middle volume of each
    group.

    Parameters
    ----------
    source
        The image.
    statistics
        Its statistics.
    scaled
        True if the method scales intensities by the statistics, as networks do.

    Returns
    -------
    tuple of Finding
        Findings of the kinds `FLASH_FRAME`, `EMPTY_PLANES` and `SPARSE_OBJECTS`; none for usual images.
    """
    found = []
    for group in statistics.groups:
        if group.constant:
            continue
        found += _empty_planes(source, group)
        if scaled:
            found += find_flash_frames(source, group.index)
            found += _sparse_objects(source, group, statistics)
    return tuple(found)


def channel_warnings(source: Source, statistics: Statistics) -> list[str]:
    """Warn in one sentence where the channels share one scaling but not one dark level.

    Parameters
    ----------
    source
        The input, of which some planes of each channel are read.
    statistics
        Statistics of the input.

    Returns
    -------
    list of str
        One or none.
    """
    axes, group = source.axes, statistics.groups[0]
    if "C" not in axes.leading or "C" in statistics.separate or group.constant:
        return []
    levels = []
    for number in range(axes.size("C")):
        planes = planes_of(source, (*group.index, ("C", number)), _PLANES_OF_CHANNEL)
        values = np.concatenate([plane.ravel() for plane in planes])
        values = values[np.isfinite(values)]
        levels.append(float(np.percentile(values, _DARK)) if values.size else np.nan)
    if np.isnan(levels).all():
        return []
    lowest, highest = int(np.nanargmin(levels)), int(np.nanargmax(levels))
    light = statistics.light_of(group) if statistics.light else None
    most = _SHARE_OF_RANGE * group.s if light is None else _SHARE_OF_PEDESTAL * light.pedestal
    if levels[highest] - levels[lowest] <= most:
        return []
    text = (
        f"All channels share one scaling, but their dark levels differ: {levels[lowest]:.4g} in C {lowest}, "
        f"{levels[highest]:.4g} in C {highest}. A channel with a lower level can gain light that is not "
        "there; scale each channel by itself (separate='C', --separate C)."
    )
    return [text]


def _leads(source: Source, index: Index) -> list[tuple[int, ...]]:
    fixed, names = dict(index), source.axes.leading
    return [
        lead
        for lead in source.volumes()
        if all(fixed.get(name, number) == number for name, number in zip(names, lead, strict=True))
    ]


def _patch(source: Source, lead: tuple[int, ...], z: int) -> npt.NDArray[np.float32]:
    """Read the middle of a plane; its finite values."""
    *depth, height, width = source.axes.volume_shape
    spans = [
        Span((n - min(n, _SIDE)) // 2, (n - min(n, _SIDE)) // 2 + min(n, _SIDE)) for n in (height, width)
    ]
    values = to_float32(source.read(lead, [Span(z, z + 1), *spans] if depth else spans))
    return values[np.isfinite(values)]


def find_flash_frames(
    source: Source, index: Index = (), should_stop: Callable[[], bool] | None = None
) -> list[Finding]:
    """Find the time points that are far brighter than the others, of volumes that are scaled together.

    Parameters
    ----------
    source, index, should_stop
        See `flash_times`.

    Raises
    ------
    Cancelled
        When ``should_stop`` returns True.
    """
    return flash_findings(index, *flash_times(source, index, should_stop))


def flash_findings(index: Index, flashes: Sequence[int], ratio: float) -> list[Finding]:
    """Return the finding about the `flash_times` of some volumes; none without a flash."""
    if not flashes:
        return []
    where = "".join(f"{name} {number}, " for name, number in index)
    times = ", ".join(f"T {time}" for time in flashes[:5]) + (", …" if len(flashes) > 5 else "")
    text = (
        f"{where}{times} {'is' if len(flashes) == 1 else 'are up to'} {ratio:.0f} times as bright as most "
        "frames: leave that out, or scale each time point by itself (separate='TC', --separate TC). "
        "A flash or a saturated frame changes the scaling of all."
    )
    return [Finding(text, FLASH_FRAME)]


def flash_times(
    source: Source, index: Index = (), should_stop: Callable[[], bool] | None = None
) -> tuple[tuple[int, ...], float]:
    """Return the time points that are far brighter than the others, and how many times, at most.

    A patch of one plane of each volume is read, and no statistics are needed.

    Parameters
    ----------
    source
        The image.
    index
        Indices of the volumes as pairs, such as ``("C", 0)``; empty for the whole image.
    should_stop
        Called before each volume; True stops.

    Raises
    ------
    Cancelled
        When ``should_stop`` returns True.
    """
    axes = source.axes
    if "T" not in axes.leading or axes.size("T") < _LEAST_TIMES or "T" in dict(index):
        return (), 1.0
    middle = axes.size("Z") // 2
    brightest, darkest = np.full(axes.size("T"), -np.inf), np.inf
    for lead in _leads(source, index):
        if should_stop is not None and should_stop():
            raise Cancelled("Stopped while the time points were compared.")
        values = _patch(source, lead, middle)
        if values.size:
            time = axes.lead_index(lead)["T"]
            brightest[time] = max(brightest[time], float(np.percentile(values, 99)))
            darkest = min(darkest, float(values.min()))
    known = np.flatnonzero(np.isfinite(brightest))
    if known.size < _LEAST_TIMES:
        return (), 1.0
    above = brightest[known] - darkest
    usual = float(np.median(above))
    flashes = known[above > _FLASH * usual]
    if usual <= 0 or not flashes.size or flashes.size > max(1, _LARGEST_SHARE * known.size):
        return (), 1.0
    return tuple(flashes.tolist()), float(above.max()) / usual


def _empty_planes(source: Source, group: Group) -> list[Finding]:
    """Find planes at both ends of the middle volume whose voxels are all equal."""
    planes = source.axes.size("Z")
    leads = _leads(source, group.index)
    if planes < 3 or "Z" not in source.axes.spatial:
        return []
    lead = leads[len(leads) // 2]
    first = _count_empty(source, lead, range(planes))
    if first == planes:
        return []
    last = _count_empty(source, lead, range(planes - 1, -1, -1))
    ends = [
        f"the {end} plane" if count == 1 else f"the {end} {count} planes"
        for end, count in (("first", first), ("last", last))
        if count
    ]
    if not ends:
        return []
    where = f" of {source.axes.label(lead)}" if source.axes.leading else ""
    which = " and ".join(ends).capitalize()
    are = "is empty: all its" if first + last == 1 else "are empty: all their"
    text = (
        f"{which} of {planes}{where} {are} voxels are equal. The step to an empty plane can leave a bright "
        "or dark edge. Crop the empty planes, or choose a range of Z without them."
    )
    return [Finding(text, EMPTY_PLANES)]


def _count_empty(source: Source, lead: tuple[int, ...], planes: range) -> int:
    whole = [Span(0, n) for n in source.axes.volume_shape[1:]]
    for number, z in enumerate(planes):
        patch = _patch(source, lead, z)
        if patch.size and patch.min() < patch.max():
            return number
        # Only where the patch is empty is the whole plane read.
        values = source.read(lead, [Span(z, z + 1), *whole])
        if not (values == values.flat[0]).all():
            return number
    return len(planes)


def _sparse_objects(source: Source, group: Group, statistics: Statistics) -> list[Finding]:
    """Find an image whose few brightest voxels lie far from all others."""
    method = statistics.normalization.method
    where = f" in {group.label}" if group.index else ""
    if method in (FIRST_ESTIMATE, STANDARD, "none"):
        return []
    if method == "percentile" and not group.fell_back:
        ratio = (group.maximum - group.lo) / group.s
        if ratio < _FAR_ABOVE:
            return []
        text = (
            f"The brightest voxels{where} are {ratio:.0f} times as bright as the range that the percentiles "
            "give the network, which was trained on much less. Trust the faint structure; for the bright "
            "objects scale with normalization='minmax' (--normalization minmax)."
        )
        return [Finding(text, SPARSE_OBJECTS)]
    leads = _leads(source, group.index)
    lead, planes = leads[len(leads) // 2], source.axes.size("Z")
    sample = np.concatenate([_patch(source, lead, z) for z in sorted({0, planes // 2, planes - 1})])
    if not sample.size or float(np.percentile(sample, 99)) - group.minimum > _NEARLY_DARK * (
        group.maximum - group.minimum
    ):
        return []
    text = (
        f"Nearly all voxels{where} are darker than {percent_text(_NEARLY_DARK)} of the image's range, "
        "which a few "
        "bright objects or hot pixels set. If the faint structure matters, scale with "
        "normalization='percentile' (--normalization percentile)."
    )
    return [Finding(text, SPARSE_OBJECTS)]
