"""Inputs of a batch, and the names of their results.

No image is opened here, except the headers of OME-TIFF files, several of which may hold one image.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_lucyd.deconvolution.result import Part


@dataclass(frozen=True)
class BatchItem:
    """An input image and the destinations of its results."""

    source: Path
    destinations: dict[Part, Path]

    def of(self, parts: Sequence[Part]) -> BatchItem:
        """Return the same item with these parts only."""
        return BatchItem(
            self.source, {part: path for part, path in self.destinations.items() if part in parts}
        )

    def in_parts(self, dtype: str) -> bool:
        """Tell if results can be written part by part; the scaling of uint16 needs a whole result."""
        zarr = all(path.name.lower().endswith("zarr") for path in self.destinations.values())
        return zarr and dtype == "float32"


@dataclass
class Found:
    """Images found under the paths that the user gave.

    Attributes
    ----------
    images
        The images, each once, in the given order.
    refused
        Given paths that are not images, with the reason.
    passed_over
        Files in a given folder whose suffix is not that of an image.
    parts
        Files that hold a part of another input's image, each with that input. The image is read once.
    results
        Results of earlier runs among several inputs, which are not deconvolved again.
    several
        True for a folder or more than one path, even if only one image was found.
    """

    images: list[Path] = field(default_factory=list)
    refused: list[tuple[Path, str]] = field(default_factory=list)
    passed_over: list[Path] = field(default_factory=list)
    parts: list[tuple[Path, Path]] = field(default_factory=list)
    results: list[Path] = field(default_factory=list)
    several: bool = False


def find_images(paths: Sequence[Path]) -> Found:
    """Expand folders (one level) and patterns, and find the images by their suffix, or as Zarr folders."""
    from napari_lucyd.io import SUFFIXES, is_image_path, is_zarr_folder

    def is_image(path: Path) -> bool:
        return (is_image_path(path) and not is_special(path)) or is_zarr_folder(path)

    expanded = [path for given in paths for path in _expand(given)]
    found = Found(several=len(expanded) > 1)
    for path in expanded:
        if problem := _problem(path):
            found.refused.append((path, problem))
        elif path.is_dir() and not is_image(path):
            found.several = True
            try:
                entries = (entry for entry in path.iterdir() if not entry.name.startswith("."))
                inside = sorted(entries, key=natural_order)
            except OSError as error:
                found.refused.append((path, f"cannot be opened ({error.strerror})"))
                continue
            found.images += [entry for entry in inside if is_image(entry)]
            found.passed_over += [entry for entry in inside if not is_image(entry)]
        elif not is_image(path):
            found.refused.append((path, f"not an image file ({', '.join(SUFFIXES)})"))
        else:
            found.images.append(path)
    once = {os.path.realpath(path): path for path in reversed(found.images)}
    found.images = [path for path in found.images if once[os.path.realpath(path)] is path]
    if len(found.images) > 1:
        found.images, found.parts = _once_an_image(found.images)
    if found.several:
        found.results = [path for path in found.images if _is_result(path)]
        found.images = [path for path in found.images if path not in found.results]
    return found


def natural_order(path: Path) -> tuple[Any, ...]:
    """Return the key of a path in the order of a file manager: numbers by their value, capitals alike.

    Examples
    --------
    >>> [str(path) for path in sorted(map(Path, ("cell_10", "Cell_1", "cell_2")), key=natural_order)]
    ['Cell_1', 'cell_2', 'cell_10']
    """
    # Texts and numbers take turns, so that only like is compared with like.
    parts = re.split(r"(\d+)", str(path))
    key = tuple(int(part) if at % 2 else part.casefold() for at, part in enumerate(parts))
    return key, str(path)


def _problem(path: Path) -> str:
    """Say why nothing can be read from a path; empty if something may be."""
    from napari_lucyd.io import PIPE_REFUSED, URL_REFUSED, is_url

    if is_url(path):
        return URL_REFUSED
    if str(path) == "-":
        return "images cannot be read from standard input; give a file"
    try:
        if not path.exists():
            return "no such file or folder"
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    return PIPE_REFUSED if is_special(path) else ""


def is_special(path: Path) -> bool:
    """Return True for a pipe, a socket or a device, from which reading might never end."""
    try:
        mode = path.stat().st_mode
    except OSError:  # nothing is there, or no file can have this name
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _is_result(path: Path) -> bool:
    """Return True if a file or an unfinished store is a result of a deconvolution."""
    from napari_lucyd.io import ImageFileError, read_image

    if path.name.endswith(".partial"):
        return True
    try:
        return "recipe" in read_image(path, lazy=True).metadata
    except (ImageFileError, ImportError, OSError):
        return False  # the batch says why


def _once_an_image(paths: Sequence[Path]) -> tuple[list[Path], list[tuple[Path, Path]]]:
    """Separate inputs from further files of the same images; return both."""
    from napari_lucyd.io import files_of_image

    first: dict[str, Path] = {}
    for path in paths:
        # One file of a set names all others, which may be thousands.
        if os.path.realpath(path) not in first:
            for file in files_of_image(path):
                first.setdefault(os.path.realpath(file), path)
    own = [(path, first[os.path.realpath(path)]) for path in paths]
    return [path for path, whole in own if path == whole], [pair for pair in own if pair[0] != pair[1]]


def _expand(path: Path) -> list[Path]:
    # On Windows the program must expand patterns; elsewhere the shell has done it, unless they were quoted.
    if glob.has_magic(str(path)) and not os.path.exists(path):
        return sorted(map(Path, glob.glob(str(path))), key=natural_order) or [path]
    return [path]


def destinations(folder: Path, name: str, ending: str, parts: Sequence[Part]) -> dict[Part, Path]:
    """Name the results of one input in a folder: each has its part at the end, as no image has it.

    Examples
    --------
    >>> [path.name for path in destinations(Path(), "cell", ".ome.tif", [Part.output]).values()]
    ['cell_output.ome.tif']
    """
    return {part: folder / f"{name}_{part}{ending}" for part in parts}


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Name each path by its stem, with the names of its folders in front where stems are equal.

    Equal names in one folder get their suffix too, and names that are still equal get a number.

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
            # Files in the same folder are distinguished by their suffix below.
            if len({folders[index] for index in group}) > 1:
                for index in group:
                    names[index] = "_".join((*folders[index][-depth:], stem(paths[index])))
    for group in _alike(names):
        for index in group:
            names[index] += paths[index].name[len(stem(paths[index])) :].replace(".", "_")
    while alike := _alike(names):  # again: a numbered name may equal another name
        for number, index in enumerate(alike[0][1:], 2):
            names[index] += f"_{number}"
    return names


def _alike(names: Sequence[str]) -> list[list[int]]:
    """Group the indices of names that are equal when case is ignored, as many file systems do."""
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(name.casefold(), []).append(index)
    return [group for group in groups.values() if len(group) > 1]
