"""The command ``lucyd evaluate``: compare methods with the truth."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_lucyd.cli.shared.console import Console, fail


class TableName(StrEnum):
    """A table of results."""

    table1 = "table1"
    table2 = "table2"
    table3 = "table3"
    table3_beyond = "table3-beyond"
    open = "open"
    open2d = "open2d"
    options = "options"
    structures = "structures"
    structures2d = "structures2d"
    real = "real"
    trust = "trust"
    plant = "plant"


# The methods of each table by default.
DEFAULTS = {
    TableName.table2: "wiener,richardson-lucy,semi-blind,mixture-rln,mixture-care,mixture",
    TableName.table3: (
        "wiener,richardson-lucy,semi-blind,mixture-rln,mixture-care,mixture,general,"
        "nuclei-rln,nuclei-care,nuclei,membranes-rln,membranes-care,membranes"
    ),
    TableName.open: "wiener,richardson-lucy,semi-blind,mixture-rln,mixture-care,mixture,general",
    TableName.open2d: "wiener,richardson-lucy,semi-blind,planes",
    TableName.options: "wiener,richardson-lucy,semi-blind,mixture",
    TableName.structures: "wiener,richardson-lucy,semi-blind,lucyd,untold:lucyd",
    TableName.structures2d: "wiener,richardson-lucy,semi-blind,lucyd-planes,untold:lucyd-planes",
    TableName.real: "semi-blind,richardson-lucy,estimate,lucyd,untold:lucyd",
    TableName.trust: "wiener,richardson-lucy,semi-blind,mixture-rln,mixture-care,mixture,general,planes",
}
DEFAULTS[TableName.plant] = "lucyd"
DEFAULTS[TableName.table3_beyond] = DEFAULTS[TableName.table3]
SEEDS = "100,101,102,103,104"


def evaluate(
    table: Annotated[TableName, typer.Argument(help="The table to measure; see above.")],
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH]",
            help="real: folder of the images. Pairs end in _wf and _sim, or _image and _truth, or _low and "
            "_high; sharp stacks, which are blurred here, in _sharp. plant: the image to plant beads in.",
            show_default=False,
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…",
            help="Models by name, model files, richardson-lucy, wiener, semi-blind; untold:lucyd is lucyd "
            "without the blur. Default: the methods of the table.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        str,
        typer.Option(
            metavar="N,…", help="Seeds of the test phantoms. Seeds below 1000 are never used in training."
        ),
    ] = SEEDS,
    patches: Annotated[
        int, typer.Option(min=1, help="table2, options: number of patches of each phantom in each column.")
    ] = 8,
    blur_sigma: Annotated[
        float | None,
        typer.Option(
            min=0.3,
            metavar="SIGMA",
            help="real: standard deviation in voxels of the blur of the pairs, which is told. Default: 1.35.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="FOLDER", help="Folder for TABLE.md, .csv and .json.", show_default=False
        ),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Write the results into the cards beside .safetensors files.")
    ] = False,
) -> None:
    """Measure methods on degraded phantoms whose truth is known.

    \b
    table1  parameters, operations, seconds and memory of all methods
    table2  the paper's test: blur and noise that were not trained on
    table3  surrogates of the paper's nuclei and membranes
    table3-beyond
            the same, with specimen beyond the volume, whose haze comes in
    open    images as a user has them, over a range of blur and noise
    open2d  the same for single planes
    options the images of table2 by each method: plain, mean over flips,
            prefilter chosen from the noise, and both
    structures, structures2d
            puncta, filaments, membranes, bodies and tubules under four kinds of
            microscope, with fine and coarse voxels, good and low light
    real    gain on your own images: pairs, and sharp stacks that are blurred
    trust   empty fields, flat fields, a bead, pairs of points, linearity,
            total light, and the division, on images of its own
    plant   beads and pairs planted in the emptiest part of FILE, with its blur
            and noise: how wide, how bright and from which distance resolved
            each method restores them; FILE itself is not changed

    Prints Markdown: global SSIM (the authors', without a window) and PSNR in dB
    for each column, then the windowed SSIM. All methods get the same images;
    the classical methods get the true PSF, as do models that use the blur.

    \b
    Examples:
      lucyd evaluate table2 --methods mixture,authors/lucyd-mixture.pth
      lucyd evaluate open -o results/
      lucyd evaluate real pairs/ --methods lucyd,untold:lucyd --blur-sigma 1.4
      lucyd evaluate plant stack.tif --methods lucyd,semi-blind --blur-sigma 1.5
    """
    console = Console()
    try:
        numbers = _numbers(seeds)
        if (path is None) is (table in (TableName.real, TableName.plant)):
            raise ValueError(
                "the table real needs a folder of images, and plant an image; no other table takes a PATH."
            )
        if blur_sigma is not None and table not in (TableName.real, TableName.plant):
            raise ValueError("--blur-sigma is for the tables real and plant; leave it out.")
        if out is not None:
            _refuse_existing(out, table)
        console.say(f"Measuring the table {table}")
        if path is not None:
            if record or seeds != SEEDS:
                raise ValueError(f"{table} has its own images and no cards; leave out --seeds and --record.")
            names = (methods or DEFAULTS[table]).split(",")
            if table is TableName.plant:
                _print_planted(path, names, blur_sigma, out, console)
            else:
                _print_real(path, names, blur_sigma, out, console)
        elif table is TableName.table1:
            if methods or record:
                raise ValueError(
                    "table1 measures all methods, for no card; leave out --methods and --record."
                )
            _print_cost(out, console)
        elif table is TableName.trust:
            if record or seeds != SEEDS:
                raise ValueError(
                    "trust has its own images and is not written into cards; leave out --seeds and --record."
                )
            _print_trust((methods or DEFAULTS[table]).split(","), out, console)
        else:
            if table is TableName.options and record:
                raise ValueError("options is not written into cards; leave out --record.")
            names = (methods or DEFAULTS[table]).split(",")
            _print_table(table, names, numbers, patches, out, record, console)
    except (OSError, ValueError) as error:
        fail(error)


def _refuse_existing(folder: Path, table: TableName) -> None:
    """Refuse, before the work, a folder that holds such a table or is none."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; give a folder")
    for suffix in ("md", "csv", "json"):
        path = folder / f"{table}.{suffix}"
        if os.path.lexists(path):
            raise ValueError(f"{path} exists already; choose another folder")


def _print_planted(
    file: Path, names: list[str], blur_sigma: float | None, out: Path | None, console: Console
) -> None:
    import json

    from napari_lucyd.deconvolution import CLASSICAL_METHODS, make_method
    from napari_lucyd.io import read_image
    from napari_lucyd.models import load_model
    from napari_lucyd.models.catalogue import DEFAULT_MODEL
    from napari_lucyd.psf.gaussian import gaussian_psf
    from napari_lucyd.referee import plant_beads

    image = read_image(file)
    dimension = 3 if "Z" in image.axes and image.data.shape[image.axes.index("Z")] > 1 else 2
    entries = {}
    for name in names:
        method: Any = DEFAULT_MODEL if name == DEFAULT_MODEL else None
        if method is None and name in CLASSICAL_METHODS:
            if name != "semi-blind" and blur_sigma is None:
                raise ValueError(f"{name} needs the blur; add --blur-sigma, in voxels.")
            psf = None if blur_sigma is None else gaussian_psf((blur_sigma,) * dimension)
            method = make_method(name, psf, {})
        found = plant_beads(
            image.data,
            load_model(name) if method is None else method,
            axes=image.axes,
            voxel_size=image.voxel_size,
            blur_sigma=blur_sigma,
        )
        entries[name] = found.as_dict()
        typer.echo(f"{name}\n{found.text()}\n")
    if out is not None:
        path = out / "plant.json"
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(entries, indent=1) + "\n", "utf-8")
        console.say(f"Wrote {path}")


def _print_cost(out: Path | None, console: Console) -> None:
    from napari_lucyd.evaluation.cost import measure_cost

    with console.progress() as bar:
        task = bar.add_task("measuring", total=None)
        cost = measure_cost(progress=lambda done, total: bar.update(task, completed=done, total=total))
    typer.echo(cost.markdown())
    for path in cost.save(out) if out else []:
        console.say(f"Wrote {path}")


def _print_trust(names: list[str], out: Path | None, console: Console) -> None:
    from napari_lucyd.evaluation import load_competitor, measure_trust

    with console.progress() as bar:
        task = bar.add_task("measuring", total=None)
        trust = measure_trust(
            [load_competitor(name) for name in names],
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    typer.echo(trust.markdown())
    for failure in trust.failures:
        console.warn(failure)
    for path in trust.save(out) if out else []:
        console.say(f"Wrote {path}")


def _print_real(
    folder: Path, names: list[str], blur_sigma: float | None, out: Path | None, console: Console
) -> None:
    from napari_lucyd.evaluation import PAIR_SIGMA, measure_real

    with console.progress() as bar:
        task = bar.add_task("measuring", total=None)
        real = measure_real(
            folder,
            names,
            blur_sigma=PAIR_SIGMA if blur_sigma is None else blur_sigma,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    typer.echo(real.markdown())
    for path in real.save(out) if out else []:
        console.say(f"Wrote {path}")


def _print_table(
    table: TableName,
    names: list[str],
    seeds: list[int],
    patches: int,
    out: Path | None,
    record: bool,
    console: Console,
) -> None:
    from napari_lucyd.evaluation import (
        BEYOND,
        Protocol,
        evaluate,
        load_competitor,
        open_protocol,
        options_protocol,
        strict_protocol,
        structures_protocol,
        surrogate_protocol,
        with_options,
    )

    protocols: dict[TableName, Callable[[], Protocol]] = {
        TableName.table2: partial(strict_protocol, patches),
        TableName.table3: surrogate_protocol,
        TableName.table3_beyond: partial(surrogate_protocol, BEYOND),
        TableName.open: open_protocol,
        TableName.open2d: partial(open_protocol, 2),
        TableName.options: partial(options_protocol, patches),
        TableName.structures: structures_protocol,
        TableName.structures2d: partial(structures_protocol, 2),
    }
    competitors = [load_competitor(name) for name in names]
    for name in names if record else []:
        card = Path(name).with_suffix(".json")
        if Path(name).suffix == ".safetensors" and not card.is_file():
            raise ValueError(f"{name} has no card {card.name} to write into; leave out --record.")
    if table is TableName.options:
        competitors = [variant for entry in competitors for variant in with_options(entry)]
    with console.progress() as bar:
        task = bar.add_task("evaluating", total=None)
        figures = evaluate(
            protocols[table](),
            competitors,
            seeds=seeds,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for name, entry in zip(names, competitors, strict=True) if record else []:
        if Path(name).suffix == ".safetensors":
            figures.record(Path(name).with_suffix(".json"), entry.name)
    typer.echo(figures.markdown())
    for path in figures.save(out) if out else []:
        console.say(f"Wrote {path}")


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"--seeds is {text!r}; enter whole numbers with commas, like 100,101.") from error
