"""The Compare panel: its parts, and how they work together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Image, Shapes
from napari.utils.theme import get_theme
from qtpy.QtWidgets import QFileDialog, QLabel, QVBoxLayout
from superqt.utils import create_worker

from napari_lucyd._napari.compare import held_out, worker
from napari_lucyd._napari.compare.export import Comparison, write_comparison
from napari_lucyd._napari.compare.form import CompareForm
from napari_lucyd._napari.compare.held_out import HeldOutRequest
from napari_lucyd._napari.compare.snapshot import LayerSnapshot, known_axes, line_through, pick
from napari_lucyd._napari.compare.without_truth import (
    EXPLANATION,
    AgreementRequest,
    agreement,
    source_image,
)
from napari_lucyd._napari.compare.worker import (
    LayerProjections,
    Metrics,
    MetricsRequest,
    Profile,
    ProfileRequest,
    ProjectionsRequest,
    Projector,
)
from napari_lucyd._napari.layers.drawing import LINE_LAYER, drawn_line, start_drawing
from napari_lucyd._napari.layers.side_by_side import SideBySide, put_back
from napari_lucyd._napari.layers.viewer import METADATA_KEY, is_preview, is_psf, is_result
from napari_lucyd._napari.widgets.layout import plain_tooltip, set_note
from napari_lucyd._napari.widgets.panel import Panel
from napari_lucyd._napari.workers.events import explain
from napari_lucyd._napari.workers.latest import LatestOnly

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

NO_TRUTH = "Choose a ground-truth layer to compute PSNR and SSIM."
NO_LINE = "Draw a line on the image to plot the intensities of all ticked layers along it."
NO_LAYERS = "Tick the layers to compare."
MEASURING = "Measuring…"
# Events of a layer that change metrics, profile and projections, and those that change its look only.
_RELEVANT = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
_LOOKS = ("contrast_limits", "colormap", "gamma")
# The profile follows a slider; the others may take longer.
QUICK_MS, SLOW_MS = 60, 250


class CompareWidget(Panel):
    """Compare image layers with each other, and with the ground truth if there is one.

    Parameters
    ----------
    napari_viewer
        The viewer that the panel is docked in.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.form = CompareForm()
        self.status = self.form.status
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.form)
        self.grid = SideBySide(self.viewer, self._on_view_taken)
        self.shown_metrics: Metrics | None = None
        self.shown_profile: Profile | None = None
        self.shown_views: list[LayerProjections] = []
        # A number for each ticked layer, for its colour.
        self._numbers: dict[Image, int] = {}
        self._versions: WeakKeyDictionary[Layer, int] = WeakKeyDictionary()
        self._in_grid: list[Image] = []
        self._filling = False
        self._touched = False
        self.metrics = LatestOnly(self._metrics_request, worker.measure, SLOW_MS, self)
        self.agreed = ""
        self.agreement = LatestOnly(self._agreement_request, agreement, SLOW_MS, self)
        self._scored: HeldOutRequest | None = None
        self._asked = 0
        self.held_out = LatestOnly(self._wanted_scores, held_out.score_layers, 0, self)
        self.profile = LatestOnly(self._profile_request, worker.trace, QUICK_MS, self)
        self.projections = LatestOnly(self._projections_request, Projector().project, SLOW_MS, self)
        self._connect()
        self._colour()
        self._on_layers()
        self._choose_first()

    def _connect(self) -> None:
        form, viewer = self.form, self.viewer
        form.layers.ticked.connect(self._on_person_ticked)
        form.truth.changed.connect(self._on_truth)
        form.draw.changed.connect(self.draw)
        form.export.changed.connect(self.ask_and_export)
        form.side_by_side.native.toggled.connect(self._on_side_by_side)
        self.metrics.began.connect(lambda: set_note(form.metrics_note, MEASURING))
        self.metrics.ready.connect(self._on_metrics)
        self.agreement.ready.connect(self._on_agreement)
        self.agreement.failed.connect(self._on_agreement)
        form.held_out.changed.connect(self._on_held_out)
        self.held_out.began.connect(self._on_scoring)
        self.held_out.ready.connect(self._on_scores)
        self.held_out.failed.connect(self._on_no_scores)
        self.profile.ready.connect(self._on_profile)
        self.projections.ready.connect(self._on_projections)
        self.metrics.failed.connect(partial(self._on_failed, self._on_metrics, form.metrics_note))
        self.profile.failed.connect(partial(self._on_failed, self._on_profile, form.profile_note))
        self.projections.failed.connect(partial(self._on_failed, self._on_projections, form.projections_note))
        events = viewer.layers.events
        self.subscriptions.add(self._on_layers, events.inserted, events.removed, events.reordered)
        self.subscriptions.add(self._on_inserted, events.inserted)
        self.subscriptions.add(self._refresh_profile, viewer.layers.selection.events.active)
        dims = viewer.dims.events
        self.subscriptions.add(self.refresh, dims.point, dims.order, dims.ndisplay)
        self.subscriptions.add(self._colour, viewer.events.theme)
        self.destroyed.connect(partial(put_back, self.grid))

    # The choice of layers

    @property
    def truth(self) -> Image | None:
        """The ground truth, or None."""
        return self.form.truth.value

    def ticked(self) -> list[Image]:
        """Return the layers to compare, the lowest first, without the ground truth."""
        return [layer for layer in self._images() if layer in self._numbers and layer is not self.truth]

    def _choose(self, layers: list[Image], truth: Image | None) -> None:
        self._fill()
        self._filling = True
        self.form.truth.value = truth
        self._filling = False
        self._numbers = {layer: number for number, layer in enumerate(layers)}
        self._fill()
        self.refresh()

    def _images(self) -> list[Image]:
        return [layer for layer in self.viewer.layers if isinstance(layer, Image) and not is_preview(layer)]

    def _choose_first(self) -> None:
        """Choose the last run and its image, or, if there is no run, the visible layers."""
        images = self._images()
        results = [layer for layer in images if is_result(layer)]
        if results:
            last = results[-1].metadata[METADATA_KEY]["source"]
            chosen = [
                layer
                for layer in images
                if layer.name == last
                or (
                    is_result(layer)
                    and layer.metadata[METADATA_KEY]["source"] == last
                    and layer.metadata[METADATA_KEY]["quantity"] == "output"
                )
            ]
        else:
            chosen = [layer for layer in images if layer.visible and not layer.rgb and not is_psf(layer)]
        self._choose(chosen, self._likely_truth(chosen))

    def _likely_truth(self, layers: list[Image]) -> Image | None:
        """Find the ground truth by the name that the samples give it."""
        names = {f"{layer.name} truth" for layer in layers}
        return next((layer for layer in self._images() if layer.name in names), None)

    def _on_inserted(self, event: Any) -> None:
        layer = event.value
        if not isinstance(layer, Image):
            return
        if not self._touched:
            self._choose_first()
        elif is_result(layer) and layer.metadata[METADATA_KEY]["quantity"] == "output":
            self._on_ticked(layer, True)

    def _on_person_ticked(self, layer: Image, on: bool) -> None:
        self._touched = True
        self._on_ticked(layer, on)

    def _on_ticked(self, layer: Image, on: bool) -> None:
        if on:
            taken = set(self._numbers.values())
            self._numbers[layer] = next(n for n in range(len(taken) + 1) if n not in taken)
        else:
            self._numbers.pop(layer, None)
        self._fill()
        self.refresh()

    def _on_truth(self, *_: Any) -> None:
        if not self._filling:
            self._touched = True
            self._fill()
            self.refresh()

    def _on_layers(self, event: Any = None) -> None:
        for layer in self.viewer.layers:
            if layer in self._versions:
                continue
            self._versions[layer] = 0
            if isinstance(layer, Image):
                self.subscriptions.add(self._fill, layer.events.name)
                self.subscriptions.add(self._on_data, layer.events.data)
                self.subscriptions.add(self.refresh, *(getattr(layer.events, name) for name in _RELEVANT))
                looks = (getattr(layer.events, name) for name in _LOOKS)
                self.subscriptions.add(self.projections.refresh, *looks)
            elif isinstance(layer, Shapes):
                drawn = (layer.events.set_data, layer.events.data, layer.selected_data.events)
                self.subscriptions.add(self._refresh_profile, *drawn)
        self._numbers = {layer: n for layer, n in self._numbers.items() if layer in self.viewer.layers}
        self._fill()
        self.refresh()

    def _on_data(self, event: Any) -> None:
        self._versions[event.source] += 1
        self.refresh()

    def _fill(self, event: Any = None) -> None:
        """Update the lists of layers."""
        images, truth = self._images(), self.truth
        self._filling = True
        self.form.truth.choices = [(layer.name, layer) for layer in images]
        self.form.truth.value = truth if truth in images else None
        self._filling = False
        listed = [layer for layer in images if layer is not self.truth]
        self.form.layers.fill(listed, self._numbers)
        if event is not None:  # renamed
            self.refresh()

    def refresh(self, *_: Any) -> None:
        """Compute everything again that may have changed; held-out scores wait for the button."""
        if self._scored is not None and not self._scored.same_as(self._held_out_request()):
            self._cancel_held_out()
        for part in (self.metrics, self.agreement, self.profile, self.projections):
            part.refresh()
        if self.grid.is_on and self._in_grid != self._together():
            self._on_side_by_side(True)

    def _on_held_out(self, *_: Any) -> None:
        if self._scored is not None and not self.held_out.settled:
            self._cancel_held_out()
            return
        self._asked += 1
        self._scored = self._held_out_request()
        if self._scored is None:
            self._show_held_out(held_out.NOTHING, problem=True)
        else:
            self.held_out.refresh()

    def _held_out_request(self) -> HeldOutRequest | None:
        ticked = self.ticked()
        image = source_image(ticked, self._images())
        if image is None:
            return None
        taken = self._take([image, *(layer for layer in ticked if layer is not image)])
        of = taken.pop(image, None)
        others = tuple(one for one in taken.values() if one.is_image)
        return None if of is None or not others else HeldOutRequest(of, others, self._asked)

    def _cancel_held_out(self) -> None:
        """Stop scoring, and remove scores of other layers."""
        self._scored = None
        self.held_out.refresh()

    def _wanted_scores(self) -> HeldOutRequest | None:
        return self._scored

    def _on_scoring(self) -> None:
        self._show_held_out(held_out.SCORING, running=True)

    def _on_scores(self, text: str | None) -> None:
        self._show_held_out(text or "")

    def _on_no_scores(self, text: str) -> None:
        self._show_held_out(text, problem=True)

    def _show_held_out(self, text: str, *, running: bool = False, problem: bool = False) -> None:
        self.form.held_out.text = held_out.CANCEL if running else held_out.SCORE
        set_note(self.form.held_out_note, text, problem=problem)

    def _together(self) -> list[Image]:
        truth = [] if self.truth is None else [self.truth]
        return [*truth, *self.ticked()]

    def _refresh_profile(self, *_: Any) -> None:
        self.profile.refresh()

    def _take(self, layers: list[Image]) -> dict[Image, LayerSnapshot]:
        """Take a snapshot of each layer at the current position; report those that fail."""
        known = known_axes(self._images())
        taken, problems = {}, []
        for layer in layers:
            try:
                taken[layer] = pick(layer, self.viewer, known, self._versions.get(layer, 0))
            except ValueError as error:
                problems.append(str(error))
        positions = dict.fromkeys(one.position for one in taken.values() if one.position)
        text = f"At {', '.join(positions)}." if positions else ""
        if not layers:
            text = NO_LAYERS
        set_note(
            self.form.picked_note, "\n".join([text, *problems] if text else problems), problem=bool(problems)
        )
        self.form.picked_note.setVisible(bool(text or problems))
        return taken

    def _metrics_request(self) -> MetricsRequest | None:
        taken = self._take(self._together())
        truth = taken.pop(self.truth, None) if self.truth is not None else None
        if truth is None or not taken:
            return None
        return MetricsRequest(truth, tuple(taken.values()))

    def _agreement_request(self) -> AgreementRequest | None:
        ticked = self.ticked()
        image = source_image(ticked, self._images()) if self.truth is None else None
        if image is None:
            return None
        taken = self._take([image, *(layer for layer in ticked if layer is not image)])
        of = taken.pop(image, None)
        others = tuple(one for one in taken.values() if one.is_image)
        return None if of is None or not others else AgreementRequest(of, others)

    def _profile_request(self) -> ProfileRequest | None:
        ends = drawn_line(self.viewer)
        taken = self._take(self._together())
        if ends is None or not taken:
            return None
        axes = [one.axes for one in taken.values()]
        line = line_through(ends, list(taken), axes, self.viewer)
        if line.length == 0:
            return None
        return ProfileRequest(line, tuple(taken.values()), self.truth in taken)

    def _projections_request(self) -> ProjectionsRequest | None:
        taken = self._take(self._together())
        return ProjectionsRequest(tuple(taken.values())) if taken else None

    # The results

    def numbers(self) -> dict[str, int]:
        """Return the numbers of the ticked layers' colours, by name; the ground truth has none."""
        return {layer.name: self._numbers[layer] for layer in self.ticked()}

    def _on_failed(self, show: Callable[[Any], None], line: QLabel, text: str) -> None:
        # The earlier result belongs to other choices.
        show(None)
        set_note(line, text, problem=True)

    def _on_metrics(self, metrics: Metrics | None) -> None:
        self.shown_metrics = metrics
        self.form.show_metrics(metrics, self.numbers())
        if metrics is None:
            # A ground truth that cannot be used is reported above.
            text = "" if self.ticked() else NO_LAYERS
            set_note(self.form.metrics_note, self._without_truth() if self.truth is None else text)
            return
        lines = [f"Against “{metrics.truth}”{', at ' + metrics.position if metrics.position else ''}."]
        lines += [
            f"“{row.name}”: {'; '.join(row.scores.remarks)}." for row in metrics.rows if row.scores.remarks
        ]
        set_note(self.form.metrics_note, "\n".join(lines))

    def _without_truth(self) -> str:
        return f"{self.agreed}\n{NO_TRUTH}" if self.agreed else NO_TRUTH

    def _on_agreement(self, text: str | None) -> None:
        self.agreed = text or ""
        if self.truth is None:
            set_note(self.form.metrics_note, self._without_truth())
            self.form.metrics_note.setToolTip(plain_tooltip(EXPLANATION if self.agreed else ""))

    def _on_profile(self, profile: Profile | None) -> None:
        self.shown_profile = profile
        self.form.profile.show_profile(profile, self.numbers())
        text = NO_LINE
        if profile is not None:
            text = f"{profile.distance[-1]:.4g} {profile.unit} in the current slice."
            if any(curve.is_truth for curve in profile.curves):
                text += " Dashed: ground truth."
            beside = [f"“{curve.name}”" for curve in profile.curves if not np.isfinite(curve.values).any()]
            if beside:
                text += f" The line does not cross {', '.join(beside)}."
            widths = [
                f"“{curve.name}” {curve.width:.3g}"
                for curve in profile.curves
                if curve.width is not None and not curve.is_factor
            ]
            if widths:
                text += f"\nWidth of the highest peak (FWHM) in {profile.unit}: {', '.join(widths)}."
        set_note(self.form.profile_note, text)

    def _on_projections(self, views: list[LayerProjections] | None) -> None:
        self.shown_views = views or []
        self.form.projections.show_views(self.shown_views, self.numbers())
        axial = any(view.axial is not None for view in self.shown_views)
        text = (
            "Along Z, and below along Y, in the colours and contrast limits of the layers." if axial else ""
        )
        if self.shown_views and not axial:
            text = "Planes, in the colours and contrast limits of the layers."
        set_note(self.form.projections_note, text or NO_LAYERS)

    # The buttons

    @property
    def settled(self) -> bool:
        """True when everything shown belongs to the present choices."""
        parts = (self.metrics, self.agreement, self.held_out, self.profile, self.projections)
        return all(part.settled for part in parts)

    def draw(self, *_: Any) -> None:
        """Activate the line tool."""
        layers = self._together() or self._images()
        if not layers:
            self.complain("Open an image first.")
            return
        # The grid would hide the line.
        self.form.side_by_side.native.setChecked(False)
        start_drawing(self.viewer, layers[-1], LINE_LAYER)
        self.tell("Draw a line on the image. You can move it or draw another.")

    def _on_side_by_side(self, on: bool) -> None:
        self._in_grid = self._together() if on else []
        if self._in_grid:
            self.grid.show(self._in_grid)
        else:
            self.grid.hide()
            self.form.side_by_side.native.setChecked(False)

    def _on_view_taken(self) -> None:
        self.form.side_by_side.native.setChecked(False)

    def comparison(self) -> Comparison:
        """Return everything that is shown."""
        canvas = None
        if self.grid.is_on:
            canvas = self.viewer.screenshot(canvas_only=True, flash=False)
        return Comparison(self.shown_metrics, self.shown_profile, self.shown_views, self.numbers(), canvas)

    def ask_and_export(self, *_: Any) -> None:
        """Ask for a folder, and export the comparison into it."""
        if not self.settled:
            self.complain("The comparison is not ready yet. Try again when it is.")
        elif not self.shown_views:
            self.complain(f"There is nothing to export. {NO_LAYERS}")
        elif folder := QFileDialog.getExistingDirectory(self, "Folder for the exported comparison"):
            self.export(Path(folder))

    def export(self, folder: Path) -> None:
        """Write metrics and profile as CSV and a figure as PNG into a folder, in the background."""
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
