"""Which files are read, and under which names their results are written.

Opens no image but the heads of OME-TIFFs, several of which may hold one.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import typer

from napari_lucyd.cli._options import Part


@dataclass(frozen=True)
class BatchItem:
    """One image and where its results go."""

    source: Path
    destinations: dict[Part, Path]

    def of(self, parts: Sequence[Part]) -> BatchItem:
        """The same for no more than these parts."""
        return BatchItem(
            self.source, {part: path for part, path in self.destinations.items() if part in parts}
        )

    def in_parts(self, dtype: str) -> bool:
        """Whether the results are written as they are computed; uint16 is scaled by all of a result."""
        zarr = all(path.name.lower().endswith("zarr") for path in self.destinations.values())
        return zarr and dtype == "float32"


@dataclass
class Found:
    """The images behind the paths that the user gave.

    Attributes
    ----------
    images
        Each once, in the order given.
    refused
        Paths named by the user that are no image, with the reason.
    passed_over
        Files in a folder named by the user that are no image by their suffix.
    parts
        Files whose image is that of another input, which is named with them: it is read once.
    several
        The user meant several (a folder, or more than one path), even if one image was found.
    """

    images: list[Path] = field(default_factory=list)
    refused: list[tuple[Path, str]] = field(default_factory=list)
    passed_over: list[Path] = field(default_factory=list)
    parts: list[tuple[Path, Path]] = field(default_factory=list)
    several: bool = False


def find_images(paths: Sequence[Path]) -> Found:
    """Expand folders (one level) and patterns; tell images from other files by their suffix, or as Zarr."""
    from napari_lucyd.io import SUFFIXES, is_image_path, is_zarr_folder

    def is_image(path: Path) -> bool:
        return is_image_path(path) or is_zarr_folder(path)

    expanded = [path for given in paths for path in _expand(given)]
    found = Found(several=len(expanded) > 1)
    for path in expanded:
        if path.is_dir() and not is_image(path):
            found.several = True
            try:
                inside = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
            except OSError as error:
                found.refused.append((path, f"cannot be opened ({error.strerror})"))
                continue
            found.images += [entry for entry in inside if is_image(entry)]
            found.passed_over += [entry for entry in inside if not is_image(entry)]
        elif not path.exists():
            found.refused.append((path, "no such file or folder"))
        elif not is_image(path):
            found.refused.append((path, f"not an image file ({', '.join(SUFFIXES)})"))
        else:
            found.images.append(path)
    once = {os.path.realpath(path): path for path in reversed(found.images)}
    found.images = [path for path in found.images if once[os.path.realpath(path)] is path]
    if len(found.images) > 1:
        found.images, found.parts = _once_an_image(found.images)
    return found


def _once_an_image(paths: Sequence[Path]) -> tuple[list[Path], list[tuple[Path, Path]]]:
    """Tell inputs from the further files of their images, each with the input that it belongs to."""
    from napari_lucyd.io import files_of_image

    first: dict[str, Path] = {}
    for path in paths:
        # Of a set of thousands, one file names all others.
        if os.path.realpath(path) not in first:
            for file in files_of_image(path):
                first.setdefault(os.path.realpath(file), path)
    own = [(path, first[os.path.realpath(path)]) for path in paths]
    return [path for path, whole in own if path == whole], [pair for pair in own if pair[0] != pair[1]]


def _expand(path: Path) -> list[Path]:
    # Windows' shells leave patterns to the program; elsewhere only a quoted one arrives here.
    if not path.exists() and glob.has_magic(str(path)):
        return [Path(match) for match in sorted(glob.glob(str(path)))] or [path]
    return [path]


def plan_destinations(found: Found, out: Path, parts: Sequence[Part], suffix: str | None) -> list[BatchItem]:
    """Name the results: OUT is a file for one input, a folder for several.

    For one input, OUT is a folder where it is one already or has no suffix.

    Parameters
    ----------
    found
        The inputs.
    out
        As the user gave it.
    parts
        What is written of each input.
    suffix
        Of files in a folder, with its dot; None: that of the input's kind.

    Raises
    ------
    typer.BadParameter
        OUT does not fit the inputs.
    """
    from napari_lucyd.io import SUFFIXES, default_suffix, is_image_path, stem

    is_file = is_image_path(out)
    if found.several and is_file:
        raise typer.BadParameter(f"{out} names one file, but there are several inputs: name a folder")
    if not found.several and is_file:
        # A file of this name inside of which Zarr is not, but a folder is, is for write_image to refuse.
        ending = out.name[len(stem(out)) :]
        return [BatchItem(path, _named(out.parent, stem(out), ending, parts)) for path in found.images]
    if looks_like_a_file(out) and not out.is_dir():
        raise typer.BadParameter(
            f"{out}: {out.suffix!r} is not a kind of file that can be written "
            f"({', '.join(SUFFIXES)}), nor is it there as a folder; make it first if you mean one"
        )
    if out.exists() and not out.is_dir():
        raise typer.BadParameter(f"{out} is a file; expected a folder")
    names = distinct_names(found.images)
    tasks = [
        BatchItem(path, _named(out, name, suffix or default_suffix(path), parts))
        for path, name in zip(found.images, names, strict=True)
    ]
    _refuse_meetings(tasks)
    return tasks


def looks_like_a_file(out: Path) -> bool:
    """Tell a name like ``x.png`` from that of a folder, which may well be ``run_v1.2``.

    A path does not keep the slash that a shell puts after a folder's name.
    """
    return out.suffix[1:2].isalpha()


def _refuse_meetings(tasks: Sequence[BatchItem]) -> None:
    """Raise where a result would replace another one, or an input that is not its own."""
    written: set[str] = set()
    read = {os.path.realpath(task.source): task for task in tasks}
    for task in tasks:
        for path in task.destinations.values():
            real = os.path.realpath(path)
            if real in written or read.get(real, task) is not task:
                raise typer.BadParameter(
                    f"{path} would be written for {task.source}, but is another input or its result: "
                    "choose another OUT, or deconvolve them one by one"
                )
            written.add(real)


def _named(folder: Path, name: str, ending: str, parts: Sequence[Part]) -> dict[Part, Path]:
    return {
        part: folder / (f"{name}{ending}" if part is Part.output else f"{name}_{part}{ending}")
        for part in parts
    }


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Name each path by its stem, with as many of its folders in front as it takes to tell it from others.

    Files of one name in one folder are told apart by their suffix, what is still alike by a number.

    Examples
    --------
    >>> distinct_names([Path("a/cell.tif"), Path("b/cell.tif"), Path("b/dish.tif")])
    ['a_cell', 'b_cell', 'dish']
    """
    from napari_lucyd.io import stem

    names = [stem(path) for path in paths]
    folders = [Path(os.path.realpath(path)).parent.parts for path in paths]
    for depth in range(1, max((len(parts) for parts in folders), default=0) + 1):
        for group in _alike(names):
            # Files that share a folder are not told apart by it; their suffix does that below.
            if len({folders[index] for index in group}) > 1:
                for index in group:
                    names[index] = "_".join((*folders[index][-depth:], stem(paths[index])))
    for group in _alike(names):
        for index in group:
            names[index] += paths[index].name[len(stem(paths[index])) :].replace(".", "_")
    while alike := _alike(names):  # again, for a numbered name may be another's own
        for number, index in enumerate(alike[0][1:], 2):
            names[index] += f"_{number}"
    return names


def _alike(names: Sequence[str]) -> list[list[int]]:
    """Group the indices of names that are the same to a file system that ignores case, as many do."""
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(name.casefold(), []).append(index)
    return [group for group in groups.values() if len(group) > 1]
