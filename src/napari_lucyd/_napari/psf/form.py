"""Controls of the PSF of a classical method."""

from __future__ import annotations

from magicgui.widgets import ComboBox, LineEdit, PushButton
from qtpy.QtWidgets import QGroupBox, QSizePolicy, QWidget

from napari_lucyd._napari.psf.origins import MICROSCOPES, OpticsPsf
from napari_lucyd._napari.widgets import layout
from napari_lucyd._napari.widgets.fields import label, tooltip

OPTICS, LAYER, FILE = "optics", "layer", "file"
KINDS = [("Optics", OPTICS), ("Layer", LAYER), ("File", FILE)]
# Lines of the optics: placeholder, unit, and the microscopes that have them (all if empty).
_LINES = {
    "numerical_aperture": ("for example 0.8", "", ()),
    "refractive_index": ("for example 1.33", "", ()),
    "emission_um": ("for example 0.525", "µm", ()),
    "excitation_um": ("for example 0.488", "µm", ("confocal",)),
    "pinhole_airy": ("1", "Airy", ("confocal",)),
    "sheet_fwhm_um": ("for example 2", "µm", ("light_sheet",)),
    "voxel_size": ("", "µm", ()),
    "shape": ("automatic", "voxels", ()),
}

TITLE = "PSF"
TOOLTIP = (
    "The image of a point in the microscope, sampled on the voxels of the image: computed from the optics, "
    "or the image of a bead from a layer or a file."
)


class PsfForm(QGroupBox):
    """Source of the PSF, and the optics that it is computed from.

    Parameters
    ----------
    voxel_size
        True to ask for a voxel size; False if that of the image is reliable.
    """

    def __init__(self, *, voxel_size: bool = True) -> None:
        super().__init__(TITLE)
        self._asks_voxel_size = voxel_size
        self.kind = ComboBox(choices=KINDS, value=OPTICS, tooltip=TOOLTIP)
        self.layer = ComboBox(
            choices=[],
            nullable=True,
            tooltip="An image layer with one PSF, Z, Y, X or Y, X, sampled on the voxels of the image.",
        )
        self.path = LineEdit(tooltip="A TIFF, OME-TIFF or OME-Zarr file with one PSF.")
        self.path.native.setPlaceholderText("TIFF, OME-TIFF or OME-Zarr")
        self.browse = PushButton(text="File…", tooltip="Choose a PSF file.")
        self.microscope = ComboBox(
            choices=[(title, name) for name, title in MICROSCOPES.items()],
            value="widefield",
            tooltip=tooltip(OpticsPsf, "kind"),
        )
        self.lines = {name: LineEdit(tooltip=tooltip(OpticsPsf, name)) for name in _LINES}
        self.lines["refractive_index"].value = f"{OpticsPsf.refractive_index:g}"
        self.about = layout.note("lucyd-psf")
        self.show_layer = PushButton(
            text="Show as layer", tooltip="Add the PSF as an image layer with its voxel size."
        )
        self.save = PushButton(
            text="Save PSF…", tooltip="Save the PSF as an image file with its voxel size and optics."
        )
        self.browse.native.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        for combo in (self.kind, self.layer, self.microscope):
            layout.narrow(combo.native)
        self._rows = layout.form(self)
        layout.add(self._rows, "From", self.kind.native)
        layout.add(self._rows, "Layer", self.layer.native)
        self._file = layout.row(self.path.native, self.browse.native, stretch=(1, 0))
        layout.add(self._rows, "File", self._file)
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
        self.describe("")
        self.show_rows()

    def show_rows(self) -> None:
        """Show the controls that the chosen source has, and hide the others."""
        kind = self.kind.value
        rows = {
            self.layer.native: kind == LAYER,
            self._file: kind == FILE,
            self.microscope.native: kind == OPTICS,
            self._buttons: kind != LAYER,
        }
        shown = self.shown_lines()
        rows |= {line: kind == OPTICS and name in shown for name, line in self._lines.items()}
        for control, visible in rows.items():
            layout.show_row(self._rows, control, visible)

    def describe(self, text: str) -> None:
        """Show a description of the PSF."""
        layout.set_note(self.about, text)
        layout.show_row(self._rows, self.about, bool(text))

    def shown_lines(self) -> list[str]:
        """List the numbers that the chosen microscope has."""
        microscope = self.microscope.value
        shown = [name for name, (_, _, own) in _LINES.items() if not own or microscope in own]
        return [name for name in shown if name != "voxel_size" or self._asks_voxel_size]
