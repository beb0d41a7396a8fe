"""Sentences of docs/results.md that are computed from its tables; used by scripts/results.py."""

from __future__ import annotations

from typing import Any

from napari_lucyd.evaluation.compared_methods import ACCELERATED, INPUT
from napari_lucyd.evaluation.protocols import SPECIMENS
from napari_lucyd.evaluation.tables import Table
from napari_lucyd.models.catalogue import shipped_models

# Table 2 of Chobola et al. 2023, column LUCYD: SSIM and PSNR in the order of the table's columns.
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
STRICT = ("mixture-rln", "mixture-care", "mixture")
# Suffixes of the models' names: a model is named after its training data, then after its network.
NETWORKS = {"LUCYD": "", "RLN": "-rln", "CARE": "-care"}
# LUCYD trained with as many patches as RLN and CARE; not shipped.
EQUAL = "mixture-12000"
EQUAL_NUCLEI = "nuclei-6400"
EQUAL_MEMBRANES = "membranes-6400"
_SHIPPED = {card["name"] for card in shipped_models()}
# Shipped models only, so that the page can be rebuilt when a model is added or removed.
SURROGATES = tuple(
    specimen + suffix
    for suffix in NETWORKS.values()
    for specimen in SPECIMENS
    if specimen + suffix in _SHIPPED
)


def compared(specimen: str, suffix: str) -> str:
    """Return the model of a specimen that has seen as many patches as the other networks."""
    equal = {"nuclei": EQUAL_NUCLEI, "membranes": EQUAL_MEMBRANES}
    return specimen + suffix if suffix else equal[specimen]


def paper_row() -> str:
    """Return the paper's figures as a row of Table 2."""
    entries = " | ".join(f"{ssim:.4f}/{psnr:.2f}" for ssim, psnr in PAPER)
    mean = sum(psnr for _, psnr in PAPER) / len(PAPER)
    return f"| *the paper's LUCYD, on its own patches* | {entries} | {mean:.2f} |"


def gains(table: Table) -> str:
    """Compare `mixture` with the paper's figures and with the authors' weights."""
    ours = table.row("mixture")
    ahead = [cell.psnr - psnr for cell, (_, psnr) in zip(ours, PAPER, strict=True)]
    text = (
        f"`mixture` against the paper's figures: {min(ahead):+.2f} to {max(ahead):+.2f} dB, by column. The aim was "
        f"+0.5 dB in every column; it is reached in {sum(gain >= 0.5 for gain in ahead)} of {len(ahead)}."
    )
    theirs = next((name for name in table.methods if name.startswith("lucyd-")), None)
    if theirs:
        pairs = list(zip(ours, table.row(theirs), strict=True))
        psnr = [mine.psnr - other.psnr for mine, other in pairs]
        ssim = [mine.ssim_global - other.ssim_global for mine, other in pairs]
        text += (
            f" Against the authors' weights on the same patches: {min(psnr):+.2f} to {max(psnr):+.2f} dB, with a mean of "
            f"{table.mean('mixture') - table.mean(theirs):+.2f} dB (the aim was +2 dB), and "
            f"{min(ssim):+.4f} to {max(ssim):+.4f} in global SSIM."
        )
    return text


def budgets(cards: dict[str, dict[str, Any]]) -> str:
    """Return the number of patches that the strict models have seen."""
    seen = {name: cards[name]["training"]["patches"] for name in STRICT}
    entries = ", ".join(f"{count:,} by `{name}`" for name, count in seen.items())
    return (
        f"Patches seen in training: {entries}. `{EQUAL}` is the first stage of `mixture`, with as many patches as "
        "the other two, and batches of the same size."
    )


def lead(table: Table, method: str, other: str) -> str:
    """Return the number of columns in which a method is ahead of another, and by how much."""
    pairs = zip(table.row(method), table.row(other), strict=True)
    ahead = [mine.psnr - theirs.psnr for mine, theirs in pairs]
    return (
        f"{min(ahead):+.2f} to {max(ahead):+.2f} dB, {sum(ahead) / len(ahead):+.2f} in the mean; ahead in "
        f"{sum(gain > 0 for gain in ahead)} of {len(ahead)} columns"
    )


def domains(table: Table) -> str:
    """Return the paper's form of Table 3: each network within and across specimens."""
    lines = [["trained on", "network", *(f"tested on {name}" for name in SPECIMENS), "loss across, dB"]]
    lines.append(["---"] * len(lines[0]))
    trained = {
        network: suffix for network, suffix in NETWORKS.items() if SPECIMENS[0] + suffix in table.methods
    }
    within: dict[str, list[float]] = {network: [] for network in trained}
    across: dict[str, list[float]] = {network: [] for network in trained}
    for specimen in SPECIMENS:
        for network, suffix in trained.items():
            psnr = {cell.column: cell.psnr for cell in table.row(compared(specimen, suffix))}
            other = next(name for name in SPECIMENS if name != specimen)
            within[network].append(psnr[specimen])
            across[network].append(psnr[other])
            figures = [f"{psnr[name]:.2f}" for name in SPECIMENS]
            # Compared with the same network, trained on the specimen that it is tested on.
            native = {cell.column: cell.psnr for cell in table.row(compared(other, suffix))}[other]
            lines.append([specimen, network, *figures, f"{native - psnr[other]:+.2f}"])
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    rankings = [
        f"{title}, best first: "
        + ", ".join(
            f"{name} {_mean(found[name]):.2f}" for name in sorted(found, key=lambda n: -_mean(found[n]))
        )
        for title, found in (("within", within), ("across", across))
    ]
    return (
        f"{text}\n\nPSNR in dB. The last column compares with the same network trained on the other specimen; a negative "
        f"number is a gain. Mean PSNR {'; '.join(rankings)}."
    )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def unseen(table: Table) -> str:
    """Compare `general` with the strict model at the strongest noise."""
    columns = [column for column in table.columns if column.endswith(", 100")]
    psnr = {
        name: [cell.psnr for cell in table.row(name) if cell.column in columns]
        for name in ("general", "mixture")
    }
    ahead = [a - b for a, b in zip(psnr["general"], psnr["mixture"], strict=True)]
    entries = ", ".join(f"{gain:+.2f} ({column})" for gain, column in zip(ahead, columns, strict=True))
    return (
        f"`general` against `mixture` at the strongest noise, in dB: {entries}. The aim was +3 dB; it is reached in "
        f"{sum(gain >= 3 for gain in ahead)} of {len(ahead)}."
    )


def ranking(table: Table) -> str:
    """Return the methods in order of mean PSNR, best first."""
    order = sorted(table.methods, key=table.mean, reverse=True)
    return (
        "Mean PSNR in dB, best first: " + ", ".join(f"{name} {table.mean(name):.2f}" for name in order) + "."
    )


def worth(table: Table) -> str:
    """Compare each option with the same method without it."""
    entries = []
    for method in table.methods:
        plain, _, options = method.partition(" + ")
        if not options:
            continue
        gains = [a.psnr - b.psnr for a, b in zip(table.row(method), table.row(plain), strict=True)]
        entries.append(
            f"{method} {min(gains):+.2f} to {max(gains):+.2f} dB, "
            f"better in {sum(gain > 0 for gain in gains)} of {len(gains)} columns"
        )
    return f"Change in PSNR by the options: {'; '.join(entries)}."


def flux(table: Table) -> str:
    """Return the range over the columns in which each method changes the total intensity."""
    entries = []
    for method in table.methods[1:]:
        shares = [cell.flux for cell in table.row(method) if cell.flux is not None]
        entries.append(f"{method} {min(shares):.3f} to {max(shares):.3f}")
    return "Total intensity of the output relative to the input, lowest to highest column: " + "; ".join(
        [*entries[:-1], f"{entries[-1]}."]
    )


def beside_input(table: Table) -> str:
    """Return the gain of the networks of Table 3 over the image, each on its own specimen."""
    entries = []
    for network, suffix in NETWORKS.items():
        pairs = [
            (specimen, compared(specimen, suffix))
            for specimen in SPECIMENS
            if specimen + suffix in table.methods
        ]
        own = [
            next(cell.psnr for cell in table.row(method) if cell.column == specimen)
            - next(cell.psnr for cell in table.row(INPUT) if cell.column == specimen)
            for specimen, method in pairs
        ]
        if own:
            entries.append(f"{network} {', '.join(f'{gain:+.2f}' for gain in own)}")
    return f"Gain over the image in dB, on {' and '.join(SPECIMENS)}, each model on its own specimen: {'; '.join(entries)}."


def told_gains(table: Table) -> str:
    """Return the mean gains in Table 3 of Richardson-Lucy and `lucyd`, which are told the PSF."""
    mean = {
        name: sum(cell.psnr for cell in table.row(name)) / len(table.columns)
        for name in (INPUT, f"{ACCELERATED}richardson-lucy", "lucyd")
    }
    image, classical, lucyd = mean.values()
    return (
        f"Richardson-Lucy with its best number of accelerated iterations gains {classical - image:+.2f} dB over the image in the mean, "
        f"and `lucyd` {lucyd - image:+.2f} dB"
    )


def surrogate_budgets(cards: dict[str, dict[str, Any]]) -> str:
    """Return the number of patches that the networks of Table 3 have seen."""
    entries = []
    for specimen in SPECIMENS:
        seen = {
            network: sum(stage["patches"] for stage in _stages(cards[compared(specimen, suffix)]))
            for network, suffix in NETWORKS.items()
            if specimen + suffix in cards
        }
        if len(set(seen.values())) == 1:
            entries.append(f"{next(iter(seen.values())):,} of {specimen} by each network")
        else:
            entries += [f"{count:,} of {specimen} by {network}" for network, count in seen.items()]
    return "Patches seen in training: " + "; ".join(entries) + "."


def _stages(card: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the stages of a model's training, first to last."""
    stages, training = [], card["training"]
    while training:
        stages.insert(0, training)
        training = training.get("started_from", {}).get("training")
    return stages


def training_row(card: dict[str, Any]) -> str:
    """Return a model's training as a row of a table."""
    training, network, stages = card["training"], card["network"], _stages(card)
    patches = " + ".join(str(stage["patches"]) for stage in stages)
    seconds = sum(stage["seconds"] for stage in stages)
    kind = f"{network.get('type', 'lucyd').upper()} {network.get('dimension', 3)}D"
    epsilon = f"{network['epsilon']:g}" if "epsilon" in network else "–"
    return (
        f"| `{card['name']}` | {kind} | {epsilon} | {patches} | {training['seed']} | "
        f"{seconds / 60:.0f} min, {training['device']} | `{card['sha256'][:12]}…` |"
    )
