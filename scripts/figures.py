"""Draw the figures of docs/results.md: the three layers of LUCYD, and all methods side by side.

    python scripts/figures.py [--data FOLDER]

FOLDER holds the real stacks dapi_001.tif, bead.tif and bead_psf.tif; without it the figures of the phantoms
alone are drawn, and those of real stacks are left as they are. Needs matplotlib, the extra `docs`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

import napari_lucyd as nl
from napari_lucyd.evaluation import full_width, psnr, surrogate_protocol
from napari_lucyd.evaluation.protocols import SPECIMENS, TEST_SEEDS
from napari_lucyd.io import read_image
from napari_lucyd.models.catalogue import shipped_models
from napari_lucyd.simulation import Degraded, Phantom
from napari_lucyd.simulation.degradation import KERNEL_SIZE
from napari_lucyd.simulation.phantoms import gaussian_kernel

mpl.use("Agg")
from matplotlib import pyplot as plt

Volume = npt.NDArray[np.floating[Any]]
ROOT = Path(__file__).parents[1]
IMAGES, FILES = ROOT / "docs" / "images", ROOT / "docs" / "results"
# A blur and a noise that the strict models were trained on, so that all of them can be shown.
BLUR, NOISE, SEED, SHAPE = 1.2, 15 / 255, 100, (64, 128, 128)
COLOURS = ((0.1, 0.5, 1.0), (0.1, 0.9, 0.2), (1.0, 0.65, 0.0), (0.9, 0.1, 0.6))
STRICT = {"CARE": "mixture-care", "RLN": "mixture-rln", "LUCYD": "mixture"}


def strict_methods(psf: Volume) -> dict[str, Any]:
    """Return the methods of Table 2 that are available, the classical ones with the true PSF."""
    shipped = {card["name"] for card in shipped_models()}
    networks = {label: nl.load_model(name) for label, name in STRICT.items() if name in shipped}
    return {
        "Wiener, balance 0.1": nl.Wiener(psf, balance=0.1),
        "Richardson-Lucy, 10 iterations": nl.RichardsonLucy(psf, num_iter=10),
        **networks,
    }


def restored(image: Volume, methods: Mapping[str, Any], **options: Any) -> dict[str, Volume]:
    """Run each method over an image."""
    results = {}
    for label, method in methods.items():
        scaling = options if isinstance(method, nl.Model) else {}
        output = nl.deconvolve(image, method, outputs=("output",), isotropic=False, **scaling).output
        assert output is not None
        results[label] = output
    return results


def gaussian_psf(sigma: float) -> Volume:
    """Return the PSF of the strict track."""
    line = gaussian_kernel(sigma, KERNEL_SIZE)
    return np.einsum("i,j,k->ijk", line, line, line).astype(np.float32)


def save(figure: Any, name: str) -> None:
    """Write a picture for the docs."""
    figure.savefig(IMAGES / name, dpi=110, bbox_inches="tight", pil_kwargs={"optimize": True})
    plt.close(figure)
    print(name)


def draw_layers(stacks: Mapping[str, tuple[Volume, int]], model: nl.Model) -> None:
    """Draw Figure 3: input, correction mask, update term and output, one row per stack."""
    # Turn the longer side to the horizontal, so that narrow stacks leave no empty space.
    turns = {label: image.shape[1] > 1.3 * image.shape[2] for label, (image, _) in stacks.items()}
    ratios = [
        (image.shape[1] / image.shape[2]) ** (-1 if turns[label] else 1)
        for label, (image, _) in stacks.items()
    ]
    figure, axes = plt.subplots(
        len(stacks),
        4,
        figsize=(11, 2.6 * sum(ratios)),
        squeeze=False,
        height_ratios=ratios,
        layout="constrained",
    )
    for row, (label, (image, plane)) in zip(axes, stacks.items(), strict=True):
        result = nl.deconvolve(image, model, isotropic=False)
        low, high = np.percentile(image, (1, 99.9))
        mask, update, output = result.correction_mask[plane], result.update_term[plane], result.output[plane]
        reach = float(np.percentile(np.abs(mask), 99.5))
        spread = float(np.percentile(np.abs(update - 1), 99.5))
        panels = (
            (f"{label}: input", image[plane], "gray", low, high),
            ("correction mask, added", mask, "RdBu_r", -reach, reach),
            ("update term, multiplied", update, "PuOr_r", 1 - spread, 1 + spread),
            ("output", output, "gray", low, max(high, float(np.percentile(output, 99.9)))),
        )
        for axis, (title, shown, colours, bottom, top) in zip(row, panels, strict=True):
            drawn = axis.imshow(
                shown.T if turns[label] else shown,
                cmap=colours,
                vmin=bottom,
                vmax=top,
                interpolation="nearest",
            )
            axis.set_title(title, fontsize=9)
            axis.set_axis_off()
            figure.colorbar(drawn, ax=axis, fraction=0.046, pad=0.02).ax.tick_params(labelsize=7)
    save(figure, "figure3.png")


def draw_projections(
    volumes: Mapping[str, Volume], line: tuple[int, int], name: str, truth: Volume | None = None
) -> None:
    """Draw Figure 4: maximum projections along Z and Y, and profiles along X through (Z, Y)."""
    figure = plt.figure(figsize=(2.1 * len(volumes), 5.6), layout="constrained")
    depth, height, width = next(iter(volumes.values())).shape
    grid = figure.add_gridspec(3, len(volumes), height_ratios=[height / width, depth / width, 0.9])
    for column, (label, volume) in enumerate(volumes.items()):
        # With a truth all pictures share their contrast limits; without one, each has its own.
        low, high = np.percentile(volume if truth is None else truth, (1, 99.95))
        heading = label if truth is None or volume is truth else f"{label}\n{psnr(volume, truth):.1f} dB"
        for row, axis in enumerate((0, 1)):
            panel = figure.add_subplot(grid[row, column])
            panel.imshow(volume.max(axis=axis), cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            panel.set_xticks([])
            panel.set_yticks([])
            if row == 0:
                panel.set_title(heading, fontsize=8)
                panel.axhline(line[1], color="tab:red", linewidth=0.5, linestyle=":")
            if column == 0:
                panel.set_ylabel(("lateral: Y, X", "axial: Z, X")[row], fontsize=8)
    profiles = figure.add_subplot(grid[2, :])
    for label, volume in volumes.items():
        style = {"color": "black", "linewidth": 2} if volume is truth else {"linewidth": 1}
        profile = volume[line] if truth is not None else volume[line] / volume[line].max()
        profiles.plot(profile, label=label, **style)
    profiles.set_xlabel(f"X in voxels, along the dotted line at Z {line[0]}, Y {line[1]}", fontsize=8)
    profiles.tick_params(labelsize=7)
    profiles.legend(fontsize=7, ncols=len(volumes), loc="upper center", bbox_to_anchor=(0.5, -0.28))
    save(figure, name)


def draw_colours(channels: Mapping[str, list[Volume]]) -> None:
    """Draw Figure 4's four colours: one phantom per channel, each restored separately."""
    figure, axes = plt.subplots(1, len(channels), figsize=(2.3 * len(channels), 2.6), layout="constrained")
    for axis, (label, volumes) in zip(axes, channels.items(), strict=True):
        shown = np.zeros((*volumes[0].shape[1:], 3))
        for volume, truth, colour in zip(volumes, channels["truth"], COLOURS, strict=True):
            low, high = np.percentile(truth, 1), np.percentile(truth, 99.9)
            shown += np.clip((volume.max(axis=0) - low) / (high - low), 0, 1)[..., None] * colour
        axis.imshow(np.clip(shown, 0, 1), interpolation="nearest")
        axis.set_title(label, fontsize=8)
        axis.set_axis_off()
    save(figure, "figure4-colours.png")


def bead_table(volumes: Mapping[str, Volume]) -> str:
    """Return the widths of the bead along each axis as Markdown."""
    lines = ["| | FWHM along Z | Y | X, in voxels |", "|---|---|---|---|"]
    for label, volume in volumes.items():
        centre = np.unravel_index(np.argmax(volume), volume.shape)
        widths = [
            full_width(volume[tuple(slice(None) if a == axis else centre[a] for a in range(3))])
            for axis in range(3)
        ]
        lines.append(f"| {label} | " + " | ".join(f"{w:.1f}" for w in widths) + " |")
    return "\n".join(lines) + "\n"


def draw_phantoms() -> Degraded:
    """Draw the figures that need no files; return the degraded phantom."""
    methods = strict_methods(gaussian_psf(BLUR))

    def strict(phantom: Phantom) -> tuple[Degraded, dict[str, Volume]]:
        sample = nl.degrade(phantom, blur_sigma=BLUR, noise_sigma=NOISE, rng=SEED)
        # Images of the strict track are already scaled, as in training.
        outputs = restored(sample.image, methods, normalization="none")
        return sample, {"truth": sample.truth, "input": sample.image} | outputs

    whole, volumes = strict(nl.make_phantom(SHAPE, rng=SEED))
    middle = SHAPE[0] // 2, int(np.argmax(whole.truth[SHAPE[0] // 2].sum(axis=1)))
    draw_projections(volumes, middle, "figure4-phantom.png", truth=whole.truth)
    channels: dict[str, list[Volume]] = {}
    for number in range(len(COLOURS)):
        # Thin, with few objects, so that the colours do not overlap everywhere.
        sparse = nl.make_phantom((32, 96, 96), spheres=8, ellipsoids=8, boxes=30, rng=SEED + number)
        for label, volume in strict(sparse)[1].items():
            channels.setdefault(label, []).append(volume)
    draw_colours(channels)
    return whole


def draw_surrogates() -> None:
    """Draw a phantom of Table 3, imaged as nuclei and restored by all methods."""
    column = SPECIMENS.index("nuclei")
    sample = surrogate_protocol().samples(column, TEST_SEEDS[0])[0]
    methods: dict[str, Any] = {
        "Wiener, balance 0.01": nl.Wiener(sample.psf, balance=0.01),
        "Richardson-Lucy, 50 iterations": nl.RichardsonLucy(sample.psf, num_iter=50),
        **{name: nl.load_model(name) for name in ("general", "nuclei-rln", "nuclei-care", "nuclei")},
    }
    volumes = {"truth": sample.truth, "input": sample.image} | restored(sample.image, methods)
    middle = len(sample.truth) // 2
    line = middle, int(np.argmax(sample.truth[middle].sum(axis=1)))
    draw_projections(volumes, line, "figure4-surrogate.png", truth=sample.truth)


def main(data: Path | None) -> None:
    """Draw all figures for which the images are available."""
    general = nl.load_model("general")
    sample = draw_phantoms()
    draw_surrogates()
    stacks: dict[str, tuple[Volume, int]] = {"phantom": (np.asarray(sample.image), SHAPE[0] // 2)}
    if data:
        nucleus = np.asarray(read_image(data / "dapi_001.tif").data, np.float32)
        bead = np.asarray(read_image(data / "bead.tif").data, np.float32)
        psf = np.asarray(read_image(data / "bead_psf.tif").data, np.float32)
        stacks |= {
            "nucleus, DAPI": (nucleus, len(nucleus) // 2),
            "bead": (bead, int(np.unravel_index(np.argmax(bead), bead.shape)[0])),
        }
        nuclei = {"input": nucleus} | restored(nucleus, {"general": general})
        draw_projections(
            nuclei, (len(nucleus) // 2, int(nucleus.sum(axis=(0, 2)).argmax())), "figure4-nucleus.png"
        )
        beads = {"input": bead} | restored(
            bead,
            {
                "Wiener, balance 0.1": nl.Wiener(psf, balance=0.1),
                "Richardson-Lucy, 50 iterations": nl.RichardsonLucy(psf, num_iter=50),
                "general": general,
            },
        )
        peak = np.unravel_index(np.argmax(bead), bead.shape)
        draw_projections(beads, (int(peak[0]), int(peak[1])), "figure4-bead.png")
        FILES.mkdir(exist_ok=True)
        (FILES / "bead.md").write_text(bead_table(beads), "utf-8")
    draw_layers(stacks, general)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="a folder with the real stacks")
    main(parser.parse_args().data)
