"""Save…: a menu of what to save, a dialog for the name, and the writing in the background."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QAction  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog, QMenu, QMessageBox, QWidget
from superqt.utils import create_worker

from napari_lucyd._napari.layers import saving
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.layers.viewer import is_preview, is_result
from napari_lucyd._napari.widgets.layout import plain_tooltip
from napari_lucyd._napari.workers.events import explain
from napari_lucyd.text import count_text

if TYPE_CHECKING:
    from napari.viewer import Viewer

# A question about more files names only the first ones.
_NAMED_AT_MOST = 6


class Saver(QObject):
    """Saves the selected image layers, or all parts of the last run.

    Parameters
    ----------
    viewer
        Its layers are saved.
    results
        Returns the layers of the last run.
    source_of
        Returns a layer with the axes and the voxel size in use; raises ValueError if they are not valid.
    dtype
        Returns ``"float32"`` or ``"uint16"``, as for `saving.write`.
    parent
        The panel.
    """

    told = Signal(str)
    failed = Signal(str)

    def __init__(
        self,
        viewer: Viewer,
        results: Callable[[], list[Image]],
        source_of: Callable[[Image], SourceLayer],
        dtype: Callable[[], str],
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._results, self._source_of, self._dtype = viewer, results, source_of, dtype
        self._panel = parent

    def selected(self) -> list[Image]:
        """Return the selected image layers in the order of the layer list, without the live preview."""
        selection = self._viewer.layers.selection
        return [
            layer
            for layer in self._viewer.layers
            if layer in selection and isinstance(layer, Image) and not is_preview(layer)
        ]

    def fill(self, menu: QMenu) -> None:
        """List in a menu what can be saved now, results first: a run leaves its image selected."""
        menu.clear()
        selected, results = self.selected(), self._results()
        own = [layer for layer in selected if is_result(layer)]
        if own:
            self._add_selected(menu, selected, own)
        if results and set(results) != set(selected):
            what = "the result" if len(results) == 1 else f"all {len(results)} results"
            self._add(menu, f"Save {what} of the last run…", results)
        if selected and not own:
            self._add_selected(menu, selected, own)

    def ask_and_save(self, layers: Sequence[Image]) -> None:
        """Ask for a name, and save these layers; several get names that begin with it."""
        first = saving.name_of(layers[0])
        start = first if len(layers) == 1 else first.removesuffix("_output")
        text, kind = QFileDialog.getSaveFileName(
            self._panel,
            "Save" if len(layers) == 1 else f"Save {len(layers)} files: beginning of their names",
            start + saving.SUFFIX if len(layers) == 1 else start,
            ";;".join(saving.FILTERS),
            # The dialog does not know the names that are written in the end; the question comes below.
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if not text:
            return
        path = saving.with_suffix(Path(text), saving.FILTERS.get(kind, saving.SUFFIX))
        targets = saving.paths_for(path, layers)
        taken = [path for path in targets if os.path.lexists(path)]
        if not self._are_free(taken) or (taken and not self._may_replace(taken)):
            return
        self.save(targets, taken)

    def save(self, targets: Mapping[Path, Image], replace: Collection[Path] = ()) -> None:
        """Write layers in the background.

        Parameters
        ----------
        targets
            The layers by path.
        replace
            Paths that the user allowed to replace; everything else that exists is left alone.
        """
        try:
            files = {
                path: saving.File.from_layer(layer, self._source_of(layer)) for path, layer in targets.items()
            }
        except ValueError as error:
            self.failed.emit(f"Not saved: {error}")
            return
        self.told.emit(f"Saving {count_text(len(files), 'file')}…")
        worker = create_worker(
            saving.write, files, self._dtype(), replace, _start_thread=False, _ignore_errors=True
        )
        worker.returned.connect(self._on_saved)
        worker.errored.connect(self._on_not_saved)
        worker.start()

    def _add_selected(self, menu: QMenu, selected: Sequence[Image], own: Sequence[Image]) -> None:
        if len(selected) > 1:
            self._add(menu, f"Save {len(selected)} selected layers…", selected)
            return
        # An ampersand would underline the next letter.
        name = selected[0].name.replace("&", "&&")
        self._add(menu, f"Save “{name}”…" if own else f"Save the image “{name}”…", selected)

    def _add(self, menu: QMenu, text: str, layers: Sequence[Image]) -> None:
        action = QAction(text, menu)
        action.triggered.connect(lambda *_: self.ask_and_save(layers))
        menu.addAction(action)

    def _are_free(self, taken: Sequence[Path]) -> bool:
        """Refuse to replace the file that a layer shows: its voxels may still be read from there."""
        for layer in self._viewer.layers:
            for path in taken:
                if layer.source.path and saving.same_file(path, str(layer.source.path)):
                    self.failed.emit(
                        f"Not saved: {path.name} is open as the layer “{layer.name}”. Choose another name."
                    )
                    return False
        return True

    def _may_replace(self, taken: Sequence[Path]) -> bool:
        names = "\n".join(path.name for path in taken[:_NAMED_AT_MOST])
        more = f"\nand {len(taken) - _NAMED_AT_MOST} more" if len(taken) > _NAMED_AT_MOST else ""
        answer = QMessageBox.question(
            self._panel,
            "Replace?",
            plain_tooltip(f"In {taken[0].parent} there is already:\n{names}{more}\n\nReplace?"),
        )
        return bool(answer == QMessageBox.StandardButton.Yes)

    def _on_saved(self, paths: list[Path]) -> None:
        self.told.emit(f"Saved {', '.join(path.name for path in paths)} in {paths[0].parent}.")

    def _on_not_saved(self, error: Exception) -> None:
        self.failed.emit(f"Not saved: {explain(error)}")
