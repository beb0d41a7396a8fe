"""How the Deconvolve panel looks: its controls, grouped and labelled; what they do is in `widget`."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import CheckBox, ComboBox, LineEdit, ProgressBar, PushButton, RangeSlider
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
_MARGIN = 8
_LABEL_WIDTH = 64


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
        self.setMinimumWidth(380)

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
        # The two ends say themselves where they are; the range's own ends are the image's.
        self.z_range.native.setEdgeLabelMode(self.z_range.native.EdgeLabelMode.NoLabel)
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
        self.halo = LineEdit(tooltip=tooltip("halo"))
        self.halo.native.setPlaceholderText("automatic")
        self.separate = ComboBox(choices=SEPARATE, value="C", tooltip=tooltip("separate"))
        self.estimate = _note("lucyd-estimate")
        self.preview = QToggleSwitch("Live preview")
        self.preview_note = _note("lucyd-preview")
        self.preview.setToolTip(
            "Deconvolves a patch around the cursor as you browse and lays it over the image; it grows "
            "and becomes exact while the view rests."
        )
        self.run = PushButton(
            text="Run", enabled=False, tooltip="Deconvolve; the result is added as new layers."
        )
        self.cancel = PushButton(text="Cancel", enabled=False, tooltip="Stop; what is finished can be kept.")
        self.progress = ProgressBar(min=0, max=1, value=0)
        self.status = _note("lucyd-status")
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

    def _image(self) -> QGroupBox:
        group, rows = self._group("Image")
        _add(rows, "Image", self.image.native)
        _add(rows, "", self.also)
        _add(rows, label("axes"), self.axes.native)
        _add(rows, "", self.understood)
        return group

    def _model(self) -> QGroupBox:
        group, rows = self._group("Model")
        _add(rows, label("model"), _row(self.model.native, self.load.native))
        _add(rows, "", self.about)
        _add(rows, label("normalization"), self.normalization.native)
        _add(rows, label("isotropic"), self.isotropic.native)
        _add(rows, label("device"), self.device.native)
        return group

    def _region(self) -> QGroupBox:
        group, rows = self._group("Region")
        _add(rows, label("region"), _row(self.region.native, self.draw.native))
        _add(rows, label("z_range"), self.z_range.native)
        _add(rows, "", self.where)
        return group

    def _layers(self) -> QGroupBox:
        group = QGroupBox("Layers to show")
        grid = QGridLayout(group)
        grid.setContentsMargins(10, 8, 10, 8)
        for number, name in enumerate(QUANTITIES):
            grid.addWidget(self.outputs[name].native, number // 2, number % 2)
        return group

    def _group(self, title: str) -> tuple[QGroupBox, QFormLayout]:
        group = QGroupBox(title)
        rows = _form(group)
        self._rows.append(rows)
        return group, rows

    def _advanced(self) -> QCollapsible:
        collapsible = QCollapsible("Advanced", collapsedIcon="▸", expandedIcon="▾")
        content = QWidget()
        rows = _form(content)
        _add(rows, label("tile_shape"), self.tile.native)
        _add(rows, label("halo"), self.halo.native)
        _add(rows, label("separate"), self.separate.native)
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
        column.addWidget(_row(self.preview, self.preview_note, stretch=(0, 1)))
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

    def show_row(self, control: QWidget, visible: bool) -> None:
        """Show or hide a control together with its label."""
        for rows in self._rows:
            if rows.indexOf(control) >= 0:
                rows.setRowVisible(control, visible)

    def colour(self, accent: str, text: str, line: str) -> None:
        """Take the theme's colours: `accent` for Run, `text` dimmed for notes, `line` above the footer."""
        self.setStyleSheet(
            f"QLabel[note='true'] {{ color: {text}; font-size: 11px; }}"
            f"QLabel[problem='true'] {{ color: #e8853d; font-size: 11px; }}"
            f"QPushButton#lucyd-run {{ background-color: {accent}; font-weight: bold; }}"
            f"QPushButton#lucyd-run:disabled {{ background-color: {line}; font-weight: normal; }}"
            f"QFrame#lucyd-footer {{ border-top: 1px solid {line}; }}"
            f"QProgressBar::chunk {{ background-color: {accent}; }}"
            "QGroupBox { font-weight: bold; } QGroupBox QWidget { font-weight: normal; }"
        )


def say(note: QLabel, text: str, *, problem: bool = False) -> None:
    """Write a line; problems stand out in colour."""
    if note.property("problem") != problem:
        note.setProperty("problem", problem)
        # Style sheets look at properties only when a widget is polished.
        style: Any = note.style()
        style.unpolish(note)
        style.polish(note)
    note.setText(text)


def _note(name: str) -> QLabel:
    note = QLabel()
    note.setObjectName(name)
    note.setProperty("note", True)
    note.setWordWrap(True)
    # Word-wrapped labels otherwise reserve the height that they would have in a narrow column.
    note.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    note.setTextFormat(Qt.TextFormat.PlainText)
    note.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return note


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


def _add(rows: QFormLayout, text: str, control: QWidget) -> None:
    name = QLabel(text)
    # So that the controls of all groups begin at one line.
    name.setMinimumWidth(_LABEL_WIDTH)
    rows.addRow(name, control)
