"""The numbers of an image that the recipe of a run holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_lucyd.deconvolution.statistics.light import Light
from napari_lucyd.deconvolution.statistics.scaling import Group, Statistics
from napari_lucyd.models.normalization import Normalization

_OF_LIGHT = ("level", "pedestal", "scale", "noise", "peak", "mean")


def statistics_from_recipe(recipe: Mapping[str, Any]) -> Statistics | None:
    """Return the statistics that a network's run was made with, to repeat it on parts of its image.

    Parameters
    ----------
    recipe
        ``Result.recipe``, also after a round trip through JSON.

    Returns
    -------
    Statistics or None
        Extremes and numbers of voxels are unknown: `Group.minimum` and `Group.maximum` are the ends of the
        scaling. None if the recipe lacks numbers, or if the image was prepared (`prefilter`,
        ``subtract_background``), because a recipe does not hold the background.

    Examples
    --------
    >>> scaling = {"method": "minmax", "low": 0.1, "high": 99.9, "pedestal": 0.0, "separate": "C"}
    >>> numbers = {"groups": [{"C": 0}, {"C": 1}], "lo": [10.0, 20.0], "s": [100.0, 50.0]}
    >>> found = statistics_from_recipe({"normalization": {**scaling, **numbers}})
    >>> found.group({"C": 1}).lo
    20.0
    """
    if recipe.get("prefilter") is not None or recipe.get("subtract_background") is not None:
        return None
    try:
        return _statistics(recipe["normalization"], recipe.get("first_stage"))
    # The recipe may be old, incomplete or from elsewhere.
    except (KeyError, TypeError, ValueError):
        return None


def _statistics(scaling: Mapping[str, Any], stage: Mapping[str, Any] | None) -> Statistics:
    count = len(scaling["groups"])
    shares = (stage or {}).get("network_share") or [1.0] * count
    groups = [
        Group(
            index=tuple((str(name), int(number)) for name, number in index.items()),
            lo=float(lo),
            s=_positive(s),
            minimum=float(lo),
            maximum=float(lo) + float(s),
            voxels=0,
            nan_voxels=0,
            saturated_voxels=0,
            network_share=float(share),
        )
        for index, lo, s, share in zip(scaling["groups"], scaling["lo"], scaling["s"], shares, strict=True)
    ]
    if not groups:
        raise ValueError("no groups")
    light: list[Light] = []
    if stage is not None:
        blurs = stage.get("blur_sigma_found") or [[]] * count
        numbers = zip(*(stage[name] for name in _OF_LIGHT), blurs, strict=True)
        for *values, blur in numbers:
            named = dict(zip(_OF_LIGHT, map(float, values), strict=True))
            light.append(Light(**named, blur_sigma=tuple(map(float, blur))))
        if len(light) != count:
            raise ValueError("not one light for each group")
    normalization = Normalization(*(scaling[name] for name in ("method", "low", "high", "pedestal")))
    return Statistics(normalization, str(scaling["separate"]), tuple(groups), light=tuple(light))


def _positive(number: Any) -> float:
    value = float(number)
    if not 0 < value < float("inf"):
        raise ValueError("a scale must be positive")
    return value
