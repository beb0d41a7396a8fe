"""Agreement of layers with the image that they were made from, if there is no ground truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from napari.layers import Image

from napari_lucyd._napari.compare.snapshot import LayerSnapshot
from napari_lucyd._napari.compare.worker import read_volume, shape_problem
from napari_lucyd._napari.layers.viewer import is_result, origin_of
from napari_lucyd._napari.workers import garbage_collection, torch_loading
from napari_lucyd._napari.workers.events import explain

EXPLANATION = (
    "RSP: correlation of the image with the layer, blurred again; 1 is best. RSE: the difference, in units "
    "of the image. Residual: correlation of its neighbouring voxels (0 is best). The layers have seen all "
    "photons, so these numbers do not expose a layer that follows the noise. The Inspect panel scores "
    "results with a recipe by photons that they have not seen."
)


_WORDS = (
    "RSP: correlation, 1 is best. RSE: difference, in units of the image. Residual: structure that is left "
    "in the difference, 0 is best."
)


@dataclass(frozen=True, eq=False)
class AgreementRequest:
    """An image, and the layers that were made from it."""

    image: LayerSnapshot
    others: tuple[LayerSnapshot, ...]

    @property
    def key(self) -> Any:
        """Value that identifies the numbers."""
        return [one.values_key for one in (self.image, *self.others)]


def source_image(ticked: Sequence[Image], images: Sequence[Image]) -> Image | None:
    """Return the image that the ticked layers were made from: by their metadata, else the lowest of them."""
    origins = [origin_of(images, layer) for layer in ticked if is_result(layer)]
    known = (layer for layer in images if layer in origins and not is_result(layer))
    return next(known, next((layer for layer in ticked if not is_result(layer)), None))


def agreement(request: AgreementRequest, should_stop: Callable[[], bool]) -> str:
    """Compare each layer, blurred again, with the image; one line for each."""
    with garbage_collection.held():
        torch_loading.load()
        from napari_lucyd.referee import measure_residual, reblur_error

        image = read_volume(request.image)
        if image.min() == image.max():
            return f"“{request.image.name}” has one value everywhere. Tick the image that was deconvolved."
        lines = [f"Against the image “{request.image.name}”, without a ground truth. {_WORDS}"]
        for other in request.others:
            if should_stop():
                break
            if problem := shape_problem(other, request.image, "the image"):
                lines.append(f"“{other.name}”: {problem}.")
                continue
            try:
                values = read_volume(other)
                blurred = reblur_error(image, values)
                residual = measure_residual(image, values)
            except (TypeError, ValueError) as error:
                lines.append(f"“{other.name}”: {explain(error)}")
                continue
            line = f"“{other.name}”: RSP {blurred.rsp:.3f}, RSE {blurred.rse:.3g}"
            if math.isfinite(residual.correlation):
                line += f", residual {residual.correlation:z.2f}"
            lines.append(line)
        return "\n".join(lines)
