"""The estimate of the next run: renewed when settings change, and shown in the sections and the footer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_lucyd._napari.deconvolve.choices.region import DRAW
from napari_lucyd._napari.deconvolve.choices.sections import Sections
from napari_lucyd._napari.deconvolve.planning import choice_text, estimate, estimate_lines
from napari_lucyd._napari.deconvolve.status.footer import Footer
from napari_lucyd._napari.deconvolve.task import Estimate, EstimateRequest
from napari_lucyd._napari.deconvolve.zarr_plan import resumes
from napari_lucyd._napari.preview.live import PreviewRequest
from napari_lucyd._napari.widgets.fields import mark_fields
from napari_lucyd._napari.widgets.layout import set_note
from napari_lucyd._napari.workers.latest import LatestOnly
from napari_lucyd.psf.cleaning import UNLIKE_A_POINT

if TYPE_CHECKING:
    from napari_lucyd._napari.layers.source_layer import SourceLayer
    from napari_lucyd.referee import Examination

# Dragging a slider does not start an estimate for each of its steps.
_SETTLE_MS = 250


class EstimateView(QObject):
    """Estimates in a worker what Run would do, and shows it.

    Parameters
    ----------
    sections
        The settings; they show what was found about each.
    footer
        Shows the lines above Run, and enables it.
    is_running
        True while a run is in progress.
    examination
        Returns the examination of an image, or None.
    parent
        The panel.
    """

    accepted = Signal()
    """There is an estimate: all settings are valid. It is not shown yet."""
    shown = Signal()
    """The estimate, or the reason for none, is shown."""

    def __init__(
        self,
        sections: Sections,
        footer: Footer,
        is_running: Callable[[], bool],
        examination: Callable[[SourceLayer], Examination | None],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self.entries: list[Estimate] = []
        self._choice = ""
        self._sections, self._footer, self._is_running = sections, footer, is_running
        self._examination = examination
        self.work = LatestOnly(
            self._request, lambda request, stop: estimate(request.tasks, stop), _SETTLE_MS, self
        )
        self.work.ready.connect(self._on_ready)
        self.work.failed.connect(self._on_refused)
        self.refresh = self.work.refresh
        sections.changed.connect(self.refresh)

    def preview_request(self) -> PreviewRequest | None:
        """Return the layer and choices of the latest estimate for the live preview, or None."""
        layer, entry = self._sections.image.layer, self._of_shown_image()
        if layer is None or entry is None or entry.job is None or entry.task.parameters.classical:
            return None
        # A colour image is shown while Run processes the others that are selected.
        if entry.task.source.name != layer.name:
            return None
        return PreviewRequest(layer, entry.job.axes, entry.model, dict(entry.options))

    def forget_files(self) -> None:
        """Clear the lines about a folder, because a run has changed it; the next estimate looks again."""
        if any(entry.store is not None for entry in self.entries):
            set_note(self._footer.estimate, "")
            self._footer.show_resume(False)

    def show_choice(self, *_: object) -> None:
        """Say how Automatic chooses the method, also when an examination has ended or a run has begun."""
        line, before = self._footer.estimate, self._choice
        if before:
            text = line.text().replace(before, self._chosen())
            set_note(line, text, problem=bool(line.property("problem")))

    def _chosen(self) -> str:
        found = self._examination(self.entries[0].task.source) if self.entries else None
        self._choice = choice_text(self.entries, found, running=self._is_running())
        return self._choice

    def _request(self) -> EstimateRequest | None:
        # Run and estimate would compete for the processors; the end of the run asks again.
        if self._is_running():
            return None
        if self._sections.image.is_reading:  # asked again when it is read
            self._footer.run.enabled = False
            return None
        return EstimateRequest(self._sections.tasks())

    def _on_ready(self, entries: list[Estimate] | None) -> None:
        if entries is None:
            return
        sections, footer = self._sections, self._footer
        self.entries = entries
        self.accepted.emit()
        if sections.method.uses_microscope:
            sections.microscope.remember()
        sections.method.list_devices()
        sections.model.describe()
        sections.show_method()  # the model is loaded now, so its outputs are known
        shown = self._of_shown_image()
        self._show_psf(shown)
        sections.destination.show_estimate(entries)
        if shown is None:
            self._show_image(None)
            set_note(footer.estimate, "Open an image to deconvolve.")
            self._mark("")
            footer.run.enabled = False
            return
        self._show_image(shown)
        sections.region.show_estimate(shown)
        lines = "\n".join(estimate_lines(entries, self._chosen()))
        set_note(footer.estimate, lines, problem=UNLIKE_A_POINT in lines or any(e.error for e in entries))
        self._mark(" ".join(entry.error for entry in entries))
        footer.run.enabled = any(entry.job for entry in entries) and not self._is_running()
        footer.show_resume(any(entry.store is not None and resumes(entry.store) for entry in entries))
        self.shown.emit()

    def _on_refused(self, text: str) -> None:
        self.entries = []
        self._show_psf(None)
        self._show_image(None)
        if text == DRAW:  # no fault, and the line below says it
            text = ""
        set_note(self._footer.estimate, text, problem=bool(text))
        self._mark(text)
        self._footer.run.enabled = False
        self._footer.show_resume(False)
        self.shown.emit()

    def _mark(self, text: str) -> None:
        """Mark the fields that a problem names."""
        image = self._sections.image
        for section in self._sections.shown:
            # The image's voxel size and that of the optics have one label.
            mark_fields(section, text if (section is image) is bool(image.problem) else "")

    def _show_image(self, entry: Estimate | None) -> None:
        """Show the axes and the voxel size, also while a run is not possible yet."""
        sections = self._sections
        if entry is not None and entry.job is not None:
            sections.image.show_estimate(entry)
        else:
            sections.image.show_layer(sections.method.dimension)
            sections.region.show_planes(sections.image.planes)

    def _show_psf(self, entry: Estimate | None) -> None:
        microscope = self._sections.microscope
        if entry is None:
            microscope.form.describe("")
            return
        source = entry.task.source
        axes = source.likely_axes(entry.task.parameters.axes)
        microscope.show_estimate(entry.psf_text, source.voxel_size_um(axes))

    def _of_shown_image(self) -> Estimate | None:
        layer = self._sections.image.layer
        if layer is None or not self.entries:
            return None
        same = (entry for entry in self.entries if entry.task.source.name == layer.name)
        return next(same, self.entries[0])
