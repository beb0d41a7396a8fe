"""Sections of docs/results.md on models that are told the blur; used by scripts/results.py.

The sentences on what follows are computed in both directions: where a model is ahead, and where it is behind.
"""

from __future__ import annotations

from collections.abc import Sequence

from napari_lucyd.evaluation import RealTable
from napari_lucyd.evaluation.compared_methods import ACCELERATED, INPUT, UNTOLD
from napari_lucyd.evaluation.tables import Table

_CLASSICAL = f"{ACCELERATED}richardson-lucy"
# Differences below this many dB are called equal.
_EQUAL = 0.05


def gains_by_column(table: Table) -> str:
    """Return a table with a row for each column of a measurement: PSNR of the image, and gains over it."""
    methods = [name for name in table.methods if name != INPUT]
    lines = [["microscope, voxels, light", "image", *methods], ["---"] * (len(methods) + 2)]
    for number, column in enumerate(table.columns):
        image = table.row(INPUT)[number].psnr
        gains = [f"{table.row(name)[number].psnr - image:+.2f}" for name in methods]
        lines.append([column, f"{image:.2f}", *gains])
    mean = table.mean(INPUT)
    means = [f"**{table.mean(name) - mean:+.2f}**" for name in methods]
    lines.append(["**mean**", f"{mean:.2f}", *means])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def structures_follow(table: Table, model: str) -> str:
    """Say where a model is ahead of Richardson-Lucy and of the image, and where it is behind."""
    psnr = {name: [cell.psnr for cell in table.row(name)] for name in table.methods}
    untold = UNTOLD + model
    return "\n".join(
        f"- {text}"
        for text in (
            _duel(f"`{model}`, told the PSF,", psnr[model], _CLASSICAL, psnr[_CLASSICAL], table.columns),
            _duel(f"`{model}`, told the PSF,", psnr[model], "the image", psnr[INPUT], table.columns),
            _duel(f"`{untold}`", psnr[untold], "the image", psnr[INPUT], table.columns),
            _duel(f"`{untold}`", psnr[untold], "semi-blind", psnr["semi-blind"], table.columns),
        )
    )


def real_follow(table: RealTable) -> str:
    """Say on which real images the default models are ahead of the others, and on which they are behind."""
    texts = []
    for group in dict.fromkeys(entry.group for entry in table.gains):
        rows = [entry for entry in table.gains if entry.group == group]
        images = list(dict.fromkeys(entry.image for entry in rows))
        gains = {method: [entry.gain for entry in rows if entry.method == method] for method in table.methods}
        image = [0.0] * len(images)
        pairs = [
            ("`lucyd`, told the blur,", "lucyd", "the estimate alone", "estimate"),
            ("`lucyd`, told the blur,", "lucyd", "Richardson-Lucy with its best number", "richardson-lucy"),
            ("`untold:lucyd`", "untold:lucyd", "the image", ""),
        ]
        for who, method, whom, other in pairs:
            mine, theirs = gains.get(method, []), gains.get(other, image)
            if mine and None not in (*mine, *theirs) and len(mine) == len(theirs):
                texts.append(f"- {group}: {_duel(who, mine, whom, theirs, images)}")  # type: ignore[arg-type]
    return "\n".join(texts)


def _duel(who: str, mine: Sequence[float], whom: str, theirs: Sequence[float], columns: Sequence[str]) -> str:
    """Compare two methods column by column: the mean difference, and where the first one is behind."""
    ahead = [a - b for a, b in zip(mine, theirs, strict=True)]
    behind = [
        f"{column} ({gain:+.2f})"
        for column, gain in sorted(zip(columns, ahead, strict=True), key=lambda pair: pair[1])
        if gain < -_EQUAL
    ]
    better = sum(gain > _EQUAL for gain in ahead)
    text = (
        f"{who} against {whom}: {sum(ahead) / len(ahead):+.2f} dB on average, from {min(ahead):+.2f} to "
        f"{max(ahead):+.2f}. It is ahead by more than {_EQUAL} dB in {better} of {len(ahead)}"
    )
    if not behind:
        return f"{text}, and behind in none."
    return f"{text}, and behind in {len(behind)}: {'; '.join(behind)}."
