"""The panel's choice of where results go: layers in memory, or files in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog

from napari_lucyd._napari.deconvolve.form import Form
from napari_lucyd._napari.deconvolve.parameters import IN_FOLDER, IN_MEMORY
from napari_lucyd._napari.deconvolve.task import Estimate
from napari_lucyd._napari.deconvolve.zarr_plan import files_text
from napari_lucyd._napari.widgets.layout import set_note


class StoreChoice(QObject):
    """Asks for a folder, and says what will be in it.

    Parameters
    ----------
    form
        Holds the controls.
    """

    changed = Signal()

    def __init__(self, form: Form) -> None:
        super().__init__(form)
        self.form = form
        self._folder: Path | None = None
        form.store.changed.connect(self._on_kind)
        form.folder.changed.connect(self.ask)
        self._show()

    @property
    def folder(self) -> Path | None:
        """Where the results go; None for memory."""
        return self._folder if self.form.store.value == IN_FOLDER else None

    def take(self, folder: Path | None) -> None:
        """Have the results go to a folder; to memory without one."""
        self._folder = folder
        self.form.store.value = IN_MEMORY if folder is None else IN_FOLDER
        self._show()
        self.changed.emit()

    def ask(self, *_: Any) -> None:
        """Let the user pick a folder."""
        start = "" if self._folder is None else str(self._folder)
        picked = QFileDialog.getExistingDirectory(self.form, "A folder for the results", start)
        if picked:
            self.take(Path(picked))
        elif self._folder is None:
            self.take(None)

    def show_estimate(self, estimates: Sequence[Estimate]) -> None:
        """Show the names of the files."""
        names = [
            path.name
            for entry in estimates
            if entry.store is not None
            for path in entry.store.destinations.values()
        ]
        where = f"In “{self._folder.name}”" if self._folder is not None else ""
        set_note(self.form.files, f"{where}: {files_text(names)}" if names else where)
        self.form.files.setToolTip(str(self._folder or ""))

    def _on_kind(self, *_: Any) -> None:
        self._show()
        if self.form.store.value == IN_FOLDER and self._folder is None:
            self.ask()
        else:
            self.changed.emit()

    def _show(self) -> None:
        chosen = self.form.store.value == IN_FOLDER
        self.form.folder.native.setVisible(chosen)
        self.form.show_row(self.form.files, chosen)
