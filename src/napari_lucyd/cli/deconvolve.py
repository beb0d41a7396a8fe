"""``lucyd deconvolve``: files in, files out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_lucyd.cli._chosen_method import CLASSICAL, Chosen, classical_method, load_network, refuse_options
from napari_lucyd.cli._console import Console, fail, interruptible
from napari_lucyd.cli._options import (
    FileFormat,
    Method,
    Normalization,
    Part,
    Precision,
    StoredDtype,
    auto_or_number,
    numbers,
    parts,
    whole_numbers,
)
from napari_lucyd.cli._paths import find_images, plan_destinations

_FILES, _METHOD, _NETWORK, _CLASSICAL, _OPTIONAL, _IMAGE, _COMPUTER = (
    "Files",
    "Method",
    "LUCYD",
    "Richardson-Lucy and Wiener",
    "Optional steps, for any method",
    "What the image is",
    "Memory and speed",
)


def deconvolve(
    context: typer.Context,
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN...", help="Images (TIFF, OME-TIFF, OME-Zarr) or folders of them.", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            metavar="OUT",
            help="A file for one input (its suffix chooses the format), a folder for several.",
            show_default=False,
            rich_help_panel=_FILES,
        ),
    ],
    intermediates: Annotated[
        bool,
        typer.Option(
            "--intermediates",
            help="Beside each output, write NAME_correction_mask, NAME_update_term and NAME_intermediate, "
            "as far as the model's network has them.",
            rich_help_panel=_FILES,
        ),
    ] = False,
    outputs: Annotated[
        str,
        typer.Option(
            metavar="PART,...",
            help=f"What to write, some of: {', '.join(Part)}.",
            rich_help_panel=_FILES,
        ),
    ] = "output",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that exist.", rich_help_panel=_FILES)
    ] = False,
    file_format: Annotated[
        FileFormat | None,
        typer.Option(
            "--format",
            help="Of results in a folder. By default OME-Zarr for Zarr inputs and OME-TIFF for others.",
            show_default=False,
            rich_help_panel=_FILES,
        ),
    ] = None,
    dtype: Annotated[
        StoredDtype,
        typer.Option(help="uint16 halves the files; its scaling is stated in them.", rich_help_panel=_FILES),
    ] = StoredDtype.float32,
    method: Annotated[
        Method | None,
        typer.Option(
            help="A network, or a classical method with a PSF. By default what the model is of.",
            show_default=False,
            rich_help_panel=_METHOD,
        ),
    ] = None,
    psf: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Image of the PSF, on the voxels of the input (see: lucyd psf).",
            show_default=False,
            rich_help_panel=_CLASSICAL,
        ),
    ] = None,
    iterations: Annotated[
        int,
        typer.Option(
            min=1, help="Richardson-Lucy: more sharpen, and amplify noise.", rich_help_panel=_CLASSICAL
        ),
    ] = 10,
    total_variation: Annotated[
        float,
        typer.Option(
            metavar="W", help="Richardson-Lucy: against noise; 0.002 is usual.", rich_help_panel=_CLASSICAL
        ),
    ] = 0.0,
    background: Annotated[
        float,
        typer.Option(
            metavar="B",
            help="Richardson-Lucy: constant in units of the image, not part of the result.",
            rich_help_panel=_CLASSICAL,
        ),
    ] = 0.0,
    balance: Annotated[
        float,
        typer.Option(metavar="B", help="Wiener: more gives smoother results.", rich_help_panel=_CLASSICAL),
    ] = 0.1,
    model: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--model",
            help="A shipped model (see: lucyd models), or weights (.safetensors, .pth). By default "
            "general, or the first of --method.",
            show_default=False,
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    normalization: Annotated[
        Normalization,
        typer.Option(help="How intensities are scaled for the network.", rich_help_panel=_NETWORK),
    ] = Normalization.model,
    separate: Annotated[
        str,
        typer.Option(
            metavar="AXES",
            help="Leading axes whose entries are scaled each by itself: C, T, CT, or none for all together.",
            rich_help_panel=_NETWORK,
        ),
    ] = "C",
    isotropic: Annotated[
        bool | None,
        typer.Option(
            "--isotropic/--no-isotropic",
            help="Resample along Z to cubic voxels and back. By default where steps differ by 25 %.",
            show_default=False,
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    subtract_background: Annotated[
        str | None,
        typer.Option(
            metavar="auto|SIZE",
            help="Subtract a smooth background first: what is bright and narrower than SIZE voxels stays.",
            show_default=False,
            rich_help_panel=_OPTIONAL,
        ),
    ] = None,
    prefilter: Annotated[
        str | None,
        typer.Option(
            metavar="auto|SIGMA",
            help="Smooth first by a Gaussian of SIGMA voxels; auto takes it from the image's noise.",
            show_default=False,
            rich_help_panel=_OPTIONAL,
        ),
    ] = None,
    flips: Annotated[
        bool,
        typer.Option(
            "--flips",
            help="Average the output over all mirror images: less noise, 8 times the time (planes: 4).",
            rich_help_panel=_OPTIONAL,
        ),
    ] = False,
    axes: Annotated[
        str | None,
        typer.Option(
            help="Correct what the axes are taken for (see: lucyd info FILE), such as TZYX.",
            show_default=False,
            rich_help_panel=_IMAGE,
        ),
    ] = None,
    voxel_size: Annotated[
        str | None,
        typer.Option(
            metavar="Z,Y,X",
            help="In micrometers, where the file does not say it or is wrong.",
            show_default=False,
            rich_help_panel=_IMAGE,
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=_COMPUTER)
    ] = "auto",
    tile: Annotated[
        str | None,
        typer.Option(
            metavar="Z,Y,X",
            help="Voxels computed at once. By default what fits into memory; results do not depend on it.",
            show_default=False,
            rich_help_panel=_COMPUTER,
        ),
    ] = None,
    halo: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Margin read around each tile. By default the network's reach, which makes tiles seamless.",
            show_default=False,
            rich_help_panel=_COMPUTER,
        ),
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(
            help="float16 computes in half precision on a CUDA device, where that does the model no harm.",
            rich_help_panel=_COMPUTER,
        ),
    ] = Precision.float32,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Processes on this machine that share the work on each OME-Zarr result.",
            show_default=False,
            rich_help_panel=_COMPUTER,
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Of a dask.distributed cluster whose workers share the work on each OME-Zarr result.",
            show_default=False,
            rich_help_panel=_COMPUTER,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan, memory and time for each input, and stop.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print warnings and errors only.")] = False,
) -> None:
    """Deconvolve images: restore what blur and noise took.

    Results keep axes, voxel size and intensity units of their input, and hold
    the recipe that made them (shown by: lucyd info FILE). A file that cannot be
    used is reported and skipped, and the exit status is then 1. Results that
    exist are never replaced without --overwrite, and an unfinished one never
    bears the final name. An OME-Zarr is written part by part, in memory that
    does not grow with the image, under its name with .partial at the end; the
    same command goes on with it after whatever stopped it. In a folder, each
    result has the name of its input; inputs of one name are told apart by the
    folders that they come from. OME-TIFFs that hold one image together give
    one result, named after the first of them.

    \b
    Examples:
      lucyd deconvolve stack.tif -o restored.ome.tif
      lucyd deconvolve stack.tif -o new.tif --intermediates
      lucyd deconvolve stack.tif -o new.ome.tif --voxel-size 0.3,0.1,0.1
      lucyd deconvolve monday/*.tif -o restored/ --device cuda
      lucyd deconvolve stack.tif -o rl.ome.tif --method richardson-lucy \
        --psf psf.ome.tif --iterations 20
      lucyd deconvolve noisy.tif -o new.tif --prefilter auto --flips
      lucyd deconvolve monday/ tuesday/ -o restored/ --dtype uint16
      lucyd deconvolve series.ome.zarr -o restored.ome.zarr --axes TZYX
      lucyd deconvolve huge.tif -o restored.ome.zarr --jobs 8
    """
    talk = Console(quiet)
    wanted = tuple(Part) if intermediates else parts(outputs, "--outputs")
    refuse_options(context, method, wanted)
    if flips and wanted != (Part.output,):
        raise typer.BadParameter("a mean over flips is an output only", param_hint="--flips")
    found = find_images(inputs)
    tasks = plan_destinations(found, out, wanted, f".{file_format}" if file_format else None)
    for path, reason in found.refused:
        talk.error(f"{path}: {reason}; skipped")
    if found.passed_over:
        talk.say(f"Passed over {len(found.passed_over)} other files: {_some(found.passed_over)}")
    if found.parts:
        wholes = list(dict.fromkeys(whole for _, whole in found.parts))
        talk.say(
            f"{len(found.parts)} files hold parts of the image of another, read with it: {_some(wholes)}"
        )
    if not tasks:
        fail("no image to deconvolve")
    if jobs is not None and scheduler is not None:
        raise typer.BadParameter("the scheduler's cluster has its workers", param_hint="--jobs")
    for option, shared in (("--jobs", jobs not in (None, 1)), ("--scheduler", scheduler is not None)):
        if shared and not all(task.in_parts(str(dtype)) for task in tasks):
            raise typer.BadParameter(
                "only float32 results in OME-Zarr are computed in parts: name OUT.ome.zarr, or for a folder "
                "add --format ome.zarr",
                param_hint=option,
            )
    options: dict[str, Any] = {
        "device": device,
        "subtract_background": auto_or_number(subtract_background, "--subtract-background"),
        "prefilter": auto_or_number(prefilter, "--prefilter"),
        "flips": flips,
    }
    if method not in CLASSICAL:
        options |= {
            "tile_shape": whole_numbers(tile, "--tile") if tile else None,
            "halo": halo,
            "precision": str(precision),
            "normalization": str(normalization),
            "isotropic": isotropic,
            "separate": "" if separate.lower() == "none" else separate.upper(),
        }
    sizes = numbers(voxel_size, "--voxel-size") if voxel_size else None
    with interruptible():
        from napari_lucyd.cli._batch import Batch
        from napari_lucyd.out_of_core import StoreError, workers_for

        if method is None or method not in CLASSICAL:
            loaded = load_network(method, model)
            chosen = Chosen(loaded)
            if intermediates:
                wanted = tuple(part for part in wanted if part in loaded.network.parts)
                tasks = [task.of(wanted) for task in tasks]
        else:
            given = {"num_iter": iterations, "total_variation": total_variation, "background": background}
            chosen = classical_method(method, psf, {**given, "balance": balance})
        options["outputs"] = tuple(str(part) for part in wanted)
        try:
            with workers_for(jobs, scheduler) as workers:
                run = Batch(talk, chosen, options, axes, sizes, overwrite, str(dtype), dry_run, workers)
                failed = len(found.refused) + run.all(tasks)
        except StoreError as error:
            fail(error)
    total = len(tasks) + len(found.refused)
    if failed:
        if total > 1:
            talk.error(f"{failed} of {total} inputs failed")
        raise typer.Exit(1)


def _some(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths[:5]) + (", …" if len(paths) > 5 else "")
