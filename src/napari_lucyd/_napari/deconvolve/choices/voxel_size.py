"""Fields for the voxel size of the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magicgui.widgets import LineEdit, PushButton
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_lucyd._napari.widgets.fields import parse_number
from napari_lucyd._napari.widgets.layout import fixed, note, row, set_note
from napari_lucyd._napari.workers.events import explain

TITLE = "Voxel size"
UNKNOWN = "The voxel size is unknown. Enter it in µm."
ON_LAYER = "From the layer"
_TOOLTIP = (
    "Voxel size along {} in µm. It comes from the layer's scale or, if that has no unit of length, from the "
    "file that the layer was opened from, or from a result of it that you opened. Your entry takes the place "
    "of all. Empty all fields to undo it. "
    "Results get this voxel size."
)


def size_text(size: float) -> str:
    """Write a voxel size as a field shows it.

    Examples
    --------
    >>> size_text(0.1 + 0.2)
    '0.3'
    """
    return f"{size:.6g}"


class VoxelSizeFields(QWidget):
    """Three fields, Z, Y and X in µm, with a line of text and a button that passes them on to the layer."""

    entered = Signal(object)
    """The sizes in µm by axis; None if the user has emptied the fields."""
    refused = Signal()
    """The text of a field is no voxel size; `problem` says why."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = {letter: LineEdit(tooltip=_TOOLTIP.format(letter)) for letter in "ZYX"}
        self.note = note("lucyd-voxel-size", lines=2, most=3, keeps_room=True)
        self.set_on_layer = PushButton(
            text="Set on layer",
            tooltip="Give this voxel size to the image layer and its results as well, as scale and units. "
            "napari's scale bar then shows it.",
        )
        fixed(self.set_on_layer.native)
        self.problem = ""
        self._letters = "YX"
        self._shown: dict[str, tuple[str, float | None]] = {}
        # True from an entry until sizes are shown again, which waits while a field has the focus. Until then,
        # the text that was shown before is an entry like any other.
        self._edited = False
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        fields = [line.native for line in self.lines.values()]
        column.addWidget(row(*fields, QLabel("µm"), stretch=(1, 1, 1, 0)))
        column.addWidget(row(self.note, self.set_on_layer.native, stretch=(1, 0)))
        for letter, line in self.lines.items():
            line.native.setPlaceholderText(letter)
            line.native.editingFinished.connect(self._on_edited)
        self.clear("YX")

    def clear(self, letters: str) -> None:
        """Empty the fields, for an image with these spatial axes."""
        self.problem = ""
        self._fill(letters, {})
        self.describe("")
        self.note.free_room()

    def show_sizes(self, letters: str, sizes: Mapping[str, float]) -> None:
        """Show a voxel size, unless the user is typing one for this image.

        Parameters
        ----------
        letters
            ``"ZYX"`` or ``"YX"``.
        sizes
            Voxel sizes in µm by axis; empty if unknown.
        """
        if not (self.problem or self._is_typed):
            self._fill(letters, sizes)

    @property
    def _is_typed(self) -> bool:
        """True while a field has the focus and another text than was shown."""
        lines = self.lines.items()
        return any(line.native.hasFocus() for _, line in lines) and any(
            line.value != self._shown[letter][0] for letter, line in lines
        )

    def describe(self, text: str, *, problem: bool = False, offer: bool = False) -> None:
        """Write the line of text, and offer the button or hide it."""
        set_note(self.note, text, problem=problem)
        self.set_on_layer.native.setVisible(offer)

    def _fill(self, letters: str, sizes: Mapping[str, float]) -> None:
        self._letters = letters
        self._shown, self._edited = {}, False
        for letter, line in self.lines.items():
            size = sizes.get(letter)
            text = "" if size is None else size_text(size)
            self._shown[letter] = (text, size)
            # Setting the same text would move the cursor.
            if line.value != text:
                line.value = text
            line.native.setVisible(letter in letters)

    def _on_edited(self) -> None:
        texts = {letter: self.lines[letter].value.strip() for letter in self._letters}
        if not self._edited and all(texts[letter] == self._shown[letter][0] for letter in texts):
            return
        self.problem, self._edited = "", True
        try:
            sizes = self._parsed(texts)
        except ValueError as error:
            self.problem = explain(error)
            self.describe(self.problem, problem=True)
            self.refused.emit()
            return
        self.entered.emit(sizes)

    def _parsed(self, texts: Mapping[str, str]) -> dict[str, float] | None:
        if not any(texts.values()):
            return None
        sizes: dict[str, Any] = {}
        for letter, text in texts.items():
            shown, size = self._shown[letter]
            # The text is rounded.
            sizes[letter] = size if text == shown else parse_number(TITLE, text)
        if any(size is None for size in sizes.values()):
            names = ", ".join(self._letters)
            raise ValueError(f"{TITLE}: enter {names} in µm, or empty all fields.")
        for letter, size in sizes.items():
            if not 0 < size < float("inf"):
                raise ValueError(f"{TITLE}: {letter} is {texts[letter]}; enter a number above 0.")
        return sizes
