"""How the Deconvolve panel looks: its controls, grouped and labelled; what they do is in `widget`."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import CheckBox, ComboBox, LineEdit, ProgressBar, PushButton, RangeSlider, SpinBox
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFormLayout,
    QFrame,
    QGridLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible, QToggleSwitch

from napari_lucyd._napari.parameters import (
    QUANTITIES,
    QUANTITY_NAMES,
    RECTANGLE,
    SCREEN,
    WHOLE,
    label,
    tooltip,
)

SCALINGS = [
    ("As the model was trained", "model"),
    ("Minimum to maximum", "minmax"),
    ("Robust percentiles", "percentile"),
    ("None: the image is 0 to 1 already", "none"),
]
ISOTROPIC = [
    ("Automatic: where Z steps differ", "auto"),
    ("Always resample Z", "on"),
    ("Never", "off"),
]
SEPARATE = [
    ("Each channel, all time points together", "C"),
    ("Everything together", ""),
    ("Each channel and time point", "TC"),
]
REGIONS = [("Whole image", WHOLE), ("What is on screen", SCREEN), ("Drawn rectangle", RECTANGLE)]
_MARGIN = 8


class Form(QWidget):
    """The panel's controls. Magicgui widgets hold the values; Qt lays them out."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("lucyd-form")
        self._make_controls()
        body = QWidget()
        sections = QVBoxLayout(body)
        sections.setContentsMargins(_MARGIN, _MARGIN, _MARGIN, 0)
        sections.setSpacing(10)
        for section in (self._image(), self._model(), self._region(), self._layers()):
            sections.addWidget(section)
        sections.addWidget(self._advanced())
        sections.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(body)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(scroll, 1)
        column.addWidget(self._footer())
        self.setMinimumWidth(340)

    def _make_controls(self) -> None:
        self.image = ComboBox(
            choices=[], nullable=True, tooltip="The image to deconvolve; follows the active layer."
        )
        self.also = _note("lucyd-also")
        self.axes = LineEdit(tooltip=tooltip("axes"))
        self.understood = _note("lucyd-understood")
        self.model = ComboBox(choices=[], tooltip=tooltip("model"))
        self.load = PushButton(
            text="File…", tooltip="Load a model from a file: .safetensors, or the authors' .pth."
        )
        self.about = _note("lucyd-about")
        self.normalization = ComboBox(choices=SCALINGS, value="model", tooltip=tooltip("normalization"))
        self.isotropic = ComboBox(choices=ISOTROPIC, value="auto", tooltip=tooltip("isotropic"))
        self.device = ComboBox(choices=[("Automatic", "auto"), ("CPU", "cpu")], tooltip=tooltip("device"))
        self.region = ComboBox(choices=REGIONS, value=WHOLE, tooltip=tooltip("region"))
        self.draw = PushButton(
            text="Draw…", tooltip="Adds a shapes layer and lets you draw the rectangle on the image."
        )
        self.z_range = RangeSlider(min=0, max=1, value=(0, 1), tooltip=tooltip("z_range"))
        self.where = _note("lucyd-where")
        self.outputs = {
            name: CheckBox(
                text=QUANTITY_NAMES[name].capitalize(),
                value=name != "intermediate",
                tooltip=tooltip("outputs"),
            )
            for name in QUANTITIES
        }
        self.tile = LineEdit(tooltip=tooltip("tile_shape"))
        self.tile.native.setPlaceholderText("automatic")
        self.halo = SpinBox(min=-1, max=64, value=-1, tooltip=tooltip("halo"))
        self.halo.native.setSpecialValueText("automatic (24)")
        self.separate = ComboBox(choices=SEPARATE, value="C", tooltip=tooltip("separate"))
        self.estimate = _note("lucyd-estimate")
        self.preview = QToggleSwitch("Live preview")
        self.preview.setToolTip(
            "Deconvolves a patch around the cursor as you browse and lays it over the image; it grows "
            "and becomes exact while the view rests."
        )
        self.run = PushButton(text="Run", tooltip="Deconvolve; the result is added as new layers.")
        self.cancel = PushButton(text="Cancel", enabled=False, tooltip="Stop; what is finished can be kept.")
        self.progress = ProgressBar(min=0, max=1, value=0)
        self.status = _note("lucyd-status")
        self.keep = PushButton(
            text="Keep finished part", tooltip="Add the layers; the rest of them is empty (NaN)."
        )
        self.discard = PushButton(text="Discard")
        self.side_by_side = PushButton(
            text="Show side by side",
            tooltip="Input and results in a grid, with their names; again to go back.",
        )
        self.save = PushButton(
            text="Save…",
            tooltip="Write the results as OME-TIFF with voxel size, unit and the recipe of the run.",
        )
        self.save_as = ComboBox(
            choices=[("float32", "float32"), ("uint16", "uint16")],
            tooltip="float32 keeps the values exactly. uint16 is half as large; its scale and offset are in the file.",
        )
        self.run.native.setObjectName("lucyd-run")
        self.side_by_side.native.setCheckable(True)
        for button in (self.load, self.draw, self.save_as):
            button.native.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        for combo in (
            self.image,
            self.model,
            self.normalization,
            self.isotropic,
            self.device,
            self.region,
            self.separate,
        ):
            # A long layer name must not make the panel wider.
            combo.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            combo.native.setMinimumContentsLength(8)
            combo.native.setSizeAdjustPolicy(
                combo.native.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
        for label_ in (self.also, self.where):
            label_.hide()

    def _image(self) -> QGroupBox:
        group, rows = _group("Image")
        rows.addRow("Image", self.image.native)
        rows.addRow("", self.also)
        rows.addRow(label("axes"), self.axes.native)
        rows.addRow("", self.understood)
        return group

    def _model(self) -> QGroupBox:
        group, rows = _group("Model")
        rows.addRow(label("model"), _row(self.model.native, self.load.native))
        rows.addRow("", self.about)
        rows.addRow(label("normalization"), self.normalization.native)
        rows.addRow(label("isotropic"), self.isotropic.native)
        rows.addRow(label("device"), self.device.native)
        return group

    def _region(self) -> QGroupBox:
        group, rows = _group("Region")
        rows.addRow(label("region"), _row(self.region.native, self.draw.native))
        rows.addRow(label("z_range"), self.z_range.native)
        rows.addRow("", self.where)
        self.region_rows = rows
        return group

    def _layers(self) -> QGroupBox:
        group = QGroupBox("Layers to show")
        grid = QGridLayout(group)
        grid.setContentsMargins(10, 8, 10, 8)
        for number, name in enumerate(QUANTITIES):
            grid.addWidget(self.outputs[name].native, number // 2, number % 2)
        return group

    def _advanced(self) -> QCollapsible:
        collapsible = QCollapsible("Advanced")
        content = QWidget()
        rows = _form(content)
        rows.addRow(label("tile_shape"), self.tile.native)
        rows.addRow(label("halo"), self.halo.native)
        rows.addRow(label("separate"), self.separate.native)
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
        column.addWidget(self.preview)
        column.addWidget(_row(self.run.native, self.cancel.native, stretch=(2, 1)))
        column.addWidget(self.progress.native)
        column.addWidget(self.status)
        self.partial = _row(self.keep.native, self.discard.native, stretch=(1, 1))
        self.partial.hide()
        column.addWidget(self.partial)
        self.results = _row(
            self.side_by_side.native, self.save.native, self.save_as.native, stretch=(2, 1, 0)
        )
        self.results.setEnabled(False)
        column.addWidget(self.results)
        bar = self.progress.native
        bar.setTextVisible(True)
        bar.setFormat("")
        return footer

    def show_z_range(self, visible: bool) -> None:
        """Show or hide the row with the range of planes."""
        self.region_rows.setRowVisible(self.z_range.native, visible)

    def colour(self, accent: str, text: str, line: str) -> None:
        """Take the theme's colours: `accent` for Run, `text` dimmed for notes, `line` above the footer."""
        self.setStyleSheet(
            f"QLabel[note='true'] {{ color: {text}; font-size: 11px; }}"
            f"QLabel[problem='true'] {{ color: #e8853d; font-size: 11px; }}"
            f"QPushButton#lucyd-run {{ background-color: {accent}; font-weight: bold; }}"
            f"QPushButton#lucyd-run:disabled {{ background-color: {line}; font-weight: normal; }}"
            f"QFrame#lucyd-footer {{ border-top: 1px solid {line}; }}"
            "QGroupBox { font-weight: bold; }"
        )


def say(note: QLabel, text: str, *, problem: bool = False) -> None:
    """Write a line; problems stand out in colour."""
    if note.property("problem") != problem:
        note.setProperty("problem", problem)
        note.style().unpolish(note)
        note.style().polish(note)
    note.setText(text)


def _note(name: str) -> QLabel:
    note = QLabel()
    note.setObjectName(name)
    note.setProperty("note", True)
    note.setWordWrap(True)
    note.setTextFormat(Qt.TextFormat.PlainText)
    note.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return note


def _group(title: str) -> tuple[QGroupBox, QFormLayout]:
    group = QGroupBox(title)
    return group, _form(group)


def _form(parent: QWidget) -> QFormLayout:
    rows = QFormLayout(parent)
    rows.setContentsMargins(10, 8, 10, 8)
    rows.setHorizontalSpacing(10)
    rows.setVerticalSpacing(6)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    rows.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    return rows


def _row(*widgets: Any, stretch: tuple[int, ...] = ()) -> QWidget:
    row = QWidget()
    line = QHBoxLayout(row)
    line.setContentsMargins(0, 0, 0, 0)
    line.setSpacing(6)
    for number, widget in enumerate(widgets):
        line.addWidget(widget, stretch[number] if stretch else 0)
    return row
