"""Choice of a PSF: from the optics, a file, a layer, beads, or the width of a Gaussian."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog
from superqt.utils import create_worker

from napari_lucyd._napari.layers.saving import SUFFIX, with_suffix
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.layers.viewer import add_image, is_preview, unique_names
from napari_lucyd._napari.psf.beads import BeadsPsf
from napari_lucyd._napari.psf.form import BEADS, BLUR, FILE, LAYER, OPTICS, UNKNOWN, PsfForm
from napari_lucyd._napari.psf.optics import OpticsPsf
from napari_lucyd._napari.psf.origins import BlurPsf, FilePsf, LayerPsf, Psf, PsfSource, UnknownPsf
from napari_lucyd._napari.widgets.fields import (
    label,
    parse_number,
    parse_numbers,
    parse_sizes,
    parse_steps,
    parse_wavelengths,
)
from napari_lucyd._napari.widgets.panel import Subscriptions
from napari_lucyd._napari.workers import garbage_collection
from napari_lucyd._napari.workers.events import Stop, explain

if TYPE_CHECKING:
    from napari.viewer import Viewer

# Events of a layer that change the PSF.
_RELEVANT = ("data", "scale", "units", "axis_labels")
# Optics that may have a number for each channel.
_PER_CHANNEL = ("emission_um", "excitation_um")
# A wider Gaussian, in voxels, is no blur of a microscope.
_LARGEST_SIGMA = 100
_NEEDED = ("numerical_aperture", "refractive_index", "emission_um")


class PsfChoice(QObject):
    """Provides what is known about the blur, and shows or saves the PSF.

    Parameters
    ----------
    viewer
        Its layers are offered.
    form
        The controls.
    image
        Returns the image that the PSF is for and its axes, or None.
    """

    changed = Signal()
    told_user = Signal(str)
    failed = Signal(str)

    def __init__(
        self, viewer: Viewer, form: PsfForm, image: Callable[[], tuple[SourceLayer, str] | None]
    ) -> None:
        super().__init__(form)
        self.viewer = viewer
        self.form = form
        self._filling = False
        self._watched: set[int] = set()
        self._image = image
        self._stop = Stop()
        self._taken: weakref.ref[Image] | None = None
        self._kind_before = ""
        form.kind.changed.connect(self._on_kind)
        form.microscope.changed.connect(self._on_kind)
        others = (form.layer, form.path, form.beads, form.diameter, form.sigma)
        for control in (*others, *form.lines.values()):
            control.changed.connect(self._on_changed)
        form.browse.changed.connect(self.ask)
        form.show_layer.changed.connect(self.show_as_layer)
        form.save.changed.connect(self.ask_and_save)
        # Stops the computation when the panel is closed.
        self.destroyed.connect(self._stop.set)
        events = viewer.layers.events
        self.subscriptions = Subscriptions(form)
        self.subscriptions.add(self._on_layers, events.inserted, events.removed, events.reordered)
        self._on_layers()

    @property
    def layer(self) -> Image | None:
        """The layer that the PSF comes from, or its beads; None if it comes from elsewhere."""
        chosen: dict[str, Image | None] = {LAYER: self.form.layer.value, BEADS: self.form.beads.value}
        return chosen.get(self.form.kind.value)

    def is_layer(self, layer: Image) -> bool:
        """Return True if the PSF comes from this layer."""
        return layer is self.layer

    def take_layer(self, layer: Image) -> None:
        """Use a layer as the PSF, until `give_back`."""
        self._fill()
        if not self.has_taken:
            self._kind_before = self.form.kind.value
        self.form.kind.value = LAYER
        self.form.layer.value = layer
        self._taken = weakref.ref(layer)

    @property
    def has_taken(self) -> bool:
        """True if the PSF is the layer of `take_layer`, and the user has chosen nothing else since."""
        if self._taken is None or self.form.kind.value != LAYER:
            return False
        return self.form.layer.value in (None, self._taken())

    def give_back(self) -> None:
        """Undo `take_layer`, unless the user has chosen something else since."""
        if self.has_taken:
            self.form.kind.value = self._kind_before
        self._taken = None

    @property
    def blank(self) -> bool:
        """True if nothing is known about the blur: *Unknown*, or optics without NA and emission."""
        lines = self.form.lines
        told = lines["numerical_aperture"].value.strip() or lines["emission_um"].value.strip()
        return self.form.kind.value == UNKNOWN or (self.form.kind.value == OPTICS and not told)

    def source(self) -> PsfSource:
        """Return the present choice.

        Raises
        ------
        ValueError
            If something is missing or cannot be read; the message says what.
        """
        kind = self.form.kind.value
        if kind == LAYER:
            return LayerPsf(self._layer("PSF", self.form.layer.value))
        if kind == FILE:
            if not self.form.path.value.strip():
                raise ValueError("File: choose a PSF file.")
            return FilePsf(self.form.path.value.strip())
        if kind == BEADS:
            diameter = parse_number(label(BeadsPsf, "bead_diameter_um"), self.form.diameter.value)
            return BeadsPsf(self._layer("bead", self.form.beads.value), diameter or 0.0)
        if kind == BLUR:
            return BlurPsf(self._sigma())
        return UnknownPsf() if kind == UNKNOWN else self._from_optics()

    def show_estimate(self, text: str, voxel_size: Sequence[float] | None) -> None:
        """Show a description of the PSF, and the voxel size of the image in µm if it is known."""
        self.form.describe(text)
        sizes = ", ".join(f"{step:.4g}" for step in voxel_size) if voxel_size else "for example 0.3, 0.1, 0.1"
        self.form.lines["voxel_size"].native.setPlaceholderText(sizes)

    def ask(self, *_: Any) -> None:
        """Ask for a PSF file."""
        path, _kind = QFileDialog.getOpenFileName(
            self.form, "Choose a PSF", "", "Images (*.tif *.tiff);;All files (*)"
        )
        if path:
            self.form.path.value = path

    def show_as_layer(self, *_: Any) -> None:
        """Compute or read the PSF, and add it as an image layer."""
        self._load(_copied, self._add_layer)

    def ask_and_save(self, *_: Any) -> None:
        """Ask for a file name, and save the PSF."""
        path, _kind = QFileDialog.getSaveFileName(self.form, "Save the PSF", "psf.ome.tif", "Images (*.tif)")
        if path:
            # The dialog has asked about this name only, and not about one with a suffix.
            named = with_suffix(Path(path), SUFFIX)
            self.save(named, replace=named == Path(path))

    def save(self, path: Path, *, replace: bool = True) -> None:
        """Save the PSF in the background, as ``lucyd psf`` does; ``replace`` also an existing file."""
        self._load(partial(_write, path, replace), self._on_saved)

    def _load(self, work: Callable[[Psf], Any], then: Callable[[Any], object]) -> None:
        """Make the PSF and work on it in the background; `then` gets the result."""
        try:
            source, image = self.source(), self._image()
        except ValueError as error:
            self.failed.emit(explain(error))
            return
        doing = {OpticsPsf: "Computing", BeadsPsf: "Measuring", BlurPsf: "Computing"}.get(
            type(source), "Reading"
        )
        self.told_user.emit(f"{doing} the PSF…")
        worker = create_worker(
            _made, source, image, work, self._stop, _start_thread=False, _ignore_errors=True
        )
        worker.returned.connect(then)
        worker.errored.connect(self._on_error)
        worker.start()

    def _on_saved(self, path: Path) -> None:
        self.told_user.emit(f"Saved {path.name} in {path.parent}.")

    def _add_layer(self, psf: Psf) -> None:
        (name,) = unique_names([f"PSF {psf.name}"], {layer.name for layer in self.viewer.layers})
        add_image(self.viewer, psf.values, psf.keywords(name))
        self.told_user.emit(f"Added the layer “{name}”.")

    def _on_error(self, error: Exception) -> None:
        self.failed.emit(explain(error))

    def _layer(self, what: str, layer: Image | None) -> SourceLayer:
        if layer is None:
            raise ValueError(f"Choose a {what} layer.")
        if layer.rgb:
            raise ValueError(
                f"The {what} “{layer.name}” is a colour (RGB) image. Right-click the layer, choose “Split "
                "RGB”, and choose a channel."
            )
        return SourceLayer.from_layer(layer)

    def _sigma(self) -> tuple[float, ...]:
        meant = "one number, or Z, Y, X, for example 2, 1.2, 1.2"
        sigma = parse_numbers("Blur σ", self.form.sigma.value, meant)
        if sigma is None:
            raise ValueError("Enter the width of the blur: Blur σ, in voxels.")
        if not all(0 < value <= _LARGEST_SIGMA for value in sigma):
            raise ValueError(
                f"Blur σ is {self.form.sigma.value}; enter numbers above 0 and up to {_LARGEST_SIGMA}."
            )
        return sigma

    def _from_optics(self) -> OpticsPsf:
        # A line that cannot be read is told of before one that is empty.
        numbers = self._numbers()
        for name in _NEEDED:
            if numbers[name] is None:
                raise ValueError(f"Enter the {label(OpticsPsf, name)}.")
        return OpticsPsf(self.form.microscope.value, **numbers)

    def _numbers(self) -> dict[str, Any]:
        """Read the lines of the optics."""
        lines = {name: self.form.lines[name].value for name in self.form.shown_lines()}
        numbers: dict[str, Any] = {
            "voxel_size": parse_steps(lines.pop("voxel_size", "")),
            "shape": parse_sizes(label(OpticsPsf, "shape"), lines.pop("shape")),
        }
        for name, text in lines.items():
            title = label(OpticsPsf, name)
            if name in _PER_CHANNEL:
                numbers[name] = parse_wavelengths(title, text)
            else:
                numbers[name] = parse_number(title, text)
        return numbers

    def _on_layers(self, event: Any = None) -> None:
        for layer in self.viewer.layers:
            if isinstance(layer, Image) and id(layer) not in self._watched:
                self._watched.add(id(layer))
                self.subscriptions.add(self._fill, layer.events.name)
                events = (getattr(layer.events, name) for name in _RELEVANT)
                self.subscriptions.add(self._on_layer_changed, *events)
        self._fill()

    def _fill(self, event: Any = None) -> None:
        before = self.layer
        images = [layer for layer in self.viewer.layers if isinstance(layer, Image) and not is_preview(layer)]
        self._filling = True
        for combo in (self.form.layer, self.form.beads):
            chosen = combo.value
            combo.choices = [(layer.name, layer) for layer in images]
            combo.value = chosen if chosen in images else None
        self._filling = False
        if before is not None:  # removed or renamed
            self.changed.emit()

    def _on_layer_changed(self, event: Any) -> None:
        if event.source is self.layer:
            self.changed.emit()

    def _on_kind(self, *_: Any) -> None:
        self.form.show_rows()
        self.changed.emit()

    def _on_changed(self, *_: Any) -> None:
        if not self._filling:
            self.changed.emit()


def _made(
    source: PsfSource, image: tuple[SourceLayer, str] | None, work: Callable[[Psf], Any], stop: Stop
) -> Any:
    layer, axes = image or (None, "ZYX")
    with garbage_collection.held():
        return work(source.load(layer, axes, stop))


def _copied(psf: Psf) -> Psf:
    # The user may change a layer.
    return replace(psf, values=np.array(psf.values))


def _write(path: Path, replace: bool, psf: Psf) -> Path:
    from napari_lucyd.io import write_image

    return write_image(
        path,
        psf.values,
        axes=psf.axes,
        voxel_size=psf.steps,
        unit="micrometer" if psf.unit == "µm" else None,
        metadata={"shows": "psf", **psf.origin},
        overwrite=replace,
    )
