r"""Take the pictures of the window for the README and the guide, with the real panel in a real window.

    xvfb-run -a -s "-screen 0 1920x1080x24" python scripts/screenshot.py [--only NAME …]
    xvfb-run -a -s "-screen 0 3840x2160x24" python scripts/screenshot.py --scale 2 --window 1280 800 \
        --theme light --folder build/pictures

Writes panel.png (a run on the phantom sample), layers.png (image and results side by side), preview.png (the
live preview), methods.png (Richardson-Lucy with a PSF from the optics), automatic.png (a run of it that
chooses the number of iterations, with the Advanced section), beads.png (a PSF measured on beads),
semi-blind.png (a run that chooses blur and iterations), phantom.png (the Phantom panel), compare.png (the
Compare panel after a run) and inspect.png (the Inspect panel after a run) into docs/images. NAME is network,
classical, automatic, beads, semi-blind, phantom, comparison or inspection.

The second command shows the same on a screen with twice the pixels, in a window of another size and theme.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

# The pictures must not show entries of another window; napari reads this when it is imported.
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="lucyd-settings-")
os.environ["NAPARI_CONFIG"] = os.path.join(os.environ["XDG_CONFIG_HOME"], "settings.yaml")
os.environ["NAPARI_LUCYD_MODELS"] = os.path.join(os.environ["XDG_CONFIG_HOME"], "models")

import numpy as np
from PIL import Image
from qtpy.QtWidgets import QScrollArea
from scipy.signal import fftconvolve

import napari_lucyd as nl
from napari_lucyd._napari import demo
from napari_lucyd._napari.layers.side_by_side import SideBySide
from napari_lucyd._napari.layers.viewer import METADATA_KEY
from napari_lucyd._napari.workers import notification

IMAGES = Path(__file__).parents[1] / "docs" / "images"
# Size of the window in points, and napari's theme.
LOOK: dict[str, Any] = {"window": (1500, 920), "theme": "dark"}
# Enough for a dark window with grey pictures, at a third of the file size of full colour.
COLOURS = 256
# On a slow machine, the notification at the end of a long run would cover a part of the picture.
notification.LONG_SECONDS = 10**9


def write(pixels: np.ndarray, name: str, folder: Path) -> None:
    """Write a picture as a small PNG; refuse the black one of a window that was never drawn."""
    if pixels[..., :3].std() < 5:
        raise RuntimeError(f"{name} is empty: is the window on a screen?")
    path = folder / name
    Image.fromarray(pixels[..., :3]).quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path)


def settle(seconds: float = 1.5) -> None:
    """Let the window draw its changes."""
    demo.wait(lambda: False, seconds)


def main(folder: Path, model: str | None, only: list[str]) -> None:
    """Take the pictures."""
    parts = {
        "network": lambda: network(folder, model),
        "classical": lambda: classical(folder),
        "automatic": lambda: automatic(folder),
        "beads": lambda: beads(folder),
        "semi-blind": lambda: semi_blind(folder),
        "phantom": lambda: phantom(folder),
        "comparison": lambda: comparison(folder, model),
        "inspection": lambda: inspection(folder),
    }
    for name in only or parts:
        parts[name]()


def network(folder: Path, model: str | None) -> None:
    """Take the pictures of the live preview and of a run with LUCYD."""
    viewer, panel = opened("phantom", "phantom")
    if model:
        panel.model.load(model)
        demo.wait(lambda: panel.model.name == model, 60)
    settle(3)

    panel.footer.preview.setChecked(True)
    # The first exact patch, before it grows over the whole screen.
    if not demo.wait(lambda: panel.footer.preview_note.text().startswith("Preview: exact in"), 600):
        raise RuntimeError(f"There is no preview: {panel.footer.preview_note.text()}")
    screenshot(viewer, "preview.png", folder)
    panel.footer.preview.setChecked(False)
    settle()

    if not demo.run(panel):
        raise RuntimeError(f"The run failed: {panel.footer.estimate.text()} {panel.status.text()}")
    for layer in viewer.layers:
        layer.visible = layer.visible or layer.name == "phantom"
    settle()
    screenshot(viewer, "panel.png", folder)

    panel.footer.side_by_side.native.setChecked(True)
    settle(2)
    write(viewer.screenshot(canvas_only=True, flash=False), "layers.png", folder)
    viewer.close()


def classical(folder: Path) -> None:
    """Take the picture of a run with Richardson-Lucy, and of its PSF as a layer."""
    viewer, panel = opened("nuclei", "nuclei surrogate")
    panel.method.combo.value = "richardson-lucy"
    panel.method.num_iter.value = "20"
    tell_optics(viewer, panel)
    # The image's middle plane then shows the PSF in focus.
    panel.microscope.form.lines["shape"].value = "63"
    settle(1)
    if not demo.run(panel):
        raise RuntimeError(f"The run failed: {panel.footer.estimate.text()} {panel.status.text()}")
    panel.microscope.form.show_layer.native.click()
    if not demo.wait(lambda: "Added" in panel.status.text(), 60):
        raise RuntimeError(f"There is no PSF: {panel.status.text()}")
    # Removed from the grid, which keeps a place for hidden layers too.
    del viewer.layers["nuclei surrogate truth"]
    viewer.layers[-1].gamma = 0.4
    panel.footer.side_by_side.native.setChecked(True)
    viewer.layers[-1].visible = viewer.layers[-1].name_overlay.visible = True
    settle(2)
    screenshot(viewer, "methods.png", folder)
    viewer.close()


def tell_optics(viewer: Any, panel: Any) -> None:
    """Enter the optics that the sample was made with."""
    optics = viewer.layers["nuclei surrogate"].metadata[METADATA_KEY]["simulation"]["psf"]
    for name in ("numerical_aperture", "refractive_index", "emission_um"):
        panel.microscope.form.lines[name].value = f"{optics[name]:g}"


def automatic(folder: Path) -> None:
    """Take the picture of Richardson-Lucy while it chooses the number of iterations by itself."""
    viewer, panel = opened("nuclei", "nuclei surrogate")
    panel.method.combo.value = "richardson-lucy"
    tell_optics(viewer, panel)
    # Without it the automatic size, which holds all of the haze, would take minutes.
    panel.microscope.form.lines["shape"].value = "63"
    demo.wait(lambda: panel.footer.run.enabled, 60)
    panel.advanced.expand(animate=False)
    settle(1)
    panel.footer.run.native.click()
    if not demo.wait(lambda: len(panel.footer.curve.points) > 6, 600):
        raise RuntimeError(f"There is no curve: {panel.footer.estimate.text()} {panel.status.text()}")
    # The curve takes some of the panel's height.
    area = panel.findChild(QScrollArea).verticalScrollBar()
    area.setValue(area.maximum())
    settle(0.5)
    screenshot(viewer, "automatic.png", folder)
    panel.session.cancel()
    demo.wait(lambda: not panel.session.is_running, 60)
    viewer.close()


def beads(folder: Path) -> None:
    """Take the picture of a PSF that is measured on a layer of simulated beads."""
    viewer, panel = opened("nuclei", "nuclei surrogate")
    layer = viewer.layers["nuclei surrogate"]
    optics = layer.metadata[METADATA_KEY]["simulation"]["psf"]
    known = {name: optics[name] for name in ("numerical_aperture", "refractive_index", "emission_um")}
    psf = nl.make_psf("widefield", (41, 61, 61), voxel_size=tuple(layer.scale), **known)
    random, points = np.random.default_rng(1), np.zeros((41, 320, 320))
    for y, x in random.integers(20, 300, (36, 2)):
        points[20, y, x] += random.uniform(0.7, 1)
    light = fftconvolve(points, psf / psf.max(), mode="same")
    image = random.poisson(2000 * np.clip(light, 0, None)) + random.normal(100, 3, light.shape)
    beads = viewer.add_image(image.astype(np.float32), name="beads", scale=layer.scale, units=layer.units)
    beads.contrast_limits = (90, 600)
    viewer.layers.selection.active = layer
    panel.method.combo.value = "richardson-lucy"
    form = panel.microscope.form
    form.kind.value = "beads"
    form.beads.value, form.diameter.value = beads, "0.1"
    if not demo.wait(lambda: "beads used" in form.about.text(), 120):
        raise RuntimeError(f"No PSF was measured: {form.about.text()} {panel.footer.estimate.text()}")
    settle()
    screenshot(viewer, "beads.png", folder)
    viewer.close()


def semi_blind(folder: Path) -> None:
    """Take the picture of a run that chooses blur and iterations by photons it has not seen."""
    viewer, panel = opened("nuclei", "nuclei surrogate")
    panel.microscope.form.kind.value = "unknown"
    panel.method.combo.value = "semi-blind"
    demo.wait(lambda: panel.footer.run.enabled, 60)
    panel.footer.run.native.click()
    if not demo.wait(lambda: len(panel.footer.curve.points) > 5, 300):
        raise RuntimeError(f"There is no curve: {panel.footer.estimate.text()} {panel.status.text()}")
    screenshot(viewer, "semi-blind.png", folder)
    panel.session.cancel()
    demo.wait(lambda: not panel.session.is_running, 60)
    viewer.close()


def phantom(folder: Path) -> None:
    """Take the picture of the Phantom panel, with the image, truth and PSF that it made."""
    viewer = window()
    _, panel = viewer.window.add_plugin_dock_widget("napari-lucyd", "Phantom")
    form = panel.form
    form.degradation.value = "optics"
    form.outputs["psf"].value = True
    # The plane that the image shows is then the one in focus.
    form.psf.lines["shape"].value = "63"
    settle(1)
    form.make.native.click()
    if not demo.wait(lambda: not panel.session.is_running, 60) or not panel.session.layers:
        raise RuntimeError(f"Nothing was made: {form.estimate.text()} {form.status.text()}")
    psf = panel.session.layers[-1]
    psf.gamma = 0.4
    SideBySide(viewer).show(panel.session.layers)
    # The image first, as in the list of layers.
    viewer.canvas.grid.stride = -1
    psf.visible = psf.name_overlay.visible = True
    settle(2)
    screenshot(viewer, "phantom.png", folder)
    viewer.close()


def comparison(folder: Path, model: str | None) -> None:
    """Take the picture of the Compare panel with a run's image, output and truth, and a line."""
    from napari_lucyd._napari.compare.panel import CompareWidget
    from napari_lucyd._napari.layers.drawing import LINE_LAYER

    viewer, panel = opened("phantom", "phantom")
    panel.method.combo.value = "lucyd"
    if model:
        panel.model.load(model)
        demo.wait(lambda: panel.model.name == model, 60)
    settle(1)
    if not demo.run(panel):
        raise RuntimeError(f"The run failed: {panel.footer.estimate.text()} {panel.status.text()}")
    viewer.window.remove_dock_widget(panel)
    # Show the whole panel.
    width, height = LOOK["window"]
    viewer.window.resize(width, height + 90)
    compare = CompareWidget(viewer)
    viewer.window.add_dock_widget(compare, name="Compare")
    compare.draw()
    # A line through some of the objects.
    viewer.layers[LINE_LAYER].add_lines(np.array([[63.0, 2.0], [66.0, 125.0]]))
    viewer.layers[LINE_LAYER].mode = "pan_zoom"
    settle()
    if not demo.wait(lambda: compare.settled and compare.pictures.profile is not None, 120):
        raise RuntimeError(f"There is no comparison: {compare.form.metrics_note.text()}")
    compare.tell("")
    settle()
    screenshot(viewer, "compare.png", folder)
    viewer.close()


def inspection(folder: Path) -> None:
    """Take the picture of the Inspect panel with a curtain, the change of a voxel and the score."""
    from napari_lucyd._napari.inspection.panel import InspectWidget

    viewer, panel = opened("tubules", "tubules 2D")
    panel.method.combo.value = "lucyd"
    settle(1)
    if not demo.run(panel):
        raise RuntimeError(f"The run failed: {panel.footer.estimate.text()} {panel.status.text()}")
    viewer.window.remove_dock_widget(panel)
    inspect = InspectWidget(viewer)
    viewer.window.add_dock_widget(inspect, name="Inspect")
    inspect.form.look.curtain.setValue(45)
    inspect.ask("score")
    # A voxel on one of the tubules.
    output = inspect.form.look.result.value
    brightest = np.unravel_index(np.argmax(output.data), output.data.shape)
    viewer.cursor.position = output.data_to_world(brightest)
    if not demo.wait(lambda: inspect.voxel is not None and bool(inspect.form.trust.line.text()), 120):
        raise RuntimeError("There is no voxel, or no score.")
    demo.wait(lambda: inspect.judging.settled, 120)
    settle()
    screenshot(viewer, "inspect.png", folder)
    viewer.close()


def window() -> Any:
    """Open a window of the chosen look."""
    import napari

    viewer = napari.Viewer(title="napari-lucyd", show=True)
    viewer.theme = LOOK["theme"]
    viewer.window.resize(*LOOK["window"])
    return viewer


def opened(sample: str, layer: str) -> tuple[Any, Any]:
    """Open a window with a sample, at its middle plane, and the panel."""
    viewer = window()
    viewer.open_sample("napari-lucyd", sample)
    viewer.layers.selection.active = viewer.layers[layer]
    panel = demo.dock(viewer)
    viewer.dims.current_step = tuple(steps // 2 for steps in viewer.dims.nsteps)
    return viewer, panel


def screenshot(viewer: Any, name: str, folder: Path) -> None:
    """Write a picture of the whole window."""
    write(viewer.screenshot(canvas_only=False, flash=False), name, folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=IMAGES, help="where the pictures go")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="take these pictures alone"
    )
    parser.add_argument("--model", help="a model file in place of the default model")
    parser.add_argument(
        "--window", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), default=LOOK["window"], help="its size"
    )
    parser.add_argument("--theme", choices=("dark", "light"), default="dark", help="theme of napari")
    parser.add_argument("--scale", type=float, default=1, help="pixels for each point of the screen")
    arguments = parser.parse_args()
    LOOK.update(window=arguments.window, theme=arguments.theme)
    # Qt reads it when the first window is opened.
    os.environ["QT_SCALE_FACTOR"] = str(arguments.scale)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    main(arguments.folder, arguments.model, arguments.only)
