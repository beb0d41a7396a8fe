"""``lucyd psf``: a point-spread function from the optics, as an image file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_lucyd.cli._console import Console, fail, interruptible
from napari_lucyd.cli._options import Microscope, fitting_memory, numbers, whole_numbers

_OPTIONS = {
    "emission_um": "--emission",
    "excitation_um": "--excitation",
    "pinhole_airy": "--pinhole",
    "sheet_fwhm_um": "--sheet-fwhm",
}


def psf(
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="OUT", help="File, like psf.ome.tif.", show_default=False),
    ],
    numerical_aperture: Annotated[
        float,
        typer.Option("--na", metavar="NA", help="Of the objective."),
    ],
    emission: Annotated[float, typer.Option(metavar="UM", help="Wavelength of the detected light in µm.")],
    voxel_size: Annotated[
        str,
        typer.Option(metavar="Z,Y,X", help="Voxel size in µm; one number for all axes."),
    ],
    microscope: Annotated[
        Microscope, typer.Option("-m", "--microscope", help="Gaussian: without a widefield's haze.")
    ] = Microscope.widefield,
    refractive_index: Annotated[
        float,
        typer.Option("--refractive-index", "-n", metavar="N", help="1.0 air, 1.33 water, 1.515 oil."),
    ] = 1.33,
    excitation: Annotated[
        float | None,
        typer.Option(metavar="UM", help="Confocal: wavelength of the laser in µm.", show_default="none"),
    ] = None,
    pinhole: Annotated[
        float | None,
        typer.Option(metavar="AU", help="Confocal: its diameter in Airy units.", show_default="1"),
    ] = None,
    sheet_fwhm: Annotated[
        float | None,
        typer.Option(metavar="UM", help="Light sheet: full width at half maximum.", show_default="none"),
    ] = None,
    shape: Annotated[
        str,
        typer.Option(metavar="Z,Y,X", help="Voxels, odd numbers; Y,X for the plane in focus."),
    ] = "63,63,63",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists.")] = False,
) -> None:
    """Compute the PSF of a microscope: what it makes of a point.

    Writes float32 values with sum 1 and the point in the middle, the voxel size,
    and the optics that made them. Scalar theory, no aberrations.

    \b
    Examples:
      lucyd psf -o psf.ome.tif --na 0.8 --emission 0.525 --voxel-size 0.1625
      lucyd psf -o spot.tif -m confocal --na 1.4 -n 1.515 \
        --excitation 0.488 --emission 0.525 --voxel-size 0.2,0.06,0.06
      lucyd psf -o sheet.tif -m light_sheet --sheet-fwhm 3.5 \
        --na 0.8 --emission 0.525 --voxel-size 0.1625
    """
    from napari_lucyd.io import ImageFileError, is_image_path, write_image
    from napari_lucyd.simulation import make_psf
    from napari_lucyd.simulation.psf import light_at_the_edge, optics_record, voxel_sizes

    sizes = whole_numbers(shape, "--shape")
    steps = numbers(voxel_size, "--voxel-size")
    if not is_image_path(out):
        raise typer.BadParameter(f"{out}: expected a file like psf.ome.tif")
    if out.exists() and not overwrite:
        fail(f"{out} exists already; choose another OUT or add --overwrite")
    optics: dict[str, float | None] = {
        "numerical_aperture": numerical_aperture,
        "refractive_index": refractive_index,
        "emission_um": emission,
        "excitation_um": excitation,
        "pinhole_airy": pinhole,
        "sheet_fwhm_um": sheet_fwhm,
    }
    with interruptible(), fitting_memory(sizes):
        try:
            image = make_psf(microscope.value, sizes, voxel_size=steps, **optics)  # type: ignore[arg-type]
            out.parent.mkdir(parents=True, exist_ok=True)
            write_image(
                out,
                image,
                axes="ZYX"[-len(sizes) :],
                voxel_size=voxel_sizes(steps, len(sizes)),
                unit="micrometer",
                metadata={"shows": "psf", "optics": optics_record(microscope.value, **optics)},
                overwrite=overwrite,
            )
            typer.echo(out)
        except (ImageFileError, OSError, ValueError) as error:
            fail(_in_options(str(error)))
    edge = light_at_the_edge(image)
    if edge is not None:
        Console().say(f"The outermost plane holds {edge:.0%} of the light of the plane in focus")


def _in_options(message: str) -> str:
    """Name options where Python's error names arguments."""
    for argument, option in _OPTIONS.items():
        message = message.replace(argument, option)
    return message
