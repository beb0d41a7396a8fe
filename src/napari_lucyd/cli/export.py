"""The command ``lucyd export``: a model as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_lucyd.cli.shared.console import Console, fail, print_path
from napari_lucyd.cli.shared.option_types import numbers


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
    blur_sigma: Annotated[
        str | None,
        typer.Option(
            metavar="Z,Y,X",
            help="Standard deviation of the Gaussian blur in voxels, for a model on first estimates that "
            "takes the image alone, as Fiji needs it. By default the blur is a second input.",
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
      lucyd export lucyd -o for-fiji.zip --blur-sigma 2.5,1.3,1.3
    """
    from napari_lucyd.export import export_model
    from napari_lucyd.io import ImageFileError

    try:
        Console().say(f"Exporting {model} to {out}")
        sigmas = None if blur_sigma is None else numbers(blur_sigma, "--blur-sigma")
        file = export_model(model, out, num_iter=num_iter, blur_sigma=sigmas, overwrite=overwrite)
    except (ImageFileError, ImportError, OSError, TypeError, ValueError) as error:
        fail(error)
    print_path(file)
