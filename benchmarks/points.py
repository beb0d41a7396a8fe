"""Measure the light that the default models leave to points and small beads alone in the dark.

    python benchmarks/points.py

The beads lie at random places between voxels. The blur is told. Each row has the light of the output within 7
voxels of the beads, divided by the light that reached the camera: with the ceiling of the model, and without
it (docs/decisions/0014-a-living-network.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

import napari_lucyd as nl

MODELS = {3: "lucyd", 2: "lucyd-planes"}
BLUR = {3: (1.5, 1.3, 1.3), 2: (1.3, 1.3)}
# Centres of the beads, before the random shift.
PLACES = {
    3: [(16, y, x) for y in (20, 52) for x in (20, 52)],
    2: [(y, x) for y in (24, 64, 104) for x in (24, 64, 104)],
}
SHAPES = {3: (32, 72, 72), 2: (128, 128)}
# Radius in voxels; and photons in the brightest voxel of the image, and in the background.
RADII = {"point": 0.0, "bead, radius 0.8": 0.8}
LIGHT = ((300, 20), (3_000, 100), (20_000, 100))
# Steps across a voxel with which a bead is drawn, and half of the side of the box in which it is.
_STEPS, _BOX = 9, 4
_NEAR = 7

Image = npt.NDArray[np.float64]


def draw(dimension: int, radius: float, generator: np.random.Generator) -> tuple[Image, list[Any]]:
    """Draw beads with a light of 1 each; return the specimen and their centres."""
    specimen = np.zeros(SHAPES[dimension])
    centres = [place + generator.uniform(-0.5, 0.5, dimension) for place in PLACES[dimension]]
    side = 2 * _BOX + 1
    fine = (np.arange(side * _STEPS) + 0.5) / _STEPS - _BOX - 0.5
    for place, centre in zip(PLACES[dimension], centres, strict=True):
        offsets = [fine - shift for shift in centre - place]
        squares = np.meshgrid(*(offset**2 for offset in offsets), indexing="ij", sparse=True)
        # A point fills one of the fine steps.
        inside = sum(squares) <= max(radius, 0.87 / _STEPS) ** 2
        box = inside.reshape([n for _ in range(dimension) for n in (side, _STEPS)])
        bead = box.sum(axis=tuple(range(1, 2 * dimension, 2)))
        specimen[tuple(slice(n - _BOX, n + _BOX + 1) for n in place)] += bead / bead.sum()
    return specimen, centres


def light(output: npt.ArrayLike, blurred: Image, dimension: int) -> float:
    """Return the light around the beads above the median, divided by that of the blurred specimen."""
    above = np.asarray(output) - np.median(output)
    near = [tuple(slice(n - _NEAR, n + _NEAR + 1) for n in place) for place in PLACES[dimension]]
    return float(np.mean([above[box].sum() / blurred[box].sum() for box in near]))


def main() -> None:
    """Print one table for volumes and one for planes."""
    for dimension, name in MODELS.items():
        model = nl.load_model(name)
        config = model.network.config
        print(f"\n| {name}: specimen, photons | image | estimate | {name} | without the ceiling |")
        print(f"|{'---|' * 5}")
        for kind, radius in RADII.items():
            for photons, background in LIGHT:
                generator = np.random.default_rng(0)
                specimen, _ = draw(dimension, radius, generator)
                blurred = ndimage.gaussian_filter(specimen, BLUR[dimension])
                blurred *= photons / blurred.max()
                image = generator.poisson(blurred + background).astype(np.float32)
                found = [image]
                for ceiling in (config.ceiling, None):
                    model.network.config = replace(config, ceiling=ceiling)
                    result = nl.deconvolve(
                        image, model, blur_sigma=BLUR[dimension], outputs=("first_estimate", "output")
                    )
                    found += [result.output] if ceiling is None else [result.first_estimate, result.output]
                shares = " | ".join(f"{light(each, blurred, dimension):.2f}" for each in found)
                print(f"| {kind}, {photons:,} | {shares} |", flush=True)
        model.network.config = config


if __name__ == "__main__":
    main()
