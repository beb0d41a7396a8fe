"""Method section: the method, the numbers of classical methods, and the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magicgui.widgets import ComboBox, LineEdit
from qtpy.QtCore import Signal  # type: ignore[attr-defined]

from napari_lucyd._napari.deconvolve.choices.network_model import ModelChoice
from napari_lucyd._napari.deconvolve.parameters import (
    AUTOMATIC,
    METHODS,
    NEEDS_PSF,
    USES_MICROSCOPE,
    Parameters,
    numbers_of,
)
from napari_lucyd._napari.layers.results import PART_NAMES
from napari_lucyd._napari.widgets.fields import (
    AUTOMATIC_ENTRIES,
    choose,
    label,
    number_text,
    parse_number,
    tooltip,
)
from napari_lucyd._napari.widgets.layout import Section
from napari_lucyd._napari.widgets.long_entries import narrow
from napari_lucyd._napari.workers import torch_loading
from napari_lucyd.deconvolution import CLASSICAL_METHODS
from napari_lucyd.models.catalogue import PACKAGE


class MethodSection(Section):
    """Shows the controls that the chosen method uses, and hides the others."""

    changed = Signal()
    """Another method, or another setting of it."""
    chosen = Signal()
    """Another method."""

    def __init__(self) -> None:
        super().__init__("Method")
        self.combo = ComboBox(choices=METHODS, value=AUTOMATIC, tooltip=tooltip(Parameters, "method"))
        self.model = ModelChoice(self.combo)
        self.num_iter = LineEdit(
            value=number_text(Parameters.num_iter), tooltip=tooltip(Parameters, "num_iter")
        )
        self.num_iter.native.setPlaceholderText("automatic")
        self.balance = LineEdit(value=number_text(Parameters.balance), tooltip=tooltip(Parameters, "balance"))
        self.device = ComboBox(
            choices=[("Automatic", "auto"), ("CPU", "cpu")], tooltip=tooltip(Parameters, "device")
        )
        for combo in (self.combo, self.device):
            narrow(combo.native)
        self.add(label(Parameters, "method"), self.combo.native)
        self.rows.addRow(self.model)
        self.add(label(Parameters, "num_iter"), self.num_iter.native)
        self.add(label(Parameters, "balance"), self.balance.native)
        self.add(label(Parameters, "device"), self.device.native)
        self.combo.changed.connect(self._on_chosen)
        for control in (self.num_iter, self.balance, self.device):
            control.changed.connect(self._on_setting)
        self.model.changed.connect(self.changed)
        self._show()

    @property
    def name(self) -> str:
        """Name of the method, as `Parameters` has it."""
        return str(self.combo.value or AUTOMATIC)

    @property
    def shown_name(self) -> str:
        """Name of the method, as the list shows it."""
        return str(self.combo.native.currentText())

    @property
    def automatic(self) -> bool:
        """True if the method is chosen when the run starts."""
        return self.name == AUTOMATIC

    @property
    def classical(self) -> bool:
        """True for a classical method."""
        return self.name in CLASSICAL_METHODS

    @property
    def parts(self) -> tuple[str, ...]:
        """Outputs of the method."""
        if self.automatic:
            return tuple(PART_NAMES)
        return ("output",) if self.classical else self.model.parts

    @property
    def dimension(self) -> int:
        """Number of spatial axes of the method; a classical one can have three."""
        return 3 if self.classical else self.model.dimension

    @property
    def uses_microscope(self) -> bool:
        """True for a method that uses what is known about the blur."""
        if self.automatic:
            return True
        return self.name in USES_MICROSCOPE or (not self.classical and self.model.uses_microscope)

    @property
    def needs_psf(self) -> bool:
        """True for a method that needs a PSF."""
        return self.name in NEEDS_PSF

    def parameters(self) -> dict[str, Any]:
        """Return the settings of this section, by field of `Parameters`.

        Raises
        ------
        ValueError
            If a number cannot be read, or a package is chosen and not loaded.
        """
        found: dict[str, Any] = {
            "method": self.name,
            "device": self.device.value,
            **self.model.parameters(),
        }
        if self.automatic:
            found |= {"model": self.model.default, "normalization": "model", "isotropic": None}
        own = numbers_of(self.name)
        if "num_iter" in own:
            found["num_iter"] = read_count("num_iter", self.num_iter.value)
        if "balance" in own:
            found["balance"] = read_number("balance", self.balance.value)
        return found

    def entries(self) -> dict[str, Any]:
        """Return what is entered, for `enter`."""
        return {
            "method": self.name,
            **self.model.entries(),
            "num_iter": self.num_iter.value,
            "balance": self.balance.value,
            "device": self.device.value,
        }

    def enter(self, entries: Mapping[str, Any]) -> None:
        """Enter values by name; what cannot be chosen here stays as it is."""
        if entries.get("method") != PACKAGE:  # its package is loaded first, and then chooses it
            choose(self.combo, entries.get("method"))
        self.model.enter(entries)
        choose(self.device, entries.get("device"))
        for name, line in (("num_iter", self.num_iter), ("balance", self.balance)):
            if name in entries:
                line.value = str(entries[name])

    def list_devices(self) -> None:
        """Offer the devices that torch has found; call it when torch is loaded."""
        if len(self.device.choices) == 2:
            self.device.choices = torch_loading.list_devices()

    def _on_chosen(self, *_: Any) -> None:
        self._show()
        self.chosen.emit()
        self.changed.emit()

    def _on_setting(self, *_: Any) -> None:
        self.changed.emit()

    def _show(self) -> None:
        own = numbers_of(self.name)
        self.show_row(self.model, not (self.classical or self.automatic))
        self.show_row(self.num_iter.native, "num_iter" in own)
        self.show_row(self.balance.native, "balance" in own)


def read_count(name: str, text: str) -> Any:
    """Read a whole number of at least 1; the default where the line is empty."""
    text = text.strip()
    if text.lower() in AUTOMATIC_ENTRIES:
        return getattr(Parameters, name)
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(
            f"{label(Parameters, name)}: {text!r} is not a whole number of at least 1. Enter one, for "
            "example 20, or leave it empty for automatic."
        )
    return int(text)


def read_number(name: str, text: str) -> Any:
    """Read the number of a classical method; the default where the line is empty."""
    number = parse_number(label(Parameters, name), text)
    return getattr(Parameters, name) if number is None else number
