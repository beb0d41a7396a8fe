"""Held-out scores of the ticked layers, on request: their runs are repeated on halves of the photons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from napari_lucyd._napari.compare.snapshot import LayerSnapshot
from napari_lucyd._napari.layers.axis_order import why_unpaired
from napari_lucyd._napari.workers import garbage_collection, torch_loading
from napari_lucyd._napari.workers.window_words import in_window_words

SCORE, CANCEL = "Held-out scores", "Cancel"
TOOLTIP = (
    "Repeats the run of each ticked result on two halves of the photons of a sample. A good result of one "
    "half explains the other half well, so no ground truth is needed. Larger is better. It takes seconds for "
    "each layer."
)
ELSEWHERE = (
    "It is not a result with a recipe, so there is no run to repeat. Deconvolve the image in the Deconvolve "
    "panel, or choose a ground-truth layer to compare with."
)
OTHER_IMAGE = "It was made from the image “{}”. Tick only results of one image."
SCORING = "Repeating the runs on halves of the photons…"
NOTHING = "Tick a result of the Deconvolve panel and its image. The score repeats the run of the result."


@dataclass(frozen=True, eq=False)
class HeldOutRequest:
    """An image and layers to score; `number` counts the requests, since the same one may be made again."""

    image: LayerSnapshot
    others: tuple[LayerSnapshot, ...]
    number: int

    @property
    def key(self) -> Any:
        """See `LatestOnly`."""
        return self.number

    def same_as(self, other: HeldOutRequest | None) -> bool:
        """Return True if another request is of the same voxels."""
        return other is not None and _voxels(self) == _voxels(other)


def score_layers(request: HeldOutRequest, should_stop: Callable[[], bool]) -> str:
    """Score the layers; one line for each. Empty if it was stopped."""
    from napari_lucyd.deconvolution import Cancelled

    with garbage_collection.held():
        torch_loading.load()
        from napari_lucyd.referee import compare_held_out
        from napari_lucyd.referee.scores.score import note_above_one

        image = request.image
        reasons = {one.name: _why_not(one, image) for one in request.others}
        recipes = {one.name: one.recipe for one in request.others if one.recipe and not reasons[one.name]}
        leading = [name for name in image.axes if name not in "ZYX"]
        volume = dict(zip(leading, image.lead, strict=True))
        try:
            found = compare_held_out(
                image.source.data, recipes, axes=image.axes, volume=volume, should_stop=should_stop
            )
        except Cancelled:
            return ""
        lines = [
            f"Held-out scores, judged with {found.blur}:" if found.blur else "No held-out score:",
            *([f"“{image.name}”, the image itself: {_text(found.image)}"] if found.blur else []),
        ]
        for one in request.others:
            text = reasons[one.name] or _text(found.results[one.name])
            lines.append(f"“{one.name}”: {text}")
        remark = note_above_one(*(each.score for each in found.results.values()))
        lines += [remark] if remark else []
        return "\n".join(lines)


def _voxels(request: HeldOutRequest) -> list[Any]:
    return [one.values_key for one in (request.image, *request.others)]


def _text(found: Any) -> str:
    if found.score is None:
        return in_window_words(found.reason)
    return f"{found.score:.3f} ± {found.error:.3f}"


def _why_not(layer: LayerSnapshot, image: LayerSnapshot) -> str:
    if layer.recipe is None:
        return ELSEWHERE
    source = layer.recipe["source"]
    if source != image.name:
        return OTHER_IMAGE.format(source)
    problem = why_unpaired(layer.axes, image.axes)
    return f"{problem}." if problem else ""
