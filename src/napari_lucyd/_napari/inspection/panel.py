"""The Inspect panel: looks at a result beside its image, and says where it came from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_lucyd._napari.inspection.attribution import (
    PARTS,
    Voxel,
    change_layers,
    explain_voxel,
    voxel_under_cursor,
    why_unexplained,
)
from napari_lucyd._napari.inspection.form import HOLD_KEY, InspectForm
from napari_lucyd._napari.inspection.judging import (
    BEADS,
    INTERVAL,
    MAP,
    METHODS,
    REPORT,
    SCORE,
    Judgement,
    JudgeRequest,
)
from napari_lucyd._napari.inspection.questions import Questions
from napari_lucyd._napari.inspection.run_layers import (
    CHANGE,
    RunLayers,
    full,
    output_of,
    outputs,
    run_layers,
)
from napari_lucyd._napari.inspection.veil import Curtain, Strength
from napari_lucyd._napari.layers.coordinates import shown_volume
from napari_lucyd._napari.layers.results import LIKE_THE_IMAGE, finite, own_limits, sampled
from napari_lucyd._napari.layers.viewer import (
    METADATA_KEY,
    add_image,
    image_of,
    images,
    is_adding,
    is_preview,
    is_result,
    unique_names,
)
from napari_lucyd._napari.widgets.layout import set_note, stack
from napari_lucyd._napari.widgets.panel import Panel
from napari_lucyd._napari.workers.events import explain
from napari_lucyd._napari.workers.latest import LatestOnly
from napari_lucyd.text import percent_text

if TYPE_CHECKING:
    import napari.viewer

NO_RESULT = "There is no result yet. Deconvolve an image first."
IN_GRID = "Curtain and strength are not shown side by side. They come back with the single view."
NO_IMAGE = "The image “{}” is not in the list of layers. Choose it above."
# Above this share, what is cut off is worth a line.
_CUT_OFF = 0.01
_VOXEL_MS = 60
_WIDTH = 380


class InspectWidget(Panel):
    """Look at a result: against its image, weaker, and part by part.

    Parameters
    ----------
    napari_viewer
        The viewer that the panel is docked in.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.form = InspectForm()
        self.status = self.form.status
        stack(self, self.form.sections, self.form.footer, _WIDTH)
        self.run: RunLayers | None = None
        self.curtain = Curtain(self.viewer)
        self.strength = Strength(self.viewer)
        self.voxel: Voxel | None = None
        self.voxels = LatestOnly(self._voxel_request, explain_voxel, _VOXEL_MS, self)
        self.judging = Questions(self.form.trust.line, self)
        self._asked = 0
        self._filling = False
        self._held: list[tuple[Any, bool]] | None = None
        self._connect()
        self._fill()

    def _connect(self) -> None:
        look, change = self.form.look, self.form.change
        look.result.changed.connect(self._on_chosen)
        look.image.changed.connect(self._on_chosen)
        look.hold.native.pressed.connect(self.hold)
        look.hold.native.released.connect(self.let_go)
        look.curtain.valueChanged.connect(self._draw)
        look.strength.valueChanged.connect(self._draw)
        look.limits.native.toggled.connect(self._on_limits)
        look.keep.changed.connect(self.keep)
        change.change.changed.connect(lambda: self.add_layers([CHANGE]))
        change.parts.changed.connect(lambda: self.add_layers(list(PARTS)))
        trust = self.form.trust
        for button, kind in zip(trust.buttons, (SCORE, MAP, INTERVAL, BEADS, REPORT, METHODS), strict=True):
            button.changed.connect(partial(self.ask, kind))
        self.judging.answered.connect(self._on_answered)
        self.voxels.ready.connect(self._on_voxel)
        self.voxels.failed.connect(self.complain)
        layers, dims = self.viewer.layers, self.viewer.dims.events
        self.subscriptions.add(self._on_layers, layers.events.inserted, layers.events.removed)
        self.subscriptions.add(self._on_active, layers.selection.events.active)
        self.subscriptions.add(self.voxels.refresh, self.viewer.cursor.events.position, dims.point)
        self.subscriptions.add(self._draw, dims.order)
        self.subscriptions.add(self._on_grid, self.viewer.canvas.grid.events.enabled)
        # Not over a key of the user's or of another plugin.
        if HOLD_KEY not in {str(key) for key in self.viewer.keymap}:
            self.viewer.bind_key(HOLD_KEY, self._while_held)
            self.destroyed.connect(partial(_unbind, self.viewer))
        self.destroyed.connect(partial(_remove, self.curtain, self.strength))

    # The choice of the result

    def _fill(self) -> None:
        """List results and images, and keep the choice where it is still there."""
        look = self.form.look
        results, possible = outputs(self.viewer), images(self.viewer)
        chosen, image = look.result.value, look.image.value
        self._filling = True
        look.result.choices = [(layer.name, layer) for layer in results]
        look.image.choices = [(layer.name, layer) for layer in possible]
        if chosen in results:
            look.result.value = chosen
        if image in possible:
            look.image.value = image
        self._filling = False
        if chosen not in results or image not in possible:
            active = output_of(self.viewer, self.viewer.layers.selection.active)
            self.choose(active or (results[0] if results else None))

    def choose(self, output: Image | None) -> None:
        """Look at an output, with its image if that is among the layers."""
        look = self.form.look
        self._filling = True
        if output is not None:
            look.result.value = output
            image = image_of(self.viewer, output)
            if image is not None:
                look.image.value = image
        self._filling = False
        self._on_chosen()

    def _on_layers(self, event: Any) -> None:
        if is_preview(event.value):
            return
        self._fill()
        if event.type == "inserted" and is_result(event.value):
            # A new output is the one to see, unless it was made here. Another part may complete the run.
            known = event.value.metadata[METADATA_KEY]
            is_new = known["quantity"] == "output" and "strength" not in known
            self.choose(event.value if is_new else self.form.look.result.value)

    def _on_active(self, event: Any) -> None:
        output = None if is_adding() else output_of(self.viewer, event.value)
        if output is not None and output is not self.form.look.result.value:
            self.choose(output)

    def _on_chosen(self, *_: Any) -> None:
        if self._filling:
            return
        look, output, image = self.form.look, self.form.look.result.value, self.form.look.image.value
        if self.run is None or output is not self.run.output or image is not self.run.image:
            self._reset()
            self.judging.drop()
        self.run = None if output is None or image is None else run_layers(self.viewer, output, image)
        problem = ""
        if output is None:
            problem = NO_RESULT
        elif self.run is not None:
            try:
                self.run.lazy_image()
            except ValueError as error:
                self.run, problem = None, explain(error)
        set_note(self.status, problem, problem=bool(problem) and output is not None)
        for control in (look.hold, look.limits, look.keep, self.form.change.change, *self.form.trust.buttons):
            control.enabled = self.run is not None
        self._on_grid()
        self.form.change.show_why("" if self.run is None else why_unexplained(self.run))
        self.form.change.parts.enabled = self.run is not None and not why_unexplained(self.run)
        look.show_strength()
        self._on_voxel(None)

    def _reset(self) -> None:
        """Remove what is shown of another result."""
        look = self.form.look
        look.limits.native.setChecked(False)
        look.curtain.setValue(0)
        look.strength.setValue(100)

    # Result and image

    def hold(self) -> None:
        """Show the image in place of all results, until `let_go`."""
        if self._held is not None or self.run is None:
            return
        others = [layer for layer in self.viewer.layers if is_result(layer) or is_preview(layer)]
        self._held = [(layer, layer.visible) for layer in (*others, self.run.image)]
        for layer in others:
            layer.visible = False
        self.run.image.visible = True

    def let_go(self) -> None:
        """Show the results again."""
        held, self._held = self._held or [], None
        for layer, visible in held:
            if layer in self.viewer.layers:
                layer.visible = visible

    def _while_held(self, _: Any) -> Iterator[None]:
        self.hold()
        yield
        self.let_go()

    @property
    def _in_grid(self) -> bool:
        return bool(self.viewer.canvas.grid.enabled)

    def _on_grid(self, *_: Any) -> None:
        """Take the temporary layers away while there is a grid, in which each would be a tile of its own."""
        for slider in (self.form.look.curtain, self.form.look.strength):
            slider.setEnabled(self.run is not None and not self._in_grid)
        if self._in_grid and self.run is not None:
            self.curtain.remove()
            self.strength.remove()
            self.tell(IN_GRID)
        elif self.status.text() == IN_GRID:
            self.tell("")
        self._draw()

    def _draw(self, *_: Any) -> None:
        look = self.form.look
        look.show_strength()
        if self.run is not None and not self._in_grid:
            self.strength.draw(self.run, look.strength.value() / 100)
            self.curtain.draw(self.run, look.curtain.value() / 100)

    def _on_limits(self, same: bool) -> None:
        look, text = self.form.look, ""
        if self.run is not None:
            limits = [float(limit) for limit in self.run.image.contrast_limits]
            for name, layer in self.run.parts.items():
                if name in LIKE_THE_IMAGE:
                    values = finite(sampled(full(layer)))
                    layer.contrast_limits = limits if same else own_limits(values, limits)
                    above = float((values > limits[1]).mean()) if values.size else 0.0
                    if same and name == "output" and above > _CUT_OFF:
                        text = (
                            f"{percent_text(above)} of the result's voxels are above the upper limit, "
                            "and look alike."
                        )
            self._draw()
        set_note(look.limits_note, text)
        look.limits_note.setVisible(bool(text))

    def keep(self, *_: Any) -> None:
        """Add the result with the present strength as a new layer."""
        run, strength = self.run, self.form.look.strength.value() / 100
        if run is None or strength == 1:
            return
        total = strength * float(run.recipe.get("strength", 1.0))
        looks = {name: getattr(run.output, name) for name in ("contrast_limits", "colormap", "gamma")}
        keywords = {
            **run.place,
            **looks,
            "name": f"output {percent_text(total)} · {run.title}",
            "blending": "translucent_no_depth",
            "metadata": run.metadata("output", strength=total),
        }
        data = Strength.data(run, strength)
        self.form.look.strength.setValue(100)
        self._add([(data, keywords)])
        self.tell(f"Added the result with a strength of {percent_text(total)}.")

    # Trust

    def ask(self, kind: str, *_: Any, path: Path | None = None) -> None:
        """Ask for a score, a trust map, planted beads, a report (in a new file) or the methods paragraph."""
        if self.run is None:
            return
        replace = False
        if kind == REPORT and path is None:
            picked, _filter = QFileDialog.getSaveFileName(self, "Save report", "report.html", "HTML (*.html)")
            if not picked:
                return
            path = Path(picked)
            # The dialog asked about the entered name only, not about another one.
            replace = path.suffix.lower() == ".html" and path.exists()
            path = path if path.suffix.lower() == ".html" else path.with_name(f"{path.name}.html")
        self._asked += 1
        volume = shown_volume(self.viewer, self.run.output)
        self.judging.ask(JudgeRequest(kind, self.run, volume, self._asked, path, replace))

    def _on_answered(self, judgement: Judgement) -> None:
        clipboard = QApplication.clipboard()
        if judgement.kind == METHODS and not judgement.problem and clipboard is not None:
            clipboard.setText(judgement.text)
        self._add(list(judgement.layers))

    # The change

    def add_layers(self, names: list[str]) -> None:
        """Add layers of the change: ``"change"``, or the parts."""
        if self.run is not None:
            self._add(change_layers(self.run, names))

    def _add(self, layers: list[tuple[Any, dict[str, Any]]]) -> None:
        taken = {layer.name for layer in self.viewer.layers}
        names = unique_names([keywords["name"] for _, keywords in layers], taken)
        for (data, keywords), name in zip(layers, names, strict=True):
            add_image(self.viewer, data, {**keywords, "name": name})
        # The curtain stays above what was added.
        self._draw()

    def _voxel_request(self) -> Any:
        return None if self.run is None else voxel_under_cursor(self.viewer, self.run)

    def _on_voxel(self, voxel: Voxel | None) -> None:
        self.voxel = voxel
        self.form.change.show_voxel(voxel)


def _unbind(viewer: Any, *_: Any) -> None:
    viewer.bind_key(HOLD_KEY, None)


def _remove(*arguments: Any) -> None:
    """Remove the temporary layers when the panel is closed."""
    for veil in arguments:
        # The window may be closing too, and its canvas with it. Qt passes an object of its own at the end.
        if isinstance(veil, Curtain | Strength):
            with contextlib.suppress(RuntimeError):
                veil.remove()
