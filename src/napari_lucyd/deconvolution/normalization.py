"""How an image's units are brought to the network's, and the numbers for it.

The network sees y = (image - lo) / s. lo and s come from all voxels that are to be scaled alike: by default the
time points of a series together (so that it does not flicker) and each channel by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_lucyd.deconvolution.errors import Cancelled
from napari_lucyd.deconvolution.selection import Selection
from napari_lucyd.deconvolution.source import Source

METHODS = ("minmax", "percentile", "none")

# Ours, from the protocol of the models: robust against single voxels, in use as in training.
DEFAULT_PERCENTILES = (0.1, 99.9)

# A detector's full scale: 8, 10, 12, 14, 15 and 16 bits.
_FULL_SCALES = frozenset(2.0**bits - 1 for bits in (8, 10, 12, 14, 15, 16))


@dataclass(frozen=True)
class Scaling:
    """What lo and s are taken from.

    Attributes
    ----------
    method
        ``"minmax"``: lo the minimum, lo + s the maximum. ``"percentile"``: the ``low``-th and the ``high``-th
        percentile; nothing is clipped. ``"none"``: lo = 0, s = 1.
    low, high
        Percentages, used by ``"percentile"``.
    """

    method: str
    low: float = DEFAULT_PERCENTILES[0]
    high: float = DEFAULT_PERCENTILES[1]

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"normalization is {self.method!r}; it can be 'model', {', '.join(map(repr, METHODS))}.")
        if not 0 <= self.low < self.high <= 100:
            raise ValueError(
                f"The percentiles are {self.low} and {self.high}; they have to rise and lie between 0 and 100."
            )

    @property
    def percentages(self) -> tuple[float, ...]:
        return (self.low, self.high) if self.method == "percentile" else ()


def resolve_scaling(normalization: Any, model_normalization: Any) -> Scaling:
    """The scaling that is meant by ``normalization``.

    Parameters
    ----------
    normalization
        ``"model"``, a method's name, or anything with ``method``, ``low`` and ``high`` (as attributes or keys).
    model_normalization
        The model's own; its percentiles are used for ``"percentile"`` as well, if it has any.

    Examples
    --------
    >>> resolve_scaling("model", {"method": "percentile", "low": 1, "high": 99})
    Scaling(method='percentile', low=1.0, high=99.0)
    """
    if isinstance(normalization, str):
        own = _from_fields(model_normalization)
        if normalization == "model":
            return own
        if normalization == "percentile" and own.method == "percentile":
            return own
        return Scaling(normalization)
    return _from_fields(normalization)


def _from_fields(value: Any) -> Scaling:
    if isinstance(value, Scaling):
        return value
    fields = value if isinstance(value, Mapping) else {k: getattr(value, k, None) for k in ("method", "low", "high")}
    if not isinstance(fields.get("method"), str):
        raise ValueError(
            f"normalization is {value!r}; it can be 'model', {', '.join(map(repr, METHODS))}, or have a method, a low "
            "and a high percentage."
        )
    low, high = fields.get("low"), fields.get("high")
    return Scaling(
        fields["method"],
        DEFAULT_PERCENTILES[0] if low is None else float(low),
        DEFAULT_PERCENTILES[1] if high is None else float(high),
    )


@dataclass(frozen=True)
class Group:
    """The numbers of all volumes that are scaled alike.

    Attributes
    ----------
    index
        Which ones: for example ``{"C": 0}`` as pairs; empty for the whole input.
    lo, s
        y = (image - lo) / s; s > 0. In units of the image.
    minimum, maximum
        Of the finite voxels, in units of the image.
    voxels, nan_voxels, saturated_voxels
        Counts.
    fell_back
        The percentiles were one number though the image is not constant, so its extremes are used.
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

    @property
    def constant(self) -> bool:
        return self.minimum == self.maximum

    @property
    def label(self) -> str:
        return ", ".join(f"{name} {number}" for name, number in self.index)


@dataclass(frozen=True)
class Statistics:
    """Normalisation numbers of a whole input: measured once, usable for any number of runs on it.

    Attributes
    ----------
    scaling
        What they were taken by.
    separate
        The leading axes whose indices were measured by themselves, for example ``"C"``.
    groups
        One for each combination of indices along ``separate``, in reading order.
    warnings
        What a person should know about the input, in words.
    """

    scaling: Scaling
    separate: str
    groups: tuple[Group, ...]
    warnings: tuple[str, ...] = ()

    def group(self, lead: Mapping[str, int]) -> Group:
        """The numbers for the volume at these leading indices."""
        if len(self.groups) == 1:
            return self.groups[0]
        for group in self.groups:
            if all(lead.get(name) == number for name, number in group.index):
                return group
        raise KeyError(f"No statistics for {dict(lead)}.")


def separate_axes(separate: str, leading: str) -> str:
    """Those of the leading axes that are to be measured by themselves."""
    if not isinstance(separate, str) or not (separate == "" or separate.isalpha()):
        raise ValueError(f"separate is {separate!r}; give letters of leading axes, e.g. 'C', 'TC' or ''.")
    return "".join(name for name in leading if name in separate.upper())


def measure(
    source: Source, scaling: Scaling, separate: str, should_stop: Callable[[], bool] | None = None
) -> Statistics:
    """Take the statistics of a whole input, part by part; exact, and the same however it is stored.

    Parameters
    ----------
    source
        The input.
    scaling
        What to take.
    separate
        Leading axes with numbers of their own.
    should_stop
        Asked between parts.

    Raises
    ------
    ValueError
        If there are infinities, or nothing but NaN.
    Cancelled
        If ``should_stop`` says so.
    """
    leading = source.axes.leading
    groups: dict[tuple[int, ...], Selection] = {}
    members: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for lead in source.volumes():
        key = tuple(number for name, number in zip(leading, lead, strict=True) if name in separate)
        members.setdefault(key, []).append(lead)
    parts = source.parts()

    def go_through(key: tuple[int, ...], add: Callable[[Any], None]) -> None:
        for lead in members[key]:
            for part in parts:
                if should_stop is not None and should_stop():
                    raise Cancelled("Stopped while the intensity range was being read.")
                add(source.read(lead, part.spans))

    measured = []
    for key in members:
        selection = groups[key] = Selection(source.dtype, scaling.percentages)
        go_through(key, selection.add)
        index = tuple(zip((name for name in leading if name in separate), key, strict=True))
        _refuse_unusable(selection, index)
        if selection.needs_second_pass:
            selection.prepare_second_pass()
            go_through(key, selection.add_again)
        measured.append(_group(selection, scaling, index, source.dtype))
    return Statistics(scaling, separate, tuple(measured), tuple(_warnings(measured, scaling)))


def _refuse_unusable(selection: Selection, index: Sequence[tuple[str, int]]) -> None:
    where = " of " + ", ".join(f"{name} {number}" for name, number in index) if index else ""
    if selection.infinities:
        raise ValueError(
            f"{selection.infinities} voxels{where} are infinite (or beyond what float32 can hold); replace them, for "
            "example by NaN: those are restored around and returned as NaN."
        )
    if not selection.finite:
        raise ValueError(f"Every voxel{where} is NaN; there is nothing to deconvolve.")


def _group(
    selection: Selection, scaling: Scaling, index: tuple[tuple[str, int], ...], dtype: np.dtype[Any]
) -> Group:
    minimum, maximum = selection.minimum, selection.maximum
    lo, hi = minimum, maximum
    fell_back = False
    if scaling.method == "percentile":
        lo, hi = (selection.percentile(p) for p in scaling.percentages)
        if not lo < hi:
            lo, hi = minimum, maximum
            fell_back = minimum < maximum
    if hi - lo > np.finfo(np.float32).max:
        raise ValueError(f"The image's values reach from {lo:g} to {hi:g}: more than float32 can hold. Scale it down.")
    # Rounded to what is computed with, so that the recipe holds the very numbers.
    lo, s = float(np.float32(lo)), float(np.float32(hi - lo))
    if scaling.method == "none":
        lo, s = 0.0, 1.0
    if not s > 0:  # constant: any scale will do
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


def _is_saturated(selection: Selection, dtype: np.dtype[Any]) -> bool:
    """Whether voxels pile up at a full scale: at least ten, and one in a hundred thousand."""
    if dtype.kind == "b" or selection.minimum == selection.maximum:
        return False
    enough = selection.at_maximum >= 10 and selection.at_maximum >= 1e-5 * selection.finite
    full = _FULL_SCALES | ({float(np.iinfo(dtype).max)} if dtype.kind in "iu" else {1.0})
    return enough and selection.maximum in full


def _warnings(groups: Sequence[Group], scaling: Scaling) -> list[str]:
    found = []
    for group in groups:
        where = f" in {group.label}" if group.index else ""
        if group.nan_voxels:
            found.append(
                f"{group.nan_voxels:,} of {group.voxels:,} voxels{where} are NaN: they were filled from their "
                "surroundings for the network and are NaN in the result."
            )
        if group.saturated_voxels:
            found.append(
                f"{group.saturated_voxels:,} voxels{where} are at the full scale of {group.maximum:g}: the image is "
                "saturated there, and its true intensities cannot be restored."
            )
        if group.fell_back:
            found.append(
                f"The percentiles {scaling.low:g} and {scaling.high:g}{where} are one number, so the minimum and the "
                "maximum are used instead."
            )
    return found
