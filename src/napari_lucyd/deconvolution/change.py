"""The change from an image to its output: explained part by part, or made weaker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_lucyd import checks
from napari_lucyd.deconvolution.result import Result

NEEDED = ("output", "correction_mask", "update_term")
_RUN_AGAIN = (
    'Run again with outputs=("output", "correction_mask", "update_term", "first_estimate"); networks without '
    'a first estimate take "intermediate" in its place.'
)


@dataclass(frozen=True)
class Change:
    """The change from an image to its output, and its parts, in units of the image.

    total = first_estimate + correction_mask + update_term + remainder, up to rounding.

    Attributes
    ----------
    total
        Output minus image.
    first_estimate
        First estimate minus image; 0 for networks that work on the image itself. Background subtraction and
        prefilter are part of it.
    correction_mask
        Part of the correction mask M: M · (1 + u) / 2.
    update_term
        Part of the update term u: (u - 1) · (2 y + M) / 2, where y is the network's input above its dark
        level.
    remainder
        The rest: what the last ReLU cut off, the constant of the last batch norm, and, where Z was
        resampled, the difference that interpolation makes.

    Notes
    -----
    The network multiplies: (y + M) · u. The change that mask and update term make together, M · (u - 1), is
    shared equally between both. Each part is then the mean of its effect before and after the other one
    (the Shapley value of two factors).
    """

    total: Any
    first_estimate: Any
    correction_mask: Any
    update_term: Any
    remainder: Any


def explain_change(image: Any, result: Result) -> Change:
    """Divide the change that LUCYD made into the contributions of its parts.

    Parameters
    ----------
    image
        The image that was deconvolved: its whole extent, or the computed region only. numpy arrays give
        numpy arrays, dask arrays give dask arrays.
    result
        The result, with the parts output, correction mask and update term. If the model works on a first
        estimate, or the image was prepared, also the first estimate or the intermediate.

    Returns
    -------
    Change
        float32 arrays of the output's shape, in units of the image.

    Raises
    ------
    ValueError
        If a part is missing, if the result is not LUCYD's, or if the image has another shape.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> image = np.eye(24)
    >>> change = explain_change(image, nl.deconvolve(image, nl.load_model("planes"), device="cpu"))
    >>> parts = change.first_estimate + change.correction_mask + change.update_term + change.remainder
    >>> bool(abs(parts - change.total).max() < 1e-4)
    True
    """
    recipe = result.recipe
    output, mask, update = result.output, result.correction_mask, result.update_term
    if output is None or mask is None or update is None:
        missing = [name for name in NEEDED if getattr(result, name) is None]
        raise ValueError(f"The result has no {', '.join(missing)}. {_RUN_AGAIN}")
    if "g" not in recipe:
        raise ValueError("Only results of LUCYD can be explained; this one is of another method.")
    image = computed_part(image, recipe, output.shape)
    first = result.first_estimate
    if first is None and result.intermediate is not None:
        first = result.intermediate - mask
    if first is None and works_on_the_image(recipe):
        first = image
    if first is None:
        raise ValueError(f"The result has no first estimate. {_RUN_AGAIN}")
    return divide_change(image, output, mask, update, first, dark_levels(recipe))


def divide_change(
    image: Any, output: Any, correction_mask: Any, update_term: Any, first_estimate: Any, dark: Any
) -> Change:
    """Divide a change voxel by voxel; see `Change` for the equations.

    Parameters
    ----------
    image, output, correction_mask, update_term, first_estimate
        Numbers or arrays of one shape, in units of the image (the update term has none).
    dark
        Intensity that the network sees as 0 (lo of the recipe), in units of the image.
    """
    of_mask = correction_mask * (1 + update_term) / 2
    of_update = (update_term - 1) * (2 * (first_estimate - dark) + correction_mask) / 2
    of_first = first_estimate - image
    total = output - image
    return Change(total, of_first, of_mask, of_update, total - of_first - of_mask - of_update)


def adjust_strength(image: Any, result: Result, strength: float) -> Result:
    """Make the change of a result weaker: image + strength · (output - image).

    Parameters
    ----------
    image
        The image that was deconvolved: its whole extent, or the computed region only.
    result
        The result, with its output.
    strength
        Share of the change to take, from 0 (the image) to 1 (the output).

    Returns
    -------
    Result
        The weaker output alone, float32 in units of the image; its recipe has the ``strength``, as a share
        of the full change.

    Raises
    ------
    TypeError, ValueError
        If the strength is not a number from 0 to 1, the result has no output, or the image has another
        shape.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> image = np.eye(24)
    >>> full = nl.deconvolve(image, nl.load_model("planes"), device="cpu")
    >>> half = adjust_strength(image, full, 0.5)
    >>> bool(np.allclose(half.output, (image + full.output) / 2, atol=1e-5)), half.recipe["strength"]
    (True, 0.5)
    """
    strength = checks.number("strength", strength, "a number from 0 to 1", lambda value: 0 <= value <= 1)
    if result.output is None:
        raise ValueError("The result has no output. Run again with outputs that include it.")
    image = computed_part(image, result.recipe, result.output.shape)
    return replace(
        result,
        output=blend(image, result.output, strength),
        correction_mask=None,
        update_term=None,
        intermediate=None,
        first_estimate=None,
        recipe=with_strength(result.recipe, strength),
    )


def blend(image: Any, output: Any, strength: float) -> Any:
    """Return image + strength · (output - image), float32; equal to the output where strength is 1."""
    share = np.float32(strength)
    return (1 - share) * image + share * output


def with_strength(recipe: Mapping[str, Any], strength: float) -> dict[str, Any]:
    """Add a strength to a recipe; one that the recipe has already is multiplied by it."""
    return {**recipe, "strength": strength * recipe.get("strength", 1.0)}


def computed_part(image: Any, recipe: Mapping[str, Any], shape: tuple[int, ...]) -> Any:
    """Return the part of an image that a run computed, as float32.

    Raises
    ------
    ValueError
        If the image fits neither the recipe nor the output.
    """
    region = recipe.get("region")
    if region is not None and tuple(image.shape) == tuple(recipe["input"]["shape"]) != tuple(shape):
        image = image[tuple(slice(*bounds) for bounds in region)]
    if tuple(image.shape) != tuple(shape):
        raise ValueError(
            f"The image has the shape {tuple(image.shape)}, and the output {tuple(shape)}. Give the image "
            "that was deconvolved."
        )
    return image.astype(np.float32)


def dark_levels(recipe: Mapping[str, Any]) -> Any:
    """Return the intensity that the network sees as 0, as an array that fits the axes of the output."""
    scaling, axes, shape = recipe["normalization"], recipe["axes"], recipe["input"]["shape"]
    separate = scaling["separate"] or ""
    levels = np.zeros(
        [size if name in separate else 1 for name, size in zip(axes, shape, strict=True)], dtype=np.float32
    )
    for index, lo in zip(scaling["groups"], scaling["lo"], strict=True):
        levels[tuple(index.get(name, slice(None)) for name in axes)] = lo
    bounds = recipe.get("region") or [(0, size) for size in shape]
    return levels[
        tuple(
            slice(*each) if name in separate else slice(None) for name, each in zip(axes, bounds, strict=True)
        )
    ]


def works_on_the_image(recipe: Mapping[str, Any]) -> bool:
    """Return True if the network's input is the image itself."""
    return not any(recipe.get(name) for name in ("first_stage", "prefilter", "subtract_background"))
