"""Demonstration: a stack is deconvolved in napari through the panel.

``python -m napari_lucyd._napari.demo [IMAGE] [--save FOLDER]`` opens a window with the phantom sample, or
with the user's image, docks the Deconvolve panel, chooses LUCYD and presses Run. With ``--save`` it writes
a screenshot and the layers, prints their paths and ends; otherwise the window stays.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

    from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget

WINDOW = (1720, 1040)
PANEL = "Deconvolve"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration.

    Parameters
    ----------
    argv
        Command line without the program's name.

    Returns
    -------
    int
        Exit status: 0 if the run succeeded.
    """
    options = _parser().parse_args(argv)
    import napari
    from qtpy.QtCore import QThreadPool

    viewer = napari.Viewer(title="napari-lucyd", show=True)
    viewer.window.resize(*WINDOW)
    try:
        _open(viewer, options.image)
    except Exception as error:  # whatever a damaged file makes a reader raise
        print(f"{options.image} cannot be opened: {error}", file=sys.stderr)
        viewer.close()
        return 1
    panel = dock(viewer)
    panel.method.combo.value = "lucyd"
    if options.model:
        panel.model.load(options.model)
        wait(lambda: panel.model.name == options.model, 120)
    ok = run(panel)
    _middle(viewer)
    if not options.save:
        napari.run()
        return 0
    if ok:
        panel.footer.side_by_side.native.setChecked(True)
        for path in write(viewer, panel, Path(options.save)):
            print(path)
    else:
        print(f"The run failed. {panel.footer.estimate.text()} {panel.status.text()}", file=sys.stderr)
    viewer.close()
    # As napari does when it is quit: a thread that outlives Qt would take Python down.
    pool = QThreadPool.globalInstance()
    assert pool is not None
    pool.waitForDone()
    return 0 if ok else 1


def dock(viewer: Viewer) -> DeconvolveWidget:
    """Open the panel as the plugin menu does."""
    _, panel = viewer.window.add_plugin_dock_widget("napari-lucyd", PANEL)
    return panel  # type: ignore[return-value]


def run(panel: DeconvolveWidget, seconds: float = 3600) -> bool:
    """Press Run when the panel is ready, and wait for the layers and their score.

    Returns
    -------
    bool
        True if there are results.
    """
    if not wait(lambda: panel.estimator.settled, 300) or not panel.footer.run.enabled:
        return False
    panel.footer.run.native.click()
    wait(lambda: not panel.session.is_running and panel.score.work.settled, seconds)
    # The line of the score gets its height with the events that follow its text.
    wait(lambda: False, 0.5)
    return bool(panel.session.results)


def wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Process the window's events until a condition holds; return False after the time limit."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        QApplication.processEvents()
        time.sleep(0.005)
    return True


def write(viewer: Viewer, panel: DeconvolveWidget, folder: Path) -> list[Path]:
    """Write a screenshot of the window and its visible layers; older files of a demo are replaced."""
    from napari_lucyd._napari.layers.saving import SUFFIX, File, write_one

    folder.mkdir(parents=True, exist_ok=True)
    _settle(1.0)
    screenshot = folder / "window.png"
    viewer.screenshot(str(screenshot), canvas_only=False, flash=False)
    paths = [screenshot]
    for layer in shown(viewer):
        file = File.from_layer(layer)
        paths.append(write_one(file, folder / (file.name + SUFFIX), None, overwrite=True))
    return paths


def shown(viewer: Viewer) -> list[Layer]:
    """Return the visible layers."""
    return [layer for layer in viewer.layers if layer.visible]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m napari_lucyd._napari.demo",
        description="Opens napari with the Deconvolve panel and deconvolves an image.",
    )
    parser.add_argument(
        "image", nargs="?", help="a TIFF, OME-TIFF or OME-Zarr stack; a simulated phantom without it"
    )
    parser.add_argument("--save", metavar="FOLDER", help="write a screenshot and the layers there, then quit")
    parser.add_argument("--model", metavar="FILE", help="a model file in place of the default model")
    return parser


def _open(viewer: Viewer, path: str | None) -> None:
    if path is None:
        viewer.open_sample("napari-lucyd", "phantom")
        viewer.layers.selection.active = viewer.layers["phantom"]
        return
    from napari_lucyd.io import read_image

    image = read_image(path)
    scale = None
    if image.voxel_size is not None:
        scale = (1.0,) * (len(image.axes) - len(image.voxel_size)) + tuple(image.voxel_size)
    units: Any = None
    if image.unit is not None:
        units = tuple(image.unit if name in "ZYX" else "pixel" for name in image.axes)
    viewer.add_image(
        image.data, name=image.name, scale=scale, units=units, axis_labels=tuple(image.axes.lower())
    )


def _middle(viewer: Viewer) -> None:
    viewer.dims.current_step = tuple(steps // 2 for steps in viewer.dims.nsteps)


def _settle(seconds: float) -> None:
    """Let the window draw its changes."""
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end, seconds + 1)


if __name__ == "__main__":
    sys.exit(main())
