"""Advanced section: settings that are seldom needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magicgui.widgets import CheckBox, ComboBox, LineEdit
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QWidget
from superqt import QCollapsible

from napari_lucyd._napari.deconvolve.choices.method import read_number
from napari_lucyd._napari.deconvolve.parameters import STEPS, Parameters, numbers_of
from napari_lucyd._napari.widgets.fields import (
    choose,
    label,
    number_text,
    parse_halo,
    parse_step,
    parse_tile,
    tooltip,
)
from napari_lucyd._napari.widgets.layout import add, form, show_row
from napari_lucyd._napari.widgets.long_entries import narrow
from napari_lucyd.deconvolution import CLASSICAL_METHODS

SEPARATE = [
    ("Per channel", "C"),
    ("All together", ""),
    ("Per channel and time point", "TC"),
]
_CLOSED, _OPEN = "▸  Advanced", "▾  Advanced"
_NUMBERS = ("background", "total_variation", "tolerance")


class AdvancedSection(QCollapsible):
    """Tiles and statistics of networks, steps before the method, and further numbers of classical methods."""

    changed = Signal()

    def __init__(self) -> None:
        # The title has the arrow: an icon would not follow the theme.
        super().__init__(_CLOSED, collapsedIcon=QIcon(), expandedIcon=QIcon())
        self.toggleButton().setObjectName("lucyd-toggle")
        self.toggled.connect(self._on_toggled)
        # Otherwise the Tab key stops in fields that cannot be seen.
        self.content().hide()
        self.tile = LineEdit(tooltip=tooltip(Parameters, "tile_shape"))
        self.halo = LineEdit(tooltip=tooltip(Parameters, "halo"))
        self.separate = ComboBox(choices=SEPARATE, value="C", tooltip=tooltip(Parameters, "separate"))
        self.flips = CheckBox(
            text=label(Parameters, "flips"), value=Parameters.flips, tooltip=tooltip(Parameters, "flips")
        )
        self.steps = {name: LineEdit(tooltip=tooltip(Parameters, name)) for name in STEPS}
        self.numbers = {
            name: LineEdit(value=number_text(getattr(Parameters, name)), tooltip=tooltip(Parameters, name))
            for name in _NUMBERS
        }
        self.acceleration = CheckBox(
            text=label(Parameters, "acceleration"),
            value=Parameters.acceleration,
            tooltip=tooltip(Parameters, "acceleration"),
        )
        self.local_stopping = CheckBox(
            text=label(Parameters, "local_stopping"),
            value=Parameters.local_stopping,
            tooltip=tooltip(Parameters, "local_stopping"),
        )
        self._switches = {"acceleration": self.acceleration, "local_stopping": self.local_stopping}
        narrow(self.separate.native)
        for line in (self.tile, self.halo, self.numbers["background"]):
            line.native.setPlaceholderText("automatic")
        for line in (*self.steps.values(), self.numbers["tolerance"]):
            line.native.setPlaceholderText("off")
        content = QWidget()
        self._rows = form(content)
        add(self._rows, label(Parameters, "tile_shape"), self.tile.native)
        add(self._rows, label(Parameters, "halo"), self.halo.native)
        add(self._rows, label(Parameters, "separate"), self.separate.native)
        add(self._rows, "", self.flips.native)
        for name, line in (*self.steps.items(), *self.numbers.items()):
            add(self._rows, label(Parameters, name), line.native)
        for switch in self._switches.values():
            add(self._rows, "", switch.native)
        self.addWidget(content)
        self._controls: dict[str, Any] = {
            "tile_shape": self.tile,
            "halo": self.halo,
            "separate": self.separate,
            "flips": self.flips,
            **self._switches,
            **self.steps,
            **self.numbers,
        }
        for control in self._controls.values():
            control.changed.connect(self._on_changed)

    def parameters(self, method: str) -> dict[str, Any]:
        """Return the settings that a method has, by field of `Parameters`.

        Raises
        ------
        ValueError
            If one of them cannot be read.
        """
        found: dict[str, Any] = {
            name: parse_step(label(Parameters, name), line.value) for name, line in self.steps.items()
        }
        own = numbers_of(method)
        found |= {name: read_number(name, line.value) for name, line in self.numbers.items() if name in own}
        found |= {name: bool(switch.value) for name, switch in self._switches.items() if name in own}
        if method not in CLASSICAL_METHODS:
            found |= {
                "tile_shape": parse_tile(self.tile.value),
                "halo": parse_halo(self.halo.value),
                "flips": bool(self.flips.value),
            }
        return {**found, "separate": self.separate.value}

    def entries(self) -> dict[str, Any]:
        """Return what is entered, for `enter`."""
        return {name: control.value for name, control in self._controls.items()}

    def enter(self, entries: Mapping[str, Any]) -> None:
        """Enter values by name, and open the section if one of them is not the default."""
        before = self.entries()
        for name, control in self._controls.items():
            if name not in entries:
                continue
            if isinstance(control, ComboBox):
                choose(control, entries[name])
            else:
                control.value = entries[name]
        if self.entries() != before:
            self.expand(animate=False)

    def show_method(self, method: str) -> None:
        """Show the controls that a method has, and hide the others."""
        for control in (self.tile, self.halo, self.separate, self.flips):
            show_row(self._rows, control.native, method not in CLASSICAL_METHODS)
        own = numbers_of(method)
        for name, line in self.numbers.items():
            show_row(self._rows, line.native, name in own)
        for name, switch in self._switches.items():
            show_row(self._rows, switch.native, name in own)

    def _on_toggled(self, opened: bool) -> None:
        self.setText(_OPEN if opened else _CLOSED)
        self.content().setVisible(opened)

    def _on_changed(self, *_: Any) -> None:
        self.changed.emit()
