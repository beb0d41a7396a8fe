"""Layers of one run: its parts and the image that they were made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask.array as da
from napari.layers import Image

from napari_lucyd._napari.layers.axis_order import axes_in_layer, why_unpaired
from napari_lucyd._napari.layers.source_layer import SPATIAL
from napari_lucyd._napari.layers.viewer import METADATA_KEY, SOURCE_ID, is_result, origin_of

if TYPE_CHECKING:
    from napari.viewer import Viewer

# Entries of a layer's metadata beside the recipe of the run.
_BESIDE = ("quantity", "source", SOURCE_ID)
CHANGE = "change"


@dataclass(frozen=True)
class RunLayers:
    """The layers of one run.

    Parameters
    ----------
    image
        Layer of the image.
    parts
        Layers of the run by part, with its output.
    recipe
        Recipe of the run.
    """

    image: Image
    parts: dict[str, Image]
    recipe: dict[str, Any]

    @property
    def output(self) -> Image:
        """The layer of the output."""
        return self.parts["output"]

    @property
    def place(self) -> dict[str, Any]:
        """Keywords that place another layer where the output is."""
        return {name: getattr(self.output, name) for name in SPATIAL}

    @property
    def title(self) -> str:
        """Name of the image and of the method, for names of layers."""
        method = self.recipe.get("model") or self.recipe.get("method", {}).get("name", "")
        return f"{self.output.metadata[METADATA_KEY]['source']} ({method})"

    def lazy_image(self) -> da.Array:
        """Return the part of the image that was computed, as float32, read when it is needed."""
        from napari_lucyd.deconvolution.change import computed_part

        axes = axes_in_layer(self.recipe, full(self.image).shape)
        if axes is not None and (problem := why_unpaired(self.recipe["axes"], axes)):
            raise ValueError(f"The result does not fit: {problem}.")
        part: da.Array = computed_part(lazy(self.image), self.recipe, tuple(full(self.output).shape))
        return part

    def metadata(self, quantity: str, **entries: Any) -> dict[str, Any]:
        """Return the metadata of a layer that was made from this run."""
        known = self.output.metadata[METADATA_KEY]
        return {METADATA_KEY: {**known, **entries, "quantity": quantity}}


def outputs(viewer: Viewer) -> list[Image]:
    """Return the outputs among the layers, the newest first."""
    return [
        layer
        for layer in reversed(viewer.layers)
        if is_result(layer) and layer.metadata[METADATA_KEY]["quantity"] == "output"
    ]


def output_of(viewer: Viewer, layer: Any) -> Image | None:
    """Return the output of the run that a layer is a part of; None if it is no result."""
    if layer is None or not is_result(layer):
        return None
    recipe, own = recipe_of(layer), viewer.layers.index(layer)
    same = [each for each in outputs(viewer) if recipe_of(each) == recipe]
    # Equal runs have equal recipes; a run adds its output before its other parts.
    below = [each for each in same if viewer.layers.index(each) <= own]
    return next(iter(below or same), None)


def run_layers(viewer: Viewer, output: Image, image: Image) -> RunLayers:
    """Collect the layers of the run that made an output."""
    recipe, origin = recipe_of(output), origin_of(viewer.layers, output)
    parts = {
        layer.metadata[METADATA_KEY]["quantity"]: layer
        for layer in _results(viewer)
        if recipe_of(layer) == recipe and origin_of(viewer.layers, layer) == origin
    }
    return RunLayers(image, {**parts, "output": output}, recipe)


def recipe_of(layer: Image) -> dict[str, Any]:
    """Return the recipe in the metadata of a result."""
    return {name: entry for name, entry in layer.metadata[METADATA_KEY].items() if name not in _BESIDE}


def full(layer: Image) -> Any:
    """Return the data of a layer at full resolution."""
    return layer.data[0] if layer.multiscale else layer.data


def lazy(layer: Image) -> da.Array:
    """Return the data of a layer at full resolution as a dask array of planes."""
    data = full(layer)
    if isinstance(data, da.Array):
        return data
    planes = (1,) * (data.ndim - 2) + tuple(data.shape[-2:])
    # Without a name dask would read all data to make one.
    return da.from_array(data, chunks=planes, name=False, asarray=True)  # type: ignore[no-untyped-call]


def _results(viewer: Viewer) -> Iterator[Image]:
    return (layer for layer in viewer.layers if is_result(layer))
