"""Held-out scores of several results of one image, made alike so that they can be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from napari_lucyd.errors import Cancelled
from napari_lucyd.referee.scores.judged import Judged, judge
from napari_lucyd.referee.scores.reblur import Reblur
from napari_lucyd.referee.scores.rerun import TOLD
from napari_lucyd.referee.scores.samples import Values, halves_of
from napari_lucyd.referee.scores.score import explained

_TOLD_BLUR = ("microscope", "psf", "blur_sigma")


@dataclass(frozen=True)
class HeldOut:
    """Held-out score of one result.

    Attributes
    ----------
    score, error
        Share of the specimen's visible structure that the result explains, and its standard error; None
        without a score.
    reason
        Sentence that says why there is no score.
    """

    score: float | None = None
    error: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class ComparedScores:
    """Held-out scores of an image and of results of it.

    Attributes
    ----------
    results
        The scores by name, in the order of the recipes.
    image
        The score of the image itself.
    blur
        Phrase that says which blur all of them were judged with; empty without a score.
    """

    results: Mapping[str, HeldOut]
    image: HeldOut
    blur: str


def compare_held_out(
    image: Any,
    recipes: Mapping[str, Mapping[str, Any]],
    *,
    axes: str | None = None,
    volume: Mapping[str, int] | None = None,
    voxels: int | None = None,
    seed: int = 0,
    device: Any = "auto",
    should_stop: Callable[[], bool] | None = None,
) -> ComparedScores:
    """Score results of one image on the same halves of the same sample, with the same blur.

    Each run is repeated on both halves. All are judged with one blur: the first that was told to a run,
    otherwise the first that a run found, otherwise one that is found in the image.

    Parameters
    ----------
    image, axes, volume, voxels, seed, device
        See `score`.
    recipes
        Recipes of the results by name; of a region, the whole image's sample is judged.
    should_stop
        Called between the runs; True stops.

    Returns
    -------
    ComparedScores
        The scores. A result whose run cannot be repeated has a reason instead.

    Raises
    ------
    Cancelled
        When ``should_stop`` returns True.
    """

    def ask() -> None:
        if should_stop is not None and should_stop():
            raise Cancelled("Stopped while the results were scored.")

    found: dict[str, HeldOut] = {}
    itself = HeldOut()
    first: Judged | None = None
    halves: tuple[Values, Values] | None = None
    reblur: Reblur | None = None
    for name in sorted(recipes, key=lambda each: _knowledge(recipes[each])):
        ask()
        by: tuple[Values, str] | None = None if first is None else (first.kernel, first.blur)
        try:
            judged = _judged(image, recipes[name], axes, volume, voxels, device, by)
        except (TypeError, ValueError, OSError) as error:
            found[name] = HeldOut(reason=str(error))
            continue
        if not judged.noise.poisson:
            found[name] = HeldOut(reason=judged.noise.reason)
            continue
        if first is None or halves is None or reblur is None:
            first, halves = judged, halves_of(judged.image, judged.noise, seed)
            reblur = Reblur(judged.kernel, judged.image.shape)
            itself = _score(reblur, halves, halves)
        # A single plane has an axis Z for some methods, and none for others.
        if _long_axes(judged.image) != _long_axes(first.image):
            found[name] = HeldOut(
                reason="It was made plane by plane and the others volume by volume, or the other way round."
            )
            continue
        results = []
        for half in halves:
            ask()
            restored = _restored(judged, recipes[name], half.reshape(judged.image.shape))
            results.append(restored.reshape(half.shape))
        found[name] = _score(reblur, halves, (results[0], results[1]))
    return ComparedScores(
        {name: found[name] for name in recipes}, itself, "" if first is None else first.blur
    )


def _long_axes(values: Values) -> tuple[int, ...]:
    return tuple(n for n in values.shape if n > 1)


def _knowledge(recipe: Mapping[str, Any]) -> int:
    """Return 0 for a run with a given blur, 1 for one that found it in the image, and 2 for one without."""
    stage = recipe.get("first_stage") or {}
    if any(name in stage for name in _TOLD_BLUR) or recipe.get("psf") is not None:
        return 0
    return 1 if stage else 2


def _judged(
    image: Any,
    recipe: Mapping[str, Any],
    axes: str | None,
    volume: Mapping[str, int] | None,
    voxels: int | None,
    device: Any,
    by: tuple[Values, str] | None,
) -> Judged:
    told = dict.fromkeys(TOLD)
    whole = {**recipe, "region": None}
    return judge(image, whole, told, None, axes, volume, voxels, device, with_output=False, by=by)


def _restored(judged: Judged, recipe: Mapping[str, Any], half: Values) -> Values:
    """Repeat the run on a half, with the strength of the result."""
    output = judged.run.restore(half)
    strength = recipe.get("strength")
    return output if strength is None else half + type(half.flat[0])(strength) * (output - half)


def _score(reblur: Reblur, halves: tuple[Values, Values], results: tuple[Values, Values]) -> HeldOut:
    score = explained(reblur, halves, results)
    return HeldOut(score.mean, score.standard_error)
