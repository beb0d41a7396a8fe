"""The command ``lucyd psf``: a point-spread function computed from the optics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_lucyd.cli._console import Console, fail, interruptible, print_path
from napari_lucyd.cli._options import Microscope, fitting_memory, numbers, whole_numbers
from napari_lucyd.spans import spatial_axes
from napari_lucyd.text import printable

_OPTICS = (
    "numerical_aperture",
    "refractive_index",
    "emission_um",
    "excitation_um",
    "pinhole_airy",
    "sheet_fwhm_um",
    "voxel_size",
)


def psf(
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="OUT", help="File, like psf.ome.tif.", show_default=False),
    ],
    numerical_aperture: Annotated[
        float,
        typer.Option(
            "--numerical-aperture", "--na", metavar="NA", help="Numerical aperture of the objective."
        ),
    ],
    emission_um: Annotated[float, typer.Option(metavar="UM", help="Wavelength of the detected light in µm.")],
    voxel_size: Annotated[
        str,
        typer.Option(metavar="Z,Y,X", help="Voxel size in µm; one number for all axes."),
    ],
    microscope: Annotated[
        Microscope,
        typer.Option(
            "-m", "--microscope", help="Kind of microscope; gaussian is a widefield PSF without its haze."
        ),
    ] = Microscope.widefield,
    refractive_index: Annotated[
        float,
        typer.Option(
            "--refractive-index",
            "-n",
            metavar="N",
            help="Refractive index of the immersion: 1.0 air, 1.33 water, 1.515 oil.",
        ),
    ] = 1.33,
    excitation_um: Annotated[
        float | None,
        typer.Option(metavar="UM", help="Confocal: wavelength of the laser in µm.", show_default="none"),
    ] = None,
    pinhole_airy: Annotated[
        float | None,
        typer.Option(metavar="AU", help="Confocal: diameter of the pinhole in Airy units.", show_default="1"),
    ] = None,
    sheet_fwhm_um: Annotated[
        float | None,
        typer.Option(
            metavar="UM", help="Light sheet: full width at half maximum in µm.", show_default="none"
        ),
    ] = None,
    shape: Annotated[
        str,
        typer.Option(metavar="Z,Y,X", help="Size in voxels, odd numbers; Y,X for the plane in focus."),
    ] = "63,63,63",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Compute the PSF of a microscope: the image of a point.

    Writes float32 values with sum 1 and the point in the middle, together with
    the voxel size and the optics. Scalar theory, without aberrations.

    \b
    Examples:
      lucyd psf -o psf.ome.tif --na 0.8 --emission-um 0.525 --voxel-size 0.1625
      lucyd psf -o spot.tif -m confocal --na 1.4 -n 1.515 \\
        --excitation-um 0.488 --emission-um 0.525 --voxel-size 0.2,0.06,0.06
      lucyd psf -o sheet.tif -m light_sheet --sheet-fwhm-um 3.5 \\
        --na 0.8 --emission-um 0.525 --voxel-size 0.1625
    """
    from napari_lucyd.io import ImageFileError, is_writable_path, write_image
    from napari_lucyd.simulation import make_psf
    from napari_lucyd.simulation.psf import light_at_the_edge, optics_record, voxel_sizes

    sizes = whole_numbers(shape, "--shape")
    steps = numbers(voxel_size, "--voxel-size")
    if not is_writable_path(out):
        raise typer.BadParameter(f"{printable(out)}: expected a file like psf.ome.tif")
    if out.exists() and not overwrite:
        fail(f"{out} exists already; choose another OUT or add --overwrite")
    optics: dict[str, float | None] = {
        "numerical_aperture": numerical_aperture,
        "refractive_index": refractive_index,
        "emission_um": emission_um,
        "excitation_um": excitation_um,
        "pinhole_airy": pinhole_airy,
        "sheet_fwhm_um": sheet_fwhm_um,
    }
    with interruptible(), fitting_memory(sizes):
        try:
            image = make_psf(microscope.value, sizes, voxel_size=steps, **optics)  # type: ignore[arg-type]
            out.parent.mkdir(parents=True, exist_ok=True)
            write_image(
                out,
                image,
                axes=spatial_axes(len(sizes)),
                voxel_size=voxel_sizes(steps, len(sizes)),
                unit="micrometer",
                metadata={"shows": "psf", "optics": optics_record(microscope.value, **optics)},
                overwrite=overwrite,
            )
            print_path(out)
        except (ImageFileError, OSError, ValueError) as error:
            fail(_in_options(str(error)))
    edge = light_at_the_edge(image)
    if edge is not None:
        Console().say(
            f"{edge:.0%} of the in-focus light reaches the edge planes; a larger Z size includes more haze"
        )


def _in_options(message: str) -> str:
    """Replace the names of Python's arguments by those of the options."""
    for argument in _OPTICS:
        message = message.replace(argument, f"--{argument.replace('_', '-')}")
    return message
