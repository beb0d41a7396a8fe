"""Measure the tables of docs/results.md and docs/trust.md anew, and write the pages, their files and the figures on the cards.

    python scripts/results.py [--checkpoint lucyd-mixture.pth] [TABLE …]

CHECKPOINT is one of the files that LUCYD's authors published (3D); with it, Table 2 has a row for it, on the
same patches. TABLE is table1, table2, table3, open, open2d, options, options-networks, trust, or page, for none; without
any all are measured, one on each core. Tables that are not measured are read from docs/results/. The figures are scripts/figures.py's.

    python scripts/results.py trust

alone measures the trust suite, draws its pictures (which needs matplotlib) and writes docs/trust.md: some minutes, and no other table is needed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import curves
import torch
import trust
from results_text import (
    EQUAL,
    EQUAL_MEMBRANES,
    EQUAL_NUCLEI,
    STRICT,
    SURROGATES,
    beside_input,
    budgets,
    domains,
    flux,
    gains,
    paper_row,
    ranking,
    surrogate_budgets,
    training_row,
    unseen,
    worth,
)

import napari_lucyd as nl
from napari_lucyd.evaluation import (
    Protocol,
    evaluate,
    load_competitor,
    open_protocol,
    options_protocol,
    strict_protocol,
    surrogate_protocol,
    with_options,
)
from napari_lucyd.evaluation.cost import measure_cost
from napari_lucyd.evaluation.tables import Table

ROOT = Path(__file__).parents[1]
CARDS = ROOT / "src" / "napari_lucyd" / "models"
PAGE = ROOT / "docs" / "results.md"
FILES = ROOT / "docs" / "results"
# Models that only compare networks, so are not shipped.
UNSHIPPED = ROOT / "configs" / "equal"
CLASSICAL = ("wiener", "richardson-lucy")


@dataclass(frozen=True)
class Entry:
    """A table of the page: how its images are made, its methods, and whose cards it goes on."""

    protocol: Callable[[], Protocol]
    methods: tuple[str, ...]
    cards: tuple[str, ...] = ()


TABLES = {
    "table2": Entry(strict_protocol, (*STRICT, EQUAL), STRICT),
    "table3": Entry(
        surrogate_protocol, (*STRICT, "general", *SURROGATES, EQUAL_NUCLEI, EQUAL_MEMBRANES), SURROGATES
    ),
    "open": Entry(open_protocol, ("mixture", "general"), ("general",)),
    "open2d": Entry(partial(open_protocol, 2), ("planes",), ("planes",)),
}


# The options multiply the time of a network by 18; fewer patches tell the differences, for all rows have the same.
OPTIONS_PATCHES = 2
OPTIONS_METHODS = (*CLASSICAL, "mixture")
# And fewer still, weakest and strongest noise alone, for networks that take long: CARE half an hour on a core.
OPTIONS_NETWORKS = "options-networks"
OPTIONS_COLUMNS = ("0.5, 20", "0.5, 100", "2, 20", "2, 100")
ALL = ("table1", *TABLES, "options", OPTIONS_NETWORKS, "trust")
# Those that take longest, so that no core is left with one of them at the end.
LONGEST = (OPTIONS_NETWORKS, "options", "table2", "table3")


def find(method: str) -> str:
    """Return a method's name, or the path of a model that is not shipped."""
    path = UNSHIPPED / f"{method}.safetensors"
    return str(path) if path.exists() else method


def measure(name: str, checkpoint: str | None) -> None:
    """Measure one table, and write its files and the cards."""
    if name == "table1":
        measure_cost().save(FILES)
        return
    if name == "trust":
        trust.measure()
        return
    if name in ("options", OPTIONS_NETWORKS):
        methods, protocol = OPTIONS_METHODS, options_protocol(OPTIONS_PATCHES)
        if name == OPTIONS_NETWORKS:
            methods, protocol = STRICT, options_protocol(1).restricted(name, OPTIONS_COLUMNS)
        variants = [variant for method in methods for variant in with_options(load_competitor(method))]
        evaluate(protocol, variants).save(FILES)
        return
    entry = TABLES[name]
    rivals = (checkpoint,) if checkpoint and name == "table2" else ()
    competitors = [load_competitor(find(method)) for method in (*CLASSICAL, *entry.methods, *rivals)]
    table = replace(evaluate(entry.protocol(), competitors), name=name)
    table.save(FILES)
    for model in entry.cards:
        table.record(CARDS / f"{model}.json", model)


def bead() -> str:
    """Return the bead's widths, from scripts/figures.py; it needs real stacks, which may not be at hand."""
    path = FILES / "bead.md"
    if not path.exists():
        return (
            "(Its widths were not measured: `make results` was given no `DATA`, the folder of real stacks.)"
        )
    return path.read_text("utf-8").strip()


def page() -> str:
    """Return docs/results.md from the tables in docs/results/."""
    tables = {name: Table.load(FILES / f"{name}.json") for name in TABLES}
    table2, table3, volumes, planes = tables.values()
    options, networks = (Table.load(FILES / f"{name}.json") for name in ("options", OPTIONS_NETWORKS))
    cards = {card["name"]: card for card in nl.list_models()}
    unshipped = (json.loads(path.read_text("utf-8")) for path in sorted(UNSHIPPED.glob("*.json")))
    cards |= {card["name"]: card for card in unshipped}
    environment = ", ".join(f"{name} {value}" for name, value in table2.environment.items())
    patches = table2.cells[0].images
    threads = json.loads((FILES / "table1.json").read_text("utf-8"))["threads"]
    return f"""# Results

Made by `make results`, with {environment}. Each table is also in `docs/results/` as CSV and JSON, with standard deviations, the environment
and the models' hashes, and can be had alone with `lucyd evaluate`. Entries are `ssim_global` / PSNR in dB, explained under [metrics](method.md#metrics);
columns are blur σ_b in voxels, noise σ_n in 1/255 of the range. *input* is the degraded image itself. Test phantoms have the seeds {table2.seeds[0]}
to {table2.seeds[-1]}, which no training uses. Richardson-Lucy and Wiener get the *true* PSF, and for each column the number of iterations
or the balance that is best on a phantom which is not tested on: their best case. What the methods do to empty fields, single beads and pairs of points is another page, [trust](trust.md).

## Table 1: size and cost

{(FILES / "table1.md").read_text("utf-8").strip()}

Plain PyTorch on {threads} CPU threads, for the sake of comparison; memory is the highest rise of the process. `lucyd deconvolve` runs in tiles and takes less.

## Table 2: blur and noise that the strict models have not seen

{len(table2.seeds)} phantoms; {patches} patches of 32×64×64 in every column, given to the networks as they are. Training knew σ_b 1.0, 1.2, 1.5 and σ_n 0, 15, 30 only. The last row is
copied from the paper, whose patches were others.{" `lucyd-mixture` is the file of that name that the paper's authors published." if "lucyd-mixture" in table2.methods else ""}

{table2.markdown().replace(chr(10) * 2, chr(10) + paper_row() + chr(10) * 2, 1)}

{ranking(table2)} {budgets(cards)} {gains(table2)}

How to read it. A Wiener filter that is told the PSF and whose balance is chosen for the very noise of a column is hard to beat by a network that knows neither; in the paper, no method was
given as much. What the networks are for is the case where nobody knows. CARE, trained as long and with the same loss, is ahead of LUCYD in every column: it has forty times the parameters, and nineteen times the operations a voxel (Table 1). RLN, with fewer parameters than LUCYD, comes out level with `mixture`, which has seen twice as much, and ahead of LUCYD trained equally long. That the paper
has LUCYD ahead of both on such images, its trainings of them may explain: with its own loss, batches of 8 and 2,400 patches, CARE stood at 22.50 dB on the mean here before.
The recipe of `mixture` was chosen on two other phantoms that had been degraded as these columns are (see its card), never on the test phantoms.
Where noise is weak and blur as well (0.5, 20) there is least to gain from what `mixture` was taught, which is to bear noise: three in five of its patches have the strongest of the paper's levels, and that is paid for here. The gap to the authors' weights
grows with the noise; at σ_n 20, where their weights are within a decibel of ours, the mean loses what +2 dB would need. Batches of 2 do not suit LUCYD on this protocol: on noise that it has not seen, `{EQUAL}` is no better than a trial of 2,400 patches was (22.57 dB on the mean), though its validation is.

## The open track: as a user runs it

{len(volumes.seeds)} phantoms of 48×96×96, degraded photometrically (one scale for truth and image), deconvolved with the defaults. `general` was
trained on this range of blur and noise and `mixture` was not, so the figures are no answer to the question of Table 2. As there, the classical methods are told the PSF and given their best number: who knows the PSF should try them first. Wiener so told is ahead in every column,
Richardson-Lucy where there is little noise; `general` is for those who do not know the PSF. Without noise it takes away from an image more than it gives, unless blur is wide.

{volumes.markdown()}

{ranking(volumes)} {unseen(volumes)} `mixture` is no weak opponent: taught mostly with the strongest of its noise, it bears three times that better than the paper's recipe does; and the more blur lies under the noise, the less is left
for any model to tell.

{flux(volumes)}

The 2D model on the middle plane of the same volumes:

{planes.markdown()}

{ranking(planes)}

{flux(planes)}

## Table 3: surrogates of nuclei and membranes

{len(table3.seeds)} phantoms of 48×96×96 as [surrogates](method.md#training-data) of the paper's two kinds of specimen: its own images are not published, so its figures cannot be set beside these.

{table3.markdown()}

{domains(table3)}

{ranking(table3)} What was not trained on the optics of the surrogates, whose haze is far wider than a blur of some voxels, hardly betters the input; the classical methods are told the PSF.
{surrogate_budgets(cards)} In these comparisons LUCYD is `{EQUAL_NUCLEI}` and `{EQUAL_MEMBRANES}`, which have seen as much as the others. {beside_input(table3)} CARE has LUCYD's loss here, for with its own, the mean absolute error, few bright voxels in the dark hardly count, and it learns to take haze away and no more: 480 patches of nuclei brought 22.9 dB on validation with the one, 26.0 with the other.
It comes first, in and across domain, with forty times LUCYD's parameters; RLN comes last.

{flux(table3)}

One of the test's phantoms as nuclei, all on one scale:

![Projections and profiles of a surrogate](images/figure4-surrogate.png)

## Options that may help against noise

The images of Table 2, {options.cells[0].images} patches in every column, run by `deconvolve` with its defaults, so extended by reflection beyond the patch: *plain*, with the mean over mirror images (`flips`), with a prefilter chosen from the
estimated noise (`prefilter="auto"`), and with both. Flips make no difference to the classical methods.

{options.markdown()}

{ranking(options)} {worth(options)}

The trained methods side by side, {networks.cells[0].images} patches in a column, since CARE takes long:

{networks.markdown()}

{ranking(networks)} {worth(networks)}

An option is on by default only if it gains everywhere, and is worth its price. The prefilter does not: where blur is wide and noise weak, it takes away what the networks need, and from CARE, which bears noise best, most. Flips gain a little everywhere; they stay off because they take eight times as long and leave
no correction mask and no update term to look at.

## What the network adds and multiplies

Input, correction mask, update term and output (Figure 3 of the paper) of `general`: a phantom (σ_b 1.2, σ_n 15), and two real stacks, a nucleus stained with DAPI and a fluorescent bead. The mask takes away where
there is light, and the update term, centred on 1, multiplies it back more narrowly.

![Four layers of three stacks](images/figure3.png)

## All methods side by side

Largest values along Z and along Y, and a profile (Figure 4 of the paper), of a phantom with the degradation σ_b 1.2, σ_n 15 that the strict models were trained on, all on one scale:

![Projections and profiles of a phantom](images/figure4-phantom.png)

Four sparse phantoms as the channels of one image, each channel restored by itself:

![Four channels](images/figure4-colours.png)

The nucleus, each picture on its own scale. Its PSF is not known, so the classical methods are left out:

![Projections and profiles of a nucleus](images/figure4-nucleus.png)

The bead, with its measured PSF for the classical methods, each picture on its own scale:

![Projections and profiles of a bead](images/figure4-bead.png)

{bead()}

The bead is some nine voxels wide, so laterally there is little to be gained. Along Z, where the light spreads, a method that is told the PSF takes far more of the spread away than a network that has to guess it.

## How the models were trained

| model | network | ε | patches | seed | time | SHA-256 |
|---|---|---|---|---|---|---|
{chr(10).join(training_row(card) for card in cards.values())}

How validation went (`configs/*.log.csv`; at the end of a curve, the patches seen):

![PSNR on validation patches over patches seen](images/training.png)

What the last fifth of its patches gained each run, in dB, as the rate falls to nothing: {curves.gains()}.

Everything else that was set is on the cards (`lucyd models --json`) and in `configs/`, why in [decision 0002](decisions/0002-training.md).
"""


def main(names: list[str], checkpoint: str | None) -> None:
    """Measure, and write the pages."""
    wanted = [name for name in names or ALL if name != "page"]
    if "table1" in wanted:  # alone, for it measures time
        wanted.remove("table1")
        measure("table1", checkpoint)
        print("table1", flush=True)
    wanted.sort(key=lambda name: LONGEST.index(name) if name in LONGEST else len(LONGEST))
    cores = os.cpu_count() or 1
    threads = max(1, cores // max(1, len(wanted)))
    # Processes begun anew: what torch had set up for its threads would not outlive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, context, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
        made = {pool.submit(measure, name, checkpoint): name for name in wanted}
        for future in as_completed(made):
            future.result()
            print(made[future], flush=True)
    if not names or {"trust", "page"} & set(names):
        trust.write()
    # The other page needs tables that take most of an hour, and of the trust suite no number.
    missing = [name for name in ALL if name != "trust" and not (FILES / f"{name}.json").exists()]
    if missing:
        print(f"{PAGE.name} is left as it is: it wants {', '.join(missing)} as well.")
    elif names != ["trust"]:
        PAGE.write_text(page(), "utf-8")
        print(PAGE.name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", choices=[*ALL, "page", []], metavar="TABLE")
    parser.add_argument("--checkpoint", help="a published 3D checkpoint to compare with")
    options = parser.parse_args()
    main(options.tables, options.checkpoint)
