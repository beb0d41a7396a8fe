"""The steps of processing in a package: which are known, and what they become here.

A step on the statistics of the whole image becomes the model's `Normalization`, so that all tiles are scaled
alike. Steps on single voxels stay with the network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from napari_lucyd.models.normalization import STANDARD, Normalization
from napari_lucyd.networks.onnx.network import Pointwise

Operations = Sequence[tuple[str, Mapping[str, Any]]]
KNOWN_AFTER = ("ensure_dtype", "scale_linear", "clip", "fixed_zero_mean_unit_variance")
"""Operations after the network that are known."""

KNOWN_BEFORE = (*KNOWN_AFTER, "scale_range", "zero_mean_unit_variance")
"""Operations before the network that are known."""


def before_network(operations: Operations) -> tuple[Normalization, tuple[Pointwise, ...]]:
    """Return the scaling of the image, and the steps on each voxel after it.

    Raises
    ------
    ValueError
        If an operation is not known, or comes at a place where its numbers would differ between tiles.
    """
    scaling: Normalization | None = None
    steps: list[Pointwise] = []
    for name, numbers in operations:
        statistical = _statistical(name, numbers)
        if statistical is None:
            step = _pointwise(name, numbers, "before")
            steps += [] if step is None else [step]
            continue
        # Scaling by statistics undoes any gain and offset before it, and nothing else.
        if scaling is not None or any(_bends(step) for step in steps):
            raise ValueError(
                f"{name} comes after another operation that changes the image; this is not supported."
            )
        scaling, steps = statistical, []
    return scaling or Normalization("none"), tuple(steps)


def after_network(operations: Operations) -> tuple[Pointwise, ...]:
    """Return the steps on each voxel after the network.

    Raises
    ------
    ValueError
        If an operation is not known, or needs the statistics of the result.
    """
    steps = (_pointwise(name, numbers, "after") for name, numbers in operations)
    return tuple(step for step in steps if step is not None)


def _statistical(name: str, numbers: Mapping[str, Any]) -> Normalization | None:
    if name == "scale_range":
        _refuse_modes(name, numbers)
        low = _number(name, numbers.get("min_percentile", 0.0))
        high = _number(name, numbers.get("max_percentile", 100.0))
        if (low, high) == (0.0, 100.0):
            return Normalization("minmax")
        return Normalization("percentile", low, high)
    if name == "zero_mean_unit_variance" and numbers.get("mode") != "fixed":
        _refuse_modes(name, numbers)
        return Normalization(STANDARD)
    return None


def _refuse_modes(name: str, numbers: Mapping[str, Any]) -> None:
    mode = numbers.get("mode", "per_sample")
    if mode != "per_sample" or numbers.get("reference_tensor"):
        raise ValueError(f"{name} by {numbers.get('reference_tensor') or mode} is not supported.")
    axes = numbers.get("axes")
    kept = set("yx" if isinstance(axes, str) else ("y", "x"))
    if axes is not None and not kept <= set(axes):
        raise ValueError(f"{name} along {', '.join(axes)} is not supported; it must be over all voxels.")


def _pointwise(name: str, numbers: Mapping[str, Any], where: str) -> Pointwise | None:
    if name == "ensure_dtype":
        kind = str(numbers.get("dtype", "float32"))
        if not kind.startswith("float"):
            raise ValueError(f"ensure_dtype {kind} would round the image; only float types are supported.")
        return None
    if name == "scale_linear":
        return Pointwise(_single(name, numbers.get("gain", 1.0)), _single(name, numbers.get("offset", 0.0)))
    if name == "clip":
        low, high = numbers.get("min"), numbers.get("max")
        return Pointwise(
            low=-math.inf if low is None else _number(name, low),
            high=math.inf if high is None else _number(name, high),
        )
    if name == "fixed_zero_mean_unit_variance" or (
        name == "zero_mean_unit_variance" and numbers.get("mode") == "fixed"
    ):
        mean, deviation = _single(name, numbers.get("mean", 0.0)), _single(name, numbers.get("std", 1.0))
        if not deviation > 0:
            raise ValueError(f"{name} has a standard deviation of {deviation:g}; it must be above 0.")
        return Pointwise(1 / deviation, -mean / deviation)
    known = KNOWN_BEFORE if where == "before" else KNOWN_AFTER
    raise ValueError(
        f"The operation {name!r} {where} the network is not supported; known are {', '.join(known)}."
    )


def _single(name: str, value: Any) -> float:
    values = list(value) if isinstance(value, list | tuple) else [value]
    if len(values) != 1:
        raise ValueError(f"{name} has {len(values)} numbers, one for each channel; only one is supported.")
    return _number(name, values[0])


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} has {value!r:.40} where it needs a number.")
    return float(value)


def _bends(step: Pointwise) -> bool:
    return step.gain <= 0 or step.low > -math.inf or step.high < math.inf
