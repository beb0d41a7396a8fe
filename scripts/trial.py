r"""Use the panels as a new user does, by clicks and keys alone, and take a picture after each step.

    xvfb-run -a -s "-screen 0 1920x1080x24" python scripts/trial.py --folder build/trial [--only STAGE …]
    xvfb-run -a -s "-screen 0 3840x2160x24" python scripts/trial.py --folder build/trial-2x --scale 2 \
        --window 1280 800 --theme light

Everything is done to the widgets that a user sees: buttons are clicked, text is typed, menus and dialogs are
opened. After each step the visible text of the panel is printed, and rules that hold for every window are
checked: no control moves while one types, Run never moves, no text is cut, and no control is outside of the
panel's width. Each stage also runs alone, and opens what it needs; a stage after others begins with what they
left in the window, as a user does.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="lucyd-settings-")
os.environ["NAPARI_CONFIG"] = os.path.join(os.environ["XDG_CONFIG_HOME"], "settings.yaml")
os.environ["NAPARI_LUCYD_MODELS"] = os.path.join(os.environ["XDG_CONFIG_HOME"], "models")
os.environ["SKIMAGE_DATADIR"] = os.path.join(os.environ["XDG_CONFIG_HOME"], "scikit-image")

import numpy as np
import tifffile
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFileDialog,
    QLabel,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QScrollArea,
    QWidget,
)
from scipy.ndimage import gaussian_filter
from vispy.gloo import glir

import napari_lucyd as nl
from napari_lucyd._napari.demo import wait

# Mesa 22.3 (Debian 12) crashes when layers are removed and added, also without a plugin.
glir.GlirProgram.delete = lambda program: None

LONG = "20240311_fixed cells_DAPI and tubulin_replicate 3 of 4_after bleaching correction_v2"
LEFT = Qt.MouseButton.LeftButton


class Trial:
    """A window, and a person at it."""

    def __init__(self, folder: Path, size: tuple[int, int], theme: str) -> None:
        import napari

        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.viewer = napari.Viewer(title="napari-lucyd", show=True)
        self.viewer.theme = theme
        self.viewer.window.resize(*size)
        self.window = self.viewer.window._qt_window
        self.count = 0
        self.found: list[str] = []
        self.run_at: dict[QWidget, int] = {}
        self.settle(1)

    # Actions of a person

    def settle(self, seconds: float = 0.4) -> None:
        """Look at the window for a while."""
        wait(lambda: False, seconds)

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 240) -> bool:
        """Wait for something to happen; note if it does not."""
        if wait(condition, seconds):
            return True
        self.note(f"waited in vain for {what}")
        return False

    def click(self, control: Any) -> None:
        """Click in the middle of a control, scrolling to it if it is out of sight."""
        widget: QWidget = getattr(control, "native", control)
        area = _area(widget)
        if area is not None:
            area.ensureWidgetVisible(widget)
            self.settle(0.1)
        if not widget.isVisible() or not widget.isEnabled():
            self.note(f"{_name(widget)} cannot be clicked: visible {widget.isVisible()}")
            return
        hit = self.window.childAt(widget.mapTo(self.window, widget.rect().center()))
        if (
            hit is not widget
            and hit is not None
            and not widget.isAncestorOf(hit)
            and widget.window() is self.window
        ):
            self.note(f"{_name(widget)} is covered by {_name(hit)}")
        QTest.mouseClick(widget, LEFT, pos=_spot(widget))
        self.settle(0.2)

    def type(self, control: Any, text: str, *, enter: bool = True) -> None:
        """Type into a field, and see whether anything moves."""
        line: QLineEdit = getattr(control, "native", control)
        area = _area(line)
        if area is not None:
            area.ensureWidgetVisible(line)
            self.settle(0.1)
        before = _places(line)
        QTest.mouseClick(line, LEFT)
        line.selectAll()
        QTest.keyClick(line, Qt.Key.Key_Backspace)
        QTest.keyClicks(line, text)
        if enter:
            QTest.keyClick(line, Qt.Key.Key_Return)
        self.settle(1.2)
        for name, place in _places(line).items():
            if name in before and before[name] != place:
                self.note(f"typing {text!r} moved {name} from {before[name]} to {place}")

    def choose(self, control: Any, text: str) -> None:
        """Choose an entry of a list with the keyboard."""
        box: QComboBox = getattr(control, "native", control)
        area = _area(box)
        if area is not None:
            area.ensureWidgetVisible(box)
        entries = [box.itemText(index) for index in range(box.count())]
        wanted = next((index for index, entry in enumerate(entries) if entry.startswith(text)), None)
        if wanted is None:
            self.note(f"{_name(box)} has no {text!r}, only {entries}")
            return
        box.setFocus()
        QTest.keyClick(box, Qt.Key.Key_Home)
        for _ in range(box.count()):
            if box.currentIndex() == wanted:
                break
            QTest.keyClick(box, Qt.Key.Key_Down)
        self.settle(0.5)

    def menu(self, *path: str) -> None:
        """Choose an entry of the menu bar."""
        entries = self.window.menuBar().actions()
        for word in path:
            action = next((one for one in entries if one.text().replace("&", "").startswith(word)), None)
            if action is None:
                self.note(f"no {word!r} in the menu {[one.text() for one in entries]}")
                return
            menu = action.menu()
            if menu is None:
                action.trigger()
            else:
                menu.aboutToShow.emit()
                entries = menu.actions()
        self.settle(1)

    @contextmanager
    def dialog(self, answer: Callable[[QWidget], None]) -> Iterator[None]:
        """Answer the dialog that the next action opens."""

        def look() -> None:
            box = QApplication.activeModalWidget()
            if box is None:
                self.note("no dialog came")
                return
            self.picture("dialog", box)
            answer(box)

        QTimer.singleShot(1500, look)
        yield
        self.settle(0.5)

    # Texts and values in the window

    def note(self, text: str) -> None:
        """Note a fault."""
        self.found.append(text)
        print(f"  !! {text}", flush=True)

    def picture(self, name: str, widget: QWidget | None = None) -> None:
        """Take a picture of the window, or of a dialog."""
        self.count += 1
        path = self.folder / f"{self.count:02d}-{name}.png"
        (widget or self.window).grab().save(str(path))
        print(f"{time.monotonic():.0f} {path.name}", flush=True)

    def look(self, name: str, panel: Any) -> None:
        """Take a picture, print what the panel says, and check what holds for every panel."""
        self.settle(0.5)
        if self.viewer.layers:
            # The window's own picture has the canvas, which a grab leaves black.
            self.count += 1
            path = self.folder / f"{self.count:02d}-{name}.png"
            self.viewer.screenshot(str(path), canvas_only=False, flash=False)
            print(f"{time.monotonic():.0f} {path.name}", flush=True)
        else:
            self.picture(name)
        print("   layers:", [(layer.name, layer.visible) for layer in self.viewer.layers])
        for label in panel.findChildren(QLabel):
            if label.isVisible() and label.objectName().startswith("lucyd") and label.text():
                print(f"   {label.objectName()}: {label.text()}")
        self.check(panel)

    def check(self, panel: QWidget) -> None:
        """Check rules that hold for every panel."""
        run = panel.findChild(QPushButton, "lucyd-run")
        if run is not None and run.isVisible():
            # From below, because tabs below the panel make it shorter.
            place = panel.height() - run.mapTo(panel, QPoint(0, 0)).y()
            if abs(self.run_at.setdefault(panel, place) - place) > 3:
                self.note(f"Run moved from {self.run_at[panel]} to {place} above the end of the panel")
                self.run_at[panel] = place
        for widget in panel.findChildren(QWidget):
            if not widget.isVisible():
                continue
            if isinstance(widget, QLabel) and widget.wordWrap() and widget.text():
                needed = widget.heightForWidth(widget.width())
                if needed > widget.height() + 2:
                    self.note(f"text {widget.text()!r} is cut: {needed} > {widget.height()}")
            if isinstance(widget, QPushButton):
                needed = widget.fontMetrics().horizontalAdvance(widget.text().replace("&", ""))
                if needed > widget.width():
                    self.note(f"button {widget.text()!r} is cut: {needed} > {widget.width()}")
            if isinstance(widget, QLabel) and widget.text() and not widget.wordWrap() and not widget.pixmap():
                needed = widget.fontMetrics().horizontalAdvance(widget.text())
                if needed > widget.width() + 2 and "<" not in widget.text():
                    self.note(f"label {widget.text()!r} is cut: {needed} > {widget.width()}")
            if isinstance(widget, QLineEdit) and widget.text() and not widget.isReadOnly():
                needed = widget.fontMetrics().horizontalAdvance(widget.text())
                if needed > widget.width() and len(widget.text()) < 20:
                    self.note(f"field {_name(widget)} is too narrow for {widget.text()!r}")
            left = widget.mapTo(panel, QPoint(0, 0)).x()
            if left < 0 or left + widget.width() > panel.width() + 1:
                self.note(f"{_name(widget)} is outside of the panel: {left}+{widget.width()}>{panel.width()}")


def _area(widget: QWidget) -> QScrollArea | None:
    parent = widget.parent()
    while parent is not None and not isinstance(parent, QScrollArea):
        parent = parent.parent()
    return parent


def _spot(widget: QWidget) -> QPoint:
    """Return the point that a person clicks: the box of a check box, or the middle of anything else."""
    if widget.metaObject().className() in ("QCheckBox", "QToggleSwitch"):
        return QPoint(8, widget.height() // 2)
    return widget.rect().center()


def _name(widget: QWidget) -> str:
    text = getattr(widget, "text", lambda: "")()
    return f"{type(widget).__name__} {widget.objectName() or text!r}"


def _places(line: QWidget) -> dict[str, int]:
    """Return the height of all controls in the panel of a field, in its form."""
    area = _area(line)
    root = line.window() if area is None else area.widget()
    places = {}
    for kind in (QLineEdit, QComboBox, QPushButton):
        for number, widget in enumerate(root.findChildren(kind)):
            if widget.isVisible():
                places[f"{kind.__name__} {number}"] = widget.mapTo(root, QPoint(0, 0)).y()
    return places


def images(folder: Path) -> tuple[Path, Path]:
    """Write two images: a stack without a voxel size and with a long name, and a small series."""
    truth = nl.make_structures("mixture", (24, 96, 96), rng=4).image
    light = gaussian_filter(truth / truth.max(), 1.5)
    random = np.random.default_rng(1)
    counts = random.poisson(np.clip(light, 0, None) * 300 + 4) + random.normal(100, 2, light.shape)
    path = folder / f"{LONG}.tif"
    tifffile.imwrite(path, counts.astype(np.uint16), imagej=True, metadata={"axes": "ZYX"})
    other = folder / "cells.tif"
    tifffile.imwrite(other, counts[:, :64, :64].astype(np.uint16), imagej=True, metadata={"axes": "ZYX"})
    return path, other


# The stages, in the order of a first hour


def first(trial: Trial, work: Path) -> None:
    """Open an image with a long name, type nonsense, and run."""
    trial.menu("Plugins", "napari-lucyd", "Deconvolve")
    panel = _panel(trial, "DeconvolveWidget")
    trial.look("empty", panel)
    path, _ = images(work)
    trial.viewer.open(path)
    ready(trial, panel)
    trial.look("opened", panel)
    lines = panel.image.voxel_size.lines
    for text in ("abc", "0.1", "-3", ""):
        trial.type(lines["Z"], text)
    trial.look("voxel-size-of-one-axis", panel)
    for letter, text in zip("ZYX", ("0.3", "0.1", "0.1"), strict=True):
        trial.type(lines[letter], text)
    form = panel.microscope.form
    for name, text in (("numerical_aperture", "9"), ("refractive_index", "x"), ("emission_um", "525")):
        trial.type(form.lines[name], text)
    trial.look("nonsense", panel)
    for name in ("numerical_aperture", "refractive_index", "emission_um"):
        trial.type(form.lines[name], "")
    ready(trial, panel)
    trial.click(panel.footer.run)
    trial.until(lambda: panel.session.is_running, "the run to begin", 20)
    trial.settle(2)
    trial.look("running", panel)
    trial.until(lambda: not panel.session.is_running and panel.score.work.settled, "the end of the run")
    trial.look("done", panel)
    trial.click(panel.footer.run)
    trial.until(lambda: panel.session.is_running, "the second run to begin", 20)
    trial.until(lambda: not panel.session.is_running, "the end of the second run")
    trial.look("run-again", panel)
    trial.click(panel.footer.replace)
    trial.look("replaced", panel)


def views(trial: Trial, work: Path) -> None:
    """Look at results: side by side, Compare beside it, its export, Inspect, and a file."""
    panel = begun(trial, work)
    if not panel.session.results:
        begin(trial, panel.footer.run, panel.session, "a run to look at")
        trial.until(lambda: not panel.session.is_running and panel.score.work.settled, "its end")
    step = trial.viewer.dims.current_step
    trial.click(panel.footer.side_by_side)
    trial.look("side-by-side", panel)
    trial.click(panel.footer.side_by_side)
    if trial.viewer.dims.current_step != step:
        trial.note(f"side by side moved the plane from {step} to {trial.viewer.dims.current_step}")
    trial.menu("Plugins", "napari-lucyd", "Compare")
    compare = _panel(trial, "CompareWidget")
    trial.until(lambda: compare.settled, "the comparison")
    trial.look("compare", compare)
    trial.click(compare.form.held_out)
    trial.until(lambda: compare.settled and compare.form.held_out.text.startswith("Held"), "held-out scores")
    trial.look("held-out", compare)
    folder = work / "export"
    folder.mkdir()
    with trial.dialog(lambda box: pick(box, folder)):
        trial.click(compare.form.export)
    trial.until(lambda: "Saved" in compare.status.text() or "Not" in compare.status.text(), "the export", 60)
    trial.look("exported", compare)
    print("   files:", sorted(path.name for path in folder.iterdir()))
    trial.menu("Plugins", "napari-lucyd", "Inspect")
    inspect = _panel(trial, "InspectWidget")
    trial.settle(2)
    trial.look("inspect", inspect)
    _raise(trial, panel)
    saved = work / "saved"
    saved.mkdir()
    with trial.dialog(lambda box: pick(box, saved / "result")):
        menu = panel.footer.save_menu
        QTimer.singleShot(400, lambda: QTest.keyClick(menu, Qt.Key.Key_Down))
        QTimer.singleShot(600, lambda: QTest.keyClick(menu, Qt.Key.Key_Return))
        trial.click(panel.footer.save)
    trial.settle(4)
    trial.look("saved", panel)
    print("   files:", sorted(path.name for path in saved.iterdir()))


def methods(trial: Trial, work: Path) -> None:
    """Choose Richardson-Lucy without a PSF, a network that has no mask, and a region."""
    panel = begun(trial, work)
    trial.choose(panel.method.combo, "Richardson-Lucy")
    ready(trial, panel)
    trial.look("no-psf", panel)
    print("   axes:", panel.image.axes.value, panel.image.understood.text())
    trial.choose(panel.method.combo, "RLN")
    ready(trial, panel)
    trial.look("rln", panel)
    trial.choose(panel.method.combo, "LUCYD")
    trial.choose(panel.region.combo, "Visible")
    trial.viewer.scene.camera.zoom *= 2.5  # as the wheel does
    ready(trial, panel)
    trial.look("region", panel)
    trial.click(panel.footer.run)
    trial.until(lambda: panel.session.is_running, "the run of a part to begin", 20)
    trial.until(lambda: not panel.session.is_running, "the end of the run of a part")
    trial.click(panel.footer.side_by_side)
    trial.look("region-side-by-side", panel)
    trial.click(panel.footer.side_by_side)
    trial.choose(panel.region.combo, "Whole")
    trial.viewer.reset_view()


def into_files(trial: Trial, work: Path) -> None:
    """Keep results in files: cancel, resume, close the panel in the run, open it again, resume."""
    panel = begun(trial, work)
    for layer in list(trial.viewer.layers)[1:]:
        trial.viewer.layers.remove(layer)
    trial.viewer.open(series(work))
    trial.settle(1)
    ready(trial, panel)
    folder = work / "zarr"
    folder.mkdir()
    trial.choose(panel.destination.combo, "OME-Zarr")
    with trial.dialog(lambda box: pick(box, folder)):
        trial.click(panel.destination.folder_button)
    ready(trial, panel)
    trial.look("into-files", panel)
    for turn in ("cancelled", "resumed-and-cancelled"):
        before = panel.footer.progress.value
        trial.click(panel.footer.run)
        trial.until(lambda: panel.session.results and panel.footer.progress.value > 1, "a block", 120)
        trial.until(lambda value=before: panel.footer.progress.value > value, "progress", 120)
        trial.look(f"{turn}-before", panel)
        trial.click(panel.footer.cancel)
        trial.until(lambda: not panel.session.is_running, "the end after Cancel", 120)
        ready(trial, panel)
        trial.look(turn, panel)
        print("   Run says:", panel.footer.run.text)
    trial.click(panel.footer.run)
    trial.until(lambda: panel.footer.progress.value > 1, "progress", 120)
    dock = panel.parent()
    with trial.dialog(lambda box: press(box, "Stop and close")):
        QTimer.singleShot(0, dock.destroyOnClose)
        trial.settle(3)
    trial.settle(3)
    trial.picture("closed-in-the-run")
    print("   layers:", [(layer.name, layer.visible) for layer in trial.viewer.layers])
    trial.menu("Plugins", "napari-lucyd", "Deconvolve")
    panel = _panel(trial, "DeconvolveWidget")
    trial.settle(2)
    ready(trial, panel)
    trial.look("opened-again", panel)
    print("   Run says:", panel.footer.run.text)
    if panel.footer.run.text != "Resume":
        trial.note("a panel that is opened again does not offer to resume")
    trial.click(panel.footer.run)
    trial.until(lambda: panel.session.is_running, "the last run to begin", 20)
    trial.until(lambda: not panel.session.is_running, "the end of the run into files")
    trial.look("finished", panel)
    names = [layer.name for layer in trial.viewer.layers]
    if len({name.removesuffix(" 2") for name in names}) != len(names):
        trial.note(f"layers appear twice: {names}")
    for layer in trial.viewer.layers:
        values = np.asarray(layer.data[0] if getattr(layer, "multiscale", False) else layer.data)
        if not np.isfinite(values).all():
            trial.note(f"{layer.name} has voxels that are not finite")
    trial.choose(panel.destination.combo, "Memory")


def batch(trial: Trial, work: Path) -> None:
    """Deconvolve a folder of images into files."""
    panel = begun(trial, work)
    sources, out = work / "sources", work / "results"
    sources.mkdir()
    out.mkdir()
    _, small = images(work)
    for name in ("a.tif", "b.tif"):
        (sources / name).write_bytes(small.read_bytes())
    (sources / "broken.tif").write_bytes(b"II*\0 no image")
    trial.click(panel.footer.batch)
    window = panel.batch
    trial.settle(1)
    trial.choose(window.source, "A folder")
    trial.type(window.folder, str(sources))
    trial.type(window.out, str(out))
    trial.picture("batch", window.window() if window.isVisible() else None)
    trial.click(window.start)
    trial.until(lambda: window.session.is_running, "the batch to begin", 20)
    trial.until(lambda: not window.session.is_running, "the end of the batch", 400)
    trial.picture("batch-done", window.window())
    trial.check(window)
    print("   files:", sorted(path.name for path in out.iterdir()))
    begin(trial, window.start, window.session, "the batch, again,")
    trial.until(lambda: not window.session.is_running, "the end of a batch whose results exist", 60)
    trial.picture("batch-again", window.window())
    trial.choose(window.source, "The selected")
    trial.viewer.open([small, images(work)[0]])
    trial.viewer.layers.selection = set(list(trial.viewer.layers)[-2:])
    trial.type(window.out, "")
    trial.click(window.start)
    trial.picture("batch-without-a-folder", window.window())
    trial.type(window.out, str(out))
    trial.picture("batch-of-layers", window.window())
    trial.click(window.start)
    trial.until(lambda: window.session.is_running, "the batch of layers to begin", 20)
    trial.until(lambda: not window.session.is_running, "the end of the batch of layers", 400)
    trial.picture("batch-of-layers-done", window.window())
    if len(window.rows()) < 2:
        trial.note(f"a batch of two layers has the rows {window.rows()}")
    window.window().close()


def phantom(trial: Trial, work: Path) -> None:
    """Open the Phantom panel beside the others."""
    trial.menu("Plugins", "napari-lucyd", "Phantom")
    panel = _panel(trial, "PhantomWidget")
    trial.settle(1)
    trial.look("phantom", panel)
    trial.choose(panel.form.degradation, "Optics")
    trial.look("phantom-optics", panel)
    trial.click(panel.form.make)
    trial.until(lambda: not panel.session.is_running and panel.session.layers, "the phantom", 120)
    trial.look("phantom-made", panel)


def psf_layer(trial: Trial, work: Path) -> None:
    """Make a phantom with its PSF for the Deconvolve panel; cancel while methods are compared."""
    panel = begun(trial, work)
    trial.menu("Plugins", "napari-lucyd", "Phantom")
    maker = _panel(trial, "PhantomWidget")
    trial.settle(1)
    trial.choose(maker.form.degradation, "Optics")
    if not maker.form.outputs["psf"].value:
        trial.click(maker.form.outputs["psf"])
    before = set(trial.viewer.layers)
    trial.click(maker.form.make)
    trial.until(lambda: not maker.session.is_running and set(trial.viewer.layers) != before, "a phantom", 200)
    _raise(trial, panel)
    trial.choose(panel.method.combo, "Automatic")
    ready(trial, panel)
    trial.look("psf-layer-taken", panel)
    if panel.microscope.layer is None or "PSF" not in panel.microscope.layer.name:
        trial.note(f"the PSF of the phantom is not taken: {panel.microscope.layer}")
    trial.click(panel.footer.run)
    trial.until(lambda: "Comparing" in panel.status.text(), "the comparison of methods", 60)
    trial.click(panel.footer.cancel)
    trial.until(lambda: not panel.session.is_running, "the end of the comparison after Cancel", 20)
    trial.look("comparison-cancelled", panel)


def odd_images(trial: Trial, work: Path) -> None:
    """Open what a first hour brings: colour, a plane, NaN, channels; remove the image during its run."""
    panel = begun(trial, work)
    trial.choose(panel.method.combo, "LUCYD")
    stack = tifffile.imread(images(work)[1]).astype(np.float32)
    with_nan, only_nan = stack.copy(), np.full_like(stack, np.nan)
    with_nan[4:6, 20:30, 20:30] = np.nan
    kept = {"imagej": True}
    cases: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "colour": (
            (255 * np.random.default_rng(0).random((96, 96, 3))).astype(np.uint8),
            {"photometric": "rgb"},
        ),
        "plane": (stack[12], kept),
        "with nan": (with_nan, {**kept, "metadata": {"axes": "ZYX"}}),
        "only nan": (only_nan, {**kept, "metadata": {"axes": "ZYX"}}),
        "constant": (np.zeros_like(stack), {**kept, "metadata": {"axes": "ZYX"}}),
        "two channels": (np.stack([stack, stack[:, ::-1]], 1), {**kept, "metadata": {"axes": "ZCYX"}}),
    }
    for name, (data, keywords) in cases.items():
        path = work / f"{name}.tif"
        tifffile.imwrite(path, data, **keywords)
        trial.viewer.layers.clear()
        trial.viewer.open(path)
        trial.viewer.add_labels(np.ones(data.shape[:2], int), name="labels")
        ready(trial, panel)
        trial.look(f"{name}-opened", panel)
        print("   axes:", panel.image.axes.value, "Run:", panel.footer.run.enabled)
        if not panel.footer.run.enabled:
            continue
        begin(trial, panel.footer.run, panel.session, f"the run of {name}")
        if name == "two channels":
            trial.viewer.layers.remove(name)
        trial.until(lambda: not panel.session.is_running and panel.score.work.settled, f"the end of {name}")
        trial.look(f"{name}-done", panel)
    trial.viewer.layers.clear()


def offline(trial: Trial, work: Path) -> None:
    """Open the sample that is downloaded, without a connection: it must say so soon."""
    from napari.utils.notifications import notification_manager

    # A proxy that is not there: then there is no connection, also where this machine has one.
    os.environ["https_proxy"] = "http://127.0.0.1:9"
    began = time.monotonic()
    # As napari's own event loop does: errors become notifications.
    with notification_manager:
        trial.menu("File", "Open Sample", "napari-lucyd", "Real cells")
    if time.monotonic() - began > 8:
        trial.note(f"the failed download took {time.monotonic() - began:.0f} s")
    del os.environ["https_proxy"]
    trial.settle(1)
    trial.picture("offline")


def classical(trial: Trial, work: Path) -> None:
    """Enter the optics, run Wiener, and enter the settings of that result again."""
    panel = begun(trial, work)
    trial.choose(panel.method.combo, "Wiener")
    form = panel.microscope.form
    ready(trial, panel)
    trial.look("wiener-without-psf", panel)
    for letter, text in zip("ZYX", ("0.3", "0.1", "0.1"), strict=True):
        trial.type(panel.image.voxel_size.lines[letter], text)
    for name, text in (("numerical_aperture", "1.2"), ("refractive_index", "1.33"), ("emission_um", "0.525")):
        trial.type(form.lines[name], text)
    ready(trial, panel)
    trial.look("wiener-with-optics", panel)
    trial.click(panel.footer.run)
    trial.until(lambda: panel.session.is_running, "the run of Wiener to begin", 20)
    trial.until(lambda: not panel.session.is_running and panel.score.work.settled, "the end of Wiener")
    trial.look("wiener-done", panel)
    trial.choose(panel.method.combo, "CARE")
    ready(trial, panel)
    trial.look("care", panel)
    result = next(layer for layer in trial.viewer.layers if "wiener" in layer.name)
    trial.viewer.layers.selection.active = result
    trial.settle(1)
    trial.click(panel.footer.use_settings)
    ready(trial, panel)
    trial.look("settings-of-a-result", panel)
    print("   method:", panel.method.shown_name, "NA:", form.lines["numerical_aperture"].value)
    trial.choose(panel.method.combo, "Automatic")
    ready(trial, panel)


def inspection(trial: Trial, work: Path) -> None:
    """Look at a result with the key, the curtain, the strength, the limits, and all of Trust."""
    panel = begun(trial, work)
    trial.choose(panel.method.combo, "LUCYD")
    ready(trial, panel)
    trial.click(panel.footer.run)
    trial.until(lambda: panel.session.is_running, "the run to inspect to begin", 20)
    trial.until(lambda: not panel.session.is_running and panel.score.work.settled, "its end")
    trial.click(panel.footer.inspect)
    inspect = _panel(trial, "InspectWidget")
    trial.settle(1)
    look = inspect.form.look
    trial.look("inspect-begin", inspect)
    canvas = trial.viewer.window._qt_viewer.canvas.native
    canvas.setFocus()
    QTest.mouseMove(canvas, canvas.rect().center())
    trial.settle(1)
    QTest.keyPress(canvas, Qt.Key.Key_B)
    trial.look("key-held", inspect)
    QTest.keyRelease(canvas, Qt.Key.Key_B)
    trial.look("key-released", inspect)
    for name, slider, key, times in (
        ("curtain", look.curtain, Qt.Key.Key_PageUp, 4),
        ("strength", look.strength, Qt.Key.Key_PageDown, 5),
    ):
        slider.setFocus()
        for _ in range(times):
            QTest.keyClick(slider, key)
        trial.look(name, inspect)
    trial.click(look.keep)
    trial.look("kept", inspect)
    look.curtain.setFocus()
    QTest.keyClick(look.curtain, Qt.Key.Key_Home)
    trial.click(look.limits)
    trial.look("same-limits", inspect)
    trial.click(look.limits)
    trial.click(inspect.form.change.parts)
    trial.look("parts", inspect)
    trust, path = inspect.form.trust, work / "report.html"
    for button in trust.buttons:
        line = trust.line.text()
        if button is trust.report:
            with trial.dialog(lambda box: pick(box, path)):
                trial.click(button)
        else:
            trial.click(button)
        trial.until(
            lambda line=line: inspect.judging.settled and trust.line.text() not in ("", line),
            button.text,
        )
        trial.look(button.text.replace(" ", "-").replace("…", "").lower(), inspect)
    print("   report:", path.exists() and path.stat().st_size)
    _raise(trial, panel)


def preview(trial: Trial, work: Path) -> None:
    """Browse with the live preview, and delete its layer."""
    panel = begun(trial, work)
    trial.choose(panel.method.combo, "LUCYD")
    ready(trial, panel)
    trial.click(panel.footer.preview)
    # Before it, the panel says that the exact result follows.
    trial.until(lambda: "exact in the whole" in panel.footer.preview_note.text(), "an exact preview")
    trial.look("preview", panel)
    layer = next(layer for layer in trial.viewer.layers if "preview" in layer.name.lower())
    trial.viewer.layers.remove(layer)
    trial.settle(2)
    trial.look("preview-deleted", panel)
    if any("preview" in layer.name.lower() for layer in trial.viewer.layers):
        trial.note("a preview that was deleted comes back")


def keyboard(trial: Trial, work: Path) -> None:
    """Go through the Deconvolve panel with the tab key."""
    panel = begun(trial, work)
    _raise(trial, panel)
    trial.window.activateWindow()
    trial.until(trial.window.isActiveWindow, "the keyboard", 10)
    panel.image.axes.native.setFocus()
    area, last, seen = panel.findChild(QScrollArea), -1, []
    for _ in range(80):
        QTest.keyClick(trial.window.focusWidget(), Qt.Key.Key_Tab)
        widget = trial.window.focusWidget()
        if widget is None or not panel.isAncestorOf(widget):
            break
        if not widget.isVisible():
            trial.note(f"the tab key goes to {_name(widget)}, which is not to be seen")
        name, inside = _name(widget), area.widget().isAncestorOf(widget)
        place = widget.mapTo(area.widget() if inside else panel, QPoint(0, 0)).y() + (0 if inside else 10_000)
        if place < last - 12:
            trial.note(f"the tab key goes up from {seen[-1]} to {name}")
        last = place
        seen.append(name)
    print("   tab order:", *seen, sep="\n    ")


def training(trial: Trial, work: Path) -> None:
    """Open the window that trains a model, start it, stop it, and try to close the panel meanwhile."""
    panel = begun(trial, work)
    trial.choose(panel.method.combo, "LUCYD")
    ready(trial, panel)
    trial.look("lucyd", panel)
    trial.click(panel.model.train)
    window = panel.adaptation
    trial.settle(1)
    trial.picture("training", window)
    trial.check(window)
    trial.type(window.minutes, "no")
    trial.click(window.train)
    trial.picture("training-nonsense", window)
    trial.type(window.minutes, "8")
    trial.picture("training-mended", window)
    trial.click(window.train)
    trial.until(lambda: window.cancel.enabled and len(window.curve.values) > 1, "two validations", 400)
    trial.picture("training-runs", window)
    dock = panel.parent()
    with trial.dialog(lambda box: press(box, "Keep open")):
        QTimer.singleShot(0, dock.destroyOnClose)
        trial.settle(3)
    trial.click(window.cancel)
    trial.until(lambda: not window.is_running, "the end of the training", 400)
    trial.picture("training-done", window)
    window.close()


STAGES = {
    "first": first,
    "views": views,
    "methods": methods,
    "files": into_files,
    "batch": batch,
    "phantom": phantom,
    "psf-layer": psf_layer,
    "odd-images": odd_images,
    "offline": offline,
    "classical": classical,
    "inspection": inspection,
    "preview": preview,
    "keyboard": keyboard,
    "training": training,
}


def series(work: Path) -> Path:
    """Write a series of volumes, so that a run has several blocks."""
    _, small = images(work)
    volume = tifffile.imread(small)
    path = work / "series.tif"
    tifffile.imwrite(path, np.stack([volume] * 6), imagej=True, metadata={"axes": "TZYX"})
    return path


def begun(trial: Trial, work: Path) -> Any:
    """Return the Deconvolve panel; open it, and an image, if the stage is the first one."""
    if not trial.viewer.layers:
        trial.menu("Plugins", "napari-lucyd", "Deconvolve")
        trial.viewer.open(images(work)[0])
    panel = _panel(trial, "DeconvolveWidget")
    ready(trial, panel)
    return panel


def begin(trial: Trial, button: Any, session: Any, what: str) -> None:
    """Press a button that begins a run, which may be over before one looks."""
    begun: list[bool] = []
    session.started.connect(lambda: begun.append(True))
    trial.click(button)
    trial.until(lambda: bool(begun), f"{what} to begin", 20)


def ready(trial: Trial, panel: Any) -> None:
    """Wait until the panel has looked at the image."""
    trial.settle(0.6)
    trial.until(
        lambda: panel.estimator.settled and panel.examination.work.settled, "the estimate and the examination"
    )


def pick(box: QWidget, path: Path) -> None:
    """Type a path into a dialog for files, and confirm."""
    if not isinstance(box, QFileDialog):
        return
    line = box.findChild(QLineEdit)
    line.setFocus()
    line.selectAll()
    QTest.keyClicks(line, str(path))
    QTest.keyClick(line, Qt.Key.Key_Return)
    if box.isVisible():
        box.accept()


def press(box: QWidget, text: str) -> None:
    """Press a button of a message."""
    if isinstance(box, QMessageBox):
        QTest.mouseClick(next(one for one in box.buttons() if one.text() == text), LEFT)


def _panel(trial: Trial, kind: str) -> Any:
    """Find a panel of the window."""
    found = [widget for widget in trial.window.findChildren(QWidget) if type(widget).__name__ == kind]
    return found[-1]


def _raise(trial: Trial, panel: QWidget) -> None:
    panel.parent().raise_()
    trial.settle(0.5)


def main() -> None:
    """Use the panels, and print what should not be so."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the pictures go")
    parser.add_argument("--only", action="append", default=[], choices=STAGES, help="these stages alone")
    parser.add_argument("--window", type=int, nargs=2, default=(1280, 800), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    parser.add_argument("--scale", type=float, default=1)
    options = parser.parse_args()
    os.environ["QT_SCALE_FACTOR"] = str(options.scale)
    trial = Trial(options.folder, tuple(options.window), options.theme)
    with tempfile.TemporaryDirectory() as work:
        for name in options.only or STAGES:
            print(f"== {name}", flush=True)
            STAGES[name](trial, Path(work))
        print(f"{len(trial.found)} things that should not be so:", *trial.found, sep="\n- ")
        trial.viewer.close()


if __name__ == "__main__":
    main()
