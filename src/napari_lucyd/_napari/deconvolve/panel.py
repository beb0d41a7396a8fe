"""The Deconvolve panel: its parts, and how they work together."""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from napari.utils.notifications import show_info, show_warning
from qtpy.QtWidgets import QApplication

from napari_lucyd._napari.deconvolve.adaptation.window import AdaptationWindow
from napari_lucyd._napari.deconvolve.batch.window import BatchWindow
from napari_lucyd._napari.deconvolve.choices.advanced import AdvancedSection
from napari_lucyd._napari.deconvolve.choices.destination import DestinationSection
from napari_lucyd._napari.deconvolve.choices.entered import Entered
from napari_lucyd._napari.deconvolve.choices.input_image import ImageSection
from napari_lucyd._napari.deconvolve.choices.method import MethodSection
from napari_lucyd._napari.deconvolve.choices.microscope import MicroscopeSection
from napari_lucyd._napari.deconvolve.choices.region import RegionSection
from napari_lucyd._napari.deconvolve.footer import CANCEL_KEYS, PREVIEW_KEYS, RUN_KEYS, Footer
from napari_lucyd._napari.deconvolve.parameters import LUCYD, Parameters
from napari_lucyd._napari.deconvolve.planning import estimate, estimate_lines
from napari_lucyd._napari.deconvolve.referee_lines import ExaminationLine, ScoreLine
from napari_lucyd._napari.deconvolve.saver import Saver
from napari_lucyd._napari.deconvolve.session import DeconvolveSession
from napari_lucyd._napari.deconvolve.task import Estimate, EstimateRequest, Failed, Finished, ImageTask
from napari_lucyd._napari.deconvolve.zarr_plan import resumes, stems
from napari_lucyd._napari.layers.side_by_side import SideBySide, put_back
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.layers.viewer import is_psf, is_result, is_simulated
from napari_lucyd._napari.preview.live import LivePreview, PreviewRequest
from napari_lucyd._napari.widgets.layout import set_note, stack
from napari_lucyd._napari.widgets.panel import Panel
from napari_lucyd._napari.workers.events import Advanced
from napari_lucyd._napari.workers.latest import LatestOnly
from napari_lucyd.text import duration_text

if TYPE_CHECKING:
    import napari.viewer

LOADING = "Loading PyTorch…"
READY = "Ready."
RUNNING = (
    "A run is in progress. If you close the panel, it stops. Images that are done stay in the window, and "
    "blocks that are written into a folder can be resumed."
)
READING = "The file of the image is still being read for its voxel size. Press Run again in a moment."
NO_PREVIEW = "Live preview is not available for {}."
PREVIEW_OFF = "Switched off: it would cover the result."
_MESSAGES = 4
_WIDTH = 380
# Dragging a slider does not start an estimate for each of its steps.
_SETTLE_MS = 250
# Tiles may finish faster than anyone can read.
REDRAW_SECONDS = 0.2
# Nobody waits for such a run in front of the panel.
LONG_SECONDS = 60


class DeconvolveWidget(Panel):
    """Deconvolve image layers with a network, Richardson-Lucy or Wiener.

    Parameters
    ----------
    napari_viewer
        The viewer that the panel is docked in.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.estimates: list[Estimate] = []
        self.session = DeconvolveSession(self.viewer, self)
        self.grid = SideBySide(self.viewer, self._on_view_taken)
        self.preview = LivePreview(self.viewer, self.preview_request, self)
        self.method = MethodSection()
        self.model = self.method.model
        self.microscope = MicroscopeSection(self.viewer, self._shown_image)
        self.image = ImageSection(self.viewer, self._is_psf)
        self.examination = ExaminationLine(
            self._shown_image, self.microscope, lambda: self.session.is_running or self.image.is_reading, self
        )
        self.image.add("", self.examination.line)
        self.region = RegionSection(self.viewer, lambda: self.image.layer)
        self.destination = DestinationSection()
        self.advanced = AdvancedSection()
        self.footer = Footer()
        self.status = self.footer.status
        self.adaptation = AdaptationWindow(self._shown_image, self.microscope, self.model, self)
        self.saver = Saver(
            self.viewer, self.results, self.image.source_of, lambda: str(self.footer.save_as.value), self
        )
        self.batch = BatchWindow(
            self.viewer, self.parameters, self.tasks, lambda: str(self.footer.save_as.value), self
        )
        self.entered = Entered(
            self.viewer, (self.method, self.destination, self.advanced, self.footer), self.microscope, self
        )
        blur = self.microscope.form
        sections = (self.image, self.method, blur, self.region, self.destination, self.advanced)
        stack(self, sections, self.footer, _WIDTH)
        self.estimator = LatestOnly(
            self._estimate_request, lambda request, stop: estimate(request.tasks, stop), _SETTLE_MS, self
        )
        self.score = ScoreLine(self.footer.score, self.footer.score_note, self.session, self)
        self._sources: list[weakref.ref[Image]] = []
        self._failures: list[str] = []
        self._messages: list[str] = []
        self._drawn = 0.0
        self._keeping = False
        self._connect()
        self._show_method()
        self._offer_results()
        if self.image.layer is not None:
            self._on_picked(self.image.layer)
        self.tell(LOADING)
        self.estimator.refresh()

    def running_text(self) -> str:
        """See `Panel.running_text`."""
        return RUNNING if self.session.is_running or self.batch.session.is_running else ""

    def _connect(self) -> None:
        self.add_shortcut(RUN_KEYS, self.footer.run)
        self.add_shortcut(CANCEL_KEYS, self.footer.cancel)
        self.add_shortcut(PREVIEW_KEYS, self.footer.preview)
        footer, session = self.footer, self.session
        self.image.picked.connect(self._on_picked)
        for examined in (self.image.picked, self.image.changed, self.microscope.changed):
            examined.connect(self.examination.refresh)
        for section in (self.image, self.region, self.destination, self.advanced):
            section.changed.connect(self.estimator.refresh)
        self.method.chosen.connect(self._on_method)
        self.advanced.flips.changed.connect(self._show_method)
        self.model.changed.connect(self._show_method)
        self.image.optics_changed.connect(self._on_optics)
        # A layer that is used as the PSF is not offered as the image.
        for changed in (self.method.changed, self.microscope.changed):
            changed.connect(self.image.refresh)
        for told in (self.model.told, self.microscope.told_user, self.region.told):
            told.connect(self.tell)
        for failed in (self.model.failed, self.microscope.failed):
            failed.connect(self.complain)
        self.estimator.ready.connect(self._on_estimates)
        self.estimator.failed.connect(self._on_refused)
        footer.run.changed.connect(self.run)
        footer.batch.changed.connect(lambda *_: self.batch.show())
        footer.cancel.changed.connect(session.cancel)
        footer.stop_and_keep.changed.connect(self._on_stop_and_keep)
        footer.keep.changed.connect(self._on_keep)
        footer.anyway.changed.connect(self._run_anyway)
        footer.inspect.changed.connect(self._inspect)
        footer.discard.changed.connect(self._on_discard)
        footer.replace.changed.connect(self._on_replace)
        footer.use_settings.changed.connect(self.entered.use_result)
        footer.side_by_side.native.toggled.connect(self._on_side_by_side)
        footer.save_menu.aboutToShow.connect(self._fill_save_menu)
        footer.preview.toggled.connect(self.preview.set_enabled)
        self.preview.status.connect(footer.preview_note.setText)
        self.preview.dismissed.connect(lambda: footer.preview.setChecked(False))
        session.started.connect(self._on_started)
        session.told.connect(self.tell)
        session.computing.connect(footer.show_computing)
        session.advanced.connect(self._on_advanced)
        session.failed.connect(self._on_failed)
        session.finished.connect(self._on_finished)
        session.concluded.connect(self._on_concluded)
        session.ended.connect(self._on_ended)
        for source in (self.saver, self.entered):
            source.told.connect(self.tell)
            source.failed.connect(self.complain)
        layers = self.viewer.layers
        events = (layers.events.inserted, layers.events.removed, layers.selection.events.changed)
        self.subscriptions.add(self._offer_results, *events)
        self.subscriptions.add(self._take_psf, layers.events.inserted)
        # The preview's thread and layer go with the panel, and so does the grid.
        self.destroyed.connect(partial(_close, self.preview))
        self.destroyed.connect(partial(put_back, self.grid))

    # The next run

    def parameters(self) -> Parameters:
        """Return the present choices.

        Raises
        ------
        ValueError
            If one of them cannot be carried out; the message says why.
        """
        chosen = {
            **self.method.parameters(),
            **self.region.parameters(),
            **self.destination.parameters(),
            **self.advanced.parameters(self.method.name),
        }
        if not chosen["outputs"]:
            raise ValueError("Choose at least one output.")
        method = self.method
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
        parameters = self.parameters()
        folder = parameters.folder
        names = [layer.name for layer in targets]
        files = [None] * len(names) if folder is None else stems(folder, names)
        tasks = []
        for layer, stem in zip(targets, files, strict=True):
            if self._is_psf(layer):
                raise ValueError(
                    f"“{layer.name}” is both the image and the PSF. Choose another layer for one of them."
                )
            source = self.image.source_of(layer)
            axes = self.image.axes_of(layer, len(source.shape))
            tasks.append(ImageTask(source, parameters.with_axes(axes), self.region.view_of(layer), stem))
        return tasks

    def _on_picked(self, layer: Image | None) -> None:
        if layer is not None:
            self.model.suit(layer.ndim)
            self._show_method()
        # The last messages were about another image. A finished part can still be kept.
        if not (self.session.is_running or self.session.partial) and self.status.text() != LOADING:
            self.footer.show_ready()
            self.tell(READY)
        self._take_psf()

    def _take_psf(self, event: Any = None) -> None:
        """Use the PSF of a simulated image, unless something is told about the blur already."""
        layer, psfs = self.image.layer, [layer for layer in self.viewer.layers if is_psf(layer)]
        if len(psfs) == 1 and layer is not None and is_simulated(layer) and self.microscope.blank:
            self.microscope.take_layer(psfs[0])

    def _on_optics(self, optics: Any) -> None:
        self.microscope.fill(optics)

    def _on_method(self) -> None:
        footer, classical = self.footer, self.method.classical
        self._show_method()
        # The live preview is for networks.
        footer.preview.setEnabled(not classical)
        self.preview.set_enabled(footer.preview.isChecked() and not classical)
        if classical:
            footer.preview_note.setText(NO_PREVIEW.format(self.method.shown_name))
        elif not footer.preview.isChecked():
            footer.preview_note.setText("")

    def _show_method(self, *_: Any) -> None:
        """Show the controls that the method has, and hide the others."""
        classical = self.method.classical
        self.microscope.form.setVisible(self.method.uses_microscope)
        self.advanced.show_method(self.method.name)
        flips = not classical and self.advanced.flips.value
        self.destination.show_outputs(("output",) if flips else self.method.parts)

    def _is_psf(self, layer: Any) -> bool:
        return self.method.uses_microscope and self.microscope.is_layer(layer)

    def _shown_image(self) -> tuple[SourceLayer, str] | None:
        """Return the image that a PSF is for, and its axes."""
        layer = self.image.layer
        if layer is None:
            return None
        source = self.image.source_of(layer)
        return source, source.likely_axes(self.image.axes_of(layer, len(source.shape)))

    def _estimate_request(self) -> EstimateRequest | None:
        # Run and estimate would compete for the processors; the end of the run asks again.
        if self.session.is_running:
            return None
        if self.image.is_reading:  # asked again when it is read
            self.footer.run.enabled = False
            return None
        return EstimateRequest(self.tasks())

    def _on_estimates(self, estimates: list[Estimate] | None) -> None:
        if estimates is None:
            return
        footer = self.footer
        self.estimates = estimates
        # All entries are valid.
        self.entered.keep()
        if self.method.uses_microscope:
            self.microscope.remember()
        self.method.list_devices()
        if self.status.text() == LOADING:
            self.tell(READY)
        self.model.describe()
        self._show_method()  # the model is loaded now, so its outputs are known
        shown = self._shown_estimate()
        self._show_psf(shown)
        self.destination.show_estimate(estimates)
        if shown is None:
            set_note(footer.estimate, "Open an image to deconvolve.")
            footer.run.enabled = False
            return
        self._show_image(shown)
        self.region.show_estimate(shown)
        lines = "\n".join(estimate_lines(estimates))
        set_note(footer.estimate, lines, problem=any(e.error for e in estimates))
        footer.run.enabled = any(entry.job for entry in estimates) and not self.session.is_running
        footer.show_resume(any(entry.store is not None and resumes(entry.store) for entry in estimates))
        self.preview.refresh()

    def _show_image(self, shown: Estimate | None) -> None:
        """Show the axes and the voxel size, also while a run is not possible yet."""
        if shown is not None and shown.job is not None:
            self.image.show_estimate(shown)
        else:
            self.image.show_layer(self.method.dimension)
            self.region.show_planes(self.image.planes)

    def _show_psf(self, shown: Estimate | None) -> None:
        if shown is None:
            self.microscope.form.describe("")
            return
        source = shown.task.source
        axes = source.likely_axes(shown.task.parameters.axes)
        self.microscope.show_estimate(shown.psf_text, source.voxel_size_um(axes))

    def _on_refused(self, text: str) -> None:
        self.estimates = []
        self.microscope.form.describe("")
        self._show_image(None)
        set_note(self.footer.estimate, text, problem=True)
        self.footer.run.enabled = False
        self.footer.show_resume(False)
        self.preview.refresh()

    def _shown_estimate(self) -> Estimate | None:
        layer = self.image.layer
        if layer is None or not self.estimates:
            return None
        same = (entry for entry in self.estimates if entry.task.source.name == layer.name)
        return next(same, self.estimates[0])

    def preview_request(self) -> PreviewRequest | None:
        """Return the layer and choices of the latest estimate for the live preview, or None."""
        layer, entry = self.image.layer, self._shown_estimate()
        if layer is None or entry is None or entry.job is None or entry.task.parameters.classical:
            return None
        return PreviewRequest(layer, entry.job.axes, entry.model, dict(entry.options))

    # The run

    def run(self, *_: Any) -> None:
        """Deconvolve the chosen layers with the choices as they stand."""
        try:
            tasks = self.tasks()
            self._sources = [weakref.ref(layer) for layer in self.image.targets()]
            self.session.start(tasks)
        except ValueError as error:
            self.complain(str(error))
            return

    def _on_started(self) -> None:
        self._failures, self._messages, self._keeping = [], [], False
        self.footer.show_run("Preparing…")
        self._drawn = 0.0
        self.preview.pause()

    def _on_advanced(self, event: Advanced) -> None:
        self.footer.stop_and_keep.native.setVisible(event.keeps_estimates)
        if event.curve:
            self.footer.curve.show_points(event.curve)
        now = time.monotonic()
        if now - self._drawn < REDRAW_SECONDS and event.done < event.total:
            return
        self._drawn = now
        bar = self.footer.progress
        bar.max, bar.value = event.total, event.done
        left = "" if event.seconds_left is None else f"  ·  {duration_text(event.seconds_left)} left"
        bar.native.setFormat(f"%p %{left}")

    def _on_failed(self, event: Failed) -> None:
        self._failures.append(f"“{event.task.source.name}” was not deconvolved: {event.text}")
        self.complain(self._failures[-1])

    def _on_finished(self, event: Finished) -> None:
        text = f"“{event.task.source.name}” done in {duration_text(event.seconds)} on {event.device}."
        self._messages += [text, *event.warnings]

    def _on_concluded(self, lines: tuple[str, ...]) -> None:
        self._messages += lines

    def _on_ended(self) -> None:
        part, footer = self.session.partial, self.footer
        complete = bool(self.session.results) and part is None and not self.session.halted
        footer.show_end(complete=complete, partial=part is not None)
        if part is not None and self._keeping:
            self._on_keep()
        self._tell_all()
        footer.replace.native.setVisible(bool(self.session.earlier()))
        self._notify()
        self.footer.anyway.native.setVisible(bool(self.session.left_alone))
        self.preview.resume()
        if self.session.results and self.preview.enabled:
            self.footer.preview.setChecked(False)
            self.footer.preview_note.setText(PREVIEW_OFF)
        self.estimator.refresh()

    def _inspect(self, *_: Any) -> None:
        self.viewer.window.add_plugin_dock_widget("napari-lucyd", "Inspect")

    def _run_anyway(self, *_: Any) -> None:
        tasks = self.session.left_alone
        self.session.start(
            [replace(task, parameters=replace(task.parameters, method=LUCYD)) for task in tasks]
        )

    def _on_stop_and_keep(self, *_: Any) -> None:
        self._keeping = True
        self.session.keep_estimate()

    def _on_keep(self, *_: Any) -> None:
        self.footer.partial.hide()
        self._messages = ["Kept the finished part; the rest of the image is empty."]
        self.session.keep_partial()

    def _on_discard(self, *_: Any) -> None:
        self.footer.partial.hide()
        self.session.discard_partial()
        self._messages = ["Discarded."]
        self._tell_all()

    def _on_replace(self, *_: Any) -> None:
        self.footer.replace.native.hide()
        self.session.replace_earlier()

    # The results

    def results(self) -> list[Image]:
        """Return the layers that the buttons act on: those of the last run that are still there, else all."""
        layers = self.viewer.layers
        last = [layer for layer in self.session.results if layer in layers]
        return last or [layer for layer in layers if isinstance(layer, Image) and is_result(layer)]

    def _offer_results(self, event: Any = None) -> None:
        """Enable the buttons while there are results, also those of an earlier panel."""
        # In the side-by-side view the button must stay enabled, to put the view back.
        active = self.viewer.layers.selection.active
        self.footer.use_settings.native.setVisible(active is not None and is_result(active))
        results = bool(self.results())
        if not (self.session.is_running or self.session.earlier()):
            self.footer.replace.native.hide()
        self.footer.side_by_side.enabled = self.grid.is_on or results
        self.footer.inspect.enabled = results
        self.footer.save.enabled = self.footer.save_as.enabled = results or bool(self.saver.selected())

    def _fill_save_menu(self) -> None:
        self.saver.fill(self.footer.save_menu)

    def _on_side_by_side(self, on: bool) -> None:
        if on:
            sources = [layer for ref in self._sources if (layer := ref()) in self.viewer.layers]
            self.grid.show([*sources, *self.results()])
        else:
            self.grid.hide()
            self._offer_results()

    def _on_view_taken(self) -> None:
        self.footer.side_by_side.native.setChecked(False)

    def save(self, targets: Mapping[Path, Image]) -> None:
        """Write layers to files that do not exist yet, in the background."""
        self.saver.save(targets)

    def _notify(self) -> None:
        """Tell of the end of a long run: the user may have turned to something else."""
        if self.session.seconds >= LONG_SECONDS:
            show = show_warning if self._failures or self.session.halted else show_info
            show(self.status.text() or "The run has ended.")
            QApplication.alert(self.window())

    def _tell_all(self) -> None:
        """Show each image that failed, and the last messages of the run."""
        lines = [*self._failures, *self._messages[-_MESSAGES:]]
        if lines:
            set_note(self.status, "\n".join(lines), problem=bool(self._failures))


def _close(preview: LivePreview, *_: Any) -> None:
    preview.close()
