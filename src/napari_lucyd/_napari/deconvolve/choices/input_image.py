"""The panel's choice of images, and what their axes are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_lucyd._napari.deconvolve.form import Form
from napari_lucyd._napari.layers.viewer import METADATA_KEY, is_preview, is_psf, is_result
from napari_lucyd._napari.widgets.fields import parse_axes
from napari_lucyd._napari.widgets.layout import set_note
from napari_lucyd._napari.widgets.panel import Subscriptions
from napari_lucyd.text import steps_text

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_lucyd._napari.deconvolve.task import Estimate

# Where a layer lies and what it holds decide what a run takes and what its axes are.
_RELEVANT = ("data", "scale", "rotate", "shear", "affine", "units", "axis_labels")
_NAMED_AT_MOST = 4


class ImageChoice(QObject):
    """Follows the active image layer; a person may choose another, and correct its axes.

    Parameters
    ----------
    viewer
        Whose layers are offered.
    form
        Holds the controls.
    is_psf_layer
        Whether a layer is used as the PSF; the choice does not follow it, nor does Run take it along.
    """

    changed = Signal()
    """What a run would take has changed."""
    picked = Signal(object)
    """Another layer is shown; None if there is none."""

    def __init__(
        self, viewer: Viewer, form: Form, is_psf_layer: Callable[[Image], bool] = lambda layer: False
    ) -> None:
        super().__init__(form)
        self.viewer = viewer
        self.form = form
        self._is_psf_layer = is_psf_layer
        self._axes: str | None = None
        self._understood = self._problem = ""
        self._filling = False
        self._watched: set[int] = set()
        form.image.changed.connect(self._on_picked)
        form.axes.native.editingFinished.connect(self._on_axes)
        layers = viewer.layers
        self.subscriptions = Subscriptions(form)
        self.subscriptions.add(
            self._on_layers, layers.events.inserted, layers.events.removed, layers.events.reordered
        )
        self.subscriptions.add(self._follow_active, layers.selection.events.active)
        self.subscriptions.add(self._on_selection, layers.selection.events.changed)
        self._on_layers()

    @property
    def layer(self) -> Image | None:
        """The layer that is shown."""
        return self.form.image.value

    def targets(self) -> list[Image]:
        """The layers that Run takes: the one shown, and all selected images if it is one of them.

        Results of earlier runs, the live preview and PSFs are never taken along with others.
        """
        shown = self.layer
        if shown is None:
            return []
        selection = self.viewer.layers.selection
        selected = [
            layer
            for layer in self.viewer.layers
            if layer in selection and isinstance(layer, Image) and not self._passed_over(layer)
        ]
        return selected if shown in selected else [shown]

    def axes_of(self, layer: Image, ndim: int) -> str | None:
        """The axes that a person has set for a layer, or None.

        Corrected axes count for the layer that is shown, and for others of as many axes that run with it.

        Raises
        ------
        ValueError
            If what is written there are no axes of the layer that is shown; the message says why.
        """
        if self._problem:
            raise ValueError(self._problem)
        return self._axes if self._axes is not None and len(self._axes) == ndim else None

    def show_estimate(self, entry: Estimate) -> None:
        """Show what the engine took the axes for, and the voxel size that it reckons with."""
        job, source = entry.job, entry.task.source
        if job is None:
            self._note("")
            return
        self._understood = job.axes
        if not self.form.axes.native.hasFocus():
            self.form.axes.value = job.axes
        steps = source.voxel_size(job.axes)
        voxel = f"\nVoxel {steps_text(steps)} {source.unit}" if steps else ""
        self._note(job.description + voxel)

    def _on_layers(self, event: Any = None) -> None:
        for layer in self.viewer.layers:
            if isinstance(layer, Image) and id(layer) not in self._watched:
                self._watched.add(id(layer))
                self.subscriptions.add(self._on_renamed, layer.events.name)
                self.subscriptions.add(
                    self._on_relevant, *(getattr(layer.events, name) for name in _RELEVANT)
                )
        self._fill()

    def _fill(self, event: Any = None) -> None:
        before = self.layer
        images = [layer for layer in self.viewer.layers if isinstance(layer, Image) and not is_preview(layer)]
        self._filling = True
        self.form.image.choices = [(layer.name, layer) for layer in images]
        if images:
            # Otherwise the neighbour of one that is gone would be taken, whatever it is.
            self.form.image.value = before if before in images else self._likely(images)
        self._filling = False
        if before not in images:
            self._on_picked()

    def _follow_active(self, event: Any = None) -> None:
        active = self.viewer.layers.selection.active
        if active in self.form.image.choices and isinstance(active, Image) and not self._passed_over(active):
            self.form.image.value = active

    def _likely(self, images: list[Image]) -> Image:
        """What a person means who has not said so: the active image, else the last; of results the output."""
        active = self.viewer.layers.selection.active
        taken = [layer for layer in images if not self._passed_over(layer)]
        if active in taken:
            return active
        outputs = [
            layer
            for layer in images
            if is_result(layer) and layer.metadata[METADATA_KEY].get("quantity") == "output"
        ]
        return (taken or outputs or images)[-1]

    def _on_picked(self, *_: Any) -> None:
        if self._filling:
            return
        self._axes = None
        self._understood = self._problem = self.form.axes.value = ""
        self._note("")
        self.picked.emit(self.layer)
        self._on_selection()

    def _on_selection(self, event: Any = None) -> None:
        names = [f"“{layer.name}”" for layer in self.targets()]
        more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
        set_note(
            self.form.also,
            f"Run takes all {len(names)} selected images: {', '.join(names[:_NAMED_AT_MOST])}{more}.",
        )
        self.form.show_row(self.form.also, len(names) > 1)
        self.changed.emit()

    def refresh(self) -> None:
        """Look again at what Run takes."""
        self._on_selection()

    def _passed_over(self, layer: Image) -> bool:
        return is_result(layer) or is_preview(layer) or is_psf(layer) or self._is_psf_layer(layer)

    def _on_renamed(self, event: Any = None) -> None:
        # Files and results are called after it.
        self._fill()
        self._on_selection()

    def _on_relevant(self, event: Any = None) -> None:
        self.changed.emit()

    def _note(self, text: str, *, problem: bool = False) -> None:
        set_note(self.form.understood, text, problem=problem)
        self.form.show_row(self.form.understood, bool(text))

    def _on_axes(self) -> None:
        text = self.form.axes.value
        if self.layer is None or (text == (self._axes or self._understood) and not self._problem):
            return
        self._problem = ""
        try:
            self._axes = parse_axes(text, self.layer.ndim)
        except ValueError as error:
            # Run waits until they are right: with the axes before, it would do what is not shown.
            self._problem = str(error)
            self._note(self._problem, problem=True)
        self.changed.emit()
