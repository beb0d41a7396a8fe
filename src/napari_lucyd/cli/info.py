"""``lucyd info``: what a bug report needs, or what a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_lucyd.cli._console import fail


def info(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="An image: tell what it holds.", show_default=False),
    ] = None,
) -> None:
    """Print versions, devices, and why the GPU is or is not used: plain text for a bug report.

    With a FILE, print what it holds instead: axes, voxel size, and the recipe that made it.

    \b
    Examples:
      lucyd info
      lucyd info restored.ome.tif
    """
    if file is None:
        from napari_lucyd.information import report

        typer.echo(report())
        return
    from napari_lucyd.information import describe_image
    from napari_lucyd.io import ImageFileError, read_image

    try:
        typer.echo(describe_image(read_image(file, lazy=True)))
    except ImageFileError as error:
        fail(error)
