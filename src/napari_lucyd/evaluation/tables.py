"""The paper's Table 2 and its counterpart for the open track, on fixed test phantoms."""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_lucyd.deconvolution import deconvolve
from napari_lucyd.evaluation.metrics import psnr, ssim_global
from napari_lucyd.models import Model
from napari_lucyd.simulation.degradation import degrade
from napari_lucyd.simulation.phantoms import FloatImage, Phantom, make_phantom

# Table 2 of the paper: blur in voxels, noise in 1/255 of the range; none of the eight cells is trained on.
STRICT_CELLS = tuple(product((0.5, 2.0), (20, 50, 70, 100)))
# A grid over what the open track trains on.
OPEN_CELLS = tuple(product((0.5, 1.2, 2.0), (0, 15, 50, 100)))
STRICT_PATCH = (32, 64, 64)
# Training phantoms count up from 1,000,000 and validation ones from 500,000.
TEST_PHANTOMS = 100


@dataclass(frozen=True)
class Cell:
    """One model in one cell: means over all images, standard deviations beside them."""

    model: str
    sha256: str
    blur_sigma: float
    noise_sigma: float
    images: int
    psnr: float
    psnr_std: float
    ssim_global: float
    ssim_global_std: float
    # Sum of the output over the sum of the input; only where an image is in units that make it meaningful.
    flux: float | None = None


@dataclass(frozen=True)
class Table:
    """A table with what is needed to repeat it."""

    track: str
    phantoms: tuple[int, ...]
    patches: int
    environment: dict[str, str]
    cells: list[Cell] = field(default_factory=list)

    def mean(self, model: str, metric: str = "psnr") -> float:
        """The mean of a metric over a model's cells."""
        return float(np.mean([getattr(cell, metric) for cell in self.cells if cell.model == model]))

    def summary(self, model: str) -> dict[str, Any]:
        """A model's figures for its card, with those of the input as it was."""
        rows = {
            f"blur {cell.blur_sigma:g}, noise {cell.noise_sigma:g}/255": {
                name: round(value, 4)
                for name in ("psnr", "ssim_global", "flux")
                if (value := getattr(cell, name)) is not None
            }
            for cell in self.cells
            if cell.model == model
        }
        means = {"psnr": round(self.mean(model), 3), "psnr_of_the_input": round(self.mean("input"), 3)}
        return {"mean": means, "cells": rows, "phantom_seeds": list(self.phantoms)}

    def record(self, card: Path, model: str) -> None:
        """Write a model's figures into its card, with the command that measures them again."""
        entries = json.loads(card.read_text("utf-8"))
        counts = f"--phantoms {len(self.phantoms)} --patches {self.patches}"
        command = f"lucyd evaluate {model} --track {self.track} {counts}"
        entries.setdefault("metrics", {})[self.track] = self.summary(model) | {"command": command}
        card.write_text(json.dumps(entries, indent=2) + "\n", "utf-8")

    def markdown(self) -> str:
        """Rows are models, columns cells, entries global SSIM / PSNR in dB."""
        columns = list(dict.fromkeys((cell.blur_sigma, cell.noise_sigma) for cell in self.cells))
        head = ["model (SSIM_global/PSNR)", *(f"{blur:g}, {noise:g}" for blur, noise in columns), "mean PSNR"]
        lines = [_row(head), _row(["---"] * len(head))]
        for model in dict.fromkeys(cell.model for cell in self.cells):
            cells = [cell for cell in self.cells if cell.model == model]
            entries = [f"{cell.ssim_global:.4f}/{cell.psnr:.2f}" for cell in cells]
            lines.append(_row([model, *entries, f"{self.mean(model):.2f}"]))
        return "\n".join(lines)

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``TRACK.md``, ``.csv`` and ``.json``; returns the paths."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{self.track}.{suffix}" for suffix in ("md", "csv", "json")]
        paths[0].write_text(self.markdown() + "\n", "utf-8")
        rows = [asdict(cell) for cell in self.cells]
        with paths[1].open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        paths[2].write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")
        return paths


def evaluate(
    models: Sequence[Model],
    *,
    track: str = "strict",
    phantoms: int = 4,
    patches: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> Table:
    """Measure models against the truth, each on the same images.

    The strict track is the paper's Table 2: single patches of 32x64x64, given to the network as they are,
    without normalisation or extension of the borders. The open track degrades whole phantoms photometrically
    and runs `deconvolve` on them as a user would, so that flux can be compared as well.

    Parameters
    ----------
    models
        Of one dimension; 3D for the strict track.
    track
        ``"strict"`` or ``"open"``.
    phantoms
        How many of the fixed test phantoms, seeds 100, 101, …, none of them ever trained on.
    patches
        Strict: patches from each phantom in each cell.
    progress
        Called with what is done and what there is to do: a cell on one phantom each.

    Returns
    -------
    Table
        A row for the input as it is, then one a model.

    Raises
    ------
    ValueError
        If the models do not fit the track.
    """
    dimensions = {model.dimension for model in models}
    if track not in ("strict", "open"):
        raise ValueError(f"track is {track!r}; it has to be 'strict' or 'open'.")
    if len(dimensions) != 1 or (track == "strict" and dimensions != {3}):
        raise ValueError("The models have to be of one dimension, and 3D for the strict track.")
    seeds = tuple(TEST_PHANTOMS + number for number in range(phantoms))
    table = Table(track, seeds, patches, _environment())
    cells = STRICT_CELLS if track == "strict" else OPEN_CELLS
    measured: dict[tuple[str, tuple[float, float]], list[tuple[float, ...]]] = {}
    for done, (seed, cell) in enumerate(product(seeds, cells)):
        if track == "strict":
            results = _strict(models, cell, seed, patches)
        else:
            results = _open(models, cell, seed, models[0].dimension)
        for name, values in results:
            measured.setdefault((name, cell), []).append(values)
        if progress:
            progress(done + 1, len(seeds) * len(cells))
    digests = {model.name: model.sha256 for model in models}
    for name in ("input", *digests):
        for cell in cells:
            table.cells.append(_cell(name, digests.get(name, ""), cell, np.array(measured[name, cell])))
    return table


@lru_cache(maxsize=1)
def _phantom(shape: tuple[int, ...], seed: int) -> Phantom:
    """Kept for the cells that follow."""
    return make_phantom(shape, rng=seed)


def _strict(
    models: Sequence[Model], cell: tuple[float, float], seed: int, patches: int
) -> list[tuple[str, tuple[float, ...]]]:
    blur, noise = cell
    sample = degrade(_phantom((128, 128, 128), seed), blur_sigma=blur, noise_sigma=noise / 255, rng=seed)
    generator = np.random.default_rng([seed, round(10 * blur), round(noise)])
    results: list[tuple[str, tuple[float, ...]]] = []
    for _ in range(patches):
        starts = [
            int(generator.integers(whole - part, endpoint=True))
            for whole, part in zip(sample.image.shape, STRICT_PATCH, strict=True)
        ]
        window = tuple(slice(a, a + n) for a, n in zip(starts, STRICT_PATCH, strict=True))
        image, truth = sample.image[window], sample.truth[window]
        results.append(("input", (psnr(image, truth), ssim_global(image, truth))))
        for model in models:
            with torch.inference_mode():
                tensor = torch.from_numpy(np.ascontiguousarray(image))[None, None]
                output = model.network(tensor).output[0, 0].numpy()
            results.append((model.name, (psnr(output, truth), ssim_global(output, truth))))
    return results


def _open(
    models: Sequence[Model], cell: tuple[float, float], seed: int, dimension: int
) -> list[tuple[str, tuple[float, ...]]]:
    blur, noise = cell
    sample = degrade(
        _phantom((48, 96, 96), seed),
        blur_sigma=blur,
        noise_sigma=noise / 255,
        photometric=True,
        rng=seed,
    )
    image, truth = sample.image, sample.truth
    if dimension == 2:
        image, truth = image[24], truth[24]
    results: list[tuple[str, tuple[float, ...]]] = [
        ("input", (psnr(image, truth), ssim_global(image, truth), 1.0))
    ]
    for model in models:
        output = _output(image, model)
        flux = float(output.sum(dtype=np.float64) / image.sum(dtype=np.float64))
        results.append((model.name, (psnr(output, truth), ssim_global(output, truth), flux)))
    return results


def _output(image: FloatImage, model: Model) -> FloatImage:
    output = deconvolve(image, model, outputs=("output",), device="cpu").output
    assert output is not None
    return output


def _cell(name: str, digest: str, cell: tuple[float, float], values: Any) -> Cell:
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    flux = float(mean[2]) if values.shape[1] > 2 else None
    return Cell(
        name,
        digest,
        *cell,
        len(values),
        float(mean[0]),
        float(deviation[0]),
        float(mean[1]),
        float(deviation[1]),
        flux,
    )


def _environment() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "torch": torch.__version__.split("+")[0],
        "numpy": version("numpy"),
        "napari-lucyd": version("napari-lucyd"),
    }


def _row(entries: Sequence[str]) -> str:
    return "| " + " | ".join(entries) + " |"
