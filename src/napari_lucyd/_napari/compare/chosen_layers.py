"""Choice of the layers to compare, and of the ground truth among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari.layers import Image, Shapes
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_lucyd._napari.compare.form import CompareForm
from napari_lucyd._napari.layers.viewer import METADATA_KEY, is_preview, is_psf, is_result, origin_of
from napari_lucyd._napari.widgets.panel import Subscriptions

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

# Events of a layer that change metrics, profile and projections, and those that change its look only.
_RELEVANT = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
_LOOKS = ("contrast_limits", "colormap", "gamma")


class ChosenLayers(QObject):
    """Ticked layers and the ground truth.

    The choice follows the runs in the window until the user changes it.

    Parameters
    ----------
    viewer
        The viewer.
    form
        The controls.
    subscriptions
        The panel's connections to napari's events.
    parent
        Qt's owner.
    """

    changed = Signal()
    """The choice, or something about its layers, has changed."""
    look_changed = Signal()
    """Colours or contrast limits of a layer have changed."""
    line_changed = Signal()
    """The drawn line may have changed."""

    def __init__(
        self, viewer: Viewer, form: CompareForm, subscriptions: Subscriptions, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._viewer, self._form, self._subscriptions = viewer, form, subscriptions
        # A number for each ticked layer, for its colour.
        self._numbers: dict[Image, int] = {}
        self._versions: WeakKeyDictionary[Layer, int] = WeakKeyDictionary()
        self._filling = False
        self._touched = False
        form.layers.ticked.connect(self.tick)
        form.truth.changed.connect(self._on_truth)
        events, dims = viewer.layers.events, viewer.dims.events
        subscriptions.add(self._on_layers, events.inserted, events.removed, events.reordered)
        subscriptions.add(self._on_inserted, events.inserted)
        subscriptions.add(self._on_line, viewer.layers.selection.events.active)
        subscriptions.add(self._on_change, dims.point, dims.order, dims.ndisplay)

    def begin(self) -> None:
        """Choose the first layers; call it once, after the signals are connected."""
        self._on_layers()
        self._choose_first()

    @property
    def truth(self) -> Image | None:
        """The ground truth, or None."""
        return self._form.truth.value

    def ticked(self) -> list[Image]:
        """Return the layers to compare, the lowest first, without the ground truth."""
        return [layer for layer in self.images() if layer in self._numbers and layer is not self.truth]

    def together(self) -> list[Image]:
        """Return the ground truth, if there is one, and the layers to compare."""
        truth = [] if self.truth is None else [self.truth]
        return [*truth, *self.ticked()]

    def images(self) -> list[Image]:
        """Return all layers that could be compared."""
        return [layer for layer in self._viewer.layers if isinstance(layer, Image) and not is_preview(layer)]

    def numbers(self) -> dict[str, int]:
        """Return the numbers of the ticked layers' colours, by name; the ground truth has none."""
        return {layer.name: self._numbers[layer] for layer in self.ticked()}

    def version(self, layer: Layer) -> int:
        """Return how often the voxels of a layer were replaced."""
        return self._versions.get(layer, 0)

    def tick(self, layer: Image, on: bool) -> None:
        """Add a layer to the comparison, or remove it, as the user asks."""
        self._touched = True
        self._set_ticked(layer, on)

    def _choose_first(self) -> None:
        """Choose the last run and its image, or, if there is no run, the visible layers."""
        images = self.images()
        results = [layer for layer in images if is_result(layer)]
        if results:
            last = origin_of(images, results[-1])
            chosen = [
                layer
                for layer in images
                if layer is last
                or (
                    is_result(layer)
                    and origin_of(images, layer) == last
                    and layer.metadata[METADATA_KEY]["quantity"] == "output"
                )
            ]
        else:
            chosen = [layer for layer in images if layer.visible and not layer.rgb and not is_psf(layer)]
        self._choose(chosen, self._likely_truth(chosen))

    def _choose(self, layers: list[Image], truth: Image | None) -> None:
        self._fill()
        self._filling = True
        self._form.truth.value = truth
        self._filling = False
        self._numbers = {layer: number for number, layer in enumerate(layers)}
        self._fill()
        self.changed.emit()

    def _likely_truth(self, layers: list[Image]) -> Image | None:
        """Find the ground truth by the name that the samples give it."""
        names = {f"{layer.name} truth" for layer in layers}
        return next((layer for layer in self.images() if layer.name in names), None)

    def _set_ticked(self, layer: Image, on: bool) -> None:
        if on:
            taken = set(self._numbers.values())
            self._numbers[layer] = next(n for n in range(len(taken) + 1) if n not in taken)
        else:
            self._numbers.pop(layer, None)
        self._fill()
        self.changed.emit()

    def _fill(self) -> None:
        """Update the lists of layers."""
        images, truth = self.images(), self.truth
        self._filling = True
        self._form.truth.choices = [(layer.name, layer) for layer in images]
        self._form.truth.value = truth if truth in images else None
        self._filling = False
        listed = [layer for layer in images if layer is not self.truth]
        self._form.layers.fill(listed, self._numbers)

    # Events of napari

    def _on_inserted(self, event: Any) -> None:
        layer = event.value
        if not isinstance(layer, Image):
            return
        if not self._touched:
            self._choose_first()
        elif is_result(layer) and layer.metadata[METADATA_KEY]["quantity"] == "output":
            self._set_ticked(layer, True)

    def _on_truth(self, *_: Any) -> None:
        if not self._filling:
            self._touched = True
            self._fill()
            self.changed.emit()

    def _on_layers(self, event: Any = None) -> None:
        for layer in self._viewer.layers:
            if layer in self._versions:
                continue
            self._versions[layer] = 0
            if isinstance(layer, Image):
                events = layer.events
                self._subscriptions.add(self._on_name, events.name)
                self._subscriptions.add(self._on_data, events.data)
                self._subscriptions.add(self._on_change, *(getattr(events, name) for name in _RELEVANT))
                self._subscriptions.add(self._on_look, *(getattr(events, name) for name in _LOOKS))
            elif isinstance(layer, Shapes):
                drawn = (layer.events.set_data, layer.events.data, layer.selected_data.events)
                self._subscriptions.add(self._on_line, *drawn)
        self._numbers = {layer: n for layer, n in self._numbers.items() if layer in self._viewer.layers}
        self._fill()
        self.changed.emit()

    def _on_name(self, event: Any) -> None:
        self._fill()
        self.changed.emit()

    def _on_data(self, event: Any) -> None:
        self._versions[event.source] += 1
        self.changed.emit()

    def _on_change(self, *_: Any) -> None:
        self.changed.emit()

    def _on_look(self, *_: Any) -> None:
        self.look_changed.emit()

    def _on_line(self, *_: Any) -> None:
        self.line_changed.emit()
