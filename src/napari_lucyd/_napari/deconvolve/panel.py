"""The Deconvolve panel: its parts, and how they work together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image

from napari_lucyd._napari.deconvolve.adaptation.window import AdaptationWindow
from napari_lucyd._napari.deconvolve.batch.window import BatchWindow
from napari_lucyd._napari.deconvolve.choices.entered import Entered
from napari_lucyd._napari.deconvolve.choices.sections import Sections
from napari_lucyd._napari.deconvolve.session import DeconvolveSession
from napari_lucyd._napari.deconvolve.status.estimate_view import EstimateView
from napari_lucyd._napari.deconvolve.status.footer import CANCEL_KEYS, PREVIEW_KEYS, RUN_KEYS, Footer
from napari_lucyd._napari.deconvolve.status.referee_lines import ExaminationLine, ScoreLine
from napari_lucyd._napari.deconvolve.status.result_buttons import ResultButtons
from napari_lucyd._napari.deconvolve.status.run_view import RunView
from napari_lucyd._napari.layers.viewer import unfinished_folder
from napari_lucyd._napari.preview.live import LivePreview
from napari_lucyd._napari.widgets.layout import stack
from napari_lucyd._napari.widgets.panel import Panel
from napari_lucyd._napari.workers.events import explain

if TYPE_CHECKING:
    import napari.viewer

LOADING = "Loading PyTorch…"
READY = "Ready."
RUNNING = (
    "A run is in progress. If you close the panel, it stops. Images that are done stay in the window, and "
    "blocks that are written into a folder can be resumed."
)
TRAINING = (
    "A model is being trained. If you close the panel, the training ends early. Its best state so far is "
    "saved if it is better than the model that it began with."
)
PREVIEW_OF_LUCYD = "{} · LUCYD. Run takes the method that Automatic chooses."
NO_PREVIEW = "Live preview is not available for {}."
PREVIEW_OFF = "Switched off: it would cover the result."
_WIDTH = 400


class DeconvolveWidget(Panel):
    """Deconvolve image layers with a network, Richardson-Lucy or Wiener.

    Parameters
    ----------
    napari_viewer
        The viewer that the panel is docked in.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.session = DeconvolveSession(self.viewer, self)
        self.sections = sections = Sections(self.viewer, self)
        self.method, self.model, self.microscope = sections.method, sections.model, sections.microscope
        self.image, self.region = sections.image, sections.region
        self.destination, self.advanced = sections.destination, sections.advanced
        self.examination = ExaminationLine(
            sections.shown_image,
            self.microscope,
            lambda: self.session.is_running or self.image.is_reading,
            lambda: sections.shares_scaling,
            self,
        )
        self.image.rows.addRow(self.examination.line)
        self.footer = Footer()
        self.status = self.footer.status
        self.estimate = EstimateView(
            sections, self.footer, lambda: self.session.is_running, self.examination.found_in, self
        )
        self.estimator = self.estimate.work
        self.preview = LivePreview(self.viewer, self.estimate.preview_request, self)
        self.adaptation = AdaptationWindow(sections.shown_image, self.microscope, self.model, self)
        self.batch = BatchWindow(
            self.viewer,
            sections.parameters,
            sections.tasks,
            sections.refused,
            lambda: str(self.footer.save_as.value),
            self,
        )
        self.entered = Entered(
            self.viewer, (self.method, self.destination, self.advanced, self.footer), self.microscope, self
        )
        # A run that ended when its panel was closed is resumed by Run.
        folder = unfinished_folder(self.viewer.layers)
        if folder is not None:
            self.destination.take(folder)
        stack(self, sections.shown, self.footer, _WIDTH)
        self.run_view = RunView(self.session, self.footer, self.examination.without_repeats, self)
        self.buttons = ResultButtons(self.viewer, self.session, self.footer, self.image.source_of, self)
        self.score = ScoreLine(
            self.footer.score,
            self.footer.score_note,
            self.session,
            self.examination.refer,
            lambda: self.destination.is_files,
            self,
        )
        self.destination.changed.connect(self.score.write)
        self._connect()
        if self.image.layer is not None:
            self._on_picked(self.image.layer)
        self.tell(LOADING)
        self.estimator.refresh()

    def running_text(self) -> str:
        """See `Panel.running_text`."""
        if self.session.is_running or self.batch.session.is_running:
            return RUNNING
        return TRAINING if self.adaptation.is_running else ""

    def run(self, *_: Any) -> None:
        """Deconvolve the chosen layers with the choices as they stand."""
        try:
            tasks = self.sections.tasks()
            self.buttons.note_sources(self.image.targets())
            self.session.start(tasks)
        except ValueError as error:
            self.complain(explain(error))

    def _connect(self) -> None:
        self.add_shortcut(RUN_KEYS, self.footer.run)
        self.add_shortcut("Ctrl+Enter", self.footer.run)  # Qt's name of the key on the numeric keypad
        self.add_shortcut(CANCEL_KEYS, self.footer.cancel)
        self.add_shortcut(PREVIEW_KEYS, self.footer.preview)
        footer, session = self.footer, self.session
        self.image.picked.connect(self._on_picked)
        for examined in (self.image.picked, self.image.changed, self.microscope.changed):
            examined.connect(self.examination.refresh)
        for setting in (self.method.chosen, self.advanced.changed):
            setting.connect(self.examination.write)
        self.method.chosen.connect(self._on_method)
        self.estimate.accepted.connect(self.entered.keep)
        # Also settings that are not valid end the wait: they may be refused before PyTorch is loaded.
        for estimated in (self.estimate.accepted, self.estimate.shown):
            estimated.connect(self._on_estimated)
        self.estimate.shown.connect(self.preview.refresh)
        footer.run.changed.connect(self.run)
        footer.batch.changed.connect(lambda *_: self.batch.show())
        footer.use_settings.changed.connect(self.entered.use_result)
        # No estimate follows from them.
        for switched in (footer.score.toggled, footer.save_as.changed):
            switched.connect(lambda *_: self.entered.keep_of(footer))
        footer.preview.toggled.connect(self.preview.set_enabled)
        self.preview.status.connect(self._show_preview)
        self.preview.dismissed.connect(lambda: footer.preview.setChecked(False))
        session.told.connect(lambda text: self.tell(self.examination.refer(text)))
        session.started.connect(self.preview.pause)
        for known in (session.started, self.examination.examined):
            known.connect(self.estimate.show_choice)
        session.ended.connect(self._on_ended)
        for source in (self.sections, self.buttons.saver, self.entered):
            source.told.connect(self.tell)
            source.failed.connect(self.complain)
        layers = self.viewer.layers.events
        self.subscriptions.add(self.sections.take_psf, layers.inserted, layers.removed)
        self.subscriptions.add(self._on_removed, layers.removed)
        # The preview's thread and layer go with the panel.
        self.destroyed.connect(partial(_close, self.preview))

    def _on_picked(self, layer: Image | None) -> None:
        if layer is not None:
            self.sections.suit(layer)
        # The last messages were about another image. A finished part can still be kept.
        if self.run_view.is_over and self.status.text() != LOADING:
            self.footer.show_ready()
            self.score.clear()
            if self.footer.preview_note.text() == PREVIEW_OFF:
                self.footer.preview_note.setText("")
            self.tell(READY)
        self.sections.take_psf()

    def _on_removed(self, event: Any) -> None:
        """Forget what was said about the results of the last run when none of them is left."""
        results = self.session.results
        if results and self.run_view.is_over and not any(layer in self.viewer.layers for layer in results):
            self.footer.curve.show_points(())
            self.score.clear()

    def _on_method(self) -> None:
        footer, classical = self.footer, self.method.classical
        if self.run_view.is_over:
            # The curve is that of another method.
            footer.curve.show_points(())
        # The live preview is for networks.
        footer.preview.setEnabled(not classical)
        self.preview.set_enabled(footer.preview.isChecked() and not classical)
        if classical:
            footer.preview_note.setText(NO_PREVIEW.format(self.method.shown_name))
        elif not footer.preview.isChecked():
            footer.preview_note.setText("")

    def _show_preview(self, text: str) -> None:
        # A contest for each view would take longer than anyone waits for a preview.
        self.footer.preview_note.setText(
            PREVIEW_OF_LUCYD.format(text) if text and self.method.automatic else text
        )

    def _on_estimated(self) -> None:
        if self.status.text() == LOADING:
            self.tell(READY)

    def _on_ended(self) -> None:
        self.preview.resume()
        self.estimate.forget_files()
        if self.session.results and self.preview.enabled:
            self.footer.preview.setChecked(False)
            self.footer.preview_note.setText(PREVIEW_OFF)
        self.estimator.refresh()


def _close(preview: LivePreview, *_: Any) -> None:
    preview.close()
