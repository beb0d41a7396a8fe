"""Controls of the Inspect panel."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import ComboBox, PushButton
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QGridLayout, QLabel, QSlider, QWidget

from napari_lucyd._napari.inspection.attribution import PARTS, Voxel
from napari_lucyd._napari.widgets.layout import Section, fill_footer, fixed, note, row, set_note
from napari_lucyd._napari.widgets.long_entries import narrow

HOLD_KEY = "B"
NO_VOXEL = "Move the mouse over the result to see the numbers of a voxel."


class LookSection(Section):
    """The result beside its image: hold, curtain, contrast limits and strength."""

    def __init__(self) -> None:
        super().__init__("Result and image")
        self.result = ComboBox(choices=[], tooltip="The output to look at.")
        self.image = ComboBox(choices=[], tooltip="The image that was deconvolved.")
        self.hold = PushButton(
            text=f"Hold for image ({HOLD_KEY})",
            tooltip=f"Shows the image as long as you hold the button, or the key {HOLD_KEY}.",
        )
        self.curtain = _slider("Draws the image over the result from the left, like a curtain.", 0)
        self.limits = PushButton(
            text="Same limits",
            tooltip="Give the result the contrast limits of the image, to compare brightness by eye. Press "
            "again for the result's own: the upper limit then fits its brightest structures.",
        )
        self.limits.native.setCheckable(True)
        self.limits_note = note("lucyd-limits")
        self.strength = _slider(
            "Takes only a part of the change: image + strength · (output − image), without a new run.", 100
        )
        self.strength_text = _number()
        self.keep = PushButton(text="Keep", tooltip="Add the result with this strength as a new layer.")
        fixed(self.keep.native)
        for combo in (self.result, self.image):
            narrow(combo.native)
        self.add("Result", self.result.native)
        self.add("Image", self.image.native)
        self.add("Compare", row(self.hold.native, self.limits.native, stretch=(1, 1)))
        self.add("Curtain", self.curtain)
        self.add("Strength", row(self.strength, self.strength_text, self.keep.native, stretch=(1, 0, 0)))
        self.rows.addRow(self.limits_note)
        self.limits_note.hide()

    def show_strength(self) -> None:
        """Write the strength beside its slider."""
        self.strength_text.setText(f"{self.strength.value()} %")
        self.keep.enabled = self.strength.value() < 100


class ChangeSection(Section):
    """The change at a voxel, part by part, and the layers of the change."""

    def __init__(self) -> None:
        super().__init__("Change under the cursor")
        self.place = note("lucyd-voxel")
        self.values: dict[str, QLabel] = {}
        self._rows: dict[str, tuple[QLabel, QLabel]] = {}
        grid_of = QWidget()
        grid = QGridLayout(grid_of)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(2)
        titles = {
            "image": "image",
            **{name: f"+ {text}" for name, text in PARTS.items()},
            "output": "= output",
        }
        for number, (name, text) in enumerate(titles.items()):
            label, value = QLabel(text), _number()
            grid.addWidget(label, number, 0)
            grid.addWidget(value, number, 1)
            self.values[name], self._rows[name] = value, (label, value)
        grid.setColumnStretch(0, 1)
        self.change = PushButton(
            text="Change as a layer", tooltip="Add output − image as a layer: warm = added, cold = removed."
        )
        self.parts = PushButton(
            text="Parts as layers",
            tooltip="Add the contributions of first estimate, mask and update term to the change, and the "
            "remainder that the network cut off, as layers. Their sum is the change.",
        )
        self.why = note("lucyd-why")
        self.rows.addRow(self.place)
        self.rows.addRow(grid_of)
        self.rows.addRow(self.why)
        self.rows.addRow(row(self.change.native, self.parts.native, stretch=(1, 1)))
        self.show_voxel(None)

    def show_why(self, text: str) -> None:
        """Say why the change is not divided into parts; an empty text says that it is."""
        set_note(self.why, text)
        self.why.setVisible(bool(text))
        self.parts.enabled = not text
        for name in PARTS:
            for widget in self._rows[name]:
                widget.setVisible(not text)

    def show_voxel(self, voxel: Voxel | None) -> None:
        """Write the numbers of a voxel."""
        set_note(self.place, NO_VOXEL if voxel is None else f"Voxel {voxel.place}, in units of the image.")
        for value in self.values.values():
            value.setText("–")
        if voxel is None:
            return
        digits = _digits(voxel)
        self.values["image"].setText(f"{voxel.image:.{digits}f}")
        self.values["output"].setText(f"{voxel.output:.{digits}f}")
        for name, amount in voxel.parts.items():
            # Adding 0 turns -0.0 into 0.0.
            self.values[name].setText(f"{round(amount, digits) + 0:+.{digits}f}")


class TrustSection(Section):
    """Score, trust map, planted beads and report of the result."""

    def __init__(self) -> None:
        super().__init__("Trust")
        self.score = PushButton(
            text="Score",
            tooltip="Repeat the run on two halves of the photons of a sample of the image. A good result of "
            "one half predicts the other half well, so no ground truth is needed. Larger is better; compare "
            "it with the score of the image itself.",
        )
        self.map = PushButton(
            text="Trust map",
            tooltip="Add a layer that marks blocks. In these, the result, blurred again, differs from the "
            "image by more than noise. At most 5 % of the marked blocks are marked by chance.",
        )
        self.interval = PushButton(
            text="Interval",
            tooltip="Add two layers, a lower and an upper limit. The truth lies between them in 90 % of the "
            "voxels. The limits must be calibrated for the model, the blur and the noise.",
        )
        self.beads = PushButton(
            text="Planted beads",
            tooltip="Add simulated beads and pairs, with the blur and the noise of the image, to an empty "
            "corner of a copy, and restore it. Reports how wide and how bright the beads come back, and from "
            "which distance pairs are resolved.",
        )
        self.report = PushButton(
            text="Save report…",
            tooltip="Write an HTML page with the score, figures, settings and a paragraph for the methods "
            "section, and the numbers as JSON beside it.",
        )
        self.methods = PushButton(
            text="Copy methods", tooltip="Copy a paragraph for the methods section of a paper."
        )
        self.line = note("lucyd-inspect-score")
        self.rows.addRow(row(self.score.native, self.map.native, self.interval.native, stretch=(1, 1, 1)))
        self.rows.addRow(row(self.beads.native, self.report.native, self.methods.native, stretch=(1, 1, 1)))
        self.rows.addRow(self.line)

    @property
    def buttons(self) -> tuple[PushButton, ...]:
        """All buttons of the section."""
        return self.score, self.map, self.interval, self.beads, self.report, self.methods


class InspectForm(QFrame):
    """Sections and status line."""

    def __init__(self) -> None:
        super().__init__()
        self.look = LookSection()
        self.change = ChangeSection()
        self.trust = TrustSection()
        self.status = note("lucyd-inspect-status")
        self.footer = QFrame()
        fill_footer(self.footer, self.status)

    @property
    def sections(self) -> tuple[QWidget, ...]:
        """The sections from the top."""
        return self.look, self.change, self.trust


def _slider(tooltip: str, value: int) -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setRange(0, 100)
    slider.setValue(value)
    slider.setToolTip(tooltip)
    return slider


def _number() -> QLabel:
    number = QLabel()
    number.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    number.setMinimumWidth(48)
    return number


def _digits(voxel: Voxel) -> int:
    """Return the decimals with which the largest number has four digits or more."""
    largest: Any = max(abs(number) for number in (voxel.image, voxel.output, *voxel.parts.values()))
    decimals = 0
    while decimals < 6 and 0 < largest < 1000:
        largest, decimals = largest * 10, decimals + 1
    return decimals
