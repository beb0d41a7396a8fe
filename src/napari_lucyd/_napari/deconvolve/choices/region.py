"""The panel's choice of a region: the whole image, what is on screen, or a drawn rectangle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_lucyd._napari.deconvolve.form import Form
from napari_lucyd._napari.deconvolve.parameters import RECTANGLE, SCREEN, WHOLE
from napari_lucyd._napari.deconvolve.task import Estimate
from napari_lucyd._napari.layers.drawing import drawn_rectangle, on_screen, start_drawing
from napari_lucyd._napari.widgets.layout import set_note
from napari_lucyd._napari.widgets.panel import Subscriptions

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer


class RegionChoice(QObject):
    """Says which part of each image a run takes.

    Parameters
    ----------
    viewer
        Whose view and shapes are read.
    form
        Holds the controls.
    """

    changed = Signal()
    told = Signal(str)

    def __init__(self, viewer: Viewer, form: Form) -> None:
        super().__init__(form)
        self.viewer = viewer
        self.form = form
        self._planes = 1
        self._filling = False
        self._shapes: set[int] = set()
        form.region.changed.connect(self._on_kind)
        form.z_range.changed.connect(self._on_planes)
        form.draw.changed.connect(self.draw)
        self.subscriptions = Subscriptions(form)
        self.subscriptions.add(
            self._on_view,
            viewer.scene.camera.events.center,
            viewer.scene.camera.events.zoom,
            viewer.canvas.events.size,
            viewer.dims.events.ndisplay,
            viewer.dims.events.order,
        )
        self._show()

    @property
    def z_range(self) -> tuple[int, int] | None:
        """First and last plane, both included; None where the question does not arise."""
        if self.form.region.value == WHOLE or self._planes == 1:
            return None
        first, last = self.form.z_range.value
        return int(first), int(last)

    def view_of(self, layer: Image) -> tuple[slice, ...] | None:
        """The chosen part of a layer, one slice an axis; None for all of it.

        Raises
        ------
        ValueError
            If a rectangle is asked for and there is none over the layer.
        """
        if self.form.region.value == SCREEN:
            return on_screen(layer, self.viewer)
        if self.form.region.value == RECTANGLE:
            return drawn_rectangle(layer, self.viewer)
        return None

    def draw(self, *_: Any) -> None:
        """Put the rectangle tool into the user's hand."""
        layer = self.form.image.value
        if layer is None:
            self.told.emit("Open an image first.")
            return
        shapes = start_drawing(self.viewer, layer)
        if id(shapes) not in self._shapes:
            self._shapes.add(id(shapes))
            self.subscriptions.add(self._on_view, shapes.events.data)
        self.told.emit("Draw a rectangle on the image.")

    def show_estimate(self, entry: Estimate) -> None:
        """Show the region of the image that is shown, in voxels."""
        source = entry.task.source
        axes = entry.job.axes if entry.job else source.likely_axes(entry.task.parameters.axes)
        self._count_planes(source.shape[axes.index("Z")] if "Z" in axes else 1)
        if entry.job is None:
            set_note(self.form.where, "")
        elif entry.region is None:
            set_note(self.form.where, "All of the image.")
        else:
            names = [name for name in "ZYX" if name in axes]
            spans = zip(names, entry.region, strict=True)
            set_note(self.form.where, "   ".join(f"{name} {s.start}–{s.stop - 1}" for name, s in spans))
        self._show()

    def _count_planes(self, planes: int) -> None:
        if planes == self._planes:
            return
        before, self._planes = self.z_range, planes
        self._filling = True
        self.form.z_range.max = max(1, planes - 1)
        self.form.z_range.value = (0, max(1, planes - 1))
        self._filling = False
        if before is not None:
            # What was estimated, or could not be, is the range of planes of another image.
            self.changed.emit()

    def _show(self) -> None:
        kind = self.form.region.value
        self.form.draw.native.setVisible(kind == RECTANGLE)
        self.form.show_row(self.form.where, kind != WHOLE)
        self.form.show_row(self.form.z_range.native, kind != WHOLE and self._planes > 1)

    def _on_kind(self, *_: Any) -> None:
        self._show()
        self.changed.emit()

    def _on_planes(self, *_: Any) -> None:
        if not self._filling:
            self.changed.emit()

    def _on_view(self, event: Any = None) -> None:
        if self.form.region.value != WHOLE:
            self.changed.emit()
