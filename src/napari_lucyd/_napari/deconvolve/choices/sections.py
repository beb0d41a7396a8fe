"""All sections of the Deconvolve panel, and the tasks that their settings make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_lucyd._napari.deconvolve.choices.advanced import AdvancedSection
from napari_lucyd._napari.deconvolve.choices.destination import DestinationSection
from napari_lucyd._napari.deconvolve.choices.input_image import ImageSection
from napari_lucyd._napari.deconvolve.choices.method import MethodSection
from napari_lucyd._napari.deconvolve.choices.microscope import MicroscopeSection
from napari_lucyd._napari.deconvolve.choices.region import RegionSection
from napari_lucyd._napari.deconvolve.parameters import Parameters
from napari_lucyd._napari.deconvolve.task import ImageTask
from napari_lucyd._napari.deconvolve.zarr_plan import stems
from napari_lucyd._napari.layers.source_layer import RGB, SourceLayer
from napari_lucyd._napari.layers.viewer import psf_of
from napari_lucyd._napari.psf.form import BEADS

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from qtpy.QtWidgets import QWidget

READING = "The file of the image is still being read for its voxel size. Press Run again in a moment."


class Sections(QObject):
    """The sections of the panel, and their dependence on each other. Each section owns its controls.

    Parameters
    ----------
    viewer
        The viewer with the images.
    parent
        The panel.
    """

    changed = Signal()
    """A setting that the next run depends on."""
    told = Signal(str)
    failed = Signal(str)

    def __init__(self, viewer: Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.method = MethodSection()
        self.model = self.method.model
        self.microscope = MicroscopeSection(viewer, self.shown_image)
        self.image = ImageSection(viewer, self._is_psf)
        self.region = RegionSection(viewer, lambda: self.image.layer)
        self.destination = DestinationSection()
        self.advanced = AdvancedSection()
        for section in (self.image, self.region, self.destination, self.advanced):
            section.changed.connect(self.changed)
        self.method.chosen.connect(self.show_method)
        self.advanced.flips.changed.connect(self.show_method)
        self.model.changed.connect(self.show_method)
        self.image.optics_changed.connect(self._on_optics)
        # A layer that is used as the PSF is not offered as the image.
        for changed in (self.method.changed, self.microscope.changed):
            changed.connect(self.image.refresh)
        for told in (self.model.told, self.microscope.told_user, self.region.told):
            told.connect(self.told)
        for failed in (self.model.failed, self.microscope.failed):
            failed.connect(self.failed)
        self.microscope.show_image(self.image.layer)
        self.show_method()

    @property
    def shown(self) -> tuple[QWidget, ...]:
        """The sections from top to bottom."""
        blur = self.microscope.form
        return self.image, self.method, blur, self.region, self.destination, self.advanced

    @property
    def shares_scaling(self) -> bool:
        """True if all time points of an image are scaled together; a classical method scales none."""
        return not self.method.classical and "T" not in self.advanced.separate.value

    def parameters(self) -> Parameters:
        """Return the present choices.

        Raises
        ------
        ValueError
            If one of them cannot be carried out; the message says why.
        """
        method = self.method
        chosen = {
            **method.parameters(),
            **self.region.parameters(),
            **self.destination.parameters(),
            **self.advanced.parameters(method.name),
        }
        if not chosen["outputs"]:
            raise ValueError("Choose at least one output.")
        told = self.microscope.choice(needed=method.needs_psf) if method.uses_microscope else None
        return Parameters(microscope=told, **chosen)

    def tasks(self) -> list[ImageTask]:
        """Return what Run would do now.

        Raises
        ------
        ValueError
            If a choice cannot be carried out; the message says why.
        """
        targets = self.image.targets()
        if not targets:
            return []
        if self.image.is_reading:
            raise ValueError(READING)
        # A fault of the image is told of before a missing PSF.
        sources = [self.image.source_of(layer) for layer in targets]
        parameters = self.parameters()
        folder = parameters.folder
        names = [layer.name for layer in targets]
        files = [None] * len(names) if folder is None else stems(folder, names)
        tasks = []
        for layer, source, stem in zip(targets, sources, files, strict=True):
            if self._is_psf(layer):
                other = "bead layer" if self.microscope.form.kind.value == BEADS else "PSF"
                raise ValueError(
                    f"“{layer.name}” is both the image and the {other}. Choose another layer for one of them."
                )
            axes = self.image.axes_of(layer, len(source.shape))
            tasks.append(ImageTask(source, parameters.with_axes(axes), self.region.view_of(layer), stem))
        return tasks

    def refused(self) -> list[tuple[str, str]]:
        """Return the name of each selected layer that `tasks` leaves out, and the reason."""
        return [(layer.name, RGB.format(layer.name)) for layer in self.image.left_out()]

    def shown_image(self) -> tuple[SourceLayer, str] | None:
        """Return the image that a PSF is for, and its axes."""
        layer = self.image.layer
        if layer is None:
            return None
        source = self.image.source_of(layer)
        return source, source.likely_axes(self.image.axes_of(layer, len(source.shape)))

    def suit(self, layer: Image) -> None:
        """Choose a model that suits an image."""
        self.model.suit(layer.ndim)
        self.show_method()

    def take_psf(self, event: Any = None) -> None:
        """Use the PSF of a simulated image, unless something is told about the blur already.

        The PSF of one image is not that of the next, and a PSF whose layer was removed is none.
        """
        psf, microscope = psf_of(self.image.layer, self._viewer.layers), self.microscope
        if psf is None:
            microscope.give_back()
        elif microscope.blank or microscope.has_taken:
            microscope.take_layer(psf)

    def show_method(self, *_: Any) -> None:
        """Show the controls that the method has, and hide the others."""
        self.microscope.form.setVisible(self.method.uses_microscope)
        self.microscope.form.show_description(self.method.needs_psf)
        self.advanced.show_method(self.method.name)
        flips = not self.method.classical and self.advanced.flips.value
        self.destination.show_outputs(("output",) if flips else self.method.parts)

    def _on_optics(self, optics: Any) -> None:
        layer = self.image.layer
        # The file may state optics, too.
        waits = layer is not None and self.image.files.is_pending(layer)
        self.microscope.show_image(None if waits else layer)
        self.microscope.fill(optics)

    def _is_psf(self, layer: Any) -> bool:
        return self.method.uses_microscope and self.microscope.is_layer(layer)
