"""Results of a batch: refused before the work starts if they cannot be written, else written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lucyd.deconvolution import DeconvolutionError, OutOfMemory
from napari_lucyd.io import ImageFileError, check_name, check_writable, contains, write_image

if TYPE_CHECKING:
    from napari_lucyd.deconvolution import Result

FORESEEN = (ImageFileError, ValueError, TypeError, OSError, OutOfMemory, DeconvolutionError, MemoryError)
"""Errors that a file or a setting can cause; any other is a bug of ours."""


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
