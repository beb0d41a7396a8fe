"""The window *Train for this microscope*."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, LineEdit, PushButton
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QDialog, QProgressBar, QVBoxLayout, QWidget
from superqt.utils import create_worker

from napari_lucyd._napari.deconvolve.adaptation.plots import PatchView, ValidationCurve
from napari_lucyd._napari.deconvolve.adaptation.worker import AdaptationTask, run
from napari_lucyd._napari.deconvolve.choices.microscope import MicroscopeSection
from napari_lucyd._napari.deconvolve.choices.network_model import ModelChoice
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.widgets.fields import parse_number
from napari_lucyd._napari.widgets.layout import (
    add,
    inner_form,
    leave_return_to_fields,
    note,
    pass_focus,
    row,
    set_note,
    with_unit,
)
from napari_lucyd._napari.workers import garbage_collection
from napari_lucyd._napari.workers.events import explain
from napari_lucyd._napari.workers.notification import notify_end
from napari_lucyd.errors import Cancelled
from napari_lucyd.models.catalogue import list_models
from napari_lucyd.text import duration_text

if TYPE_CHECKING:
    from napari_lucyd.training import Adaptation, AdaptationProgress

_STRUCTURES = [
    ("Any (mixture)", "mixture"),
    ("Puncta", "puncta"),
    ("Filaments", "filaments"),
    ("Membranes (sheets)", "sheets"),
    ("Nuclei, cell bodies", "bodies"),
    ("Tubules", "tubules"),
]
_PARTS = 1000
_STAGES = {
    "measuring": "Measuring blur and noise of the image",
    "training": "Training",
    "trust": "Testing the model with the trust suite",
}
_INTRODUCTION = (
    "Continues the training of the default model on simulated specimens, with the blur under Microscope and "
    "the noise of the selected image. The new model is saved only if it is better in validation, and no "
    "answer to the trust questions is worse."
)
# Specimens for the first step and the measurement end a little later.
_ENDING_AT_ONCE = "Stopping before the first step, so no model will be saved…"
_ENDING = (
    "Stopping. The steps so far are validated, and if they made the model better, the trust suite tests it. "
    "That can take up to two minutes…"
)


class _Messenger(QObject):
    """Passes the progress from the worker's thread to the window's."""

    advanced = Signal(object)


class AdaptationWindow(QDialog):
    """Trains a model in a worker, and shows how it improves.

    Parameters
    ----------
    image
        Returns the image of the panel and its axes, or None.
    microscope
        Knowledge of the blur.
    model
        The list of models, with the model to start from; a new model is added there and chosen.
    parent
        The panel.
    """

    def __init__(
        self,
        image: Callable[[], tuple[SourceLayer, str] | None],
        microscope: MicroscopeSection,
        model: ModelChoice,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Train for this microscope")
        self._image, self._microscope, self._model = image, microscope, model
        self._stop = threading.Event()
        self._worker: Any = None
        self._began = self._limit = 0.0
        self._stage = ""
        self._has_trained = False
        self._returned = False
        self._messenger = _Messenger()
        self._messenger.advanced.connect(self._on_advanced)
        self.name = LineEdit(tooltip="Name of the new model in the list of models.")
        self.structures = ComboBox(
            choices=_STRUCTURES, tooltip="What the simulated specimens show; choose what your images show."
        )
        self.minutes = LineEdit(value="8", tooltip="Limit for the training.")
        self.train = PushButton(text="Train")
        self.cancel = PushButton(text="Stop and keep the best", enabled=False)
        self.status = note("lucyd-adaptation-status", lines=4)
        self.bar = QProgressBar()
        self.curve = ValidationCurve()
        self.patch = PatchView()
        introduction = note("lucyd-adaptation-introduction")
        set_note(introduction, _INTRODUCTION)
        fields = QWidget()
        rows = inner_form(fields)
        add(rows, "Name", self.name.native)
        add(rows, "Structures", self.structures.native)
        add(rows, "Time limit", with_unit(self.minutes.native, "min"))
        lines = QVBoxLayout(self)
        for widget in (
            introduction,
            fields,
            row(self.train.native, self.cancel.native),
            self.bar,
            self.curve,
            self.patch,
            self.status,
        ):
            lines.addWidget(widget)
        # Spare room belongs below, so that no text moves the controls.
        lines.addStretch(1)
        leave_return_to_fields(self)
        for entry in (self.name, self.structures, self.minutes):
            entry.changed.connect(self._on_entry)
        self.train.changed.connect(self.start)
        self.cancel.changed.connect(self.stop)
        model.training_wanted.connect(self.ask)

    @property
    def is_running(self) -> bool:
        """True while the worker runs."""
        return self._worker is not None

    def ask(self) -> None:
        """Show the window, with a name for the new model."""
        shown = self._image()
        self.suggest(shown[0].name if shown else "")
        self.show()
        self.raise_()

    def task(self) -> AdaptationTask:
        """Return what Train would do now.

        Raises
        ------
        ValueError
            If there is no image, or what is known of the blur cannot be used.
        """
        shown = self._image()
        if shown is None:
            raise ValueError("Open an image of this microscope first.")
        return AdaptationTask(*shown, self._microscope.choice(needed=False), self._model.name)

    def suggest(self, name: str) -> None:
        """Fill the name in, with a number behind it if a model has it already; unless one was entered."""
        if self.name.value.strip():
            return
        kept = "".join(sign if sign.isascii() and (sign.isalnum() or sign in " _-") else "-" for sign in name)
        stem = kept.strip(" -_")[:50] or "model"
        taken = {str(card["name"]) for card in list_models()}
        number, found = 1, stem
        while found in taken:
            number += 1
            found = f"{stem}-{number}"
        self.name.value = found

    def start(self, *_: Any) -> None:
        """Start the training."""
        if self.is_running:
            return
        try:
            minutes = parse_number("Time limit", self.minutes.value) or 0.0
            if not minutes > 0:
                raise ValueError("Time limit: enter a number of minutes above 0.")
            task = self.task()
        except ValueError as error:
            set_note(self.status, explain(error), problem=True)
            return
        self._stop = threading.Event()
        # Closing the window's panel ends the training.
        self.destroyed.connect(self._stop.set)
        arguments = (task, self.name.value.strip(), str(self.structures.value), minutes)
        worker: Any = create_worker(
            run,
            *arguments,
            self._messenger.advanced.emit,
            self._stop.is_set,
            _start_thread=False,
            _ignore_errors=True,
        )
        self._worker = worker
        worker.returned.connect(self._on_returned)
        worker.errored.connect(self._on_error)
        worker.finished.connect(self._on_finished)
        # A function, not a method: it is called even when this window was deleted.
        worker.finished.connect(garbage_collection.release)
        garbage_collection.hold()
        self.cancel.enabled = True
        pass_focus([self.train.native], self.cancel.native)
        self.train.enabled = False
        set_note(self.status, f"{_STAGES['measuring']}…")
        self.curve.show_values(())
        self.bar.setRange(0, 0)
        self._returned = self._has_trained = False
        self._began, self._limit = time.monotonic(), 60 * minutes
        worker.start()

    def stop(self, *_: Any) -> None:
        """End the training; the best state after the first step is kept, and the trust suite tests it."""
        if not self.is_running:
            return
        self._stop.set()
        self.cancel.enabled = False
        self.bar.setRange(0, 0)
        set_note(self.status, _ENDING if self._has_trained else _ENDING_AT_ONCE)

    def _on_entry(self, *_: Any) -> None:
        # The message may be about earlier entries.
        if self.status.property("problem") and not self.is_running:
            set_note(self.status, "")

    def _on_advanced(self, progress: AdaptationProgress) -> None:
        garbage_collection.sweep()
        ending = self._stop.is_set() and progress.stage != "trust"
        if progress.stage == "training" and progress.done and not self._has_trained:
            self._has_trained = True
            if ending:
                # The step was on its way when it was stopped.
                set_note(self.status, _ENDING)
        if progress.stage != "measuring" and not ending:
            value = round(_PARTS * self._share(progress))
            # Within a stage, a bar never moves back, also if the estimate of the time grows.
            same = progress.stage == self._stage and self.bar.maximum() > 0
            self.bar.setRange(0, _PARTS)
            self.bar.setValue(max(value, self.bar.value()) if same else value)
            self._stage = progress.stage
        if progress.validation_psnr:
            self.curve.show_values(progress.validation_psnr)
        if progress.pictures is not None:
            self.patch.show_planes(progress.pictures)
        if progress.stage == "trust":
            # The training is over.
            self.cancel.enabled = False
        if ending:
            return
        left = progress.seconds_left
        known = left == left  # not NaN
        until = f"; {duration_text(left)} left" if known else ""
        set_note(self.status, f"{_STAGES[progress.stage]}{until}…")

    def _share(self, progress: AdaptationProgress) -> float:
        """Return the share of the expected time of the present stage, which the text names, that is over."""
        if progress.stage == "trust":
            return progress.done / progress.total
        passed, left = time.monotonic() - self._began, progress.seconds_left
        if left != left:  # NaN
            left = max(self._limit - passed, 0.0)
        return passed / (passed + left) if left else 1.0

    def _on_returned(self, found: Adaptation) -> None:
        self._returned = True
        # A notification shows only the first words.
        saved = "" if found.path is None else f"“{found.model.name}” is saved and chosen. "
        text = f"{saved}{found.summary} It took {duration_text(found.seconds)}."
        notes = "\n".join((text, *found.notes))
        # A training that the user stopped has not failed.
        problem = found.path is None and found.stopped_after is None
        set_note(self.status, notes, problem=problem)
        if found.path is not None:
            self._model.add_own(found.model.name)

    def _on_error(self, error: Exception) -> None:
        set_note(self.status, explain(error), problem=not isinstance(error, Cancelled))

    def _on_finished(self) -> None:
        self._worker = None
        self.train.enabled = True
        pass_focus([self.cancel.native], self.train.native)
        self.cancel.enabled = False
        self.bar.setRange(0, 1)
        self.bar.setValue(int(self._returned))
        problem = bool(self.status.property("problem"))
        notify_end(self, time.monotonic() - self._began, self.status.text(), problem=problem)
