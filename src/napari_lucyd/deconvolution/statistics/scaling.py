"""Scaling of an image for the network, and the statistics that it needs.

The network receives y = (image - lo) / s. All voxels with equal scaling determine lo and s: by default all
time points of a series together, so that it does not flicker, and each channel separately.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from napari_lucyd import checks
from napari_lucyd.deconvolution.image.scan import Count, count_parts
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.preprocessing.preparation import UNPREPARED, Prepared
from napari_lucyd.deconvolution.statistics.light import Light
from napari_lucyd.deconvolution.statistics.percentiles import SortedPercentiles, StreamingPercentiles
from napari_lucyd.deconvolution.statistics.volume_numbers import VolumeNumbers
from napari_lucyd.models.normalization import FIRST_ESTIMATE, METHODS, STANDARD, Normalization
from napari_lucyd.text import count_text, percent_text

# Largest step between neighbouring values of float32, as a share of the contrast, without a warning.
_COARSEST_STEP = 1e-3
# Voxels that are sorted faster than counted.
_FEW_VOXELS = 2**17
# Full scale of detectors with 8, 10, 12, 14, 15 and 16 bits.
_FULL_SCALES = frozenset(2.0**bits - 1 for bits in (8, 10, 12, 14, 15, 16))
# Further entries of a recipe's normalization, which may be given as a whole.
_IN_RECIPES = ("separate", "groups", "lo", "s")


def resolve_normalization(wanted: Any, own: Normalization | Mapping[str, Any]) -> Normalization:
    """Check the argument ``normalization`` of a run.

    Parameters
    ----------
    wanted
        ``"model"``, the name of a method, or a mapping or object with ``method``, ``low``, ``high`` and
        ``pedestal``.
    own
        The model's normalisation. Its percentiles, if it has any, also apply to ``"percentile"``, and its
        pedestal to every method.

    Raises
    ------
    ValueError
        If it is none of these.

    Examples
    --------
    >>> resolve_normalization("model", {"method": "percentile", "low": 1, "high": 99})
    Normalization(method='percentile', low=1.0, high=99.0, pedestal=0.0)
    """
    models = _from_fields(own)
    if FIRST_ESTIMATE in (models.method, _method_of(wanted)) and wanted != "model":
        if _from_fields(wanted if not isinstance(wanted, str) else {"method": wanted}) != models:
            raise ValueError(
                "normalization cannot be chosen for a model that works on first estimates, whose scale is "
                "found in the image; leave it out. Other models have no such scale."
            )
        return models
    if not isinstance(wanted, str):
        return _from_fields(wanted)
    if wanted == "model" or wanted == models.method == "percentile":
        return models
    if wanted not in METHODS:
        raise ValueError(
            f"normalization is {checks.shown(wanted)}; give 'model', {', '.join(map(repr, METHODS))}."
        )
    return Normalization(wanted, pedestal=models.pedestal)


def _method_of(wanted: Any) -> Any:
    if isinstance(wanted, (str, Mapping)):
        return wanted if isinstance(wanted, str) else wanted.get("method")
    return getattr(wanted, "method", None)


def _from_fields(value: Any) -> Normalization:
    names = ("method", "low", "high", "pedestal")
    if isinstance(value, Mapping):
        unknown = [checks.shown(name) for name in value if name not in (*names, *_IN_RECIPES)]
        if unknown:
            raise ValueError(
                f"normalization has no {', '.join(unknown):.200}; its entries are "
                f"{', '.join(map(repr, names))}."
            )
        fields = {name: value[name] for name in names if value.get(name) is not None}
    else:
        found = {name: getattr(value, name, None) for name in names}
        fields = {name: entry for name, entry in found.items() if entry is not None}
    if not isinstance(fields.get("method"), str):
        raise ValueError(
            f"normalization is {checks.shown(value)}; give 'model', {', '.join(map(repr, METHODS))}, or a "
            "method with low and high percentiles."
        )
    for name in names[1:]:
        if name in fields:
            fields[name] = checks.number(f"The normalization's {name}", fields[name])
    return Normalization(**fields)


@dataclass(frozen=True)
class Group:
    """The statistics of all volumes with equal scaling.

    Attributes
    ----------
    index
        Indices of these volumes as pairs, such as ``("C", 0)``; empty for the whole input.
    lo, s
        Scaling y = (image - lo) / s, with s > 0, in units of the image.
    minimum, maximum
        Extremes of the finite voxels, in units of the image.
    voxels, nan_voxels, saturated_voxels
        Numbers of voxels.
    fell_back
        True if the percentiles were equal though the image is not constant, so its extremes are used.
    network_share
        Share, up to 1, with which mask and update term count; see `Network.share`.
    """

    index: tuple[tuple[str, int], ...]
    lo: float
    s: float
    minimum: float
    maximum: float
    voxels: int
    nan_voxels: int
    saturated_voxels: int
    fell_back: bool = False
    network_share: float = 1.0

    @property
    def constant(self) -> bool:
        """True if all finite voxels are equal."""
        return self.minimum == self.maximum

    @property
    def label(self) -> str:
        """Name of these volumes for messages; empty for the whole input."""
        return ", ".join(f"{name} {number}" for name, number in self.index)


@dataclass(frozen=True)
class Statistics:
    """The statistics of a whole input: measured once, valid for any number of runs on it.

    Attributes
    ----------
    normalization
        The normalisation they were measured for.
    separate
        Leading axes along which they were measured separately, e.g. ``"C"``.
    groups
        One group for each combination of indices along ``separate``, in reading order.
    warnings
        Messages for the user about the input.
    prepared
        The preparation of the input before the measurement.
    light
        Light of each group, for a first estimate; empty for methods without one.
    numbers
        Numbers that a classical method found in each volume; empty if each run finds its own.
    """

    normalization: Normalization
    separate: str
    groups: tuple[Group, ...]
    warnings: tuple[str, ...] = ()
    prepared: Prepared = UNPREPARED
    light: tuple[Light, ...] = ()
    numbers: tuple[VolumeNumbers, ...] = ()

    def group(self, lead: Mapping[str, int]) -> Group:
        """Return the group of the volume at these leading indices."""
        if len(self.groups) == 1:
            return self.groups[0]
        for group in self.groups:
            if all(lead.get(name) == number for name, number in group.index):
                return group
        raise KeyError(f"No statistics for {dict(lead)}.")

    def numbers_of(self, lead: Sequence[int]) -> VolumeNumbers | None:
        """Return the numbers of a volume, or None."""
        return next((found for found in self.numbers if found.lead == tuple(lead)), None)

    def light_of(self, group: Group) -> Light:
        """Return the light of a group."""
        return self.light[self.groups.index(group)]


def separate_axes(separate: str, leading: str) -> str:
    """Return the leading axes that are measured separately."""
    checks.text("separate", separate, "letters of leading axes, such as 'C', 'TC' or ''")
    if separate and not separate.isalpha():
        raise ValueError(
            f"separate is {checks.shown(separate)}; give letters of leading axes, such as 'C', 'TC' or ''."
        )
    return "".join(name for name in leading if name in separate.upper())


def _percentages(normalization: Normalization) -> tuple[float, ...]:
    return (normalization.low, normalization.high) if normalization.method == "percentile" else ()


def measure(
    source: Source,
    normalization: Normalization,
    separate: str,
    should_stop: Callable[[], bool] | None = None,
    count: Count | None = None,
) -> Statistics:
    """Measure the exact statistics of a whole input, part by part.

    Parameters
    ----------
    source
        The input.
    normalization
        The normalisation to measure for.
    separate
        Leading axes to measure separately.
    should_stop
        Called between parts; True stops.
    count
        Function that counts parts elsewhere; by default they are read here, one after another.

    Raises
    ------
    ValueError
        If there are infinities, or all voxels are NaN.
    Cancelled
        When ``should_stop`` returns True.
    """
    leading = source.axes.leading
    groups: dict[tuple[int, ...], StreamingPercentiles] = {}
    members: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for lead in source.volumes():
        key = tuple(number for name, number in zip(leading, lead, strict=True) if name in separate)
        members.setdefault(key, []).append(lead)
    parts = source.parts()
    voxels = math.prod(source.axes.volume_shape)
    counted = count or partial(count_parts, source, should_stop=should_stop)

    def go_through(key: tuple[int, ...], selection: StreamingPercentiles) -> None:
        counted(selection, [(lead, part) for lead in members[key] for part in parts])

    measured = []
    for key in members:
        few = count is None and voxels * len(members[key]) <= _FEW_VOXELS
        kind = SortedPercentiles if few else StreamingPercentiles
        moments = normalization.method == STANDARD
        selection = groups[key] = kind(source.dtype, _percentages(normalization), moments)
        go_through(key, selection)
        index = tuple(zip((name for name in leading if name in separate), key, strict=True))
        _refuse_unusable(selection, index)
        if selection.needs_second_pass:
            selection.begin_second_pass()
            go_through(key, selection)
        measured.append(_group(selection, normalization, index, source.dtype))
    found = _warnings(measured, normalization, source.dtype)
    return Statistics(normalization, separate, tuple(measured), tuple(found))


def _refuse_unusable(selection: StreamingPercentiles, index: Sequence[tuple[str, int]]) -> None:
    where = " of " + ", ".join(f"{name} {number}" for name, number in index) if index else ""
    if selection.infinities:
        found = count_text(selection.infinities, f"voxel{where} is", f"voxels{where} are")
        raise ValueError(
            f"{found} infinite, or too large for float32. Replace such voxels, for example by NaN: NaN "
            "voxels are filled from their surroundings and returned as NaN."
        )
    if selection.merged:
        raise ValueError(
            f"The values{where} differ too little for float32, the type of all computations: all become "
            f"{selection.minimum:g}. Subtract an offset from the image first."
        )
    if not selection.finite:
        raise ValueError(f"All voxels{where} are NaN.")


def _group(
    selection: StreamingPercentiles,
    normalization: Normalization,
    index: tuple[tuple[str, int], ...],
    dtype: np.dtype[Any],
) -> Group:
    minimum, maximum = selection.minimum, selection.maximum
    lo, hi = minimum, maximum
    fell_back = False
    if normalization.method == "percentile":
        lo, hi = (selection.percentile(p) for p in _percentages(normalization))
        if not lo < hi:
            lo, hi = minimum, maximum
            fell_back = minimum < maximum
    if hi - lo > float(np.finfo(np.float32).max):
        raise ValueError(
            f"The image's values range from {lo:g} to {hi:g}, which is too much for float32. Scale it down."
        )
    # Rounded to float32, so that the recipe holds exactly the numbers used.
    lo, s = float(np.float32(lo - normalization.pedestal * (hi - lo))), float(np.float32(hi - lo))
    if normalization.method == STANDARD:
        lo, s = (float(np.float32(number)) for number in selection.mean_and_deviation())
    if normalization.method == "none":
        lo, s = 0.0, 1.0
    if not s > 0:  # a constant image: any scale is valid
        s = 1.0
    return Group(
        index,
        lo,
        s,
        minimum,
        maximum,
        selection.finite + selection.nans,
        selection.nans,
        selection.at_maximum if _is_saturated(selection, dtype) else 0,
        fell_back,
    )


def _is_saturated(selection: StreamingPercentiles, dtype: np.dtype[Any]) -> bool:
    """Return True if voxels accumulate at a full scale: at least ten, and one in a hundred thousand."""
    if dtype.kind == "b" or selection.minimum == selection.maximum:
        return False
    enough = selection.at_maximum >= 10 and selection.at_maximum >= 1e-5 * selection.finite
    full = _FULL_SCALES | ({float(np.iinfo(dtype).max)} if dtype.kind in "iu" else {1.0})
    return enough and selection.maximum in full


def _warnings(groups: Sequence[Group], normalization: Normalization, dtype: np.dtype[Any]) -> list[str]:
    found = []
    small = dtype.kind == "b" or dtype.itemsize <= (4 if dtype.kind == "f" else 2)  # float32 holds all values
    for group in groups:
        where = f" in {group.label}" if group.index else ""
        if group.constant:
            found.append(f"All voxels{where} are {group.minimum:g}: there is nothing to restore.")
        if group.nan_voxels:
            found.append(
                f"{group.nan_voxels:,} of {count_text(group.voxels, 'voxel')}{where} "
                f"{'is' if group.nan_voxels == 1 else 'are'} NaN. NaN voxels are filled from their "
                "surroundings for the computation, and are NaN in the result."
            )
        if group.saturated_voxels:
            found.append(
                count_text(group.saturated_voxels, f"voxel{where} is", f"voxels{where} are")
                + f" at the full scale of {group.maximum:g}. The "
                "image is saturated there, and its true intensities cannot be restored."
            )
        step = float(np.spacing(np.float32(max(abs(group.minimum), abs(group.maximum)))))
        contrast = group.maximum - group.minimum if group.fell_back or group.s == 1 else group.s
        if not small and step > _COARSEST_STEP * contrast > 0:
            found.append(
                f"Computations in float32 round the values{where} to steps of {step:g}, which is "
                f"{percent_text(step / contrast, '.2f')} of the contrast. Subtract an offset from the "
                "image first."
            )
        if group.fell_back:
            found.append(
                f"The percentiles {normalization.low:g} and {normalization.high:g}{where} are equal, so the "
                "minimum and maximum are used instead."
            )
    return found
