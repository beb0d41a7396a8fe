"""Numbers in words, for the panel's lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def bytes_text(count: float) -> str:
    """A size in memory.

    Examples
    --------
    >>> bytes_text(3_400_000_000)
    '3.4 GB'
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            value = count / size
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{count / 1e3:.0f} kB"


def duration_text(seconds: float) -> str:
    """A time.

    Examples
    --------
    >>> duration_text(0.4), duration_text(42), duration_text(200), duration_text(7000)
    ('under a second', '42 s', '3 min 20 s', '1 h 57 min')
    """
    if seconds < 1:
        return "under a second"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(whole / 60), 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def shape_text(shape: Sequence[int]) -> str:
    """A shape.

    Examples
    --------
    >>> shape_text((64, 128, 128))
    '64 × 128 × 128'
    """
    return " × ".join(str(int(n)) for n in shape)


def steps_text(steps: Sequence[float]) -> str:
    """A voxel size, without its unit.

    Examples
    --------
    >>> steps_text((0.3, 0.1625, 0.1625))
    '0.3 × 0.163 × 0.163'
    """
    return " × ".join(f"{step:.3g}" for step in steps)


def model_label(card: dict[str, Any]) -> str:
    """A shipped model in the list of models: its name first, so that the list can be scanned."""
    dimension = card.get("network", {}).get("dimension", 3)
    return f"{card['name']} ({dimension}D)"


def model_text(card: dict[str, Any]) -> str:
    """What a model is for, in two lines: its title and the images that it was trained on."""
    blur, noise = card.get("blur_sigma_voxels"), card.get("noise_sigma")
    if not (blur and noise):
        return str(card.get("description", ""))
    # One number where one optics is all that it was trained for.
    width = " to ".join(dict.fromkeys(f"{end:g}" for end in blur))
    parts = [
        f"{card['title']}." if card.get("title") else "",
        f"For a blur of σ {width} voxels and noise up to {noise[1]:.0%} of the range.",
        "Does not keep the total intensity." if card.get("flux_kept") is False else "",
    ]
    return " ".join(part for part in parts if part)
