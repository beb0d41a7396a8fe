"""Compare a network's output at the borders of a stack with and without extension by reflection.

    python scripts/borders.py STACK [MODEL ...]

Writes docs/images/borders.png, with one row for the default model and for each given one (a name or a file).
Prints the difference between the two results at the border and inside. Without extension, the network runs
once over the bare stack, and each convolution pads with zeros.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

import napari_lucyd as nl
from napari_lucyd.io import read_image
from napari_lucyd.text import percent_text

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WIDTH, GAP, HEADING = 320, 8, 24
# Below 1, to show frames in the dark background.
GAMMA = 0.5


def bare_pass(volume: np.ndarray, model: nl.Model, result: nl.Result) -> np.ndarray:
    """Run the network once over a (Z, Y, X) stack without extending it, in the units of the stack."""
    (low,), (span,) = (result.recipe["normalization"][name] for name in ("lo", "s"))
    y = torch.from_numpy((volume.astype(np.float32) - np.float32(low)) / np.float32(span))[None, None]
    with torch.inference_mode():
        output = model.network(y).output
    return low + span * output[0, 0].numpy()


def picture(plane: np.ndarray, low: float, high: float, turn: bool) -> Image.Image:
    """Return one plane as a grey picture of the common width."""
    grey = Image.fromarray((255 * np.clip((plane - low) / (high - low), 0, 1) ** GAMMA).astype(np.uint8))
    grey = grey.rotate(90, expand=True) if turn else grey
    return grey.resize((WIDTH, round(WIDTH * grey.height / grey.width)), Image.Resampling.NEAREST)


def row(label: str, planes: list[tuple[str, np.ndarray]], low: float, high: float) -> Image.Image:
    """Place planes side by side, each below its heading."""
    turn = planes[0][1].shape[0] > planes[0][1].shape[1]
    pictures = [(heading, picture(plane, low, high, turn)) for heading, plane in planes]
    height = max(grey.height for _, grey in pictures) + HEADING
    canvas = Image.new("L", (len(pictures) * (WIDTH + GAP) - GAP, height), 255)
    draw = ImageDraw.Draw(canvas)
    for column, (heading, grey) in enumerate(pictures):
        left = column * (WIDTH + GAP)
        draw.text((left + 2, 4), f"{label}: {heading}", fill=0, font=ImageFont.load_default(13))
        canvas.paste(grey, (left, HEADING))
    return canvas


def main(stack: str, models: list[str], target: Path) -> None:
    """Make the picture and print the numbers."""
    image = read_image(stack)
    # The bare network takes even sizes only.
    volume = np.asarray(image.data)[tuple(slice(0, n - n % 2) for n in image.data.shape)]
    rows = []
    for name in ["general", *models]:
        model = nl.load_model(name)
        result = nl.deconvolve(volume, model, isotropic=False, outputs=("output",))
        bare = bare_pass(volume, model, result)
        difference = np.abs(bare - result.output) / float(np.ptp(result.output))
        print(
            f"{model.name}: largest difference {difference.max():.3f} of the range; "
            f"{percent_text(np.mean(difference > 0.02), '.1f')} of all voxels differ by more than 2 % of it"
        )
        # Among the planes in the middle, which are in focus, take the one that differs most.
        first = len(volume) // 4
        plane = first + int(np.argmax(difference[first:-first].max(axis=(1, 2))))
        low, high = np.percentile(volume[plane], 0.5), np.percentile(result.output[plane], 99.8)
        planes = [
            ("image", volume[plane]),
            ("as it is", bare[plane]),
            ("extended by reflection", result.output[plane]),
        ]
        rows.append(row(f"{model.name}, Z {plane}", planes, low, high))
    whole = Image.new("L", (rows[0].width, sum(r.height + GAP for r in rows) - GAP), 255)
    top = 0
    for strip in rows:
        whole.paste(strip, (0, top))
        top += strip.height + GAP
    target.parent.mkdir(parents=True, exist_ok=True)
    whole.save(target, optimize=True)
    print(target.name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stack", help="a ZYX stack")
    parser.add_argument("models", nargs="*", help="more models: names or files")
    parser.add_argument("--target", type=Path, default=IMAGES / "borders.png", help="where the picture goes")
    arguments = parser.parse_args()
    main(arguments.stack, arguments.models, arguments.target)
