"""Requests for the work of the Compare panel, made from the chosen layers at the current position."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lucyd._napari.compare.chosen_layers import ChosenLayers
from napari_lucyd._napari.compare.held_out import HeldOutRequest
from napari_lucyd._napari.compare.snapshot import LayerSnapshot, known_axes, line_through, pick
from napari_lucyd._napari.compare.without_truth import AgreementRequest, source_image
from napari_lucyd._napari.compare.worker import MetricsRequest, ProfileRequest, ProjectionsRequest
from napari_lucyd._napari.layers.drawing import drawn_line
from napari_lucyd._napari.widgets.layout import set_note
from napari_lucyd._napari.workers.events import explain

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer
    from qtpy.QtWidgets import QLabel

NO_LAYERS = "Tick the layers to compare."
NO_IMAGES = "Open an image first. Labels, shapes and other kinds of layers cannot be compared."
TRUTH_ALONE = "Open an image to compare with the ground truth."


def next_step(chosen: ChosenLayers) -> str:
    """Return the hint for a comparison without layers."""
    if any(layer is not chosen.truth for layer in chosen.images()):
        return NO_LAYERS
    return NO_IMAGES if chosen.truth is None else TRUTH_ALONE


class Requests:
    """Requests for the chosen layers; each is None if there is nothing to do.

    Parameters
    ----------
    viewer
        The viewer. Its sliders choose the volume of a layer.
    chosen
        The layers.
    line
        Names the position, and the layers that cannot be compared.
    """

    def __init__(self, viewer: Viewer, chosen: ChosenLayers, line: QLabel) -> None:
        self._viewer, self._chosen, self._line = viewer, chosen, line
        self._held_out = 0

    def metrics(self) -> MetricsRequest | None:
        """Request the metrics against the ground truth."""
        chosen = self._chosen
        taken = self._take(chosen.together())
        truth = taken.pop(chosen.truth, None) if chosen.truth is not None else None
        if truth is None or not taken:
            return None
        return MetricsRequest(truth, tuple(taken.values()))

    def agreement(self) -> AgreementRequest | None:
        """Request the agreement with the image, which takes the place of metrics without a ground truth."""
        found = self._image_and_others() if self._chosen.truth is None else None
        return None if found is None else AgreementRequest(*found)

    def held_out(self, *, again: bool = False) -> HeldOutRequest | None:
        """Request held-out scores; `again` counts as another request even if the layers are the same."""
        self._held_out += again
        found = self._image_and_others()
        return None if found is None else HeldOutRequest(*found, self._held_out)

    def profile(self) -> ProfileRequest | None:
        """Request the intensities along the drawn line."""
        ends = drawn_line(self._viewer)
        taken = self._take(self._chosen.together())
        if ends is None or not taken:
            return None
        axes = [one.axes for one in taken.values()]
        line = line_through(ends, list(taken), axes, self._viewer)
        if line.length == 0:
            return None
        return ProfileRequest(line, tuple(taken.values()), self._chosen.truth in taken)

    def projections(self) -> ProjectionsRequest | None:
        """Request the maximum projections."""
        taken = self._take(self._chosen.together())
        return ProjectionsRequest(tuple(taken.values())) if taken else None

    def _image_and_others(self) -> tuple[LayerSnapshot, tuple[LayerSnapshot, ...]] | None:
        """Return the image that the ticked layers were made from, and those of them that are images."""
        ticked = self._chosen.ticked()
        image = source_image(ticked, self._chosen.images())
        if image is None:
            return None
        taken, _ = self._pick([image, *(layer for layer in ticked if layer is not image)])
        of = taken.pop(image, None)
        others = tuple(one for one in taken.values() if one.is_image)
        return None if of is None or not others else (of, others)

    def _take(self, layers: list[Image]) -> dict[Image, LayerSnapshot]:
        """Take a snapshot of each layer to compare; report the position, and those that fail."""
        taken, problems = self._pick(layers)
        positions = dict.fromkeys(one.position for one in taken.values() if one.position)
        text = f"At {', '.join(positions)} (counted from 0)." if positions else ""
        if not layers:
            text = next_step(self._chosen)
        set_note(self._line, "\n".join([text, *problems] if text else problems), problem=bool(problems))
        self._line.setVisible(bool(text or problems))
        return taken

    def _pick(self, layers: list[Image]) -> tuple[dict[Image, LayerSnapshot], list[str]]:
        """Take a snapshot of each layer at the current position, and say why others cannot be taken."""
        known = known_axes(self._chosen.images())
        taken, problems = {}, []
        for layer in layers:
            try:
                taken[layer] = pick(layer, self._viewer, known, self._chosen.version(layer))
            except ValueError as error:
                problems.append(explain(error))
        return taken, problems
