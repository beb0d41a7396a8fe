"""Plots of docs/benchmarks.md, drawn from the records; needs matplotlib."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from napari_lucyd.text import percent_text

OURS, THEIRS, MEASURED, ESTIMATED = "#2a6f97", "#a9a9a9", "#2a6f97", "#e08e45"
# Otherwise the picture would change with each version of matplotlib.
NO_METADATA = {"Software": None}


def draw(records: dict[str, dict[str, Any]], folder: Path) -> None:
    """Draw the plot of each record that has one."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, plot in PLOTS.items():
        if name in records:
            figure = plot(records[name])
            figure.savefig(folder / f"bench-{name}.png", dpi=110, metadata=NO_METADATA)
            plt.close(figure)


def ours(name: str) -> bool:
    """Return True if a candidate belongs to this package."""
    return name.startswith(("compiled", "deconvolve", "lucyd", "the network", "ours")) or name.endswith(
        "napari-lucyd"
    )


def bars(axes: Axes, values: dict[str, float], form: str) -> None:
    """Draw horizontal bars with their values, the first on top."""
    names = list(values)[::-1]
    heights = [values[name] for name in names]
    drawn = axes.barh(names, heights, color=[OURS if ours(name) else THEIRS for name in names])
    axes.bar_label(drawn, [form.format(value) for value in heights], padding=3, fontsize=8)
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def forward(found: dict[str, Any]) -> Figure:
    """Plot the speed relative to the plain pass."""
    figure, axes = plt.subplots(figsize=(7, 0.32 * len(found["passes"]) + 1), layout="constrained")
    bars(axes, {name: row["times_as_fast"] for name, row in found["passes"].items()}, "{:.1f}")
    axes.set_xlabel("speed relative to plain PyTorch")
    return figure


def rivals(found: dict[str, Any]) -> Figure:
    """Plot seconds and PSNR side by side."""
    height = 0.35 * len(found["methods"]) + 1
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, height), layout="constrained", sharey=True)
    bars(left, {name: row["seconds"] for name, row in found["methods"].items()}, "{:.2f}")
    bars(right, {name: row["psnr"] for name, row in found["methods"].items()}, "{:.1f}")
    left.set_xscale("log")
    left.margins(x=0.25)
    left.set_xlabel("seconds")
    right.axvline(found["input_psnr"], color="black", linestyle=":", label="the image itself")
    right.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.15), frameon=False)
    right.set_xlabel("PSNR, dB")
    return figure


def throughput(found: dict[str, Any]) -> Figure:
    """Plot the cost over size, threads, tile and halo."""
    figure, grid = plt.subplots(2, 2, figsize=(9, 6), layout="constrained")
    over_size, over_threads, over_tile, over_halo = grid.ravel()
    sizes = found["sizes"]
    over_size.plot([row["voxels"] for row in sizes], [row["cost"] for row in sizes], "o-", color=OURS)
    over_size.set_xscale("log")
    over_size.set_xlabel("voxels")
    counts = found["thread_counts"]
    threads = [int(count) for count in counts]
    taken = [row["cost"] for row in counts.values()]
    over_threads.plot(threads, taken, "o-", color=OURS)
    ideal = [taken[0] * threads[0] / n for n in threads]
    over_threads.plot(threads, ideal, ":", color=THEIRS, label="ideal scaling")
    over_threads.set_xticks(threads)
    over_threads.legend(fontsize=8)
    over_threads.set_xlabel("threads")
    for axes, key in ((over_tile, "tiles"), (over_halo, "halos")):
        axes.bar(list(found[key]), [row["cost"] for row in found[key].values()], color=OURS)
        axes.set_xlabel(key[:-1])
    for axes in grid.ravel():
        axes.set_ylim(bottom=0)
        axes.set_ylabel("s per 10⁶ voxels")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    return figure


def estimates(found: dict[str, Any]) -> Figure:
    """Plot peak memory over size, and estimated against measured times."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    markers = dict(zip(dict.fromkeys(run["method"] for run in found["runs"]), "os^", strict=False))
    for method, marker in markers.items():
        runs = [run for run in found["runs"] if run["method"] == method]
        voxels = [run["voxels"] for run in runs]
        measured, estimated = ([run[key] / 1e6 for run in runs] for key in ("bytes", "estimated_bytes"))
        left.plot(voxels, estimated, marker, color=ESTIMATED, fillstyle="none", label=f"estimated, {method}")
        left.plot(voxels, measured, marker, color=MEASURED, label=f"measured, {method}")
        times = [[run[key] for run in runs] for key in ("seconds", "estimated_seconds")]
        right.plot(*times, marker, color=MEASURED, label=method)
    times = [run[key] for run in found["runs"] for key in ("seconds", "estimated_seconds")]
    line = np.array([min(times) / 2, max(times) * 2])
    right.plot(line, line, color=THEIRS)
    right.fill_between(line, line / 2, line * 2, color=THEIRS, alpha=0.25, label="within a factor of two")
    left.set(xscale="log", yscale="log", xlabel="voxels", ylabel="peak memory, MB")
    right.set(xscale="log", yscale="log", xlabel="measured seconds", ylabel="estimated seconds")
    for axes in (left, right):
        axes.legend(fontsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def roofline(found: dict[str, Any]) -> Figure:
    """Plot rates over operations per byte of layer traffic, below the machine's peaks."""
    figure, axes = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
    peak, copied = found["matrix_operations_per_second"] / 1e9, found["memory_bytes_per_second"] / 1e9
    intensity = found["operations_per_voxel"] / found["layer_bytes_per_voxel"]
    # The lower end is without any cache; the upper end has only the image and two results in memory.
    ends = np.array([intensity, found["operations_per_voxel"] / 12])
    along = np.geomspace(0.1, 10 * ends[1], 200)
    axes.plot(along, np.minimum(peak, copied * along), color="black")
    for name, row in found["passes"].items():
        rate = row["operations_per_second"] / 1e9
        colour = OURS if ours(name) else THEIRS
        # The position of a pass on its line depends on the cache.
        axes.plot(ends, [rate, rate], "o-", color=colour, linewidth=1)
        text = f"{name}: {percent_text(rate / peak)} of the matrix product"
        axes.annotate(
            text, (ends[1], rate), xytext=(0, 3), textcoords="offset points", ha="right", fontsize=8
        )
    axes.annotate(f"matrix product, {peak:.0f}", (along[-1], peak), ha="right", va="bottom", fontsize=8)
    axes.annotate(f"memory, {copied:.0f} GB/s", (0.2, 0.3 * copied), fontsize=8)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="operations per byte of memory traffic: without cache – with perfect cache",
        ylabel="10⁹ operations per second",
    )
    axes.spines[["top", "right"]].set_visible(False)
    return figure


PLOTS: dict[str, Callable[[dict[str, Any]], Figure]] = {
    "forward": forward,
    "rivals": rivals,
    "throughput": throughput,
    "estimates": estimates,
    "roofline": roofline,
}
