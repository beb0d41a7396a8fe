"""The command ``lucyd export``: a model as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_lucyd.cli._console import fail, print_path


def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Name or file of a model, as for lucyd deconvolve.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            metavar="OUT",
            help="File: lucyd.onnx, or lucyd.zip for a bioimage.io package.",
            show_default=False,
        ),
    ],
    num_iter: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Richardson-Lucy iterations of a model on first estimates, which an exported model cannot "
            "choose by the noise. By default as many as suit a noise of 3 % and a blur of 1.5 voxels.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Write a model for other programs: ONNX, or a bioimage.io package for Fiji and ilastik.

    Scaling and borders are part of the file. A model on first estimates has the Gaussian blur as a second
    input; with another PSF, use lucyd deconvolve.

    \b
    Examples:
      lucyd export lucyd -o lucyd.onnx
      lucyd export general -o general.zip
    """
    from napari_lucyd.export import export_model
    from napari_lucyd.io import ImageFileError

    try:
        file = export_model(model, out, num_iter=num_iter, overwrite=overwrite)
    except (ImageFileError, ImportError, OSError, TypeError, ValueError) as error:
        fail(error)
    print_path(file)
