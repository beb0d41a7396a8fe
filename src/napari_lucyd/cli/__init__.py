"""The ``lucyd`` command.

Each command has its own module; :data:`app` collects them. Importing this package loads neither torch nor
numpy, so that ``lucyd --help`` answers at once. Each command imports what it needs when it runs.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from napari_lucyd.cli.adapt import adapt
from napari_lucyd.cli.deconvolve import deconvolve
from napari_lucyd.cli.evaluate import evaluate
from napari_lucyd.cli.examine import examine
from napari_lucyd.cli.export import export
from napari_lucyd.cli.info import info
from napari_lucyd.cli.models import models
from napari_lucyd.cli.psf import psf
from napari_lucyd.cli.shared.option_types import PlainCommand
from napari_lucyd.cli.simulate import simulate
from napari_lucyd.cli.train import train

__all__ = ["app"]

app = typer.Typer(
    name="lucyd",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,  # for a bug report: a plain traceback without local variables
    epilog="Each command has its own help: [bold]lucyd deconvolve --help[/bold]",
)


@app.callback(invoke_without_command=True)
def lucyd(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Restore blurred and noisy microscope stacks with LUCYD, a small Richardson-Lucy network.

    \b
    A first run:
      lucyd deconvolve stack.tif -o restored.ome.tif
    Without a stack:
      lucyd simulate -o sample/
      lucyd deconvolve sample/degraded.ome.tif -o sample/restored.ome.tif
    """
    # If a terminal or pipe cannot show a character (Windows: σ), show another one instead of an error.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    if version:
        from napari_lucyd import __version__

        typer.echo(__version__)
        raise typer.Exit


for command in (deconvolve, examine, models, simulate, psf, train, adapt, evaluate, export, info):
    app.command(cls=PlainCommand)(command)
