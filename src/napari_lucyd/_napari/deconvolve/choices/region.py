"""Region section: the whole image, the visible part, or a drawn rectangle."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, PushButton, RangeSlider
from napari.layers import Image
from napari.layers.base import ActionType
from qtpy.QtCore import QTimer, Signal  # type: ignore[attr-defined]

from napari_lucyd._napari.deconvolve.parameters import RECTANGLE, SCREEN, WHOLE, Parameters
from napari_lucyd._napari.deconvolve.task import Estimate
from napari_lucyd._napari.layers.drawing import drawn_rectangle, on_screen, rectangle_layer, start_drawing
from napari_lucyd._napari.widgets.fields import label, tooltip
from napari_lucyd._napari.widgets.layout import Section, fixed, note, row, set_note
from napari_lucyd._napari.widgets.long_entries import narrow
from napari_lucyd._napari.widgets.panel import Subscriptions

if TYPE_CHECKING:
    from napari.viewer import Viewer


_REGIONS = [("Whole image", WHOLE), ("Visible part", SCREEN), ("Drawn rectangle", RECTANGLE)]

DRAW = "Draw a rectangle on the image."


class RegionSection(Section):
    """Selects the part of each image that a run processes.

    Parameters
    ----------
    viewer
        Its view and its shapes are read.
    layer
        Returns the image layer that is shown, or None.
    """

    changed = Signal()
    told = Signal(str)

    def __init__(self, viewer: Viewer, layer: Callable[[], Image | None]) -> None:
        super().__init__("Region")
        self.viewer = viewer
        self._layer = layer
        self.combo = ComboBox(choices=_REGIONS, value=WHOLE, tooltip=tooltip(Parameters, "region"))
        self.draw_button = PushButton(
            text="Draw…",
            tooltip="Activate the rectangle tool, in a shapes layer, until a rectangle is drawn.",
        )
        self.planes = RangeSlider(min=0, max=1, value=(0, 1), tooltip=tooltip(Parameters, "z_range"))
        # The two handles show their positions; the ends of the range are those of the image.
        self.planes.native.setEdgeLabelMode(self.planes.native.EdgeLabelMode.NoLabel)
        self.where = note("lucyd-where", lines=1)
        fixed(self.draw_button.native)
        narrow(self.combo.native)
        self.add(label(Parameters, "region"), row(self.combo.native, self.draw_button.native))
        self.add(label(Parameters, "z_range"), self.planes.native)
        self.add("", self.where)
        self._planes = 1
        self._filling = self._draws = False
        self._shapes: set[int] = set()
        # The visible part of each layer before a grid was shown.
        self._seen: weakref.WeakKeyDictionary[Image, tuple[slice, ...] | None] = weakref.WeakKeyDictionary()
        # The images that were selected when the tool was activated.
        self._selected: list[weakref.ref[Image]] = []
        # While a shape is being finished, napari's tool cannot be changed.
        self._finishing = QTimer(self)
        self._finishing.setSingleShot(True)
        self._finishing.setInterval(0)
        self._finishing.timeout.connect(self._put_tool_away)
        self.combo.changed.connect(self._on_kind)
        self.planes.changed.connect(self._on_planes)
        self.draw_button.changed.connect(self.draw)
        self.subscriptions = Subscriptions(self)
        self.subscriptions.add(
            self._on_view,
            viewer.scene.camera.events.center,
            viewer.scene.camera.events.zoom,
            viewer.canvas.events.size,
            viewer.dims.events.ndisplay,
            viewer.dims.events.order,
        )
        self._show()

    def parameters(self) -> dict[str, Any]:
        """Return the settings of this section, by field of `Parameters`."""
        return {"region": self.combo.value, "z_range": self.z_range}

    @property
    def z_range(self) -> tuple[int, int] | None:
        """First and last plane, both included; None for a whole image or a single plane."""
        if self.combo.value == WHOLE or self._planes == 1:
            return None
        first, last = self.planes.value
        return int(first), int(last)

    def view_of(self, layer: Image) -> tuple[slice, ...] | None:
        """Return the chosen part of a layer, one slice an axis; None for all of it.

        Raises
        ------
        ValueError
            If the choice is a rectangle and there is none over the layer; `DRAW` while it is being drawn.
        """
        if self.combo.value == SCREEN:
            # A grid fits the view to its cells, which is no choice of a region.
            if not (self.viewer.canvas.grid.enabled and layer in self._seen):
                self._seen[layer] = on_screen(layer, self.viewer)
            return self._seen[layer]
        if self.combo.value == RECTANGLE:
            if self._is_drawing and rectangle_layer(self.viewer) is None:
                raise ValueError(DRAW)
            return drawn_rectangle(layer, self.viewer)
        return None

    def draw(self, *_: Any) -> None:
        """Activate the rectangle tool, until a shape is drawn."""
        layer = self._layer()
        if layer is None:
            self.told.emit("Open an image first.")
            return
        images = [each for each in self.viewer.layers.selection if isinstance(each, Image)]
        # None is selected if the tool is active already.
        self._selected = [weakref.ref(each) for each in images] or self._selected
        shapes = start_drawing(self.viewer, layer)
        if id(shapes) not in self._shapes:
            self._shapes.add(id(shapes))
            self.subscriptions.add(self._on_drawn, shapes.events.data)
            self.subscriptions.add(self._on_view, shapes.events.mode)
        self._draws = True
        self.told.emit(DRAW)
        self._on_view()

    @property
    def _is_drawing(self) -> bool:
        """True from *Draw…* to the first shape, while the rectangle tool is active."""
        active = self.viewer.layers.selection.active
        return self._draws and getattr(active, "mode", "") == "add_rectangle"

    def show_estimate(self, entry: Estimate) -> None:
        """Show the region of the shown image in voxels."""
        source = entry.task.source
        axes = entry.job.axes if entry.job else source.likely_axes(entry.task.parameters.axes)
        self._count_planes(source.shape[axes.index("Z")] if "Z" in axes else 1)
        if entry.job is None:
            set_note(self.where, "")
        elif entry.region is None:
            set_note(self.where, "The whole image.")
        else:
            names = [name for name in axes if name in "ZYX"]
            spans = zip(names, entry.region, strict=True)
            set_note(self.where, "   ".join(f"{name} {s.start}–{s.stop - 1}" for name, s in spans))
        self._show()

    def show_planes(self, planes: int) -> None:
        """Offer the planes of the shown image while there is no estimate."""
        self._count_planes(planes)
        set_note(self.where, "")
        self._show()

    def _count_planes(self, planes: int) -> None:
        if planes == self._planes:
            return
        before, self._planes = self.z_range, planes
        self._filling = True
        self.planes.max = max(1, planes - 1)
        self.planes.value = (0, max(1, planes - 1))
        self._filling = False
        # Room for the labels of the handles at both ends; two that meet stand beside each other.
        native: Any = self.planes.native
        width = native.fontMetrics().horizontalAdvance("0" * (len(str(planes)) + 2))
        native.layout().setContentsMargins(width // 4, native.layout().contentsMargins().top(), width, 0)
        if before is not None:
            # The estimate, or its error, is for the range of planes of another image.
            self.changed.emit()

    def _show(self) -> None:
        kind = self.combo.value
        self.draw_button.native.setVisible(kind == RECTANGLE)
        self.show_row(self.where, kind != WHOLE)
        self.show_row(self.planes.native, kind != WHOLE and self._planes > 1)

    def _on_kind(self, *_: Any) -> None:
        self._show()
        self.changed.emit()

    def _on_planes(self, *_: Any) -> None:
        if not self._filling:
            self.changed.emit()

    def _on_drawn(self, event: Any) -> None:
        if self._draws and event.action == ActionType.ADDED:
            self._draws = False
            self._finishing.start()
            self.told.emit("Run will process the rectangle.")
        self._on_view()

    def _put_tool_away(self) -> None:
        """Select the images again, so that the next click or drag draws nothing."""
        layers, shapes = self.viewer.layers, self.viewer.layers.selection.active
        images = {layer for ref in self._selected if (layer := ref()) in layers} or {self._layer()}
        self._selected = []
        if id(shapes) in self._shapes and None not in images:
            shapes.mode = "pan_zoom"
            layers.selection = images

    def _on_view(self, event: Any = None) -> None:
        if self.combo.value != WHOLE:
            self.changed.emit()
