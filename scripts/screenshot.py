"""Make the pictures of the window for the README and the guide, from the real panel in a real window.

    xvfb-run -a -s "-screen 0 1920x1080x24" python scripts/screenshot.py

Writes panel.png (a run on the phantom sample), layers.png (image and results side by side) and preview.png
(the live preview) into docs/images.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from napari_lucyd._napari import demo

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WINDOW = (1500, 920)
# Enough for a dark window with grey pictures; a third of the size of full colour.
COLOURS = 256


def write(pixels: np.ndarray, name: str, folder: Path) -> None:
    """Write a picture as a small PNG, refusing an empty one (a window that was never drawn is black)."""
    if pixels[..., :3].std() < 5:
        raise RuntimeError(f"{name} is empty: is the window on a screen?")
    path = folder / name
    Image.fromarray(pixels[..., :3]).quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path)


def settle(seconds: float = 1.5) -> None:
    """Let the window draw what has changed."""
    demo.wait(lambda: False, seconds)


def main(folder: Path, model: str | None) -> None:
    """Open the window, run, and take the pictures."""
    import napari

    viewer = napari.Viewer(title="napari-lucyd", show=True)
    viewer.window.resize(*WINDOW)
    viewer.open_sample("napari-lucyd", "phantom")
    viewer.layers.selection.active = viewer.layers["phantom"]
    panel = demo.dock(viewer)
    if model:
        panel.model.load(model)
        demo.wait(lambda: panel.model.name == model, 60)
    viewer.dims.current_step = tuple(steps // 2 for steps in viewer.dims.nsteps)
    settle(3)

    panel.form.preview.setChecked(True)
    # The first exact patch, before it has grown over all that is on screen.
    if not demo.wait(lambda: panel.form.preview_note.text().startswith("Preview: exact in"), 120):
        raise RuntimeError(f"There is no preview: {panel.form.preview_note.text()}")
    screenshot(viewer, "preview.png", folder)
    panel.form.preview.setChecked(False)
    settle()

    if not demo.run(panel):
        raise RuntimeError(f"The run failed: {panel.form.estimate.text()} {panel.form.status.text()}")
    for layer in viewer.layers:
        layer.visible = layer.visible or layer.name == "phantom"
    settle()
    screenshot(viewer, "panel.png", folder)

    panel.form.side_by_side.native.setChecked(True)
    settle(2)
    write(viewer.screenshot(canvas_only=True, flash=False), "layers.png", folder)
    viewer.close()


def screenshot(viewer: Any, name: str, folder: Path) -> None:
    """Write a picture of the whole window."""
    write(viewer.screenshot(canvas_only=False, flash=False), name, folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=IMAGES, help="where the pictures go")
    parser.add_argument("--model", help="a model file in place of the default model")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    main(arguments.folder, arguments.model)
