"""The Phantom panel: simulated samples with their ground truth, as layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QVBoxLayout

from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.phantom.form import PhantomForm
from napari_lucyd._napari.phantom.parameters import OPTICS, PhantomParameters
from napari_lucyd._napari.phantom.session import PhantomSession
from napari_lucyd._napari.phantom.task import PhantomTask, expected_image
from napari_lucyd._napari.phantom.worker import Made
from napari_lucyd._napari.psf.choice import PsfChoice
from napari_lucyd._napari.widgets.fields import label, mark_fields, parse_number, parse_numbers
from napari_lucyd._napari.widgets.layout import pass_focus, set_note
from napari_lucyd._napari.widgets.panel import Panel
from napari_lucyd._napari.workers.events import Advanced, explain
from napari_lucyd.text import duration_text

if TYPE_CHECKING:
    import napari.viewer


class PhantomWidget(Panel):
    """Make phantoms and degrade them.

    Parameters
    ----------
    napari_viewer
        The viewer that the panel is docked in.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.form = PhantomForm()
        self.status = self.form.status
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.form)
        self.psf = PsfChoice(self.viewer, self.form.psf, self._image)
        self.session = PhantomSession(self.viewer, self)
        self._connect()
        self.refresh()

    def _connect(self) -> None:
        form, session = self.form, self.session
        form.degradation.changed.connect(self._on_degradation)
        form.specimen.changed.connect(self._on_degradation)
        form.shape["Z"].changed.connect(self._on_degradation)
        controls: list[Any] = [form.z_step, form.pixel, form.seed, form.photometric]
        for group in (form.shape, form.counts, form.lines, form.outputs):
            controls += group.values()
        for control in controls:
            control.changed.connect(self._on_choice)
        self.psf.changed.connect(self._on_choice)
        self.psf.told_user.connect(self.tell)
        self.psf.failed.connect(self.complain)
        form.make.changed.connect(self.make)
        form.cancel.changed.connect(session.cancel)
        session.told.connect(self.tell)
        session.advanced.connect(self._on_advanced)
        session.failed.connect(self.complain)
        session.finished.connect(self._on_finished)
        session.ended.connect(self._on_ended)

    def running_text(self) -> str:
        """See `Panel.running_text`."""
        return "A sample is being made. If you close the panel, it stops." if self.session.is_running else ""

    # The next sample

    def parameters(self) -> PhantomParameters:
        """Return the present choices.

        Raises
        ------
        ValueError
            If one of them cannot be read; the message says which.
        """
        form = self.form
        pixel = _length("voxel_size", form.pixel.value)
        # A single plane has no Z step.
        z_step = _length("voxel_size", form.z_step.value) if form.z_step.enabled else pixel
        numbers: dict[str, Any] = {name: int(box.value) for name, box in form.counts.items()}
        # Hidden lines are ignored.
        for name in form.shown_lines():
            numbers[name] = _READERS[name](name, form.lines[name].value)
        return PhantomParameters(
            shape=tuple(int(box.value) for box in form.shape.values()),
            voxel_size=(z_step, pixel, pixel),
            specimen=form.specimen.value,
            rng=int(form.seed.value),
            degradation=form.degradation.value,
            photometric=form.photometric.value,
            outputs=tuple(name for name, box in form.outputs.items() if box.value),
            **numbers,
        )

    def task(self) -> PhantomTask:
        """Return what Make would do now.

        Raises
        ------
        ValueError
            If a choice cannot be carried out; the message says why.
        """
        parameters = self.parameters()
        parameters.check()
        task = PhantomTask(parameters, self.psf.source() if parameters.degradation == OPTICS else None)
        task.check()
        return task

    def refresh(self, *_: Any) -> None:
        """Show what Make would do, or why it cannot."""
        form = self.form
        try:
            set_note(form.estimate, self.task().describe())
            form.make.enabled = not self.session.is_running
            problem = ""
        except ValueError as error:
            problem = explain(error)
            set_note(form.estimate, problem, problem=True)
            form.make.enabled = False
        mark_fields(self, problem)

    def _image(self) -> tuple[SourceLayer, str]:
        """Return the image that the PSF is for, and its axes."""
        parameters = self.parameters()
        parameters.check()
        return expected_image(parameters), parameters.axes

    def _on_degradation(self, *_: Any) -> None:
        self.form.show_rows()
        self._on_choice()

    def _on_choice(self, *_: Any) -> None:
        # The shown description may belong to another PSF.
        self.form.psf.describe("")
        self.refresh()

    # The sample

    def make(self, *_: Any) -> None:
        """Make the sample with the present choices."""
        try:
            self.session.start(self.task())
        except ValueError as error:
            self.complain(explain(error))
            return
        self.tell("")
        self.form.cancel.enabled = True
        pass_focus([self.form.make.native], self.form.cancel.native)
        self.form.make.enabled = False

    def _on_advanced(self, event: Advanced) -> None:
        bar = self.form.progress
        bar.max, bar.value = event.total, event.done
        bar.native.setFormat(event.text)

    def _on_finished(self, event: Made) -> None:
        names = ", ".join(f"“{layer.name}”" for layer in self.session.layers)
        self.tell(f"Made in {duration_text(event.seconds)}: {names}.")
        if event.psf_text:
            self.form.psf.describe(event.psf_text)

    def _on_ended(self) -> None:
        form = self.form
        made = bool(self.session.layers) and not self.session.has_failed
        form.progress.max, form.progress.value = 1, int(made)
        form.progress.native.setFormat("")
        self.refresh()
        pass_focus([form.cancel.native], form.make.native)
        form.cancel.enabled = False


def _label(name: str) -> str:
    return label(PhantomParameters, name)


def _length(name: str, text: str) -> float:
    number = parse_number(_label(name), text)
    if number is None:
        raise ValueError(f"Enter the {_label(name)} in µm.")
    return number


def _none_if_empty(name: str, text: str) -> float | None:
    return parse_number(_label(name), text)


def _zero_if_empty(name: str, text: str) -> float:
    return parse_number(_label(name), text) or 0.0


def _noise(name: str, text: str) -> float:
    return _zero_if_empty(name, text) / 100


def _blur(name: str, text: str) -> tuple[float, ...]:
    meant = "one number, or Z, Y, X, for example 2, 1.2, 1.2"
    return parse_numbers(_label(name), text, meant) or (0.0,)


_READERS: dict[str, Callable[[str, str], Any]] = {
    "blur_sigma": _blur,
    "noise_sigma": _noise,
    "photons": _none_if_empty,
    "photons_per_unit": _none_if_empty,
    "read_noise": _zero_if_empty,
    "sheet_fwhm_um": _length,
}
