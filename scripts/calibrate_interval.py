#!/usr/bin/env python3
"""Calibrate the 90 % interval of the default models on simulated structures, and check it on others.

    python scripts/calibrate_interval.py samples FILE.npz --dimension 3 [--seeds 1000:1150]
    python scripts/calibrate_interval.py table FILE.npz ...

``samples`` deconvolves structures with the blur told and keeps some voxels of each. ``table`` makes the
calibration table of the package from two thirds of them, and measures the coverage on every third one. The
table of a dimension without samples stays as it is.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np

import napari_lucyd as nl
from napari_lucyd.psf.gaussian import gaussian_psf
from napari_lucyd.referee.maps.interval import describe_voxels, error_columns, typical_error
from napari_lucyd.simulation import acquire, make_structures
from napari_lucyd.simulation.structures import CONTRAST

ROOT = Path(__file__).resolve().parents[1]
BLUR, NOISE = (0.7, 2.6), (0.012, 0.12)
AXIAL_RATIO = (0.8, 2.2)
# Voxels of the field, and those that are kept of each image.
FIELDS = {3: (24, 56, 56), 2: (112, 112)}
KEPT = 6000
# Every third seed is held out.
HELD_OUT = 3
# Classes of brightness within a volume: the limits between them, as shares of its voxels.
RANKS = (0.5, 0.8, 0.9, 0.96, 0.99)
# Share of the voxels beyond each limit. A little less than 5 %: in the voxels whose truth is brightest, the
# limits hold less often than in the others.
TAIL = 0.045
# Added to an error before its logarithm, as a share of the scale.
SMALLEST = 0.002
MODELS = {3: "lucyd", 2: "lucyd-planes"}


def measure(seed: int, dimension: int) -> dict[str, np.ndarray]:
    """Deconvolve one specimen; return features and errors of some of its voxels."""
    random = np.random.default_rng(seed)
    # A grid of blur and noise that is filled evenly, so that every bin has its share.
    places = (np.array([seed % 5, seed // 5 % 5]) + random.random(2)) / 5
    lateral, noise = (
        math.exp(np.interp(place, (0, 1), np.log(limits)))
        for place, limits in zip(places, (BLUR, NOISE), strict=True)
    )
    axial = min(lateral * random.uniform(*AXIAL_RATIO), 4.0)
    sigmas = (axial, lateral, lateral)[3 - dimension :]
    psf = gaussian_psf(sigmas)
    field = FIELDS[dimension]
    around = tuple(n + k - 1 for n, k in zip(field, psf.shape, strict=True))
    specimen = make_structures(
        "mixture", around, rng=seed, blur_sigma=sigmas, background=float(10 ** random.uniform(1, 2.5))
    )
    photons = 1.1 / noise**2
    sample = acquire(
        specimen,
        psf,
        photons_per_unit=photons / CONTRAST,
        read_noise=0.3 * math.sqrt(photons),
        rng=seed,
        field_shape=field,
    )
    result = nl.deconvolve(sample.image, "lucyd", blur_sigma=sigmas, outputs=("output",), device="cpu")
    stage = result.recipe["first_stage"]
    level, scale = stage["level"][0], stage["scale"][0]
    brightness, roughness = describe_voxels(result.output, level, scale)
    error = (sample.truth - result.output) / scale
    brightest = [values >= np.quantile(values, 0.9) for values in (result.output, sample.truth)]
    chosen = random.permutation(error.size)[:KEPT]
    names = ("brightness", "roughness", "error", "bright_output", "bright_truth")
    arrays = (brightness, roughness, error, *brightest)
    taken = {name: array.ravel()[chosen] for name, array in zip(names, arrays, strict=True)}
    blur = float(np.exp(np.mean(np.log(sigmas))))
    return {**taken, "seed": np.array(seed), "blur": np.array(blur), "noise": np.array(stage["noise"][0])}


def samples(file: Path, dimension: int, seeds: range) -> None:
    """Measure the specimens of these seeds; what is finished is kept if the script is stopped."""
    found: list[dict[str, np.ndarray]] = []
    for seed in seeds:
        found.append(measure(seed, dimension))
        if len(found) % 5 == 0 or seed == seeds[-1]:
            joined = {name: np.stack([entry[name] for entry in found]) for name in found[0]}
            np.savez_compressed(file, dimension=dimension, **joined)
            print(f"{file}: {len(found)} of {len(seeds)}", flush=True)


def joined(files: list[Path], dimension: int) -> dict[str, np.ndarray]:
    """Join the samples of one dimension."""
    parts = [part for part in map(np.load, files) if int(part["dimension"]) == dimension]
    names = [name for name in parts[0].files if name != "dimension"]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def voxels(data: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Return brightness, roughness, noise and blur of the kept voxels, one row for each specimen."""
    return data["brightness"], data["roughness"], data["noise"][:, None], data["blur"][:, None]


def classes(brightness: np.ndarray) -> np.ndarray:
    """Return the class of brightness of each voxel within its specimen."""
    return np.stack([np.searchsorted(np.quantile(row, RANKS), row, side="right") for row in brightness])


def calibrate(data: dict[str, np.ndarray], dimension: int) -> dict[str, object]:
    """Fit the typical error, then take the quantiles of the errors relative to it."""
    shape = data["error"].shape
    columns = [np.broadcast_to(column, shape).ravel() for column in error_columns(*voxels(data))]
    target = np.log(np.abs(data["error"]) + SMALLEST).ravel()
    coefficients = np.linalg.lstsq(np.stack(columns, 1), target, rcond=None)[0]
    relative = data["error"] / typical_error(*voxels(data), coefficients)
    number = classes(data["brightness"])
    limits = [
        [float(f"{np.quantile(relative[number == k], share):.5g}") for k in range(len(RANKS) + 1)]
        for share in (TAIL, 1 - TAIL)
    ]
    model = nl.load_model(MODELS[dimension])
    return {
        "model": model.name,
        "sha256": model.sha256,
        "dimension": dimension,
        "specimens": len(data["seed"]),
        "blur": [float(f"{v:.3g}") for v in (data["blur"].min(), data["blur"].max())],
        "noise": [float(f"{v:.3g}") for v in (data["noise"].min(), data["noise"].max())],
        "ranks": list(RANKS),
        "coefficients": [float(f"{c:.6g}") for c in coefficients],
        "lower": limits[0],
        "upper": limits[1],
    }


def coverage(data: dict[str, np.ndarray], table: dict[str, object]) -> dict[str, object]:
    """Measure the coverage on other specimens: in all voxels, and in the brightest tenth."""
    error = typical_error(*voxels(data), table["coefficients"])
    number = classes(data["brightness"])
    low, high = (np.array(table[name])[number] * error for name in ("lower", "upper"))
    held = (data["error"] >= low) & (data["error"] <= high)
    found: dict[str, object] = {"model": table["model"], "specimens": len(held)}
    for name, chosen in (
        ("all", np.ones_like(held)),
        ("brightest tenth of the result", data["bright_output"].astype(bool)),
        ("brightest tenth of the truth", data["bright_truth"].astype(bool)),
    ):
        each = np.array([row[part].mean() for row, part in zip(held, chosen, strict=True)])
        found[name] = [round(100 * each.mean(), 1), round(100 * each.std() / math.sqrt(len(each)), 1)]
    found["width"] = round(100 * float(np.median(high - low)), 2)
    # The null: limits at the same distance for all voxels, wide enough for 90 % of them.
    constant = np.quantile(np.abs(data["error"]), 0.9)
    bright = data["bright_output"].astype(bool)
    found["constant"] = [
        round(100 * float((np.abs(data["error"]) <= constant)[bright].mean()), 1),
        round(200 * float(constant), 2),
    ]
    return found


def write_tables(files: list[Path]) -> None:
    """Write the package's table, and the coverage for the documentation."""
    path = ROOT / "src" / "napari_lucyd" / "referee" / "maps" / "interval.json"
    record = ROOT / "docs" / "results" / "interval.json"
    measured = {int(np.load(file)["dimension"]) for file in files}
    tables: list[dict[str, object]] = []
    found: list[dict[str, object]] = []
    for dimension in (3, 2):
        if dimension not in measured:
            for kept, file in ((tables, path), (found, record)):
                before = json.loads(file.read_text("utf-8"))
                kept += [entry for entry in before if entry["model"] == MODELS[dimension]]
            continue
        data = joined(files, dimension)
        held_out = data["seed"] % HELD_OUT == 2
        parts = [{name: values[mask] for name, values in data.items()} for mask in (~held_out, held_out)]
        tables.append(calibrate(parts[0], dimension))
        found.append(coverage(parts[1], tables[-1]))
        print(json.dumps(found[-1]))
    path.write_text(json.dumps(tables, indent=1) + "\n", "utf-8")
    record.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("samples", "table"))
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--dimension", type=int, choices=(2, 3), default=3)
    parser.add_argument("--seeds", default="1000:1150", help="first:last+1")
    given = parser.parse_args()
    if given.what == "samples":
        samples(given.files[0], given.dimension, range(*map(int, given.seeds.split(":"))))
    else:
        write_tables(given.files)
