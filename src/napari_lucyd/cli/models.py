"""The command ``lucyd models``: the shipped models and the user's own."""

from __future__ import annotations

import json
import textwrap
from typing import Annotated, Any

import typer

_HEADINGS = (
    "Name",
    "Network",
    "Images",
    "Intensity scaling",
    "Blur σ (voxels)",
    "Noise (share of range)",
    "Flux kept",
)


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole cards as JSON.")] = False,
) -> None:
    """List the models and the images that each was trained for.

    The shipped models come first, then your own (see: lucyd adapt).

    \b
    Examples:
      lucyd models
      lucyd models --json > cards.json
    """
    from napari_lucyd.models import DEFAULT_MODEL, list_models
    from napari_lucyd.models.user_models import user_models_folder

    cards = list_models()
    if as_json:
        typer.echo(json.dumps(cards, indent=2, ensure_ascii=False))
        return
    typer.echo(table([_row(card, DEFAULT_MODEL) for card in cards]))
    for card in cards:
        typer.echo(f"\n{card['name']}: {card.get('title', '')}".rstrip(": "))
        typer.echo(
            textwrap.fill(card.get("description", ""), 90, initial_indent="  ", subsequent_indent="  ")
        )
    typer.echo("\nUse one with: lucyd deconvolve IN -o OUT --model NAME. A file of weights (.safetensors, or")
    typer.echo("the LUCYD authors' .pth) can be given instead of NAME.")
    typer.echo(f"Your own models are in {user_models_folder()}")


def _row(card: dict[str, Any], default: str) -> tuple[str, ...]:
    scaling = card.get("normalization", {})
    method = str(scaling.get("method", "?"))
    if method == "percentile":
        method += f" {scaling.get('low')}–{scaling.get('high')}"
    network = card.get("network", {})
    return (
        card["name"] + (" (default)" if card["name"] == default else ""),
        str(network.get("type", "?")).upper(),
        f"{network.get('dimension', '?')}D",
        method,
        _range(card.get("blur_sigma_voxels")),
        _range(card.get("noise_sigma")),
        {True: "yes", False: "no"}.get(card.get("flux_kept"), "?"),  # type: ignore[arg-type]
    )


def _range(ends: Any) -> str:
    return "–".join(dict.fromkeys(f"{float(end):.3g}" for end in ends)) if ends else "?"


def table(rows: list[tuple[str, ...]]) -> str:
    """Lay out rows under the headings as plain text."""
    lines = [_HEADINGS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
