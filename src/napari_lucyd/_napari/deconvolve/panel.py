"""The Deconvolve panel: its parts, and how they work together."""

from __future__ import annotations

import time
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from napari.utils.theme import get_theme
from qtpy.QtWidgets import QFileDialog, QVBoxLayout
from superqt.utils import create_worker

from napari_lucyd._napari.deconvolve.choices.destination import StoreChoice
from napari_lucyd._napari.deconvolve.choices.input_image import ImageChoice
from napari_lucyd._napari.deconvolve.choices.method import MethodChoice
from napari_lucyd._napari.deconvolve.choices.network_model import ModelChoice
from napari_lucyd._napari.deconvolve.choices.region import RegionChoice
from napari_lucyd._napari.deconvolve.estimator import Estimator, estimate_lines
from napari_lucyd._napari.deconvolve.form import Form
from napari_lucyd._napari.deconvolve.parameters import Parameters
from napari_lucyd._napari.deconvolve.session import Session
from napari_lucyd._napari.deconvolve.task import Estimate, Failed, Finished, ImageTask
from napari_lucyd._napari.deconvolve.zarr_plan import stems
from napari_lucyd._napari.layers import saving
from napari_lucyd._napari.layers.side_by_side import SideBySide, put_back
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.layers.viewer import is_result, unwrapped
from napari_lucyd._napari.preview.live import LivePreview, PreviewRequest
from napari_lucyd._napari.psf.choice import PsfChoice
from napari_lucyd._napari.widgets.fields import label, parse_halo, parse_step, parse_tile
from napari_lucyd._napari.widgets.layout import set_note
from napari_lucyd._napari.widgets.panel import Panel, Subscriptions
from napari_lucyd._napari.workers import torch_loading
from napari_lucyd._napari.workers.events import Advanced, explain
from napari_lucyd.text import duration_text

if TYPE_CHECKING:
    import napari.viewer

LOADING = "Loading PyTorch…"
_ISOTROPIC = {"auto": None, "on": True, "off": False}
_MESSAGES = 4
NO_PREVIEW = "With {} each voxel depends on all: a patch would take as long as Run."
# Tiles can be done far more often than a person can read.
REDRAW_SECONDS = 0.2


class DeconvolveWidget(Panel):
    """Deconvolve image layers with LUCYD, Richardson-Lucy or Wiener.

    Parameters
    ----------
    napari_viewer
        The viewer that the panel is docked in.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = unwrapped(napari_viewer)
        self.form = Form()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.form)
        self.estimates: list[Estimate] = []
        self.session = Session(self.viewer, self)
        self.grid = SideBySide(self.viewer, self._on_view_taken)
        self.preview = LivePreview(self.viewer, self.preview_request, self)
        # In this order: when another method is told of, its models are listed already.
        self.model = ModelChoice(self.form)
        self.method = MethodChoice(self.form)
        self.psf = PsfChoice(self.viewer, self.form.psf, self._shown_image)
        self.region = RegionChoice(self.viewer, self.form)
        self.store = StoreChoice(self.form)
        self.image = ImageChoice(self.viewer, self.form, self._is_psf)
        self.estimator = Estimator(self.tasks, lambda: self.session.is_running, self)
        self._sources: list[weakref.ref[Image]] = []
        self._failures: list[str] = []
        self._messages: list[str] = []
        self._drawn = 0.0
        self._connect()
        self._colour()
        self._offer_results()
        if self.image.layer is not None:
            self._on_picked(self.image.layer)
        self._tell(LOADING)
        self.estimator.refresh()

    def _connect(self) -> None:
        form, session = self.form, self.session
        self.image.picked.connect(self._on_picked)
        for choice in (self.image, self.model, self.region, self.store):
            choice.changed.connect(self.estimator.refresh)
        self.method.chosen.connect(self._on_method)
        # A layer that is the PSF is not taken as an image.
        for changed in (self.method.changed, self.psf.changed):
            changed.connect(self.image.refresh)
        controls = (form.normalization, form.isotropic, form.device, form.tile, form.halo, form.separate)
        for control in (*controls, *form.outputs.values(), *form.steps.values(), form.flips):
            control.changed.connect(self.estimator.refresh)
        for told in (self.model.told, self.psf.told, self.region.told):
            told.connect(self._tell)
        for failed in (self.model.failed, self.psf.failed):
            failed.connect(self._complain)
        self.estimator.ready.connect(self._on_estimates)
        self.estimator.refused.connect(self._on_refused)
        form.run.changed.connect(self.run)
        form.cancel.changed.connect(session.cancel)
        form.keep.changed.connect(self._on_keep)
        form.discard.changed.connect(self._on_discard)
        form.side_by_side.native.toggled.connect(self._on_side_by_side)
        form.save.changed.connect(self.ask_and_save)
        form.preview.toggled.connect(self.preview.set_enabled)
        self.preview.status.connect(form.preview_note.setText)
        session.started.connect(self._on_started)
        session.told.connect(self._tell)
        session.advanced.connect(self._on_advanced)
        session.failed.connect(self._on_failed)
        session.finished.connect(self._on_finished)
        session.concluded.connect(self._on_concluded)
        session.ended.connect(self._on_ended)
        self.subscriptions = Subscriptions(self)
        self.subscriptions.add(self._colour, self.viewer.events.theme)
        events = self.viewer.layers.events
        self.subscriptions.add(self._offer_results, events.inserted, events.removed)
        # Its thread and its layer go with the panel, and so does the grid.
        self.destroyed.connect(partial(_close, self.preview))
        self.destroyed.connect(partial(put_back, self.grid))

    # What a run would be

    def parameters(self) -> Parameters:
        """The panel's choices as they stand.

        Raises
        ------
        ValueError
            If one of them cannot be carried out; the message says why.
        """
        form = self.form
        outputs = tuple(name for name, box in form.outputs.items() if box.value)
        classical = self.method.classical
        flips = bool(form.flips.value) and not classical
        steps = {name: parse_step(label(Parameters, name), line.value) for name, line in form.steps.items()}
        if not (outputs or classical or flips):
            raise ValueError("Tick at least one layer to show.")
        return Parameters(
            method=self.method.name,
            psf=self.psf.source() if classical else None,
            **self.method.numbers(),
            model=self.model.name,
            normalization=form.normalization.value,
            separate=form.separate.value,
            isotropic=_ISOTROPIC[form.isotropic.value],
            region=form.region.value,
            z_range=self.region.z_range,
            device=form.device.value,
            outputs=outputs,
            tile_shape=None if classical else parse_tile(form.tile.value),
            halo=None if classical else parse_halo(form.halo.value),
            flips=flips,
            folder=self.store.folder,
            subtract_background=steps["subtract_background"],
            prefilter=steps["prefilter"],
        )

    def tasks(self) -> list[ImageTask]:
        """What Run would do now.

        Raises
        ------
        ValueError
            If a choice cannot be carried out; the message says why.
        """
        targets = self.image.targets()
        if not targets:
            return []
        parameters = self.parameters()
        folder = parameters.folder
        names = [layer.name for layer in targets]
        files = [None] * len(names) if folder is None else stems(folder, names)
        tasks = []
        for layer, stem in zip(targets, files, strict=True):
            if self._is_psf(layer):
                raise ValueError(
                    f"“{layer.name}” is both the image and the PSF: choose another layer for one."
                )
            source = SourceLayer.from_layer(layer)
            axes = self.image.axes_of(layer, len(source.shape))
            tasks.append(ImageTask(source, parameters.with_axes(axes), self.region.view_of(layer), stem))
        return tasks

    def _on_picked(self, layer: Image | None) -> None:
        if layer is not None:
            self.model.suit(layer.ndim)

    def _on_method(self) -> None:
        """The live preview is for networks."""
        form, classical = self.form, self.method.classical
        form.preview.setEnabled(not classical)
        self.preview.set_enabled(form.preview.isChecked() and not classical)
        if classical:
            form.preview_note.setText(NO_PREVIEW.format(form.method.native.currentText()))
        elif not form.preview.isChecked():
            form.preview_note.setText("")

    def _is_psf(self, layer: Any) -> bool:
        return self.method.classical and self.psf.is_layer(layer)

    def _shown_image(self) -> tuple[SourceLayer, str] | None:
        """The image that a PSF is for, and its axes."""
        layer = self.image.layer
        if layer is None:
            return None
        source = SourceLayer.from_layer(layer)
        return source, source.likely_axes(self.image.axes_of(layer, len(source.shape)))

    def _on_estimates(self, estimates: list[Estimate]) -> None:
        form = self.form
        self.estimates = estimates
        if len(form.device.choices) == 2:
            form.device.choices = torch_loading.list_devices()
        if form.status.text() == LOADING:
            self._tell("Ready.")
        self.model.describe()
        shown = self._shown_estimate()
        self._show_psf(shown)
        self.store.show_estimate(estimates)
        if shown is None:
            set_note(form.estimate, "Open an image to deconvolve.")
            form.run.enabled = False
            return
        self.image.show_estimate(shown)
        self.region.show_estimate(shown)
        set_note(form.estimate, "\n".join(estimate_lines(estimates)), problem=any(e.error for e in estimates))
        form.run.enabled = any(entry.job for entry in estimates) and not self.session.is_running
        self.preview.refresh()

    def _show_psf(self, shown: Estimate | None) -> None:
        if shown is None:
            self.psf.form.describe("")
            return
        source = shown.task.source
        axes = source.likely_axes(shown.task.parameters.axes)
        self.psf.show_estimate(shown.psf_text, source.voxel_size_um(axes))

    def _on_refused(self, text: str) -> None:
        self.estimates = []
        self.psf.form.describe("")
        set_note(self.form.estimate, text, problem=True)
        self.form.run.enabled = False
        self.preview.refresh()

    def _shown_estimate(self) -> Estimate | None:
        layer = self.image.layer
        if layer is None or not self.estimates:
            return None
        same = (entry for entry in self.estimates if entry.task.source.name == layer.name)
        return next(same, self.estimates[0])

    def preview_request(self) -> PreviewRequest | None:
        """What the live preview shows: the layer and choices of the latest estimate, or None."""
        layer, entry = self.image.layer, self._shown_estimate()
        if layer is None or entry is None or entry.job is None or entry.task.parameters.classical:
            return None
        source, axes = entry.task.source, entry.job.axes
        options = entry.task.parameters.options(source.voxel_size(axes), axes, None)
        return PreviewRequest(layer, axes, entry.model, options)

    # The run

    def run(self, *_: Any) -> None:
        """Deconvolve the chosen layers with the choices as they stand."""
        try:
            tasks = self.tasks()
            self._sources = [weakref.ref(layer) for layer in self.image.targets()]
            self.session.start(tasks)
        except ValueError as error:
            self._complain(str(error))

    def _on_started(self) -> None:
        form = self.form
        self._failures, self._messages = [], []
        form.run.enabled, form.cancel.enabled = False, True
        form.partial.hide()
        # No bar that moves by itself: each of its steps makes a software renderer compose the whole window.
        form.progress.max, form.progress.value = 1, 0
        form.progress.native.setFormat("Preparing…")
        self._drawn = 0.0
        self.preview.pause()

    def _on_advanced(self, event: Advanced) -> None:
        now = time.monotonic()
        if now - self._drawn < REDRAW_SECONDS and event.done < event.total:
            return
        self._drawn = now
        bar = self.form.progress
        bar.max, bar.value = event.total, event.done
        left = "" if event.seconds_left is None else f"  ·  {duration_text(event.seconds_left)} left"
        bar.native.setFormat(f"%p %{left}")

    def _on_failed(self, event: Failed) -> None:
        self._failures.append(f"“{event.task.source.name}” was not deconvolved: {event.text}")
        self._complain(self._failures[-1])

    def _on_finished(self, event: Finished) -> None:
        text = f"“{event.task.source.name}” done in {duration_text(event.seconds)} on {event.device}."
        self._messages += [text, *event.warnings]

    def _on_concluded(self, lines: tuple[str, ...]) -> None:
        self._messages += lines

    def _on_ended(self) -> None:
        form, part = self.form, self.session.partial
        done = bool(self.session.results) and part is None and not self.session.halted
        form.cancel.enabled, form.run.enabled = False, True
        form.progress.max, form.progress.value = 1, int(done)
        form.progress.native.setFormat("")
        form.partial.setVisible(part is not None)
        self._tell_all()
        self.preview.resume()
        self.estimator.refresh()

    def _on_keep(self, *_: Any) -> None:
        self.form.partial.hide()
        self._messages = ["Kept the finished part; the rest of it is empty."]
        self.session.keep_partial()

    def _on_discard(self, *_: Any) -> None:
        self.form.partial.hide()
        self.session.discard_partial()
        self._messages = ["Discarded."]
        self._tell_all()

    # The results

    def results(self) -> list[Image]:
        """The result layers that the buttons act on: the last run's that are still there, else all."""
        layers = self.viewer.layers
        last = [layer for layer in self.session.results if layer in layers]
        return last or [layer for layer in layers if isinstance(layer, Image) and is_result(layer)]

    def _offer_results(self, event: Any = None) -> None:
        """The buttons are for results that are there, also those of a panel before this one."""
        # While they are side by side, the view has to be put back.
        self.form.results.setEnabled(self.grid.is_on or bool(self.results()))

    def _on_side_by_side(self, on: bool) -> None:
        if on:
            sources = [layer for ref in self._sources if (layer := ref()) in self.viewer.layers]
            self.grid.show([*sources, *self.results()])
        else:
            self.grid.hide()
            self._offer_results()

    def _on_view_taken(self) -> None:
        self.form.side_by_side.native.setChecked(False)

    def ask_and_save(self, *_: Any) -> None:
        """Ask for a folder, and write the selected result layers, or all of the last run, into it."""
        results = self.results()
        if not results:
            self._complain("There are no results to save any more.")
            return
        selected = [layer for layer in results if layer in self.viewer.layers.selection]
        folder = QFileDialog.getExistingDirectory(self, "Save the results in a folder")
        if folder:
            self.save(Path(folder), selected or results)

    def save(self, folder: Path, layers: list[Image]) -> None:
        """Write layers into a folder, in the background."""
        files = [saving.File.from_layer(layer) for layer in layers]
        self._tell(f"Saving {len(files)} file{'s' if len(files) > 1 else ''}…")
        dtype = self.form.save_as.value
        worker = create_worker(saving.write, files, folder, dtype, _start_thread=False, _ignore_errors=True)
        worker.returned.connect(self._on_saved)
        worker.errored.connect(self._on_not_saved)
        worker.start()

    def _on_saved(self, paths: list[Path]) -> None:
        self._tell(f"Saved {', '.join(path.name for path in paths)} in {paths[0].parent}.")

    def _on_not_saved(self, error: Exception) -> None:
        self._complain(f"Not saved: {explain(error)}")

    # What is said

    def _tell(self, text: str) -> None:
        set_note(self.form.status, text)

    def _tell_all(self) -> None:
        """What became of a run: each image that failed, and the last of all else."""
        lines = [*self._failures, *self._messages[-_MESSAGES:]]
        if lines:
            set_note(self.form.status, "\n".join(lines), problem=bool(self._failures))

    def _complain(self, text: str) -> None:
        set_note(self.form.status, text, problem=True)

    def _colour(self, event: Any = None) -> None:
        theme = get_theme(self.viewer.theme)
        self.form.colour(theme.current.as_hex(), theme.text.as_hex(), theme.foreground.as_hex())


def _close(preview: LivePreview, *_: Any) -> None:
    preview.close()
