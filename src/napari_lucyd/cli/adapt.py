"""The command ``lucyd adapt``: train a model for one microscope."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_lucyd.cli.shared.chosen_method import steps_beside
from napari_lucyd.cli.shared.console import Console, fail, print_path
from napari_lucyd.cli.shared.deconvolve_options import ImageOptions, MicroscopeOptions
from napari_lucyd.cli.shared.option_types import Structures, with_sections
from napari_lucyd.text import duration_text

if TYPE_CHECKING:
    from napari_lucyd.io import Image
    from napari_lucyd.training import AdaptationProgress

_STAGES = {
    "measuring": "measuring blur and noise",
    "training": "training",
    "trust": "testing the model with the trust suite",
}


@with_sections
def adapt(
    *,
    image: Annotated[
        Path | None,
        typer.Argument(
            metavar="[IMAGE]",
            help="An image of this microscope, in which noise is measured; the blur too, if it is not given.",
            show_default=False,
        ),
    ] = None,
    microscope: MicroscopeOptions,
    about: ImageOptions,
    name: Annotated[
        str, typer.Option("-n", "--name", metavar="NAME", help="Name of the new model.", show_default=False)
    ],
    psf: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Image of the PSF, in place of a microscope (see: lucyd psf).",
            show_default=False,
        ),
    ] = None,
    channel: Annotated[int, typer.Option(min=0, help="Channel of the image, counted from 0.")] = 0,
    structures: Annotated[
        Structures, typer.Option(help="What the simulated specimens show; choose what yours show.")
    ] = Structures.mixture,
    model: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--model",
            help="Model to start from. Default: lucyd (planes: lucyd-planes).",
            show_default=False,
        ),
    ] = None,
    minutes: Annotated[float, typer.Option(help="Limit for the training.")] = 8.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace your earlier model of this name.")
    ] = False,
) -> None:
    """Train a model for your microscope.

    Continues the training of the default model on simulated specimens, all
    taken with your PSF and with the noise of your image. Ctrl-C ends the
    training early and keeps the best. Then start and result answer the
    questions of the trust suite (see: lucyd evaluate trust). The model is saved
    only if it is better in validation and no answer is worse; the exit status
    is 1 if it is not saved. lucyd models lists it, and lucyd deconvolve
    --model NAME uses it.

    \b
    Examples:
      lucyd adapt stack.ome.tif --name oil63 --microscope widefield \\
        --na 1.4 --refractive-index 1.515 --emission-um 0.525
      lucyd adapt stack.tif --name spinning --psf psf.ome.tif
      lucyd adapt plane.tif --name actin --blur-sigma 1.4 \\
        --structures filaments
    """
    from napari_lucyd.training import adapt as run

    console = Console()
    try:
        told = microscope.told()
        given = _read(image, about, in_micrometers="microscope" in told)
        if psf is not None:
            told |= _read_psf(psf, given)
        console.say(
            f"{name}: blur and noise are measured; then follow up to {minutes:g} min of training, and the "
            "trust suite"
        )
        with console.progress() as bar:
            task = bar.add_task(name, total=None)

            def show(progress: AdaptationProgress) -> None:
                text = _STAGES[progress.stage]
                if progress.validation_psnr:
                    first, last = progress.validation_psnr[0], progress.validation_psnr[-1]
                    text += f": validation {last:.2f} dB ({last - first:+.2f})"
                if progress.seconds_left == progress.seconds_left:  # not NaN
                    text += f", {duration_text(progress.seconds_left)} left"
                bar.update(task, completed=progress.done, total=progress.total, description=text)

            found = run(
                None if given is None else given.data,
                name,
                model=model,
                voxel_size=about.steps() if given is None else given.voxel_size,
                axes=about.axes if given is None else given.axes,
                channel=channel,
                structures=str(structures),  # type: ignore[arg-type]
                minutes=minutes,
                device=device,
                overwrite=overwrite,
                progress=show,
                **told,
            )
    except KeyboardInterrupt:
        fail("interrupted; nothing was saved", status=130)
    except (OSError, ValueError, TypeError, FloatingPointError) as error:
        fail(error)
    for note in found.notes:
        console.say(note)
    console.say(f"{found.summary} It took {duration_text(found.seconds)}.")
    if found.path is None:
        raise typer.Exit(1)
    print_path(found.path)


def _read(path: Path | None, about: ImageOptions, in_micrometers: bool) -> Image | None:
    from napari_lucyd.io import read_image

    if path is None:
        return None
    image = read_image(path, axes=about.axes, voxel_size=about.steps())
    return image.in_micrometers() if in_micrometers else image


def _read_psf(path: Path, image: Image | None) -> dict[str, Any]:
    """Read a PSF; return it with its voxel size, as keywords of `adapt`."""
    from napari_lucyd.io import read_psf

    psf = read_psf(path)
    if psf.axes.startswith("C"):
        raise ValueError(f"{path} has a PSF for each channel; give a file with the PSF of one channel.")
    return {"psf": psf.data, "psf_voxel_size": None if image is None else steps_beside(psf, image)}
