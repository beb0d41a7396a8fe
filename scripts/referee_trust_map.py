#!/usr/bin/env python3
"""Measure the trust map against two rivals: chance, and the brightness of the result.

    python scripts/referee_trust_map.py

Simulated specimens are blurred by a Gaussian and get the noise of a camera. First, results with a known error
in one place are judged, and the perfect result, the truth itself. Then the map of real results is compared
with the true error, block by block, and so are the brightness of the result and the spread over mirror
images. The numbers go to docs/results/trust_map.json, and `python scripts/results.py page` writes the section
of docs/trust.md from them. The script takes a few minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

import napari_lucyd as nl
from napari_lucyd.psf.gaussian import gaussian_psf
from napari_lucyd.referee.maps.trust_map import relative_to_brightness

KINDS = ("puncta", "filaments", "sheets", "bodies", "tubules", "mixture")
SHAPE, SIGMA, PHOTONS, READ_NOISE = (32, 64, 64), 1.5, 300, 0.01
BLOCK, SEEDS = 8, 3
RECORD = Path(__file__).parents[1] / "docs" / "results" / "trust_map.json"
Values = np.ndarray


def specimen(kind: str, seed: int) -> Values:
    """Return a specimen whose background is 0 and whose 99.9th percentile is 1."""
    light = nl.make_structures(kind, SHAPE, rng=seed).image
    low, high = np.percentile(light, (1, 99.9))
    return np.clip((light - low) / (high - low), 0, None).astype(np.float32)


def photographed(truth: Values, seed: int) -> Values:
    """Return the image that a camera takes of a specimen, in units of its light."""
    random = np.random.default_rng(seed)
    blurred = gaussian_filter(truth, SIGMA, mode="nearest")
    photons = random.poisson((blurred + 0.05) * PHOTONS) / PHOTONS
    return (photons + random.normal(0, READ_NOISE, truth.shape)).astype(np.float32)


def brightest_box(truth: Values) -> tuple[slice, ...]:
    """Return a box of 10 voxels around the brightest place, away from the border."""
    light = gaussian_filter(truth, 3)
    inner = light[12:-12, 16:-16, 16:-16]
    z, y, x = (int(n) for n in np.unravel_index(np.argmax(inner), inner.shape))
    return tuple(
        slice(at + edge - 5, at + edge + 5) for at, edge in zip((z, y, x), (12, 16, 16), strict=True)
    )


def darkest_box(truth: Values) -> tuple[slice, ...]:
    """Return a box of 10 voxels around the darkest place, away from the border."""
    return brightest_box(truth.max() - truth)


def with_errors(truth: Values) -> dict[str, tuple[Values, tuple[slice, ...]]]:
    """Return results with one error each, and the box in which it is."""
    bright, dark = brightest_box(truth), darkest_box(truth)
    found = {"none: the truth": (truth, bright)}

    def changed(box: tuple[slice, ...], change: Callable[[Values], Values]) -> tuple[Values, Any]:
        result = truth.copy()
        result[box] = change(result[box])
        return result, box

    blob = np.zeros((10, 10, 10), np.float32)
    blob[5, 5, 5] = 1
    blob = gaussian_filter(blob, 1.5)
    waves = np.indices((10, 10, 10)).sum(0) % 2 * 2.0 - 1
    found["a structure is missing"] = changed(bright, lambda part: part * 0)
    found["a structure is 10 % too bright"] = changed(bright, lambda part: part * 1.1)
    found["a structure is invented, a quarter of the range"] = changed(
        dark, lambda part: part + 0.25 * blob / blob.max()
    )
    found["too smooth by 1.5 voxels"] = changed(bright, lambda part: gaussian_filter(part, 1.5))
    found["detail below the blur is missing (0.6 voxels)"] = changed(
        bright, lambda part: gaussian_filter(part, 0.6)
    )
    found["a pattern below the blur is invented, a quarter of the range"] = changed(
        bright, lambda part: part + 0.25 * waves
    )
    return found


def marks(seeds: range) -> list[dict[str, Any]]:
    """Return how often the box of an error is marked, and how much is marked beside it."""
    rows: dict[str, list[tuple[bool, float]]] = {}
    for kind in KINDS:
        for seed in seeds:
            truth = specimen(kind, seed)
            image = photographed(truth, 100 + seed)
            for name, (result, box) in with_errors(truth).items():
                found = nl.trust_map(image, lambda _, made=result: made, blur_sigma=SIGMA, device="cpu")
                # The blur spreads an error over the neighbouring blocks.
                near = tuple(slice(max(0, part.start - BLOCK), part.stop + BLOCK) for part in box)
                beside = np.isfinite(found.unexplained)
                beside[near] = False
                rows.setdefault(name, []).append(
                    (bool(found.significant[box].any()), float(found.significant[beside].mean()))
                )
    return [
        {
            "error": name,
            "marked": round(100 * float(np.mean([hit for hit, _ in cases])), 1),
            "beside": round(100 * float(np.mean([share for _, share in cases])), 2),
            "cases": len(cases),
        }
        for name, cases in rows.items()
    ]


def blocks(values: Values) -> Values:
    """Return root mean squares of blocks, without those at the border."""
    squares = np.square(values[8:-8, 8:-8, 8:-8], dtype=float)
    for axis, size in enumerate(squares.shape):
        squares = np.add.reduceat(squares, np.arange(0, size, BLOCK), axis=axis)
    return np.sqrt(squares).ravel()


def ranks(seeds: range) -> list[dict[str, Any]]:
    """Return Spearman coefficients with the true error: of the map, the brightness and the flips."""
    methods: dict[str, tuple[Any, dict[str, Any]]] = {
        "image": (None, {}),
        "richardson-lucy, 10": (nl.RichardsonLucy(gaussian_psf((SIGMA,) * 3), num_iter=10), {}),
        "richardson-lucy, 100": (nl.RichardsonLucy(gaussian_psf((SIGMA,) * 3), num_iter=100), {}),
        "lucyd": (nl.load_model("lucyd"), {"blur_sigma": SIGMA}),
    }
    rows: dict[str, list[list[float]]] = {}
    for kind in KINDS:
        for seed in seeds:
            truth = specimen(kind, seed)
            image = photographed(truth, 100 + seed)
            for name, (method, told) in methods.items():
                result = image
                if method is not None:
                    made = nl.deconvolve(image, method, device="cpu", outputs=("output",), **told)
                    assert made.output is not None
                    result = made.output
                slope, constant = np.polyfit(result.ravel(), truth.ravel(), 1)
                error = blocks(slope * result + constant - truth)
                found = nl.trust_map(image, lambda _, made=result: made, blur_sigma=SIGMA, device="cpu")
                columns = [found.unexplained, result - np.percentile(result, 1)]
                if name == "lucyd":
                    spread = over_flips(image, method, told)
                    columns += [spread, relative_to_brightness(spread, result)]
                rows.setdefault(name, []).append(
                    [float(spearmanr(blocks(np.nan_to_num(each)), error).statistic) for each in columns]
                )
    return [
        {"result": name, "coefficients": [round(float(n), 2) for n in np.mean(found, 0)], "cases": len(found)}
        for name, found in rows.items()
    ]


def over_flips(image: Values, model: Any, told: dict[str, Any]) -> Values:
    """Return the standard deviation of a network's results over four mirror images."""
    outputs = []
    for axes in ((), (0,), (1,), (2,)):
        made = nl.deconvolve(
            np.ascontiguousarray(np.flip(image, axes)), model, device="cpu", outputs=("output",), **told
        )
        assert made.output is not None
        outputs.append(np.flip(made.output, axes))
    return np.std(outputs, axis=0)


def text(marked: list[dict[str, Any]], ranked: list[dict[str, Any]]) -> str:
    """Return both tables in Markdown."""
    lines = ["| error in one place | marked there, % | marked elsewhere, % of the voxels |", "|---|---|---|"]
    lines += [f"| {row['error']} | {row['marked']:g} | {row['beside']:g} |" for row in marked]
    lines += [
        "",
        "| result | trust map | brightness (the null) | spread over flips | spread, divided by brightness |",
        "|---|---|---|---|---|",
    ]
    for row in ranked:
        cells = [f"{number:.2f}" for number in row["coefficients"]]
        lines.append(f"| {row['result']} | {' | '.join(cells + ['–'] * (4 - len(cells)))} |")
    return "\n".join(lines)


def section() -> str:
    """Return the section of docs/trust.md, from the numbers in docs/results/; empty without them."""
    if not RECORD.exists():
        return ""
    found = json.loads(RECORD.read_text("utf-8"))
    cases = found["marks"][0]["cases"]
    return f"""
## The trust map

`nl.trust_map` marks blocks of 8 voxels in which a result, blurred again, differs from the image by more than noise. `python scripts/referee_trust_map.py` measures it, in minutes, on {cases} simulated specimens (blur of σ {SIGMA:g} voxels, {PHOTONS} photons in bright voxels), and writes [`results/trust_map.json`](results/trust_map.json). At most 5 % of the marked blocks should be marked by chance.

{text(found["marks"], found["ranks"])}

- *marked there*: share of the specimens in which the place of the error is marked, at least in part
- *marked elsewhere*: share of the voxels that are marked farther than 8 voxels from it, where the result is the truth; a large error also changes the fit of the whole result
- The other columns are Spearman coefficients with the true error of blocks, means over {found["ranks"][0]["cases"]} specimens, for real results. *Brightness* is the null: it needs no map. *Spread over flips* is the standard deviation of the output over mirror images.

**The map does not rank errors.** The brightness of the result alone predicts better where its error is large, because bright places have large errors. The map answers another question: whether an error is more than noise, and visible in the image. A bright block that is not marked may be wrong by as much as the noise allows.

**It fails** where the blur hides the error: an invented pattern that is finer than the blur is not marked, and missing detail that is finer than the blur is marked only where it is bright. After too many iterations of Richardson-Lucy the map is smallest where the error is largest, because the result has followed the noise. It also fails with a wrong PSF to which the result has adapted. It finds structures that are invented or missing, and brightness that is wrong.

**What to do.** Take a marked block as a reason not to measure there. Do not take an unmarked one as proof that the result is right. For networks, look at the spread over flips as well.
"""


def main() -> None:
    """Measure, and write the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, help="specimens of each kind")
    options = parser.parse_args()
    found = {"marks": marks(range(options.seeds)), "ranks": ranks(range(min(2, options.seeds)))}
    print(text(found["marks"], found["ranks"]))
    RECORD.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
