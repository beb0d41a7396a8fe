"""Results of a batch: refused before the work starts if they cannot be written, else written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lucyd.deconvolution import CLASSICAL_METHODS, DeconvolutionError, OutOfMemory
from napari_lucyd.deconvolution.findings import BLUR_FOUND, SETTINGS, Finding, kind_of
from napari_lucyd.deconvolution.recipe_entries import wrong_entry
from napari_lucyd.io import (
    ImageFileError,
    check_name,
    check_writable,
    contains,
    read_image,
    write_image,
)
from napari_lucyd.text import printable

if TYPE_CHECKING:
    from napari_lucyd.deconvolution import Result

FORESEEN = (ImageFileError, ValueError, TypeError, OSError, OutOfMemory, DeconvolutionError, MemoryError)
"""Errors that a file or a setting can cause; any other is a bug of ours."""

_NO_BLUR = (
    "No blur was given: that of each image was found in it, or assumed. If you know the microscope or the "
    "PSF, give it."
)


class ResultExistsError(ValueError):
    """A result of this name exists already, and may not be replaced.

    Attributes
    ----------
    path
        The first one that exists.
    """

    def __init__(self, path: Path, otherwise: str) -> None:
        super().__init__(f"{path} exists already; {otherwise}")
        self.path = path


@dataclass
class Tally:
    """Numbers of the images of a batch, by what happened to them.

    Attributes
    ----------
    total
        All images.
    done
        Images with new results, also those left alone.
    warned
        Images among those done with warnings of their own.
    left_alone
        Images among those done that no method improves.
    there
        Images whose results are there from an earlier run.
    failed
        Images without results.
    """

    total: int
    done: int = 0
    warned: int = 0
    left_alone: int = 0
    there: int = 0
    failed: int = 0

    def text(self, again: str, done: str = "done") -> str:
        """Say the numbers; `again` tells how to compute existing results again.

        Examples
        --------
        >>> Tally(3, done=1, there=2).text("choose another folder")
        '1 of 3 done, 2 there from an earlier run. To compute existing results again, choose another folder.'
        """
        counts = [f"{self.done} of {self.total} {done}"]
        counts += [f"{self.warned} with warnings"] if self.warned else []
        counts += [f"{self.left_alone} left alone"] if self.left_alone else []
        counts += [f"{self.there} there from an earlier run"] if self.there else []
        counts += [f"{self.failed} failed"] if self.failed else []
        return ", ".join(counts) + (f". To compute existing results again, {again}." if self.there else ".")


@dataclass
class Told:
    """Warnings of one image of a batch, sorted by what they are about.

    Attributes
    ----------
    own
        Warnings about this image.
    common
        Sentences that are true of every image with these settings, which a batch says once.
    brief
        Numbers of this image in those sentences, in a few words.
    """

    own: list[str] = field(default_factory=list)
    common: list[str] = field(default_factory=list)
    brief: list[str] = field(default_factory=list)


def sort_warnings(warnings: Iterable[str]) -> Told:
    """Separate the warnings about one image of a batch from those about the settings."""
    told = Told()
    for text in warnings:
        kind = kind_of(text)
        if kind not in (BLUR_FOUND, SETTINGS):
            told.own.append(text)
        elif (common := _NO_BLUR if kind == BLUR_FOUND else text) not in told.common:
            told.common.append(common)
        if isinstance(text, Finding) and text.brief:
            told.brief.append(text.brief)
    return told


def without_path(message: str, path: Path) -> str:
    """Shorten the path of an image in a message that stands beside it.

    Examples
    --------
    >>> without_path("a/cell.tif: the file holds no image", Path("a/cell.tif"))
    'the file holds no image'
    """
    for own in dict.fromkeys((str(path), printable(path))):
        message = message.removeprefix(f"{own}: ").replace(own, printable(path.name))
    return message


def made_with(path: Path) -> str:
    """Name the method of a result's file, which may be another one than that of the batch."""
    try:
        recipe = read_image(path, lazy=True).metadata.get("recipe")
    except (ImageFileError, ImportError, OSError):
        return ""
    if not isinstance(recipe, dict) or wrong_entry(recipe) is not None:
        return ""
    method = recipe.get("method")
    known = CLASSICAL_METHODS.get(method["name"]) if method else None
    name = known.title if known else recipe.get("model")
    return f" with {name}" if name else ""


def check_destinations(
    destinations: Collection[Path], read: Sequence[Path], *, overwrite: bool, otherwise: str
) -> None:
    """Refuse results that must not be written.

    Parameters
    ----------
    destinations
        Paths of the results of one image.
    read
        Files that are read for it.
    overwrite
        True if existing results may be replaced.
    otherwise
        Advice to the user, for the errors: ``"choose another OUT"``.

    Raises
    ------
    ValueError
        If a result would replace a file that is read; `ResultExistsError` if it would replace another one.
    """
    for path in destinations:
        check_name(path)
        for source in read:
            if contains(path, source):
                raise ValueError(f"{source}: the result {path} would replace it; {otherwise}")
        if path.exists() and not overwrite:
            more = " or add --overwrite" if "OUT" in otherwise else ""
            raise ResultExistsError(path, f"{otherwise}{more}")


def prepare(destinations: Collection[Path], *, overwrite: bool, otherwise: str) -> None:
    """Make the folders of results, and refuse before hours of work if one cannot be written.

    Raises
    ------
    ValueError, ImageFileError
        If that fails.
    """
    for path in destinations:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"{path}: its folder cannot be created ({error.strerror}); {otherwise}"
            ) from error
        check_writable(path, overwrite=overwrite)


def write_results(
    result: Result,
    destinations: Mapping[str, Path],
    *,
    axes: str,
    voxel_size: Sequence[float] | None,
    unit: str | None,
    overwrite: bool = False,
    dtype: str = "float32",
) -> Iterator[Path]:
    """Write the parts of a result with its recipe, and yield each path when it is written.

    Parameters
    ----------
    result
        The result.
    destinations
        Path of each part.
    axes, voxel_size, unit, overwrite, dtype
        See `napari_lucyd.io.write_image`.
    """
    for part, path in destinations.items():
        write_image(
            path,
            getattr(result, part),
            axes=axes,
            voxel_size=voxel_size,
            unit=unit,
            metadata={"shows": part, "recipe": result.recipe},
            overwrite=overwrite,
            dtype=dtype,
        )
        yield path
