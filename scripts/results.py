"""Measure the tables of docs/results.md and docs/trust.md, and write the pages, their files and the models' cards.

    python scripts/results.py [--checkpoint lucyd-mixture.pth] [--data FOLDER] [--only METHOD …] [TABLE …]

TABLE is table1, table2, table3, open, open2d, structures, structures2d, options, options-networks, real, trust or
page. Without any, all tables are measured, one on each core. *page* measures nothing: it writes both pages from the tables in docs/results/.
Tables that are not measured are read from there. *trust* alone measures the trust suite, draws its pictures
(this needs matplotlib) and writes docs/trust.md; it takes some minutes and needs no other table.

With --only, the rows of these methods are measured and all others taken from docs/results/, if the images are
still the same.

CHECKPOINT is a 3D file published by LUCYD's authors. It gets a row in Table 2, on the same patches.
FOLDER holds real images, as for `lucyd evaluate real`, or has a folder `real` that does. Without it, the table of
real images stays as it is.
scripts/figures.py draws the figures.
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
    lead,
    paper_row,
    ranking,
    surrogate_budgets,
    told_gains,
    training_row,
    unseen,
    worth,
)
from results_told import gains_by_column, real_follow, structures_follow

from napari_lucyd.evaluation import (
    BEYOND,
    Protocol,
    RealTable,
    evaluate,
    load_competitor,
    measure_real,
    open_protocol,
    options_protocol,
    strict_protocol,
    structures_protocol,
    surrogate_protocol,
    with_options,
)
from napari_lucyd.evaluation.cost import CostTable, measure_cost
from napari_lucyd.evaluation.tables import Table
from napari_lucyd.models.catalogue import shipped_models

ROOT = Path(__file__).parents[1]
CARDS = ROOT / "src" / "napari_lucyd" / "models"
PAGE = ROOT / "docs" / "results.md"
FILES = ROOT / "docs" / "results"
# Models that only compare networks, so are not shipped.
UNSHIPPED = ROOT / "configs" / "equal"
CLASSICAL = ("wiener", "richardson-lucy", "semi-blind")
# With a whole widefield PSF, or without noise in a volume, plain iterations would take hours.
CLASSICAL_ACCELERATED = ("wiener", "accelerated:richardson-lucy", "semi-blind")


@dataclass(frozen=True)
class Entry:
    """A table of the page: its images, its methods, and the models whose cards it is written to."""

    protocol: Callable[[], Protocol]
    methods: tuple[str, ...]
    cards: tuple[str, ...] = ()
    classical: tuple[str, ...] = CLASSICAL


TABLES = {
    "table2": Entry(strict_protocol, (*STRICT, EQUAL), STRICT),
    "table3": Entry(
        partial(surrogate_protocol, BEYOND),
        (*STRICT, "general", "lucyd", *SURROGATES, EQUAL_NUCLEI, EQUAL_MEMBRANES),
        SURROGATES,
        CLASSICAL_ACCELERATED,
    ),
    "open": Entry(open_protocol, ("mixture", "general"), ("general",), CLASSICAL_ACCELERATED),
    "open2d": Entry(partial(open_protocol, 2), ("planes",), ("planes",)),
    "structures": Entry(structures_protocol, ("lucyd", "untold:lucyd"), (), CLASSICAL_ACCELERATED),
    "structures2d": Entry(
        partial(structures_protocol, 2),
        ("lucyd-planes", "untold:lucyd-planes"),
        (),
        CLASSICAL_ACCELERATED,
    ),
}
# Their sections are left out where they were not measured.
STRUCTURES = ("structures", "structures2d")
REAL = "real"
REAL_METHODS = ("semi-blind", "richardson-lucy", "estimate", "lucyd", "untold:lucyd")


# The options take 18 times as long as a plain run. Few patches suffice, since all rows share them.
OPTIONS_PATCHES = 2
OPTIONS_METHODS = (*CLASSICAL, "mixture")
# Slow networks get even fewer, with the weakest and strongest noise alone: CARE takes half an hour on one core.
OPTIONS_NETWORKS = "options-networks"
OPTIONS_COLUMNS = ("0.5, 20", "0.5, 100", "2, 20", "2, 100")
ALL = ("table1", *TABLES, "options", OPTIONS_NETWORKS, "trust")
# The slowest tables start first, so that no core is still busy with one at the end.
LONGEST = (OPTIONS_NETWORKS, "options", "table2", "table3", "structures")


def find(method: str) -> str:
    """Return a method's name, or the path of a model that is not shipped."""
    path = UNSHIPPED / f"{method}.safetensors"
    return str(path) if path.exists() else method


def measure(name: str, checkpoint: str | None, only: tuple[str, ...] = (), data: Path | None = None) -> None:
    """Measure one table, or some rows of it, and write its files and the cards."""
    if name == REAL:
        assert data is not None
        measure_real(data / "real" if (data / "real").is_dir() else data, REAL_METHODS).save(FILES)
        return
    if name == "table1":
        measure_cost().save(FILES)
        return
    if name == "trust":
        trust.measure(only)
        return
    if name in ("options", OPTIONS_NETWORKS):
        methods, protocol = OPTIONS_METHODS, options_protocol(OPTIONS_PATCHES)
        if name == OPTIONS_NETWORKS:
            methods, protocol = STRICT, options_protocol(1).restricted(name, OPTIONS_COLUMNS)
        variants = [variant for method in methods for variant in with_options(load_competitor(method))]
        names = tuple(variant.name for variant in variants)
        measured = [variant for variant in variants if variant.name.split(" + ")[0] in (only or methods)]
        table = evaluate(protocol, measured)
        if only:
            table = with_rows_of(Table.load(FILES / f"{name}.json"), table, names)
        table.save(FILES)
        return
    entry = TABLES[name]
    rivals = (checkpoint,) if checkpoint and name == "table2" else ()
    methods = (*entry.classical, *entry.methods, *rivals)
    competitors = [load_competitor(find(method)) for method in methods if method in (only or methods)]
    table = replace(evaluate(entry.protocol(), competitors), name=name)
    if only:
        table = with_rows_of(Table.load(FILES / f"{name}.json"), table, methods)
    table.save(FILES)
    for model in entry.cards if not only else ():
        table.record(CARDS / f"{model}.json", model)


def with_rows_of(old: Table, new: Table, order: tuple[str, ...]) -> Table:
    """Return a table with its own rows, and those that it lacks from an older measurement of the same images."""
    same = (old.title, old.columns, old.seeds) == (new.title, new.columns, new.seeds)
    mine, theirs = ([cell.psnr for cell in table.row("input")] for table in (new, old))
    if not same or any(abs(a - b) > 1e-3 for a, b in zip(mine, theirs, strict=True)):
        raise SystemExit(f"{new.name} has other images now; measure it without --only.")
    names = [name for name in ("input", *order) if name in {*old.methods, *new.methods}]
    rows = [new.row(name) or old.row(name) for name in names]
    return replace(new, cells=[cell for row in rows for cell in row])


def bead() -> str:
    """Return the widths of the bead that scripts/figures.py measured, or say that there are none."""
    path = FILES / "bead.md"
    if not path.exists():
        return "(The widths of the bead were not measured: `make results` needs `DATA`, the folder of the real stacks.)"
    return path.read_text("utf-8").strip()


def structures_section() -> str:
    """Return the section on structures, or nothing if they were not measured."""
    paths = [FILES / f"{name}.json" for name in STRUCTURES]
    if not all(path.exists() for path in paths):
        return ""
    volumes, planes = map(Table.load, paths)
    return f"""## Structures: told the blur, and not told

{len(volumes.seeds)} specimens of 32×64×64 voxels: puncta, filaments, membranes, bodies and tubules, one of each, in fields that hold some of it, imaged by four kinds of microscope. No model was trained with this objective and wavelength. *Fine* and *coarse* voxels are 0.18 and 0.36 optical units large; *good light* and *low light* are 2,000 and 100 photons in bright parts. Light from beyond the volume comes in. All methods but semi-blind and `untold:lucyd` receive the true PSF. Wiener and Richardson-Lucy also receive the setting that is best for each column on five other specimens, one of each class. The table has the PSNR of the image in dB and the gain of each method over it; [`results/structures.md`](results/structures.md) has both kinds of SSIM.

{gains_by_column(volumes)}

The table shows:

{structures_follow(volumes, "lucyd")}

The plane with most structure of each volume, with its out-of-focus light. The methods are told the plane in focus of the PSF. A plane does not show how much of its light is out of focus, so PSNR is measured after the best scale and offset ([`results/structures2d.md`](results/structures2d.md)):

{gains_by_column(planes)}

The table shows:

{structures_follow(planes, "lucyd-planes")}

"""


def real_section() -> str:
    """Return the section on real images, or nothing if they were not measured."""
    path = FILES / f"{REAL}.json"
    if not path.exists():
        return ""
    table = RealTable.load(path)
    return f"""## Real images

Gain over the image in dB, after the best affine map of intensities. The pairs are widefield images and SIM images of the same cells from BioSR (Qiao et al., Nature Methods 2021); the methods are told a Gaussian blur of σ 1.35 pixels. The sharp stack is the nuclei of scikit-image's `cells3d`, blurred and made noisy here. `lucyd` is `lucyd-planes` on planes. *estimate* is its first estimate, without the network. Richardson-Lucy has the number of accelerated iterations that is best for each image, which a user does not know. `lucyd evaluate real FOLDER` measures the same on other images, and `make results DATA=FOLDER` renews this section.

{table.markdown()}

The tables show:

{real_follow(table)}

"""


def page() -> str:
    """Return docs/results.md from the tables in docs/results/."""
    tables = {name: Table.load(FILES / f"{name}.json") for name in TABLES if name not in STRUCTURES}
    table2, table3, volumes, planes = tables.values()
    options, networks = (Table.load(FILES / f"{name}.json") for name in ("options", OPTIONS_NETWORKS))
    cards = {card["name"]: card for card in shipped_models()}
    unshipped = (json.loads(path.read_text("utf-8")) for path in sorted(UNSHIPPED.glob("*.json")))
    cards |= {card["name"]: card for card in unshipped}
    environment = ", ".join(f"{name} {value}" for name, value in table2.environment.items())
    patches = table2.cells[0].images
    cost = CostTable.load(FILES / "table1.json")
    return f"""# Results

How close does each method come to the truth? This page answers with simulated images, because only there is the truth known. It also shows what the methods make of real stacks. A separate page, [trust](trust.md), shows what they do to empty fields, single beads and pairs of points.

How to read the tables:

- Each entry is `ssim_global` / PSNR in dB; higher is better for both. [Metrics](method.md#metrics) explains them.
- Each column is one degradation: the blur σ_b in voxels, then the noise σ_n in 255ths of the range, as in the paper. Noise of 20, 50, 70 and 100 is 8 %, 20 %, 27 % and 39 % of the range.
- *input* is the degraded image itself. A method that scores below it makes the image worse.
- Richardson-Lucy and Wiener receive the *true* PSF. For each column, they use the number of iterations or the balance that works best on another phantom. This is their best case.
- The test phantoms have the seeds {table2.seeds[0]} to {table2.seeds[-1]}. No model was trained on them.

`make results` makes this page. It ran with {environment}. Each table is also in `docs/results/` as CSV and JSON, with standard deviations, the environment and the SHA-256 of each model. `lucyd evaluate` measures a single table.

## Table 1: size and cost

{cost.markdown()}

Measured with plain PyTorch on {cost.threads} CPU threads, to compare the networks. The memory is the largest increase of the process. `lucyd deconvolve` is faster and runs in tiles, so it takes less memory.

## Table 2: blur and noise that the strict models have not seen

The strict models, named `mixture`, were trained as in the paper: with σ_b 1.0, 1.2 and 1.5, and with σ_n 0, 15 and 30. This table tests them on other degradations, with {len(table2.seeds)} phantoms and {patches} patches of 32×64×64 voxels in each column. The networks receive the patches without normalization. The last row is copied from the paper, which used other patches.{" `lucyd-mixture` is the file of that name that the authors of the paper published." if "lucyd-mixture" in table2.methods else ""}

{table2.markdown().replace(chr(10) * 2, chr(10) + paper_row() + chr(10) * 2, 1)}

{ranking(table2)}

{budgets(cards)}

{gains(table2)}

The table shows:

- **Wiener** is hard to beat here. It knows the PSF, and its balance is chosen for the noise of each column. A network knows neither. In the paper, no method received as much. Networks are for images with an unknown PSF.
- **RLN** has fewer parameters than LUCYD. Trained on as many patches, LUCYD is ahead of it, as in the paper (`{EQUAL}`: {lead(table2, EQUAL, "mixture-rln")}).
- **CARE**, also with as many patches and with LUCYD's loss, has forty times the parameters and needs nineteen times the operations per voxel (Table 1). `{EQUAL}` relative to it: {lead(table2, EQUAL, "mixture-care")}. In the paper, LUCYD is ahead of CARE too. The way CARE was trained there may explain it: with its own loss, batches of 8 and 2,400 patches, it reached a mean of only 22.50 dB here.
- `{EQUAL}` makes a cube of two voxels, ten times as bright as anything in its training, dozens of times as bright. `mixture` is trained further with gains up to 20, and keeps it as it is ([decision 0002](decisions/0002-training.md)).
- `mixture` was never chosen with the test phantoms. Its training favours strong noise: three in five of its patches have the strongest noise of the paper.

## The open track: as a user runs it

{len(volumes.seeds)} phantoms of 48×96×96 voxels. Truth and image keep the same units, and every method runs with its defaults. Richardson-Lucy is accelerated in 3D: without noise, plain iterations would take thousands. `general` was trained on this range of blur and noise; `mixture` was not. So this table does not answer the question of Table 2.

The table shows:

- If you know the PSF, try a classical method first. With the true PSF, Wiener is better than `general` in every column, and Richardson-Lucy wherever the blur is 1.2 voxels or wider.
- `general` is for images whose PSF is unknown.
- Without noise, `general` makes an image worse unless the blur is wide.

{volumes.markdown()}

{ranking(volumes)}

{unseen(volumes)} `mixture` is a strong opponent: its norms are held (see [decision 14](decisions/0014-a-living-network.md)), most of its patches have the strongest noise of its training, and its gains reach far. Where there is blur and little noise it is better than `general`, which has no living correction mask. The more blur lies under the noise, the less any model can restore.

{flux(volumes)}

The 2D model on the middle plane of the same volumes:

{planes.markdown()}

{ranking(planes)}

{flux(planes)}

## Table 3: surrogates of nuclei and membranes

{len(table3.seeds)} phantoms of 48×96×96 voxels, imaged as [surrogates](method.md#training-data) of the paper's two kinds of specimen. The specimen extends {BEYOND} voxels beyond the volume, and its haze comes in. The paper's own images are not published, so its figures cannot be compared with these.

{table3.markdown()}

Each network tested on the specimen that it was trained on (within) and on the other one (across):

{domains(table3)}

{ranking(table3)}

{surrogate_budgets(cards)} In these comparisons LUCYD is `{EQUAL_NUCLEI}` and `{EQUAL_MEMBRANES}`, which have seen as many patches as the others.

{beside_input(table3)}

The table shows:

- A method must know the optics. The haze of these surrogates reaches much farther than a blur of a few voxels. Networks that were not trained for it hardly improve the image, and neither does semi-blind Richardson-Lucy, which assumes a Gaussian blur. Told the true PSF, {told_gains(table3)}.
- Among the networks that were trained for these optics, CARE comes first, within and across specimens, with forty times the parameters of LUCYD. RLN comes last.
- CARE was trained with LUCYD's loss here. Its own loss, the mean absolute error, gives little weight to a few bright voxels in a dark image: CARE then learns to remove haze and little else. With 480 patches of nuclei, its own loss reached 22.9 dB on validation and LUCYD's loss 26.0 dB.

{flux(table3)}

One test phantom as nuclei, with the same contrast limits in all pictures:

![Projections and profiles of a surrogate](images/figure4-surrogate.png)

{structures_section()}{real_section()}## Options that may help against noise

The images of Table 2, {options.cells[0].images} patches in each column, restored by `deconvolve` with its defaults. It extends the patches by reflection. Each method runs alone, with the mean over flips (`flips`), with a prefilter chosen from the estimated noise (`prefilter="auto"`), and with both. Flips do not change the result of the classical methods.

{options.markdown()}

{ranking(options)}

{worth(options)}

The trained methods together, with {networks.cells[0].images} patches in each column, because CARE takes long:

{networks.markdown()}

{ranking(networks)}

{worth(networks)}

An option is on by default only if it helps in every column and is worth its time. The prefilter does not help everywhere: with wide blur and weak noise it removes detail that the networks need. CARE, which handles noise best, loses most. Flips help a little everywhere. They are off because they take eight times as long and give no correction mask and no update term.

## What the network adds and multiplies

Input, correction mask, update term and output of `general` (Figure 3 of the paper). The stacks are a phantom (σ_b 1.2, σ_n 15) and two real ones: a nucleus stained with DAPI and a fluorescent bead. The mask removes light around the objects. The update term, centred on 1, multiplies the light back into a narrower area.

![Four layers of three stacks](images/figure3.png)

## All methods side by side

Maximum projections along Z and along Y, and a profile (Figure 4 of the paper). The phantom has σ_b 1.2 and σ_n 15, a degradation that the strict models were trained on. All pictures have the same contrast limits:

![Projections and profiles of a phantom](images/figure4-phantom.png)

Four sparse phantoms as the channels of one image. Each channel is restored separately:

![Four channels](images/figure4-colours.png)

The nucleus, with separate contrast limits for each picture. Its PSF is unknown, so the classical methods are missing:

![Projections and profiles of a nucleus](images/figure4-nucleus.png)

The bead, with separate contrast limits for each picture. The classical methods use its measured PSF:

![Projections and profiles of a bead](images/figure4-bead.png)

{bead()}

The bead is about nine voxels wide, so there is little to sharpen in the plane. Along Z, where the light spreads, a method that knows the PSF removes much more of the spread than a network that does not.

## How the models were trained

| model | network | ε | patches | seed | time | SHA-256 |
|---|---|---|---|---|---|---|
{chr(10).join(training_row(card) for card in cards.values())}

PSNR on validation patches during training (`configs/*.log.csv`). The number at the end of each curve is the number of patches seen, in both stages together:

![PSNR on validation patches over patches seen](images/training.png)

The learning rate falls to zero over the last fifth of the patches. In that time each run gained, in dB: {curves.gains()}.

All other settings are on the cards (`lucyd models --json`) and in `configs/`. [Decision 0002](decisions/0002-training.md) gives the reasons.
"""


def main(names: list[str], checkpoint: str | None, only: tuple[str, ...], data: Path | None) -> None:
    """Measure the tables and write the pages."""
    wanted = [name for name in names or (*ALL, *([REAL] if data else [])) if name != "page"]
    if "table1" in wanted:  # alone, because it measures time
        wanted.remove("table1")
        measure("table1", checkpoint)
        print("table1", flush=True)
    wanted.sort(key=lambda name: LONGEST.index(name) if name in LONGEST else len(LONGEST))
    cores = os.cpu_count() or 1
    threads = max(1, cores // max(1, len(wanted)))
    # Spawned, because torch's thread settings do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, context, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
        made = {pool.submit(measure, name, checkpoint, only, data): name for name in wanted}
        for future in as_completed(made):
            future.result()
            print(made[future], flush=True)
    if not names or {"trust", "page"} & set(names):
        trust.write()
    # The results page needs tables that take most of an hour, but not the trust suite.
    missing = [
        name for name in ALL if name not in ("trust", *STRUCTURES) and not (FILES / f"{name}.json").exists()
    ]
    if missing:
        print(f"{PAGE.name} was not written: measure {', '.join(missing)} first.")
    elif names != ["trust"]:
        PAGE.write_text(page(), "utf-8")
        print(PAGE.name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", choices=[*ALL, REAL, "page", []], metavar="TABLE")
    parser.add_argument("--checkpoint", help="a published 3D checkpoint to compare with")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="a folder of real images")
    parser.add_argument(
        "--only", action="append", default=[], metavar="METHOD", help="measure these rows alone"
    )
    options = parser.parse_args()
    if options.only and (not options.tables or {"table1", REAL} & {*options.tables}):
        parser.error("--only needs the names of tables other than table1 and real")
    if REAL in options.tables and not options.data:
        parser.error("the table real needs --data FOLDER")
    main(options.tables, options.checkpoint, tuple(options.only), options.data)
