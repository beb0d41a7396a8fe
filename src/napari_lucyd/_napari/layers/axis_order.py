"""The same axes in another order: napari's own reader keeps that of a file, ours and the runs have TCZYX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_lucyd._napari.layers.source_file import SourceFile

_WHOLE = ("rotate", "shear", "affine")


def axes_in_layer(recipe: Mapping[str, Any], shape: Sequence[int]) -> str | None:
    """Return the axes of the image of a run, in the order of a layer with this shape; None for other images.

    Examples
    --------
    >>> recipe = {"axes": "CZYX", "input": {"shape": [2, 9, 30, 40]}}
    >>> axes_in_layer(recipe, (9, 2, 30, 40)), axes_in_layer(recipe, (9, 30, 40))
    ('ZCYX', None)
    """
    axes, sizes = recipe.get("axes"), (recipe.get("input") or {}).get("shape")
    if not isinstance(axes, str) or sizes is None or len(axes) != len(sizes):
        return None
    return SourceFile("", axes, tuple(sizes), {}).axes_for(shape)


def why_unpaired(own: Sequence[str], other: Sequence[str]) -> str:
    """Return why two layers do not lie on each other; empty if their common axes have one order."""
    ordered = [[name for name in axes if name in both] for axes, both in ((own, other), (other, own))]
    if ordered[0] == ordered[1]:
        return ""
    return (
        f"the order of its axes, {' '.join(own)}, is not that of the image, {' '.join(other)}, so the "
        "sliders show other channels or planes of both. Close the result and open it again while the image "
        "is open"
    )


def reordered(
    data: Any, keywords: Mapping[str, Any], recipe: Mapping[str, Any], axes: str
) -> tuple[Any, dict[str, Any], dict[str, Any]] | None:
    """Return data, keywords and recipe of a result with its axes in another order; None where it is turned.

    Parameters
    ----------
    data
        Array, or the list of a layer with several resolutions.
    keywords
        Keywords of the layer.
    recipe
        Recipe with the axes of the data.
    axes
        The same axes in the order to take.
    """
    order = [recipe["axes"].index(name) for name in axes]
    turned = (np.asarray(keywords[key], float) for key in _WHOLE if key in keywords)
    if any(np.any(part != (np.eye(len(part)) if part.ndim == 2 else 0)) for part in turned):
        return None
    moved = {
        key: tuple(keywords[key][number] for number in order)
        for key in ("scale", "translate", "units", "axis_labels")
        if key in keywords
    }
    kept = {key: value for key, value in keywords.items() if key not in _WHOLE}
    sizes = {**recipe["input"], "shape": [recipe["input"]["shape"][number] for number in order]}
    entries = {**recipe, "axes": axes, "input": sizes}
    if recipe.get("region"):
        entries["region"] = [recipe["region"][number] for number in order]
    levels = [level.transpose(order) for level in data] if isinstance(data, list) else data.transpose(order)
    return levels, {**kept, **moved}, entries
