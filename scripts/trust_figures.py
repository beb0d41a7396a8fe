"""Pictures of docs/trust.md, drawn from the images that the trust suite kept; needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from napari_lucyd.evaluation.protocols import Sample
from napari_lucyd.evaluation.trust.images import BACKGROUND, NOISE, SIGNAL, field_of_balls
from napari_lucyd.evaluation.trust.probes import BEAD_REACH, FIELD_START, object_fluxes, pair_positions
from napari_lucyd.evaluation.trust.suite import TRUTH, is_reference

mpl.use("Agg")
from matplotlib import pyplot as plt

Volume = npt.NDArray[np.floating[Any]]
# The samples with their outputs, by method; and this by probe.
Outputs = Mapping[str, Sequence[tuple[Sample, Volume]]]
Kept = Mapping[str, Outputs]
ROWS = 2


def draw(kept: Kept, folder: Path) -> None:
    """Write all pictures."""
    _draw_empty(kept, folder / "trust-empty.png")
    _draw_lines(_levels(kept["flat"]), folder / "trust-flat.png")
    _draw_beads(kept["bead"], folder / "trust-bead.png")
    _draw_pairs(kept["pairs"], folder / "trust-pairs.png")
    _draw_flux(kept["flux"], folder / "trust-flux.png")


def _middle(volume: Volume) -> Volume:
    return volume[len(volume) // 2] if volume.ndim == 3 else volume


def _with_pairs(volume: Volume) -> Volume:
    """Return the plane with the pairs of the first image."""
    return volume[pair_positions(3, 0)[0][1][0]] if volume.ndim == 3 else volume


def _around_the_bead(volume: Volume) -> Volume:
    """Cut Z and X (Y and X of a plane) around the first bead, which is in the middle."""
    window = tuple(slice(n // 2 - BEAD_REACH, n // 2 + BEAD_REACH + 1) for n in volume.shape)
    cropped = volume[window]
    return cropped[:, BEAD_REACH] if cropped.ndim == 3 else cropped


def _draw_empty(kept: Kept, path: Path) -> None:
    """Draw both empty fields in rows and methods in columns, with the same contrast limits."""
    methods = [name for name in kept["empty"] if not name.startswith(TRUTH)]
    figure, axes = plt.subplots(2, len(methods), figsize=(1.35 * len(methods), 3.1), layout="constrained")
    reach = 6 * NOISE * SIGNAL
    for row, probe in zip(axes, ("empty", "beside"), strict=True):
        for axis, method in zip(row, methods, strict=True):
            plane = _middle(kept[probe][method][0][1]) - BACKGROUND
            drawn = axis.imshow(plane, cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="nearest")
            if probe == "empty":
                axis.set_title(method, fontsize=8)
            else:
                axis.axvline(FIELD_START - 0.5, color="black", linewidth=0.5, linestyle=":")
            axis.set_xticks([])
            axis.set_yticks([])
        row[0].set_ylabel({"empty": "empty", "beside": "next to a ball"}[probe], fontsize=8)
    bar = figure.colorbar(drawn, ax=axes, fraction=0.02, pad=0.01, extend="both")
    bar.set_label("intensity above the true background", fontsize=7)
    bar.ax.tick_params(labelsize=7)
    _save(figure, path)


def _draw_pairs(kept: Outputs, path: Path) -> None:
    """Draw the pairs of the first image, each method from the background to its brightest voxel."""
    figure, axes = _panels(len(kept), 1.7, 2.05)
    for axis, (method, outputs) in zip(axes, kept.items(), strict=True):
        plane = _with_pairs(outputs[0][1])
        low = min(BACKGROUND, float(plane.min()))
        axis.imshow(plane, cmap="gray", vmin=low, vmax=plane.max(), interpolation="nearest")
        axis.set_title(f"{method}\nmaximum {plane.max():,.0f}", fontsize=8)
        for distance, point in pair_positions(2, 0):
            axis.text(1, point[0], str(distance), color="tab:orange", fontsize=7, va="center")
    _save(figure, path)


def _draw_beads(kept: Outputs, path: Path) -> None:
    """Draw the first bead of each method, with its line along X below."""
    columns = -(-len(kept) // ROWS)
    figure, axes = plt.subplots(
        *(2 * ROWS, columns),
        figsize=(1.7 * columns, 3.0 * ROWS),
        height_ratios=[1.5, 1] * ROWS,
        layout="constrained",
    )
    for axis in axes.ravel():
        axis.set_axis_off()
    offsets = np.arange(-BEAD_REACH, BEAD_REACH + 1)
    for number, (method, outputs) in enumerate(kept.items()):
        row, column = divmod(number, columns)
        picture, profile = axes[2 * row, column], axes[2 * row + 1, column]
        sample, output = outputs[0]
        plane = _around_the_bead(output)
        scale = mpl.colors.PowerNorm(0.5, float(plane.min()), float(plane.max()))
        picture.imshow(plane, cmap="gray", norm=scale, interpolation="nearest")
        picture.set_title(f"{method}\nmaximum {plane.max():,.0f}", fontsize=8)
        profile.set_axis_on()
        for volume, style in ((sample.truth, {"color": "0.6", "linewidth": 2}), (output, {"linewidth": 1})):
            line = _around_the_bead(volume)[BEAD_REACH] - BACKGROUND
            profile.plot(offsets, line / line.max(), **style)
        profile.set_ylim(-0.25, 1.15)
        profile.tick_params(labelsize=6)
    _save(figure, path)


def _levels(kept: Outputs) -> dict[str, Volume]:
    """Return the mean of the flat fields over all axes but X; the constant image is the first sample."""
    return {
        method: outputs[1][1].mean(axis=tuple(range(outputs[1][1].ndim - 1)))
        for method, outputs in kept.items()
    }


def _draw_lines(lines: Mapping[str, Volume], path: Path) -> None:
    """Draw the line of each method over the truth, with half of the truth's range as margin."""
    shown = {method: line for method, line in lines.items() if not method.startswith(TRUTH)}
    figure, axes = _panels(len(shown), 1.9, 1.6)
    truth = lines[TRUTH]
    span = float(np.ptp(truth))
    for axis, (method, line) in zip(axes, shown.items(), strict=True):
        axis.set_axis_on()
        axis.plot(truth, color="0.6", linewidth=2)
        axis.plot(line, linewidth=1)
        axis.set_ylim(truth.min() - 0.5 * span, truth.max() + 0.5 * span)
        axis.set_title(method, fontsize=8)
        axis.tick_params(labelsize=6)
    _save(figure, path)


def _draw_flux(kept: Outputs, path: Path) -> None:
    """Draw light in the output against light in the truth, one point per object, one panel per method."""
    methods = [method for method in kept if not is_reference(method)]
    figure, axes = _panels(len(methods), 1.9, 2.0, sharex=True, sharey=True)
    for axis, method in zip(axes, methods, strict=True):
        sample, output = kept[method][0]
        _, radii = field_of_balls(output.ndim)
        given = object_fluxes(sample.truth, radii) / object_fluxes(sample.truth, radii).max()
        found = object_fluxes(output, radii) / object_fluxes(sample.truth, radii).max()
        axis.set_axis_on()
        axis.plot([0.05, 1], [0.05, 1], color="0.6", linewidth=1)
        axis.scatter(given, found, s=8, color="tab:blue")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_title(method, fontsize=8)
        axis.tick_params(labelsize=7)
    figure.supxlabel("light of the object in the truth, brightest 1", fontsize=8)
    figure.supylabel("in the output", fontsize=8)
    _save(figure, path)


def _panels(count: int, width: float, height: float, **options: Any) -> tuple[Any, list[Any]]:
    """Make a figure of hidden panels in `ROWS` rows; the size of a panel is in inches."""
    columns = -(-count // ROWS)
    size = (width * columns, height * ROWS)
    figure, axes = plt.subplots(ROWS, columns, figsize=size, layout="constrained", squeeze=False, **options)
    for axis in axes.ravel():
        axis.set_axis_off()
    return figure, list(axes.ravel()[:count])


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=110, bbox_inches="tight", pil_kwargs={"optimize": True})
    plt.close(figure)
    print(path.name)
