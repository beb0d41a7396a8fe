"""Controls of the blur: where a PSF comes from, and the optics that it is computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from magicgui.widgets import ComboBox, LineEdit, PushButton
from qtpy.QtWidgets import QGroupBox, QSizePolicy, QWidget

from napari_lucyd._napari.psf.beads import BeadsPsf
from napari_lucyd._napari.psf.optics import MICROSCOPES, OpticsPsf
from napari_lucyd._napari.widgets import layout
from napari_lucyd._napari.widgets.fields import label, tooltip
from napari_lucyd._napari.widgets.long_entries import narrow

OPTICS, FILE, LAYER, BEADS, BLUR, UNKNOWN = "optics", "file", "layer", "beads", "blur", "unknown"
KINDS = {
    OPTICS: "Optics",
    FILE: "File",
    LAYER: "Layer",
    BEADS: "Beads",
    BLUR: "Blur width",
    UNKNOWN: "Unknown",
}
# Lines of the optics: placeholder, unit, and the microscopes that have them (all if empty).
_LINES = {
    "numerical_aperture": ("for example 0.8", "", ()),
    "refractive_index": ("for example 1.33", "", ()),
    "emission_um": ("for example 0.525", "µm", ()),
    "excitation_um": ("for example 0.488", "µm", ("confocal",)),
    "pinhole_airy": ("1", "Airy", ("confocal",)),
    "sheet_fwhm_um": ("for example 2", "µm", ("light_sheet",)),
    "sample_index": ("as the immersion", "", ("widefield", "confocal", "light_sheet")),
    "depth_um": ("0", "µm", ("widefield", "confocal", "light_sheet")),
    "voxel_size": ("", "µm", ()),
    "shape": ("automatic", "voxels", ()),
}
OPTICS_LINES = tuple(name for name in _LINES if name not in ("voxel_size", "shape"))
"""Lines that describe the microscope itself."""

NOT_YET = "The PSF is described here once it is known."
TITLE = "Microscope"
TOOLTIP = (
    "What is known about the blur. Optics: the PSF is computed from the microscope. File or Layer: an image "
    "of the PSF. Beads: it is measured on an image of small beads. Blur width: a Gaussian. Unknown: for "
    "methods that find the blur themselves."
)


class PsfForm(QGroupBox):
    """Source of the PSF, and the optics that it is computed from.

    Parameters
    ----------
    title
        Heading of the group.
    kinds
        The sources that are offered.
    microscopes
        Kinds of microscopes that are offered.
    voxel_size
        True to ask for a voxel size; False if that of the image is reliable.
    """

    def __init__(
        self,
        title: str = TITLE,
        *,
        kinds: Sequence[str] = tuple(KINDS),
        microscopes: Sequence[str] = tuple(MICROSCOPES),
        voxel_size: bool = True,
    ) -> None:
        super().__init__(title)
        self._asks_voxel_size = voxel_size
        self._describes = True
        self.kind = ComboBox(choices=[(KINDS[kind], kind) for kind in kinds], value=kinds[0], tooltip=TOOLTIP)
        self.layer = ComboBox(
            choices=[],
            nullable=True,
            tooltip="An image layer with one PSF, Z, Y, X or Y, X; or with one for each channel. If its "
            "voxel size differs from the image's, it is resampled.",
        )
        self.beads = ComboBox(
            choices=[],
            nullable=True,
            tooltip="An image layer with many small beads, taken with the same microscope and settings. Good "
            "beads are averaged; others are left out.",
        )
        self.diameter = LineEdit(tooltip=tooltip(BeadsPsf, "bead_diameter_um"))
        self.diameter.native.setPlaceholderText("for example 0.1")
        self.sigma = LineEdit(
            tooltip="Standard deviation σ of the Gaussian in voxels: one number, or Z, Y, X, for example 2, "
            "1.2, 1.2. The full width at half maximum is 2.35 σ."
        )
        self.sigma.native.setPlaceholderText("for example 1.3")
        self.path = LineEdit(
            tooltip="A TIFF, OME-TIFF or OME-Zarr file with one PSF, or one for each channel."
        )
        self.path.native.setPlaceholderText("TIFF, OME-TIFF or OME-Zarr")
        self.browse = PushButton(text="File…", tooltip="Choose a PSF file.")
        self.microscope = ComboBox(
            choices=[(MICROSCOPES[name], name) for name in microscopes],
            value=microscopes[0],
            tooltip=tooltip(OpticsPsf, "kind"),
        )
        self.lines = {name: LineEdit(tooltip=tooltip(OpticsPsf, name)) for name in _LINES}
        self.lines["refractive_index"].value = f"{OpticsPsf.refractive_index:g}"
        self.about = layout.note("lucyd-psf", lines=4, keeps_room=True)
        self.origin = layout.note("lucyd-psf-origin", most=2)
        self.show_layer = PushButton(
            text="Show as layer", tooltip="Add the PSF as an image layer with its voxel size."
        )
        self.save = PushButton(
            text="Save PSF…", tooltip="Save the PSF as an image file with its voxel size and optics."
        )
        self.browse.native.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        for combo in (self.kind, self.layer, self.beads, self.microscope):
            narrow(combo.native)
        self._lay_out()
        self.describe("")
        self.show_origin("")
        self.show_rows()

    def _lay_out(self) -> None:
        self._rows = layout.form(self)
        self._rows.addRow(self.origin)
        layout.add(self._rows, "From", self.kind.native)
        layout.add(self._rows, "Layer", self.layer.native)
        self._file = layout.row(self.path.native, self.browse.native, stretch=(1, 0))
        layout.add(self._rows, "File", self._file)
        layout.add(self._rows, "Bead layer", self.beads.native)
        self._diameter = layout.with_unit(self.diameter.native, "µm")
        layout.add(self._rows, label(BeadsPsf, "bead_diameter_um"), self._diameter)
        self._sigma = layout.with_unit(self.sigma.native, "voxels")
        layout.add(self._rows, "Blur σ", self._sigma)
        layout.add(self._rows, label(OpticsPsf, "kind"), self.microscope.native)
        self._lines: dict[str, QWidget] = {}
        for name, (example, unit, _) in _LINES.items():
            line = self.lines[name].native
            line.setPlaceholderText(example)
            self._lines[name] = layout.with_unit(line, unit)
            layout.add(self._rows, label(OpticsPsf, name), self._lines[name])
        layout.add(self._rows, "", self.about)
        self._buttons = layout.row(self.show_layer.native, self.save.native, stretch=(1, 1))
        layout.add(self._rows, "", self._buttons)

    def show_rows(self) -> None:
        """Show the controls that the chosen source has, and hide the others."""
        kind = self.kind.value
        self.about.free_room()
        rows = {
            self.layer.native: kind == LAYER,
            self._file: kind == FILE,
            self.beads.native: kind == BEADS,
            self._diameter: kind == BEADS,
            self._sigma: kind == BLUR,
            self.microscope.native: kind == OPTICS,
            self._buttons: kind not in (LAYER, UNKNOWN),
            self.about: kind != UNKNOWN and self._describes,
        }
        shown = self.shown_lines()
        rows |= {line: kind == OPTICS and name in shown for name, line in self._lines.items()}
        for control, visible in rows.items():
            layout.show_row(self._rows, control, visible)

    def show_description(self, describes: bool) -> None:
        """Keep room for the description of the PSF, or not where a method does not make the PSF by itself."""
        if describes is not self._describes:
            self._describes = describes
            self.show_rows()

    def describe(self, text: str) -> None:
        """Show a description of the PSF."""
        layout.set_note(self.about, text or NOT_YET)

    def show_origin(self, text: str, *, keeps_room: bool = False) -> None:
        """Say which image the entries are from; an empty text hides the line.

        Parameters
        ----------
        text
            The sentence.
        keeps_room
            True to leave the room of an earlier sentence, so that nothing below moves while an entry is
            corrected.
        """
        if keeps_room and not text:
            self.origin.setMinimumHeight(self.origin.height())
        else:
            self.origin.free_room()
            layout.show_row(self._rows, self.origin, bool(text))
        layout.set_note(self.origin, text)

    def shown_lines(self) -> list[str]:
        """List the numbers that the chosen microscope has."""
        microscope = self.microscope.value
        shown = [name for name, (_, _, own) in _LINES.items() if not own or microscope in own]
        return [name for name in shown if name != "voxel_size" or self._asks_voxel_size]

    def texts(self) -> dict[str, str]:
        """Return what is entered and holds for other images too, by name."""
        lines = {name: self.lines[name].value for name in OPTICS_LINES}
        chosen = {"kind": self.kind.value, "microscope": self.microscope.value}
        return {**chosen, **lines, "diameter": self.diameter.value, "sigma": self.sigma.value}

    def fill(self, texts: Mapping[str, str]) -> None:
        """Enter texts by name, as `texts` returns them; what is not among them stays."""
        controls = {
            **self.lines,
            "kind": self.kind,
            "microscope": self.microscope,
            "diameter": self.diameter,
            "sigma": self.sigma,
        }
        for name, text in texts.items():
            control = controls.get(name)
            if isinstance(control, ComboBox) and text not in control.choices:
                continue  # from a version that offered more
            if control is not None:
                control.value = text
