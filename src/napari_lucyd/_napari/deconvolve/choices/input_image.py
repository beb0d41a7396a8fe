"""Image section: the layers that a run takes, their axes and their voxel size."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, LineEdit
from napari.layers import Image
from qtpy.QtCore import Signal  # type: ignore[attr-defined]

from napari_lucyd._napari.deconvolve.choices.voxel_size import (
    ON_LAYER,
    TITLE,
    UNKNOWN,
    VoxelSizeFields,
    size_text,
)
from napari_lucyd._napari.deconvolve.parameters import Parameters
from napari_lucyd._napari.layers.coordinates import keep_view
from napari_lucyd._napari.layers.reopened import results_from_files
from napari_lucyd._napari.layers.source_layer import SourceLayer, noted_sizes
from napari_lucyd._napari.layers.viewer import METADATA_KEY, image_of, is_preview, is_psf, is_result
from napari_lucyd._napari.widgets.fields import label, parse_axes, tooltip
from napari_lucyd._napari.widgets.layout import Section, note, set_note
from napari_lucyd._napari.widgets.long_entries import narrow
from napari_lucyd._napari.widgets.panel import Subscriptions
from napari_lucyd._napari.workers.events import explain
from napari_lucyd._napari.workers.file_lookup import FileLookup
from napari_lucyd.deconvolution import Source
from napari_lucyd.text import steps_text

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_lucyd._napari.deconvolve.task import Estimate
    from napari_lucyd.io import Optics

# Events of a layer that change the input of a run, or its axes.
_RELEVANT = ("data", "scale", "rotate", "shear", "affine", "units", "axis_labels")
_NAMED_AT_MOST = 4
_OPENED_AS_IMAGE = (
    "{} is a result of “{}”. With File ▸ Open with Plugin, open its folder with the reader napari-lucyd to "
    "have it in its place with its settings."
)


class ImageSection(Section):
    """Follows the active image layer; the user may choose another, and correct its axes and voxel size.

    Parameters
    ----------
    viewer
        The viewer whose layers are offered.
    is_psf_layer
        True for a layer that is used as the PSF: the choice does not follow it, and Run does not process it.
    """

    changed = Signal()
    """The images of the next run have changed."""
    picked = Signal(object)
    """Another layer is shown; None if there is none."""
    optics_changed = Signal(object)
    """The optics that the file of the shown layer states, `napari_lucyd.io.Optics`, or None."""

    def __init__(self, viewer: Viewer, is_psf_layer: Callable[[Image], bool] = lambda layer: False) -> None:
        super().__init__("Image")
        self.viewer = viewer
        self.combo = ComboBox(
            choices=[], nullable=True, tooltip="The image to deconvolve. It follows the selected layer."
        )
        self.also = note("lucyd-also")
        self.axes = LineEdit(tooltip=tooltip(Parameters, "axes"))
        self.understood = note("lucyd-understood", lines=2, most=2)
        self.voxel_size = VoxelSizeFields()
        self.files = FileLookup(self)
        narrow(self.combo.native)
        self.add("Image", self.combo.native)
        self.add("", self.also)
        self.add(label(Parameters, "axes"), self.axes.native)
        # Across the whole width: an image may have many axes.
        self.rows.addRow(self.understood)
        self.add(TITLE, self.voxel_size)
        self._is_psf_layer = is_psf_layer
        self._axes: str | None = None
        self._understood = self._problem = ""
        # Text of the line of axes that is taken into account; None if it is another one than is shown.
        self._axes_read: str | None = ""
        self._filling = False
        self._guessed = True
        self._watched: set[int] = set()
        self._sizes: weakref.WeakKeyDictionary[Image, dict[str, float]] = weakref.WeakKeyDictionary()
        self.files.found.connect(self._on_file)
        self.voxel_size.entered.connect(self._on_sizes)
        self.voxel_size.refused.connect(self._on_relevant)
        self.voxel_size.set_on_layer.changed.connect(self._set_on_layer)
        self.combo.changed.connect(self._on_chosen)
        self.axes.native.editingFinished.connect(self._on_axes)
        layers = viewer.layers
        self.subscriptions = Subscriptions(self)
        self.subscriptions.add(
            self._on_layers, layers.events.inserted, layers.events.removed, layers.events.reordered
        )
        self.subscriptions.add(self._follow_active, layers.selection.events.active)
        self.subscriptions.add(self.refresh, layers.selection.events.changed)
        self._on_layers()

    @property
    def layer(self) -> Image | None:
        """The layer that is shown."""
        return self.combo.value

    def targets(self) -> list[Image]:
        """Return the layers that Run processes: the shown one, with all selected images if it is selected.

        Results of earlier runs, the live preview, PSFs and colour images are never processed along with
        others.
        """
        taken = self._together()
        return [layer for layer in taken if not layer.rgb] or taken

    def left_out(self) -> list[Image]:
        """Return the selected colour images, which Run leaves out while it processes others."""
        return [layer for layer in self._together() if layer not in self.targets()]

    def _together(self) -> list[Image]:
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
        """Return the axes that the user has set for a layer, or None.

        Corrected axes apply to the shown layer, and to others with as many axes that run with it.

        Raises
        ------
        ValueError
            If the text is not a valid list of axes of the shown layer; the message says why.
        """
        if self._problem:
            raise ValueError(self._problem)
        return self._axes if self._axes is not None and len(self._axes) == ndim else None

    @property
    def problem(self) -> str:
        """The reason why a field of this section cannot be read; empty if all can be."""
        return self._problem or self.voxel_size.problem

    @property
    def optics(self) -> Optics | None:
        """The optics that the file of the shown layer states; None if there are none, or not yet."""
        facts = None if self.layer is None else self.files.facts(self.layer)
        return None if facts is None else facts.optics

    @property
    def planes(self) -> int:
        """Number of planes along Z of the shown layer, as its axes are understood."""
        layer, axes = self.layer, self._understood
        if layer is None or "Z" not in axes:
            return 1
        shape = (layer.data[0] if layer.multiscale else layer.data).shape
        return int(shape[axes.index("Z")])

    @property
    def is_reading(self) -> bool:
        """True while the file of a layer that Run would process is being read."""
        return any(self.files.is_pending(layer) for layer in self.targets())

    def source_of(self, layer: Image) -> SourceLayer:
        """Return a layer as a run takes it, with the voxel size that is entered or in its file.

        A voxel size that is entered applies to the shown layer, and to others that run with it if their own
        is unknown.

        Raises
        ------
        ValueError
            If the layer is RGB, or the text of a field is no voxel size.
        """
        source = SourceLayer.from_layer(layer).with_file(self.files.facts(layer))
        if self.voxel_size.problem:
            raise ValueError(self.voxel_size.problem)
        sizes = self._sizes.get(layer)
        if sizes is None and source.unit_um is None:
            entered = None if self.layer is None else self._sizes.get(self.layer)
            sizes = entered or self._size_of_result(layer)[1] or None
        return source if sizes is None else source.with_voxel_size(sizes)

    def show_estimate(self, entry: Estimate) -> None:
        """Show the axes and the voxel size that the run uses."""
        job = entry.job
        if job is not None:
            self._show(entry.task.source, job.axes, job.description)

    def show_layer(self, dimension: int) -> None:
        """Show the axes and the voxel size of the layer while there is no estimate.

        Parameters
        ----------
        dimension
            Number of spatial axes of the method.
        """
        layer = self.layer
        if layer is None or self.problem:
            return
        try:
            source = self.source_of(layer)
            given = self.axes_of(layer, len(source.shape)) or source.axes
            axes = Source(source.data, dimension, given).axes
        except (TypeError, ValueError):  # the line above Run has given the reason
            self._note("")
            return
        self._show(source, axes.names, axes.describe())

    def _show(self, source: SourceLayer, axes: str, text: str) -> None:
        self._understood = axes
        # A text that is being typed for this image stays.
        if not (self.axes.native.hasFocus() and self.axes.value != self._axes_read):
            self._axes_read = axes
            # Setting the same text would move the cursor.
            if self.axes.value != axes:
                self.axes.value = axes
        self._note(text)
        self._show_voxel_size(source, axes)

    def _show_voxel_size(self, source: SourceLayer, axes: str) -> None:
        letters = "".join(name for name in "ZYX" if name in axes)
        steps, in_um = source.voxel_size(axes), source.voxel_size_um(axes)
        fields = self.voxel_size
        fields.show_sizes(letters, dict(zip(letters, in_um, strict=True)) if in_um else {})
        if fields.problem:
            return
        if in_um is None:
            # napari's default of 1 pixel says nothing.
            stated = steps is not None and set(steps) != {1.0}
            size = f"{steps_text(steps or ())}{source.beyond_scale}"
            scale = f" The layer's scale, {size}, is used as a ratio." if stated else ""
            fields.describe(UNKNOWN + scale, problem=True)
        elif source.sizes_um and not self._is_on_layer(in_um, axes):
            apart = ", so the result does not lie on it" if self._result_is_apart() else ""
            fields.describe(f"{self._origin_of_size()} Not yet on the layer{apart}.", offer=True)
        else:
            fields.describe(f"{ON_LAYER}{source.beyond_scale}.")

    def _origin_of_size(self) -> str:
        layer = self.layer
        if layer is None or layer in self._sizes:
            return "As entered."
        facts = self.files.facts(layer)
        if SourceLayer.from_layer(layer).with_file(facts).unit_um is None:
            return f"From “{self._size_of_result(layer)[0]}”."
        return "As entered." if facts is None else f"From the file {facts.name}."

    def _result_is_apart(self) -> bool:
        """Return True if the voxel size is that of a result which was opened before the layer."""
        layer = self.layer
        if layer is None or layer in self._sizes or SourceLayer.from_layer(layer).unit_um is not None:
            return False
        results = results_from_files(self.viewer, layer)
        return bool(results) and SourceLayer.from_layer(results[-1]).unit_um is not None

    def _is_on_layer(self, sizes: Sequence[float], axes: str) -> bool:
        """Return True if the layer has this voxel size, as far as the fields show it."""
        layer = self.layer
        own = None if layer is None else SourceLayer.from_layer(layer).voxel_size_um(axes)
        return own is not None and [*map(size_text, own)] == [*map(size_text, sizes)]

    def refresh(self, event: Any = None) -> None:
        """Update the images that Run processes."""
        targets = self.targets()
        self.files.ask(targets)
        left_out = self.left_out()
        count = "both" if len(targets) == 2 else f"all {len(targets)}"
        which = "" if left_out else f"{count} selected images: "
        text = f"Run will process {which}{_named(targets)}."
        if left_out:
            are = "is a colour (RGB) image" if len(left_out) == 1 else "are colour (RGB) images"
            text += f" {_named(left_out)} {are} and will be left out."
        result = self._about_result()
        text = result if len(targets) <= 1 and not left_out else f"{text} {result}".strip()
        set_note(self.also, text, problem=bool(left_out))
        self.show_row(self.also, bool(text))
        self.changed.emit()

    def _about_result(self) -> str:
        """Say that the shown layer is a result, which may be deconvolved again; empty for an image."""
        layer = self.layer
        if layer is None:
            return ""
        if is_result(layer):
            return f"“{layer.name}” is a result. Run deconvolves it again."
        facts = self.files.facts(layer)
        if facts is None or facts.result is None:
            return ""
        return _OPENED_AS_IMAGE.format(facts.name, facts.result.source)

    def _on_layers(self, event: Any = None) -> None:
        for layer in self.viewer.layers:
            if isinstance(layer, Image) and id(layer) not in self._watched:
                self._watched.add(id(layer))
                self.subscriptions.add(self._on_renamed, layer.events.name)
                self.subscriptions.add(
                    self._on_relevant, *(getattr(layer.events, name) for name in _RELEVANT)
                )
        self._fill()
        if event is not None and event.type == "inserted" and is_result(event.value):
            # It may know the voxel size of its image.
            self.changed.emit()

    def _fill(self, event: Any = None) -> None:
        before = self.layer
        images = [layer for layer in self.viewer.layers if isinstance(layer, Image) and not is_preview(layer)]
        self._filling = True
        self.combo.choices = [(layer.name, layer) for layer in images]
        if images:
            # Otherwise the neighbour of a removed layer would be taken, whatever it is. Of the parts of a
            # result that are opened one after the other, the first may be a mask.
            if before not in images or (self._guessed and self._passed_over(before)):
                self._guessed = True
                self.combo.value = self._likely(images, before if before in images else None)
            else:
                self.combo.value = before
        self._filling = False
        if before not in images or self.layer is not before:
            self._on_picked()

    def _follow_active(self, event: Any = None) -> None:
        active = self.viewer.layers.selection.active
        if active in self.combo.choices and isinstance(active, Image) and not self._passed_over(active):
            self.combo.value = active

    def _likely(self, images: list[Image], before: Image | None) -> Image | None:
        """Guess the image: the active one, else the last; among results the output, and never a PSF."""
        active = self.viewer.layers.selection.active
        taken = [layer for layer in images if not self._passed_over(layer)]
        if active in taken:
            return active
        results = [layer for layer in images if is_result(layer) and not self._is_psf_layer(layer)]
        outputs = [layer for layer in results if layer.metadata[METADATA_KEY].get("quantity") == "output"]
        return (taken or outputs or results or [before])[-1]

    def _on_chosen(self, *_: Any) -> None:
        if not self._filling:
            self._guessed = False
            self._on_picked()

    def _on_picked(self) -> None:
        self._axes = None
        self._understood = self._problem = self.axes.value = self._axes_read = ""
        self._note("")
        layer = self.layer
        self.voxel_size.clear("ZYX" if layer is not None and layer.ndim > 2 else "YX")
        self.show_row(self.voxel_size, layer is not None)
        self.files.ask([] if layer is None else [layer])
        self.optics_changed.emit(self.optics)
        self.picked.emit(self.layer)
        self.refresh()

    def _passed_over(self, layer: Image) -> bool:
        return is_result(layer) or is_preview(layer) or is_psf(layer) or self._is_psf_layer(layer)

    def _on_renamed(self, event: Any = None) -> None:
        # Files and results are named after it.
        self._fill()
        self.refresh()

    def _on_relevant(self, event: Any = None) -> None:
        self.changed.emit()

    def _on_file(self, layer: Image) -> None:
        if layer is self.layer:
            self.optics_changed.emit(self.optics)
        self.refresh()

    def _on_sizes(self, sizes: dict[str, float] | None) -> None:
        layer = self.layer
        if layer is None:
            return
        if sizes is None:
            self._sizes.pop(layer, None)
        else:
            self._sizes[layer] = sizes
        self.changed.emit()

    def _set_on_layer(self, *_: Any) -> None:
        """Give the layer the voxel size in use, because the user has asked for it."""
        layer, axes = self.layer, self._understood
        if layer is None or not axes or self.voxel_size.problem:
            return
        places = [(layer, self.source_of(layer).place(axes))]
        # A result of a region has an origin of its own.
        places += [
            (each, SourceLayer.place_by_note(each.as_layer_data_tuple()[1], axes))
            for each in self._results_on(layer)
        ]
        self._sizes.pop(layer, None)
        with keep_view(self.viewer, layer):
            for each, place in places:
                each.units, each.scale, each.translate = place["units"], place["scale"], place["translate"]

    def _results_on(self, layer: Image) -> list[Image]:
        """Return the results that lie on a layer although its scale is not their voxel size."""
        return [
            each
            for each in self.viewer.layers
            if isinstance(each, Image)
            and is_result(each)
            and image_of(self.viewer, each) is layer
            and noted_sizes({"metadata": each.metadata, "units": each.units})
        ]

    def _size_of_result(self, layer: Image) -> tuple[str, dict[str, float]]:
        """Return the last result of a layer that a file gave a voxel size, and that size in µm by axis."""
        for each in reversed(results_from_files(self.viewer, layer)):
            result = SourceLayer.from_layer(each).with_file(None)
            axes = result.likely_axes()
            steps = result.voxel_size_um(axes)
            if steps is not None:
                letters = [name for name in "ZYX" if name in axes]
                return each.name, dict(zip(letters, steps, strict=True))
        return "", {}

    def _note(self, text: str, *, problem: bool = False) -> None:
        set_note(self.understood, text, problem=problem)

    def _on_axes(self) -> None:
        text = self.axes.value
        if self.layer is None or (text == self._axes_read and not self._problem):
            return
        self._problem = ""
        try:
            self._axes = self._axes_read = parse_axes(text, self.layer.ndim)
        except ValueError as error:
            # Run waits until they are right: otherwise it would use axes that are not shown.
            self._problem = explain(error)
            self._note(self._problem, problem=True)
        self.changed.emit()


def _named(layers: Sequence[Image]) -> str:
    names = [f"“{layer.name}”" for layer in layers]
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return f"{', '.join(names[:_NAMED_AT_MOST])}{more}"
