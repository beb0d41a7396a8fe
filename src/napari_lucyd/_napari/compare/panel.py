"""The Compare panel: its parts, and how they work together."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from napari.utils.theme import get_theme
from qtpy.QtWidgets import QFileDialog, QVBoxLayout
from superqt.utils import create_worker

from napari_lucyd._napari.compare.chosen_layers import ChosenLayers
from napari_lucyd._napari.compare.export import Comparison, write_comparison
from napari_lucyd._napari.compare.form import CompareForm
from napari_lucyd._napari.compare.pictures import NO_LINE, Pictures
from napari_lucyd._napari.compare.requests import NO_IMAGES, NO_LAYERS, TRUTH_ALONE, Requests, next_step
from napari_lucyd._napari.compare.views.held_out_view import HeldOutView
from napari_lucyd._napari.compare.views.metrics_view import NO_TRUTH, MetricsView
from napari_lucyd._napari.layers.drawing import LINE_LAYER, start_drawing
from napari_lucyd._napari.layers.side_by_side import SideBySide, put_back
from napari_lucyd._napari.widgets.panel import Panel
from napari_lucyd._napari.workers.events import explain

if TYPE_CHECKING:
    import napari.viewer

# The profile follows a slider; the others may take longer.
QUICK_MS, SLOW_MS = 60, 250

# Hints on the next step, which say nothing about the layers.
DRAW = "Draw a line on the image. You can move it or draw another."
HINTS = {NO_TRUTH, NO_LINE, NO_LAYERS, NO_IMAGES, TRUTH_ALONE}


class CompareWidget(Panel):
    """Compare image layers with each other, and with the ground truth if there is one.

    Parameters
    ----------
    napari_viewer
        The viewer that the panel is docked in.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.form = form = CompareForm()
        self.status = form.status
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(form)
        self.chosen = ChosenLayers(self.viewer, form, self.subscriptions, self)
        requests = Requests(self.viewer, self.chosen, form.picked_note)
        self.metrics = MetricsView(form, self.chosen, requests, SLOW_MS, self)
        self.held_out = HeldOutView(form, requests, self)
        self.pictures = Pictures(form, self.chosen, requests, QUICK_MS, SLOW_MS, self)
        self.grid = SideBySide(self.viewer, self._on_view_taken)
        self._in_grid: list[Image] = []
        self._connect()
        self._colour()
        self.chosen.begin()

    def _connect(self) -> None:
        form, chosen = self.form, self.chosen
        chosen.changed.connect(self.refresh)
        chosen.look_changed.connect(self.pictures.refresh_projections)
        chosen.line_changed.connect(self.pictures.refresh_profile)
        form.draw.changed.connect(self.draw)
        self.pictures.drawn.connect(self._on_drawn)
        form.export.changed.connect(self.ask_and_export)
        form.side_by_side.native.toggled.connect(self._on_side_by_side)
        self.subscriptions.add(self._colour, self.viewer.events.theme)
        self.destroyed.connect(partial(put_back, self.grid))

    @property
    def settled(self) -> bool:
        """True when everything shown belongs to the present choices."""
        return self.metrics.settled and self.held_out.settled and self.pictures.settled

    def _on_drawn(self) -> None:
        # The hint is no longer needed; other messages stay.
        if self.form.status.text() == DRAW:
            self.tell("")

    def refresh(self) -> None:
        """Compute everything again that may have changed; held-out scores wait for their button."""
        for part in (self.held_out, self.metrics, self.pictures):
            part.refresh()
        if self.grid.is_on and self._in_grid != self.chosen.together():
            self._on_side_by_side(True)

    def draw(self, *_: Any) -> None:
        """Activate the line tool."""
        layers = self.chosen.together() or self.chosen.images()
        if not layers:
            self.complain(NO_IMAGES)
            return
        # The grid would hide the line.
        self.form.side_by_side.native.setChecked(False)
        start_drawing(self.viewer, layers[-1], LINE_LAYER)
        self.tell(DRAW)

    # Side by side

    def _on_side_by_side(self, on: bool) -> None:
        self._in_grid = self.chosen.together() if on else []
        if self._in_grid:
            self.grid.show(self._in_grid)
        else:
            self.grid.hide()
            self.form.side_by_side.native.setChecked(False)

    def _on_view_taken(self) -> None:
        self.form.side_by_side.native.setChecked(False)

    # Export

    def comparison(self) -> Comparison:
        """Return everything that is shown."""
        canvas = None
        if self.grid.is_on:
            canvas = self.viewer.screenshot(canvas_only=True, flash=False)
        pictures = self.pictures
        return Comparison(
            self.metrics.shown,
            pictures.profile,
            pictures.views,
            self.chosen.numbers(),
            canvas,
            self._notes(),
        )

    def _notes(self) -> list[str]:
        """Return the lines of the panel about the layers, without its hints on the next step."""
        form = self.form
        texts = (form.metrics_note.text(), form.held_out_note.text(), form.profile_note.text())
        lines = [[line for line in text.splitlines() if line not in HINTS] for text in texts]
        return ["\n".join(kept) for kept in lines if kept]

    def ask_and_export(self, *_: Any) -> None:
        """Ask for a folder, and export the comparison into it."""
        if not self.settled:
            self.complain("The comparison is not ready yet. Try again when it is.")
        elif not self.pictures.views:
            self.complain(f"There is nothing to export. {next_step(self.chosen)}")
        elif folder := QFileDialog.getExistingDirectory(self, "Folder for the exported comparison"):
            self.export(Path(folder))

    def export(self, folder: Path) -> None:
        """Write tables, a figure and the notes into a folder, in the background."""
        worker = create_worker(
            write_comparison, folder, self.comparison(), _start_thread=False, _ignore_errors=True
        )
        worker.returned.connect(self._on_exported)
        worker.errored.connect(self._on_not_exported)
        worker.start()
        self.tell("Exporting…")

    def _on_exported(self, paths: list[Path]) -> None:
        self.tell(f"Saved {', '.join(path.name for path in paths)} in {paths[0].parent}.")

    def _on_not_exported(self, error: Exception) -> None:
        self.complain(f"Not exported: {explain(error)}")

    def _colour(self, event: Any = None) -> None:
        theme = get_theme(self.viewer.theme)
        self.form.colour(theme.background.as_hex(), theme.text.as_hex(), theme.foreground.as_hex())
