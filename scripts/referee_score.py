#!/usr/bin/env python3
"""Measure how well the held-out score ranks methods, on real textures whose truth is known.

    python scripts/referee_score.py FOLDER [-o docs/results/score.json]

FOLDER holds the images that docs/scores.md names. Each texture is blurred and gets photon and read noise; two
BioSR fields are real pairs. The Spearman coefficient of the score with the true PSNR, over eleven results, is
written for each case. PSNR is taken after the best affine map of intensities, as the score is.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve
from scipy.stats import spearmanr

import napari_lucyd as nl
from napari_lucyd.psf.gaussian import gaussian_psf


class Case(NamedTuple):
    """One image with its truth and its blur."""

    name: str
    image: np.ndarray
    truth: np.ndarray
    psf: np.ndarray


def unit(texture: np.ndarray) -> np.ndarray:
    """Scale a texture: its background is 0, and its 99.9th percentile 1."""
    low, high = np.percentile(texture, (1, 99.9))
    return np.clip((texture - low) / (high - low), 0, None).astype(np.float32)


def noisy(blurred: np.ndarray, photons: float, read_noise: float, seed: int) -> np.ndarray:
    """Add photon noise and read noise."""
    random = np.random.default_rng(seed)
    light = random.poisson(np.clip(blurred + 0.05, 0, None) * photons) / photons
    return (light + random.normal(0, read_noise, blurred.shape)).astype(np.float32)


def cases(folder: Path) -> Iterator[Case]:
    """Yield all cases."""

    def read(name: str) -> np.ndarray:
        return tifffile.imread(folder / f"{name}.tif").astype(np.float32)

    nuclei, golgi = read("nuclei_cells3d"), unit(read("xyz_calibrated_16bit__golgi_bfa"))[:24, :88, :88]
    texture = unit(nuclei[8:48, 20:148, 20:148])[:28, :88, :88]
    for name, truth, sigmas, photons, noise in (
        ("nuclei", texture, (1.5, 1.5, 1.5), 1000, 0.015),
        ("nuclei", texture, (1.5, 1.5, 1.5), 100, 0.02),
        ("nuclei", texture, (2.0, 1.4, 1.4), 400, 0.01),
        ("nuclei", texture, (2.9, 2.1, 2.1), 200, 0.01),
        ("Golgi", golgi, (1.5, 1.5, 1.5), 400, 0.01),
        ("Golgi", golgi, (1.2, 2.0, 2.0), 100, 0.02),
    ):
        image = noisy(gaussian_filter(truth, sigmas), photons, noise, 11)
        label = ", ".join(f"{sigma:g}" for sigma in sigmas)
        yield Case(f"{name}, σ {label}, {photons} photons", image, truth, gaussian_psf(sigmas))
    for field in ("factin_nl", "microtubules"):
        wide, sim = (read(f"biosr_{field}_{kind}")[100:400, 100:400] for kind in ("wf", "sim"))
        yield Case(f"BioSR {field}, widefield to SIM", wide, sim, gaussian_psf((1.35, 1.35)))
        truth = unit(sim)
        for sigma, photons, noise in ((1.5, 1000, 0.015), (2.0, 100, 0.02)):
            image = noisy(gaussian_filter(truth, sigma), photons, noise, 31)
            yield Case(
                f"BioSR {field}, σ {sigma:g}, {photons} photons", image, truth, gaussian_psf((sigma,) * 2)
            )
    aperture, index, emission = 1.1, 1.33, 0.525
    lateral = 0.25 * emission / aperture
    axial = 0.17 * emission / (index - math.sqrt(index**2 - aperture**2))
    psf = nl.make_psf(
        "widefield",
        shape=(47, 61, 61),
        voxel_size=(axial, lateral, lateral),
        numerical_aperture=aperture,
        refractive_index=index,
        emission_um=emission,
    )
    psf = psf / psf.sum()
    truth = unit(nuclei[6:46, 48:144, 48:144]) + 0.03
    padded = np.pad(truth, [(n // 2, n // 2) for n in psf.shape], mode="edge")
    blurred = fftconvolve(padded, psf, "valid")
    blurred = (blurred - blurred.min()) / (np.percentile(blurred, 99.9) - blurred.min())
    inner = np.s_[6:-6, 8:-8, 8:-8]
    yield Case("nuclei, widefield NA 1.1", noisy(blurred, 600, 0.01, 12)[inner], truth[inner], psf)


def methods(case: Case) -> dict[str, Any]:
    """Return the methods by name: functions, models and classical methods."""
    flat = case.image.ndim == 2
    return {
        "image": None,
        "smoothed": lambda part: gaussian_filter(part, 1.0),
        **{f"rl{n}": nl.RichardsonLucy(case.psf, num_iter=n) for n in (5, 10, 20, 50)},
        **{f"wiener{b:g}": nl.Wiener(case.psf, balance=b) for b in (0.01, 0.1, 1.0)},
        "lucyd": "lucyd",
        "direct": nl.load_model("planes" if flat else "general"),
    }


def psnr(output: np.ndarray, truth: np.ndarray) -> float:
    """Return the PSNR in dB over the truth's range, after the best affine map of the output."""
    x, y = output.ravel().astype(float), truth.ravel().astype(float)
    factor = np.cov(x, y)[0, 1] / max(x.var(), 1e-12)
    return float(10 * np.log10(np.ptp(y) ** 2 / np.mean((factor * (x - x.mean()) + y.mean() - y) ** 2)))


def restored(method: Any, case: Case) -> Any:
    """Run a method on the whole image."""
    if method is None or callable(method):
        return case.image if method is None else method(case.image)
    told = {"psf": case.psf} if method == "lucyd" else {}
    return nl.deconvolve(case.image, method, outputs=("output",), device="cpu", **told)


def measure(case: Case) -> dict[str, Any]:
    """Score all methods on one case."""
    truths, scores, errors = {}, {}, {}
    for name, method in methods(case).items():
        made = restored(method, case)
        truths[name] = psnr(getattr(made, "output", made), case.truth)
        judged = made if isinstance(made, nl.Result) else method
        found = nl.score(case.image, judged, psf=case.psf, voxels=case.image.size, device="cpu")
        if found.held_out is None:
            return {"case": case.name, "reason": found.reason}
        scores[name], errors[name] = found.held_out, found.held_out_error
    rank = spearmanr([truths[name] for name in truths], [scores[name] for name in truths]).statistic
    best = max(scores, key=scores.__getitem__)
    return {
        "case": case.name,
        "spearman": round(float(rank), 3),
        "best_by_score": best,
        "lost_db": round(max(truths.values()) - truths[best], 2),
        "psnr": {name: round(value, 2) for name, value in truths.items()},
        "score": {name: round(value, 4) for name, value in scores.items()},
        "error": {name: round(value, 4) for name, value in errors.items()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    given = parser.parse_args()
    rows = []
    for one in cases(given.folder):
        start = time.perf_counter()
        rows.append(measure(one))
        shown = {key: rows[-1].get(key) for key in ("case", "spearman", "best_by_score", "lost_db", "reason")}
        print(json.dumps(shown, ensure_ascii=False), f"{time.perf_counter() - start:.0f} s", flush=True)
        ranks = [row["spearman"] for row in rows if "spearman" in row]
        if given.out and ranks:
            summary = {"mean": round(float(np.mean(ranks)), 3), "worst": min(ranks), "cases": rows}
            given.out.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", "utf-8")
