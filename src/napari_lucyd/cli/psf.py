"""The command ``lucyd psf``: a point-spread function, computed from the optics or measured on beads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_lucyd.cli.shared.console import Console, fail, interruptible, print_path
from napari_lucyd.cli.shared.option_types import (
    Microscope,
    fitting_memory,
    numbers,
    refuse_given,
    voxel_steps,
    whole_numbers,
)
from napari_lucyd.text import percent_text, printable

_USUAL_SHAPE = (63, 63, 63)
_COMPUTED_ONLY = (
    "numerical_aperture",
    "refractive_index",
    "emission_um",
    "excitation_um",
    "pinhole_airy",
    "sheet_fwhm_um",
)


def psf(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="OUT", help="File, like psf.ome.tif.", show_default=False),
    ],
    from_beads: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Measure the PSF on this image of beads, instead of computing it.",
            show_default=False,
        ),
    ] = None,
    bead_diameter_um: Annotated[
        float,
        typer.Option(min=0, metavar="UM", help="Beads: their diameter in µm, which is taken out."),
    ] = 0.0,
    numerical_aperture: Annotated[
        float | None,
        typer.Option(
            "--numerical-aperture",
            "--na",
            metavar="NA",
            help="Numerical aperture of the objective.",
            show_default=False,
        ),
    ] = None,
    emission_um: Annotated[
        str | None,
        typer.Option(
            metavar="UM[,UM…]",
            help="Wavelength of the detected light in µm; several with commas, one for each channel, give a "
            "file with a PSF for each.",
            show_default=False,
        ),
    ] = None,
    voxel_size: Annotated[
        str | None,
        typer.Option(
            metavar="Z,Y,X",
            help="Voxel size in µm; one number for all axes. Beads: by default that of the file.",
            show_default=False,
        ),
    ] = None,
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
        str | None,
        typer.Option(
            metavar="UM[,UM…]",
            help="Confocal: wavelength of the laser in µm; one for all channels, or one for each.",
            show_default="none",
        ),
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
        str | None,
        typer.Option(
            metavar="Z,Y,X",
            help="Size in voxels, odd numbers; Y,X for the plane in focus.",
            show_default="63,63,63; beads: by their width",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Compute or measure the PSF of a microscope: the image of a point.

    Writes float32 values with sum 1 and the point in the middle, together with
    the voxel size and the optics. Computed: scalar theory, without aberrations.
    Measured: the average of the good beads of an image.

    \b
    Examples:
      lucyd psf -o psf.ome.tif --na 0.8 --emission-um 0.525 --voxel-size 0.1625
      lucyd psf -o spot.tif -m confocal --na 1.4 -n 1.515 \\
        --excitation-um 0.488 --emission-um 0.525 --voxel-size 0.2,0.06,0.06
      lucyd psf -o sheet.tif -m light_sheet --sheet-fwhm-um 3.5 \\
        --na 0.8 --emission-um 0.525 --voxel-size 0.1625
      lucyd psf -o channels.ome.tif --na 1.2 --emission-um 0.46,0.525,0.61 \\
        --voxel-size 0.3,0.1,0.1
      lucyd psf -o measured.ome.tif --from-beads beads.tif --bead-diameter-um 0.1
    """
    from napari_lucyd.io import is_writable_path

    if not is_writable_path(out):
        raise typer.BadParameter(f"{printable(out)}: expected a file like psf.ome.tif")
    if out.exists() and not overwrite:
        fail(f"{out} exists already; choose another OUT or add --overwrite")
    steps = None if voxel_size is None else voxel_steps(voxel_size, "--voxel-size")
    sizes = None if shape is None else whole_numbers(shape, "--shape")
    if from_beads is not None:
        refuse_given(context, (*_COMPUTED_ONLY, "microscope"), "a PSF from beads does not use it")
        with interruptible():
            _measure(from_beads, out, steps, sizes, bead_diameter_um, overwrite)
        return
    refuse_given(context, ["bead_diameter_um"], "it needs --from-beads")
    optics: dict[str, float | list[float] | None] = {
        "numerical_aperture": numerical_aperture,
        "refractive_index": refractive_index,
        "emission_um": _wavelengths(emission_um, "--emission-um"),
        "excitation_um": _wavelengths(excitation_um, "--excitation-um"),
        "pinhole_airy": pinhole_airy,
        "sheet_fwhm_um": sheet_fwhm_um,
    }
    for option, value in (
        ("--na", numerical_aperture),
        ("--emission-um", emission_um),
        ("--voxel-size", steps),
    ):
        if value is None:
            raise typer.BadParameter(
                "a PSF from the optics needs it; one from beads needs --from-beads", param_hint=option
            )
    with interruptible(), fitting_memory(sizes or _USUAL_SHAPE):
        _compute(microscope.value, out, steps, sizes or _USUAL_SHAPE, optics, overwrite)


def _compute(
    microscope: Any,
    out: Path,
    steps: Any,
    sizes: tuple[int, ...],
    optics: dict[str, float | list[float] | None],
    overwrite: bool,
) -> None:
    from napari_lucyd.io import ImageFileError
    from napari_lucyd.simulation import make_psf
    from napari_lucyd.simulation.psf import light_at_the_edge, optics_record, voxel_sizes

    try:
        image = make_psf(microscope, sizes, voxel_size=steps, **optics)  # type: ignore[arg-type]
        record = {"shows": "psf", "optics": optics_record(microscope, **optics)}
        _write(out, image, voxel_sizes(steps, len(sizes)), record, overwrite)
    except (ImageFileError, OSError, ValueError) as error:
        fail(error)
    channels = image if image.ndim > len(sizes) else [image]
    edge = max((light_at_the_edge(psf) or 0.0 for psf in channels), default=0.0)
    if len(sizes) == 3 and sizes[0] > 1:
        Console().say(
            f"{percent_text(edge)} of the in-focus light reaches the edge planes; a PSF with more planes "
            "includes more haze"
        )


def _measure(
    beads: Path,
    out: Path,
    steps: tuple[float, ...] | None,
    shape: tuple[int, ...] | None,
    diameter: float,
    overwrite: bool,
) -> None:
    import numpy as np

    from napari_lucyd.io import ImageFileError, micrometers, read_image
    from napari_lucyd.psf.beads import psf_from_beads
    from napari_lucyd.simulation.psf import voxel_sizes

    try:
        image = read_image(beads, lazy=False)
        data = np.squeeze(np.asarray(image.data))
        if steps is None:
            unit = micrometers(image.unit)
            if unit is None or image.voxel_size is None:
                fail(f"{beads}: the file does not say its voxel size; give it with --voxel-size Z,Y,X, in µm")
            steps = tuple(unit * step for step in image.voxel_size)[-data.ndim :]
        steps = voxel_sizes(steps, data.ndim)
        measured = psf_from_beads(data, steps, bead_diameter_um=diameter, shape=shape)
        record = {
            "shows": "psf",
            "beads": {
                "used": measured.used,
                "found": len(measured.beads),
                "bead_diameter_um": diameter,
                "fwhm_um": list(measured.fwhm_um),
                "asymmetry": list(measured.asymmetry),
            },
        }
        _write(out, measured.psf, steps, record, overwrite)
    except (ImageFileError, OSError, TypeError, ValueError) as error:
        fail(f"{beads}: {error}" if str(beads) not in str(error) else error)
    Console().say(measured.report)


def _write(
    out: Path, psf: Any, voxel_size: tuple[float, ...], record: dict[str, Any], overwrite: bool
) -> None:
    from napari_lucyd.io import check_name, write_image

    check_name(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    axes = "CZYX"[-psf.ndim :] if len(voxel_size) == 3 else "CYX"[-psf.ndim :]
    write_image(
        out, psf, axes=axes, voxel_size=voxel_size, unit="micrometer", metadata=record, overwrite=overwrite
    )
    print_path(out)


def _wavelengths(text: str | None, option: str) -> float | list[float] | None:
    """Read one wavelength, or a list with one for each channel."""
    if text is None:
        return None
    values = numbers(text, option)
    return values[0] if len(values) == 1 else list(values)
