"""``lucyd evaluate``: models against the truth."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from napari_lucyd.cli._console import Talk, fail


class Track(StrEnum):
    """Which protocol the models are measured by."""

    strict = "strict"
    open = "open"


def evaluate(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL…", help="Shipped names or files, of one dimension.")
    ],
    track: Annotated[
        Track, typer.Option(help="strict: the paper's Table 2. open: photometric, as a user runs it.")
    ] = Track.strict,
    phantoms: Annotated[int, typer.Option(min=1, help="Fixed test phantoms, never trained on.")] = 4,
    patches: Annotated[int, typer.Option(min=1, help="Strict: patches of each phantom in each cell.")] = 8,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="FOLDER", help="Takes TRACK.md, .csv and .json.", show_default=False
        ),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Write the figures into the cards beside .safetensors files.")
    ] = False,
) -> None:
    """Measure models on degraded phantoms whose truth is known.

    Prints a table in Markdown: global SSIM (the authors', without a window) and
    PSNR in dB for each blur (sigma in voxels) and noise (sigma in 1/255 of the
    range). All models see the same images.

    \b
    Examples:
      lucyd evaluate mixture authors/lucyd-mixture.pth
      lucyd evaluate general --track open -o results/
    """
    from napari_lucyd.evaluation import evaluate as measure
    from napari_lucyd.models import load_model

    talk = Talk()
    try:
        loaded = [load_model(name) for name in models]
        with talk.progress() as bar:
            task = bar.add_task("evaluating", total=None)
            table = measure(
                loaded,
                track=track.value,
                phantoms=phantoms,
                patches=patches,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        for name, model in zip(models, loaded, strict=True) if record else []:
            if Path(name).suffix == ".safetensors":
                table.record(Path(name).with_suffix(".json"), model.name)
        typer.echo(table.markdown())
        for path in table.save(out) if out else []:
            talk.say(f"Wrote {path}")
    except (OSError, ValueError) as error:
        fail(error)
