"""The panel's choice of a method, and the numbers of the classical ones."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_lucyd._napari.deconvolve.form import Form
from napari_lucyd._napari.deconvolve.parameters import LUCYD, Parameters, numbers_of
from napari_lucyd._napari.widgets.fields import label, parse_number
from napari_lucyd.deconvolution import CLASSICAL_METHODS


class MethodChoice(QObject):
    """Shows the controls that a method has, and hides those that it has no use for.

    Parameters
    ----------
    form
        Holds the controls.
    """

    changed = Signal()
    """Another method, or another number of it."""
    chosen = Signal()
    """Another method."""

    def __init__(self, form: Form) -> None:
        super().__init__(form)
        self.form = form
        form.method.changed.connect(self._on_chosen)
        form.flips.changed.connect(self._show)
        form.num_iter.changed.connect(self._on_number)
        for line in form.numbers.values():
            line.changed.connect(self._on_number)
        self._show()

    @property
    def name(self) -> str:
        """Of the method, as `Parameters` has it."""
        return str(self.form.method.value or LUCYD)

    @property
    def classical(self) -> bool:
        """Whether it is one that is told the PSF."""
        return self.name in CLASSICAL_METHODS

    def numbers(self) -> dict[str, Any]:
        """The numbers of the method, by argument; a network has none.

        Raises
        ------
        ValueError
            If one of them cannot be read.
        """
        found: dict[str, Any] = {}
        for name in numbers_of(self.name):
            if name == "num_iter":
                found[name] = int(self.form.num_iter.value)
            else:
                number = parse_number(label(Parameters, name), self.form.numbers[name].value)
                found[name] = getattr(Parameters, name) if number is None else number
        return found

    def _on_chosen(self, *_: Any) -> None:
        self._show()
        self.chosen.emit()
        self.changed.emit()

    def _on_number(self, *_: Any) -> None:
        self.changed.emit()

    def _show(self, *_: Any) -> None:
        self.form.show_method(self.name, self.classical)
