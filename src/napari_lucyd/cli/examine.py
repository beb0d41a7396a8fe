"""The command ``lucyd examine``: findings about an image before a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_lucyd.cli.shared.console import fail
from napari_lucyd.cli.shared.deconvolve_options import ImageOptions, MicroscopeOptions
from napari_lucyd.cli.shared.option_types import with_sections
from napari_lucyd.text import printable

if TYPE_CHECKING:
    from napari_lucyd.referee import Examination


@with_sections
def examine(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An image: TIFF, OME-TIFF, OME-Zarr.", show_default=False)
    ],
    microscope: MicroscopeOptions,
    image: ImageOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Examine an image before it is deconvolved, from a sample of it.

    Prints noise, gain and offset of the camera, saturated voxels, empty planes,
    the blur, the resolution, and which method is recommended, with the reasons.
    In a time series, the frame in the middle is examined.

    \b
    Examples:
      lucyd examine stack.ome.tif
      lucyd examine stack.tif --voxel-size 0.3,0.1,0.1 --microscope widefield \\
        --na 1.4 --refractive-index 1.515 --emission-um 0.525
      lucyd examine stack.tif --json > findings.json
    """
    told = microscope.told()
    if "blur_sigma" in told:
        raise typer.BadParameter("the blur is measured; leave it out", param_hint="--blur-sigma")
    from napari_lucyd.io import ImageFileError, read_image
    from napari_lucyd.referee import examine as examine_image

    try:
        read = read_image(file, lazy=True, axes=image.axes, voxel_size=image.steps())
        if read.voxel_size is not None:
            read = read.in_micrometers()
        found = examine_image(
            read.data, axes=read.axes, voxel_size=read.voxel_size, microscope=told.get("microscope")
        )
    except (ImageFileError, ValueError, TypeError, OSError) as error:
        where = "" if printable(file) in printable(error) else f"{file}: "
        fail(f"{where}{error}")
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2, ensure_ascii=False))
        return
    _print(found)


def _print(found: Examination) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for one in found.channels or (found,):
        title = None if one.channel is None else f"Channel {one.channel}"
        table = Table(title=title, show_header=False, title_justify="left")
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in one.lines():
            table.add_row(name, Text(printable(value)))
        table.add_row("Recommended", Text(one.proposal), style="bold")
        console.print(table)
        for text in one.recommendation.sentences:
            console.print(Text(f"- {text}"))
        for text in one.warnings:
            console.print(Text(f"Warning: {text}"), style="yellow")
