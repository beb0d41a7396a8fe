"""Temporary layers over a result: a weaker version of it, or the image behind a curtain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image

from napari_lucyd._napari.inspection.run_layers import RunLayers, full, lazy
from napari_lucyd._napari.layers.viewer import METADATA_KEY, add_image, is_preview, is_result, warned_once
from napari_lucyd.text import percent_text

if TYPE_CHECKING:
    from napari.viewer import Viewer

LOOK = ("contrast_limits", "colormap", "gamma", "interpolation2d")


class Veil:
    """One temporary layer on top of all others; it is no input of a run and no result.

    Parameters
    ----------
    viewer
        The viewer.
    """

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.layer: Image | None = None

    def show(self, data: Any, name: str, place: dict[str, Any], look: Image) -> None:
        """Show data, with the colours and contrast limits of a layer.

        Parameters
        ----------
        data
            Data of the layer, a new view for each change.
        name
            Name of the layer.
        place
            Keywords that place it.
        look
            The layer that it looks like.
        """
        looks = {key: getattr(look, key) for key in LOOK}
        if self.layer is not None and self.layer in self.viewer.layers:
            self.layer.data, self.layer.name = data, name
            for key, value in looks.items():
                if getattr(self.layer, key) != value:
                    setattr(self.layer, key, value)
            return
        self.layer = add_image(
            self.viewer,
            data,
            {
                **place,
                **looks,
                "name": name,
                "blending": "translucent_no_depth",
                "metadata": {METADATA_KEY: {"preview": True}},
            },
        )

    def remove(self) -> None:
        """Remove the layer."""
        layer, self.layer = self.layer, None
        if layer is not None and layer in self.viewer.layers:
            with warned_once(self.viewer):
                self.viewer.layers.remove(layer)


class Curtain(Veil):
    """The image over the left part of its result."""

    def draw(self, run: RunLayers, share: float) -> None:
        """Cover a share of the output's width, from 0 to 1; 0 removes the curtain."""
        shape = tuple(full(run.output).shape)
        axis = self.viewer.dims.order[-1] - (self.viewer.dims.ndim - len(shape))
        width = round(share * shape[axis]) if axis >= 0 else 0
        if not width:
            self.remove()
            return
        cut = (slice(None),) * axis + (slice(0, width),)
        # A plain array is cut without reading it; dask would add its own time to each step.
        plain = full(run.image)
        whole = plain if hasattr(plain, "strides") and plain.shape == shape else run.lazy_image()
        self.show(whole[cut], f"curtain · {run.image.name}", run.place, run.image)
        self._raise()

    def _raise(self) -> None:
        """Put the curtain above all results and the weaker version, which may be newer."""
        layers = self.viewer.layers
        here = layers.index(self.layer)
        others = (place for place, each in enumerate(layers) if is_result(each) or is_preview(each))
        top = max(others, default=here)
        if here < top:
            layers.move(here, top + 1)


class Strength(Veil):
    """A weaker version of an output: image + strength · (output - image)."""

    def draw(self, run: RunLayers, strength: float) -> None:
        """Show the output with a strength from 0 to 1; 1 shows the output itself."""
        if strength == 1:
            self.remove()
            return
        name = f"strength {percent_text(strength)} · {run.title}"
        self.show(self.data(run, strength), name, run.place, run.output)

    @staticmethod
    def data(run: RunLayers, strength: float) -> Any:
        """Return the weaker version as a dask array."""
        from napari_lucyd.deconvolution.change import blend

        return blend(run.lazy_image(), lazy(run.output), strength)
