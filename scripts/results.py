"""Measure the shipped models; write docs/results.md, and the figures into their cards.

    python scripts/results.py [CHECKPOINT]

CHECKPOINT is one of the files that LUCYD's authors published (3D); with it, the strict table has a row for it,
on the same patches. Takes some minutes on a CPU.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import napari_lucyd as nl
from napari_lucyd.evaluation import evaluate

CARDS = Path(__file__).parents[1] / "src" / "napari_lucyd" / "models"
PAGE = Path(__file__).parents[1] / "docs" / "results.md"
PHANTOMS, PATCHES = 4, 8
# Table 2 of Chobola et al. 2023, column LUCYD: SSIM and PSNR in the order of the table's cells below.
PAPER = (
    (0.9725, 26.85),
    (0.9463, 24.35),
    (0.9040, 21.78),
    (0.7233, 17.47),
    (0.9271, 23.49),
    (0.8575, 21.00),
    (0.7995, 19.38),
    (0.6311, 16.42),
)


def paper_row() -> str:
    """Return the paper's figures as a row of the strict table."""
    entries = " | ".join(f"{ssim:.4f}/{psnr:.2f}" for ssim, psnr in PAPER)
    mean = sum(psnr for _, psnr in PAPER) / len(PAPER)
    return f"| *the paper, on its own patches* | {entries} | {mean:.2f} |"


def flux_row(table: Any, model: str) -> str:
    """Return by how much a model changes the sum of the intensities, over the table's cells."""
    flux = [cell.flux for cell in table.cells if cell.model == model]
    return (
        f"The sum of `{model}`'s output is {min(flux):.3f} to {max(flux):.3f} of the input's, cell by cell."
    )


def training_row(card: dict[str, Any]) -> str:
    """Return how a model was trained, as a row of a table."""
    training = card["training"]
    stages = [stage for stage in (training.get("started_from", {}).get("training"), training) if stage]
    patches = " + ".join(str(stage["patches"]) for stage in stages)
    seconds = sum(stage["seconds"] for stage in stages)
    return (
        f"| `{card['name']}` | {card['network']['dimension']}D | {card['network']['epsilon']:g} | "
        f"{patches} | {training['seed']} | {seconds / 60:.0f} min, {training['device']} | "
        f"`{card['sha256'][:12]}…` |"
    )


def main(checkpoint: str | None) -> None:
    """Evaluate and write the page."""
    mixture, general, planes = (nl.load_model(name) for name in ("mixture", "general", "planes"))
    rivals = [nl.load_model(checkpoint)] if checkpoint else []
    strict = evaluate([mixture, *rivals], track="strict", phantoms=PHANTOMS, patches=PATCHES)
    volumes = evaluate([general], track="open", phantoms=PHANTOMS)
    flat = evaluate([planes], track="open", phantoms=PHANTOMS)
    for table, model in ((strict, mixture), (volumes, general), (flat, planes)):
        table.record(CARDS / f"{model.name}.json", model.name)
    environment = ", ".join(f"{name} {value}" for name, value in strict.environment.items())
    rival = (
        f" `{rivals[0].name}` is the file of that name that the paper's authors published, on the same patches."
        if rivals
        else ""
    )
    text = f"""# Results

Made by `python scripts/results.py`, with {environment}. Entries are `ssim_global` / PSNR in dB, explained under
[metrics](method.md#metrics); columns are blur σ_b in voxels, noise σ_n in 1/255 of the range. *input* is the degraded image
itself. Test phantoms have the seeds {strict.phantoms[0]} to {strict.phantoms[-1]}, which no training uses.

## The paper's test: blur and noise that the strict model has not seen

{PHANTOMS} phantoms, from each {PATCHES} single patches of 32×64×64 in every cell, given to the network as they are. `mixture` was
trained on σ_b 1.0, 1.2, 1.5 and σ_n 0, 15, 30 only.{rival} The paper's own figures come from other patches and
are here for orientation.

{strict.markdown()}
{paper_row()}

## As a user runs it: the open track

{PHANTOMS} phantoms of 48×96×96, degraded photometrically (one scale for truth and image), deconvolved with the defaults. These
models were trained on this range of blur and noise, so the figures are no answer to the paper's question above. PSNR and
SSIM fall short of a perfect restoration most where noise hides what is thin.

{volumes.markdown()}

{flux_row(volumes, general.name)}

The 2D model on the middle plane of the same volumes:

{flat.markdown()}

{flux_row(flat, planes.name)}

## How they were trained

| model | | ε | patches | seed | time | SHA-256 |
|---|---|---|---|---|---|---|
{chr(10).join(training_row(model.card) for model in (general, mixture, planes))}

Everything else that was set is on the cards (`lucyd models --json`) and in `configs/`.
"""
    PAGE.write_text(text, "utf-8")
    print(PAGE.name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", nargs="?", help="a published 3D checkpoint to compare with")
    main(parser.parse_args().checkpoint)
