"""Window of a batch: a folder or the selected layers in, a folder out, and a table of what happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, LineEdit, ProgressBar, PushButton
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QDialog,
    QFileDialog,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_lucyd._napari.deconvolve.batch import worker
from napari_lucyd._napari.deconvolve.batch.worker import (
    DONE,
    EXISTS,
    FAILED,
    LEFT_ALONE,
    LEFT_OUT,
    BatchRequest,
    Row,
)
from napari_lucyd._napari.deconvolve.parameters import METHODS, Parameters
from napari_lucyd._napari.deconvolve.task import ImageTask
from napari_lucyd._napari.widgets.layout import (
    fixed,
    form,
    leave_return_to_fields,
    note,
    pass_focus,
    plain_tooltip,
    row,
    set_note,
)
from napari_lucyd._napari.workers.events import Advanced, explain
from napari_lucyd._napari.workers.notification import notify_end
from napari_lucyd._napari.workers.session import Session
from napari_lucyd.batch.results import Tally

if TYPE_CHECKING:
    from napari.viewer import Viewer

_FOLDER, _LAYERS = "folder", "layers"
_COLUMNS = ("Image", "State", "What happened")
_SIZE = (760, 480)
# The results of a row, in its cells.
_FILES = Qt.ItemDataRole.UserRole
# Folder of the results, beside the images.
_BESIDE = "deconvolved"


class BatchSession(Session):
    """A batch in a worker thread."""

    changed = Signal(object)
    """A `Row`."""
    failed = Signal(str)

    def __init__(self, viewer: Viewer, parent: QWidget) -> None:
        super().__init__(viewer, parent, activity="Batch")

    def start(self, request: BatchRequest) -> None:
        """Start a batch."""
        self._begin(worker.run, request)

    def _take(self, event: Row) -> None:
        self.changed.emit(event)

    def _on_error(self, error: Exception) -> None:
        self.failed.emit(explain(error))


class BatchWindow(QDialog):
    """Deconvolves all images of a folder, or the selected layers, with the settings of the panel.

    Parameters
    ----------
    viewer
        The viewer; its activity dock shows the progress.
    parameters
        Returns the settings; raises ValueError if they are not valid.
    tasks
        Returns the tasks of the selected layers; raises ValueError likewise.
    refused
        Returns the name of each selected layer that has no task, and the reason.
    dtype
        Returns ``"float32"`` or ``"uint16"``.
    parent
        The panel.
    """

    def __init__(
        self,
        viewer: Viewer,
        parameters: Callable[[], Parameters],
        tasks: Callable[[], list[ImageTask]],
        refused: Callable[[], list[tuple[str, str]]],
        dtype: Callable[[], str],
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Batch")
        self.resize(*_SIZE)
        self._parameters, self._tasks, self._refused, self._dtype = parameters, tasks, refused, dtype
        self.session = BatchSession(viewer, self)
        self.source = ComboBox(
            choices=[("A folder of images", _FOLDER), ("The selected layers", _LAYERS)],
            tooltip="The images of the batch. Results of earlier runs in a folder are left out.",
        )
        self.folder = LineEdit(tooltip="Folder with the images, such as TIFF, OME-TIFF or OME-Zarr.")
        self.browse = PushButton(text="Folder…")
        self.out = LineEdit(tooltip="Folder for the results. Nothing in it is replaced.")
        self.browse_out = PushButton(text="Folder…")
        self.start = PushButton(text="Start")
        self.cancel = PushButton(text="Cancel", enabled=False)
        self.progress = ProgressBar(min=0, max=1, value=0)
        self.progress.native.setFormat("%p %")
        self.status = note("lucyd-batch-status", lines=1)
        self.heading = note("lucyd-batch-heading", lines=1)
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        header: Any = self.table.horizontalHeader()
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
        self.table.setColumnWidth(0, 200)
        self.common = note("lucyd-batch-common", most=3)
        self.table.cellDoubleClicked.connect(self.open_results)
        self._warned = 0
        self._lay_out()
        for entry in (self.source, self.folder, self.out):
            entry.changed.connect(self._on_entry)
        self.browse.changed.connect(lambda *_: self._ask(self.folder))
        self.browse_out.changed.connect(lambda *_: self._ask(self.out))
        self.start.changed.connect(self.run)
        self.cancel.changed.connect(self.session.cancel)
        self.session.changed.connect(self._on_row)
        self.session.advanced.connect(self._on_advanced)
        self.session.failed.connect(self._complain)
        self.session.ended.connect(self._on_ended)
        self._show()

    def run(self, *_: Any) -> None:
        """Start the batch with the settings as they stand in the panel."""
        try:
            request = self._request()
        except ValueError as error:
            self._complain(explain(error))
            return
        self._clear()
        self.cancel.enabled = True
        pass_focus([self.start.native], self.cancel.native)
        self.start.enabled = False
        set_note(self.heading, _heading(request))
        set_note(self.status, "Running…")
        self.session.start(request)

    def rows(self) -> list[tuple[str, ...]]:
        """Return the texts of the table."""
        cells = [
            [self.table.item(number, column) for column in range(len(_COLUMNS))]
            for number in range(self.table.rowCount())
        ]
        return [tuple("" if cell is None else cell.text() for cell in line) for line in cells]

    def _request(self) -> BatchRequest:
        images, out = self.folder.value.strip(), self.out.value.strip()
        if self.source.value == _FOLDER:
            if not (images and Path(images).is_dir()):
                raise ValueError("Choose the folder with the images.")
            where = Path(out) if out else Path(images) / _BESIDE
            return BatchRequest(Path(images), (), self._parameters(), where, self._dtype())
        if not out:
            raise ValueError("Choose a folder for the results.")
        tasks = tuple(self._tasks())
        if not tasks:
            raise ValueError("Select image layers first.")
        return BatchRequest(None, tasks, self._parameters(), Path(out), self._dtype(), tuple(self._refused()))

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        top = QWidget()
        self._rows = form(top, (0, 0, 0, 0))
        for button in (self.browse, self.browse_out):
            fixed(button.native)
        self._folder_row = row(self.folder.native, self.browse.native, stretch=(1, 0))
        self._rows.addRow(QLabel("Images"), self.source.native)
        self._rows.addRow(QLabel("Folder"), self._folder_row)
        self._rows.addRow(QLabel("Results"), row(self.out.native, self.browse_out.native, stretch=(1, 0)))
        about = note("lucyd-batch-about")
        about.setText(
            "Method, model, outputs and all other settings are those of the panel. Double-click a row to "
            "open its results."
        )
        column.addWidget(top)
        column.addWidget(about)
        column.addWidget(self.heading)
        column.addWidget(self.table, 1)
        column.addWidget(self.common)
        column.addWidget(self.progress.native)
        column.addWidget(self.status)
        column.addWidget(row(self.start.native, self.cancel.native, stretch=(2, 1)))
        leave_return_to_fields(self)

    def _show(self, *_: Any) -> None:
        of_folder = self.source.value == _FOLDER
        self._rows.setRowVisible(self._folder_row, of_folder)
        beside = str(Path(self.folder.value.strip() or "…") / _BESIDE)
        self.out.native.setPlaceholderText(beside if of_folder else "")

    def _on_entry(self, *_: Any) -> None:
        self._show()
        # Table and messages are about the earlier entries.
        if not self.session.is_running:
            self._clear()

    def _clear(self) -> None:
        self.table.setRowCount(0)
        self._warned = 0
        self.progress.max, self.progress.value = 1, 0
        for line in (self.heading, self.common, self.status):
            set_note(line, "")

    def _ask(self, line: LineEdit) -> None:
        picked = QFileDialog.getExistingDirectory(self, "Choose a folder", line.value)
        if picked:
            line.value = picked

    def _on_row(self, event: Row) -> None:
        if event.number >= self.table.rowCount():
            self.table.setRowCount(event.number + 1)
        for column, text in enumerate((event.name, event.state, event.text)):
            item = QTableWidgetItem(text)
            item.setToolTip(plain_tooltip(text))
            item.setData(_FILES, [str(path) for path in event.files])
            self.table.setItem(event.number, column, item)
        self._warned += event.warned
        told = self.common.text()
        set_note(self.common, " ".join(filter(None, [told, *(t for t in event.common if t not in told)])))
        # A reason of several lines would be cut.
        self.table.resizeRowToContents(event.number)

    def open_results(self, number: int, *_: Any) -> None:
        """Open the results of a row in the viewer; those that are open already are selected."""
        item, viewer = self.table.item(number, 0), self.session.viewer
        files = [] if item is None else item.data(_FILES)
        try:
            opened = [
                [layer for layer in viewer.layers if layer.source.path == path]
                or viewer.open(path, plugin="napari-lucyd")
                for path in files
            ]
        except (OSError, ValueError) as error:
            self._complain(explain(error))
            return
        if opened:
            viewer.layers.selection = {layer for layers in opened for layer in layers}

    def _on_advanced(self, event: Advanced) -> None:
        self.progress.max, self.progress.value = event.total, event.done

    def _complain(self, text: str) -> None:
        set_note(self.status, text, problem=True)

    def _on_ended(self) -> None:
        self.start.enabled = True
        pass_focus([self.cancel.native], self.start.native)
        self.cancel.enabled = False
        states = [state for _, state, _ in self.rows()]
        cancelled, broke_off = self.session.is_cancelled, self.session.has_failed
        if not cancelled:
            self.progress.max, self.progress.value = 1, int(bool(states) and not broke_off)
        alone = states.count(LEFT_ALONE)
        tally = Tally(
            len(states),
            states.count(DONE) + alone,
            self._warned,
            alone,
            states.count(EXISTS),
            states.count(FAILED),
        )
        if broke_off:
            notify_end(self, self.session.seconds, f"Batch: {self.status.text()}", problem=True)
        elif states:
            text = tally.text("choose another folder for the results")
            text = f"Cancelled: {text}" if cancelled else text
            set_note(self.status, text, problem=bool(tally.failed))
            problem = bool(tally.failed) or LEFT_OUT in states
            notify_end(self, self.session.seconds, f"Batch: {text}", problem=problem)
        elif cancelled:
            set_note(self.status, "Cancelled before the first image.")
        else:
            self._complain("There is no image in this folder.")


def _heading(request: BatchRequest) -> str:
    """Describe a batch: the settings may be changed while its table is shown."""
    chosen = request.parameters
    titles = {name: title for title, name in METHODS}
    method = titles.get(chosen.method, chosen.method)
    if not (chosen.automatic or chosen.classical):
        method += f" (model {Path(chosen.model).name})"
    images = "selected layers" if request.folder is None else f"“{request.folder.name}”"
    return f"Started at {time.strftime('%H:%M')}: {images} with {method}, results in “{request.out.name}”."
