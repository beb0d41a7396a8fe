"""Destinations of ``lucyd deconvolve``, as OUT names them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import typer

from napari_lucyd.batch.inputs import BatchItem, Found, destinations, distinct_names, is_special
from napari_lucyd.deconvolution.result import Part
from napari_lucyd.text import printable


def plan_destinations(found: Found, out: Path, parts: Sequence[Part], suffix: str | None) -> list[BatchItem]:
    """Name the results: OUT is a file for one input, a folder for several.

    For one input, OUT is a folder if it exists as one or has no suffix. A file that OUT names is the output;
    all other results have their part at the end of their names.

    Parameters
    ----------
    found
        The inputs.
    out
        The path as the user gave it.
    parts
        The parts to write for each input.
    suffix
        Suffix of files in a folder, with its dot; None for the one of the input's kind.

    Raises
    ------
    typer.BadParameter
        If OUT does not fit the inputs.
    """
    from napari_lucyd.io import URL_REFUSED, WRITTEN_SUFFIXES, default_suffix, is_url, is_writable_path, stem

    if is_url(out):
        raise typer.BadParameter(f"{printable(out)}: {URL_REFUSED}", param_hint="--out")
    if str(out) == "-" or is_special(out):
        reason = "results are whole files, which need a name; standard output, a pipe or a device has none"
        raise typer.BadParameter(f"{printable(out)}: {reason}", param_hint="--out")
    is_file = is_writable_path(out)
    if found.several and is_file:
        raise typer.BadParameter(f"{printable(out)} is one file, but there are several inputs: name a folder")
    if not found.several and is_file:
        # write_image refuses a folder of this name that is not Zarr.
        ending = out.name[len(stem(out)) :]
        named = destinations(out.parent, stem(out), ending, parts)
        if Part.output in named:
            named[Part.output] = out
        return [BatchItem(path, named) for path in found.images]
    if looks_like_a_file(out) and not out.is_dir():
        raise typer.BadParameter(
            f"{printable(out)}: {out.suffix!r} is not a kind of file that can be written "
            f"({', '.join(WRITTEN_SUFFIXES)}), and no folder has this name; if you mean a folder, create it "
            "first"
        )
    if out.exists() and not out.is_dir():
        raise typer.BadParameter(f"{printable(out)} is a file; expected a folder")
    names = distinct_names(found.images)
    tasks = [
        BatchItem(path, destinations(out, name, suffix or default_suffix(path), parts))
        for path, name in zip(found.images, names, strict=True)
    ]
    _refuse_meetings(tasks)
    return tasks


def looks_like_a_file(out: Path) -> bool:
    """Tell a file name like ``x.png`` from a folder name, which may be ``run_v1.2``.

    A path does not keep the slash that a shell puts after the name of a folder.
    """
    return out.suffix[1:2].isalpha()


def _refuse_meetings(tasks: Sequence[BatchItem]) -> None:
    """Refuse a result that would replace another result, or another input."""
    written: set[str] = set()
    read = {os.path.realpath(task.source): task for task in tasks}
    for task in tasks:
        for path in task.destinations.values():
            real = os.path.realpath(path)
            if real in written or read.get(real, task) is not task:
                raise typer.BadParameter(
                    f"the result of {printable(task.source)} would replace {printable(path)}, another input "
                    "or its result: choose another OUT, or deconvolve the inputs one by one"
                )
            written.add(real)
