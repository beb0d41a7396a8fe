"""Validation PSNR during training, from the logs in configs/; the picture needs matplotlib.

python scripts/curves.py
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
CARDS = ROOT / "src" / "napari_lucyd" / "models"
PICTURE = ROOT / "docs" / "images" / "training.png"
# Training data of the models in Tables 2 and 3. Network and number of patches follow in a model's name.
DATA = ("mixture", "nuclei", "membranes")
COLOURS = {"LUCYD": "#0072b2", "RLN": "#d55e00", "CARE": "#009e73"}
TICKS = (200, 400, 800, 1600, 3200, 6400, 12800, 25600)
LAST = 0.2  # share of a run that counts as its end

Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def curve(name: str) -> Curve:
    """Return the patches seen and the PSNR on validation patches in dB, one entry per validation."""
    with (CONFIGS / f"{name}.log.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["validation_psnr"]]
    patches, psnr = (np.array([float(row[key]) for row in rows]) for key in ("patches", "validation_psnr"))
    return patches, psnr


def runs(data: str) -> list[str]:
    """Return the names of the logged runs on one kind of data."""
    names = sorted(path.name.removesuffix(".log.csv") for path in CONFIGS.glob("*.log.csv"))
    return [name for name in names if name.partition("-")[0] == data]


def network(name: str) -> str:
    """Return the network that a run trained."""
    parts = name.split("-")
    return next((title for title in ("RLN", "CARE") if title.lower() in parts), "LUCYD")


def seen_before(name: str) -> int:
    """Return the number of patches that a model had seen in its first stage; 0 for one that has none."""
    path = CARDS / f"{name}.json"
    if not path.exists():
        return 0
    started = json.loads(path.read_text("utf-8"))["training"].get("started_from")
    return int(started["training"]["patches"]) if started else 0


def gain_at_the_end(name: str) -> float | None:
    """Return the gain in dB over the last fifth of a run, or None with too few validations."""
    patches, psnr = curve(name)
    begin = (1 - LAST) * patches[-1]
    if patches[0] > begin:
        return None
    return float(psnr[-1] - np.interp(begin, patches, psnr))


def gains() -> str:
    """Return the gain over the last fifth of each run, for docs/results.md."""
    found = {name: gain_at_the_end(name) for data in DATA for name in runs(data)}
    return ", ".join(
        f"`{name}` {'unknown' if gain is None else f'{gain:+.2f}'}" for name, gain in found.items()
    )


def draw() -> None:
    """Write the picture for docs/results.md."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(DATA), figsize=(4.2 * len(DATA), 3.4), layout="constrained")
    for ax, data in zip(axes, DATA, strict=True):
        for name in runs(data):
            kind = network(name)
            patches, psnr = curve(name)
            patches = patches + seen_before(name)
            ax.plot(patches, psnr, "o-", markersize=2.5, linewidth=1.2, color=COLOURS[kind], label=kind)
            ax.annotate(
                f"{patches[-1]:,.0f}",
                (patches[-1], psnr[-1]),
                fontsize=7,
                xytext=(3, -9 if seen_before(name) else 3),
                textcoords="offset points",
            )
        handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
        ax.legend(handles.values(), handles.keys(), fontsize=8, loc="lower right")
        ax.set(title=data, xlabel="training patches", xscale="log", ylim=(20, None))
        ax.set_xticks([tick for tick in TICKS if ax.get_xlim()[0] <= tick <= ax.get_xlim()[1]])
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.minorticks_off()
        ax.grid(alpha=0.25)
    axes[0].set_ylabel("PSNR of validation patches (dB)")
    figure.savefig(PICTURE, dpi=110, pil_kwargs={"optimize": True})
    print(PICTURE.name)


if __name__ == "__main__":
    draw()
