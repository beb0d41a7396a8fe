"""How the Deconvolve panel looks: its controls, grouped and labelled; what they do is in `widget`."""

from __future__ import annotations

from magicgui.widgets import CheckBox, ComboBox, LineEdit, ProgressBar, PushButton, RangeSlider, SpinBox
from qtpy.QtWidgets import (
    QFormLayout,
    QFrame,
    QGridLayout,
    QGroupBox,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible, QToggleSwitch

from napari_lucyd._napari.deconvolve.parameters import (
    IN_FOLDER,
    IN_MEMORY,
    METHODS,
    NUMBERS,
    RECTANGLE,
    SCREEN,
    STEPS,
    WHOLE,
    Parameters,
    numbers_of,
)
from napari_lucyd._napari.layers.results import PART_NAMES, PARTS
from napari_lucyd._napari.psf.form import PsfForm
from napari_lucyd._napari.widgets.fields import label, tooltip
from napari_lucyd._napari.widgets.layout import (
    add,
    inner_form,
    narrow,
    note,
    row,
    scrolled,
    show_row,
    style_sheet,
)
from napari_lucyd._napari.widgets.layout import form as form_layout

SCALINGS = [
    ("As the model was trained", "model"),
    ("Minimum to maximum", "minmax"),
    ("Robust percentiles", "percentile"),
    ("None (is 0 to 1 already)", "none"),
]
ISOTROPIC = [
    ("Automatic", "auto"),
    ("Always resample Z", "on"),
    ("Never", "off"),
]
SEPARATE = [
    ("Per channel", "C"),
    ("All together", ""),
    ("Per channel and time point", "TC"),
]
REGIONS = [("Whole image", WHOLE), ("What is on screen", SCREEN), ("Drawn rectangle", RECTANGLE)]
STORES = [("Memory", IN_MEMORY), ("OME-Zarr files", IN_FOLDER)]
# Numbers of classical methods that are asked for less often.
_ADVANCED = ("background", "total_variation", "tolerance")
_MARGIN = 8
# More have been asked for by nobody.
_MOST_ITERATIONS = 100_000


class Form(QWidget):
    """The panel's controls. Magicgui widgets hold the values; Qt lays them out."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("lucyd-form")
        self._rows: list[QFormLayout] = []
        self._make_controls()
        body = QWidget()
        sections = QVBoxLayout(body)
        sections.setContentsMargins(_MARGIN, _MARGIN, _MARGIN, 0)
        sections.setSpacing(10)
        self.psf = PsfForm()
        for section in (self._image(), self._method(), self.psf, self._region(), self._results()):
            sections.addWidget(section)
        sections.addWidget(self._advanced())
        sections.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(scrolled(body), 1)
        column.addWidget(self._footer())
        self.setMinimumWidth(380)

    def _make_controls(self) -> None:
        self.image = ComboBox(
            choices=[], nullable=True, tooltip="The image to deconvolve; follows the active layer."
        )
        self.also = note("lucyd-also")
        self.axes = LineEdit(tooltip=tooltip(Parameters, "axes"))
        self.understood = note("lucyd-understood")
        self.method = ComboBox(choices=METHODS, tooltip=tooltip(Parameters, "method"))
        self.num_iter = SpinBox(
            min=1, max=_MOST_ITERATIONS, value=Parameters.num_iter, tooltip=tooltip(Parameters, "num_iter")
        )
        self.numbers = {
            name: LineEdit(value=_number(getattr(Parameters, name)), tooltip=tooltip(Parameters, name))
            for name in NUMBERS
            if name != "num_iter"
        }
        self.numbers["tolerance"].native.setPlaceholderText("off")
        self.model = ComboBox(choices=[], tooltip=tooltip(Parameters, "model"))
        self.load = PushButton(
            text="File…", tooltip="Load a model from a file: .safetensors, or the authors' .pth."
        )
        self.about = note("lucyd-about")
        self.normalization = ComboBox(
            choices=SCALINGS, value="model", tooltip=tooltip(Parameters, "normalization")
        )
        self.isotropic = ComboBox(choices=ISOTROPIC, value="auto", tooltip=tooltip(Parameters, "isotropic"))
        self.device = ComboBox(
            choices=[("Automatic", "auto"), ("CPU", "cpu")], tooltip=tooltip(Parameters, "device")
        )
        self.region = ComboBox(choices=REGIONS, value=WHOLE, tooltip=tooltip(Parameters, "region"))
        self.draw = PushButton(
            text="Draw…", tooltip="Adds a shapes layer and lets you draw the rectangle on the image."
        )
        self.z_range = RangeSlider(min=0, max=1, value=(0, 1), tooltip=tooltip(Parameters, "z_range"))
        # The two ends say themselves where they are; the range's own ends are the image's.
        self.z_range.native.setEdgeLabelMode(self.z_range.native.EdgeLabelMode.NoLabel)
        self.where = note("lucyd-where")
        self.outputs = {
            name: CheckBox(
                text=PART_NAMES[name].capitalize(),
                value=name != "intermediate",
                tooltip=tooltip(Parameters, "outputs"),
            )
            for name in PARTS
        }
        self.store = ComboBox(choices=STORES, value=IN_MEMORY, tooltip=tooltip(Parameters, "folder"))
        self.folder = PushButton(text="Folder…", tooltip="Choose the folder that the results go to.")
        self.files = note("lucyd-files")
        self.tile = LineEdit(tooltip=tooltip(Parameters, "tile_shape"))
        self.tile.native.setPlaceholderText("automatic")
        self.halo = LineEdit(tooltip=tooltip(Parameters, "halo"))
        self.halo.native.setPlaceholderText("automatic")
        self.steps = {name: LineEdit(tooltip=tooltip(Parameters, name)) for name in STEPS}
        for line in self.steps.values():
            line.native.setPlaceholderText("off")
        self.flips = CheckBox(
            text=label(Parameters, "flips"), value=Parameters.flips, tooltip=tooltip(Parameters, "flips")
        )
        self.separate = ComboBox(choices=SEPARATE, value="C", tooltip=tooltip(Parameters, "separate"))
        self.estimate = note("lucyd-estimate")
        self.preview = QToggleSwitch("Live preview")
        self.preview_note = note("lucyd-preview")
        self.preview.setToolTip(
            "Deconvolves a patch around the cursor as you browse and lays it over the image; it grows "
            "and becomes exact while the view rests."
        )
        self.run = PushButton(
            text="Run", enabled=False, tooltip="Deconvolve; the result is added as new layers."
        )
        self.cancel = PushButton(text="Cancel", enabled=False, tooltip="Stop; what is finished can be kept.")
        self.progress = ProgressBar(min=0, max=1, value=0)
        self.status = note("lucyd-status")
        self.keep = PushButton(
            text="Keep finished part", tooltip="Add the layers; the rest of them is empty."
        )
        self.discard = PushButton(text="Discard")
        self.side_by_side = PushButton(
            text="Show side by side",
            tooltip="Input and results in a grid, with their names; again to go back.",
        )
        self.save = PushButton(
            text="Save…",
            tooltip="Write the results as OME-TIFF, with voxel size, unit and the recipe.",
        )
        self.save_as = ComboBox(
            choices=[("float32", "float32"), ("uint16", "uint16")],
            tooltip="float32 keeps the values exactly. uint16 is half as large; its scale and offset are in "
            "the file.",
        )
        self.run.native.setObjectName("lucyd-run")
        self.side_by_side.native.setCheckable(True)
        for button in (self.load, self.draw, self.folder, self.save_as):
            button.native.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        for combo in (
            self.image,
            self.method,
            self.model,
            self.normalization,
            self.isotropic,
            self.device,
            self.region,
            self.store,
            self.separate,
        ):
            narrow(combo.native)

    def _image(self) -> QGroupBox:
        group, rows = self._group("Image")
        add(rows, "Image", self.image.native)
        add(rows, "", self.also)
        add(rows, label(Parameters, "axes"), self.axes.native)
        add(rows, "", self.understood)
        return group

    def _method(self) -> QGroupBox:
        group, rows = self._group("Method")
        add(rows, label(Parameters, "method"), self.method.native)
        self._network, network = self._inner(rows)
        add(network, label(Parameters, "model"), row(self.model.native, self.load.native))
        add(network, "", self.about)
        add(network, label(Parameters, "normalization"), self.normalization.native)
        add(network, label(Parameters, "isotropic"), self.isotropic.native)
        add(rows, label(Parameters, "num_iter"), self.num_iter.native)
        add(rows, label(Parameters, "balance"), self.numbers["balance"].native)
        add(rows, label(Parameters, "device"), self.device.native)
        return group

    def _region(self) -> QGroupBox:
        group, rows = self._group("Region")
        add(rows, label(Parameters, "region"), row(self.region.native, self.draw.native))
        add(rows, label(Parameters, "z_range"), self.z_range.native)
        add(rows, "", self.where)
        return group

    def _results(self) -> QGroupBox:
        group, rows = self._group("Results")
        self._parts = QWidget()
        grid = QGridLayout(self._parts)
        grid.setContentsMargins(0, 0, 0, 0)
        for number, name in enumerate(PARTS):
            grid.addWidget(self.outputs[name].native, number // 2, number % 2)
        rows.addRow(self._parts)
        add(rows, label(Parameters, "folder"), row(self.store.native, self.folder.native))
        add(rows, "", self.files)
        return group

    def _group(self, title: str) -> tuple[QGroupBox, QFormLayout]:
        group = QGroupBox(title)
        rows = form_layout(group)
        self._rows.append(rows)
        return group, rows

    def _inner(self, rows: QFormLayout) -> tuple[QWidget, QFormLayout]:
        """Rows that come and go together."""
        part, inner = inner_form()
        rows.addRow(part)
        self._rows.append(inner)
        return part, inner

    def _advanced(self) -> QCollapsible:
        collapsible = QCollapsible("Advanced", collapsedIcon="▸", expandedIcon="▾")
        content = QWidget()
        rows = form_layout(content)
        self._rows.append(rows)
        self._tiling, tiling = self._inner(rows)
        add(tiling, label(Parameters, "tile_shape"), self.tile.native)
        add(tiling, label(Parameters, "halo"), self.halo.native)
        add(tiling, label(Parameters, "separate"), self.separate.native)
        add(tiling, "", self.flips.native)
        for name, line in self.steps.items():
            add(rows, label(Parameters, name), line.native)
        for name in _ADVANCED:
            add(rows, label(Parameters, name), self.numbers[name].native)
        collapsible.addWidget(content)
        self.advanced = collapsible
        return collapsible

    def _footer(self) -> QWidget:
        footer = QFrame()
        footer.setObjectName("lucyd-footer")
        column = QVBoxLayout(footer)
        column.setContentsMargins(_MARGIN + 2, _MARGIN, _MARGIN + 2, _MARGIN)
        column.setSpacing(6)
        column.addWidget(self.estimate)
        column.addWidget(row(self.preview, self.preview_note, stretch=(0, 1)))
        column.addWidget(row(self.run.native, self.cancel.native, stretch=(2, 1)))
        column.addWidget(self.progress.native)
        column.addWidget(self.status)
        self.partial = row(self.keep.native, self.discard.native, stretch=(1, 1))
        self.partial.hide()
        column.addWidget(self.partial)
        self.results = row(self.side_by_side.native, self.save.native, self.save_as.native, stretch=(2, 1, 0))
        self.results.setEnabled(False)
        column.addWidget(self.results)
        bar = self.progress.native
        bar.setTextVisible(True)
        bar.setFormat("")
        return footer

    def show_row(self, control: QWidget, visible: bool) -> None:
        """Show or hide a control together with its label."""
        for rows in self._rows:
            show_row(rows, control, visible)

    def show_method(self, name: str, classical: bool) -> None:
        """Show what a method has; all else goes away."""
        for part in (self._network, self._tiling):
            self.show_row(part, not classical)
        self.show_row(self._parts, not (classical or self.flips.value))
        self.psf.setVisible(classical)
        own = numbers_of(name)
        self.show_row(self.num_iter.native, "num_iter" in own)
        for number, line in self.numbers.items():
            self.show_row(line.native, number in own)

    def colour(self, accent: str, text: str, line: str) -> None:
        """Take the theme's colours: `accent` for Run, `text` dimmed for notes, `line` above the footer."""
        self.setStyleSheet(style_sheet(accent, text, line))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
