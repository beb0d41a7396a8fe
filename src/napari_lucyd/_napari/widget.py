"""The Deconvolve panel: what its controls do."""

from __future__ import annotations

import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from napari.utils.theme import get_theme
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget
from superqt.utils import create_worker

from napari_lucyd._napari import engine, save
from napari_lucyd._napari.form import Form, say
from napari_lucyd._napari.layers import Source, is_result
from napari_lucyd._napari.parameters import (
    RECTANGLE,
    SCREEN,
    WHOLE,
    Parameters,
    default_model,
    parse_axes,
    parse_tile,
)
from napari_lucyd._napari.preview_overlay import is_preview
from napari_lucyd._napari.session import Session, unwrapped
from napari_lucyd._napari.text import bytes_text, duration_text, model_label, model_text, shape_text
from napari_lucyd._napari.view import SideBySide, drawn_rectangle, on_screen, start_drawing
from napari_lucyd._napari.worker import Advanced, Estimate, Failed, Finished, Task, estimate, explain
from napari_lucyd.models.catalogue import DEFAULT_MODEL, list_models

if TYPE_CHECKING:
    import napari.viewer

# The estimate follows the last change after this pause, so that dragging a slider does not start one a step.
SETTLE_MS = 250
_ISOTROPIC = {"auto": None, "on": True, "off": False}


class DeconvolveWidget(QWidget):
    """Deconvolve image layers with LUCYD.

    Parameters
    ----------
    napari_viewer
        The viewer that the panel is docked in.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = unwrapped(napari_viewer)
        self.form = Form()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.form)
        self.session = Session(self.viewer, self)
        self.grid = SideBySide(self.viewer)
        self.estimates: list[Estimate] = []
        self.preview: Any = None
        self._cards = {str(card["name"]): card for card in list_models()}
        self._model_files: list[str] = []
        self._model_chosen = False
        self._axes_override: str | None = None
        self._filling = False
        self._estimating = False
        self._stale = False
        self._last_sources: list[weakref.ref[Image]] = []
        self._messages: list[str] = []
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._start_estimate)
        self._connections: list[tuple[Any, Any]] = []
        self._connect()
        self._fill_models()
        self._fill_images()
        self._follow_active()
        self._colour()
        say(self.form.status, "Loading PyTorch…")
        self.refresh()

    # -- wiring ---------------------------------------------------------------------------------

    def _connect(self) -> None:
        form, session = self.form, self.session
        form.image.changed.connect(self._on_image)
        form.axes.native.editingFinished.connect(self._on_axes)
        form.model.changed.connect(self._on_model)
        form.load.changed.connect(self.choose_model_file)
        form.draw.changed.connect(self._on_draw)
        form.region.changed.connect(self._on_region)
        for control in (form.normalization, form.isotropic, form.device, form.z_range, form.tile, form.halo):
            control.changed.connect(self.refresh)
        for control in (form.separate, *form.outputs.values()):
            control.changed.connect(self.refresh)
        form.preview.toggled.connect(self._on_preview)
        form.run.changed.connect(self.run)
        form.cancel.changed.connect(session.cancel)
        form.keep.changed.connect(self._on_keep)
        form.discard.changed.connect(self._on_discard)
        form.side_by_side.native.toggled.connect(self._on_side_by_side)
        form.save.changed.connect(self.save_results)
        session.started.connect(self._on_started)
        session.told.connect(self._tell)
        session.advanced.connect(self._on_advanced)
        session.failed.connect(self._on_failed)
        session.finished.connect(self._on_finished)
        session.ended.connect(self._on_ended)

        layers = self.viewer.layers
        for emitter, callback in (
            (layers.events.inserted, self._on_layers),
            (layers.events.removed, self._on_layers),
            (layers.events.reordered, self._on_layers),
            (layers.selection.events.active, self._follow_active),
            (layers.selection.events.changed, self._on_selection),
            (self.viewer.camera.events.center, self._on_view),
            (self.viewer.camera.events.zoom, self._on_view),
            (self.viewer.dims.events.ndisplay, self._on_view),
            (self.viewer.dims.events.order, self._on_view),
            (self.viewer.events.theme, self._colour),
        ):
            emitter.connect(callback)
            self._connections.append((emitter, callback))
        # napari keeps weak references to the panel's methods; the Qt object may go before the Python one.
        self.destroyed.connect(partial(_let_go, self._connections, self.session._stop))

    def _colour(self, event: Any = None) -> None:
        theme = get_theme(self.viewer.theme)
        self.form.colour(theme.current.as_hex(), theme.text.as_hex(), theme.foreground.as_hex())

    # -- choices --------------------------------------------------------------------------------

    def parameters(self) -> Parameters:
        """The panel's choices as they stand.

        Raises
        ------
        ValueError
            If the tile line is not understood.
        """
        form = self.form
        return Parameters(
            model=str(form.model.value or DEFAULT_MODEL),
            axes=self._axes_override,
            normalization=form.normalization.value,
            separate=form.separate.value,
            isotropic=_ISOTROPIC[form.isotropic.value],
            region=form.region.value,
            z_range=tuple(form.z_range.value) if self._has_z_range() else None,
            device=form.device.value,
            outputs=tuple(name for name, box in form.outputs.items() if box.value),
            tile_shape=parse_tile(form.tile.value),
            halo=None if form.halo.value < 0 else int(form.halo.value),
        )

    def targets(self) -> list[Image]:
        """The layers that Run takes: the one shown, and all selected ones if it is among them."""
        chosen = self.form.image.value
        if chosen is None:
            return []
        selected = [
            layer
            for layer in self.viewer.layers
            if layer in self.viewer.layers.selection and isinstance(layer, Image) and not self._is_ours(layer)
        ]
        return selected if chosen in selected else [chosen]

    def tasks(self) -> list[Task]:
        """What Run would do now.

        Raises
        ------
        ValueError
            If a choice cannot be carried out; the message says why.
        """
        parameters = self.parameters()
        if not parameters.outputs:
            raise ValueError("Tick at least one layer to show.")
        tasks = []
        for layer in self.targets():
            source = Source.from_layer(layer)
            own = parameters
            if own.axes is not None and (
                len(own.axes) != len(source.shape) or layer != self.form.image.value
            ):
                own = _replace(own, axes=None)
            tasks.append(Task(source, own, self._view_of(layer)))
        return tasks

    def _view_of(self, layer: Image) -> tuple[slice, ...] | None:
        if self.form.region.value == SCREEN:
            return on_screen(layer, self.viewer)
        if self.form.region.value == RECTANGLE:
            return drawn_rectangle(layer, self.viewer)
        return None

    def _is_ours(self, layer: Any) -> bool:
        return is_result(layer) or is_preview(layer)

    def _has_z_range(self) -> bool:
        return self.form.region.value != WHOLE and self._planes() > 1

    def _planes(self) -> int:
        job = self._job()
        if job is None or "Z" not in job.axes:
            return 1
        return self.estimates[0].task.source.shape[job.axes.index("Z")]

    def _job(self) -> Any:
        return self.estimates[0].job if self.estimates else None

    # -- image and axes -------------------------------------------------------------------------

    def _on_layers(self, event: Any = None) -> None:
        layer = getattr(event, "value", None)
        if isinstance(layer, Image) and getattr(event, "type", "") == "inserted":
            layer.events.name.connect(self._fill_images)
            for name in ("data", "scale", "affine", "units", "axis_labels"):
                getattr(layer.events, name).connect(self._on_layer_changed)
        self._fill_images()
        if self.form.image.value is None:
            self._follow_active()
        self.refresh()

    def _fill_images(self, event: Any = None) -> None:
        images = [layer for layer in self.viewer.layers if isinstance(layer, Image)]
        before = self.form.image.value
        self._filling = True
        self.form.image.choices = [(layer.name, layer) for layer in images]
        if before in images:
            self.form.image.value = before
        self._filling = False
        if before not in images:
            self._on_image()

    def _follow_active(self, event: Any = None) -> None:
        active = self.viewer.layers.selection.active
        if isinstance(active, Image) and not self._is_ours(active) and active in self.form.image.choices:
            self.form.image.value = active
        elif self.form.image.value is None:
            images = [layer for layer in self.form.image.choices if layer is not None]
            if images:
                self.form.image.value = images[-1]

    def _on_selection(self, event: Any = None) -> None:
        targets = self.targets()
        self.form.also.setVisible(len(targets) > 1)
        if len(targets) > 1:
            names = ", ".join(f"“{layer.name}”" for layer in targets[:4])
            more = f" and {len(targets) - 4} more" if len(targets) > 4 else ""
            say(self.form.also, f"Run takes all {len(targets)} selected images: {names}{more}.")
        self.refresh()

    def _on_layer_changed(self, event: Any = None) -> None:
        self.refresh()

    def _on_image(self, *_: Any) -> None:
        if self._filling:
            return
        self._axes_override = None
        self.form.axes.value = ""
        say(self.form.understood, "")
        layer = self.form.image.value
        if layer is not None and not self._model_chosen:
            self._set_model(default_model(layer.ndim))
        self._on_selection()

    def _on_axes(self) -> None:
        layer = self.form.image.value
        job = self._job()
        text = self.form.axes.value
        if layer is None or (job is not None and text == job.axes):
            return
        try:
            self._axes_override = parse_axes(text, layer.ndim)
        except ValueError as error:
            say(self.form.understood, str(error), problem=True)
            return
        self.refresh()

    # -- model ----------------------------------------------------------------------------------

    def _fill_models(self) -> None:
        choices = [(model_label(card), name) for name, card in self._cards.items()]
        choices += [(Path(path).name, path) for path in self._model_files]
        before = self.form.model.value
        self._filling = True
        self.form.model.choices = choices
        values = [value for _, value in choices]
        if values:
            self.form.model.value = before if before in values else values[0]
        self._filling = False
        self._about_model()

    def _set_model(self, name: str) -> None:
        if name in self.form.model.choices:
            self._filling = True
            self.form.model.value = name
            self._filling = False
            self._about_model()

    def _on_model(self, *_: Any) -> None:
        self._about_model()
        if not self._filling:
            self._model_chosen = True
            self.refresh()

    def _about_model(self) -> None:
        name = self.form.model.value
        card = self._cards.get(name or "")
        model = engine.loaded_model(name) if name else None
        text = model_text(card or (model.card if model else {}))
        self.form.about.setVisible(bool(text))
        say(self.form.about, text)

    def choose_model_file(self, *_: Any) -> None:
        """Ask for a model file and load it."""
        path, _kind = QFileDialog.getOpenFileName(
            self, "Load a model", "", "Models (*.safetensors *.pth *.pt);;All files (*)"
        )
        if path:
            self.load_model_file(path)

    def load_model_file(self, path: str | Path) -> None:
        """Load a model in the background and choose it; a file that is no model is told of and not listed."""
        self._tell(f"Loading {Path(path).name}…")
        worker = create_worker(_load_model, str(path), _start_thread=False)
        worker.returned.connect(self._on_model_file)
        worker.start()

    def _on_model_file(self, loaded: tuple[str, str]) -> None:
        path, error = loaded
        if error:
            say(self.form.status, error, problem=True)
            return
        if path not in self._model_files:
            self._model_files.append(path)
        self._fill_models()
        self._set_model(path)
        self._model_chosen = True
        self._tell(f"Loaded {Path(path).name}.")
        self.refresh()

    # -- region ---------------------------------------------------------------------------------

    def _on_region(self, *_: Any) -> None:
        self._show_region()
        self.refresh()

    def _show_region(self) -> None:
        kind = self.form.region.value
        self.form.draw.visible = kind == RECTANGLE
        self.form.where.setVisible(kind != WHOLE)
        planes = self._planes()
        if planes > 1 and self.form.z_range.max != planes - 1:
            self._filling = True
            self.form.z_range.max = planes - 1
            self.form.z_range.value = (0, planes - 1)
            self._filling = False
        self.form.show_z_range(self._has_z_range())

    def _on_draw(self, *_: Any) -> None:
        layer = self.form.image.value
        if layer is None:
            self._tell("Open an image first.")
            return
        shapes = start_drawing(self.viewer, layer)
        shapes.events.data.disconnect(self._on_view)
        shapes.events.data.connect(self._on_view)
        self._tell("Draw a rectangle on the image.")

    def _on_view(self, event: Any = None) -> None:
        if self.form.region.value != WHOLE:
            self.refresh()

    # -- estimate -------------------------------------------------------------------------------

    def refresh(self, *_: Any) -> None:
        """Plan and estimate anew, after a short pause."""
        if not self._filling:
            self._stale = True
            self._settle.start()

    def _start_estimate(self) -> None:
        # One at a time, and none beside a run: they would compete for the same processors.
        if self._estimating or self.session.is_running:
            return
        self._stale = False
        try:
            tasks = self.tasks()
        except ValueError as error:
            self.estimates = []
            say(self.form.estimate, str(error), problem=True)
            self.form.run.enabled = False
            return
        self._estimating = True
        worker = create_worker(estimate, tasks, _start_thread=False)
        worker.returned.connect(self._on_estimate)
        worker.errored.connect(self._on_estimate_failed)
        worker.start()

    def _on_estimate_failed(self, error: Exception) -> None:
        self._estimating = False
        say(self.form.status, explain(error), problem=True)

    def _on_estimate(self, estimates: list[Estimate]) -> None:
        self._estimating = False
        if self.form.device.choices[1:] == ("cpu",):
            self.form.device.choices = engine.list_devices()
        if self._stale:
            self._settle.start()
            return
        self.estimates = estimates
        self._about_model()
        if self.form.status.text() == "Loading PyTorch…":
            self._tell("Ready.")
        if not estimates:
            say(self.form.estimate, "Open an image to deconvolve.")
            say(self.form.understood, "")
            self.form.run.enabled = False
            return
        first = estimates[0]
        if first.job is not None:
            self.form.axes.value = first.job.axes
            say(self.form.understood, first.job.description)
        planned = [entry for entry in estimates if entry.job is not None]
        errors = [f"“{entry.task.source.name}”: {entry.error}" for entry in estimates if entry.error]
        self.form.run.enabled = bool(planned) and not self.session.is_running
        say(self.form.estimate, "\n".join([*_estimate_lines(planned), *errors]), problem=bool(errors))
        self._show_region()
        self._say_where(first)
        if self.preview is not None:
            self.preview.refresh()

    def _say_where(self, entry: Estimate) -> None:
        if entry.job is None or entry.region is None:
            say(self.form.where, "All of it." if entry.job is not None else "")
            return
        names = [name for name in "ZYX" if name in entry.job.axes]
        parts = [
            f"{name} {part.start}–{part.stop - 1}" for name, part in zip(names, entry.region, strict=True)
        ]
        say(self.form.where, ", ".join(parts))

    # -- run ------------------------------------------------------------------------------------

    def run(self, *_: Any) -> None:
        """Deconvolve the chosen layers with the choices as they stand."""
        try:
            tasks = self.tasks()
            self._last_sources = [weakref.ref(layer) for layer in self.targets()]
            self.session.start(tasks)
        except ValueError as error:
            say(self.form.status, str(error), problem=True)

    def _on_started(self) -> None:
        self._messages = []
        self.form.run.enabled = False
        self.form.cancel.enabled = True
        self.form.partial.hide()
        self.form.progress.max = 0  # a bar that moves until the number of tiles is known
        self.form.progress.native.setFormat("")
        if self.preview is not None:
            self.preview.pause()

    def _on_advanced(self, event: Advanced) -> None:
        bar = self.form.progress
        bar.max, bar.value = event.total, event.done
        left = "" if event.seconds_left is None else f"  ·  {duration_text(event.seconds_left)} left"
        bar.native.setFormat(f"%p %{left}")

    def _on_failed(self, event: Failed) -> None:
        self._messages.append(f"“{event.task.source.name}” was not deconvolved: {event.text}")
        say(self.form.status, self._messages[-1], problem=True)

    def _on_finished(self, event: Finished) -> None:
        text = f"“{event.task.source.name}” done in {duration_text(event.seconds)} on {event.device}."
        self._messages += [text, *event.warnings]

    def _on_ended(self) -> None:
        form, part = self.form, self.session.partial
        form.cancel.enabled = False
        form.run.enabled = True
        form.progress.max, form.progress.value = 1, 0 if part is not None or not self.session.results else 1
        form.progress.native.setFormat("")
        form.results.setEnabled(bool(self.session.results) or form.results.isEnabled())
        form.partial.setVisible(part is not None)
        if part is not None:
            say(form.status, f"Stopped after {part.share:.0%} of “{part.task.source.name}”.")
        elif self._messages:
            say(form.status, "\n".join(self._messages[-4:]), problem="was not" in "".join(self._messages))
        if self.preview is not None:
            self.preview.resume()
        self.refresh()

    def _on_keep(self, *_: Any) -> None:
        self.session.keep_partial()
        self._tell("Kept the finished part; the rest is empty.")
        self.form.partial.hide()

    def _on_discard(self, *_: Any) -> None:
        self.session.discard_partial()
        self._tell("Discarded.")
        self.form.partial.hide()

    def _tell(self, text: str) -> None:
        say(self.form.status, text)

    # -- results --------------------------------------------------------------------------------

    def results(self) -> list[Image]:
        """The result layers that the buttons act on: the last run's that are still there, else all."""
        last = [layer for layer in self.session.results if layer in self.viewer.layers]
        return last or [
            layer for layer in self.viewer.layers if isinstance(layer, Image) and is_result(layer)
        ]

    def _on_side_by_side(self, on: bool) -> None:
        if not on:
            self.grid.hide()
            return
        sources = [layer for ref in self._last_sources if (layer := ref()) in self.viewer.layers]
        self.grid.show([*sources, *self.results()])

    def save_results(self, *_: Any) -> None:
        """Ask where, and write the selected result layers, or all of the last run."""
        selected = [layer for layer in self.results() if layer in self.viewer.layers.selection]
        layers = selected or self.results()
        if not layers:
            self._tell("There are no results to save yet.")
            return
        folder = QFileDialog.getExistingDirectory(self, "Save the results in a folder")
        if folder:
            self.save_to(Path(folder), layers)

    def save_to(self, folder: Path, layers: list[Image]) -> None:
        """Write layers into a folder in the background."""
        files = [save.File.from_layer(layer) for layer in layers]
        self._tell(f"Saving {len(files)} files…")
        worker = create_worker(save.write, files, folder, self.form.save_as.value, _start_thread=False)
        worker.returned.connect(self._on_saved)
        worker.errored.connect(
            lambda error: say(self.form.status, f"Not saved: {explain(error)}", problem=True)
        )
        worker.start()

    def _on_saved(self, paths: list[Path]) -> None:
        self._tell(f"Saved {', '.join(path.name for path in paths)} in {paths[0].parent}.")

    # -- live preview ---------------------------------------------------------------------------

    def _on_preview(self, on: bool) -> None:
        if self.preview is None:
            if not on:
                return
            from napari_lucyd._napari.preview import LivePreview

            self.preview = LivePreview(self.viewer, self.preview_request)
            self.preview.status.connect(self._tell)
        self.preview.set_enabled(on)

    def preview_request(self) -> Any:
        """What the live preview shows: the layer and choices of the latest estimate, or None."""
        from napari_lucyd._napari.preview import PreviewRequest

        layer = self.form.image.value
        if layer is None or not self.estimates or self.estimates[0].job is None:
            return None
        entry = next((e for e in self.estimates if e.task.source.name == layer.name), self.estimates[0])
        source = entry.task.source
        axes = entry.job.axes
        options = entry.task.parameters.options(source.voxel_size(axes), axes, None)
        return PreviewRequest(layer, axes, entry.model, options)


def _estimate_lines(planned: list[Estimate]) -> list[str]:
    if not planned:
        return []
    jobs = [entry.job for entry in planned]
    seconds = sum(entry.seconds or 0 for entry in planned)
    tiles = sum(job.tiles for job in jobs)
    memory = max(job.memory_bytes for job in jobs)
    tile = f"{tiles} tile{'s' if tiles > 1 else ''} of {shape_text(jobs[0].tile_shape)}"
    lines = [
        f"About {duration_text(seconds)} and {bytes_text(memory)} of memory, in {tile}, on {jobs[0].device.name}."
    ]
    return lines + list(dict.fromkeys(str(warning) for job in jobs for warning in job.warnings))


def _load_model(path: str) -> tuple[str, str]:
    try:
        engine.load()
        engine.get_model(path)
    except Exception as error:
        return path, explain(error)
    return path, ""


def _replace(parameters: Parameters, **changes: Any) -> Parameters:
    from dataclasses import replace

    return replace(parameters, **changes)


def _let_go(connections: list[tuple[Any, Any]], stop: Any, *_: Any) -> None:
    stop.set()
    for emitter, callback in connections:
        emitter.disconnect(callback)
