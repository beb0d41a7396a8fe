"""The command ``lucyd deconvolve``: files in, files out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_lucyd.batch.inputs import BatchItem, Found, find_images
from napari_lucyd.cli.shared.chosen_method import (
    CLASSICAL,
    Chosen,
    classical_method,
    load_network,
    refuse_options,
    told_model,
)
from napari_lucyd.cli.shared.console import Console, fail, interruptible, skipped
from napari_lucyd.cli.shared.deconvolve_options import (
    ClassicalOptions,
    ComputerOptions,
    FileOptions,
    ImageOptions,
    MethodOptions,
    MicroscopeOptions,
    NetworkOptions,
    StepOptions,
    network_arguments,
)
from napari_lucyd.cli.shared.option_types import Method, with_sections
from napari_lucyd.cli.shared.paths import plan_destinations
from napari_lucyd.deconvolution.result import Part
from napari_lucyd.text import count_text


@with_sections
def deconvolve(
    context: typer.Context,
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN...",
            help="Images (TIFF, OME-TIFF, OME-Zarr, CZI, LIF, ND2) or folders of them.",
            show_default=False,
            readable=False,  # a file that cannot be opened is skipped, and does not end the command
        ),
    ],
    files: FileOptions,
    choice: MethodOptions,
    microscope: MicroscopeOptions,
    classical: ClassicalOptions,
    network: NetworkOptions,
    steps: StepOptions,
    image: ImageOptions,
    computer: ComputerOptions,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print plan, memory and time for each input, then stop.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print warnings and errors only.")] = False,
) -> None:
    """Deconvolve images: reduce blur and noise.

    Results keep the axes, voxel size and intensity units of their input. They
    contain the recipe that made them (lucyd info FILE shows it). A file that
    cannot be used is reported and skipped; the exit status is then 1. Existing
    results are replaced only with --overwrite; of several inputs, those whose
    results are there are left out, without an error. Unfinished results never have
    the final name. An OME-Zarr result is written part by part, in memory that
    does not grow with the image, to a folder with .partial at the end of its
    name; after an interruption, the same command resumes it. In a folder, each
    result is named after its input, with _output at the end; inputs of equal
    names get the names of their folders in front. Several OME-TIFF files that
    hold one image give one result, named after the first of them. Among several
    inputs, results of earlier runs are left out.

    \b
    Examples:
      lucyd deconvolve stack.tif -o restored.ome.tif
      lucyd deconvolve stack.ome.tif -o sharp.ome.tif --microscope widefield \\
        --na 1.4 --refractive-index 1.515 --emission-um 0.525
      lucyd deconvolve stack.tif -o new.tif --intermediates
      lucyd deconvolve stack.tif -o new.ome.tif --voxel-size 0.3,0.1,0.1
      lucyd deconvolve monday/*.tif -o restored/ --device cuda
      lucyd deconvolve stack.tif -o rl.ome.tif --method richardson-lucy \\
        --psf psf.ome.tif --num-iter 20
      lucyd deconvolve noisy.tif -o new.tif --prefilter auto --flips
      lucyd deconvolve monday/ tuesday/ -o restored/ --dtype uint16
      lucyd deconvolve series.ome.zarr -o restored.ome.zarr --axes TZYX
      lucyd deconvolve huge.tif -o restored.ome.zarr --jobs 8
    """
    console = Console(quiet)
    method = choice.method
    wanted = files.wanted()
    refuse_options(context, method, wanted)
    if steps.flips and wanted != (Part.output,):
        raise typer.BadParameter(
            "the mean over flips has an output only; leave the other parts out", param_hint="--flips"
        )
    found = find_images(inputs)
    items = plan_destinations(found, files.out, wanted, files.suffix())
    _report(found, console)
    if not items:
        fail("no image to deconvolve")
    _check_workers(computer, items, str(files.dtype))
    reports = _report_files(files, items)
    options = {"device": computer.device, **steps.arguments()}
    if method not in CLASSICAL:
        options |= network_arguments(network, computer)
    told = microscope.told()
    voxel_size = image.steps()
    with interruptible():
        from napari_lucyd.cli.shared.batch_run import Batch
        from napari_lucyd.models import DEFAULT_MODEL
        from napari_lucyd.out_of_core import StoreError, workers_for

        if method == Method.auto:
            chosen = Chosen(str(method))
            options |= told
        elif method is None or method not in CLASSICAL:
            model = load_network(method, network.model)
            chosen = told_model(model, classical.psf, told, planes=model.name == DEFAULT_MODEL)
            options |= told
            if files.intermediates:
                wanted = tuple(part for part in wanted if part in model.parts)
                items = [item.of(wanted) for item in items]
        else:
            blur = {name: told.get(name) for name in ("microscope", "blur_sigma")}
            numbers = {**classical.numbers(), **blur}
            chosen = classical_method(method, classical.psf, numbers)
        options["outputs"] = tuple(str(part) for part in wanted)
        try:
            with workers_for(computer.jobs, computer.scheduler, computer.device) as workers:
                batch = Batch(
                    console,
                    chosen,
                    options,
                    image.axes,
                    voxel_size,
                    files.overwrite,
                    str(files.dtype),
                    dry_run,
                    workers,
                    reports,
                    several=found.several,
                )
                tally = batch.run(items)
        except StoreError as error:
            fail(error)
    tally.total += len(found.refused)
    tally.failed += len(found.refused)
    if found.several:
        text = tally.text("choose another OUT or add --overwrite", "planned" if dry_run else "done")
        (console.error if tally.failed else console.say)(text)
    if tally.failed:
        raise typer.Exit(1)


def _report(found: Found, console: Console) -> None:
    """Print which of the given paths are not deconvolved, and why."""
    for path, reason in found.refused:
        console.error(skipped(f"{path}: {reason}"))
    if found.passed_over:
        ignored = count_text(len(found.passed_over), "file that is no image", "files that are no images")
        console.say(f"Ignored {ignored}: {_some(found.passed_over)}")
    if found.results:
        results = count_text(
            len(found.results),
            "file is a result of lucyd and is not deconvolved again",
            "files are results of lucyd and are not deconvolved again",
        )
        console.say(f"{results}: {_some(found.results)}. To do so, give one alone")
    if found.parts:
        wholes = list(dict.fromkeys(whole for _, whole in found.parts))
        parts = count_text(
            len(found.parts),
            "file holds a part of the image of another file and is read with it",
            "files hold parts of the image of another file and are read with it",
        )
        console.say(f"{parts}: {_some(wholes)}")


def _report_files(files: FileOptions, items: list[BatchItem]) -> dict[Path, Path]:
    """Return the file of the report of each input: the given one, or one for each in the given folder."""
    if files.report is None:
        return {}
    if any(item.in_parts(str(files.dtype)) for item in items):
        raise typer.BadParameter(
            "a report needs the result in memory; write OME-TIFF, and make OME-Zarr without a report",
            param_hint="--report",
        )
    if len(items) == 1 and not files.report.is_dir():
        page = files.report
        if page.suffix.lower() not in (".html", ".htm"):
            raise typer.BadParameter(
                f"it is written as HTML; give a name that ends in .html, not {page.name!r}",
                param_hint="--report",
            )
        return {items[0].source: page}
    from napari_lucyd.io import stem

    names = {item.source: stem(next(iter(item.destinations.values()))) for item in items}
    return {
        source: files.report / f"{name.removesuffix(f'_{Part.output}')}.html"
        for source, name in names.items()
    }


def _check_workers(computer: ComputerOptions, items: list[BatchItem], dtype: str) -> None:
    if computer.jobs is not None and computer.scheduler is not None:
        raise typer.BadParameter(
            "the cluster of --scheduler has its own workers; leave one of the two out", param_hint="--jobs"
        )
    shared = {
        "--jobs": computer.jobs not in (None, 1),
        "--scheduler": computer.scheduler is not None,
    }
    for option in (option for option, used in shared.items() if used):
        if not all(item.in_parts(dtype) for item in items):
            raise typer.BadParameter(
                "only float32 results in OME-Zarr can be shared among processes: name OUT.ome.zarr, or for a "
                "folder add --format ome.zarr",
                param_hint=option,
            )


def _some(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths[:5]) + (", …" if len(paths) > 5 else "")
