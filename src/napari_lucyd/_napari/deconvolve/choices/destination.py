"""Results section: the outputs, and their destination: layers in memory, or files in a folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from magicgui.widgets import CheckBox, ComboBox, PushButton
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog, QGridLayout, QWidget

from napari_lucyd._napari.deconvolve.parameters import IN_FOLDER, IN_MEMORY, Parameters
from napari_lucyd._napari.deconvolve.task import Estimate
from napari_lucyd._napari.deconvolve.zarr_plan import files_text
from napari_lucyd._napari.layers.results import PART_NAMES
from napari_lucyd._napari.widgets.fields import label, tooltip
from napari_lucyd._napari.widgets.layout import Section, fixed, note, plain_tooltip, row, set_note
from napari_lucyd._napari.widgets.long_entries import narrow

NO_FOLDER = "Choose a folder for the results: press Folder…"
# Columns of check boxes.
_COLUMNS = 2
_STORES = [("Memory", IN_MEMORY), ("OME-Zarr files", IN_FOLDER)]


class DestinationSection(Section):
    """Selects the outputs, asks for a folder, and shows the names of the files in it."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__("Results")
        self.outputs = {
            name: CheckBox(
                text=PART_NAMES[name].capitalize(),
                # The first estimate shows where a change comes from; models without one leave it out.
                value=name in (*Parameters.outputs, "first_estimate"),
                tooltip=tooltip(Parameters, "outputs"),
            )
            for name in PART_NAMES
        }
        self.combo = ComboBox(choices=_STORES, value=IN_MEMORY, tooltip=tooltip(Parameters, "folder"))
        self.folder_button = PushButton(text="Folder…", tooltip="Choose the folder for the results.")
        self.files = note("lucyd-files")
        fixed(self.folder_button.native)
        narrow(self.combo.native)
        self._boxes = QWidget()
        self._grid = QGridLayout(self._boxes)
        self._grid.setContentsMargins(0, 0, 0, 0)
        for column in range(_COLUMNS):
            self._grid.setColumnStretch(column, 1)
        # Placed here, because the Tab key follows the order in which controls are placed.
        self._parts = tuple(self.outputs)
        self._place_boxes()
        self.rows.addRow(self._boxes)
        self.add(label(Parameters, "folder"), row(self.combo.native, self.folder_button.native))
        self.add("", self.files)
        self._folder: Path | None = None
        self.combo.changed.connect(self._on_kind)
        self.folder_button.changed.connect(self.ask)
        for box in self.outputs.values():
            box.changed.connect(self._on_output)
        self._show()

    @property
    def is_files(self) -> bool:
        """True if the results are kept in files, also while no folder is chosen."""
        return bool(self.combo.value == IN_FOLDER)

    @property
    def folder(self) -> Path | None:
        """Folder of the results; None for memory."""
        return self._folder if self.is_files else None

    def parameters(self) -> dict[str, Any]:
        """Return the settings of this section, by field of `Parameters`.

        Raises
        ------
        ValueError
            If the results are kept in files, and no folder is chosen.
        """
        if self.is_files and self._folder is None:
            raise ValueError(NO_FOLDER)
        outputs = tuple(name for name in self._parts if self.outputs[name].value or len(self._parts) == 1)
        return {"outputs": outputs, "folder": self.folder}

    def entries(self) -> dict[str, Any]:
        """Return what is entered, for `enter`."""
        outputs = ", ".join(name for name, box in self.outputs.items() if box.value)
        return {"outputs": outputs, "folder": str(self._folder or "")}

    def enter(self, entries: Mapping[str, Any]) -> None:
        """Enter values by name. The results stay in memory; a folder waits until files are chosen."""
        outputs = [name.strip() for name in entries.get("outputs", "").split(",")]
        if any(name in self.outputs for name in outputs):
            for name, box in self.outputs.items():
                box.value = name in outputs
        folder = entries.get("folder")
        if folder and Path(folder).is_dir():
            self._folder = Path(folder)

    def show_outputs(self, parts: Collection[str]) -> None:
        """Offer the outputs that a method has; no choice is offered if there is only one."""
        shown = tuple(name for name in self.outputs if name in parts)
        if shown == self._parts:
            return
        self._parts = shown
        self.show_row(self._boxes, len(shown) > 1)
        self._place_boxes()
        self.changed.emit()

    def _place_boxes(self) -> None:
        """Place the boxes that are shown one after the other, without gaps."""
        for name, box in self.outputs.items():
            box.native.setVisible(name in self._parts)
        for number, name in enumerate(self._parts):
            # A widget that is in the grid already moves.
            self._grid.addWidget(self.outputs[name].native, *divmod(number, _COLUMNS))

    def take(self, folder: Path | None) -> None:
        """Set the folder of the results; None for memory."""
        self._folder = folder
        self.combo.value = IN_MEMORY if folder is None else IN_FOLDER
        self._show()
        self.changed.emit()

    def ask(self, *_: Any) -> None:
        """Let the user choose a folder."""
        start = "" if self._folder is None else str(self._folder)
        picked = QFileDialog.getExistingDirectory(self, "Folder for the results", start)
        if picked:
            self.take(Path(picked))

    def show_estimate(self, estimates: Sequence[Estimate]) -> None:
        """Show the names of the files."""
        names = [
            path.name
            for entry in estimates
            if entry.store is not None
            for path in entry.store.destinations.values()
        ]
        # The whole path, because a dialog may have completed the entry to another folder than was meant.
        where = f"In “{self._folder}”" if self._folder is not None else ""
        set_note(self.files, f"{where}: {files_text(names)}" if names else where)
        self.files.setToolTip(plain_tooltip(str(self._folder or "")))

    def _on_kind(self, *_: Any) -> None:
        self._show()
        self.changed.emit()

    def _on_output(self, *_: Any) -> None:
        self.changed.emit()

    def _show(self) -> None:
        self.folder_button.native.setVisible(self.is_files)
        self.show_row(self.files, self.is_files)
