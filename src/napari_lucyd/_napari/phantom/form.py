"""Controls of the Phantom panel."""

from __future__ import annotations

from magicgui.widgets import CheckBox, ComboBox, LineEdit, ProgressBar, PushButton, SpinBox
from qtpy.QtWidgets import QAbstractSpinBox, QFrame, QGroupBox, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_lucyd._napari.phantom.parameters import (
    BLUR,
    DEGRADATIONS,
    OPTICS,
    PHANTOM,
    SPECIMENS,
    PhantomParameters,
)
from napari_lucyd._napari.psf.form import FILE, LAYER, PsfForm
from napari_lucyd._napari.psf.form import OPTICS as OPTICS_KIND
from napari_lucyd._napari.widgets import layout
from napari_lucyd._napari.widgets.fields import label, tooltip
from napari_lucyd._napari.widgets.long_entries import narrow

SCALES = [("Same for image and truth", True), ("Separate, as in the paper", False)]
# Initial optics: those of the surrogates.
_OPTICS = {
    "numerical_aperture": "0.8",
    "emission_um": "0.525",
    "excitation_um": "0.488",
    "sheet_fwhm_um": "3.5",
}
# Lines of the degradations: unit, and the degradations that have them.
_LINES: dict[str, tuple[str, tuple[str, ...]]] = {
    "blur_sigma": ("voxels", (BLUR,)),
    "noise_sigma": ("%", (BLUR,)),
    "photons": ("at peak", (BLUR,)),
    "photons_per_unit": ("per unit", (OPTICS,)),
    "read_noise": ("photons", (OPTICS,)),
    "sheet_fwhm_um": ("µm", ("light_sheet",)),
}
_ABOUT = {
    BLUR: "As in the LUCYD paper, for comparison with it and for quick trials.",
    OPTICS: "The PSF below, then photons and a camera. Image and truth have the same units.",
    "nuclei": "Widefield, NA 0.8 in water, 525 nm, 5 photons per unit: haze and little noise.",
    "membranes": "Widefield, NA 0.8 in water, 607 nm, 1 photon per unit: haze and more noise.",
    "light_sheet": "Like the nuclei, in a light sheet: little haze.",
}
_COUNTS = ("spheres", "ellipsoids", "boxes")
_WIDTH = 420
# A larger number would not fit into any memory.
_LARGEST = 100_000
_LARGEST_SEED = 2**31 - 1


class PhantomForm(QWidget):
    """Sections of the panel: specimen, degradation, PSF, layers; and the footer."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("lucyd-phantom-form")
        self._make_controls()
        self.psf = PsfForm("PSF", kinds=(OPTICS_KIND, LAYER, FILE), voxel_size=False)
        for name, text in _OPTICS.items():
            self.psf.lines[name].value = text
        sections = (self._phantom(), self._degradation(), self.psf, self._layers())
        layout.stack(self, sections, self._footer(), _WIDTH)
        self.show_rows()

    def _make_controls(self) -> None:
        defaults = PhantomParameters()
        self.shape = {
            # The panel refuses an impossible number in words; a spin box would change it silently.
            name: _whole("shape", size, -_LARGEST)
            for name, size in zip("ZYX", defaults.shape, strict=True)
        }
        self.z_step, self.pixel = (
            LineEdit(value=f"{defaults.voxel_size[axis]:g}", tooltip=_tooltip("voxel_size"))
            for axis in (0, 1)
        )
        self.specimen = ComboBox(
            choices=[(title, name) for name, title in SPECIMENS.items()],
            value=defaults.specimen,
            tooltip=_tooltip("specimen"),
        )
        self.counts = {name: _whole(name, getattr(defaults, name), 0) for name in _COUNTS}
        self.seed = _whole("rng", defaults.rng, 0, _LARGEST_SEED)
        self.degradation = ComboBox(
            choices=[(title, name) for name, title in DEGRADATIONS.items()],
            value=defaults.degradation,
            tooltip=_tooltip("degradation"),
        )
        self.about = layout.note("lucyd-degradation")
        self.lines = {name: LineEdit(tooltip=_tooltip(name)) for name in _LINES}
        self.lines["blur_sigma"].value = f"{defaults.blur_sigma[0]:g}"
        self.lines["noise_sigma"].value = f"{100 * defaults.noise_sigma:g}"
        for name in ("photons_per_unit", "read_noise", "sheet_fwhm_um"):
            self.lines[name].value = f"{getattr(defaults, name):g}"
        for name in ("photons", "photons_per_unit"):
            self.lines[name].native.setPlaceholderText("no photon noise")
        self.photometric = ComboBox(
            choices=SCALES, value=defaults.photometric, tooltip=_tooltip("photometric")
        )
        self.outputs = {
            name: CheckBox(text=text, value=name in defaults.outputs, tooltip=_tooltip("outputs"))
            for name, text in (("truth", "Ground truth"), ("psf", "PSF"))
        }
        self.estimate = layout.note("lucyd-estimate", lines=3)
        self.make = PushButton(text="Make", tooltip="Make the sample and add it as new layers.")
        self.cancel = PushButton(text="Cancel", enabled=False, tooltip="Stop. No layer is added.")
        self.progress = ProgressBar(min=0, max=1, value=0)
        self.status = layout.note("lucyd-status", lines=2)
        # The style sheet refers to the main button by this name.
        self.make.native.setObjectName("lucyd-run")
        for combo in (self.specimen, self.degradation, self.photometric):
            narrow(combo.native)

    def _phantom(self) -> QGroupBox:
        group = QGroupBox("Specimen")
        rows = self._specimen_rows = layout.form(group)
        layout.add(rows, _label("specimen"), self.specimen.native)
        layout.add(rows, _label("shape"), _named({name: box.native for name, box in self.shape.items()}))
        steps = _named({"Z": self.z_step.native, "YX": self.pixel.native})
        layout.add(rows, _label("voxel_size"), layout.with_unit(steps, "µm"))
        self._counts = {name: layout.with_unit(box.native, "in 128³") for name, box in self.counts.items()}
        for name, control in self._counts.items():
            layout.add(rows, _label(name), control)
        layout.add(rows, _label("rng"), self.seed.native)
        return group

    def _degradation(self) -> QGroupBox:
        group = QGroupBox("Degradation")
        self._rows = layout.form(group)
        layout.add(self._rows, _label("degradation"), self.degradation.native)
        layout.add(self._rows, "", self.about)
        self._lines: dict[str, QWidget] = {}
        for name, (unit, _) in _LINES.items():
            self._lines[name] = layout.with_unit(self.lines[name].native, unit)
            layout.add(self._rows, _label(name), self._lines[name])
        layout.add(self._rows, _label("photometric"), self.photometric.native)
        return group

    def _layers(self) -> QGroupBox:
        group = QGroupBox("Additional layers")
        column = QVBoxLayout(group)
        column.setContentsMargins(10, 8, 10, 8)
        column.addWidget(layout.row(*(box.native for box in self.outputs.values()), stretch=(1, 1)))
        return group

    def _footer(self) -> QWidget:
        footer = QFrame()
        buttons = layout.row(self.make.native, self.cancel.native, stretch=(2, 1))
        layout.fill_footer(footer, self.estimate, self.status, buttons, self.progress.native)
        bar = self.progress.native
        bar.setTextVisible(True)
        bar.setFormat("")
        return footer

    def show_rows(self) -> None:
        """Show the controls that the choices need, and hide the others."""
        kind, shown = self.degradation.value, self.shown_lines()
        for control in self._counts.values():
            layout.show_row(self._specimen_rows, control, self.specimen.value == PHANTOM)
        layout.set_note(self.about, _ABOUT[kind])
        for name, line in self._lines.items():
            layout.show_row(self._rows, line, name in shown)
        layout.show_row(self._rows, self.photometric.native, kind == BLUR)
        self.psf.setVisible(kind == OPTICS)
        self.z_step.enabled = self.shape["Z"].value != 1

    def shown_lines(self) -> list[str]:
        """List the numbers that the chosen degradation has."""
        return [name for name, (_, kinds) in _LINES.items() if self.degradation.value in kinds]


def _label(name: str) -> str:
    return label(PhantomParameters, name)


def _tooltip(name: str) -> str:
    return tooltip(PhantomParameters, name)


def _whole(name: str, value: int, least: int, most: int = _LARGEST) -> SpinBox:
    return SpinBox(min=least, max=most, value=value, tooltip=_tooltip(name))


def _named(controls: dict[str, QWidget]) -> QWidget:
    """Put controls in a row, each after its axes."""
    parts: list[QWidget] = []
    for name, control in controls.items():
        axes = QLabel(name)
        axes.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)
        # napari's style sheet has a larger minimum, too wide for three in a row.
        # The frame of a wrong entry takes the place of a part of the padding: nothing moves.
        sheet = "* { min-width: 40px; padding: 1px 4px; } QLineEdit[problem='true'] { padding: 0px 3px; }"
        if isinstance(control, QAbstractSpinBox):
            # Buttons would leave no room for the digits, and some versions of Qt keep it even without them.
            control.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
            sheet += " ::up-button, ::down-button { width: 0px; border: none; }"
        control.setStyleSheet(sheet)
        parts += [axes, control]
    return layout.row(*parts, stretch=(0, 1) * len(controls))
