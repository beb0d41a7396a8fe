#!/usr/bin/env python3
"""Measure the automatic choice of the method against all of its candidates, on images whose truth is known.

    python scripts/referee_auto.py FOLDER [--part N/M] [-o docs/results/auto.json]

FOLDER holds the images that docs/scores.md names. Textures and simulated structures are blurred by Gaussians
and by the PSFs of microscopes, and get the noise of a camera; two BioSR fields are real pairs. Each image is
tried twice: the blur is told, and nothing is told. Gains are in dB of PSNR over the image, after the best
affine map of intensities. Cases that the file already has are not repeated. With ``--part`` only every Mth
case is measured; give each part a file of its own, and join them with ``--join FILE …``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

import napari_lucyd as nl
from napari_lucyd.deconvolution.classical.methods import Unchanged
from napari_lucyd.psf.gaussian import gaussian_psf

KINDS = ("puncta", "filaments", "sheets", "bodies", "tubules", "mixture")
SHAPE, PLANE = (24, 64, 64), (192, 192)
OPTICS: dict[str, dict[str, Any]] = {
    "widefield NA 1.1": {
        "modality": "widefield",
        "numerical_aperture": 1.1,
        "refractive_index": 1.33,
        "emission_um": 0.525,
    },
    "confocal NA 1.2": {
        "modality": "confocal",
        "numerical_aperture": 1.2,
        "refractive_index": 1.33,
        "emission_um": 0.525,
        "excitation_um": 0.488,
    },
}
STEPS = (0.22, 0.08, 0.08)
# Blur, photons of the brightest voxels, and read noise as a share of their light.
VOLUMES: tuple[tuple[Any, int, float], ...] = (
    ((1.5, 1.5, 1.5), 1000, 0.015),
    ((2.0, 1.4, 1.4), 400, 0.01),
    ("widefield NA 1.1", 600, 0.01),
    ((1.5, 1.5, 1.5), 60, 0.02),
    ((2.9, 2.1, 2.1), 200, 0.01),
    ("confocal NA 1.2", 100, 0.01),
)
PLANES: tuple[tuple[Any, int, float], ...] = (
    ((1.5, 1.5), 1000, 0.015),
    ((2.0, 2.0), 100, 0.02),
    ((1.2, 1.2), 60, 0.02),
)


class Case(NamedTuple):
    """An image, its truth, and what is told about its blur."""

    name: str
    image: np.ndarray
    truth: np.ndarray
    told: dict[str, Any]


def unit(texture: np.ndarray) -> np.ndarray:
    """Scale a texture: its background is 0, and its 99.9th percentile 1."""
    low, high = np.percentile(texture, (1, 99.9))
    return np.clip((texture - low) / (high - low), 0, None).astype(np.float32)


def taken(name: str, truth: np.ndarray, condition: tuple[Any, int, float], seed: int) -> Case:
    """Take a picture of a truth through a microscope."""
    blur, photons, read_noise = condition
    told: dict[str, Any] = {"blur_sigma": blur}
    if isinstance(blur, str):
        told = {"microscope": nl.Microscope(**OPTICS[blur]), "voxel_size": STEPS}
        psf = told["microscope"].psf(STEPS)
        padded = np.pad(truth, [(n // 2, n // 2) for n in psf.shape], mode="symmetric")
        blurred = fftconvolve(padded, psf / psf.sum(), "valid")
        low = blurred.min()
        blurred = (blurred - low) / (np.percentile(blurred, 99.9) - low)
    else:
        blurred = gaussian_filter(truth, blur)
    random = np.random.default_rng(seed)
    light = random.poisson(np.clip(blurred + 0.05, 0, None) * photons) / photons
    image = (light + random.normal(0, read_noise, blurred.shape)).astype(np.float32)
    shown = blur if isinstance(blur, str) else "σ " + ", ".join(f"{sigma:g}" for sigma in blur)
    return Case(f"{name}, {shown}, {photons} photons", image, truth, told)


def cases(folder: Path) -> Iterator[Callable[[], Case]]:
    """Yield a function that makes each case."""

    def read(name: str) -> np.ndarray:
        return tifffile.imread(folder / f"{name}.tif").astype(np.float32)

    def pair(name: str) -> Case:
        wide, sim = (read(f"biosr_{name}_{kind}")[100:356, 100:356] for kind in ("wf", "sim"))
        return Case(f"BioSR {name}, widefield to SIM", wide, sim, {"blur_sigma": (1.35,) * 2})

    def simulated(kind: str, shape: tuple[int, ...], condition: Any, seed: int) -> Case:
        truth = nl.make_structures(kind, shape, rng=seed).image
        return taken(f"simulated {kind}{', 2D' if len(shape) == 2 else ''}", unit(truth), condition, seed)

    nuclei = unit(read("nuclei_cells3d")[8:48, 20:148, 20:148])[4:28, 32:96, 32:96]
    golgi = unit(read("xyz_calibrated_16bit__golgi_bfa"))[:24, 16:80, 16:80]
    for name in ("factin_nl", "microtubules"):
        yield partial(pair, name)
    for number, condition in enumerate(VOLUMES):
        yield partial(taken, "nuclei", nuclei, condition, 11)
        yield partial(taken, "Golgi", golgi, condition, 12)
        for kind in (KINDS[number], KINDS[(number + 3) % len(KINDS)]):
            yield partial(simulated, kind, SHAPE, condition, number)
    for number, condition in enumerate(PLANES):
        for name in ("factin_nl", "microtubules"):
            sim = unit(read(f"biosr_{name}_sim")[100:292, 100:292])
            yield partial(taken, f"BioSR {name}", sim, condition, 31)
        for kind in (KINDS[number], KINDS[number + 3]):
            yield partial(simulated, kind, PLANE, condition, number)


def psnr(output: np.ndarray, truth: np.ndarray) -> float:
    """Return the PSNR in dB over the truth's range, after the best affine map of the output."""
    x, y = output.ravel().astype(float), truth.ravel().astype(float)
    factor = np.cov(x, y)[0, 1] / max(x.var(), 1e-12)
    return float(10 * np.log10(np.ptp(y) ** 2 / np.mean((factor * (x - x.mean()) + y.mean() - y) ** 2)))


def method_of(name: str, case: Case, told: dict[str, Any], choice: Any) -> tuple[Any, dict[str, Any]]:
    """Return a candidate's method and options, as the choice runs them."""
    steps = {"voxel_size": told["voxel_size"]} if "voxel_size" in told else {}
    if name == "nothing":
        return Unchanged(), {}
    if name == "semi-blind":
        return nl.SemiBlind(microscope=told.get("microscope")), steps
    if name == "richardson-lucy":
        return nl.RichardsonLucy(gaussian_psf(told.get("blur_sigma", choice.record.get("blur_sigma")))), {}
    if name.startswith("lucyd"):
        return nl.load_model(name), told or {"blur_sigma": choice.record["blur_sigma"]}
    return nl.load_model(name), steps


def measure(case: Case, told: dict[str, Any]) -> dict[str, Any]:
    """Let the methods compete on one image, and measure each of them by the truth."""
    choice = nl.choose_method(case.image, device="cpu", **told)
    before, gains = psnr(case.image, case.truth), {}
    for row in choice.record["candidates"]:
        method, options = method_of(row["name"], case, told, choice)
        made = nl.deconvolve(case.image, method, device="cpu", outputs=("output",), **options)
        gains[row["name"]] = round(psnr(made.output, case.truth) - before, 3)
    return {
        "case": case.name + (", told" if told else ""),
        "chosen": choice.record["chosen"],
        "gains": gains,
        "held_out": {row["name"]: round(row["held_out"], 4) for row in choice.record["candidates"]},
    }


def summary(found: list[dict[str, Any]]) -> list[str]:
    """Return the table of all cases, and a sentence on them."""
    names = ("lucyd", "direct", "semi-blind", "richardson-lucy", "nothing")
    lines = [f"| image | {' | '.join(names[:-1])} | chosen |", "|---" * (len(names) + 1) + "|"]
    behind, gains = [], []
    for row in found:
        reached = row["gains"]
        groups: dict[str, float] = {}
        for name, gain in reached.items():
            group = "lucyd" if name.startswith("lucyd") else name if name in names else "direct"
            groups[group] = max(gain, groups.get(group, -np.inf))
        got = reached.get(row["chosen"], 0.0)
        behind.append(max(reached.values(), default=0.0) - got)
        gains.append(got)
        cells = " | ".join(f"{groups[name]:+.2f}" if name in groups else "–" for name in names[:-1])
        lines.append(f"| {row['case']} | {cells} | {row['chosen']} |")
    lines.append(
        f"\nOver {len(found)} cases, the choice is {np.mean(behind):.2f} dB behind the best candidate "
        f"(at most {np.max(behind):.2f} dB). It gains {np.mean(gains):.2f} dB over the image on average, "
        f"and at least {np.min(gains):+.2f} dB."
    )
    return lines


def main() -> None:
    """Measure the cases and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="folder with the images")
    parser.add_argument("--part", default="0/1", help="N/M: every Mth case, from the Nth on")
    parser.add_argument("--join", type=Path, nargs="*", default=[], help="files of parts, to be joined")
    parser.add_argument("-o", "--out", type=Path, help="file for the numbers; what it has is kept")
    options = parser.parse_args()
    files = [*([options.out] if options.out and options.out.exists() else []), *options.join]
    found = [row for file in files for row in json.loads(file.read_text("utf-8"))]
    done = {row["case"] for row in found}
    first, every = map(int, options.part.split("/"))
    made = [] if options.folder is None else list(cases(options.folder))
    for make in made[first::every]:
        case = make()
        for told in (case.told, {}):
            if case.name + (", told" if told else "") not in done:
                found.append(measure(case, told))
                print(json.dumps(found[-1], ensure_ascii=False), flush=True)
        if options.out:
            options.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if options.out and options.join:
        options.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print("\n".join(summary(found)))


if __name__ == "__main__":
    main()
